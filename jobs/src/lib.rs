//! Everything slow, timed or retried. Jobs are rows of a queue; this crate claims them under a lease, runs them, and puts
//! periodic ones into the queue. A handler that wants something done writes a row and never calls in here.
//!
//! To add a kind: a variant of `model::job::Job`, a file here with `run`, an arm in [`run`], and for a periodic one a place in `Job::PERIODIC` and
//! its interval in `schedule`.

mod attempt;
mod audit;
mod context;
pub mod forward;
pub mod runner;
pub mod schedule;
mod slots;

mod collect;
mod describe;
mod empty_trash;
mod expire_uploads;
mod fold_activity;
mod forget_user;
mod fsck;
mod gc;
mod mail;
mod measure_space;
mod purge_audit;
mod recount;
mod retention;
mod scrub;
mod trim_history;

#[cfg(test)]
mod world;

pub use context::Context;
pub use mail::Post;
pub use runner::{Config, Runner};

use db::users::Forget;
use model::{Result, id::UserId, job::Job};

/// How an attempt ended that did not fail. An `Err` is repeated after a while; this is not.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// The text sums up what was done.
    Done(String),
    /// Its own part is done; the job ends with the last of the tasks that it has made.
    Split(String),
    /// Cancelled before its end.
    Interrupted,
    /// Repeating it would change nothing.
    GiveUp(String),
}

/// Runs one attempt of a job. Jobs work in small batches, may be run again from the beginning, and end within a second
/// once the context's token is cancelled.
pub async fn run(cx: &Context, post: &Post, job: &Job) -> Result<Outcome> {
    match job {
        Job::Collect {} => collect::run(cx).await,
        Job::Gc(gc) => gc::run(cx, gc).await,
        Job::Scrub { requested_by } => scrub::run(cx, requested_by.as_deref()).await,
        Job::ExpireUploads {} => expire_uploads::run(cx).await,
        Job::TrimHistory {} => trim_history::run(cx).await,
        Job::FoldActivity {} => fold_activity::run(cx).await,
        Job::PurgeAudit(what) => purge_audit::run(cx, what).await,
        Job::Describe {} => describe::run(cx).await,
        Job::Recount {} => recount::run(cx).await,
        Job::Fsck {} => fsck::run(cx).await,
        Job::MeasureSpace { .. } => measure_space::run(cx).await,
        Job::EmptyTrash {} => empty_trash::run(cx).await,
        Job::Retention { policy, dry_run } => retention::begin(cx, *policy, *dry_run).await,
        Job::Retain {
            policy,
            repository,
            dry_run,
        } => retention::retain(cx, *policy, *repository, *dry_run).await,
        Job::ForgetUser {
            user,
            account,
            audit,
        } => {
            let what = Forget {
                account: *account,
                audit: *audit,
            };
            forget_user::run(cx, UserId(*user), what).await
        }
        Job::Mail { user, letter } => mail::run(cx, post, *user, *letter).await,
    }
}
