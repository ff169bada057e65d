//! Uploads: bytes appended under a key until they are content. Beginning, going on, giving up; `writer` appends.
//!
//! How far an upload counts is the database's knowledge: the file may hold more (it is cut) or, after a power cut,
//! less (it is refused).

use std::{
    collections::HashSet,
    fs::{self, File, OpenOptions},
    io,
    os::unix::fs::{FileExt, MetadataExt},
    path::Path,
    sync::Arc,
    time::Duration,
};

use bytes::Bytes;
use oci::digest::Algorithm;
use parking_lot::Mutex;
use tokio::sync::Notify;

use super::{Store, Writer, store::Shared, verify::hash_on, writer::Upload};
use crate::{Error, HashState, Result, Unfinished, hash::Hasher};

/// How much of an upload is copied at a time.
const COPY_STEP: u64 = 256 << 10;
/// How long a key is waited for whose last batch hangs with its mount.
const PATIENCE: Duration = Duration::from_secs(20);

impl Store {
    /// Begins an upload. Its file is made with the first batch (or `settle`), so that beginning costs no write; bytes that
    /// an earlier request left under the key go then.
    pub async fn begin(&self, key: &str, algorithm: Algorithm) -> Result<Writer> {
        let path = self.shared.layout.upload(key)?;
        let upload = Upload::new(self.claim(key).await?, path);
        Ok(Writer::new(upload, Hasher::new(algorithm)))
    }

    /// Goes on with an upload at byte `at`: cuts off what is behind it, and fails with `Short` when the file does not
    /// reach it. `saved` counts for the bytes up to its own offset; those after it are read and hashed again. Waits for
    /// a writer of this process that still holds the key, so end that one first.
    pub async fn resume(
        &self,
        key: &str,
        at: u64,
        saved: Option<&HashState>,
        algorithm: Algorithm,
    ) -> Result<Writer> {
        let path = self.shared.layout.upload(key)?;
        let claim = self.claim(key).await?;
        let open = move || Ok((open_cut(&path, at)?, path));
        let (file, path) = self.shared.writes.run(open).await?;
        let usable = saved.filter(|s| s.algorithm == algorithm && s.offset <= at);
        let hasher = match usable.map(Hasher::restore) {
            Some(Ok(hasher)) => hasher,
            _ => Hasher::new(algorithm),
        };
        let file = Arc::new(file);
        let hasher = hash_on(&self.shared.reads, &file, hasher, at).await?;
        Ok(Writer::new(Upload::opened(claim, path, file), hasher))
    }

    /// Goes on with the first `at` bytes of the upload `from` under the fresh key `key`, for when a writer on another
    /// node may not have let go of `from` yet. The bytes are hashed as they are copied. `from` stays.
    pub async fn resume_copy(
        &self,
        from: &str,
        key: &str,
        at: u64,
        algorithm: Algorithm,
    ) -> Result<Writer> {
        let source = self.shared.layout.upload(from)?;
        let open = move || {
            let file = File::open(&source).map_err(|e| Error::found("open", &source, e))?;
            check_length(&file, &source, at)?;
            Ok((file, source))
        };
        let (file, source) = self.shared.reads.run(open).await?;
        let file = Arc::new(file);
        let mut writer = self.begin(key, algorithm).await?;
        while writer.offset() < at {
            let offset = writer.offset();
            let len = (at - offset).min(COPY_STEP) as usize;
            let (file, source) = (Arc::clone(&file), source.clone());
            let read = move || {
                let mut bytes = vec![0; len];
                match file.read_exact_at(&mut bytes, offset) {
                    Ok(()) => Ok(Bytes::from(bytes)),
                    Err(e) => Err(Error::io("read", &source, e)),
                }
            };
            let bytes = self.shared.reads.run(read).await?;
            writer.write(bytes).await?;
        }
        Ok(writer)
    }

    /// Removes an upload; one that is not there is removed already.
    pub async fn discard(&self, key: &str) -> Result<()> {
        let path = self.shared.layout.upload(key)?;
        let shared = Arc::clone(&self.shared);
        let remove = move || {
            shared.gauge.changed();
            remove(&path)
        };
        self.shared.writes.run(remove).await
    }

    /// All uploads that lie in the store, also those of other nodes and what crashes left behind.
    pub async fn uploads(&self) -> Result<Vec<Unfinished>> {
        let shared = Arc::clone(&self.shared);
        let list = move || {
            let dir = shared.layout.uploads();
            list_uploads(&dir, &shared.claims).map_err(|e| Error::io("read", &dir, e))
        };
        self.shared.reads.run(list).await
    }

    /// Waits for whoever has the key, as long as a batch that is under way may take.
    pub(crate) async fn claim(&self, key: &str) -> Result<Claim> {
        let claimed = tokio::time::timeout(PATIENCE, self.wait_for(key)).await;
        claimed.map_err(|_| Error::Hung)
    }

    async fn wait_for(&self, key: &str) -> Claim {
        loop {
            // Taken before the look at the set, so that a release in between is not missed.
            let released = self.shared.claims.released.notified();
            if self.shared.claims.keys.lock().insert(key.to_owned()) {
                return Claim {
                    shared: Arc::clone(&self.shared),
                    key: key.to_owned(),
                };
            }
            released.await;
        }
    }
}

/// Keys that something in this process works on, batches on their way to the disk included: two of them on one
/// file would mix their bytes.
#[derive(Default)]
pub(crate) struct Claims {
    keys: Mutex<HashSet<String>>,
    released: Notify,
}

pub(crate) struct Claim {
    pub(crate) shared: Arc<Shared>,
    pub(crate) key: String,
}

impl Drop for Claim {
    fn drop(&mut self) {
        self.shared.claims.keys.lock().remove(&self.key);
        self.shared.claims.released.notify_waiters();
    }
}

pub(crate) fn create(path: &Path) -> io::Result<File> {
    OpenOptions::new()
        .read(true)
        .write(true)
        .create_new(true)
        .open(path)
}

/// Makes the file anew. One that an earlier request left under the key, and whose bytes nobody counted, goes.
pub(crate) fn create_over(path: &Path) -> Result<File> {
    match create(path) {
        Err(e) if e.kind() == io::ErrorKind::AlreadyExists => {
            remove(path)?;
            create(path).map_err(|e| Error::io("create", path, e))
        }
        made => made.map_err(|e| Error::io("create", path, e)),
    }
}

/// Opens an upload for appending at `at`. A file that has a second name is content already (a crash between two steps
/// of publishing): cutting it would damage that.
fn open_cut(path: &Path, at: u64) -> Result<File> {
    let file = OpenOptions::new()
        .read(true)
        .write(true)
        .open(path)
        .map_err(|e| Error::found("open", path, e))?;
    let have = check_length(&file, path, at)?;
    if have > at {
        file.set_len(at).map_err(|e| Error::io("cut", path, e))?;
    }
    Ok(file)
}

fn check_length(file: &File, path: &Path, at: u64) -> Result<u64> {
    let meta = file.metadata().map_err(|e| Error::io("look at", path, e))?;
    if meta.nlink() > 1 {
        return Err(Error::NotFound);
    }
    if meta.len() < at {
        return Err(Error::Short {
            have: meta.len(),
            want: at,
        });
    }
    Ok(meta.len())
}

pub(crate) fn remove(path: &Path) -> Result<()> {
    match fs::remove_file(path) {
        Err(e) if e.kind() != io::ErrorKind::NotFound => Err(Error::io("remove", path, e)),
        _ => Ok(()),
    }
}

fn list_uploads(dir: &Path, claims: &Claims) -> io::Result<Vec<Unfinished>> {
    let mut uploads = Vec::new();
    for entry in fs::read_dir(dir)? {
        let entry = entry?;
        let meta = match entry.metadata() {
            Ok(meta) if meta.is_file() => meta,
            Ok(_) => continue,
            // It ended meanwhile.
            Err(e) if e.kind() == io::ErrorKind::NotFound => continue,
            Err(e) => return Err(e),
        };
        let key = entry.file_name().to_string_lossy().into_owned();
        uploads.push(Unfinished {
            is_busy: claims.keys.lock().contains(&key),
            key,
            size: meta.len(),
            modified: meta.modified()?,
        });
    }
    Ok(uploads)
}
