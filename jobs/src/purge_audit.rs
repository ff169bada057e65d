//! Drops rows of the audit that are old enough, as somebody or a schedule asked for it. What a collector waits for stays until it has
//! it.

#[cfg(test)]
mod tests;

use std::time::Duration;

use db::audit::Purge;
use model::{Result, audit::Event, job::PurgeAudit};
use serde::Serialize;

use crate::{Context, Outcome, audit};

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
        read_until: audit::read_until(cx).await?,
        dry_run: what.dry_run,
    };
    let show = |purged| {
        cx.show(&Shown {
            purged,
            dry_run: what.dry_run,
        });
    };
    let Some(gone) = audit::purge(cx, &purge, show).await? else {
        return Ok(Outcome::Interrupted);
    };
    let verb = if what.dry_run {
        "would be dropped"
    } else {
        "dropped"
    };
    let before = before.rfc3339();
    let told = format!("{gone} rows of the audit from before {before} {verb}");
    cx.log(told.clone()).await;
    Ok(Outcome::Done(told))
}
