//! From names and numbers to users and robots. A deleted user, and a robot that is deleted or disabled, is nobody; whether a
//! robot's time is over the caller asks, since that changes without a write.

use std::sync::Arc;

use db::{robots, users};
use model::{Result, robot};

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
}

impl Default for Subjects {
    fn default() -> Self {
        Self {
            by_identity: Remembered::new(10_000),
            by_login: Remembered::new(10_000),
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
        let subject = match identity {
            Identity::Anonymous => Some(Subject::Anonymous),
            Identity::User(id) => users::find(&mut *self.0.db.reader().await?, id)
                .await?
                .as_ref()
                .map(user),
            Identity::Robot(id) => {
                let robot = robots::find(&mut *self.0.db.reader().await?, id).await?;
                robot
                    .filter(|robot| !robot.disabled)
                    .map(|robot| self.robot(&robot))
            }
        };
        if let Some(subject) = &subject {
            self.0
                .subjects
                .by_identity
                .keep(generation, identity, subject);
        }
        Ok(subject)
    }

    /// By what people type: a user's name or e-mail address, or a robot's full name.
    pub(crate) async fn login(&self, login: &str) -> Result<Option<Arc<Login>>> {
        let generation = self.generation();
        if let Some(found) = self.0.subjects.by_login.get(generation, login) {
            return Ok(Some(found));
        }
        let found = if login.starts_with(&self.0.config.robot_prefix) {
            self.robot_named(login).await?.map(|robot| Login {
                subject: self.robot(&robot),
                secret: Some(robot.secret),
            })
        } else {
            let found = users::find_login(&mut *self.0.db.reader().await?, login).await?;
            found.map(|found| Login {
                subject: user(&found),
                secret: found.password,
            })
        };
        let found = found.map(Arc::new);
        if let Some(found) = &found {
            self.0
                .subjects
                .by_login
                .keep(generation, login.into(), found);
        }
        Ok(found)
    }

    /// By the exact name of a user or the full one of a robot.
    pub(crate) async fn named(&self, name: &str) -> Result<Option<Subject>> {
        if name.starts_with(&self.0.config.robot_prefix) {
            return Ok(self
                .robot_named(name)
                .await?
                .map(|robot| self.robot(&robot)));
        }
        Ok(users::find_name(&mut *self.0.db.reader().await?, name)
            .await?
            .as_ref()
            .map(user))
    }

    async fn robot_named(&self, full_name: &str) -> Result<Option<robots::Robot>> {
        let Some(name) = robot::parse_full_name(&self.0.config.robot_prefix, full_name) else {
            return Ok(None);
        };
        let project = name.project.as_ref().map(model::name::ProjectName::as_str);
        let robot =
            robots::find_name(&mut *self.0.db.reader().await?, project, name.name.as_str()).await?;
        Ok(robot.filter(|robot| !robot.disabled))
    }

    fn robot(&self, robot: &robots::Robot) -> Subject {
        Subject::Robot(Arc::new(RobotFacts {
            id: robot.id,
            name: robot::full_name(
                &self.0.config.robot_prefix,
                robot.project_name.as_deref(),
                &robot.name,
            ),
            project: robot.project,
            expires_at: robot.expires_at,
            version: robot.version,
        }))
    }
}

fn user(user: &users::User) -> Subject {
    Subject::User(Arc::new(UserFacts {
        id: user.id,
        name: user.name.clone(),
        admin: user.admin,
        version: user.version,
    }))
}
