//! Finds out what artifacts are that no push has described: those of an older release, and rebuilt ones.

#[cfg(test)]
mod tests;

use db::described::{self, Description, Undescribed};
use model::{Result, id::ArtifactId};

use crate::{Context, Outcome};

/// Artifacts read for one transaction.
const BATCH: i64 = 100;

pub(crate) async fn run(cx: &Context) -> Result<Outcome> {
    let (mut after, mut known) = (ArtifactId(0), 0_usize);
    while !cx.is_cancelled() {
        let batch = {
            let mut reader = cx.db().reader().await?;
            described::list_undescribed(&mut reader, after, BATCH).await?
        };
        let Some(last) = batch.last() else {
            return Ok(Outcome::Done(format!("{known} artifacts described")));
        };
        after = last.id;
        let Some(found) = cx.cancel.run_until_cancelled(look_at(cx, &batch)).await else {
            break;
        };
        let found = found?;
        known += found.len();
        keep(cx, found).await?;
        cx.show(&serde_json::json!({ "described": known }));
    }
    Ok(Outcome::Interrupted)
}

/// One whose bytes are lost stays as it is, until somebody pushes it again.
async fn look_at(cx: &Context, batch: &[Undescribed]) -> Result<Vec<(ArtifactId, Description)>> {
    let mut found = Vec::new();
    for one in batch {
        let described = cx
            .registry
            .describe_stored(one.repository, &one.digest)
            .await?;
        found.extend(described.map(|described| (one.id, described.into())));
    }
    Ok(found)
}

async fn keep(cx: &Context, found: Vec<(ArtifactId, Description)>) -> Result<()> {
    cx.db()
        .write(move |tx| {
            let found = found.clone();
            Box::pin(async move {
                for (id, known) in &found {
                    described::set(tx, *id, known).await?;
                }
                Ok(())
            })
        })
        .await
}
