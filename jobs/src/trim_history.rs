//! Drops what is only kept for a while: rows of the change log that nobody follows, jobs that ended long ago or of which there are
//! newer ones enough, what is left of people's signing in, and, where that is configured, old rows of the audit.

mod sign_ins;
#[cfg(test)]
mod tests;

use std::time::Duration;

use db::{
    audit::Purge,
    changes,
    jobs::{self, Forget},
    keys, nodes,
};
use model::{Result, job::Kind};

use crate::{Context, Outcome, audit};

const KEEP_CHANGES: Duration = Duration::from_hours(168);
const KEEP_JOBS: Duration = Duration::from_hours(720);
/// How long jobs stay that went well and that nobody had asked for: a collection may come each minute.
const KEEP_PERIODIC: Duration = Duration::from_hours(72);
/// Executions of one kind, and of one policy, that stay, unless they are too old.
const KEEP_EXECUTIONS: i64 = 50;
/// Executions found at a time: each look ranks all of a kind.
const MANY: i64 = 5000;
/// How long a key that signs no more still verifies: longer than any token lives.
const KEEP_KEYS: Duration = Duration::from_hours(90 * 24);
/// Rows in one transaction, lines of logs too: a few milliseconds of the one writer that SQLite has.
const BATCH: i64 = 200;

pub(crate) async fn run(cx: &Context) -> Result<Outcome> {
    match sign_ins::trim(cx).await? {
        Some(0) => {}
        Some(rows) => cx.log(format!("{rows} rows of signing in dropped")).await,
        None => return Ok(Outcome::Interrupted),
    }
    let (mut changes, mut jobs) = (0, 0);
    loop {
        if cx.is_cancelled() {
            return Ok(Outcome::Interrupted);
        }
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
                    let ended = jobs::trim(tx, forget, BATCH).await?;
                    nodes::forget(tx, now.minus(nodes::KEPT)).await?;
                    keys::forget_retired(tx, keys::TOKEN, now.minus(KEEP_KEYS)).await?;
                    Ok((dropped, ended))
                })
            })
            .await?;
        changes += dropped;
        jobs += ended.jobs;
        if dropped == 0 && ended.is_over() {
            break;
        }
    }
    let Some(swept) = sweep_executions(cx).await? else {
        return Ok(Outcome::Interrupted);
    };
    jobs += swept;
    let told = format!("{changes} changes and {jobs} ended jobs dropped");
    let Some(keep) = cx.audit_keep else {
        return Ok(Outcome::Done(told));
    };
    Ok(match trim_audit(cx, keep).await? {
        Some(rows) => Outcome::Done(format!("{told}, {rows} rows of the audit dropped")),
        None => Outcome::Interrupted,
    })
}

/// Of each kind and subject only the newest executions stay. Answers how many jobs went, their tasks too; none when it was interrupted.
async fn sweep_executions(cx: &Context) -> Result<Option<u64>> {
    let mut gone = 0;
    for kind in Kind::ALL {
        loop {
            let old = {
                let mut reader = cx.db().reader().await?;
                jobs::superfluous(&mut reader, *kind, KEEP_EXECUTIONS, MANY).await?
            };
            if old.is_empty() {
                break;
            }
            for old in old.chunks(BATCH as usize) {
                loop {
                    if cx.is_cancelled() {
                        return Ok(None);
                    }
                    let old = old.to_vec();
                    let swept = cx
                        .db()
                        .write(move |tx| {
                            let old = old.clone();
                            Box::pin(async move { jobs::delete(tx, &old, BATCH).await })
                        })
                        .await?;
                    gone += swept.jobs;
                    if swept.is_over() {
                        break;
                    }
                }
            }
        }
    }
    Ok(Some(gone))
}

/// Answers how many rows went; none when it was interrupted.
async fn trim_audit(cx: &Context, keep: Duration) -> Result<Option<u64>> {
    let purge = Purge {
        before: cx.db().now().await?.minus(keep),
        events: Vec::new(),
        read_until: audit::read_until(cx).await?,
        dry_run: false,
    };
    audit::purge(cx, &purge, |_| ()).await
}
