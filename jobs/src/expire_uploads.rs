//! Ends uploads that nobody continues, and forgets finished ones. First the row says that the upload is over: a client that comes
//! back is told that it is unknown, never that bytes are there which are not. Then the bytes go, then the row, which
//! alone tells of them.

#[cfg(test)]
mod tests;

use std::time::Duration;

use db::uploads::{self, Upload};
use futures_util::{StreamExt, stream};
use model::Result;
use registry::store_error;

use crate::{Context, Outcome};

/// How long the row of a finished upload answers a repeated request.
const FINISHED: Duration = Duration::from_hours(1);
const BATCH: i64 = 100;
/// Uploads that are cleared at once: each asks the store.
const AT_ONCE: usize = 8;

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
        let cleared = clear(cx, end(cx, batch).await?).await?;
        for gone in forget(cx, cleared).await? {
            if gone.finished.is_some() {
                finished += 1;
            } else {
                unfinished += 1;
            }
        }
    }
    Ok(None)
}

/// Those that are over now; one that was continued meanwhile stays.
async fn end(cx: &Context, batch: Vec<Upload>) -> Result<Vec<Upload>> {
    cx.db()
        .write(move |tx| {
            let batch = batch.clone();
            Box::pin(async move {
                let mut over = Vec::with_capacity(batch.len());
                for upload in batch {
                    if upload.finished.is_some() || uploads::end_expired(tx, &upload).await? {
                        over.push(upload);
                    }
                }
                Ok(over)
            })
        })
        .await
}

/// Those that have left nothing in the store any more. One that cannot be cleared is tried again the next time; when none can, the
/// store is not there.
async fn clear(cx: &Context, over: Vec<Upload>) -> Result<Vec<Upload>> {
    let clearing = over.into_iter().map(async |upload| {
        let cleared = clear_one(cx, &upload).await;
        (upload, cleared)
    });
    let answers: Vec<_> = stream::iter(clearing)
        .buffer_unordered(AT_ONCE)
        .collect()
        .await;
    let (mut cleared, mut failed) = (Vec::with_capacity(answers.len()), None);
    for (upload, answer) in answers {
        match answer {
            Ok(()) => cleared.push(upload),
            Err(error) => {
                tracing::warn!(upload = upload.id, %error, "an upload that is over could not be cleared");
                failed = Some(error);
            }
        }
    }
    match failed {
        Some(error) if cleared.is_empty() => Err(error),
        _ => Ok(cleared),
    }
}

async fn clear_one(cx: &Context, upload: &Upload) -> Result<()> {
    if upload.file.is_empty() {
        return Ok(());
    }
    match &upload.finished {
        None => {
            let saved = upload.hash_state.as_deref();
            cx.registry.clear_upload(&upload.file, saved, None).await
        }
        // In a directory its file was renamed.
        Some(_) if !cx.registry.store().shares_uploads() => Ok(()),
        finished => {
            let digest = finished.as_ref();
            cx.registry.clear_upload(&upload.file, None, digest).await
        }
    }
}

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
