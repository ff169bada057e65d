//! Who asks: from the Authorization header, else from a browser's session, else from the client's certificate. A failed attempt is
//! anonymous, as with Harbor; what was presented is kept, since it decides the challenge.

use auth::Caller;
use base64::{Engine, engine::general_purpose::STANDARD};
use http::header;
use model::Result;

use crate::{connection::Connection, cookies, headers, notes::Notes, request::Ask};

/// What the request presented.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Presented {
    Nothing,
    Session,
    Certificate,
    Basic,
    Bearer,
    /// A Bearer token that has expired or that we did not sign.
    StaleBearer,
    /// A scheme that we do not know, or a header that cannot be read.
    Unreadable,
}

/// Headers longer than this are not looked into.
const LONGEST: usize = 20 * 1024;

impl Ask {
    /// Finds out who asks, and notes it for the access log.
    pub(crate) async fn identify(&self, notes: &mut Notes) -> Result<(Caller, Presented)> {
        let (caller, presented) = self.presented(notes).await?;
        notes.subject = caller.subject.clone();
        Ok((caller, presented))
    }

    async fn presented(&self, notes: &mut Notes) -> Result<(Caller, Presented)> {
        let Some(value) = self.head.headers.get(header::AUTHORIZATION) else {
            return match self.session(notes).await? {
                Some(caller) => Ok((caller, Presented::Session)),
                None => self.certified().await,
            };
        };
        let Some((scheme, credentials)) = value
            .to_str()
            .ok()
            .filter(|text| text.len() <= LONGEST)
            .and_then(|text| text.split_once(' '))
        else {
            return Ok((Caller::anonymous(), Presented::Unreadable));
        };
        let credentials = credentials.trim();
        if scheme.eq_ignore_ascii_case("bearer") {
            return Ok(match self.auth().bearer(credentials, self.time).await? {
                Some(caller) => (caller, Presented::Bearer),
                None => (Caller::anonymous(), Presented::StaleBearer),
            });
        }
        if scheme.eq_ignore_ascii_case("basic") {
            let Some((user, password)) = basic(credentials) else {
                return Ok((Caller::anonymous(), Presented::Unreadable));
            };
            let caller = self.auth().basic(&user, &password, self.client()).await?;
            return Ok((caller.unwrap_or_else(Caller::anonymous), Presented::Basic));
        }
        Ok((Caller::anonymous(), Presented::Unreadable))
    }

    /// Polling in the background, which says so, keeps no session alive.
    async fn session(&self, notes: &mut Notes) -> Result<Option<Caller>> {
        let Some(cookie) = cookies::find(&self.head.headers, cookies::SESSION) else {
            return Ok(None);
        };
        let renew = !self.head.headers.contains_key(headers::NO_SESSION_RENEWAL);
        let Some(signed) = self.app.auth.session(cookie, renew, self.time).await? else {
            return Ok(None);
        };
        if let Some(life) = signed.renewed {
            notes.renewed = Some(cookies::session(cookie, life, self.is_https()));
        }
        Ok(Some(signed.caller))
    }

    async fn certified(&self) -> Result<(Caller, Presented)> {
        if let Some(name) = self
            .connection
            .as_ref()
            .and_then(Connection::certified_name)
            && let Some(caller) = self.auth().certified(name).await?
        {
            return Ok((caller, Presented::Certificate));
        }
        Ok((Caller::anonymous(), Presented::Nothing))
    }
}

fn basic(credentials: &str) -> Option<(String, String)> {
    let text = String::from_utf8(STANDARD.decode(credentials).ok()?).ok()?;
    let (user, password) = text.split_once(':')?;
    Some((user.to_owned(), password.to_owned()))
}
