//! What a row of the change log says: every change that others may follow is one of these.

/// The kind of a change; its key names the thing in words that mean the same on every node.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    UserCreated,
    UserUpdated,
    UserDeleted,
    ProjectCreated,
    ProjectUpdated,
    ProjectDeleted,
    MemberSet,
    MemberRemoved,
    RobotCreated,
    RobotUpdated,
    RobotDeleted,
    RepositoryCreated,
    ArtifactPushed,
    ArtifactDeleted,
    TagMoved,
    TagDeleted,
    SettingChanged,
}

impl Kind {
    /// As the table keeps it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::UserCreated => "user.created",
            Self::UserUpdated => "user.updated",
            Self::UserDeleted => "user.deleted",
            Self::ProjectCreated => "project.created",
            Self::ProjectUpdated => "project.updated",
            Self::ProjectDeleted => "project.deleted",
            Self::MemberSet => "member.set",
            Self::MemberRemoved => "member.removed",
            Self::RobotCreated => "robot.created",
            Self::RobotUpdated => "robot.updated",
            Self::RobotDeleted => "robot.deleted",
            Self::RepositoryCreated => "repository.created",
            Self::ArtifactPushed => "artifact.pushed",
            Self::ArtifactDeleted => "artifact.deleted",
            Self::TagMoved => "tag.moved",
            Self::TagDeleted => "tag.deleted",
            Self::SettingChanged => "setting.changed",
        }
    }
}
