//! Resources and actions: the words in which rights are spoken, and Harbor's catalogue of what a robot may be given.

use std::{fmt, str::FromStr};

use crate::{Error, What};

macro_rules! words {
    ($(#[$doc:meta])* $name:ident, $what:literal { $($variant:ident = $text:literal),+ $(,)? }) => {
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum $name { $($variant),+ }

        impl $name {
            pub const ALL: &'static [Self] = &[$(Self::$variant),+];

            /// The word as Harbor's API spells it.
            pub const fn as_str(self) -> &'static str {
                match self { $(Self::$variant => $text),+ }
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(self.as_str())
            }
        }

        impl FromStr for $name {
            type Err = Error;
            fn from_str(text: &str) -> Result<Self, Error> {
                Self::ALL.iter().copied().find(|word| word.as_str() == text)
                    .ok_or_else(|| Error::invalid(What::Robot, format!(concat!("unknown ", $what, " `{}`"), text)))
            }
        }
    };
}

words! {
    /// What a right is about.
    Resource, "resource" {
        // of a project
        Project = "project", Member = "member", Metadata = "metadata", Log = "log", Label = "label", Quota = "quota",
        Repository = "repository", TagRetention = "tag-retention", ImmutableTag = "immutable-tag",
        Configuration = "configuration", Robot = "robot", NotificationPolicy = "notification-policy", Scan = "scan",
        Sbom = "sbom", Scanner = "scanner", Artifact = "artifact", ArtifactAddition = "artifact-addition", Tag = "tag",
        Accessory = "accessory", ArtifactLabel = "artifact-label", PreheatPolicy = "preheat-policy", ExportCve = "export-cve",
        // of the system
        AuditLog = "audit-log", PreheatInstance = "preheat-instance", ReplicationPolicy = "replication-policy",
        Replication = "replication", ReplicationAdapter = "replication-adapter", Registry = "registry",
        ScanAll = "scan-all", SystemVolumes = "system-volumes", GarbageCollection = "garbage-collection",
        PurgeAudit = "purge-audit", JobserviceMonitor = "jobservice-monitor", SecurityHub = "security-hub",
        Catalog = "catalog", User = "user", LdapUser = "ldap-user", UserGroup = "user-group",
    }
}

words! {
    /// What is done to it.
    Action, "action" {
        Create = "create", Read = "read", Update = "update", Delete = "delete", List = "list",
        Pull = "pull", Push = "push", Stop = "stop", Operate = "operate", ScannerPull = "scanner-pull",
    }
}

/// A set of actions.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Actions(u16);

impl Actions {
    pub const NONE: Self = Self(0);

    pub const fn of(actions: &[Action]) -> Self {
        let (mut set, mut i) = (0, 0);
        while i < actions.len() {
            set |= 1 << actions[i] as u16;
            i += 1;
        }
        Self(set)
    }

    #[must_use]
    pub const fn and(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    pub const fn has(self, action: Action) -> bool {
        self.0 & (1 << action as u16) != 0
    }

    /// Adds every action of `other`.
    pub fn add(&mut self, other: Self) {
        self.0 |= other.0;
    }

    /// What stands in both.
    #[must_use]
    pub const fn within(self, other: Self) -> Self {
        Self(self.0 & other.0)
    }

    pub fn iter(self) -> impl Iterator<Item = Action> {
        Action::ALL
            .iter()
            .copied()
            .filter(move |action| self.has(*action))
    }
}

use Action::{Create, Delete, List, Pull, Push, Read, Stop, Update};

/// What a robot may be given on the whole system (Harbor's `rbac/const.go`).
pub const SYSTEM_CATALOGUE: &[(Resource, &[Action])] = &[
    (Resource::AuditLog, &[List]),
    (
        Resource::PreheatInstance,
        &[Create, Read, Update, Delete, List],
    ),
    (Resource::Project, &[Create, List]),
    (
        Resource::ReplicationPolicy,
        &[Create, Read, Update, Delete, List],
    ),
    (Resource::Replication, &[Create, Read, List]),
    (Resource::ReplicationAdapter, &[List]),
    (Resource::Registry, &[Create, Read, Update, Delete, List]),
    (Resource::ScanAll, &[Create, Read, Update, Stop]),
    (Resource::SystemVolumes, &[Read]),
    (
        Resource::GarbageCollection,
        &[Create, Read, Update, List, Stop],
    ),
    (Resource::PurgeAudit, &[Create, Read, Update, List, Stop]),
    (Resource::JobserviceMonitor, &[List, Stop]),
    (Resource::Scanner, &[Create, Read, Update, Delete, List]),
    (Resource::Label, &[Create, Read, Update, Delete]),
    (Resource::SecurityHub, &[Read, List]),
    (Resource::Catalog, &[Read]),
    (Resource::Quota, &[Read, List, Update]),
    (Resource::Robot, &[Create, Read, List, Delete]),
    (Resource::User, &[Create, Read, Update, Delete, List]),
    (Resource::LdapUser, &[Create, List]),
    (Resource::UserGroup, &[Create, Read, Update, Delete, List]),
];

/// What a robot may be given in a project.
pub const PROJECT_CATALOGUE: &[(Resource, &[Action])] = &[
    (Resource::Log, &[List]),
    (Resource::Project, &[Read, Update, Delete]),
    (Resource::Metadata, &[Create, Read, Update, Delete, List]),
    (
        Resource::Repository,
        &[Read, Update, Delete, List, Pull, Push],
    ),
    (Resource::Artifact, &[Create, Read, List, Delete]),
    (Resource::Scan, &[Create, Read, Stop]),
    (Resource::Sbom, &[Create, Read, Stop]),
    (Resource::Tag, &[Create, List, Delete]),
    (Resource::Accessory, &[List]),
    (Resource::ArtifactAddition, &[Read]),
    (Resource::ArtifactLabel, &[Create, Delete]),
    (Resource::Scanner, &[Create, Read]),
    (
        Resource::PreheatPolicy,
        &[Create, Read, Update, Delete, List],
    ),
    (Resource::ImmutableTag, &[Create, Update, Delete, List]),
    (
        Resource::NotificationPolicy,
        &[Create, Read, Update, Delete, List],
    ),
    (
        Resource::TagRetention,
        &[Create, Read, Update, Delete, List],
    ),
    (Resource::Label, &[Create, Read, Update, Delete, List]),
    (Resource::Quota, &[Read]),
    (Resource::Robot, &[Create, Read, List, Delete]),
    (Resource::ExportCve, &[Create, Read]),
    (Resource::Member, &[Create, Read, Update, Delete, List]),
];

/// What an administrator may do on the whole system, as `GET /users/current/permissions` tells it (Harbor's `rbac/system`).
pub const SYSTEM_RIGHTS: &[(Resource, &[Action])] = &[
    (Resource::Catalog, &[Read]),
    (Resource::AuditLog, &[List]),
    (Resource::Project, &[Create, Read, Update, Delete, List]),
    (Resource::User, &[Create, Read, Update, Delete, List]),
    (Resource::UserGroup, &[Create, Read, Update, Delete, List]),
    (Resource::Registry, &[Create, Read, Update, Delete, List]),
    (Resource::Replication, &[Create, Read, Update, List, Delete]),
    (
        Resource::GarbageCollection,
        &[Create, Read, Update, Delete, List],
    ),
    (
        Resource::ScanAll,
        &[Create, Read, Update, Delete, List, Stop],
    ),
    (Resource::SystemVolumes, &[Read]),
    (Resource::LdapUser, &[Create, List]),
    (Resource::Configuration, &[Read, Update]),
    (Resource::JobserviceMonitor, &[Read, List, Stop]),
    (Resource::SecurityHub, &[Read, List]),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_read_back_as_they_are_written() {
        for resource in Resource::ALL {
            assert_eq!(
                resource.as_str().parse::<Resource>().expect("known"),
                *resource
            );
        }
        for action in Action::ALL {
            assert_eq!(action.as_str().parse::<Action>().expect("known"), *action);
        }
        assert!("nonsense".parse::<Resource>().is_err());
    }

    #[test]
    fn a_set_of_actions_holds_what_was_put_in() {
        let set = Actions::of(&[Pull, Push]);
        assert_eq!(set.iter().collect::<Vec<_>>(), [Pull, Push]);
        assert!(!set.has(Delete));
        assert_eq!(
            set.within(Actions::of(&[Push, Delete])),
            Actions::of(&[Push])
        );
    }
}
