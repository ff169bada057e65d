//! Buckets that the crate `object_store` speaks to, and what it lacks for each vendor. Keys are whole: with the bucket's prefix.

use std::{ops::Range, sync::Arc, time::Duration};

use bytes::Bytes;
use futures_util::{StreamExt, TryStreamExt, stream};
use http::Method;
use object_store::{
    Attribute, AttributeValue, Attributes, BackoffConfig, ClientOptions, GetOptions, GetRange,
    GetResultPayload, ObjectStore, ObjectStoreExt, PutMode, PutMultipartOptions, PutOptions,
    PutPayload, RetryConfig,
    client::{HttpClient, HttpConnector},
    multipart::MultipartStore,
    path::Path,
    signer::Signer,
};

use super::{
    azure,
    bucket::{Begun, Object, Page},
    fault::{Refusal, fault},
    google,
    progress::Part,
    reading::Opened,
    s3,
    wire::Wire,
};
use crate::{Error, Result};

/// Objects that one call deletes; what Azure takes at most.
const DELETES: usize = 256;

/// What the crate offers for one vendor.
pub(crate) trait Offered: ObjectStore + MultipartStore {}

impl<T: ObjectStore + MultipartStore> Offered for T {}

pub(crate) struct Library {
    /// What keys stand behind in errors: `s3://BUCKET`.
    pub(crate) root: String,
    /// For what must not fail lightly: uploads.
    pub(crate) writes: Arc<dyn Offered>,
    /// For whom somebody waits; gives up sooner.
    pub(crate) reads: Arc<dyn Offered>,
    /// What the crate lacks.
    pub(crate) lacking: Lacking,
    /// Signs for the address that clients know, where they are sent there.
    pub(crate) signer: Option<Arc<dyn Signer>>,
    pub(crate) storage_class: Option<String>,
}

/// Calls of our own.
pub(crate) enum Lacking {
    S3(s3::Calls),
    Azure(azure::Calls),
    Google(google::Calls),
}

/// How the crate repeats calls: the time alone ends it.
pub(crate) fn retry(patience: Duration) -> RetryConfig {
    RetryConfig {
        max_retries: 10_000,
        retry_timeout: patience,
        backoff: BackoffConfig {
            init_backoff: Duration::from_millis(200),
            max_backoff: Duration::from_secs(4),
            base: 2.0,
        },
    }
}

/// For calls of our own.
pub(crate) fn http(wire: &Wire) -> Result<HttpClient> {
    let client = wire.connect(&ClientOptions::default());
    client.map_err(|error| unusable(&error))
}

/// Of a bucket that cannot even be asked.
pub(crate) fn unusable(error: &(dyn std::error::Error + 'static)) -> Error {
    Error::Unusable {
        root: "storage.url".to_owned(),
        why: error.to_string(),
    }
}

fn path(key: &str) -> Result<Path> {
    Path::parse(key).map_err(|_| Error::Invalid(key.to_owned(), "key"))
}

impl Library {
    fn shown(&self, key: &str) -> String {
        format!("{}/{key}", self.root)
    }

    fn attributes(&self) -> Attributes {
        let mut attributes = Attributes::new();
        if let Some(class) = &self.storage_class {
            let class = AttributeValue::from(class.clone());
            attributes.insert(Attribute::StorageClass, class);
        }
        attributes
    }

    pub(crate) async fn put(&self, key: &str, frames: Vec<Bytes>) -> Result<()> {
        let path = path(key)?;
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

    pub(crate) async fn put_new(&self, key: &str, bytes: Bytes) -> Result<()> {
        let path = path(key)?;
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

    pub(crate) async fn open(&self, key: &str, range: Option<Range<u64>>) -> Result<Opened> {
        let path = path(key)?;
        let shown = self.shown(key);
        let options = GetOptions {
            range: range.map(GetRange::Bounded),
            ..GetOptions::default()
        };
        let got = self.reads.get_opts(&path, options).await;
        let got = got.map_err(|e| fault("get", &shown, &e))?;
        let GetResultPayload::Stream(stream) = got.payload;
        Ok(Opened {
            size: got.meta.size,
            tag: got.meta.e_tag,
            body: stream.map_err(move |e| fault("get", &shown, &e)).boxed(),
        })
    }

    pub(crate) async fn head(&self, key: &str) -> Result<u64> {
        let looked = self.reads.head(&path(key)?).await;
        let meta = looked.map_err(|e| fault("look at", &self.shown(key), &e))?;
        Ok(meta.size)
    }

    pub(crate) async fn delete(&self, keys: &[String]) -> Vec<Result<()>> {
        if let Lacking::Azure(calls) = &self.lacking
            && calls.is_single
        {
            return calls.delete_each(keys).await;
        }
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
        let paths = keys.iter().map(|key| path(key).map(Ok));
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
                // What is not there is deleted already; of many, vendors say so without a refusal.
                Ok(_) | Err(object_store::Error::NotFound { .. }) => Ok(()),
                Err(error) => match fault("delete", &self.shown(key), &error) {
                    Error::NotFound => Ok(()),
                    error => Err(error),
                },
            });
        Ok(answers.collect())
    }

    pub(crate) async fn list(&self, prefix: &str, token: Option<&str>) -> Result<Page<Object>> {
        match &self.lacking {
            Lacking::S3(calls) => calls.list(prefix, token).await,
            Lacking::Azure(calls) => calls.list(prefix, token).await,
            Lacking::Google(calls) => calls.xml.list(prefix, token).await,
        }
    }

    pub(crate) async fn begin(&self, key: &str) -> Result<String> {
        match &self.lacking {
            Lacking::S3(_) => {
                let options = PutMultipartOptions {
                    attributes: self.attributes(),
                    ..PutMultipartOptions::default()
                };
                let begun = self
                    .writes
                    .create_multipart_opts(&path(key)?, options)
                    .await;
                begun.map_err(|e| fault("begin", &self.shown(key), &e))
            }
            Lacking::Azure(calls) => calls.begin(key).await,
            Lacking::Google(calls) => calls.begin(key).await,
        }
    }

    pub(crate) async fn put_part(
        &self,
        key: &str,
        id: &str,
        number: u32,
        frames: Vec<Bytes>,
    ) -> Result<String> {
        let path = path(key)?;
        let payload = PutPayload::from_iter(frames);
        let at = number as usize - 1;
        let sent = self
            .writes
            .put_part(&path, &id.to_owned(), at, payload)
            .await;
        let sent = sent.map_err(|e| fault("put a part of", &self.shown(key), &e))?;
        Ok(sent.content_id)
    }

    pub(crate) async fn complete(&self, key: &str, id: &str, parts: &[Part]) -> Result<()> {
        match &self.lacking {
            Lacking::S3(calls) => calls.complete(key, id, parts).await,
            Lacking::Azure(calls) => calls.complete(key, parts).await,
            Lacking::Google(calls) => calls.xml.complete(key, id, parts).await,
        }
    }

    pub(crate) async fn abort(&self, key: &str, id: &str) -> Result<()> {
        match &self.lacking {
            Lacking::S3(_) => {
                let aborted = self
                    .writes
                    .abort_multipart(&path(key)?, &id.to_owned())
                    .await;
                aborted.map_err(|e| fault("abort", &self.shown(key), &e))
            }
            Lacking::Azure(calls) => calls.abort(key).await,
            Lacking::Google(calls) => calls.abort(key, id).await,
        }
    }

    pub(crate) async fn begun(&self, prefix: &str, token: Option<&str>) -> Result<Page<Begun>> {
        match &self.lacking {
            Lacking::S3(calls) => calls.begun(prefix, token).await,
            Lacking::Azure(calls) => calls.begun(prefix, token).await,
            Lacking::Google(calls) => calls.xml.begun(prefix, token).await,
        }
    }

    pub(crate) fn signs(&self) -> bool {
        self.signer.is_some()
    }

    pub(crate) async fn sign(&self, key: &str, lasts: Duration) -> Result<Option<String>> {
        let Some(signer) = &self.signer else {
            return Ok(None);
        };
        let signed = signer.signed_url(Method::GET, &path(key)?, lasts).await;
        let url = signed.map_err(|e| fault("sign", &self.shown(key), &e))?;
        Ok(Some(url.into()))
    }
}
