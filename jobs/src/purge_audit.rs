//! Drops rows of the audit that are old enough, as somebody or a schedule asked for it. What a collector waits for stays until it has
//! it.

#[cfg(test)]
mod tests;

use std::time::Duration;

use db::audit::{self, Purge};
use model::{Result, audit::Event, job::PurgeAudit, time::Timestamp};
use serde::Serialize;

use crate::{Context, Outcome, trim_history::audit_read_until};

/// Rows in one transaction.
const BATCH: i64 = 500;

#[derive(Debug, Serialize)]
struct Shown {
    purged: u64,
    dry_run: bool,
}

pub(crate) async fn run(cx: &Context, what: &PurgeAudit) -> Result<Outcome> {
    let events: Vec<Event> = what
        .events
        .iter()
        .filter_map(|name| Event::parse(name))
        .collect();
    // As with Harbor.
    if what.keep_hours <= 0 || events.is_empty() {
        return Ok(Outcome::Done(
            "nothing to drop: `audit_retention_hour` is not above 0, or no event is named"
                .to_owned(),
        ));
    }
    let keep = Duration::from_hours(what.keep_hours.unsigned_abs());
    let before = cx.db().now().await?.minus(keep);
    let purge = Purge {
        before,
        events,
        read_until: audit_read_until(cx).await?,
        dry_run: what.dry_run,
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
        cx.show(&Shown {
            purged: gone,
            dry_run: what.dry_run,
        });
        let Some(next) = batch.next else {
            let (verb, before) = (
                if what.dry_run {
                    "would be dropped"
                } else {
                    "dropped"
                },
                before.rfc3339(),
            );
            let told = format!("{gone} rows of the audit from before {before} {verb}");
            cx.log(told.clone()).await;
            return Ok(Outcome::Done(told));
        };
        begin = next;
    }
    Ok(Outcome::Interrupted)
}
