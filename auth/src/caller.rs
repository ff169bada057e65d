//! Who asks. A caller is made once per request; his rights are read when they are needed (see rights.rs).

use std::{fmt, str::FromStr, sync::Arc};

use model::{
    id::{ProjectId, RobotId, UserId},
    time::Timestamp,
};
use oci::Scope;

/// A user as he was when the request came.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UserFacts {
    pub id: UserId,
    pub name: String,
    pub admin: bool,
    pub version: i64,
}

/// A robot as it was when the request came: neither disabled nor expired.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RobotFacts {
    pub id: RobotId,
    /// The full name, with prefix and project.
    pub name: String,
    /// The project it belongs to; none for a robot of the system.
    pub project: Option<ProjectId>,
    pub expires_at: Option<Timestamp>,
    pub version: i64,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Subject {
    Anonymous,
    User(Arc<UserFacts>),
    Robot(Arc<RobotFacts>),
}

/// How the caller showed who he is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Via {
    None,
    Basic,
    Bearer,
    Session,
    Certificate,
}

/// Who asks, and how far his token reaches. A clone costs a few reference counts.
#[derive(Debug, Clone)]
pub struct Caller {
    pub subject: Subject,
    pub via: Via,
    /// What a token narrows its bearer to; none without a token.
    pub scopes: Option<Arc<[Scope]>>,
}

/// The number behind a subject, as it stands in tokens and upload ids: `user:12`, `robot:3`, `anonymous`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Identity {
    Anonymous,
    User(UserId),
    Robot(RobotId),
}

impl Caller {
    pub fn anonymous() -> Self {
        Self {
            subject: Subject::Anonymous,
            via: Via::None,
            scopes: None,
        }
    }

    pub(crate) fn new(subject: Subject, via: Via) -> Self {
        Self {
            subject,
            via,
            scopes: None,
        }
    }

    /// The user's name or the robot's full one; empty for an anonymous caller.
    pub fn name(&self) -> &str {
        self.subject.name().unwrap_or_default()
    }

    pub fn is_authenticated(&self) -> bool {
        self.subject != Subject::Anonymous
    }

    /// A system administrator.
    pub fn is_admin(&self) -> bool {
        matches!(&self.subject, Subject::User(user) if user.admin)
    }

    /// Names the caller for good, also after he was renamed: what an upload is bound to.
    pub fn identity(&self) -> String {
        self.subject.identity().to_string()
    }
}

impl Subject {
    /// The user's name or the robot's full one; none for somebody anonymous.
    pub fn name(&self) -> Option<&str> {
        match self {
            Self::Anonymous => None,
            Self::User(user) => Some(&user.name),
            Self::Robot(robot) => Some(&robot.name),
        }
    }

    pub(crate) fn identity(&self) -> Identity {
        match self {
            Self::Anonymous => Identity::Anonymous,
            Self::User(user) => Identity::User(user.id),
            Self::Robot(robot) => Identity::Robot(robot.id),
        }
    }

    /// Which state of the row this is; tokens and remembered checks hold for one state.
    pub(crate) fn version(&self) -> i64 {
        match self {
            Self::User(user) => user.version,
            Self::Robot(robot) => robot.version,
            Self::Anonymous => 0,
        }
    }

    pub(crate) fn is_expired(&self, now: Timestamp) -> bool {
        matches!(self, Self::Robot(robot) if robot.expires_at.is_some_and(|end| end <= now))
    }
}

impl fmt::Display for Identity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Anonymous => f.write_str("anonymous"),
            Self::User(id) => write!(f, "user:{id}"),
            Self::Robot(id) => write!(f, "robot:{id}"),
        }
    }
}

impl FromStr for Identity {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        let number = |text: &str| text.parse().map_err(|_| ());
        match text.split_once(':') {
            Some(("user", id)) => Ok(Self::User(UserId(number(id)?))),
            Some(("robot", id)) => Ok(Self::Robot(RobotId(number(id)?))),
            None if text == "anonymous" => Ok(Self::Anonymous),
            _ => Err(()),
        }
    }
}
