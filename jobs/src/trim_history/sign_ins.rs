//! What is left of people's signing in: sessions and ways back in that are over, wrong passwords that are forgiven, places where
//! nobody signed in for long.

use auth::attempts::{FORGOTTEN, KNOWN_FOR};
use db::{login_failures, password_resets, sessions};
use model::Result;

use super::BATCH;
use crate::Context;

/// How many rows went; none when the job was told to end before all had gone.
pub(super) async fn trim(cx: &Context) -> Result<Option<u64>> {
    let mut all = 0;
    while !cx.is_cancelled() {
        let trimmed = cx.db().write(|tx| {
            Box::pin(async move {
                let now = tx.now().await?;
                let (forgotten, known) = (now.minus(FORGOTTEN), now.minus(KNOWN_FOR));
                Ok(sessions::trim(tx, now, BATCH).await?
                    + password_resets::trim(tx, now, BATCH).await?
                    + login_failures::trim(tx, forgotten, known, BATCH).await?)
            })
        });
        let trimmed = trimmed.await?;
        if trimmed == 0 {
            return Ok(Some(all));
        }
        all += trimmed;
    }
    Ok(None)
}
