//! The store as its callers see it, on a directory of its own for each test.
#![cfg(test)]

mod content;
mod full;
mod identity;
mod network;
mod publish;
mod pulls;
mod uploads;

use std::path::PathBuf;

use blob::{
    Batch, digest_of,
    files::{Config, Staged, Store},
};
use bytes::Bytes;
use oci::digest::{Algorithm, Digest};
use tempfile::TempDir;

/// An adopted store; the directory goes with it.
struct Home {
    store: Store,
    dir: TempDir,
}

impl Home {
    async fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let store = Self::open(&dir).await;
        store.adopt("home").await.unwrap();
        Self { store, dir }
    }

    async fn open(dir: &TempDir) -> Store {
        let mut config = Config::new(dir.path());
        config.reserve = Some(0);
        Store::open(config).await.unwrap()
    }

    /// Whether open files that are deleted vanish at once (a network keeps them beside their place until they are
    /// closed) and pulls are mapped.
    fn is_local(&self) -> bool {
        self.store.network().is_none()
    }

    /// The store as another process sees it.
    async fn reopened(&self) -> Store {
        Self::open(&self.dir).await
    }

    fn path(&self, below: &str) -> PathBuf {
        self.dir.path().join(below)
    }

    fn upload(&self, key: &str) -> PathBuf {
        self.path(&format!("uploads/{key}"))
    }

    fn blob(&self, digest: &Digest, location: &str) -> PathBuf {
        let (algorithm, hex) = (digest.algorithm(), digest.hex());
        let below = format!("{algorithm}/{}/{hex}/{location}", &hex[..2]);
        self.path("docker/registry/v2/blobs").join(below)
    }

    /// A whole upload, not yet published.
    async fn stage(&self, key: &str, content: &[u8]) -> Staged {
        let mut writer = self.store.begin(key, Algorithm::Sha256).await.unwrap();
        writer.write(Bytes::copy_from_slice(content)).await.unwrap();
        writer.finish(&sha256(content)).await.unwrap()
    }

    async fn store(&self, content: &[u8]) -> Digest {
        let digest = sha256(content);
        let bytes = Bytes::copy_from_slice(content);
        self.store.put(&digest, "data", bytes).await.unwrap();
        digest
    }

    async fn read(&self, digest: &Digest, location: &str) -> blob::Result<Bytes> {
        self.store.read(digest, location, 1 << 30).await
    }

    async fn list(&self) -> Batch {
        let (mut all, mut listing) = (Batch::default(), self.store.list());
        while let Some(batch) = listing.next().await.unwrap() {
            all.found.extend(batch.found);
            all.strange.extend(batch.strange);
            all.unreadable.extend(batch.unreadable);
        }
        all
    }
}

fn sha256(content: &[u8]) -> Digest {
    digest_of(Algorithm::Sha256, content)
}

/// Bytes in which no block is like another.
fn content(len: usize) -> Vec<u8> {
    let mut state = 0x9E37_79B9_7F4A_7C15_u64 ^ len as u64;
    let mut next = || {
        state = state
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1);
        (state >> 56) as u8
    };
    (0..len).map(|_| next()).collect()
}
