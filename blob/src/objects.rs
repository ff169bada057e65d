//! The store in a bucket: an upload is parts that become one object, or one object at once.
//!
//! Nothing here rests on conditional writes, on the tags of completed uploads, or on the order of lists: not every vendor
//! keeps those. A name is given once, so that what is sent twice or late hits nothing that counts.

mod azure;
mod bucket;
pub mod config;
mod exchange;
mod fault;
mod google;
mod keys;
mod library;
mod list;
mod patient;
mod progress;
mod reader;
mod reading;
mod receive;
mod s3;
mod send;
mod staged;
mod stored;
mod swift;
mod tree;
mod walk;
mod wire;
mod writer;
mod xml;

use std::{sync::Arc, time::Duration};

use bytes::Bytes;
use oci::digest::Algorithm;

use crate::{Error, Result, hash::Hasher};

use bucket::{Backend, Bucket};
pub use config::Config;
pub(crate) use list::Listing;
pub use progress::Progress;
pub(crate) use reader::Reader;
pub(crate) use staged::Staged;
pub(crate) use tree::TreeWalk;
pub(crate) use writer::Writer;

/// A store's identity is short.
const IDENTITY_LENGTH: u64 = 256;
/// How long two who give a store its identity at once may be apart.
const SETTLING: Duration = Duration::from_millis(500);

pub(crate) struct Objects {
    bucket: Bucket,
    /// Bytes of the first parts.
    part_size: u64,
    busy: stored::BusyKeys,
}

impl Objects {
    /// Asks whose store it is, which tells whether the bucket exists and may be read.
    pub(crate) async fn open(config: &Config) -> Result<Self> {
        let backend = match config.vendor {
            config::Vendor::S3 => Backend::Library(s3::open(config)?),
            config::Vendor::Azure => Backend::Library(azure::open(config)?),
            config::Vendor::Google => Backend::Library(google::open(config)?),
            config::Vendor::Swift => Backend::Swift(swift::Swift::open(config).await?),
        };
        let opened = Self {
            bucket: Bucket::new(config, backend),
            part_size: config.part_size.max(writer::LEAST_PART),
            busy: stored::BusyKeys::default(),
        };
        opened.identity().await?;
        Ok(opened)
    }

    /// As a person knows it.
    pub(crate) fn shown(&self) -> &str {
        &self.bucket.shown
    }

    pub(crate) async fn identity(&self) -> Result<Option<String>> {
        let read = self.bucket.read(keys::IDENTITY, IDENTITY_LENGTH).await?;
        let text = read.map(|bytes| String::from_utf8_lossy(&bytes).trim().to_owned());
        Ok(text.filter(|id| !id.is_empty()))
    }

    pub(crate) async fn is_empty(&self) -> Result<bool> {
        let page = self.bucket.list("", None).await?;
        // What was tried by somebody who was killed at it is nobody's.
        let is_trial = |key: &str| key.starts_with(keys::TRIALS);
        Ok(page.found.iter().all(|object| is_trial(&object.key)) && page.next.is_none())
    }

    /// Gives the store its identity. Of two at once one is told that it is another's.
    pub(crate) async fn adopt(&self, id: &str) -> Result<()> {
        let text = Bytes::from(format!("{id}\n"));
        let mut written = Ok(());
        if self.identity().await?.is_none() {
            written = self.bucket.put_new(keys::IDENTITY, text).await;
            // Where the condition is not looked at, both have written: the later one stands.
            tokio::time::sleep(SETTLING).await;
        }
        // It may be there although the answer was lost.
        match self.expect_identity(id).await {
            Err(refused) => written.and(Err(refused)),
            ours => ours,
        }
    }

    /// Puts another identity in the place of `from`.
    pub(crate) async fn change_identity(&self, from: &str, to: &str) -> Result<()> {
        self.expect_identity(from).await?;
        let text = Bytes::from(format!("{to}\n"));
        self.bucket.put(keys::IDENTITY, vec![text]).await
    }

    pub(crate) async fn probe(&self, expected: &str) -> Result<()> {
        self.expect_identity(expected).await
    }

    async fn expect_identity(&self, expected: &str) -> Result<()> {
        let found = self.identity().await?;
        if found.as_deref() == Some(expected) {
            return Ok(());
        }
        Err(Error::Foreign {
            root: self.bucket.shown.clone(),
            found,
            expected: expected.to_owned(),
        })
    }

    pub(crate) fn begin(self: &Arc<Self>, key: &str, algorithm: Algorithm) -> Writer {
        Writer::new(self.clone(), key.to_owned(), Hasher::new(algorithm))
    }

    /// Goes on at byte `at`, which is where `saved` stands.
    pub(crate) async fn resume(
        self: &Arc<Self>,
        key: &str,
        at: u64,
        saved: Option<&Progress>,
    ) -> Result<Writer> {
        let have = saved.map_or(0, Progress::offset);
        match saved {
            Some(saved) if have == at => Writer::resume(self.clone(), key.to_owned(), saved).await,
            _ => Err(Error::Short { have, want: at }),
        }
    }
}
