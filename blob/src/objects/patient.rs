//! Credentials that end, whosever: they are renewed early, and used on while that fails. Who gives them may be away, or silent:
//! while those that are known hold, at most one caller waits for it, and not long.

use std::{sync::Arc, time::Duration};

use async_trait::async_trait;
use object_store::CredentialProvider;
use parking_lot::Mutex;
use tokio::time::{Instant, timeout};

/// How long credentials are used on after they were given last. Those that end sooner are renewed before they are given: Amazon's and Azure's
/// five minutes before their end, Google's four.
const GRACE: Duration = Duration::from_mins(3);
/// How long a renewal may take that is not yet needed.
const SOON: Duration = Duration::from_secs(3);
/// How long they are used on before a renewal is tried again.
const PAUSE: Duration = Duration::from_secs(15);

/// Goes on with what was given last while nothing newer can be had: those credentials still hold for some minutes.
#[derive(Debug)]
pub(crate) struct Patient<C> {
    inner: Arc<dyn CredentialProvider<Credential = C>>,
    last: Mutex<Option<Last<C>>>,
    /// Held by the one who asks.
    asking: tokio::sync::Mutex<()>,
}

#[derive(Debug)]
struct Last<C> {
    credential: Arc<C>,
    /// When it was given last; it held for longer than `GRACE` then.
    given: Instant,
    /// When it is asked for again; who gives it has just failed.
    again: Option<Instant>,
}

impl<C> Last<C> {
    fn new(credential: Arc<C>) -> Self {
        Self {
            credential,
            given: Instant::now(),
            again: None,
        }
    }

    /// Whether it counts, even if nobody gives another.
    fn holds(&self) -> bool {
        self.given.elapsed() <= GRACE
    }

    /// Whether it is used without a question.
    fn rests(&self) -> bool {
        self.holds() && self.again.is_some_and(|again| Instant::now() < again)
    }
}

impl<C: std::fmt::Debug + Send + Sync + 'static> Patient<C> {
    pub(crate) fn new(inner: Arc<dyn CredentialProvider<Credential = C>>) -> Self {
        Self {
            inner,
            last: Mutex::new(None),
            asking: tokio::sync::Mutex::new(()),
        }
    }

    fn known(&self, is_fit: impl Fn(&Last<C>) -> bool) -> Option<Arc<C>> {
        let last = self.last.lock();
        let last = last.as_ref().filter(|last| is_fit(last))?;
        Some(last.credential.clone())
    }

    fn learn(&self, credential: Arc<C>) -> Arc<C> {
        *self.last.lock() = Some(Last::new(credential.clone()));
        credential
    }

    /// What is used on instead, if anything is.
    fn go_on(&self) -> Option<Arc<C>> {
        let mut last = self.last.lock();
        let last = last.as_mut()?;
        last.again = Some(Instant::now() + PAUSE);
        last.holds().then(|| last.credential.clone())
    }
}

#[async_trait]
impl<C: std::fmt::Debug + Send + Sync + 'static> CredentialProvider for Patient<C> {
    type Credential = C;

    async fn get_credential(&self) -> object_store::Result<Arc<C>> {
        if let Some(known) = self.known(Last::rests) {
            return Ok(known);
        }
        // Kept to the end. Where nothing is due the answer is at hand, and nobody notices.
        let asking = self.asking.try_lock();
        if asking.is_err()
            && let Some(known) = self.known(Last::holds)
        {
            return Ok(known);
        }
        // Without any that hold there is nothing but to wait.
        if self.known(Last::holds).is_none() {
            return self.inner.get_credential().await.map(|new| self.learn(new));
        }
        let why = match timeout(SOON, self.inner.get_credential()).await {
            Ok(Ok(new)) => return Ok(self.learn(new)),
            Ok(Err(error)) => error,
            Err(_) => object_store::Error::Generic {
                store: "credentials",
                source: format!("no answer within {SOON:?}").into(),
            },
        };
        let Some(known) = self.go_on() else {
            return Err(why);
        };
        tracing::warn!(error = %why, "credentials for the object store were not renewed; the old ones are used on");
        Ok(known)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU32, Ordering};

    use super::*;

    /// Stands for a machine's metadata service.
    #[derive(Debug, Default)]
    struct Metadata {
        asked: AtomicU32,
        is_silent: Mutex<bool>,
        is_away: Mutex<bool>,
    }

    #[async_trait]
    impl CredentialProvider for Metadata {
        type Credential = u32;

        async fn get_credential(&self) -> object_store::Result<Arc<u32>> {
            let number = self.asked.fetch_add(1, Ordering::SeqCst) + 1;
            tokio::task::yield_now().await;
            if *self.is_silent.lock() {
                std::future::pending::<()>().await;
            }
            if *self.is_away.lock() {
                return Err(object_store::Error::NotImplemented {
                    operation: "renewal".to_owned(),
                    implementer: "test".to_owned(),
                });
            }
            Ok(Arc::new(number))
        }
    }

    fn patient() -> (Arc<Metadata>, Patient<u32>) {
        let metadata = Arc::new(Metadata::default());
        (metadata.clone(), Patient::new(metadata))
    }

    async fn got(patient: &Patient<u32>) -> u32 {
        *patient.get_credential().await.expect("credentials")
    }

    #[tokio::test(start_paused = true)]
    async fn a_silent_service_holds_up_one_caller_for_a_moment_and_then_nobody_for_a_while() {
        let (metadata, patient) = patient();
        assert_eq!(got(&patient).await, 1);
        *metadata.is_silent.lock() = true;
        let begun = Instant::now();
        let (first, others) = tokio::join!(
            async {
                let known = got(&patient).await;
                (known, begun.elapsed())
            },
            async {
                let known = (got(&patient).await, got(&patient).await);
                (known, begun.elapsed())
            }
        );
        assert_eq!(first, (1, SOON));
        assert_eq!(others, ((1, 1), Duration::ZERO));
        assert_eq!(metadata.asked.load(Ordering::SeqCst), 2);
        // Put off.
        assert_eq!(got(&patient).await, 1);
        assert_eq!(metadata.asked.load(Ordering::SeqCst), 2);
        *metadata.is_silent.lock() = false;
        tokio::time::advance(PAUSE).await;
        assert_eq!(got(&patient).await, 3);
        assert_eq!(got(&patient).await, 4);
    }

    #[tokio::test(start_paused = true)]
    async fn what_is_known_counts_on_for_some_minutes_and_no_longer() {
        let (metadata, patient) = patient();
        assert_eq!(got(&patient).await, 1);
        *metadata.is_away.lock() = true;
        let begun = Instant::now();
        while begun.elapsed() <= GRACE {
            assert_eq!(got(&patient).await, 1);
            tokio::time::advance(PAUSE).await;
        }
        assert!(patient.get_credential().await.is_err());
        // Then one that is slow is waited for.
        *metadata.is_away.lock() = false;
        let before = metadata.asked.load(Ordering::SeqCst);
        assert_eq!(got(&patient).await, before + 1);
    }

    #[tokio::test(start_paused = true)]
    async fn what_was_given_long_ago_is_not_taken_while_another_asks() {
        let (metadata, patient) = patient();
        assert_eq!(got(&patient).await, 1);
        tokio::time::advance(2 * GRACE).await;
        let (first, second) = tokio::join!(got(&patient), got(&patient));
        assert_eq!((first, second), (2, 3));
        assert_eq!(metadata.asked.load(Ordering::SeqCst), 3);
    }
}
