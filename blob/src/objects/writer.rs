//! Appending to one upload in a bucket.
//!
//! Bytes are gathered to a part; a full one is hashed and sent while the next is filled. What fits into one part is stored with
//! one call, under its digest. At the end of a request the bytes behind the last part are put aside, in the upload's row or
//! in an object of their own, so that any node can go on; an upload that lies whole in such an object becomes content there.
//!
//! When another node takes an upload while a part is on its way, it sends that part anew under the same number: some vendors (Ceph)
//! complete nothing that has parts which are not named. The client brings the same bytes again, so it is the same part; were
//! it another, and came later, its tag would be refused at the end. Who cannot be sure reads the whole back all the same.

use std::sync::Arc;

use bytes::Bytes;
use oci::digest::Digest;
use tokio::task::JoinSet;

use super::{
    Objects, keys,
    progress::{Multipart, Part, Progress, Tail},
    staged::Staged,
    stored::{Busy, hash_frames, hash_object},
};
use crate::{
    Error, HashState, Result,
    error::stopped,
    frames::Frames,
    hash::{Hasher, expect_digest},
};

/// Bytes up to this are put aside in the row.
const INLINE: usize = 64 << 10;
/// The least that a part has which is not the last.
pub(crate) const LEAST_PART: u64 = 5 << 20;
/// What parts grow to.
const LARGEST_PART: u64 = 128 << 20;
/// With so many parts a thousand of the first size are few.
const PARTS: u32 = 10_000;

pub(crate) struct Writer {
    objects: Arc<Objects>,
    key: String,
    _busy: Busy,
    /// Of the bytes in parts, those on their way included; with the part that is being hashed while there is one.
    hasher: Option<Hasher>,
    /// Of the bytes in parts that were sent.
    sent: HashState,
    multipart: Option<Multipart>,
    /// Whether somebody else may have sent a part that no row tells of.
    is_doubtful: bool,
    sending: Sending,
    /// The part being filled.
    frames: Frames,
    /// What of the bytes being gathered lies where the row says; nothing once it is in a part.
    aside: Tail,
    /// Whether that is all of them.
    is_aside: bool,
    /// Objects that were made for that, in all requests.
    asides: u32,
    has_news: bool,
    failed: Option<Failed>,
}

/// A part on its way; dropped with the writer.
#[derive(Default)]
struct Sending {
    task: JoinSet<(Hasher, Result<String>)>,
    number: u32,
    size: u64,
}

/// Why no more bytes are taken.
#[derive(Clone, Copy)]
enum Failed {
    /// The store did not take a part: what came before it stays.
    Part,
    /// The store does not know the upload any more.
    Gone,
}

impl Writer {
    pub(crate) fn new(objects: Arc<Objects>, key: String, hasher: Hasher) -> Self {
        Self {
            _busy: objects.busy.enter(&key),
            objects,
            key,
            sent: hasher.state(),
            hasher: Some(hasher),
            multipart: None,
            is_doubtful: false,
            sending: Sending::default(),
            frames: Frames::default(),
            aside: Tail::Inline(Bytes::new()),
            is_aside: false,
            asides: 0,
            has_news: false,
            failed: None,
        }
    }

    /// Goes on where an upload was put aside.
    pub(crate) async fn resume(
        objects: Arc<Objects>,
        key: String,
        from: &Progress,
    ) -> Result<Self> {
        let mut writer = Self::new(objects, key, Hasher::restore(&from.hash)?);
        writer.multipart.clone_from(&from.multipart);
        writer.is_doubtful = from.is_doubtful;
        writer.asides = from.asides;
        let bytes = match &from.tail {
            Tail::Inline(bytes) => bytes.clone(),
            Tail::Object { name, size } => {
                let object = keys::own(&writer.key, name);
                let read = writer.objects.bucket.read(&object, *size).await?;
                let whole = read.filter(|bytes| bytes.len() as u64 == *size);
                whole.ok_or_else(gone)?
            }
        };
        writer.frames.push(bytes);
        writer.aside = from.tail.clone();
        writer.is_aside = true;
        Ok(writer)
    }

    /// All bytes accepted.
    pub(crate) fn offset(&self) -> u64 {
        let sending = if self.sending.task.is_empty() {
            0
        } else {
            self.sending.size
        };
        self.sent.offset + sending + self.frames.len() as u64
    }

    /// Accepts bytes; waits while one part is under way and the next is full.
    pub(crate) async fn write(&mut self, mut frame: Bytes) -> Result<()> {
        self.check()?;
        while self.make_room().await? {
            let room = self.part_size() - self.frames.len() as u64;
            let taken = frame.split_to(frame.len().min(room as usize));
            if taken.is_empty() {
                return Ok(());
            }
            self.push(taken);
        }
        // Its row is told before the next write.
        self.push(frame);
        Ok(())
    }

    fn push(&mut self, bytes: Bytes) {
        if !bytes.is_empty() {
            self.is_aside = false;
            self.frames.push(bytes);
        }
    }

    /// Sends what is a full part. False when its row has to be told of the one before first: a node that was frozen, and whose
    /// upload went on elsewhere, learns of that before it sends anything.
    async fn make_room(&mut self) -> Result<bool> {
        if (self.frames.len() as u64) < self.part_size() {
            return Ok(true);
        }
        self.collect().await?;
        if self.has_news {
            return Ok(false);
        }
        self.send_part().await?;
        Ok(true)
    }

    /// Whether its row should learn how far this has come.
    pub(crate) fn has_news(&self) -> bool {
        self.has_news
    }

    /// What counts already while bytes keep coming: parts that were sent, and what the row said before.
    pub(crate) fn progress(&mut self) -> Progress {
        self.has_news = false;
        Progress {
            hash: self.sent.clone(),
            multipart: self.multipart.clone(),
            tail: self.aside.clone(),
            asides: self.asides,
            // A part may be on its way.
            is_doubtful: true,
        }
    }

    /// Brings everything accepted into the store, and says how to go on. After a part that was not taken that is what
    /// came before it.
    pub(crate) async fn put_aside(&mut self) -> Result<Progress> {
        let collected = self.collect().await;
        match self.failed {
            Some(Failed::Gone) => return Err(gone()),
            Some(Failed::Part) => return Ok(self.progress()),
            None => collected?,
        }
        if !self.is_aside {
            self.aside = if self.frames.len() <= INLINE {
                Tail::Inline(self.frames.get().concat().into())
            } else {
                let (name, frames) = (keys::new_name(), self.frames.get().to_vec());
                let object = keys::own(&self.key, &name);
                self.asides += 1;
                self.objects.bucket.put(&object, frames).await?;
                let size = self.frames.len() as u64;
                Tail::Object { name, size }
            };
            self.is_aside = true;
        }
        Ok(Progress {
            is_doubtful: self.is_doubtful,
            ..self.progress()
        })
    }

    /// Ends the upload: the digest right, all bytes in the store, in one object. `location` is where content of this digest lies
    /// that can be stored with one call. After a wrong digest the writer goes on.
    pub(crate) async fn finish_at(&mut self, expected: &Digest, location: &str) -> Result<Staged> {
        self.check()?;
        self.collect().await?;
        if self.multipart.is_none() {
            return self.finish_whole(expected, location).await;
        }
        self.finish_parts(expected).await
    }

    async fn finish_whole(&mut self, expected: &Digest, location: &str) -> Result<Staged> {
        let (frames, size) = (self.frames.get().to_vec(), self.frames.len() as u64);
        let hasher = Hasher::new(expected.algorithm());
        let hasher = hash_frames(hasher, frames.clone()).await?;
        expect_digest(expected, hasher.digest())?;
        let mut staged = Staged::new(self.objects.clone(), *expected, size, frames);
        match &self.aside {
            Tail::Object { name, .. } if self.is_aside => {
                staged.leaves = self.is_doubtful || self.asides > 1;
                staged
                    .keep_own(keys::own_location(&self.key, name, size))
                    .await?;
            }
            _ => {
                staged.leaves = self.is_doubtful || self.asides > 0;
                staged.publish(location).await?;
            }
        }
        Ok(staged)
    }

    async fn finish_parts(&mut self, expected: &Digest) -> Result<Staged> {
        if !self.frames.is_empty() {
            self.refuse_too_many()?;
        }
        let frames = self.frames.get().to_vec();
        let hasher = hash_frames(self.hasher().clone(), frames.clone()).await?;
        let size = hasher.offset();
        let is_hashed = hasher.algorithm() == expected.algorithm();
        if is_hashed {
            expect_digest(expected, hasher.digest())?;
        }
        let multipart = self.multipart.clone().expect("looked at before");
        let object = keys::own(&self.key, &multipart.name);
        let was_doubtful = self.is_doubtful;
        // The last part may come late, after another request has sent its own.
        self.is_doubtful = true;
        let is_sure = match self.complete(&object, &multipart, frames).await {
            Ok(()) => !was_doubtful,
            // It may have been done all the same, now or by an earlier request whose commit failed.
            Err(error) => match self.objects.bucket.head(&object).await? {
                Some(stored) if stored == size => false,
                _ if matches!(error, Error::NotFound) => {
                    self.failed = Some(Failed::Gone);
                    return Err(gone());
                }
                _ => return Err(error),
            },
        };
        if !is_sure || !is_hashed {
            let read = hash_object(&self.objects, &object, expected.algorithm(), size).await?;
            let same = expect_digest(expected, read.digest());
            if same.is_err() && is_hashed {
                // What this client sent was right: somebody else's part is among them.
                self.failed = Some(Failed::Gone);
                return Err(gone());
            }
            same?;
        }
        let mut staged = Staged::new(self.objects.clone(), *expected, size, Vec::new());
        staged.leaves = was_doubtful || self.asides > 0;
        let location = keys::own_location(&self.key, &multipart.name, size);
        staged.keep_own(location).await?;
        Ok(staged)
    }

    /// The bytes behind the last part stay gathered until the whole is known to be there.
    async fn complete(
        &self,
        object: &str,
        multipart: &Multipart,
        frames: Vec<Bytes>,
    ) -> Result<()> {
        let bucket = &self.objects.bucket;
        let mut parts = multipart.parts.clone();
        if !frames.is_empty() {
            let (number, size) = (multipart.next_number(), self.frames.len() as u64);
            let sent = bucket.put_part(object, &multipart.id, number, frames);
            let tag = sent.await?;
            parts.push(Part { number, size, tag });
        }
        bucket.complete(object, &multipart.id, &parts).await
    }

    fn check(&self) -> Result<()> {
        match self.failed {
            None => Ok(()),
            Some(Failed::Gone) => Err(gone()),
            Some(Failed::Part) => Err(Error::Remote {
                what: "write to",
                key: self.objects.bucket.shown(&self.key),
                why: "an earlier part of this upload was not taken".to_owned(),
                is_ours: false,
            }),
        }
    }

    fn hasher(&self) -> &Hasher {
        self.hasher.as_ref().expect("no part is on its way")
    }

    fn next_number(&self) -> u32 {
        let sent = self.multipart.as_ref().map_or(1, Multipart::next_number);
        sent + self.sending.task.len() as u32
    }

    /// Grows, so that 10,000 parts hold a thousand times a gibibyte; sooner where there may be fewer.
    fn part_size(&self) -> u64 {
        let (least, most) = (self.objects.part_size, self.objects.bucket.most_parts());
        size_of_part(self.next_number(), least, most)
    }

    /// An error where the store takes no further part.
    fn refuse_too_many(&self) -> Result<()> {
        if self.next_number() <= self.objects.bucket.most_parts() {
            return Ok(());
        }
        Err(Error::TooLarge {
            len: self.offset(),
            max: self.sent.offset,
        })
    }

    /// Starts a part of what was gathered; the one before is done.
    async fn send_part(&mut self) -> Result<()> {
        self.refuse_too_many()?;
        let multipart = match &mut self.multipart {
            Some(multipart) => multipart,
            none => {
                let name = keys::new_name();
                let object = keys::own(&self.key, &name);
                let id = self.objects.bucket.begin(&object).await?;
                none.insert(Multipart {
                    name,
                    id,
                    parts: Vec::new(),
                })
            }
        };
        let (object, id) = (keys::own(&self.key, &multipart.name), multipart.id.clone());
        // Cut where any node would cut it: whoever sends it again sends the same.
        let (size, number) = (self.part_size(), self.next_number());
        let frames = self.frames.split_to(size as usize);
        let hasher = self.hasher.take().expect("the part before gave it back");
        let objects = self.objects.clone();
        self.sending.number = number;
        self.sending.size = size;
        self.sending.task.spawn(async move {
            let sent = objects
                .bucket
                .put_part(&object, &id, number, frames.clone());
            let (hashed, sent) = tokio::join!(hash_frames(hasher.clone(), frames), sent);
            match hashed {
                Ok(hasher) => (hasher, sent),
                Err(error) => (hasher, Err(error)),
            }
        });
        Ok(())
    }

    /// Waits for the part on its way.
    async fn collect(&mut self) -> Result<()> {
        let Some(ended) = self.sending.task.join_next().await else {
            return Ok(());
        };
        let (hasher, sent) = ended.map_err(|error| {
            self.failed = Some(Failed::Part);
            stopped(error)
        })?;
        match sent {
            Ok(tag) => {
                self.sent = hasher.state();
                self.hasher = Some(hasher);
                self.aside = Tail::Inline(Bytes::new());
                let Sending { number, size, .. } = self.sending;
                let multipart = self.multipart.as_mut().expect("made before its parts");
                multipart.parts.push(Part { number, size, tag });
                self.has_news = true;
                Ok(())
            }
            Err(Error::NotFound) => {
                self.failed = Some(Failed::Gone);
                Err(gone())
            }
            Err(error) => {
                self.failed = Some(Failed::Part);
                Err(error)
            }
        }
    }
}

fn size_of_part(number: u32, least: u64, most: u32) -> u64 {
    let few = most / if most < PARTS { 20 } else { 10 };
    if number <= few {
        least
    } else if number <= 2 * few {
        (4 * least).min(LARGEST_PART).max(least)
    } else {
        LARGEST_PART.max(least)
    }
}

/// The store does not know the upload, or what was put aside of it: somebody tidied up, or it became content elsewhere.
fn gone() -> Error {
    Error::Lost(std::io::Error::other("the store does not know it any more"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tebibyte_fits() {
        let whole = |most: u32| -> u64 {
            let sizes = (1..=most).map(|number| size_of_part(number, 8 << 20, most));
            sizes.sum()
        };
        // What S3 takes, and OpenStack Swift.
        for most in [10_000, 9_000] {
            assert!(whole(most) >= 1 << 40, "{most}: {}", whole(most));
        }
        // Ceph's gateway in Swift's interface.
        assert_eq!(whole(1000) >> 30, 114);
    }
}
