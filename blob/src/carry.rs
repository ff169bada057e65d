//! Content on its way from one store to another, checked while it goes.

use std::{io, pin::pin};

use bytes::Bytes;
use futures_util::{Stream, TryStreamExt};
use oci::digest::Digest;

use crate::{Error, ReadMode, Result, Store, store::Kind};

/// What is carried in one piece.
const AT_ONCE: u64 = 4 << 20;

impl Store {
    /// Brings a content to `location` of another store, which is one below its digest. What lies there already with the right length is
    /// left alone: it came the same way. `NotFound`, `Damaged` and `DigestMismatch` are the fault of this store.
    pub async fn carry(
        &self,
        digest: &Digest,
        location: &str,
        size: u64,
        to: &Self,
        there: &str,
    ) -> Result<()> {
        if to.look(digest, there, size).await.is_ok() {
            return Ok(());
        }
        if size <= AT_ONCE {
            let bytes = self.read(digest, location, AT_ONCE as usize).await?;
            return to.put(digest, there, bytes).await;
        }
        let reader = self.open_blob(digest, location, size).await?;
        let stream = reader.start(0..size, ReadMode::Copied).await?;
        let stream = stream.map_err(|error| of_source(error, location));
        match &*to.kind() {
            Kind::Files(_) => to.receive(digest, there, stream).await,
            Kind::Objects(objects) => objects.receive(digest, there, size, stream).await,
        }
    }

    /// Into a directory, as an upload that nobody else knows.
    async fn receive(
        &self,
        digest: &Digest,
        location: &str,
        stream: impl Stream<Item = Result<Bytes>> + Send,
    ) -> Result<()> {
        let key = format!("carried-{}", uuid::Uuid::new_v4().simple());
        let mut writer = self.begin(&key, digest.algorithm()).await?;
        let mut stream = pin!(stream);
        let carried = async {
            while let Some(bytes) = stream.try_next().await? {
                writer.write(bytes).await?;
            }
            writer.finish_at(digest, location).await?.1
        };
        let carried = carried.await;
        if carried.is_err() {
            let _ = self.discard(&key, None).await; // a file that stays is tidied away by its age
        }
        carried
    }
}

/// What breaks a stream off. Only what says that the bytes themselves are gone is damage: a store that is away is asked again.
fn of_source(error: io::Error, location: &str) -> Error {
    // The disk cannot read, or a checksum of the file system does not fit: btrfs and ZFS say EIO for contents, ext4 and XFS the others for
    // what holds them together.
    let broken = [libc::EIO, libc::EUCLEAN, libc::EBADMSG];
    let is_broken = error
        .raw_os_error()
        .is_some_and(|code| broken.contains(&code));
    if is_broken || error.kind() == io::ErrorKind::UnexpectedEof {
        return Error::Damaged(error.to_string());
    }
    error
        .downcast::<Error>()
        .unwrap_or_else(|source| Error::Io {
            what: "read",
            path: location.to_owned(),
            source,
        })
}
