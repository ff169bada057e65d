//! Frees content that nothing names any more, all the time and a little at once. What somebody asks for is a job of its own: gc.rs.

#[cfg(test)]
mod tests;

use model::Result;

use crate::{Context, Outcome};

pub(crate) async fn run(cx: &Context) -> Result<Outcome> {
    let shown = cx.clone();
    let report = cx
        .registry
        .collect(&cx.cancel, move |done| shown.show(done))
        .await?;
    cx.show(&report.done);
    if !report.complete {
        return Ok(Outcome::Interrupted);
    }
    let done = &report.done;
    if done.failed > 0 {
        return Err(model::Error::Unavailable(anyhow::anyhow!(
            "{} contents could not be deleted",
            done.failed
        )));
    }
    Ok(Outcome::Done(format!(
        "{} links ended, {} contents with {} bytes freed",
        done.links_ended, done.freed, done.bytes_freed
    )))
}
