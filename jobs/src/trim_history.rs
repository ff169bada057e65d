//! Drops what is only kept for a while: rows of the change log that nobody follows, and jobs that ended long ago.

#[cfg(test)]
mod tests;

use std::time::Duration;

use db::{
    changes,
    jobs::{self, Forget},
};
use model::Result;

use crate::{Context, Outcome};

const KEEP_CHANGES: Duration = Duration::from_hours(168);
const KEEP_JOBS: Duration = Duration::from_hours(720);
/// How long jobs stay that went well and that nobody had asked for: a collection may come each minute.
const KEEP_PERIODIC: Duration = Duration::from_hours(72);
/// Rows in one transaction, lines of logs too: a few milliseconds of the one writer that SQLite has.
const BATCH: i64 = 200;

pub(crate) async fn run(cx: &Context) -> Result<Outcome> {
    let (mut changes, mut jobs) = (0, 0);
    while !cx.is_cancelled() {
        let (dropped, ended) = cx
            .db()
            .write(|tx| {
                Box::pin(async move {
                    let now = tx.now().await?;
                    let forget = Forget {
                        all: now.minus(KEEP_JOBS),
                        unasked: now.minus(KEEP_PERIODIC),
                    };
                    let dropped = changes::trim(tx, now.minus(KEEP_CHANGES), BATCH).await?;
                    Ok((dropped, jobs::trim(tx, forget, BATCH).await?))
                })
            })
            .await?;
        changes += dropped;
        jobs += ended.unwrap_or(0);
        if dropped == 0 && ended.is_none() {
            return Ok(Outcome::Done(format!(
                "{changes} changes and {jobs} ended jobs dropped"
            )));
        }
    }
    Ok(Outcome::Interrupted)
}
