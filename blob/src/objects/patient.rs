//! Credentials that end, whosever: they are renewed early, and used on while that fails.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use async_trait::async_trait;
use object_store::CredentialProvider;
use parking_lot::Mutex;

/// How long credentials are used on that could not be renewed: vendors renew them five minutes early.
const GRACE: Duration = Duration::from_mins(4);

/// Goes on with what was given last while nothing newer can be had: those credentials still hold for some minutes.
#[derive(Debug)]
pub(crate) struct Patient<C> {
    inner: Arc<dyn CredentialProvider<Credential = C>>,
    last: Mutex<Option<Last<C>>>,
}

#[derive(Debug)]
struct Last<C> {
    credential: Arc<C>,
    failing_since: Option<Instant>,
}

impl<C> Patient<C> {
    pub(crate) fn new(inner: Arc<dyn CredentialProvider<Credential = C>>) -> Self {
        Self {
            inner,
            last: Mutex::new(None),
        }
    }
}

#[async_trait]
impl<C: std::fmt::Debug + Send + Sync + 'static> CredentialProvider for Patient<C> {
    type Credential = C;

    async fn get_credential(&self) -> object_store::Result<Arc<C>> {
        let got = self.inner.get_credential().await;
        let mut last = self.last.lock();
        match got {
            Ok(credential) => {
                *last = Some(Last {
                    credential: credential.clone(),
                    failing_since: None,
                });
                Ok(credential)
            }
            Err(error) => match &mut *last {
                Some(last) => {
                    let since = *last.failing_since.get_or_insert_with(Instant::now);
                    if since.elapsed() > GRACE {
                        return Err(error);
                    }
                    tracing::warn!(%error, "credentials for the object store were not renewed; the old ones are used on");
                    Ok(last.credential.clone())
                }
                None => Err(error),
            },
        }
    }
}
