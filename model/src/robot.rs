//! Robots: accounts of programs. What one may do is a list of (scope, resource, action), not a role.

use serde::{Deserialize, Serialize};

use crate::{
    Error, Result, What,
    id::ProjectId,
    name::{ProjectName, RobotName},
    permission::{Action, PROJECT_CATALOGUE, Resource, SYSTEM_CATALOGUE},
};

/// Harbor's default of the setting `robot_name_prefix`.
pub const NAME_PREFIX: &str = "robot$";

/// Where a robot's permission holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Scope {
    System,
    EveryProject,
    Project(ProjectId),
}

impl Scope {
    /// As the database keeps it: 0 the system, -1 every project, otherwise the project's number.
    pub fn number(self) -> i64 {
        match self {
            Self::System => 0,
            Self::EveryProject => -1,
            Self::Project(id) => id.0,
        }
    }

    pub fn from_number(number: i64) -> Self {
        match number {
            0 => Self::System,
            -1 => Self::EveryProject,
            id => Self::Project(ProjectId(id)),
        }
    }

    /// Whether a right in this scope reaches the project.
    pub fn covers(self, project: ProjectId) -> bool {
        match self {
            Self::System => false,
            Self::EveryProject => true,
            Self::Project(id) => id == project,
        }
    }
}

/// One thing a robot may do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Permission {
    pub scope: Scope,
    pub resource: Resource,
    pub action: Action,
}

impl Permission {
    /// Refuses what Harbor's catalogue does not offer in that scope.
    pub fn check(&self) -> Result<()> {
        let catalogue = if self.scope == Scope::System {
            SYSTEM_CATALOGUE
        } else {
            PROJECT_CATALOGUE
        };
        let offered = catalogue.iter().any(|(resource, actions)| {
            *resource == self.resource && actions.contains(&self.action)
        });
        if offered {
            return Ok(());
        }
        let place = if self.scope == Scope::System {
            "the system"
        } else {
            "a project"
        };
        Err(Error::invalid(
            What::Robot,
            format!(
                "`{}:{}` cannot be given to a robot on {place}",
                self.resource, self.action
            ),
        ))
    }
}

/// A robot's full name: `robot$ci` on the system, `robot$library+ci` in a project.
pub fn full_name(prefix: &str, project: Option<&str>, name: &str) -> String {
    project.map_or_else(
        || format!("{prefix}{name}"),
        |project| format!("{prefix}{project}+{name}"),
    )
}

/// A full name taken apart.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct FullName {
    pub project: Option<ProjectName>,
    pub name: RobotName,
}

/// Takes a full name apart; `None` when it is no robot's name.
pub fn parse_full_name(prefix: &str, text: &str) -> Option<FullName> {
    let rest = text.strip_prefix(prefix)?;
    match rest.split_once('+') {
        Some((project, name)) => Some(FullName {
            project: Some(project.parse().ok()?),
            name: name.parse().ok()?,
        }),
        None => Some(FullName {
            project: None,
            name: rest.parse().ok()?,
        }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn full_names_come_apart_as_they_were_put_together() {
        for (project, name) in [(None, "ci"), (Some("library"), "ci-1")] {
            let full = full_name(NAME_PREFIX, project, name);
            let parsed = parse_full_name(NAME_PREFIX, &full).expect("a robot's name");
            assert_eq!(
                (
                    parsed.project.as_ref().map(ProjectName::as_str),
                    parsed.name.as_str()
                ),
                (project, name)
            );
        }
        assert_eq!(parse_full_name(NAME_PREFIX, "alice"), None);
        assert_eq!(parse_full_name(NAME_PREFIX, "robot$a+b+c"), None);
    }

    #[test]
    fn only_what_the_catalogue_offers_may_be_given() {
        let permission = |scope, resource, action| Permission {
            scope,
            resource,
            action,
        };
        assert!(
            permission(Scope::EveryProject, Resource::Repository, Action::Push)
                .check()
                .is_ok()
        );
        assert!(
            permission(Scope::System, Resource::Catalog, Action::Read)
                .check()
                .is_ok()
        );
        assert!(
            permission(Scope::System, Resource::Repository, Action::Push)
                .check()
                .is_err()
        );
        assert!(
            permission(Scope::EveryProject, Resource::TagRetention, Action::Operate)
                .check()
                .is_err()
        );
    }
}
