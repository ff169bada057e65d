//! What every kind of store keeps to: the same tests on a directory and on each object store that this machine has.
#![cfg(test)]

mod broken;
mod carry;
mod contents;
mod swift;
mod takeover;
mod tree;
mod uploads;

use blob::{
    Batch, Config, Saved, Staged, Store, Writer, digest_of, objects,
    objects::config::{ANONYMOUS, Keys, Redirect, Vendor},
};
use bytes::Bytes;
use oci::digest::{Algorithm, Digest};
use outbound::{Outbound, Proxy, Trust};

/// The smallest part that vendors take.
const PART: usize = 5 << 20;

/// An adopted store.
struct World {
    store: Store,
    config: Config,
    _dir: Option<tempfile::TempDir>,
}

/// Runs a test on each kind of store; a failure says on which.
fn on_each(test: impl AsyncFn(World)) {
    let runtime = tokio::runtime::Runtime::new().unwrap();
    runtime.block_on(async {
        eprintln!("in a directory");
        let dir = tempfile::tempdir().unwrap();
        let mut config = blob::files::Config::new(dir.path());
        config.reserve = Some(0);
        test(World::new(Config::Files(config), Some(dir)).await).await;
        if let Some(s3) = testkit::s3() {
            eprintln!("in an S3 bucket");
            test(World::new(bucket(&s3).await.into(), None).await).await;
        }
        if let Some(azure) = testkit::azure() {
            eprintln!("in a container of Azure's");
            test(World::new(container(&azure).await.into(), None).await).await;
        }
        if let Some(swift) = testkit::swift() {
            eprintln!("in a container of Swift's");
            test(World::new(swift::container(&swift).await.into(), None).await).await;
        }
        if let Some(ceph) = testkit::ceph_swift() {
            eprintln!("in a container of Ceph's");
            test(World::new(swift::container(&ceph).await.into(), None).await).await;
        }
        if let Some(gcs) = testkit::gcs() {
            eprintln!("in a bucket of Google's");
            test(World::new(googles(&gcs).await.into(), None).await).await;
        }
    });
}

/// Only where the store is a bucket.
fn on_buckets(test: impl AsyncFn(World)) {
    on_each(async |world| {
        if world.store.bucket().is_some() {
            test(world).await;
        }
    });
}

fn config(vendor: Vendor, bucket: String, endpoint: &str) -> objects::Config {
    let outbound = Outbound::new(Trust::new(&[]), Proxy::default());
    objects::Config {
        prefix: "some/prefix".to_owned(),
        endpoint: Some(endpoint.to_owned()),
        part_size: PART as u64,
        ..objects::Config::new(vendor, bucket, outbound)
    }
}

async fn bucket(s3: &testkit::S3) -> objects::Config {
    objects::Config {
        keys: Some(keys(&s3.id, &s3.secret)),
        redirect: Redirect::To(None),
        ..config(Vendor::S3, s3.fresh_bucket().await, &s3.endpoint)
    }
}

async fn container(azure: &testkit::Azure) -> objects::Config {
    objects::Config {
        account: Some(azure.account.clone()),
        keys: Some(keys(&azure.account, &azure.key)),
        redirect: Redirect::To(None),
        ..config(
            Vendor::Azure,
            azure.fresh_container().await,
            &azure.endpoint,
        )
    }
}

async fn googles(gcs: &testkit::Gcs) -> objects::Config {
    objects::Config {
        credentials: Some(ANONYMOUS.to_owned()),
        ..config(Vendor::Google, gcs.fresh_bucket().await, &gcs.endpoint)
    }
}

fn keys(id: &str, secret: &str) -> Keys {
    Keys {
        id: id.to_owned(),
        secret: secret.to_owned(),
        session_token: None,
    }
}

impl World {
    async fn new(config: Config, dir: Option<tempfile::TempDir>) -> Self {
        let store = Store::open(config.clone()).await.unwrap();
        assert_eq!(store.identity().await.unwrap(), None);
        assert!(store.is_empty().await.unwrap());
        store.adopt("ours").await.unwrap();
        Self {
            store,
            config,
            _dir: dir,
        }
    }

    /// The store as another node has it.
    async fn another(&self) -> Store {
        Store::open(self.config.clone()).await.unwrap()
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

async fn begin(store: &Store, key: &str) -> Writer {
    store.begin(key, Algorithm::Sha256).await.unwrap()
}

/// As a request brings bytes: in frames, and the row is told when it should be.
async fn append(writer: &mut Writer, bytes: &[u8]) {
    for frame in bytes.chunks(300_000) {
        writer.write(Bytes::copy_from_slice(frame)).await.unwrap();
        if writer.is_due(0, u64::MAX) {
            note(writer).await;
        }
    }
}

/// The row learns how far it has come.
async fn note(writer: &mut Writer) -> Saved {
    let saved = writer.save().await.unwrap();
    // As the row has it.
    Saved::from_bytes(&saved.to_bytes()).unwrap()
}

async fn put_aside(writer: &mut Writer) -> Saved {
    let (saved, _) = writer.put_aside(0, 0).await.unwrap();
    Saved::from_bytes(&saved.to_bytes()).unwrap()
}

async fn resume(store: &Store, key: &str, saved: &Saved) -> blob::Result<Writer> {
    let at = saved.offset();
    store.resume(key, at, Some(saved), Algorithm::Sha256).await
}

/// As the end of an upload goes.
async fn finish(writer: &mut Writer, digest: &Digest) -> blob::Result<Staged> {
    let (staged, published) = writer.finish_at(digest, "data").await?;
    published?;
    Ok(staged)
}

fn sha256(content: &[u8]) -> Digest {
    digest_of(Algorithm::Sha256, content)
}

/// Bytes in which no block is like another.
fn content(seed: u64, len: usize) -> Vec<u8> {
    let mut state = 0x9E37_79B9_7F4A_7C15_u64 ^ seed;
    let mut bytes = Vec::with_capacity(len + 8);
    while bytes.len() < len {
        state = state
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1);
        bytes.extend_from_slice(&(state ^ (state >> 29)).to_le_bytes());
    }
    bytes.truncate(len);
    bytes
}
