//! Small contents of a bucket, such as manifests and configs, that another node has read or written: Redis has them at hand where there
//! is one. It gives bytes and nothing else: who may read them, and whether they are still content, is asked of the database before.

use bytes::Bytes;
use cache::{Kind, MOST_CONTENT};
use oci::digest::Digest;

use crate::Registry;

impl Registry {
    /// What the nodes share beside the database and the store.
    pub fn cache(&self) -> &cache::Cache {
        &self.0.config.cache
    }

    /// Whether contents of this size are at hand: a directory is as quick as another machine.
    pub fn is_at_hand(&self, size: u64) -> bool {
        self.cache().is_configured()
            && (1..=MOST_CONTENT as u64).contains(&size)
            && self.store().bucket().is_some()
    }

    /// Reads content whole and checks its digest, wherever the bytes come from. For what has a known and bounded size.
    pub async fn read_whole(
        &self,
        digest: &Digest,
        location: &str,
        size: u64,
    ) -> blob::Result<Bytes> {
        if !self.is_at_hand(size) {
            return self.store().read(digest, location, size as usize).await;
        }
        let name = digest.to_string();
        if let Some(bytes) = self.cache().get(Kind::Content, &name).await {
            if bytes.len() as u64 == size && blob::digest_of(digest.algorithm(), &bytes) == *digest
            {
                return Ok(bytes);
            }
            // Somebody else wrote it, or a part of it is missing.
            self.cache().count_forged(Kind::Content);
        }
        let bytes = match self.store().read(digest, location, size as usize).await {
            // Its row knows how long it is.
            Err(blob::Error::TooLarge { len, .. }) => {
                let why = format!("`{digest}` has {len} bytes, not {size}");
                return Err(blob::Error::Damaged(why));
            }
            read => read?,
        };
        if bytes.len() as u64 != size {
            let why = format!("`{digest}` has {} bytes, not {size}", bytes.len());
            return Err(blob::Error::Damaged(why));
        }
        self.cache().put(Kind::Content, &name, bytes.clone());
        Ok(bytes)
    }

    /// What was just written or read is at hand for the others.
    pub(crate) fn hand_on(&self, digest: &Digest, bytes: &Bytes) {
        if self.is_at_hand(bytes.len() as u64) {
            let name = digest.to_string();
            self.cache().put(Kind::Content, &name, bytes.clone());
        }
    }
}
