//! What a command can ask of a registry, whether a server runs it or the command opened it itself. Names are parsed when a
//! request is made; on the socket a request is one JSON object.

use std::{fmt, str::FromStr};

use model::{
    Error, What,
    name::{ProjectName, RobotName, UserName},
    permission::{Action, Resource},
    robot::FullName,
    role::Role,
};
use oci::name::RepoName;
use registry::import::ImportOptions;
use serde::{Deserialize, Serialize};

use crate::checks::Keys;

/// Rows of a list in one answer; whoever asked goes on after the last of them.
pub const PAGE: i64 = 500;

/// Everything that can be asked.
#[derive(Serialize, Deserialize)]
#[serde(tag = "command", rename_all = "kebab-case")]
pub enum Request {
    UserCreate(NewUser),
    UserList {
        after: String,
    },
    UserDelete {
        name: String,
    },
    UserSetAdmin {
        name: String,
        admin: bool,
    },
    UserResetPassword {
        name: String,
        password: Option<Password>,
    },

    ProjectCreate {
        name: ProjectName,
        public: bool,
        owner: String,
    },
    ProjectList {
        after: String,
    },
    ProjectRestore {
        name: String,
    },
    ProjectDelete {
        name: String,
    },
    ProjectSetPublic {
        name: String,
        public: bool,
    },
    ProjectSetQuota {
        name: String,
        /// Bytes, -1 without a limit.
        hard: i64,
    },
    MemberSet {
        project: String,
        user: String,
        role: Role,
    },
    MemberRemove {
        project: String,
        user: String,
    },
    MemberList {
        project: String,
        after: String,
    },

    RobotCreate(NewRobot),
    RobotList {
        after: i64,
    },
    RobotSetDisabled {
        robot: FullName,
        disabled: bool,
    },
    RobotRefreshSecret {
        robot: FullName,
        secret: Option<Password>,
    },
    RobotDelete {
        robot: FullName,
    },

    RepositoryList {
        project: Option<String>,
        after: String,
    },
    /// The newest first, after so many.
    ArtifactList {
        repository: RepoName,
        before: i64,
    },
    TagList {
        repository: RepoName,
        after: String,
    },

    Collect {
        /// Manifests without a tag go first.
        untagged: bool,
    },
    CollectPreview {
        /// Manifests without a tag too.
        untagged: bool,
        /// Of each kind.
        limit: usize,
    },
    Scrub {},
    Fsck {
        deep: bool,
        repair: bool,
    },
    /// The key file in `FILE.next` counts from now on.
    KeyRotateSecretKey {
        /// Although what the key before the last change signed still counts.
        early: bool,
    },
    /// Another key signs tokens.
    KeyRotateToken {
        revoke: bool,
    },
    NodeList {},
    /// No new work for a node, or again.
    NodeDrain {
        name: String,
        drained: bool,
    },
    JobList {
        limit: i64,
    },
    JobLog {
        id: i64,
        /// Rows after this one.
        after: i64,
    },
    JobStop {
        id: i64,
    },

    /// What a project's policy says of what it holds, or one of its repositories.
    RetentionExplain {
        project: String,
        repository: Option<String>,
        /// Artifacts that are named.
        limit: usize,
        /// Those alone that would be deleted.
        deleted: bool,
    },
    TrashList {
        project: String,
        /// Things before these.
        before: i64,
    },
    TrashedProjects {
        /// How many are passed over.
        before: i64,
    },
    TrashRestore {
        id: i64,
        /// All that went with it.
        all: bool,
    },
    TrashDelete {
        id: i64,
    },
    /// Where to, as the sections `database` and `storage` of a configuration.
    MoveBegin {
        to: Password,
    },
    MoveStatus {},
    MoveAbort {},
    Space {
        /// Anew, rather than what was found last.
        measure: bool,
    },

    /// Takes over the tree that the store is; or, dry, says what that would find.
    ImportBlobs {
        options: ImportOptions,
        dry_run: bool,
    },
    ImportStatus {},
    ImportFinish {},

    /// What only the process that has the database and the store open can check; with the keys that the command found.
    Check {
        keys: Keys,
    },
}

impl Request {
    /// Whether it changes nothing and costs little.
    pub fn is_look(&self) -> bool {
        match self {
            Self::UserList { .. }
            | Self::ProjectList { .. }
            | Self::MemberList { .. }
            | Self::RobotList { .. }
            | Self::RepositoryList { .. }
            | Self::ArtifactList { .. }
            | Self::TagList { .. }
            | Self::CollectPreview {
                untagged: false, ..
            }
            | Self::NodeList {}
            | Self::JobList { .. }
            | Self::JobLog { .. }
            | Self::TrashList { .. }
            | Self::TrashedProjects { .. }
            | Self::Space { measure: false }
            | Self::ImportBlobs { dry_run: true, .. }
            | Self::ImportStatus {}
            | Self::MoveStatus {}
            | Self::Check { .. } => true,
            Self::UserCreate(_)
            | Self::UserDelete { .. }
            | Self::UserSetAdmin { .. }
            | Self::UserResetPassword { .. }
            | Self::ProjectCreate { .. }
            | Self::ProjectDelete { .. }
            | Self::ProjectRestore { .. }
            | Self::ProjectSetPublic { .. }
            | Self::ProjectSetQuota { .. }
            | Self::MemberSet { .. }
            | Self::MemberRemove { .. }
            | Self::RobotCreate(_)
            | Self::RobotSetDisabled { .. }
            | Self::RobotRefreshSecret { .. }
            | Self::RobotDelete { .. }
            | Self::Collect { .. }
            | Self::CollectPreview { untagged: true, .. }
            | Self::Scrub {}
            | Self::Fsck { .. }
            | Self::RetentionExplain { .. }
            | Self::TrashRestore { .. }
            | Self::TrashDelete { .. }
            | Self::Space { measure: true }
            | Self::ImportBlobs { dry_run: false, .. }
            | Self::ImportFinish {}
            | Self::KeyRotateToken { .. }
            | Self::KeyRotateSecretKey { .. }
            | Self::NodeDrain { .. }
            | Self::MoveBegin { .. }
            | Self::MoveAbort {}
            | Self::JobStop { .. } => false,
        }
    }
}

#[derive(Serialize, Deserialize)]
pub struct NewUser {
    pub name: UserName,
    pub email: Option<String>,
    pub realname: Option<String>,
    pub admin: bool,
    /// One is made up when none is given.
    pub password: Option<Password>,
}

#[derive(Serialize, Deserialize)]
pub struct NewRobot {
    pub name: RobotName,
    pub description: Option<String>,
    /// The project it belongs to; a robot of the system without one.
    pub project: Option<ProjectName>,
    /// What it may do in its project, or in the projects of `reach`.
    pub rights: Vec<Right>,
    /// What a robot of the system may do outside projects.
    pub system_rights: Vec<Right>,
    pub reach: Reach,
    /// Seconds; for ever without.
    pub expires_in: Option<u64>,
}

/// The projects in which a robot of the system has its rights.
#[derive(Clone, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Reach {
    Projects(Vec<ProjectName>),
    Everywhere,
}

/// A password or secret on its way; no debug output shows it.
#[derive(Clone, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Password(pub String);

impl fmt::Debug for Password {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("***")
    }
}

/// `repository:push`
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Right {
    pub resource: Resource,
    pub action: Action,
}

impl fmt::Display for Right {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.resource, self.action)
    }
}

impl FromStr for Right {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self, Error> {
        let (resource, action) = text.split_once(':').ok_or_else(|| {
            Error::invalid(
                What::Robot,
                format!("`{text}` is not a permission such as `repository:pull`"),
            )
        })?;
        Ok(Self {
            resource: resource.parse()?,
            action: action.parse()?,
        })
    }
}

impl TryFrom<String> for Right {
    type Error = Error;

    fn try_from(text: String) -> Result<Self, Error> {
        text.parse()
    }
}

impl From<Right> for String {
    fn from(right: Right) -> Self {
        right.to_string()
    }
}
