//! Content that was taken in as it lay in the store is read before it is served for the first time. Whoever asks for it
//! meanwhile waits for the same reading.

use std::{collections::HashMap, sync::Arc};

use db::{
    blobs::{Blob, State},
    links,
};
use futures_util::{
    FutureExt,
    future::{BoxFuture, Shared, WeakShared},
};
use model::{Error, Result, id::RepositoryId};
use oci::digest::Digest;
use parking_lot::Mutex;
use tokio_util::sync::CancellationToken;

use crate::Registry;

/// Readings under way in this process. One that nobody waits for any more ends; the next who asks begins it anew.
#[derive(Default)]
pub(crate) struct Readings(Mutex<HashMap<Digest, WeakShared<Reading>>>);

type Reading = BoxFuture<'static, Result<(), Arc<Error>>>;

impl Registry {
    /// The adopted content as this repository may read it, once it was found good; `None` when it was not.
    pub(crate) async fn after_first_read(
        &self,
        repository: RepositoryId,
        digest: &Digest,
    ) -> Result<Option<Arc<Blob>>> {
        let reading = self.first_reading(digest);
        if let Err(error) = reading.await {
            let why = format!("reading `{digest}` for the first time: {error:#}");
            return Err(Error::Unavailable(anyhow::anyhow!(why)));
        }
        let found = links::find(&mut *self.db().reader().await?, repository, digest).await?;
        match found.filter(|blob| blob.state.is_readable()) {
            Some(blob) if blob.state == State::Adopted => Err(Error::Unavailable(anyhow::anyhow!(
                "`{digest}` changed while it was read for the first time"
            ))),
            found => Ok(found.map(Arc::new)),
        }
    }

    fn first_reading(&self, digest: &Digest) -> Shared<Reading> {
        let mut readings = self.0.readings.0.lock();
        if let Some(reading) = readings.get(digest).and_then(WeakShared::upgrade) {
            return reading;
        }
        // Those that have ended, or that nobody waits for.
        readings.retain(|_, reading| reading.upgrade().is_some());
        let (registry, digest) = (self.clone(), *digest);
        let read = async move {
            let cancel = CancellationToken::new();
            let judged = registry.judge(&digest, None, &cancel);
            judged.await.map(|_| ()).map_err(Arc::new)
        };
        let reading = read.boxed().shared();
        if let Some(weak) = reading.downgrade() {
            readings.insert(digest, weak);
        }
        reading
    }
}
