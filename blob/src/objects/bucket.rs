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
use futures_util::{Stream, StreamExt, TryStreamExt, stream};
use http::Method;
use object_store::{
    Attribute, AttributeValue, Attributes, GetOptions, GetRange, GetResultPayload, ObjectStore,
    ObjectStoreExt, PutMode, PutMultipartOptions, PutOptions, PutPayload,
    multipart::MultipartStore, path::Path, signer::Signer,
};

use super::{
    calls::Calls,
    fault::{Refusal, fault},
    progress::Part,
};
use crate::{Error, Result};

/// Objects that one call deletes; what Azure takes at most.
const DELETES: usize = 256;

/// How long the head of an answer to a read may take, repetitions included.
const HEAD: Duration = Duration::from_secs(10);

/// What the crate `object_store` offers for one vendor.
pub(crate) trait Vendor: ObjectStore + MultipartStore {}

impl<T: ObjectStore + MultipartStore> Vendor for T {}

pub(crate) struct Bucket {
    /// As a person knows it: `s3://BUCKET/PREFIX`.
    pub(crate) shown: String,
    /// Empty, or with a slash at its end.
    pub(crate) prefix: String,
    /// For what must not fail lightly: uploads.
    pub(crate) writes: Arc<dyn Vendor>,
    /// For whom somebody waits; gives up sooner.
    pub(crate) reads: Arc<dyn Vendor>,
    pub(crate) calls: Calls,
    /// Signs for the address that clients know, where they are sent there.
    pub(crate) signer: Option<Arc<dyn Signer>>,
    pub(crate) storage_class: Option<String>,
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

fn silent(what: &'static str, key: &str) -> Error {
    Error::Remote {
        what,
        key: key.to_owned(),
        why: format!("no answer within {HEAD:?}"),
        is_ours: false,
    }
}

impl Bucket {
    fn key(&self, key: &str) -> String {
        format!("{}{key}", self.prefix)
    }

    fn path(&self, key: &str) -> Result<Path> {
        Path::parse(self.key(key)).map_err(|_| Error::Invalid(key.to_owned(), "key"))
    }

    /// As told in errors.
    pub(crate) fn shown(&self, key: &str) -> String {
        format!("{}/{key}", self.shown)
    }

    /// Stores an object whole, over whatever has its key.
    pub(crate) async fn put(&self, key: &str, frames: Vec<Bytes>) -> Result<()> {
        let path = self.path(key)?;
        let options = PutOptions {
            attributes: self.attributes(),
            ..PutOptions::default()
        };
        let put = self
            .writes
            .put_opts(&path, PutPayload::from_iter(frames), options);
        put.await.map_err(|e| fault("put", &self.shown(key), &e))?;
        Ok(())
    }

    /// Stores an object unless there is one. Some vendors do not look: read back what is there.
    pub(crate) async fn put_new(&self, key: &str, bytes: Bytes) -> Result<()> {
        let path = self.path(key)?;
        let options = PutOptions::from(PutMode::Create);
        let payload = PutPayload::from(bytes.clone());
        match self.writes.put_opts(&path, payload, options).await {
            Ok(_) => Ok(()),
            Err(error) => match Refusal::find(&error).map(|refusal| refusal.status.as_u16()) {
                Some(409 | 412) => Ok(()),
                // Not every vendor knows the condition.
                Some(400 | 501) => self.put(key, vec![bytes]).await,
                _ => Err(fault("put", &self.shown(key), &error)),
            },
        }
    }

    /// The bytes of a range, or all: the object's whole size, and a stream that takes up again where its connection breaks.
    pub(crate) async fn get(
        &self,
        key: &str,
        range: Option<Range<u64>>,
    ) -> Result<(u64, impl Stream<Item = Result<Bytes>> + Send + 'static)> {
        let path = self.path(key)?;
        let shown = self.shown(key);
        let options = GetOptions {
            range: range.map(GetRange::Bounded),
            ..GetOptions::default()
        };
        let got = tokio::time::timeout(HEAD, self.reads.get_opts(&path, options)).await;
        let got = got.map_err(|_| silent("get", &shown))?;
        let got = got.map_err(|e| fault("get", &shown, &e))?;
        let size = got.meta.size;
        let GetResultPayload::Stream(stream) = got.payload;
        Ok((size, stream.map_err(move |e| fault("get", &shown, &e))))
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
        let path = self.path(key)?;
        let looked = tokio::time::timeout(HEAD, self.reads.head(&path)).await;
        match looked.map_err(|_| silent("look at", &self.shown(key)))? {
            Ok(meta) => Ok(Some(meta.size)),
            Err(error) => match fault("look at", &self.shown(key), &error) {
                Error::NotFound => Ok(None),
                error => Err(error),
            },
        }
    }

    /// Deletes many at once; one that is not there is deleted already. Answers in the order of the keys.
    pub(crate) async fn delete(&self, keys: &[String]) -> Vec<Result<()>> {
        let mut answers = Vec::with_capacity(keys.len());
        for keys in keys.chunks(DELETES) {
            match self.delete_some(keys).await {
                Ok(deleted) => answers.extend(deleted),
                Err(error) => {
                    let why = error.to_string();
                    answers.extend(keys.iter().map(|key| {
                        Err(Error::Remote {
                            what: "delete",
                            key: self.shown(key),
                            why: why.clone(),
                            is_ours: false,
                        })
                    }));
                }
            }
        }
        answers
    }

    async fn delete_some(&self, keys: &[String]) -> Result<Vec<Result<()>>> {
        let paths = keys.iter().map(|key| self.path(key).map(Ok));
        let paths: Vec<_> = paths.collect::<Result<_>>()?;
        let deleted = self.writes.delete_stream(stream::iter(paths).boxed());
        let mut deleted: Vec<_> = deleted.collect().await;
        if deleted.len() != keys.len() {
            // One answer for all of them.
            let error = deleted.pop().and_then(std::result::Result::err);
            let shown = self.shown(&keys[0]);
            return Err(match error {
                Some(error) => fault("delete", &shown, &error),
                None => Error::Remote {
                    what: "delete",
                    key: shown,
                    why: "the store did not say what is gone".to_owned(),
                    is_ours: false,
                },
            });
        }
        let answers = deleted
            .into_iter()
            .zip(keys)
            .map(|(deleted, key)| match deleted {
                Ok(_) => Ok(()),
                Err(error) => match fault("delete", &self.shown(key), &error) {
                    Error::NotFound => Ok(()),
                    error => Err(error),
                },
            });
        Ok(answers.collect())
    }

    /// Objects whose keys begin so, in order; their keys are without the bucket's prefix.
    pub(crate) async fn list(&self, prefix: &str, token: Option<&str>) -> Result<Page<Object>> {
        let mut page = self.calls.list(&self.key(prefix), token).await?;
        for object in &mut page.found {
            object.key = self.below(&object.key);
        }
        Ok(page)
    }

    /// Begins an object in parts; answers the vendor's name for it.
    pub(crate) async fn begin(&self, key: &str) -> Result<String> {
        let path = self.path(key)?;
        let options = PutMultipartOptions {
            attributes: self.attributes(),
            ..PutMultipartOptions::default()
        };
        let begun = self.writes.create_multipart_opts(&path, options).await;
        begun.map_err(|e| fault("begin", &self.shown(key), &e))
    }

    /// Sends a part; `number` counts from 1. Answers its tag.
    pub(crate) async fn put_part(
        &self,
        key: &str,
        id: &str,
        number: u32,
        frames: Vec<Bytes>,
    ) -> Result<String> {
        let path = self.path(key)?;
        let payload = PutPayload::from_iter(frames);
        let at = number as usize - 1;
        let sent = self
            .writes
            .put_part(&path, &id.to_owned(), at, payload)
            .await;
        let sent = sent.map_err(|e| fault("put a part of", &self.shown(key), &e))?;
        Ok(sent.content_id)
    }

    /// Makes one object of parts. Whether it is there after an error, [`Bucket::head`] tells.
    pub(crate) async fn complete(&self, key: &str, id: &str, parts: &[Part]) -> Result<()> {
        self.calls.complete(&self.key(key), id, parts).await
    }

    /// Gives up an upload in parts; one that has ended is given up already.
    pub(crate) async fn abort(&self, key: &str, id: &str) -> Result<()> {
        let path = self.path(key)?;
        match self.writes.abort_multipart(&path, &id.to_owned()).await {
            Ok(()) => Ok(()),
            Err(error) => match fault("abort", &self.shown(key), &error) {
                Error::NotFound => Ok(()),
                error => Err(error),
            },
        }
    }

    /// Uploads in parts that have not ended.
    pub(crate) async fn begun(&self, prefix: &str, token: Option<&str>) -> Result<Page<Begun>> {
        let mut page = self.calls.begun(&self.key(prefix), token).await?;
        for begun in &mut page.found {
            begun.key = self.below(&begun.key);
        }
        Ok(page)
    }

    /// Whether clients are sent here.
    pub(crate) fn signs(&self) -> bool {
        self.signer.is_some()
    }

    /// An address under which anybody may read the object for a while; none where clients are not sent there.
    pub(crate) async fn sign(&self, key: &str, lasts: Duration) -> Result<Option<String>> {
        let Some(signer) = &self.signer else {
            return Ok(None);
        };
        let signed = signer
            .signed_url(Method::GET, &self.path(key)?, lasts)
            .await;
        let url = signed.map_err(|e| fault("sign", &self.shown(key), &e))?;
        Ok(Some(url.into()))
    }

    fn below(&self, key: &str) -> String {
        key.strip_prefix(&self.prefix).unwrap_or(key).to_owned()
    }

    fn attributes(&self) -> Attributes {
        let mut attributes = Attributes::new();
        if let Some(class) = &self.storage_class {
            let class = AttributeValue::from(class.clone());
            attributes.insert(Attribute::StorageClass, class);
        }
        attributes
    }
}
