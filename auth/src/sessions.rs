//! Browsers' sessions: rows that every node reads, so a session goes on wherever its next request comes to. The cookie is 32
//! random bytes and says nothing; the database keeps its hash alone.

use std::{sync::Arc, time::Duration};

use aws_lc_rs::digest;
use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use db::{audit, sessions};
use model::{Result, time::Timestamp};

use crate::{Auth, Caller, Subject, UserFacts, Via, random};

/// A session's end is put off at most this often.
const RENEWED_EVERY: Duration = Duration::from_mins(1);
/// 32 bytes in base64.
const COOKIE: usize = 43;

/// A session that began, or whose end was put off.
pub struct Session {
    /// The cookie's value: for the browser alone.
    pub cookie: String,
    /// How long it goes on without a request.
    pub life: Duration,
}

/// Who comes with a cookie.
pub struct Signed {
    pub caller: Caller,
    /// The session's life, when its end was put off.
    pub renewed: Option<Duration>,
}

impl Auth {
    /// Begins a session for whoever just showed his password. The one he came with, if any, ends in the same moment, and the
    /// audit is told.
    pub async fn begin_session(
        &self,
        user: &UserFacts,
        old: Option<&str>,
        told: audit::New,
    ) -> Result<Session> {
        let life = self.1.settings().await?.session_timeout();
        let cookie = URL_SAFE_NO_PAD.encode(random::bytes::<32>()?);
        let (new, old) = (id(&cookie), old.and_then(id_of));
        let (user, version) = (user.id, user.version);
        let begun = self.1.write(move |tx| {
            let (new, old, told) = (new.clone(), old.clone(), told.clone());
            Box::pin(async move {
                let now = tx.now().await?;
                if let Some(old) = &old {
                    sessions::delete(tx, old).await?;
                }
                sessions::insert(tx, &new, user, version, life, now).await?;
                audit::append(tx, &told).await
            })
        });
        begun.await?;
        Ok(Session { cookie, life })
    }

    /// Whose session this is; none for one that is over or was never there. With `renew` its end is put off.
    pub async fn session(
        &self,
        cookie: &str,
        renew: bool,
        now: Timestamp,
    ) -> Result<Option<Signed>> {
        let Some(id) = id_of(cookie) else {
            return Ok(None);
        };
        let Some(found) = sessions::find(&mut *self.1.reader().await?, &id, now).await? else {
            return Ok(None);
        };
        let user = Subject::User(Arc::new(UserFacts {
            id: found.user,
            name: found.user_name,
            admin: found.admin,
            version: found.version,
        }));
        // A last request that is still to come was told by a node whose clock is ahead.
        let is_due = now.since(found.seen_at.min(now)) >= RENEWED_EVERY;
        Ok(Some(Signed {
            caller: Caller::new(user, Via::Session),
            renewed: if renew && is_due {
                self.renew(id).await
            } else {
                None
            },
        }))
    }

    /// A database that cannot be written just now is no reason to send anybody away.
    async fn renew(&self, id: String) -> Option<Duration> {
        let renewed = async {
            let life = self.1.settings().await?.session_timeout();
            let renewed = self.1.write(move |tx| {
                let id = id.clone();
                Box::pin(async move {
                    let now = tx.now().await?;
                    sessions::renew(tx, &id, now.minus(RENEWED_EVERY / 2), life, now).await
                })
            });
            Ok::<_, model::Error>(renewed.await?.then_some(life))
        };
        renewed.await.unwrap_or_else(|error| {
            tracing::warn!(%error, "a session could not be renewed");
            None
        })
    }

    /// Ends a session, and tells the audit when it was one.
    pub async fn end_session(&self, cookie: &str, told: Option<audit::New>) -> Result<()> {
        let Some(id) = id_of(cookie) else {
            return Ok(());
        };
        let ended = self.1.write(move |tx| {
            let (id, told) = (id.clone(), told.clone());
            Box::pin(async move {
                sessions::delete(tx, &id).await?;
                match &told {
                    Some(told) => audit::append(tx, told).await,
                    None => Ok(()),
                }
            })
        });
        ended.await
    }
}

/// None for what is no cookie of ours, so that nothing is asked for it.
fn id_of(cookie: &str) -> Option<String> {
    let fits = cookie.len() == COOKIE
        && cookie
            .bytes()
            .all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_');
    fits.then(|| id(cookie))
}

/// As its row is named.
fn id(cookie: &str) -> String {
    hex::encode(digest::digest(&digest::SHA256, cookie.as_bytes()))
}
