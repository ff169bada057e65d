//! What a row of the change log says: every change that others may follow is one of these.

use crate::audit::Event;

/// Names a kind once, with what the audit tells of it.
macro_rules! kinds {
    ($($name:ident: $text:literal => $event:expr),+ $(,)?) => {
        /// The kind of a change; its key names the thing in words that mean the same on every node.
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        pub enum Kind {
            $($name),+
        }

        impl Kind {
            pub const ALL: &'static [Self] = &[$(Self::$name),+];

            /// As the table keeps it.
            pub fn as_str(self) -> &'static str {
                match self {
                    $(Self::$name => $text),+
                }
            }

            /// What the audit says of it, with the change's key as the resource.
            pub fn audit(self) -> Event {
                match self {
                    $(Self::$name => $event),+
                }
            }
        }
    };
}

kinds!(
    UserCreated: "user.created" => Event::CreateUser,
    UserUpdated: "user.updated" => Event::UpdateUser,
    UserDeleted: "user.deleted" => Event::DeleteUser,
    GroupCreated: "group.created" => Event::CreateGroup,
    GroupUpdated: "group.updated" => Event::UpdateGroup,
    GroupDeleted: "group.deleted" => Event::DeleteGroup,
    ProjectCreated: "project.created" => Event::CreateProject,
    ProjectUpdated: "project.updated" => Event::UpdateProject,
    ProjectDeleted: "project.deleted" => Event::DeleteProject,
    ProjectMetadataSet: "project.metadata.set" => Event::UpdateProject,
    MemberAdded: "member.added" => Event::CreateMember,
    MemberUpdated: "member.updated" => Event::UpdateMember,
    MemberRemoved: "member.removed" => Event::DeleteMember,
    RobotCreated: "robot.created" => Event::CreateRobot,
    RobotUpdated: "robot.updated" => Event::UpdateRobot,
    RobotDeleted: "robot.deleted" => Event::DeleteRobot,
    RepositoryCreated: "repository.created" => Event::CreateRepository,
    RepositoryUpdated: "repository.updated" => Event::UpdateRepository,
    RepositoryDeleted: "repository.deleted" => Event::DeleteRepository,
    // A copied artifact is pushed.
    ArtifactPushed: "artifact.pushed" => Event::CreateArtifact,
    ArtifactDeleted: "artifact.deleted" => Event::DeleteArtifact,
    ArtifactLabelAdded: "artifact.label.added" => Event::UpdateArtifact,
    ArtifactLabelRemoved: "artifact.label.removed" => Event::UpdateArtifact,
    TagMoved: "tag.moved" => Event::CreateTag,
    TagDeleted: "tag.deleted" => Event::DeleteTag,
    LabelCreated: "label.created" => Event::CreateLabel,
    LabelUpdated: "label.updated" => Event::UpdateLabel,
    LabelDeleted: "label.deleted" => Event::DeleteLabel,
    ImmutableRuleCreated: "immutable-rule.created" => Event::CreateImmutableRule,
    ImmutableRuleUpdated: "immutable-rule.updated" => Event::UpdateImmutableRule,
    ImmutableRuleDeleted: "immutable-rule.deleted" => Event::DeleteImmutableRule,
    AllowlistSet: "allowlist.set" => Event::UpdateAllowlist,
    QuotaUpdated: "quota.updated" => Event::UpdateQuota,
    RetentionCreated: "retention.created" => Event::CreateRetention,
    RetentionUpdated: "retention.updated" => Event::UpdateRetention,
    RetentionDeleted: "retention.deleted" => Event::DeleteRetention,
    ScheduleSet: "schedule.set" => Event::UpdateSchedule,
    ScheduleRemoved: "schedule.removed" => Event::DeleteSchedule,
    // What comes back is pushed and tagged too: this says where from.
    ArtifactRestored: "artifact.restored" => Event::RestoreArtifact,
    ProjectRestored: "project.restored" => Event::RestoreProject,
    TrashDeleted: "trash.deleted" => Event::DeleteTrash,
    SettingChanged: "setting.changed" => Event::UpdateConfiguration,
    KeyRotated: "key.rotated" => Event::UpdateConfiguration,
);

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn no_two_kinds_have_one_name() {
        let names: BTreeSet<&str> = Kind::ALL.iter().map(|kind| kind.as_str()).collect();
        assert_eq!(names.len(), Kind::ALL.len());
    }
}
