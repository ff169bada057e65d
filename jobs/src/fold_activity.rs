//! The series of what went on: hours become days after a while, and days go.

use std::time::Duration;

use db::activity;
use model::Result;

use crate::{Context, Outcome};

/// How long the series stays by the hour, and by the day.
const KEEP_HOURS: Duration = Duration::from_hours(14 * 24);
const KEEP_DAYS: Duration = Duration::from_hours(400 * 24);
/// Rows in one transaction.
const BATCH: i64 = 200;

pub(crate) async fn run(cx: &Context) -> Result<Outcome> {
    let (mut hours, mut days) = (0, 0);
    while !cx.is_cancelled() {
        let (folded, dropped) = cx
            .db()
            .write(|tx| {
                Box::pin(async move {
                    let now = tx.now().await?;
                    let folded = activity::fold(tx, now.minus(KEEP_HOURS), BATCH).await?;
                    let dropped = activity::trim(tx, now.minus(KEEP_DAYS), BATCH).await?;
                    Ok((folded, dropped))
                })
            })
            .await?;
        hours += folded;
        days += dropped;
        if folded == 0 && dropped == 0 {
            return Ok(Outcome::Done(format!(
                "{hours} hours of activity folded into days, {days} days dropped"
            )));
        }
    }
    Ok(Outcome::Interrupted)
}
