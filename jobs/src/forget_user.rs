//! Puts a hash in the place of what tells who a deleted user was, as Harbor's GDPR options do: in the audit, then in his row.
//! It may be run again from the beginning: until the end his row knows the name that is to go.

#[cfg(test)]
mod tests;

use db::{
    audit::{self, Rename},
    users::{self, Forget},
};
use model::{Result, id::UserId};
use sha2::{Digest, Sha256};

use crate::{Context, Outcome};

/// Rows looked at in one transaction.
const BATCH: i64 = 500;
/// Enough to tell people apart; who tries names finds no certainty in so few.
const HASH_BYTES: usize = 8;

pub(crate) async fn run(cx: &Context, user: UserId, what: Forget) -> Result<Outcome> {
    let Some(gone) = users::find_deleted(&mut *cx.db().reader().await?, user).await? else {
        return Ok(Outcome::GiveUp(
            "there is no such user, or he was not deleted".to_owned(),
        ));
    };
    if gone.is_forgotten(user) {
        return Ok(Outcome::Done("forgotten already".to_owned()));
    }
    let hash = hash(&gone);
    let mut rows = 0;
    if what.audit {
        let mut names = vec![(gone.name.clone(), false)];
        // By his address he may have failed to sign in.
        if let Some(email) = gone.email.clone()
            && !users::is_anothers(&mut *cx.db().reader().await?, &email, user).await?
        {
            names.push((email, true));
        }
        for (from, of_failed_logins) in names {
            let rename = Rename {
                from,
                to: hash.clone(),
                of_failed_logins,
                // Somebody else may have the name since then.
                until: gone.deleted_at,
            };
            match rename_all(cx, rename).await? {
                Some(renamed) => rows += renamed,
                None => return Ok(Outcome::Interrupted),
            }
        }
    }
    if what.account {
        cx.db()
            .write(move |tx| {
                let hash = hash.clone();
                Box::pin(async move {
                    let now = tx.now().await?;
                    users::erase(tx, user, &hash, now).await
                })
            })
            .await?;
    }
    Ok(Outcome::Done(format!(
        "user {user} is forgotten, in {rows} rows of the audit too",
        user = user.0
    )))
}

/// Answers how many rows were changed; none when it was interrupted.
async fn rename_all(cx: &Context, rename: Rename) -> Result<Option<u64>> {
    let (mut changed, mut after) = (0, 0);
    while !cx.is_cancelled() {
        let rename = rename.clone();
        let batch = cx
            .db()
            .write(move |tx| {
                let rename = rename.clone();
                Box::pin(async move { audit::rename(tx, &rename, after, BATCH).await })
            })
            .await?;
        changed += batch.changed;
        let Some(next) = batch.next else {
            return Ok(Some(changed));
        };
        after = next;
    }
    Ok(None)
}

/// The same at each attempt, and, unlike a checksum of the name alone, not to be found by trying names from outside.
fn hash(user: &users::Deleted) -> String {
    let digest = Sha256::new()
        .chain_update(&user.uid)
        .chain_update(b"/")
        .chain_update(&user.name)
        .finalize();
    hex::encode(&digest[..HASH_BYTES])
}
