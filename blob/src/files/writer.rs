//! Appending to one upload.
//!
//! A writer gathers small frames, and hashes and writes one batch on a blocking thread while the next comes in. What was
//! accepted is not yet written, what is written is not yet on disk: `settle` and `flush` are the two steps. Dropping a
//! writer, or any of its futures, is always fine; what of the bytes after the last `settle` is in the file is then
//! unknown, and `resume` cuts it off.

use std::{
    fs::{self, File},
    io,
    os::unix::fs::FileExt,
    path::PathBuf,
    sync::{
        Arc, OnceLock,
        atomic::{AtomicBool, Ordering},
    },
};

use bytes::Bytes;
use oci::digest::Digest;
use tokio::task::JoinHandle;

use super::{
    Staged,
    durable::sync_dir,
    kernel,
    staged::publish,
    store::Shared,
    upload::{Claim, create_over},
    verify::hash_on,
};
use crate::frames::Frames;
use crate::{
    Error, HashState, Result,
    error::stopped,
    hash::{Hasher, expect_digest},
};

/// A batch goes to the disk when it has this size and the one before is written.
const BATCH: usize = 256 << 10;
/// No batch grows beyond this (unless one frame alone does): two of them are an upload's memory.
const MAX_BATCH: usize = 512 << 10;
const WRITEBACK_STEP: u64 = 8 << 20;

/// One upload that is being appended to. Holds at most 1 MiB of it in memory.
pub struct Writer {
    upload: Arc<Upload>,
    tail: Frames,
    /// Bytes in the file.
    written: u64,
    /// With the running batch while there is one.
    hasher: Option<Hasher>,
    running: Option<JoinHandle<Appended>>,
    /// Bytes of the running batch.
    leaving: u64,
    /// Whether the file's name was made durable.
    named: bool,
}

/// What a batch on a blocking thread works with; the claim lives until the last one is done.
pub(crate) struct Upload {
    pub(crate) claim: Claim,
    pub(crate) path: PathBuf,
    file: OnceLock<Arc<File>>,
    /// A flush or a batch failed in a way that leaves the bytes unknown.
    lost: AtomicBool,
}

struct Appended {
    hasher: Hasher,
    result: Result<()>,
}

struct Ended {
    hasher: Hasher,
    /// Whether the digest was checked (else the bytes must be read back), and how the publishing went.
    result: Result<(bool, Option<Result<()>>)>,
}

impl Writer {
    pub(crate) fn new(upload: Upload, hasher: Hasher) -> Self {
        Self {
            upload: Arc::new(upload),
            tail: Frames::default(),
            written: hasher.offset(),
            hasher: Some(hasher),
            running: None,
            leaving: 0,
            named: false,
        }
    }

    /// Accepts bytes; waits while two batches are under way. After an error the writer stands at the last byte that
    /// was written whole: `offset` says where, and `flush` keeps that much.
    pub async fn write(&mut self, frame: Bytes) -> Result<()> {
        self.check()?;
        if self.tail.is_empty() {
            let room = self.shared().gauge.read();
            if room.is_ok_and(|space| !space.has_room(frame.len() as u64)) {
                return Err(Error::Full);
            }
        }
        if !self.tail.is_empty() && self.tail.len() + frame.len() > MAX_BATCH {
            self.hand_on().await?;
        }
        self.tail.push(frame);
        let is_idle = self.running.as_ref().is_none_or(JoinHandle::is_finished);
        if self.tail.len() >= BATCH && is_idle {
            self.hand_on().await?;
        }
        Ok(())
    }

    /// All bytes accepted.
    pub fn offset(&self) -> u64 {
        self.written + self.leaving + self.tail.len() as u64
    }

    /// Waits until everything accepted is in the file, and says how much that is. Not yet safe from a power cut.
    pub async fn settle(&mut self) -> Result<u64> {
        self.check()?;
        if !self.tail.is_empty() {
            self.hand_on().await?;
        }
        self.collect().await?;
        Ok(self.written)
    }

    /// Settles and brings the bytes to the disk. The state counts for exactly those bytes, on any node.
    pub async fn flush(&mut self) -> Result<HashState> {
        self.settle().await?;
        let (upload, named) = (Arc::clone(&self.upload), self.named);
        let flush = move || {
            upload.sync()?;
            if named {
                return Ok(());
            }
            sync_dir(&upload.claim.shared.layout.uploads())
        };
        self.shared().writes.run(flush).await?;
        self.named = true;
        self.state().await
    }

    /// Settles. The state counts inside this process only: nothing was flushed.
    pub async fn state(&mut self) -> Result<HashState> {
        self.settle().await?;
        Ok(self.hasher().state())
    }

    /// Ends the upload: all bytes written, the digest right, everything on disk. An algorithm other than the running
    /// one has the bytes read back. After `Lost` the upload is gone; after another error, and a wrong digest, the writer
    /// goes on.
    pub async fn finish(mut self, expected: &Digest) -> Result<Staged> {
        let (staged, _) = self.end(expected, None).await?;
        Ok(staged)
    }

    /// As [`Writer::finish`] and [`Staged::publish`], in one turn of a blocking thread: the second result is the
    /// publishing's. A writer that ended well is done.
    pub async fn finish_at(
        &mut self,
        expected: &Digest,
        location: &str,
    ) -> Result<(Staged, Result<()>)> {
        let (staged, published) = self.end(expected, Some(location)).await?;
        let published = match published {
            Some(published) => staged.settle(location, published).await,
            None => staged.publish(location).await,
        };
        Ok((staged, published))
    }

    async fn end(
        &mut self,
        expected: &Digest,
        location: Option<&str>,
    ) -> Result<(Staged, Option<Result<()>>)> {
        self.check()?;
        self.collect().await?;
        let shared = Arc::clone(self.shared());
        let turn = shared.writes.turn().await;
        let hasher = self.hasher.take().expect("no batch is running");
        shared.gauge.accept(self.tail.len() as u64);
        let (upload, frames) = (Arc::clone(&self.upload), self.tail.take());
        let (expected, to) = (*expected, location.map(str::to_owned));
        let last = move || upload.end(hasher, &frames, &expected, to.as_deref());
        let Ended { hasher, result } = match turn.start(last).await {
            Ok(ended) => ended,
            Err(e) => {
                self.upload.lost.store(true, Ordering::Relaxed);
                return Err(stopped(e));
            }
        };
        self.written = hasher.offset();
        self.hasher = Some(hasher);
        let (is_checked, published) = result?;
        if !is_checked {
            self.read_back(&expected, self.written).await?;
        }
        let staged = Staged::new(Arc::clone(&self.upload), expected, self.written);
        Ok((staged, published))
    }

    async fn read_back(&self, expected: &Digest, size: u64) -> Result<()> {
        let hasher = Hasher::new(expected.algorithm());
        let hasher = hash_on(&self.shared().reads, self.upload.file()?, hasher, size).await?;
        expect_digest(expected, hasher.digest())?;
        let upload = Arc::clone(&self.upload);
        self.shared().writes.run(move || upload.sync()).await
    }

    /// Starts the gathered batch, once the one before is done.
    async fn hand_on(&mut self) -> Result<()> {
        self.collect().await?;
        // Nothing is taken out before the wait for a turn is over, so that a caller who goes away loses nothing.
        let shared = Arc::clone(self.shared());
        let turn = shared.writes.turn().await;
        let hasher = self.hasher.take().expect("the batch before gave it back");
        self.leaving = self.tail.len() as u64;
        shared.gauge.accept(self.leaving);
        let (upload, frames) = (Arc::clone(&self.upload), self.tail.take());
        self.running = Some(turn.start(move || upload.append(hasher, &frames)));
        Ok(())
    }

    /// Waits for the running batch.
    async fn collect(&mut self) -> Result<()> {
        let Some(running) = &mut self.running else {
            return Ok(());
        };
        let appended = running.await;
        self.running = None;
        self.leaving = 0;
        match appended {
            Ok(Appended { hasher, result }) => {
                self.written = hasher.offset();
                self.hasher = Some(hasher);
                if result.is_err() {
                    // What follows a gap cannot be written.
                    self.tail = Frames::default();
                }
                result
            }
            Err(e) => {
                self.upload.lost.store(true, Ordering::Relaxed);
                Err(stopped(e))
            }
        }
    }

    fn check(&self) -> Result<()> {
        // Without a hash and a batch that has it, the end was begun and not waited for.
        let is_ended = self.hasher.is_none() && self.running.is_none();
        if is_ended || self.upload.lost.load(Ordering::Relaxed) {
            let why = io::Error::other("an earlier error ended this upload");
            return Err(Error::Lost(why));
        }
        Ok(())
    }

    fn hasher(&self) -> &Hasher {
        self.hasher.as_ref().expect("no batch is running")
    }

    fn shared(&self) -> &Arc<Shared> {
        &self.upload.claim.shared
    }
}

impl Upload {
    /// An upload whose file is made by its first batch.
    pub(crate) fn new(claim: Claim, path: PathBuf) -> Self {
        Self {
            claim,
            path,
            file: OnceLock::new(),
            lost: AtomicBool::new(false),
        }
    }

    pub(crate) fn opened(claim: Claim, path: PathBuf, file: Arc<File>) -> Self {
        Self {
            file: OnceLock::from(file),
            ..Self::new(claim, path)
        }
    }

    /// The file, made if need be: for blocking threads. One batch at a time asks.
    pub(crate) fn file(&self) -> Result<&Arc<File>> {
        if let Some(file) = self.file.get() {
            return Ok(file);
        }
        let made = create_over(&self.path)?;
        Ok(self.file.get_or_init(|| Arc::new(made)))
    }

    /// Writes frames at the end and hashes exactly what was written.
    fn append(&self, mut hasher: Hasher, frames: &[Bytes]) -> Appended {
        let begin = hasher.offset();
        let result = self.write_all(&mut hasher, frames);
        let shared = &self.claim.shared;
        if result.is_err() {
            shared.gauge.changed();
        }
        let (before, now) = (begin / WRITEBACK_STEP, hasher.offset() / WRITEBACK_STEP);
        if let Some(file) = self.file.get()
            && now > before
            && shared.network.is_none()
        {
            let from = before * WRITEBACK_STEP;
            kernel::start_writeback(file, from, (now - before) * WRITEBACK_STEP);
        }
        Appended { hasher, result }
    }

    fn write_all(&self, hasher: &mut Hasher, frames: &[Bytes]) -> Result<()> {
        let file = self.file()?;
        for frame in frames {
            append(file, hasher, frame).map_err(|e| Error::io("write", &self.path, e))?;
        }
        Ok(())
    }

    /// All that is left to do when the last byte is here: written, compared, flushed, published.
    fn end(&self, hasher: Hasher, frames: &[Bytes], expected: &Digest, to: Option<&str>) -> Ended {
        let Appended { hasher, result } = self.append(hasher, frames);
        let end = || {
            result?;
            if hasher.algorithm() != expected.algorithm() {
                return Ok((false, None));
            }
            expect_digest(expected, hasher.clone().digest())?;
            self.sync()?;
            let content = (expected, hasher.offset());
            Ok((true, to.map(|to| publish(self, None, content, to))))
        };
        let result = end();
        Ended { hasher, result }
    }

    /// Flushes the bytes. A flush that failed may succeed when repeated although pages were thrown away, so the file
    /// goes at once.
    fn sync(&self) -> Result<()> {
        self.file()?.sync_data().map_err(|e| {
            self.lost.store(true, Ordering::Relaxed);
            // It is lost either way; a leftover is found by its age.
            let _ = fs::remove_file(&self.path);
            Error::Lost(e)
        })
    }
}

fn append(file: &File, hasher: &mut Hasher, mut bytes: &[u8]) -> io::Result<()> {
    while !bytes.is_empty() {
        match file.write_at(bytes, hasher.offset()) {
            Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
            Ok(n) => {
                let (written, rest) = bytes.split_at(n);
                hasher.update(written);
                bytes = rest;
            }
            Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
            Err(e) => return Err(e),
        }
    }
    Ok(())
}
