//! What the audit tells people: Harbor's types of events, and ours for what Harbor does not tell. A type's name is its
//! operation and the type of its resource.

/// Names an event once, and answers its two halves.
macro_rules! events {
    ($($name:ident: $operation:literal $resource:literal),+ $(,)?) => {
        /// A type of event. Each can be switched off by its name.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum Event {
            $($name),+
        }

        impl Event {
            pub const ALL: &'static [Self] = &[$(Self::$name),+];

            /// As Harbor's API and the table name it: `create_artifact`.
            pub fn as_str(self) -> &'static str {
                match self {
                    $(Self::$name => concat!($operation, "_", $resource)),+
                }
            }

            pub fn operation(self) -> &'static str {
                match self {
                    $(Self::$name => $operation),+
                }
            }

            pub fn resource_type(self) -> &'static str {
                match self {
                    $(Self::$name => $resource),+
                }
            }
        }
    };
}

events!(
    CreateArtifact: "create" "artifact",
    DeleteArtifact: "delete" "artifact",
    PullArtifact: "pull" "artifact",
    CreateProject: "create" "project",
    DeleteProject: "delete" "project",
    UpdateProject: "update" "project",
    DeleteRepository: "delete" "repository",
    LoginUser: "login" "user",
    LogoutUser: "logout" "user",
    CreateUser: "create" "user",
    DeleteUser: "delete" "user",
    UpdateUser: "update" "user",
    CreateRobot: "create" "robot",
    DeleteRobot: "delete" "robot",
    UpdateConfiguration: "update" "configuration",
    CreateMember: "create" "member",
    DeleteMember: "delete" "member",
    UpdateMember: "update" "member",
    // What follows Harbor does without telling, or tells of without naming a type.
    UpdateArtifact: "update" "artifact",
    CreateTag: "create" "tag",
    DeleteTag: "delete" "tag",
    CreateRepository: "create" "repository",
    UpdateRepository: "update" "repository",
    UpdateRobot: "update" "robot",
    CreateGroup: "create" "group",
    DeleteGroup: "delete" "group",
    UpdateGroup: "update" "group",
    CreateLabel: "create" "label",
    DeleteLabel: "delete" "label",
    UpdateLabel: "update" "label",
    CreateImmutableRule: "create" "immutable_rule",
    DeleteImmutableRule: "delete" "immutable_rule",
    UpdateImmutableRule: "update" "immutable_rule",
    UpdateAllowlist: "update" "allowlist",
    UpdateQuota: "update" "quota",
    CreateRetention: "create" "retention",
    DeleteRetention: "delete" "retention",
    UpdateRetention: "update" "retention",
    UpdateSchedule: "update" "schedule",
    DeleteSchedule: "delete" "schedule",
    RestoreArtifact: "restore" "artifact",
    RestoreProject: "restore" "project",
    DeleteTrash: "delete" "trash",
);

impl Event {
    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL.iter().copied().find(|one| one.as_str() == text)
    }

    /// What is told of it in words.
    pub fn describe(self, resource: &str) -> String {
        format!("{} {}: {resource}", self.operation(), self.resource_type())
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn each_event_is_found_by_its_name() {
        let names: BTreeSet<&str> = Event::ALL.iter().map(|one| one.as_str()).collect();
        assert_eq!(names.len(), Event::ALL.len());
        for event in Event::ALL {
            assert_eq!(Event::parse(event.as_str()), Some(*event));
        }
        assert_eq!(Event::parse("create_nothing"), None);
        assert_eq!(
            Event::PullArtifact.describe("a/b:c"),
            "pull artifact: a/b:c"
        );
    }
}
