//! Calls to one container with a token, repeated for as long as the store is expected back.

use std::{sync::Arc, time::Duration};

use http::Method;
use object_store::{
    PutPayload,
    client::{HttpClient, HttpError, HttpResponse},
};

use super::{
    super::{
        exchange::{self, Answer, PATIENT, Patience, QUICK, Question, address, ask, status, whole},
        fault::fault,
    },
    keystone::Granted,
    session::Session,
};
use crate::{Error, Result};

pub(crate) struct Client {
    pub(crate) wire: HttpClient,
    pub(crate) session: Session,
    pub(crate) container: String,
    /// What keys stand behind in errors: `swift://CONTAINER`.
    pub(crate) root: String,
}

/// Where a call goes.
#[derive(Clone, Copy, Debug)]
pub(crate) enum To<'a> {
    Account,
    Container,
    Object(&'a str),
}

/// One call. Whatever it does, doing it twice does no more.
#[derive(Clone, Debug)]
pub(crate) struct Call<'a> {
    /// As told in errors: "put".
    pub(crate) what: &'static str,
    pub(crate) method: Method,
    pub(crate) to: To<'a>,
    pub(crate) query: &'a [(&'a str, &'a str)],
    pub(crate) headers: Vec<(&'static str, String)>,
    pub(crate) body: PutPayload,
    pub(crate) patience: Duration,
}

impl<'a> Call<'a> {
    /// With nothing but its address, and patient.
    pub(crate) fn new(what: &'static str, method: Method, to: To<'a>) -> Self {
        Self {
            what,
            method,
            to,
            query: &[],
            headers: Vec::new(),
            body: PutPayload::new(),
            patience: PATIENT,
        }
    }

    pub(crate) fn header(mut self, name: &'static str, value: impl Into<String>) -> Self {
        self.headers.push((name, value.into()));
        self
    }
}

impl Client {
    /// As told in errors.
    pub(crate) fn shown(&self, to: To<'_>) -> String {
        match to {
            To::Account => "the account of ".to_owned() + &self.root,
            To::Container => self.root.clone(),
            To::Object(key) => format!("{}/{key}", self.root),
        }
    }

    /// A token, when a Keystone that is away comes back soon.
    pub(crate) async fn granted(&self) -> Result<Arc<Granted>> {
        let mut patience = Patience::new(QUICK);
        loop {
            match self.session.granted().await {
                Ok(granted) => return Ok(granted),
                Err(error) => {
                    let waited = again(&mut patience, error, false).await;
                    waited.map_err(|error| self.not_granted(&error))?;
                }
            }
        }
    }

    /// What it means that an object is not there: a container that is gone looks the same, and is no loss of contents.
    pub(crate) async fn missing(&self) -> Error {
        let mut call = Call::new("look at", Method::HEAD, To::Container);
        call.patience = QUICK;
        match self.send(&call).await {
            Ok(_) => Error::NotFound,
            Err(Error::NotFound) => self.no_container(),
            Err(error) => error,
        }
    }

    pub(crate) fn no_container(&self) -> Error {
        Error::Unusable {
            root: self.root.clone(),
            why: "the container does not exist".to_owned(),
        }
    }

    fn not_granted(&self, error: &HttpError) -> Error {
        const WHAT: &str = "get a token for";
        if !matches!(status(error), Some(401 | 403)) {
            return fault(WHAT, &self.root, error);
        }
        Error::Remote {
            what: WHAT,
            key: self.root.clone(),
            why: format!(
                "the store answered {}: correct who asks in storage.swift, or in OS_USERNAME and the like",
                status(error).unwrap_or_default()
            ),
            is_ours: true,
        }
    }

    /// An answer whole.
    pub(crate) async fn send(&self, call: &Call<'_>) -> Result<Answer> {
        let sent = self.try_send(call).await;
        sent.map_err(|error| self.fault(call, &error))
    }

    /// As [`Client::send`], with the refusal as it came.
    pub(crate) async fn try_send(&self, call: &Call<'_>) -> Result<Answer, HttpError> {
        let mut patience = Patience::new(call.patience);
        loop {
            let answer = match self.once(call).await {
                Ok(answer) => whole(answer).await,
                Err(error) => Err(error),
            };
            match answer {
                Ok(answer) => return Ok(answer),
                Err(error) => again(&mut patience, error, call.method == Method::PUT).await?,
            }
        }
    }

    /// The head of an answer, whose body is still to come.
    pub(crate) async fn open(&self, call: &Call<'_>) -> Result<HttpResponse, HttpError> {
        let mut patience = Patience::new(call.patience);
        loop {
            match self.once(call).await {
                Ok(answer) => return Ok(answer),
                Err(error) => again(&mut patience, error, false).await?,
            }
        }
    }

    pub(crate) fn fault(&self, call: &Call<'_>, error: &HttpError) -> Error {
        fault(call.what, &self.shown(call.to), error)
    }

    /// With another token when the one that is held is refused.
    async fn once(&self, call: &Call<'_>) -> Result<HttpResponse, HttpError> {
        let granted = self.session.granted().await?;
        match ask(&self.wire, self.question(call, &granted)).await {
            Err(error) if status(&error) == Some(401) => {
                let granted = self.session.instead_of(&granted).await?;
                ask(&self.wire, self.question(call, &granted)).await
            }
            answer => answer,
        }
    }

    fn question(&self, call: &Call<'_>, granted: &Granted) -> Question {
        let mut url = granted.storage.clone();
        match call.to {
            To::Account => {}
            To::Container => url = format!("{url}/{}", encoded(&self.container)),
            To::Object(key) => {
                url = format!("{url}/{}/{}", encoded(&self.container), encoded(key));
            }
        }
        let mut question = Question::new(call.method.clone(), address(url, call.query))
            .header("x-auth-token", &granted.token.0)
            .body(call.body.clone());
        question.headers.extend(call.headers.iter().cloned());
        question
    }
}

/// Whether asking again, after a while, may do.
pub(crate) fn passes(error: &HttpError) -> bool {
    // It has no room for a moment where a machine is away.
    exchange::passes(error) || status(error) == Some(507)
}

/// Waits before the next try; the error itself when none would help, or when this has lasted too long. What was put and came
/// otherwise than it was sent is sent again.
pub(crate) async fn again(
    patience: &mut Patience,
    error: HttpError,
    is_put: bool,
) -> Result<(), HttpError> {
    let is_torn = is_put && status(&error) == Some(422);
    if (passes(&error) || is_torn) && patience.waits().await {
        return Ok(());
    }
    Err(error)
}

/// All but the unreserved characters of RFC 3986, and slashes.
pub(crate) fn encoded(text: &str) -> String {
    exchange::encoded(text, true)
}
