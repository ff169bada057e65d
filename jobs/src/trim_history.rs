//! Drops what is only kept for a while: rows of the change log that nobody follows, and jobs that ended long ago.

#[cfg(test)]
mod tests;

use std::time::Duration;

use db::{changes, jobs};
use model::Result;

use crate::{Context, Outcome};

const KEEP_CHANGES: Duration = Duration::from_hours(168);
const KEEP_JOBS: Duration = Duration::from_hours(720);
/// Rows in one transaction: a few milliseconds of the one writer that SQLite has.
const BATCH: i64 = 200;

pub(crate) async fn run(cx: &Context) -> Result<Outcome> {
    let (mut dropped_changes, mut dropped_jobs) = (0, 0);
    loop {
        if cx.is_cancelled() {
            return Ok(Outcome::Interrupted);
        }
        let (changes, jobs) = cx
            .db()
            .write(|tx| {
                Box::pin(async move {
                    let now = tx.now().await?;
                    let changes = changes::trim(tx, now.minus(KEEP_CHANGES), BATCH).await?;
                    Ok((changes, jobs::trim(tx, now.minus(KEEP_JOBS), BATCH).await?))
                })
            })
            .await?;
        dropped_changes += changes;
        dropped_jobs += jobs;
        if changes == 0 && jobs == 0 {
            return Ok(Outcome::Done(format!(
                "{dropped_changes} changes and {dropped_jobs} ended jobs dropped"
            )));
        }
    }
}
