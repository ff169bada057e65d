//! Frees content that nothing names any more.

#[cfg(test)]
mod tests;

use model::Result;
use registry::collect::CollectReport;

use crate::{Context, Outcome};

pub(crate) async fn run(cx: &Context, requested_by: Option<&str>) -> Result<Outcome> {
    if let Some(who) = requested_by {
        cx.log(format!("asked for by {who}")).await;
    }
    let shown = cx.clone();
    let report = cx
        .registry
        .collect(&cx.cancel, move |done| shown.show(done))
        .await?;
    cx.show(&report.done);
    // One comes each minute: what went is only told to whoever asked.
    if requested_by.is_some() {
        cx.log_all(what_went(&report)).await;
    }
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
