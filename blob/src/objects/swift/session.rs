//! The token of now: got when the first call wants one, renewed before it ends, and got anew when Swift refuses it. While it
//! holds, a Keystone that is away hurts nobody.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use object_store::client::{HttpClient, HttpError, HttpErrorKind};
use parking_lot::Mutex;

use super::{
    super::exchange::{QUICK, said},
    keystone::{self, Choice, Granted},
    login::Login,
};

/// How long before its end a token is renewed; sooner where it does not last that long.
const EARLY: Duration = Duration::from_mins(5);
/// How long it is used on before Keystone is asked again after a failure.
const PAUSE: Duration = Duration::from_secs(15);
/// How long a renewal may take that is not yet needed.
const SOON: Duration = Duration::from_secs(3);

pub(crate) struct Session {
    wire: HttpClient,
    login: Login,
    choice: Choice,
    /// In place of scheme, host and port of the catalog's address.
    endpoint: Option<String>,
    pub(super) held: Mutex<Option<Held>>,
    /// One asks at a time.
    asking: tokio::sync::Mutex<()>,
}

#[derive(Clone)]
pub(super) struct Held {
    granted: Arc<Granted>,
    pub(super) renew: Option<Instant>,
    pub(super) ends: Option<Instant>,
}

impl Held {
    fn holds(&self) -> bool {
        self.ends.is_none_or(|ends| Instant::now() < ends)
    }

    fn is_fresh(&self) -> bool {
        self.renew.is_none_or(|renew| Instant::now() < renew)
    }
}

impl Session {
    pub(crate) fn new(
        wire: HttpClient,
        login: Login,
        choice: Choice,
        endpoint: Option<String>,
    ) -> Self {
        Self {
            wire,
            login,
            choice,
            endpoint,
            held: Mutex::new(None),
            asking: tokio::sync::Mutex::new(()),
        }
    }

    /// A token that counts, as far as is known here.
    pub(crate) async fn granted(&self) -> Result<Arc<Granted>, HttpError> {
        let held = self.held.lock().clone();
        if let Some(held) = held.filter(Held::holds) {
            if held.is_fresh() {
                return Ok(held.granted);
            }
            // Another one asks already, and this one does.
            let Ok(_asking) = self.asking.try_lock() else {
                return Ok(held.granted);
            };
            let asked = tokio::time::timeout(SOON, self.ask()).await;
            return match asked.unwrap_or_else(|_| Err(no_answer())) {
                Ok(granted) => Ok(granted),
                Err(error) => {
                    tracing::warn!(%error, "the token for Swift was not renewed; the old one is used on");
                    self.put_off(&held.granted);
                    Ok(held.granted)
                }
            };
        }
        self.ask_instead_of(None).await
    }

    /// Another token than this one, which Swift refused.
    pub(crate) async fn instead_of(&self, refused: &Granted) -> Result<Arc<Granted>, HttpError> {
        if matches!(self.login, Login::Given { .. }) {
            return Err(said(
                "the token of OS_TOKEN has ended or may not do that: set another",
            ));
        }
        self.ask_instead_of(Some(refused)).await
    }

    async fn ask_instead_of(&self, refused: Option<&Granted>) -> Result<Arc<Granted>, HttpError> {
        // Whoever waits for the one who asks waits no longer than if he asked himself.
        let asked = tokio::time::timeout(QUICK, self.ask_in_turn(refused)).await;
        asked.unwrap_or_else(|_| Err(no_answer()))
    }

    async fn ask_in_turn(&self, refused: Option<&Granted>) -> Result<Arc<Granted>, HttpError> {
        let _asking = self.asking.lock().await;
        let held = self.held.lock().clone();
        if let Some(held) = held.filter(Held::holds)
            && refused.is_none_or(|refused| refused.token != held.granted.token)
        {
            return Ok(held.granted);
        }
        self.ask().await
    }

    async fn ask(&self) -> Result<Arc<Granted>, HttpError> {
        let asked = Instant::now();
        let mut granted = keystone::ask(&self.wire, &self.login, &self.choice).await?;
        if let Some(endpoint) = &self.endpoint {
            granted.storage = at(&granted.storage, endpoint)?;
        }
        let granted = Arc::new(granted);
        *self.held.lock() = Some(Held {
            granted: granted.clone(),
            renew: granted
                .lasts
                .map(|lasts| asked + lasts.saturating_sub(EARLY.min(lasts / 5))),
            ends: granted.lasts.map(|lasts| asked + lasts),
        });
        Ok(granted)
    }

    fn put_off(&self, granted: &Granted) {
        if let Some(held) = &mut *self.held.lock()
            && held.granted.token == granted.token
        {
            held.renew = Some(Instant::now() + PAUSE);
        }
    }
}

/// Asking again may do.
fn no_answer() -> HttpError {
    let why = std::io::Error::other("no answer from who gives tokens");
    HttpError::new(HttpErrorKind::Timeout, why)
}

/// The same address at another scheme, host and port.
pub(crate) fn at(address: &str, endpoint: &str) -> Result<String, HttpError> {
    let rest = address.split_once("://").map(|(_, rest)| rest);
    let path = rest.and_then(|rest| rest.split_once('/'));
    let (_, path) = path.ok_or_else(|| said(format!("`{address}` is no address of a storage")))?;
    Ok(format!("{endpoint}/{path}"))
}
