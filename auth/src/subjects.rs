//! From names and numbers to users and robots. A deleted user, and a robot that is deleted or disabled, is nobody; whether a
//! robot's time is over the caller asks, since that changes without a write.

use std::sync::Arc;

use db::{last_known::LastKnown, robots, users};
use model::{
    Result,
    robot::{full_name, parse_full_name},
};

use crate::{Auth, RobotFacts, Subject, UserFacts, caller::Identity, remembered::Remembered};

/// Somebody who can sign in, and the hash of what proves it.
pub(crate) struct Login {
    pub(crate) subject: Subject,
    /// None for people who sign in elsewhere.
    pub(crate) secret: Option<String>,
}

pub(crate) struct Subjects {
    by_identity: Remembered<Identity, Subject>,
    by_login: Remembered<Box<str>, Arc<Login>>,
    last_by_identity: LastKnown<Identity, Subject>,
    last_by_login: LastKnown<Box<str>, Arc<Login>>,
}

impl Default for Subjects {
    fn default() -> Self {
        Self {
            by_identity: Remembered::new(10_000),
            by_login: Remembered::new(10_000),
            last_by_identity: LastKnown::new(10_000),
            last_by_login: LastKnown::new(10_000),
        }
    }
}

impl Auth {
    /// Whoever stands behind a token; none when he is gone.
    pub(crate) async fn subject(&self, identity: Identity) -> Result<Option<Subject>> {
        let generation = self.generation();
        if let Some(subject) = self.0.subjects.by_identity.get(generation, &identity) {
            return Ok(Some(subject));
        }
        let last = &self.0.subjects.last_by_identity;
        let read = || self.read_subject(identity);
        let subject = last.read(&self.1, &identity, || identity, read).await?;
        if let Some(subject) = &subject {
            self.0
                .subjects
                .by_identity
                .keep(generation, identity, subject);
        }
        Ok(subject)
    }

    async fn read_subject(&self, identity: Identity) -> Result<Option<Subject>> {
        Ok(match identity {
            Identity::Anonymous => Some(Subject::Anonymous),
            Identity::User(id) => users::find(&mut *self.1.reader().await?, id)
                .await?
                .as_ref()
                .map(user),
            Identity::Robot(id) => {
                let found = robots::find(&mut *self.1.reader().await?, id).await?;
                match found.filter(|robot| !robot.disabled) {
                    Some(found) => {
                        Some(robot(self.1.settings().await?.robot_name_prefix(), &found))
                    }
                    None => None,
                }
            }
        })
    }

    /// By what people type: a user's name or e-mail address, or a robot's full name.
    pub(crate) async fn login(&self, login: &str) -> Result<Option<Arc<Login>>> {
        let generation = self.generation();
        if let Some(found) = self.0.subjects.by_login.get(generation, login) {
            return Ok(Some(found));
        }
        let last = &self.0.subjects.last_by_login;
        let read = || self.read_login(login);
        let found = last.read(&self.1, login, || login.into(), read).await?;
        if let Some(found) = &found {
            self.0
                .subjects
                .by_login
                .keep(generation, login.into(), found);
        }
        Ok(found)
    }

    async fn read_login(&self, login: &str) -> Result<Option<Arc<Login>>> {
        let settings = self.1.settings().await?;
        let prefix = settings.robot_name_prefix();
        let found = if login.starts_with(prefix) {
            let found = self.robot_named(prefix, login).await?;
            found.map(|found| Login {
                subject: robot(prefix, &found),
                secret: Some(found.secret),
            })
        } else {
            let found = users::find_login(&mut *self.1.reader().await?, login).await?;
            found.map(|found| Login {
                subject: user(&found),
                secret: found.password,
            })
        };
        Ok(found.map(Arc::new))
    }

    /// By the exact name of a user or the full one of a robot.
    pub(crate) async fn named(&self, name: &str) -> Result<Option<Subject>> {
        let settings = self.1.settings().await?;
        let prefix = settings.robot_name_prefix();
        if name.starts_with(prefix) {
            let found = self.robot_named(prefix, name).await?;
            return Ok(found.map(|found| robot(prefix, &found)));
        }
        Ok(users::find_name(&mut *self.1.reader().await?, name)
            .await?
            .as_ref()
            .map(user))
    }

    async fn robot_named(&self, prefix: &str, full_name: &str) -> Result<Option<robots::Robot>> {
        let Some(name) = parse_full_name(prefix, full_name) else {
            return Ok(None);
        };
        let project = name.project.as_ref().map(model::name::ProjectName::as_str);
        let robot =
            robots::find_name(&mut *self.1.reader().await?, project, name.name.as_str()).await?;
        Ok(robot.filter(|robot| !robot.disabled))
    }
}

fn robot(prefix: &str, robot: &robots::Robot) -> Subject {
    Subject::Robot(Arc::new(RobotFacts {
        id: robot.id,
        name: full_name(prefix, robot.project_name.as_deref(), &robot.name),
        project: robot.project,
        expires_at: robot.expires_at,
        version: robot.version,
    }))
}

fn user(user: &users::User) -> Subject {
    Subject::User(Arc::new(UserFacts {
        id: user.id,
        name: user.name.clone(),
        admin: user.admin,
        version: user.version,
    }))
}
