//! The step between "all bytes are here and on disk" and "they lie under their digest".
//!
//! The location is the database's choice, and it may change its mind: when the collector takes the first location while
//! we publish, the same bytes are published once more, under another.

use std::{fs, fs::File, io, os::unix::fs::MetadataExt, path::Path, sync::Arc};

use oci::digest::Digest;
use parking_lot::Mutex;

use super::{
    Store,
    durable::{place, sync_names},
    store::Shared,
    upload::{create, remove},
    verify::{hash_file, hash_on},
    writer::Upload,
};
use crate::{
    Error, Result,
    hash::{Hasher, expect_digest},
};

/// A whole upload, checked and flushed. Dropped without [`Staged::publish`] it stays an upload.
pub struct Staged {
    pub digest: Digest,
    pub size: u64,
    upload: Arc<Upload>,
    /// Where the bytes were published last.
    published: Mutex<Option<String>>,
}

impl Store {
    /// For a PUT that is repeated after a failed commit: the upload is gone because its bytes lie at `location`
    /// already. They are read and compared; `None` when they are not there or not the same. Waits as `resume` does.
    pub async fn restage(
        &self,
        key: &str,
        digest: &Digest,
        location: &str,
        size: u64,
    ) -> Result<Option<Staged>> {
        let path = self.shared.layout.upload(key)?;
        let claim = self.claim(key).await?;
        let Some(file) = open_same(&self.shared, digest, location, size).await? else {
            return Ok(None);
        };
        let upload = Arc::new(Upload::opened(claim, path, file));
        let staged = Staged::new(upload, *digest, size);
        *staged.published.lock() = Some(location.to_owned());
        Ok(Some(staged))
    }
}

impl Staged {
    pub(crate) fn new(upload: Arc<Upload>, digest: Digest, size: u64) -> Self {
        Self {
            digest,
            size,
            upload,
            published: Mutex::new(None),
        }
    }

    /// Puts the bytes at `location`, over whatever lies there, and returns when the name is durable. May be called
    /// again, also with another location, and after `Withdrawn` should be.
    pub async fn publish(&self, location: &str) -> Result<()> {
        let shared = Arc::clone(&self.upload.claim.shared);
        let (upload, digest, size) = (Arc::clone(&self.upload), self.digest, self.size);
        let (before, to) = (self.published.lock().clone(), location.to_owned());
        let publish = move || publish(&upload, before.as_deref(), (&digest, size), &to);
        let published = shared.writes.run(publish).await;
        self.settle(location, published).await
    }

    /// What is left to do after a first try to publish.
    pub(crate) async fn settle(&self, location: &str, published: Result<()>) -> Result<()> {
        let shared = &self.upload.claim.shared;
        match published {
            Err(Error::NotFound) => {
                if !settled_elsewhere(shared, &self.digest, location, self.size).await? {
                    self.publish_again(location).await?;
                }
            }
            Err(Error::Withdrawn) => {
                // The upload's own name is gone too: the next location gets a copy from the descriptor.
                *self.published.lock() = Some(location.to_owned());
                return Err(Error::Withdrawn);
            }
            done => done?,
        }
        *self.published.lock() = Some(location.to_owned());
        Ok(())
    }

    /// Somebody took the upload's name away; the descriptor still has the bytes.
    async fn publish_again(&self, location: &str) -> Result<()> {
        let (upload, digest, size) = (Arc::clone(&self.upload), self.digest, self.size);
        let to = location.to_owned();
        let publish = move || {
            let Shared { layout, known, .. } = &*upload.claim.shared;
            let place = |from: &Path| place(layout, known, from, &digest, &to);
            place_again(&upload, None, (&digest, size), place)?;
            sync_names(layout, known, &digest)
        };
        self.upload.claim.shared.writes.run(publish).await
    }
}

/// Puts an upload under its digest, durably. `before` is where it was published last.
pub(crate) fn publish(
    upload: &Upload,
    before: Option<&str>,
    content: (&Digest, u64),
    to: &str,
) -> Result<()> {
    name(upload, before, content, to)?;
    let Shared { layout, known, .. } = &*upload.claim.shared;
    sync_names(layout, known, content.0)
}

fn name(upload: &Upload, before: Option<&str>, content: (&Digest, u64), to: &str) -> Result<()> {
    let Shared { layout, known, .. } = &*upload.claim.shared;
    let file = upload.file()?;
    let target = layout.blob(content.0, to)?;
    let place = |from: &Path| place(layout, known, from, content.0, to);
    match before {
        None if is_same_file(&upload.path, file) => place(&upload.path)?,
        None if !upload.path.exists() => return Err(Error::NotFound),
        Some(before) if before == to && is_same_file(&target, file) => return Ok(()),
        _ => return place_again(upload, before, content, place),
    }
    // On a shared file system another node may begin the same key anew between the look and the rename.
    if is_same_file(&target, file) || holds(&target, content).map_err(Error::gone)? {
        return Ok(());
    }
    place_again(upload, None, content, place)
}

/// Publishes what no longer lies under the upload's key: by a second name while the first location still holds our
/// file, else by a copy from the descriptor that we kept.
fn place_again(
    upload: &Upload,
    before: Option<&str>,
    content: (&Digest, u64),
    place: impl Fn(&Path) -> Result<()>,
) -> Result<()> {
    let shared = &upload.claim.shared;
    let again = shared.layout.upload(&shared.temporary("again"))?;
    let first = before.map(|before| shared.layout.blob(content.0, before));
    let is_linked = match first.transpose()? {
        Some(first) => fs::hard_link(first, &again).is_ok(),
        None => false,
    };
    if !is_linked || !is_same_file(&again, upload.file()?) {
        remove(&again)?;
        copy(upload.file()?, &again, content)?;
    }
    place(&again).inspect_err(|_| drop(fs::remove_file(&again)))
}

fn copy(from: &File, to: &Path, (digest, size): (&Digest, u64)) -> Result<()> {
    let failed = |e: io::Error| Error::io("copy to", to, e);
    let mut copy = create(to).map_err(failed)?;
    let copied = (|| {
        let mut source = from;
        io::Seek::rewind(&mut source).map_err(failed)?;
        io::copy(&mut io::Read::take(source, size), &mut copy).map_err(failed)?;
        let mut hasher = Hasher::new(digest.algorithm());
        hash_file(&copy, &mut hasher, size).map_err(failed)?;
        expect_digest(digest, hasher.digest())?;
        copy.sync_data().map_err(Error::Lost)
    })();
    copied.inspect_err(|_| drop(fs::remove_file(to)))
}

/// Whether a file has this digest and length.
fn holds(path: &Path, (digest, size): (&Digest, u64)) -> Result<bool> {
    let file = File::open(path).map_err(|e| Error::io("open", path, e))?;
    let meta = file.metadata().map_err(|e| Error::io("look at", path, e))?;
    let mut hasher = Hasher::new(digest.algorithm());
    Ok(meta.len() == size
        && hash_file(&file, &mut hasher, size).is_ok()
        && hasher.digest() == *digest)
}

fn is_same_file(path: &Path, file: &File) -> bool {
    match (fs::symlink_metadata(path), file.metadata()) {
        (Ok(there), Ok(ours)) => (there.dev(), there.ino()) == (ours.dev(), ours.ino()),
        _ => false,
    }
}

/// After a rename that did not find its source: a network file system may repeat one that was done, and then the target is
/// ours. True when it is, and its name durable.
pub(crate) async fn settled_elsewhere(
    shared: &Arc<Shared>,
    digest: &Digest,
    location: &str,
    size: u64,
) -> Result<bool> {
    if open_same(shared, digest, location, size).await?.is_none() {
        return Ok(false);
    }
    let (digest, owned) = (*digest, Arc::clone(shared));
    let sync = move || sync_names(&owned.layout, &owned.known, &digest);
    shared.writes.run(sync).await?;
    Ok(true)
}

/// Opens content if it has this length and digest.
async fn open_same(
    shared: &Arc<Shared>,
    digest: &Digest,
    location: &str,
    size: u64,
) -> Result<Option<Arc<File>>> {
    let (file, meta) = match shared.open_content(digest, location).await {
        Err(Error::NotFound | Error::Damaged(_)) => return Ok(None),
        opened => opened?,
    };
    if meta.len() != size {
        return Ok(None);
    }
    let file = Arc::new(file);
    let hasher = Hasher::new(digest.algorithm());
    let hasher = hash_on(&shared.reads, &file, hasher, size).await?;
    Ok((hasher.digest() == *digest).then_some(file))
}
