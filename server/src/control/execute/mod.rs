//! Executes what commands ask for, on an open registry. Whoever came this far is the operator: nothing is refused for want
//! of rights, only what cannot be.

mod care;
mod contents;
pub mod import;
mod jobs;
mod moving;
mod nodes;
mod projects;
mod retention;
mod robots;
mod trash;
mod users;

use std::sync::Arc;

use auth::Auth;
use db::{Db, users::Forget};
use model::{Result, error::internal, name::check_password};
use registry::Registry;
use serde::Serialize;
use serde_json::Value;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use super::{
    answer::Progress,
    request::{Password, Request},
};
use crate::{checks, moving::Mover};

/// An open registry, as commands use it.
pub struct House {
    pub registry: Registry,
    pub auth: Auth,
    /// What of a deleted user does not stay.
    pub forget: Forget,
    /// Whether this process runs jobs, so that long work can be left to them.
    pub runs_jobs: bool,
    /// Moves it elsewhere.
    pub mover: Arc<Mover>,
}

impl House {
    fn db(&self) -> &Db {
        self.registry.db()
    }
}

/// One request under way.
pub struct Work {
    /// Cancelled when whoever asked has gone away, or the server stops.
    pub cancel: CancellationToken,
    progress: watch::Sender<Option<Progress>>,
}

impl Work {
    pub fn new(cancel: CancellationToken) -> (Self, watch::Receiver<Option<Progress>>) {
        let (progress, seen) = watch::channel(None);
        (Self { cancel, progress }, seen)
    }

    fn show(&self, progress: Progress) {
        self.progress.send_replace(Some(progress));
    }
}

/// Executes a request; the answer is the JSON of a type in `answer`.
pub async fn execute(house: &House, request: Request, work: &Work) -> Result<Value> {
    match request {
        Request::UserCreate(new) => json(users::create(house, new).await?),
        Request::UserList { after } => json(users::list(house, &after).await?),
        Request::UserDelete { name } => json(users::delete(house, name).await?),
        Request::UserSetAdmin { name, admin } => json(users::set_admin(house, name, admin).await?),
        Request::UserResetPassword { name, password } => {
            json(users::reset_password(house, name, password).await?)
        }

        Request::ProjectCreate {
            name,
            public,
            owner,
        } => json(projects::create(house, name, public, owner).await?),
        Request::ProjectList { after } => json(projects::list(house, &after).await?),
        Request::ProjectDelete { name } => json(projects::delete(house, name).await?),
        Request::ProjectRestore { name } => json(projects::restore(house, name).await?),
        Request::ProjectSetPublic { name, public } => {
            json(projects::set_public(house, name, public).await?)
        }
        Request::ProjectSetQuota { name, hard } => {
            json(projects::set_quota(house, name, hard).await?)
        }
        Request::MemberSet {
            project,
            user,
            role,
        } => json(projects::set_member(house, project, user, role).await?),
        Request::MemberRemove { project, user } => {
            json(projects::remove_member(house, project, user).await?)
        }
        Request::MemberList { project, after } => {
            json(projects::members(house, &project, &after).await?)
        }

        Request::RobotCreate(new) => json(robots::create(house, new).await?),
        Request::RobotList { after } => json(robots::list(house, after).await?),
        Request::RobotSetDisabled { robot, disabled } => {
            json(robots::set_disabled(house, robot, disabled).await?)
        }
        Request::RobotRefreshSecret { robot, secret } => {
            json(robots::refresh_secret(house, robot, secret).await?)
        }
        Request::RobotDelete { robot } => json(robots::delete(house, robot).await?),

        Request::RepositoryList { project, after } => {
            json(contents::repositories(house, project.as_deref(), &after).await?)
        }
        Request::ArtifactList { repository, before } => {
            json(contents::artifacts(house, &repository, before).await?)
        }
        Request::TagList { repository, after } => {
            json(contents::tags(house, &repository, &after).await?)
        }

        Request::Collect { untagged } => json(care::collect(house, work, untagged).await?),
        Request::CollectPreview { untagged, limit } => {
            json(care::preview(house, work, untagged, limit).await?)
        }
        Request::Scrub {} => json(care::scrub(house, work).await?),
        Request::Fsck { deep, repair } => json(care::fsck(house, work, deep, repair).await?),
        Request::KeyRotateToken { revoke } => json(house.auth.rotate_token_key(revoke).await?),
        Request::KeyRotateSecretKey { early } => {
            json(nodes::rotate_secret_key(house, early).await?)
        }
        Request::NodeList {} => json(nodes::list(house).await?),
        Request::NodeDrain { name, drained } => {
            json(db::nodes::ask(house.db(), &name, drained).await?)
        }
        Request::JobList { limit } => json(jobs::list(house, limit).await?),
        Request::JobLog { id, after } => json(jobs::log(house, id, after).await?),
        Request::JobStop { id } => json(jobs::stop(house, id).await?),
        Request::RetentionExplain {
            project,
            repository,
            limit,
            deleted,
        } => {
            let named = retention::Named { limit, deleted };
            json(retention::explain(house, work, &project, repository.as_deref(), named).await?)
        }
        Request::TrashList { project, before } => json(trash::list(house, &project, before).await?),
        Request::TrashedProjects { before } => json(trash::list_projects(house, before).await?),
        Request::TrashRestore { id, all } => json(trash::restore(house, id, all).await?),
        Request::TrashDelete { id } => json(trash::delete(house, id).await?),
        Request::MoveBegin { to } => json(moving::begin(house, work, to).await?),
        Request::MoveStatus {} => json(house.mover.status().await?),
        Request::MoveAbort {} => json(house.mover.abort().await?),
        Request::Space { measure } => json(care::space(house, work, measure).await?),

        Request::ImportBlobs { options, dry_run } => {
            json(import::blobs(house, work, &options, dry_run).await?)
        }
        Request::ImportStatus {} => json(import::status(house).await?),
        Request::ImportFinish {} => json(import::finish(house, work).await?),

        Request::Check { keys } => {
            let store = house.registry.store();
            json(checks::of_parts(house.db(), store, &keys).await)
        }
    }
}

fn json(answer: impl Serialize) -> Result<Value> {
    serde_json::to_value(answer).map_err(internal("writing an answer"))
}

/// A password or secret, its hash, and whether it was made up here.
struct Chosen {
    hash: String,
    /// What was made up, to be shown once.
    made_up: Option<String>,
}

/// Takes the password that was given, or makes one up.
async fn choose_password(house: &House, given: Option<Password>) -> Result<Chosen> {
    let (password, made_up) = if let Some(Password(password)) = given {
        check_password(&password)?;
        (password, None)
    } else {
        let password = auth::robots::new_secret()?.text;
        (password.clone(), Some(password))
    };
    let hash = house.auth.hash_password(password).await?;
    Ok(Chosen { hash, made_up })
}
