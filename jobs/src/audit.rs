//! Dropping rows of the audit, for whatever job does it.

use db::{
    audit::{self, Purge},
    cursors::{self, Cursor},
};
use model::{Result, time::Timestamp};

use crate::{Context, forward};

/// Rows in one transaction: a few milliseconds of the one writer that SQLite has.
const BATCH: i64 = 200;

/// Answers how many rows went, or would; none when it was interrupted.
pub(crate) async fn purge(
    cx: &Context,
    purge: &Purge,
    progress: impl Fn(u64),
) -> Result<Option<u64>> {
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
        progress(gone);
        let Some(next) = batch.next else {
            return Ok(Some(gone));
        };
        begin = next;
    }
    Ok(None)
}

/// How far a collector has read that wants the audit; before the first row when it has not begun.
pub(crate) async fn read_until(cx: &Context) -> Result<Option<Cursor>> {
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
