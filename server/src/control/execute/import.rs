//! Taking over another registry's tree, in the process that has the database and the store open.

use indicatif::HumanBytes;
use model::{Error, Result};
use registry::import::{self, ImportOptions, ImportProgress, ImportReport, ImportStatus};

use super::{House, Work};
use crate::control::answer::Progress;

pub(super) async fn blobs(
    house: &House,
    work: &Work,
    options: &ImportOptions,
    dry_run: bool,
) -> Result<ImportReport> {
    let show = |done: &ImportProgress| work.show(shown(done));
    if dry_run {
        let (store, db) = (house.registry.store(), Some(house.db()));
        return import::survey(store, db, options, &work.cancel, show).await;
    }
    if house.runs_jobs {
        // It goes on with the store that it has: a tree that is nobody's is for a process of its own.
        house.registry.check_store().await?;
    }
    house
        .registry
        .import_blobs(options, &work.cancel, show)
        .await
}

/// How far it has come, for the person who waits.
pub fn shown(done: &ImportProgress) -> Progress {
    let (contents, bytes) = (done.contents, HumanBytes(done.bytes));
    let (repositories, manifests, tags) = (done.repositories, done.manifests, done.tags);
    Progress {
        text: format!(
            "{contents} contents, {bytes}; {repositories} repositories, {manifests} manifests, {tags} tags"
        ),
        done: done.contents + done.manifests + done.tags,
        total: None,
    }
}

pub(super) async fn status(house: &House) -> Result<ImportStatus> {
    let status = house.registry.import_status().await?;
    status.ok_or_else(|| Error::Precondition("nothing was imported here".to_owned()))
}

pub(super) async fn finish(house: &House, work: &Work) -> Result<ImportStatus> {
    let show = |done: u64| {
        work.show(Progress {
            text: format!("{done} contents let go of"),
            done,
            total: None,
        });
    };
    house.registry.finish_import(&work.cancel, show).await?;
    status(house).await
}
