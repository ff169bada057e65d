//! Ends uploads that nobody continues, and forgets finished ones. The row goes first: a client that comes back in between
//! is told that the upload is unknown, never that bytes are there which are not.

#[cfg(test)]
mod tests;

use std::time::Duration;

use db::uploads::{self, Upload};
use model::Result;
use registry::store_error;

use crate::{Context, Outcome};

/// How long the row of a finished upload answers a repeated request.
const FINISHED: Duration = Duration::from_hours(1);
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
        for upload in &batch {
            tidy(cx, upload).await?;
        }
        for gone in forget(cx, batch).await? {
            if gone.finished.is_some() {
                finished += 1;
                continue;
            }
            let saved = gone.hash_state.as_deref();
            cx.registry.clear_upload(&gone.file, saved, None).await?;
            unfinished += 1;
        }
    }
    Ok(None)
}

/// What a finished upload left in a bucket goes before its row does, which alone tells of it.
async fn tidy(cx: &Context, upload: &Upload) -> Result<()> {
    let store = cx.registry.store();
    let Some(digest) = upload.finished.filter(|_| store.shares_uploads()) else {
        return Ok(());
    };
    cx.registry
        .clear_upload(&upload.file, None, Some(&digest))
        .await
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

async fn discard_strays(cx: &Context) -> Result<Option<u64>> {
    let mut discarded = 0;
    for stray in cx.registry.stray_uploads().await? {
        if cx.is_cancelled() {
            return Ok(None);
        }
        if stray.is_old {
            let discard = cx.registry.store().discard(&stray.key, None).await;
            discard.map_err(store_error)?;
            discarded += 1;
        }
    }
    Ok(Some(discarded))
}
