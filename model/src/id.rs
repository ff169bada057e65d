//! Numbers of rows as types, so that a project's number is never taken for a user's, and the global
//! identity that stands beside each number which outsiders may keep.

use serde::{Deserialize, Serialize};

macro_rules! row_id {
    ($($(#[$doc:meta])* $name:ident),+ $(,)?) => {$(
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(transparent)]
        pub struct $name(pub i64);

        impl std::fmt::Display for $name {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                self.0.fmt(f)
            }
        }
    )+};
}

row_id!(
    UserId,
    GroupId,
    ProjectId,
    MemberId,
    RobotId,
    LabelId,
    RepositoryId,
    BlobId,
    ArtifactId,
    TagId,
    QuotaId,
    RuleId,
    PolicyId,
    ScheduleId,
    TrashId,
    JobId
);

/// The global identity of a row: the same on every node that ever holds a copy of it, whatever its number there.
/// A UUID of version 7 in its text form.
pub fn new_uid() -> String {
    uuid::Uuid::now_v7().to_string()
}
