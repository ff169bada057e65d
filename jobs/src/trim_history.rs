//! Drops what is only kept for a while: rows of the change log that nobody follows, jobs that ended long ago, what is left of people's
//! signing in, what went on in repositories, of which hours become days first, and, where that is configured, old rows of the audit.

mod sign_ins;
#[cfg(test)]
mod tests;

use std::time::Duration;

use db::{
    activity,
    audit::{self, Purge},
    changes,
    cursors::{self, Cursor},
    jobs::{self, Forget},
};
use model::{Result, time::Timestamp};

use crate::{Context, Outcome, forward};

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
    match sign_ins::trim(cx).await? {
        Some(0) => {}
        Some(rows) => cx.log(format!("{rows} rows of signing in dropped")).await,
        None => return Ok(Outcome::Interrupted),
    }
    let (mut changes, mut jobs, mut hours) = (0, 0, 0);
    loop {
        if cx.is_cancelled() {
            return Ok(Outcome::Interrupted);
        }
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
            break;
        }
    }
    let told = format!(
        "{changes} changes and {jobs} ended jobs dropped, {hours} hours of activity folded"
    );
    let Some(keep) = cx.audit_keep else {
        return Ok(Outcome::Done(told));
    };
    Ok(match trim_audit(cx, keep).await? {
        Some(rows) => Outcome::Done(format!("{told}, {rows} rows of the audit dropped")),
        None => Outcome::Interrupted,
    })
}

/// Answers how many rows went; none when it was interrupted.
async fn trim_audit(cx: &Context, keep: Duration) -> Result<Option<u64>> {
    let purge = Purge {
        before: cx.db().now().await?.minus(keep),
        events: Vec::new(),
        read_until: unread(cx).await?,
        dry_run: false,
    };
    let (mut gone, mut begin) = (0, (Timestamp(0), 0));
    while !cx.is_cancelled() {
        let purge = purge.clone();
        let batch = cx
            .db()
            .write(move |tx| {
                let purge = purge.clone();
                Box::pin(async move { audit::trim(tx, &purge, begin, BATCH).await })
            })
            .await?;
        gone += batch.gone;
        let Some(next) = batch.next else {
            return Ok(Some(gone));
        };
        begin = next;
    }
    Ok(None)
}

/// How far a collector has read that wants the audit; before the first row when it has not begun.
async fn unread(cx: &Context) -> Result<Option<Cursor>> {
    if cx
        .db()
        .settings()
        .await?
        .audit_log_forward_endpoint()
        .is_none()
    {
        return Ok(None);
    }
    let read = cursors::find(&mut *cx.db().reader().await?, forward::NAME).await?;
    Ok(Some(read.unwrap_or_default()))
}
