//! Calls of our own, beside those of the crate `object_store`: signed anew and repeated for as long as the store is expected back.

use std::time::Duration;

use http::{HeaderValue, Method, StatusCode, header};
use object_store::{
    PutPayload,
    aws::{AwsAuthorizer, AwsCredentialProvider},
    azure::{AzureAuthorizer, AzureCredentialProvider},
    client::{HttpClient, HttpError, HttpRequest},
    gcp::GcpCredentialProvider,
};

use super::{
    exchange::{self, Answer, Patience, Question, address, encoded, said, whole},
    fault::{Refusal, fault},
};
use crate::{Error, Result};

/// Who calls one bucket.
pub(crate) struct Sender {
    pub(crate) wire: HttpClient,
    pub(crate) signs: Signs,
    /// What keys are appended to, with a slash between: scheme, host and, where it does not stand in the host, the bucket.
    pub(crate) url: String,
    /// How long a call is repeated.
    pub(crate) patience: Duration,
}

/// What makes a request ours.
pub(crate) enum Signs {
    Aws {
        credentials: AwsCredentialProvider,
        region: String,
        /// Whether bodies are signed too; not where TLS protects them.
        bodies: bool,
    },
    Azure {
        credentials: AzureCredentialProvider,
        account: String,
    },
    Google(GcpCredentialProvider),
}

/// One call. Whatever it does, doing it twice does no more.
pub(crate) struct Call<'a> {
    /// As told in errors: "complete".
    pub(crate) what: &'static str,
    pub(crate) method: Method,
    /// Whole, with the bucket's prefix; empty for the bucket itself.
    pub(crate) key: &'a str,
    pub(crate) query: &'a [(&'a str, &'a str)],
    pub(crate) headers: &'a [(&'static str, &'a str)],
    pub(crate) body: PutPayload,
}

impl<'a> Call<'a> {
    /// With nothing but a query.
    pub(crate) fn new(
        what: &'static str,
        method: Method,
        key: &'a str,
        query: &'a [(&'a str, &'a str)],
    ) -> Self {
        Self {
            what,
            method,
            key,
            query,
            headers: &[],
            body: PutPayload::new(),
        }
    }
}

impl Sender {
    pub(crate) async fn send(&self, call: Call<'_>) -> Result<Answer> {
        let (what, key) = (call.what, call.key);
        let sent = self.try_send(call).await;
        sent.map_err(|failed| failed.into_error(what, key))
    }

    /// Repeats what may do with a repetition, signed anew each time.
    pub(crate) async fn try_send(&self, call: Call<'_>) -> Result<Answer, Failed> {
        let mut patience = Patience::new(self.patience);
        loop {
            let failed = match self.send_once(&call).await {
                Ok(answer) => return Ok(answer),
                Err(failed) => failed,
            };
            if !failed.passes() || !patience.waits().await {
                return Err(failed);
            }
        }
    }

    async fn send_once(&self, call: &Call<'_>) -> Result<Answer, Failed> {
        let url = format!("{}/{}", self.url, encoded(call.key, true));
        let mut question =
            Question::new(call.method.clone(), address(url, call.query)).body(call.body.clone());
        for (name, value) in call.headers {
            question = question.header(name, *value);
        }
        let mut request = question.request()?;
        self.signs.sign(&mut request).await?;
        Ok(whole(self.wire.execute(request).await?).await?)
    }
}

impl Signs {
    async fn sign(&self, request: &mut HttpRequest) -> Result<(), Failed> {
        match self {
            Self::Aws {
                credentials,
                region,
                bodies,
            } => {
                let credential = credentials.get_credential().await?;
                AwsAuthorizer::new(&credential, "s3", region)
                    .with_sign_payload(*bodies)
                    .try_authorize(request, None)?;
            }
            Self::Azure {
                credentials,
                account,
            } => {
                let credential = credentials.get_credential().await?;
                AzureAuthorizer::new(&credential, account).try_authorize(request)?;
            }
            Self::Google(credentials) => {
                let credential = credentials.get_credential().await?;
                let bearer = HeaderValue::from_str(&format!("Bearer {}", credential.bearer));
                let mut bearer = bearer.map_err(|_| said("the token is not a header"))?;
                bearer.set_sensitive(true);
                request.headers_mut().insert(header::AUTHORIZATION, bearer);
            }
        }
        Ok(())
    }
}

/// Why a call did not go through.
pub(crate) enum Failed {
    Http(HttpError),
    /// The credentials, or the signing.
    Library(object_store::Error),
}

impl Failed {
    fn refusal(&self) -> Option<&Refusal> {
        match self {
            Self::Http(error) => Refusal::find(error),
            Self::Library(_) => None,
        }
    }

    /// What the store answered, if it did.
    pub(crate) fn status(&self) -> Option<StatusCode> {
        Some(self.refusal()?.status)
    }

    /// Whether the store said one of these.
    pub(crate) fn is(&self, codes: &[&str]) -> bool {
        self.refusal().is_some_and(|refusal| refusal.is(codes))
    }

    fn passes(&self) -> bool {
        match self {
            Self::Http(error) => exchange::passes(error),
            Self::Library(_) => false,
        }
    }

    pub(crate) fn into_error(self, what: &'static str, key: &str) -> Error {
        match self {
            Self::Http(error) => fault(what, key, &error),
            Self::Library(error) => fault(what, key, &error),
        }
    }
}

impl From<HttpError> for Failed {
    fn from(error: HttpError) -> Self {
        Self::Http(error)
    }
}

impl From<object_store::Error> for Failed {
    fn from(error: object_store::Error) -> Self {
        Self::Library(error)
    }
}
