//! Frees content that nothing names any more, all the time and a little at once. What somebody asks for is a job of its own: gc.rs.

#[cfg(test)]
mod tests;

use model::{Error, Result};
use registry::collect::CollectReport;

use crate::{Context, Outcome};

pub(crate) async fn run(cx: &Context) -> Result<Outcome> {
    let shown = cx.clone();
    let report = cx
        .registry
        .collect(&cx.cancel, move |done| shown.show(done))
        .await?;
    cx.show(&report.done);
    if let Some(early) = check(&report)? {
        return Ok(early);
    }
    let done = &report.done;
    Ok(Outcome::Done(format!(
        "{} links ended, {} contents with {} bytes freed",
        done.links_ended, done.freed, done.bytes_freed
    )))
}

/// A collection that did not come to its end, or that the next attempt has to go on with.
pub(crate) fn check(report: &CollectReport) -> Result<Option<Outcome>> {
    if !report.complete {
        return Ok(Some(Outcome::Interrupted));
    }
    match report.done.failed {
        0 => Ok(None),
        failed => Err(Error::Unavailable(anyhow::anyhow!(
            "{failed} contents could not be deleted"
        ))),
    }
}
