//! Pulls from a bucket: a range of an object as it comes.

use std::{io, ops::Range, sync::Arc};

use bytes::Bytes;
use futures_util::{Stream, StreamExt, TryStreamExt, stream};
use oci::digest::Digest;

use super::{Objects, keys::Location, stored::SIGNED};
use crate::{Error, Result};

/// Content whose object was not asked for yet.
#[derive(Clone)]
pub(crate) struct Reader {
    pub(crate) len: u64,
    objects: Arc<Objects>,
    object: String,
}

impl Reader {
    pub(crate) fn new(
        objects: Arc<Objects>,
        digest: &Digest,
        location: &str,
        len: u64,
    ) -> Result<Self> {
        let object = Location::parse(location)?.object(digest);
        Ok(Self {
            len,
            objects,
            object,
        })
    }

    /// Asks for a range; whether the object is there, and as long as it should be, is known when this returns.
    pub(crate) async fn start(
        self,
        range: Range<u64>,
    ) -> Result<impl Stream<Item = io::Result<Bytes>> + Send + 'static> {
        let (begin, end) = (range.start.min(self.len), range.end.min(self.len));
        let asked = (begin < end).then_some(begin..end);
        let bucket = &self.objects.bucket;
        let (size, bytes) = if let Some(range) = asked {
            let (size, bytes) = bucket.get(&self.object, Some(range)).await?;
            (size, bytes.boxed())
        } else {
            // No vendor has a range of no bytes.
            let size = bucket.head(&self.object).await?;
            (size.ok_or(Error::NotFound)?, stream::empty().boxed())
        };
        if size != self.len {
            let shown = bucket.shown(&self.object);
            let why = format!("`{shown}` has {size} bytes, not {}", self.len);
            return Err(Error::Damaged(why));
        }
        Ok(bytes.map_err(io::Error::other))
    }

    /// An address that a client may be sent to, where clients are.
    pub(crate) async fn signed(&self) -> Result<Option<String>> {
        if !self.objects.bucket.signs() {
            return Ok(None);
        }
        // Or nobody would ever hear that it is gone: the client alone sees the store's answer.
        match self.objects.bucket.head(&self.object).await? {
            Some(size) if size == self.len => {}
            Some(size) => {
                let why = format!("it has {size} bytes, not {}", self.len);
                return Err(Error::Damaged(why));
            }
            None => return Err(Error::NotFound),
        }
        self.objects.bucket.sign(&self.object, SIGNED).await
    }
}
