//! A collection that somebody or a schedule asked for, as Harbor's API has it: what has no tag goes first when that is wanted, then
//! everything that nothing names any more. With a dry run the log names what would go, and why.

#[cfg(test)]
mod tests;

use model::{Result, job::Gc};
use registry::{
    collect::{Candidate, CollectProgress, CollectReport},
    untagged::Untagged,
};
use serde::Serialize;

use crate::{Context, Outcome, collect::check};

/// Things that a log names.
const NAMED: usize = 5000;

/// What is shown of a run, under the names that Harbor's clients read.
#[derive(Debug, Clone, Default, Serialize)]
struct Shown {
    #[serde(flatten)]
    done: CollectProgress,
    freed_space: u64,
    purged_blobs: u64,
    purged_manifests: u64,
}

pub(crate) async fn run(cx: &Context, gc: &Gc) -> Result<Outcome> {
    if let Some(who) = &gc.requested_by {
        cx.log(format!("asked for by {who}")).await;
    }
    let Some(manifests) = untagged(cx, gc).await? else {
        return Ok(Outcome::Interrupted);
    };
    if gc.dry_run {
        return preview(cx, manifests).await;
    }
    let shown = cx.clone();
    let report = cx
        .registry
        .collect(&cx.cancel, move |done| shown.show(&told(done, manifests)))
        .await?;
    cx.show(&told(&report.done, manifests));
    cx.log_all(what_went(&report)).await;
    if let Some(early) = check(&report)? {
        return Ok(early);
    }
    let done = &report.done;
    Ok(Outcome::Done(format!(
        "{manifests} manifests without a tag deleted, {} links ended, {} contents with {} bytes freed",
        done.links_ended, done.freed, done.bytes_freed
    )))
}

fn told(done: &CollectProgress, manifests: u64) -> Shown {
    Shown {
        freed_space: done.bytes_freed,
        purged_blobs: done.freed,
        purged_manifests: manifests,
        done: done.clone(),
    }
}

/// Deletes what has no tag, when that is wanted; answers how many manifests went, and none when it was interrupted.
async fn untagged(cx: &Context, gc: &Gc) -> Result<Option<u64>> {
    if !gc.delete_untagged {
        return Ok(Some(0));
    }
    let mut lines = Vec::new();
    let mut gone = 0;
    let each = |one: Untagged| {
        gone += 1;
        cx.show(&told(&CollectProgress::default(), gone));
        if lines.len() < NAMED {
            let what = if gc.dry_run {
                "would delete"
            } else {
                "deleted"
            };
            lines.push(format!(
                "{what} {}@{}: it has no tag",
                one.repository, one.digest
            ));
        }
    };
    let deleted = cx
        .registry
        .delete_untagged(gc.dry_run, Some(cx.attempt()), &cx.cancel, each)
        .await?;
    let more = deleted.saturating_sub(lines.len() as u64);
    if more > 0 {
        lines.push(format!("and {more} more without a tag"));
    }
    cx.log_lines(lines).await;
    Ok((!cx.is_cancelled()).then_some(deleted))
}

/// What goes by being deleted only now frees its contents later: a dry run names those that are free already.
async fn preview(cx: &Context, manifests: u64) -> Result<Outcome> {
    let candidates = cx.registry.collect_preview(NAMED).await?;
    let freed: Vec<&Candidate> = candidates.iter().filter(|one| one.frees_bytes).collect();
    let shown = Shown {
        freed_space: freed.iter().map(|one| one.size).sum(),
        purged_blobs: freed.len() as u64,
        purged_manifests: manifests,
        ..Shown::default()
    };
    cx.show(&shown);
    let lines = candidates
        .iter()
        .map(|one| format!("would free {}, {} bytes: {}", one.digest, one.size, one.why));
    cx.log_lines(lines.collect()).await;
    let first = if candidates.len() == NAMED {
        "the first "
    } else {
        ""
    };
    Ok(Outcome::Done(format!(
        "a dry run: {manifests} manifests without a tag, {first}{} contents with {} bytes would go",
        shown.purged_blobs, shown.freed_space
    )))
}

fn what_went(report: &CollectReport) -> Vec<String> {
    let mut lines: Vec<String> = report
        .examples
        .iter()
        .map(|freed| format!("freed {}, {} bytes", freed.digest, freed.size))
        .collect();
    let more = report
        .done
        .freed
        .saturating_sub(report.examples.len() as u64);
    if more > 0 {
        lines.push(format!("and {more} more"));
    }
    lines
}
