//! Checks that database and store say the same, both ways, and names in its log what is wrong. What is to be done about it a person
//! decides: `seawall fsck --repair`.

#[cfg(test)]
mod tests;

use model::{Error, Result};
use registry::fsck::{FsckOptions, FsckReport};

use crate::{Context, Outcome};

pub(crate) async fn run(cx: &Context) -> Result<Outcome> {
    let shown = cx.clone();
    let options = FsckOptions::default();
    let report = cx
        .registry
        .fsck(&options, &cx.cancel, move |done| shown.show(done))
        .await?;
    cx.show(&report.done);
    if let Some(why) = report.identity {
        return Err(Error::Unavailable(anyhow::anyhow!(why)));
    }
    cx.log_lines(told(&report)).await;
    if !report.complete {
        return Ok(Outcome::Interrupted);
    }
    let checked = format!(
        "{} contents and {} files compared",
        report.done.contents, report.done.stored
    );
    if report.is_clean() {
        return Ok(Outcome::Done(format!("{checked}: nothing is wrong")));
    }
    tracing::error!(
        "database and store do not say the same: see `seawall job log {}`",
        cx.id
    );
    let faults = report.findings.iter().filter(|(kind, _)| kind.is_fault());
    let count: u64 = faults.map(|(_, tally)| tally.count).sum();
    Ok(Outcome::Done(format!(
        "{checked}: {count} are wrong, see the log; `seawall fsck --repair` puts right what can be"
    )))
}

fn told(report: &FsckReport) -> Vec<String> {
    let mut lines = Vec::new();
    for (kind, tally) in &report.findings {
        lines.push(format!("{} {}", tally.count, kind.words()));
        lines.extend(tally.lines());
    }
    lines
}
