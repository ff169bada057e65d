//! The last step of every upload: bytes under their digest, then the row that says so, then the answer.
//!
//! Where the bytes go is read from the database before they are published and looked at again under a lock afterwards:
//! when the collector took the old place meanwhile, also before its name was durable, the same bytes are published once
//! more under a new generation.

use std::time::Duration;

use blob::Staged;
use db::{
    Tx,
    blobs::{self, Blob, Lock, State, adopted},
    links,
    repositories::{self, Repository},
    uploads::{self, End},
};
use model::{
    Error, Result, What,
    id::{BlobId, ProjectId},
    time::Timestamp,
};
use oci::{digest::Digest, name::RepoName};

use crate::{Registry, import, store_error};

/// The collector may take a place between two looks; more often than this it cannot be chance.
pub(crate) const ATTEMPTS: usize = 10;
/// A place that was read longer ago than this is read again: the row that says it is taken stays for an hour only.
const MAX_DELAY: Duration = Duration::from_mins(10);

/// The repository a push goes to.
#[derive(Debug, Clone)]
pub struct Target {
    pub project: ProjectId,
    pub name: RepoName,
}

impl Target {
    /// The repository as somebody adds to it, made where it is missing. What holds an import is nobody's to add to: it goes with the end
    /// of the import.
    pub(crate) async fn ensure(&self, tx: &mut Tx, now: Timestamp) -> Result<Repository> {
        if self.name.project() == import::PROJECT {
            return Err(Error::Denied(format!(
                "the project `{}` holds what is being imported: push to another",
                import::PROJECT
            )));
        }
        repositories::ensure(tx, self.project, &self.name, now).await
    }
}

/// What a finished upload's row should say.
#[derive(Debug, Clone)]
pub(crate) struct Finished {
    pub key: String,
    /// The row's; 0 while there is none.
    pub epoch: i64,
}

/// Which generation of a content is about to be written, and where.
#[derive(Debug, Clone)]
pub(crate) struct Place {
    pub generation: i64,
    pub location: String,
    /// When it was read, by the database's clock.
    read_at: Timestamp,
    /// How its row must be held: one that is live and whose bytes stay as they are may be shared with other pushes.
    pub lock: Lock,
}

impl Place {
    /// Over the present copy, which heals a damaged one; beside it when its bytes are being deleted.
    fn after(newest: Option<&Blob>, size: u64, read_at: Timestamp) -> Self {
        let generation = match newest {
            None => 0,
            Some(blob) if blob.state != State::Deleting => blob.generation,
            Some(blob) => blob.generation + 1,
        };
        Self {
            generation,
            location: match newest {
                Some(blob) if blob.state != State::Deleting => blob.location.clone(),
                _ => blobs::location_of(generation),
            },
            read_at,
            lock: match newest.map(|blob| (blob.state, blob.size == size)) {
                None | Some((State::Live, true) | (State::Deleting, _)) => Lock::Share,
                Some(_) => Lock::Exclusive,
            },
        }
    }

    fn is(&self, other: &Self) -> bool {
        (self.generation, &self.location) == (other.generation, &other.location)
    }
}

impl Registry {
    /// Makes a checked and flushed upload content of a repository. Durable when it returns. `published` is the place
    /// that it was published at already.
    pub(crate) async fn keep_upload(
        &self,
        staged: &Staged,
        mut published: Option<Place>,
        target: &Target,
        finished: Option<Finished>,
    ) -> Result<()> {
        for _ in 0..ATTEMPTS {
            // Only the first time: who was held up since must look again whether the bytes are still there.
            let place = if let Some(place) = published.take() {
                place
            } else {
                let (place, _) = self.place(&staged.digest, staged.size).await?;
                match staged.publish(&place.location).await {
                    Err(blob::Error::Withdrawn) => continue,
                    published => published.map_err(store_error)?,
                }
                place
            };
            if self
                .link_upload(staged, place, target.clone(), finished.clone())
                .await?
            {
                return Ok(());
            }
        }
        Err(collected(&staged.digest))
    }

    /// Where bytes of this content go now, and its row.
    pub(crate) async fn place(&self, digest: &Digest, size: u64) -> Result<(Place, Option<Blob>)> {
        let mut reader = self.db().reader().await?;
        let now = reader.now(self.db().clock()).await?;
        let newest = blobs::newest(&mut reader, digest).await?;
        Ok((Place::after(newest.as_ref(), size, now), newest))
    }

    /// False when the place is not the right one any more.
    async fn link_upload(
        &self,
        staged: &Staged,
        place: Place,
        target: Target,
        finished: Option<Finished>,
    ) -> Result<bool> {
        let (digest, size) = (staged.digest, staged.size);
        let expire = self.config().uploads_expire;
        let wrote = staged.location(&place.location).to_owned();
        let (is_own, leaves) = (staged.own_location().is_some(), staged.leaves());
        self.db()
            .write(move |tx| {
                let (place, target, finished) = (place.clone(), target.clone(), finished.clone());
                let wrote = wrote.clone();
                Box::pin(async move {
                    let now = tx.now().await?;
                    // Before the content, as with manifests: the order in which everybody waits for others.
                    let repository = target.ensure(tx, now).await?;
                    blobs::hold(tx, &[digest], place.lock).await?;
                    let Some(blob) = settle(tx, &digest, size, &place, Some(&wrote), now).await?
                    else {
                        return Ok(false);
                    };
                    links::add(tx, &repository, blob, Some(now.plus(expire)), now).await?;
                    let Some(Finished { key, epoch }) = finished else {
                        return Ok(true);
                    };
                    // Somebody else's bytes may have been this content first.
                    let is_surplus = is_own && {
                        let newest = blobs::newest(tx, &digest).await?;
                        newest.is_none_or(|newest| newest.location != wrote)
                    };
                    let end = End {
                        epoch,
                        received: size,
                        digest,
                        leaves: leaves || is_surplus,
                    };
                    if !uploads::finish(tx, &key, target.name.as_str(), &end, now).await? {
                        return Err(Error::Conflict(
                            "another request has taken this upload over".to_owned(),
                        ));
                    }
                    Ok(true)
                })
            })
            .await
    }
}

/// What is said when [`ATTEMPTS`] were not enough.
pub(crate) fn collected(digest: &Digest) -> Error {
    Error::Unavailable(anyhow::anyhow!(
        "`{digest}` was collected again and again while it was pushed"
    ))
}

/// The row of a content at `place`; `wrote` says that its bytes were just published, and where. Hold it first, as the place
/// says. `None` when another place is right by now, or when bytes are needed after all: look again.
pub(crate) async fn settle(
    tx: &mut Tx,
    digest: &Digest,
    size: u64,
    place: &Place,
    wrote: Option<&str>,
    now: Timestamp,
) -> Result<Option<BlobId>> {
    let newest = blobs::newest(tx, digest).await?;
    let present = Place::after(newest.as_ref(), size, now);
    if !present.is(place) || now.since(place.read_at) > MAX_DELAY {
        return Ok(None);
    }
    // A lock is not raised: two who did so would wait for each other.
    if present.lock == Lock::Exclusive && place.lock == Lock::Share {
        return Ok(None);
    }
    if let Some(location) = wrote.filter(|location| *location != place.location) {
        // An object of the upload's own may have been taken for a leftover, with a claim that is final.
        let rows = blobs::find_all(tx, &[*digest]).await?;
        let is_going = |row: &Blob| row.state == State::Deleting && row.location == location;
        if rows.iter().any(is_going) {
            return Err(Error::not_found(
                What::Upload,
                "the bytes of this upload were tidied away: start it again",
            ));
        }
    }
    match newest {
        Some(blob) if blob.state != State::Deleting => match (blob.state, wrote) {
            (State::Live, _) if blob.size == size => Ok(Some(blob.id)),
            // Whoever wrote nothing has compared what lies there.
            (State::Adopted, None) if blob.size == size => {
                blobs::clear_suspect(tx, blob.id, size, now).await?;
                Ok(Some(blob.id))
            }
            (State::Condemned, None) => {
                blobs::revive(tx, blob.id, now).await?;
                Ok(Some(blob.id))
            }
            (state, Some(location)) => {
                // What lies there is as good as what was written beside it, when somebody has read it.
                let is_beside = location != blob.location && blob.size == size;
                if state == State::Condemned
                    && is_beside
                    && adopted::revive_read(tx, blob.id, now).await?
                {
                    return Ok(Some(blob.id));
                }
                blobs::set_written(tx, blob.id, size, location, now).await?;
                if location != blob.location {
                    // The bytes that were no good go the way of all others.
                    blobs::claim_stray(tx, digest, &blob.location, blob.size, now).await?;
                }
                Ok(Some(blob.id))
            }
            (_, None) => Ok(None),
        },
        _ => match wrote {
            Some(location) => {
                blobs::insert(tx, digest, place.generation, size, location, now).await
            }
            None => Ok(None),
        },
    }
}
