//! The last step of every upload: bytes under their digest, then the row that says so, then the answer.
//!
//! Where the bytes go is read from the database before they are published and looked at again under a lock afterwards:
//! when the collector took the old place meanwhile, also before its name was durable, the same bytes are published once
//! more under a new generation.

use blob::Staged;
use db::{
    Tx,
    blobs::{self, Blob, State},
    links, repositories, uploads,
};
use model::{
    Error, Result,
    id::{BlobId, ProjectId},
    time::Timestamp,
};
use oci::{digest::Digest, name::RepoName};

use crate::{Registry, store_error};

/// The collector may take a place between two looks; more often than this it cannot be chance.
const ATTEMPTS: usize = 10;

/// The repository a push goes to.
#[derive(Debug, Clone)]
pub struct Target {
    pub project: ProjectId,
    pub name: RepoName,
}

/// What a finished upload's row should say.
#[derive(Debug, Clone)]
pub(crate) struct Finished {
    pub key: String,
    pub epoch: i64,
}

/// Which generation of a content is about to be written, and where.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Place {
    pub generation: i64,
    pub location: String,
}

impl Place {
    /// Over the present copy, which heals a damaged one; beside it when its bytes are being deleted.
    pub(crate) fn after(newest: Option<&Blob>) -> Self {
        match newest {
            None => Self {
                generation: 0,
                location: "data".to_owned(),
            },
            Some(blob) if blob.state != State::Deleting => Self {
                generation: blob.generation,
                location: blob.location.clone(),
            },
            Some(blob) => Self {
                generation: blob.generation + 1,
                location: format!("data.{}", blob.generation + 1),
            },
        }
    }
}

impl Registry {
    /// Makes a checked and flushed upload content of a repository. Durable when it returns.
    pub(crate) async fn keep_upload(
        &self,
        staged: &Staged,
        target: &Target,
        finished: Option<Finished>,
    ) -> Result<()> {
        for _ in 0..ATTEMPTS {
            let newest = blobs::newest(&mut *self.db().reader().await?, &staged.digest).await?;
            let place = Place::after(newest.as_ref());
            match staged.publish(&place.location).await {
                Err(blob::Error::Withdrawn) => continue,
                published => published.map_err(store_error)?,
            }
            if self
                .link_upload(
                    staged.digest,
                    staged.size,
                    place,
                    target.clone(),
                    finished.clone(),
                )
                .await?
            {
                return Ok(());
            }
        }
        Err(Error::Unavailable(anyhow::anyhow!(
            "`{}` was collected again and again while it was pushed",
            staged.digest
        )))
    }

    /// False when the place is not the right one any more.
    async fn link_upload(
        &self,
        digest: Digest,
        size: u64,
        place: Place,
        target: Target,
        finished: Option<Finished>,
    ) -> Result<bool> {
        let expire = self.config().uploads_expire;
        self.db()
            .write(move |tx| {
                let (place, target, finished) = (place.clone(), target.clone(), finished.clone());
                Box::pin(async move {
                    let now = tx.now().await?;
                    let Some(blob) = settle(tx, &digest, size, &place, now).await? else {
                        return Ok(false);
                    };
                    let repository =
                        repositories::ensure(tx, target.project, &target.name, now).await?;
                    links::add(tx, repository, blob, Some(now.plus(expire)), now).await?;
                    if let Some(Finished { key, epoch }) = finished
                        && !uploads::finish(
                            tx,
                            &key,
                            target.name.as_str(),
                            epoch,
                            size,
                            &digest,
                            now,
                        )
                        .await?
                    {
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

/// The row of a content whose bytes were just published at `place`; `None` when another place is right by now.
pub(crate) async fn settle(
    tx: &mut Tx,
    digest: &Digest,
    size: u64,
    place: &Place,
    now: Timestamp,
) -> Result<Option<BlobId>> {
    let newest = blobs::lock_newest(tx, digest).await?;
    if Place::after(newest.as_ref()) != *place {
        return Ok(None);
    }
    match newest {
        Some(blob) if blob.state != State::Deleting => {
            if blob.state != State::Live {
                blobs::revive(tx, blob.id, size, now).await?;
            }
            Ok(Some(blob.id))
        }
        _ => blobs::insert(tx, digest, place.generation, size, &place.location, now).await,
    }
}
