//! Ends uploads that nobody continues, and forgets finished ones. The row goes first: a client that comes back in between
//! is told that the upload is unknown, never that bytes are there which are not.

#[cfg(test)]
mod tests;

use std::time::{Duration, UNIX_EPOCH};

use db::uploads::{self, Upload};
use model::{Result, time::Timestamp};
use registry::store_error;

use crate::{Context, Outcome};

/// How long the row of a finished upload answers a repeated request.
const FINISHED: Duration = Duration::from_hours(1);
/// What other nodes work on has no row yet either, and its file may stand still while it is read back.
const YOUNGEST_STRAY: Duration = Duration::from_hours(1);
const BATCH: i64 = 100;

pub(crate) async fn run(cx: &Context) -> Result<Outcome> {
    let Some((unfinished, finished)) = end_sessions(cx).await? else {
        return Ok(Outcome::Interrupted);
    };
    let Some(strays) = discard_strays(cx).await? else {
        return Ok(Outcome::Interrupted);
    };
    Ok(Outcome::Done(format!(
        "{unfinished} uploads expired, {finished} finished ones forgotten, {strays} stray files removed"
    )))
}

async fn end_sessions(cx: &Context) -> Result<Option<(u64, u64)>> {
    let (mut unfinished, mut finished) = (0, 0);
    while !cx.is_cancelled() {
        let now = cx.db().now().await?;
        let before = now.minus(cx.registry.config().uploads_expire);
        let batch = uploads::expired(
            &mut *cx.db().reader().await?,
            before,
            now.minus(FINISHED),
            BATCH,
        )
        .await?;
        if batch.is_empty() {
            return Ok(Some((unfinished, finished)));
        }
        for gone in forget(cx, batch).await? {
            if gone.finished.is_some() {
                finished += 1;
                continue;
            }
            cx.registry
                .store()
                .discard(&gone.file)
                .await
                .map_err(store_error)?;
            unfinished += 1;
        }
    }
    Ok(None)
}

/// Those whose rows went; one that was continued meanwhile stays.
async fn forget(cx: &Context, batch: Vec<Upload>) -> Result<Vec<Upload>> {
    cx.db()
        .write(move |tx| {
            let batch = batch.clone();
            Box::pin(async move {
                let mut gone = Vec::with_capacity(batch.len());
                for upload in batch {
                    if uploads::expire(tx, &upload).await? {
                        gone.push(upload);
                    }
                }
                Ok(gone)
            })
        })
        .await
}

/// Files without a session: of requests that ended before their row was made, of sessions that another node took over, and of
/// crashes.
async fn discard_strays(cx: &Context) -> Result<Option<u64>> {
    let files = cx.registry.store().uploads().await.map_err(store_error)?;
    let before = cx
        .db()
        .now()
        .await?
        .minus(cx.registry.config().uploads_expire.max(YOUNGEST_STRAY));
    let mut discarded = 0;
    for file in files {
        if cx.is_cancelled() {
            return Ok(None);
        }
        let modified = file.modified.duration_since(UNIX_EPOCH).unwrap_or_default();
        if file.is_busy || Timestamp(modified.as_micros() as i64) >= before {
            continue;
        }
        let row = uploads::find_by_file(&mut *cx.db().reader().await?, &file.key).await?;
        if row.is_some_and(|row| row.finished.is_none() && !row.cancelled) {
            continue;
        }
        cx.registry
            .store()
            .discard(&file.key)
            .await
            .map_err(store_error)?;
        discarded += 1;
    }
    Ok(Some(discarded))
}
