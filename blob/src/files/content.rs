//! Stored content as a whole: put, read, delete, set aside.

use std::{
    fs,
    io::{self, Write as _},
    path::Path,
    sync::Arc,
};

use bytes::Bytes;
use oci::digest::Digest;

use super::{
    Store,
    durable::{place, sync_dir, sync_names},
    staged::settled_elsewhere,
    store::Shared,
    upload::{create, remove},
    windows::FileId,
};
use crate::{Error, Result, digest_of, hash::expect_digest};

/// Deletes in one turn of a blocking thread.
const BATCH: usize = 128;

impl Store {
    /// Stores small content (manifests) in one step, durable on return. Replaces what lies there. `Withdrawn` when a
    /// delete of that location was faster, `Full` when only the reserve is left.
    pub async fn put(&self, digest: &Digest, location: &str, bytes: Bytes) -> Result<()> {
        let key = self.shared.temporary("put");
        let path = self.shared.layout.upload(&key)?;
        let (shared, digest, to) = (Arc::clone(&self.shared), *digest, location.to_owned());
        let size = bytes.len() as u64;
        if !self.has_room(size) {
            return Err(Error::Full);
        }
        shared.gauge.accept(size);
        let put = move || {
            expect_digest(&digest, digest_of(digest.algorithm(), &bytes))?;
            let stored = write_new(&path, &bytes)
                .and_then(|()| place(&shared.layout, &shared.known, &path, &digest, &to));
            match stored {
                Ok(()) => sync_names(&shared.layout, &shared.known, &digest),
                Err(e) => {
                    let _ = fs::remove_file(&path);
                    Err(e)
                }
            }
        };
        match self.shared.writes.run(put).await {
            Err(Error::NotFound) => {
                if settled_elsewhere(&self.shared, &digest, location, size).await? {
                    return Ok(());
                }
                // Somebody tidied our file away: as after a delete, the caller does it again.
                Err(Error::Withdrawn)
            }
            done => done,
        }
    }

    /// Reads content of at most `max` bytes whole and checks its digest.
    pub async fn read(&self, digest: &Digest, location: &str, max: usize) -> Result<Bytes> {
        let path = self.shared.layout.blob(digest, location)?;
        let (shared, digest) = (Arc::clone(&self.shared), *digest);
        let read = move || {
            let bytes = read_whole(&shared, &path, max as u64)?;
            let actual = digest_of(digest.algorithm(), &bytes);
            if actual != digest {
                return Err(Error::Damaged(format!("`{digest}` reads as `{actual}`")));
            }
            Ok(Bytes::from(bytes))
        };
        self.shared.reads.run(read).await
    }

    /// Deletes, and says for each how many bytes that freed; what is not there freed none. A digest's directory goes
    /// with its last location.
    pub async fn delete(&self, items: &[(Digest, String)]) -> Vec<Result<u64>> {
        let mut answers = Vec::with_capacity(items.len());
        for batch in items.chunks(BATCH) {
            let (shared, owned) = (Arc::clone(&self.shared), batch.to_vec());
            let delete = move || {
                let delete =
                    |(digest, location): &(Digest, String)| delete_one(&shared, digest, location);
                let answers: Vec<_> = owned.iter().map(delete).collect();
                shared.gauge.changed();
                Ok(answers)
            };
            match self.shared.writes.run(delete).await {
                Ok(done) => answers.extend(done),
                Err(e) => {
                    let why = e.to_string();
                    answers.extend(batch.iter().map(|_| Err(stopped(&why))));
                }
            }
        }
        answers
    }

    /// Takes damaged content out of the way, so that the next push heals it, and keeps it for a person to look at.
    pub async fn quarantine(&self, digest: &Digest, location: &str) -> Result<()> {
        let path = self.shared.layout.blob(digest, location)?;
        let aside = self.shared.layout.quarantined(digest, location);
        let dir = self.shared.layout.dir(digest);
        let shared = Arc::clone(&self.shared);
        let move_aside = move || {
            fs::rename(&path, &aside).map_err(|e| Error::found("quarantine", &path, e))?;
            sync_dir(&shared.layout.quarantine())?;
            remove_empty(&dir)
        };
        self.shared.writes.run(move_aside).await
    }
}

fn stopped(why: &str) -> Error {
    Error::Io {
        what: "delete",
        path: "batch".to_owned(),
        source: io::Error::other(why.to_owned()),
    }
}

fn write_new(path: &Path, bytes: &[u8]) -> Result<()> {
    let mut file = create(path).map_err(|e| Error::io("create", path, e))?;
    file.write_all(bytes)
        .map_err(|e| Error::io("write", path, e))?;
    // The caller removes the file on any error, so a failed flush is never repeated.
    file.sync_data().map_err(Error::Lost)
}

fn read_whole(shared: &Shared, path: &Path, max: u64) -> Result<Vec<u8>> {
    let (file, meta) = shared.open_found(path)?;
    let failed = |e| Error::content("read", path, e);
    let len = meta.len();
    if len > max {
        return Err(Error::TooLarge { len, max });
    }
    let mut bytes = Vec::with_capacity(len as usize);
    let mut limited = io::Read::take(file, max + 1);
    io::Read::read_to_end(&mut limited, &mut bytes).map_err(failed)?;
    Ok(bytes)
}

fn delete_one(shared: &Shared, digest: &Digest, location: &str) -> Result<u64> {
    let path = shared.layout.blob(digest, location)?;
    let freed = match fs::symlink_metadata(&path) {
        Ok(meta) => {
            shared.windows.forget(FileId::of(&meta));
            meta.len()
        }
        Err(e) if e.kind() == io::ErrorKind::NotFound => 0,
        Err(e) => return Err(Error::io("look at", &path, e)),
    };
    remove(&path)?;
    remove_empty(&shared.layout.dir(digest))?;
    Ok(freed)
}

/// Another location may stand in it, or be on its way: then it stays.
fn remove_empty(dir: &Path) -> Result<()> {
    match fs::remove_dir(dir) {
        Ok(()) => Ok(()),
        Err(e) => match e.kind() {
            io::ErrorKind::NotFound | io::ErrorKind::DirectoryNotEmpty => Ok(()),
            _ => Err(Error::io("remove directory", dir, e)),
        },
    }
}
