//! One bucket, whosever: the few calls that a store of contents needs. Keys are below the prefix that the bucket was given.
//!
//! What is sent twice is sent under the same key or part number with the same bytes. So every call here may be repeated, and is,
//! for as long as the store is expected back.

use std::{
    ops::Range,
    sync::Arc,
    time::{Duration, SystemTime},
};

use bytes::Bytes;
use futures_util::{Stream, TryStreamExt};

use super::{
    config::Config,
    library::Library,
    progress::Part,
    reading::{self, Opened},
    swift::Swift,
};
use crate::{Error, Result};

/// How long the head of an answer to a read may take, repetitions included.
const HEAD: Duration = Duration::from_secs(10);

pub(crate) struct Bucket {
    /// As a person knows it: `s3://BUCKET/PREFIX`.
    pub(crate) shown: String,
    /// Empty, or with a slash at its end.
    prefix: String,
    backend: Arc<Backend>,
}

/// How a bucket is spoken to. Keys are whole here: with the bucket's prefix.
pub(crate) enum Backend {
    /// Through the crate `object_store`: S3 and what is like it.
    Library(Library),
    /// In its own interface. What it does is boxed: callers hold little until it is theirs.
    Swift(Swift),
}

/// An object as lists show it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Object {
    pub(crate) key: String,
    pub(crate) size: u64,
    pub(crate) modified: SystemTime,
}

/// An upload in parts that has not ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Begun {
    pub(crate) key: String,
    pub(crate) id: String,
    pub(crate) begun: SystemTime,
}

pub(crate) struct Page<T> {
    pub(crate) found: Vec<T>,
    /// Asks for the next page; none at the end.
    pub(crate) next: Option<String>,
}

impl Backend {
    /// The bytes of a range, or all, for as long as the connection holds.
    pub(super) async fn open(&self, key: &str, range: Option<Range<u64>>) -> Result<Opened> {
        match self {
            Self::Library(library) => library.open(key, range).await,
            Self::Swift(swift) => Box::pin(swift.open_object(key, range)).await,
        }
    }
}

/// Waits no longer than somebody waits for a read to begin.
pub(super) async fn soon<T>(
    what: &'static str,
    shown: &str,
    read: impl Future<Output = Result<T>>,
) -> Result<T> {
    let read = tokio::time::timeout(HEAD, read).await;
    read.unwrap_or_else(|_| {
        Err(Error::Remote {
            what,
            key: shown.to_owned(),
            why: format!("no answer within {HEAD:?}"),
            is_ours: false,
        })
    })
}

impl Bucket {
    pub(crate) fn new(config: &Config, backend: Backend) -> Self {
        Self {
            shown: config.shown(),
            prefix: config.below(),
            backend: Arc::new(backend),
        }
    }

    fn key(&self, key: &str) -> String {
        format!("{}{key}", self.prefix)
    }

    fn below(&self, key: &str) -> String {
        key.strip_prefix(&self.prefix).unwrap_or(key).to_owned()
    }

    /// As told in errors.
    pub(crate) fn shown(&self, key: &str) -> String {
        format!("{}/{key}", self.shown)
    }

    /// Stores an object whole, over whatever has its key.
    pub(crate) async fn put(&self, key: &str, frames: Vec<Bytes>) -> Result<()> {
        match &*self.backend {
            Backend::Library(library) => library.put(&self.key(key), frames).await,
            Backend::Swift(swift) => Box::pin(swift.put(&self.key(key), frames)).await.map(drop),
        }
    }

    /// Stores an object unless there is one. Some vendors do not look: read back what is there.
    pub(crate) async fn put_new(&self, key: &str, bytes: Bytes) -> Result<()> {
        match &*self.backend {
            Backend::Library(library) => library.put_new(&self.key(key), bytes).await,
            Backend::Swift(swift) => Box::pin(swift.put_new(&self.key(key), bytes)).await,
        }
    }

    /// The bytes of a range, or all: the object's whole size, and a stream of that many, which takes up again where its connection breaks.
    pub(crate) async fn get(
        &self,
        key: &str,
        range: Option<Range<u64>>,
    ) -> Result<(u64, impl Stream<Item = Result<Bytes>> + Send + 'static)> {
        reading::read(self.backend.clone(), self.key(key), self.shown(key), range).await
    }

    /// A small object whole; none when there is none.
    pub(crate) async fn read(&self, key: &str, max: u64) -> Result<Option<Bytes>> {
        let (size, stream) = match self.get(key, None).await {
            Err(Error::NotFound) => return Ok(None),
            got => got?,
        };
        if size > max {
            return Err(Error::TooLarge { len: size, max });
        }
        let mut whole = Vec::with_capacity(size as usize);
        let mut stream = std::pin::pin!(stream);
        while let Some(bytes) = stream.try_next().await? {
            whole.extend_from_slice(&bytes);
        }
        Ok(Some(whole.into()))
    }

    /// The size of an object; none when there is none.
    pub(crate) async fn head(&self, key: &str) -> Result<Option<u64>> {
        let whole = self.key(key);
        let looked = async {
            match &*self.backend {
                Backend::Library(library) => library.head(&whole).await,
                Backend::Swift(swift) => Box::pin(swift.head(&whole)).await,
            }
        };
        match soon("look at", &self.shown(key), looked).await {
            Ok(size) => Ok(Some(size)),
            Err(Error::NotFound) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Deletes many at once; one that is not there is deleted already. Answers in the order of the keys.
    pub(crate) async fn delete(&self, keys: &[String]) -> Vec<Result<()>> {
        let whole: Vec<String> = keys.iter().map(|key| self.key(key)).collect();
        match &*self.backend {
            Backend::Library(library) => library.delete(&whole).await,
            Backend::Swift(swift) => Box::pin(swift.delete(&whole)).await,
        }
    }

    /// Objects whose keys begin so, in order; their keys are without the bucket's prefix.
    pub(crate) async fn list(&self, prefix: &str, token: Option<&str>) -> Result<Page<Object>> {
        let mut page = match &*self.backend {
            Backend::Library(library) => library.list(&self.key(prefix), token).await?,
            Backend::Swift(swift) => Box::pin(swift.list(&self.key(prefix), token)).await?,
        };
        for object in &mut page.found {
            object.key = self.below(&object.key);
        }
        Ok(page)
    }

    /// Parts of one upload.
    pub(crate) fn most_parts(&self) -> u32 {
        match &*self.backend {
            Backend::Library(_) => 10_000,
            Backend::Swift(swift) => swift.most_parts(),
        }
    }

    /// Begins an object in parts, of a key that no object ever had; answers the vendor's name for it.
    pub(crate) async fn begin(&self, key: &str) -> Result<String> {
        match &*self.backend {
            Backend::Library(library) => library.begin(&self.key(key)).await,
            Backend::Swift(swift) => Box::pin(swift.begin(&self.key(key))).await,
        }
    }

    /// Sends a part; `number` counts from 1. Answers its tag.
    pub(crate) async fn put_part(
        &self,
        key: &str,
        id: &str,
        number: u32,
        frames: Vec<Bytes>,
    ) -> Result<String> {
        match &*self.backend {
            Backend::Library(library) => library.put_part(&self.key(key), id, number, frames).await,
            Backend::Swift(swift) => {
                Box::pin(swift.put_part(&self.key(key), id, number, frames)).await
            }
        }
    }

    /// Makes one object of parts: [`Error::NotFound`] when they, or the upload, are not there any more. Whether the object is
    /// there after an error, [`Bucket::head`] tells.
    pub(crate) async fn complete(&self, key: &str, id: &str, parts: &[Part]) -> Result<()> {
        match &*self.backend {
            Backend::Library(library) => library.complete(&self.key(key), id, parts).await,
            Backend::Swift(swift) => Box::pin(swift.complete(&self.key(key), id, parts)).await,
        }
    }

    /// Gives up an upload in parts; one that has ended is given up already.
    pub(crate) async fn abort(&self, key: &str, id: &str) -> Result<()> {
        let aborted = match &*self.backend {
            Backend::Library(library) => library.abort(&self.key(key), id).await,
            Backend::Swift(swift) => Box::pin(swift.abort(&self.key(key), id)).await,
        };
        match aborted {
            Err(Error::NotFound) => Ok(()),
            aborted => aborted,
        }
    }

    /// Uploads in parts that have not ended.
    pub(crate) async fn begun(&self, prefix: &str, token: Option<&str>) -> Result<Page<Begun>> {
        let mut page = match &*self.backend {
            Backend::Library(library) => library.begun(&self.key(prefix), token).await?,
            Backend::Swift(swift) => Box::pin(swift.begun(&self.key(prefix), token)).await?,
        };
        for begun in &mut page.found {
            begun.key = self.below(&begun.key);
        }
        Ok(page)
    }

    /// Whether clients are sent here.
    pub(crate) fn signs(&self) -> bool {
        match &*self.backend {
            Backend::Library(library) => library.signs(),
            Backend::Swift(swift) => swift.signs(),
        }
    }

    /// An address under which anybody may read the object for a while; none where clients are not sent there.
    pub(crate) async fn sign(&self, key: &str, lasts: Duration) -> Result<Option<String>> {
        match &*self.backend {
            Backend::Library(library) => library.sign(&self.key(key), lasts).await,
            Backend::Swift(swift) => Box::pin(swift.sign(&self.key(key), lasts)).await,
        }
    }
}
