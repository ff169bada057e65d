//! Drops what is only kept for a while: rows of the change log that nobody follows, jobs that ended long ago, and what went on in
//! repositories, of which hours become days first.

#[cfg(test)]
mod tests;

use std::time::Duration;

use db::{
    activity, changes,
    jobs::{self, Forget},
};
use model::Result;

use crate::{Context, Outcome};

const KEEP_CHANGES: Duration = Duration::from_hours(168);
const KEEP_JOBS: Duration = Duration::from_hours(720);
/// How long jobs stay that went well and that nobody had asked for: a collection may come each minute.
const KEEP_PERIODIC: Duration = Duration::from_hours(72);
/// How long the series of what went on stays by the hour, and by the day.
const KEEP_HOURS: Duration = Duration::from_hours(14 * 24);
const KEEP_DAYS: Duration = Duration::from_hours(400 * 24);
/// Rows in one transaction, lines of logs too: a few milliseconds of the one writer that SQLite has.
const BATCH: i64 = 200;

pub(crate) async fn run(cx: &Context) -> Result<Outcome> {
    let (mut changes, mut jobs, mut hours) = (0, 0, 0);
    while !cx.is_cancelled() {
        let (dropped, ended, folded, days) = cx
            .db()
            .write(|tx| {
                Box::pin(async move {
                    let now = tx.now().await?;
                    let forget = Forget {
                        all: now.minus(KEEP_JOBS),
                        unasked: now.minus(KEEP_PERIODIC),
                    };
                    let dropped = changes::trim(tx, now.minus(KEEP_CHANGES), BATCH).await?;
                    let ended = jobs::trim(tx, forget, BATCH).await?;
                    let folded = activity::fold(tx, now.minus(KEEP_HOURS), BATCH).await?;
                    let days = activity::trim(tx, now.minus(KEEP_DAYS), BATCH).await?;
                    Ok((dropped, ended, folded, days))
                })
            })
            .await?;
        changes += dropped;
        jobs += ended.unwrap_or(0);
        hours += folded;
        if dropped == 0 && ended.is_none() && folded == 0 && days == 0 {
            return Ok(Outcome::Done(format!(
                "{changes} changes and {jobs} ended jobs dropped, {hours} hours of activity folded"
            )));
        }
    }
    Ok(Outcome::Interrupted)
}
