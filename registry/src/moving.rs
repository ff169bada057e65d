//! The registry while its contents go to another store. Between the bytes and their row no such change may come, so who publishes
//! is waited for; and an upload that began in the store before begins anew.

use std::{
    collections::{BTreeMap, HashSet},
    sync::Arc,
    time::Duration,
};

use blob::Store;
use db::{
    blobs::{Blob, location_of},
    moving,
};
use futures_util::{StreamExt, stream};
use model::{Error, Result, What, id::BlobId};
use tokio::{
    sync::{OwnedRwLockReadGuard, OwnedRwLockWriteGuard, RwLock},
    time::timeout,
};

use crate::{Registry, store_error};

const COMING: &str = ".coming";
const MOVED: &str = ".moved";
/// How long who publishes waits for the end of a move.
const HELD: Duration = Duration::from_secs(10);
/// How long that waits for who publishes, while others wait behind it.
const GATE: Duration = Duration::from_secs(3);
/// Looks at once for what may be there after all.
const LOOKS: usize = 64;
/// Contents that are carried at once.
const AT_ONCE: usize = 8;
/// Contents that could not be carried and are named.
const NAMED: usize = 20;

/// The identity of a store that contents are being moved to: no server uses it.
pub fn of_coming(store_id: &str) -> String {
    format!("{store_id}{COMING}")
}

/// The identity of a store whose contents have gone elsewhere.
pub fn of_moved(store_id: &str) -> String {
    format!("{store_id}{MOVED}")
}

/// An error where an identity says that the store is not the one to use.
pub fn refuse_left(identity: &str) -> Result<()> {
    if identity.ends_with(MOVED) {
        return Err(Error::Precondition(
            "the contents of this store were moved elsewhere: name that place in storage.url (DATA/moved.toml has it, unless it was deleted)"
                .to_owned(),
        ));
    }
    if identity.ends_with(COMING) {
        return Err(Error::Precondition(
            "a move into this store has not come to its end: name the store that it comes from in storage.url".to_owned(),
        ));
    }
    Ok(())
}

/// Held by each who brings bytes to their place and writes their row.
pub(crate) type Publishing = Arc<RwLock<()>>;

/// Nobody publishes as long as this is.
pub struct Still {
    _gate: OwnedRwLockWriteGuard<()>,
}

/// What was carried.
#[derive(Debug, Clone, Default)]
pub struct Carried {
    pub contents: u64,
    pub bytes: u64,
    /// Contents that the store does not give back whole: they are damaged or missing where they were.
    pub lost: u64,
    /// The first of those, and why.
    pub examples: Vec<String>,
}

/// Carries contents from a registry's store to another one.
pub struct Carrier {
    registry: Registry,
    to: Store,
    /// What was carried, by number and by where it lay.
    done: HashSet<(BlobId, String)>,
    lost: BTreeMap<BlobId, Loss>,
    carried: Carried,
}

/// What was not given back.
struct Loss {
    why: String,
    /// Not there at all.
    is_missing: bool,
}

impl Registry {
    /// From now on until it is dropped the store is not changed.
    pub(crate) async fn publishing(&self) -> Result<OwnedRwLockReadGuard<()>> {
        let gate = timeout(HELD, self.0.publishing.clone().read_owned()).await;
        gate.map_err(|_| {
            Error::Unavailable(anyhow::anyhow!("the contents are being moved elsewhere"))
        })
    }

    /// The same for who began when the store had changed so often.
    pub(crate) async fn publish_in(&self, moves: u64) -> Result<OwnedRwLockReadGuard<()>> {
        let publishing = self.publishing().await?;
        if self.store().moves() == moves {
            return Ok(publishing);
        }
        Err(moved())
    }

    /// Why an upload failed that began when the store had changed so often: whatever it stumbled over, it begins anew.
    pub(crate) fn unless_moved(&self, moves: u64, error: Error) -> Error {
        if self.store().moves() == moves {
            return error;
        }
        tracing::debug!(%error, "an upload does not come along to another store");
        moved()
    }

    /// Waits for all who publish, and holds the others until the answer is dropped.
    pub async fn hold_publishing(&self) -> Result<Still> {
        let gate = timeout(GATE, self.0.publishing.clone().write_owned()).await;
        gate.map(|gate| Still { _gate: gate })
            .map_err(|_| Error::Unavailable(anyhow::anyhow!("pushes did not end within {GATE:?}")))
    }

    /// Whether contents are being carried to another store.
    pub(crate) async fn is_store_moving(&self) -> Result<bool> {
        let begun = moving::begun(&mut *self.db().reader().await?).await?;
        Ok(begun.is_some_and(|begun| begun.storage.is_some()))
    }
}

fn moved() -> Error {
    Error::not_found(
        What::Upload,
        "the registry's contents were moved meanwhile: start this upload again",
    )
}

impl Carrier {
    pub fn new(registry: &Registry, to: Store) -> Self {
        Self {
            registry: registry.clone(),
            to,
            done: HashSet::new(),
            lost: BTreeMap::new(),
            carried: Carried::default(),
        }
    }

    pub fn to(&self) -> &Store {
        &self.to
    }

    /// What was carried, and what was lost.
    pub fn carried(&self) -> Carried {
        Carried {
            lost: self.lost.len() as u64,
            examples: (self.lost.values().take(NAMED))
                .map(|loss| loss.why.clone())
                .collect(),
            ..self.carried.clone()
        }
    }

    /// Contents that were not where they should be. A push heals such without its row saying so.
    pub fn missing(&self) -> Vec<BlobId> {
        let missing = self.lost.iter().filter(|(_, loss)| loss.is_missing);
        missing.map(|(id, _)| *id).collect()
    }

    /// Those among these that are there after all.
    pub async fn healed(&self, missing: Vec<Blob>) -> Result<Vec<Blob>> {
        let mut looks = stream::iter(missing)
            .map(async |blob| {
                let store = self.registry.store();
                let looked = store.look(&blob.digest, &blob.location, blob.size).await;
                (blob, looked)
            })
            .buffer_unordered(LOOKS);
        let mut healed = Vec::new();
        while let Some((blob, looked)) = looks.next().await {
            match looked {
                Ok(()) => healed.push(blob),
                Err(blob::Error::NotFound | blob::Error::Damaged(_)) => {}
                Err(error) => return Err(store_error(error)),
            }
        }
        Ok(healed)
    }

    /// Those among these that were not carried yet, from where they are.
    pub fn left(&self, contents: Vec<Blob>) -> Vec<Blob> {
        let is_left = |blob: &Blob| !self.done.contains(&(blob.id, blob.location.clone()));
        contents.into_iter().filter(is_left).collect()
    }

    /// Carries what was not carried yet. What the store does not give back is counted; everything else that fails ends it.
    pub async fn carry(&mut self, contents: Vec<Blob>) -> Result<()> {
        let (from, to) = (self.registry.store(), &self.to);
        let wanted = self.left(contents);
        let mut running = stream::iter(wanted)
            .map(async |blob| {
                let there = location_of(blob.generation);
                let carried = from
                    .carry(&blob.digest, &blob.location, blob.size, to, &there)
                    .await;
                (blob, carried)
            })
            .buffer_unordered(AT_ONCE);
        while let Some((blob, carried)) = running.next().await {
            match carried {
                Ok(()) => {
                    self.lost.remove(&blob.id);
                    self.carried.contents += 1;
                    self.carried.bytes += blob.size;
                }
                Err(
                    error @ (blob::Error::NotFound
                    | blob::Error::Damaged(_)
                    | blob::Error::DigestMismatch { .. }),
                ) => {
                    // One that was collected meanwhile is no loss.
                    let reader = &mut *self.registry.db().reader().await?;
                    let now = moving::contents_of(reader, &[blob.id]).await?;
                    if now.iter().all(|now| now.location != blob.location) {
                        self.lost.remove(&blob.id);
                        continue;
                    }
                    let loss = Loss {
                        why: format!("{}: {error}", blob.digest),
                        is_missing: matches!(error, blob::Error::NotFound),
                    };
                    self.lost.insert(blob.id, loss);
                    continue;
                }
                Err(error) if error.is_full() => {
                    return Err(Error::StorageFull(
                        "the store to move to is full: make room there, then go on with the same command".to_owned(),
                    ));
                }
                Err(error) => {
                    let what = format!(
                        "carrying the content `{}`: the same command goes on with it, and counts it as lost where the store does not have it any more",
                        blob.digest
                    );
                    return Err(Error::Unavailable(anyhow::Error::new(error).context(what)));
                }
            }
            self.done.insert((blob.id, blob.location));
        }
        Ok(())
    }
}
