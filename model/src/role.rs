//! Harbor's five project roles and what each may do (Harbor's `rbac_role.go`), read down as one table.

use std::{fmt, str::FromStr};

use serde::{Deserialize, Serialize};

use crate::{
    Error, What,
    permission::{Action, Actions, Resource},
};

/// A role in a project. The numbers are Harbor's and stand in its API and database.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Role {
    ProjectAdmin = 1,
    Developer = 2,
    Guest = 3,
    Maintainer = 4,
    LimitedGuest = 5,
}

impl Role {
    /// The one with the most rights first.
    pub const ALL: [Self; 5] = [
        Self::ProjectAdmin,
        Self::Maintainer,
        Self::Developer,
        Self::Guest,
        Self::LimitedGuest,
    ];

    /// Harbor's number of the role.
    pub fn number(self) -> i64 {
        self as i64
    }

    pub fn from_number(number: i64) -> Option<Self> {
        Self::ALL.into_iter().find(|role| role.number() == number)
    }

    /// Each of them once, the one with the most rights first.
    pub fn sorted(roles: &[Self]) -> Vec<Self> {
        let held = |role: &Self| roles.contains(role);
        Self::ALL.into_iter().filter(held).collect()
    }

    /// Harbor's name of the role, as its API shows it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::ProjectAdmin => "projectAdmin",
            Self::Developer => "developer",
            Self::Guest => "guest",
            Self::Maintainer => "maintainer",
            Self::LimitedGuest => "limitedGuest",
        }
    }

    /// What this role may do with a resource of its project.
    pub fn actions(self, resource: Resource) -> Actions {
        let row = TABLE.iter().find(|row| row.0 == resource);
        row.map_or(Actions::NONE, |row| match self {
            Self::ProjectAdmin => row.1,
            Self::Maintainer => row.2,
            Self::Developer => row.3,
            Self::Guest => row.4,
            Self::LimitedGuest => row.5,
        })
    }

    pub fn may(self, resource: Resource, action: Action) -> bool {
        self.actions(resource).has(action)
    }
}

/// All that any role may do with the resources of a project, in the table's order.
pub fn actions_of_roles() -> impl Iterator<Item = (Resource, Actions)> {
    TABLE.iter().map(|row| {
        let roles = [row.1, row.2, row.3, row.4, row.5];
        let all = roles.into_iter().fold(Actions::NONE, Actions::and);
        (row.0, all)
    })
}

/// What anybody may do with a resource of a public project, on top of his own rights.
pub fn public_actions(resource: Resource) -> Actions {
    TABLE
        .iter()
        .find(|row| row.0 == resource)
        .map_or(Actions::NONE, |row| row.6)
}

impl fmt::Display for Role {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for Role {
    type Err = Error;
    /// Harbor's names, also with dashes as people type them on a command line: `project-admin`.
    fn from_str(text: &str) -> Result<Self, Error> {
        let plain = text.replace(['-', '_'], "").to_ascii_lowercase();
        Self::ALL.into_iter().find(|role| role.as_str().to_ascii_lowercase() == plain).ok_or_else(|| {
            Error::invalid(
                What::Member,
                format!("unknown role `{text}`: use project-admin, maintainer, developer, guest or limited-guest"),
            )
        })
    }
}

type TableRow = (
    Resource,
    Actions,
    Actions,
    Actions,
    Actions,
    Actions,
    Actions,
);

const R: Actions = Actions::of(&[Action::Read]);
const L: Actions = Actions::of(&[Action::List]);
const RL: Actions = Actions::of(&[Action::Read, Action::List]);
const CD: Actions = Actions::of(&[Action::Create, Action::Delete]);
const CR: Actions = Actions::of(&[Action::Create, Action::Read]);
const RU: Actions = Actions::of(&[Action::Read, Action::Update]);
const RUD: Actions = Actions::of(&[Action::Read, Action::Update, Action::Delete]);
const CL: Actions = Actions::of(&[Action::Create, Action::List]);
const CDL: Actions = Actions::of(&[Action::Create, Action::Delete, Action::List]);
const CRL: Actions = Actions::of(&[Action::Create, Action::Read, Action::List]);
const CRUD: Actions = Actions::of(&[Action::Create, Action::Read, Action::Update, Action::Delete]);
const CUDL: Actions = Actions::of(&[Action::Create, Action::Update, Action::Delete, Action::List]);
const CRDL: Actions = Actions::of(&[Action::Create, Action::Read, Action::Delete, Action::List]);
const CRUDL: Actions = Actions::of(&[
    Action::Create,
    Action::Read,
    Action::Update,
    Action::Delete,
    Action::List,
]);
const CRSTOP: Actions = Actions::of(&[Action::Create, Action::Read, Action::Stop]);
const PULL: Actions = Actions::of(&[Action::Pull]);
const PUSH: Actions = Actions::of(&[Action::Pull, Action::Push]);
const NONE: Actions = Actions::NONE;

#[rustfmt::skip]
/// Resource | project admin | maintainer | developer | guest | limited guest | anybody, where the project is public.
const TABLE: &[TableRow] = &[
    (Resource::Project,            RUD,                            R,              R,                          R,              R,              R),
    (Resource::Member,             CRUDL,                          RL,             RL,                         RL,             NONE,           NONE),
    (Resource::Metadata,           CRUD,                           R,              NONE,                       NONE,           NONE,           NONE),
    (Resource::Log,                L,                              NONE,           NONE,                       NONE,           NONE,           NONE),
    (Resource::Label,              CRUDL,                          CRUDL,          RL,                         RL,             NONE,           RL),
    (Resource::Quota,              R,                              R,              R,                          R,              R,              NONE),
    (Resource::Repository,         CRUDL.and(PUSH),                CRUDL.and(PUSH), CRL.and(PUSH).and(Actions::of(&[Action::Update])), RL.and(PULL), RL.and(PULL), L.and(PULL)),
    (Resource::TagRetention,       CRUDL.and(Actions::of(&[Action::Operate])), CRUDL.and(Actions::of(&[Action::Operate])), CRUDL.and(Actions::of(&[Action::Operate])), NONE, NONE, NONE),
    (Resource::ImmutableTag,       CUDL,                           CUDL,           NONE,                       NONE,           NONE,           NONE),
    (Resource::Configuration,      RU,                             R,              R,                          R,              R,              NONE),
    (Resource::Robot,              CRUDL,                          RL,             RL,                         RL,             NONE,           NONE),
    (Resource::NotificationPolicy, CRUDL,                          RL,             NONE,                       NONE,           NONE,           NONE),
    (Resource::Scan,               CRSTOP,                         CRSTOP,         R,                          R,              R,              R),
    (Resource::Sbom,               CRSTOP,                         CRSTOP,         R,                          R,              R,              NONE),
    (Resource::Scanner,            CR,                             R,              R,                          R,              R,              R),
    (Resource::Artifact,           CRDL,                           CRDL,           CRL,                        RL,             RL,             RL),
    (Resource::ArtifactAddition,   R,                              R,              R,                          R,              R,              R),
    (Resource::Tag,                CDL,                            CDL,            CL,                         L,              L,              L),
    (Resource::Accessory,          L,                              L,              L,                          L,              L,              L),
    (Resource::ArtifactLabel,      CD,                             CD,             CD,                         NONE,           NONE,           NONE),
    (Resource::PreheatPolicy,      CRUDL,                          NONE,           NONE,                       NONE,           NONE,           NONE),
    (Resource::ExportCve,          CRL,                            CRL,            CRL,                        NONE,           NONE,           NONE),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pushing_pulling_and_deleting_match_harbors_matrix() {
        use Role::{Developer, Guest, LimitedGuest, Maintainer, ProjectAdmin};
        for (role, pull, push, delete) in [
            (ProjectAdmin, true, true, true),
            (Maintainer, true, true, true),
            (Developer, true, true, false),
            (Guest, true, false, false),
            (LimitedGuest, true, false, false),
        ] {
            assert_eq!(
                role.may(Resource::Repository, Action::Pull),
                pull,
                "{role} pull"
            );
            assert_eq!(
                role.may(Resource::Repository, Action::Push),
                push,
                "{role} push"
            );
            assert_eq!(
                role.may(Resource::Repository, Action::Delete),
                delete,
                "{role} delete"
            );
        }
        assert!(public_actions(Resource::Repository).has(Action::Pull));
        assert!(!public_actions(Resource::Repository).has(Action::Read));
        assert!(!Role::ProjectAdmin.may(Resource::Metadata, Action::List));
    }

    #[test]
    fn roles_are_read_as_people_type_them() {
        for text in ["project-admin", "projectAdmin", "PROJECT_ADMIN"] {
            assert_eq!(text.parse::<Role>().expect("a role"), Role::ProjectAdmin);
        }
        assert!("owner".parse::<Role>().is_err());
        for role in Role::ALL {
            assert_eq!(Role::from_number(role.number()), Some(role));
        }
    }
}
