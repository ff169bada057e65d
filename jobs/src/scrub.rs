//! Reads stored content again, a slice at a time: the schedule brings the next one.

use std::time::Duration;

use model::Result;
use registry::scrub::ScrubOptions;

use crate::{Context, Outcome};

/// A slice ends before the next one is due.
const SLICE: Duration = Duration::from_mins(50);

pub(crate) async fn run(cx: &Context, requested_by: Option<&str>) -> Result<Outcome> {
    // A person who asks wants all of it.
    let options = match requested_by {
        Some(who) => {
            cx.log(format!("asked for by {who}")).await;
            ScrubOptions {
                everything: true,
                longest: None,
            }
        }
        None => ScrubOptions {
            everything: false,
            longest: Some(SLICE),
        },
    };
    let shown = cx.clone();
    let report = cx
        .registry
        .scrub(&options, &cx.cancel, move |done| shown.show(done))
        .await?;
    cx.show(&report.done);
    let done = &report.done;
    let mut lines: Vec<String> = report
        .examples
        .iter()
        .map(|lost| format!("{}: {}; push it again to heal it", lost.digest, lost.why))
        .collect();
    if done.recovered > 0 {
        lines.push(format!("{} lost contents are good again", done.recovered));
    }
    cx.log_all(lines).await;
    if !report.complete && cx.is_cancelled() {
        return Ok(Outcome::Interrupted);
    }
    Ok(Outcome::Done(format!(
        "{} contents with {} bytes read, {} lost",
        done.checked, done.bytes, done.lost
    )))
}
