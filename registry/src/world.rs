//! A registry over a fresh database and a fresh store, spoken of in verbs.

use std::{path::PathBuf, time::Duration};

use blob::Store;
use bytes::Bytes;
use db::{
    Db,
    blobs::{self, Blob, State},
    projects, users,
};
use model::id::{ProjectId, UserId, new_uid};
use oci::{
    digest::{Algorithm, Digest},
    name::RepoName,
    reference::{Reference, ReferenceRef},
};
use tempfile::TempDir;
use testkit::{TestDatabase, on_both};
use tokio_util::sync::CancellationToken;

use crate::{
    Config, Registry,
    collect::CollectReport,
    fsck::{FsckOptions, FsckReport, adopt_store},
    manifest::NewManifest,
    push::Target,
};

pub(crate) struct World<'a> {
    pub(crate) registry: Registry,
    pub(crate) database: &'a TestDatabase,
    pub(crate) owner: UserId,
    pub(crate) root: PathBuf,
    project: ProjectId,
    _home: TempDir,
}

/// Runs the test on each database that this machine has.
#[expect(
    clippy::needless_pass_by_value,
    reason = "a closure is written where it is called"
)]
pub(crate) fn each(test: impl AsyncFn(&World<'_>)) {
    on_both(async |database| test(&World::new(database).await).await);
}

/// Released content goes at once; the rest is as usual.
pub(crate) fn config() -> Config {
    Config {
        gc_grace: Duration::ZERO,
        gc_untagged_grace: Duration::ZERO,
        scrub_rate: None,
        ..Config::default()
    }
}

pub(crate) fn digest_of(bytes: &[u8]) -> Digest {
    blob::digest_of(Algorithm::Sha256, bytes)
}

impl<'a> World<'a> {
    pub(crate) async fn new(database: &'a TestDatabase) -> Self {
        let home = tempfile::tempdir().unwrap();
        let root = home.path().join("store");
        let store = Store::open(blob::Config::new(&root)).await.unwrap();
        let db = &database.db;
        store.adopt(&new_uid()).await.unwrap();
        adopt_store(db, &store).await.unwrap();
        let (owner, project) = people(db).await;
        let registry = Registry::new(db.clone(), store, config(), &[[1; 32]]);
        Self {
            registry,
            database,
            owner,
            root,
            project,
            _home: home,
        }
    }

    /// Another server on the same database and store: it remembers nothing of the first.
    pub(crate) async fn restart(&self) -> Registry {
        let store = Store::open(blob::Config::new(&self.root)).await.unwrap();
        Registry::new(self.database.db.clone(), store, config(), &[[1; 32]])
    }

    pub(crate) fn advance(&self, by: Duration) {
        self.database.clock.advance(by);
    }

    pub(crate) fn target(&self, name: &str) -> Target {
        Target {
            project: self.project,
            name: name.parse().unwrap(),
        }
    }

    pub(crate) async fn push_blob(&self, name: &str, bytes: &[u8]) -> Digest {
        let digest = digest_of(bytes);
        let body = futures_util::stream::iter([Ok(Bytes::copy_from_slice(bytes))]);
        self.registry
            .push_blob(&self.target(name), &digest, body)
            .await
            .unwrap();
        digest
    }

    /// An image of one config and these layers, pushed whole; answers its manifest's digest.
    pub(crate) async fn push_image(&self, name: &str, tag: &str, layers: &[&[u8]]) -> Digest {
        let config = format!("{{\"of\":\"{tag}\"}}");
        self.push_blob(name, config.as_bytes()).await;
        for layer in layers {
            self.push_blob(name, layer).await;
        }
        self.push_manifest(name, tag, image(config.as_bytes(), layers))
            .await
    }

    pub(crate) async fn push_manifest(&self, name: &str, tag: &str, bytes: Bytes) -> Digest {
        let reference: Reference = Reference::Tag(tag.parse().unwrap());
        let new = NewManifest {
            bytes,
            content_type: None,
            reference,
            tags: Vec::new(),
        };
        self.registry
            .push_manifest(&self.target(name), new)
            .await
            .unwrap()
            .digest
    }

    pub(crate) async fn delete_manifest(&self, name: &str, digest: &Digest) {
        let name: RepoName = name.parse().unwrap();
        self.registry.delete_manifest(&name, digest).await.unwrap();
    }

    /// Whether a pull would get the content, whole.
    pub(crate) async fn serves(&self, name: &str, digest: &Digest) -> bool {
        let name: RepoName = name.parse().unwrap();
        let Some(blob) = self
            .registry
            .find_blob(name.borrowed(), digest)
            .await
            .unwrap()
        else {
            return false;
        };
        self.registry
            .store()
            .read(digest, &blob.location, 1 << 20)
            .await
            .is_ok()
    }

    pub(crate) async fn serves_manifest(&self, registry: &Registry, name: &str, tag: &str) -> bool {
        let name: RepoName = name.parse().unwrap();
        let tag = tag.parse().unwrap();
        let reference: Reference = Reference::Tag(tag);
        let text = reference.to_string();
        let reference = ReferenceRef::parse(&text).unwrap();
        registry
            .find_manifest(name.borrowed(), &reference)
            .await
            .unwrap()
            .is_some()
    }

    pub(crate) async fn row(&self, digest: &Digest) -> Option<Blob> {
        let mut reader = self.database.db.reader().await.unwrap();
        blobs::newest(&mut reader, digest).await.unwrap()
    }

    pub(crate) async fn state(&self, digest: &Digest) -> Option<State> {
        self.row(digest).await.map(|blob| blob.state)
    }

    pub(crate) fn file(&self, digest: &Digest, location: &str) -> PathBuf {
        let hex = digest.hex();
        let dir = format!(
            "docker/registry/v2/blobs/{}/{}/{hex}",
            digest.algorithm(),
            &hex[..2]
        );
        self.root.join(dir).join(location)
    }

    /// Files below the blob tree.
    pub(crate) async fn stored(&self) -> usize {
        let mut listing = self.registry.store().list();
        let mut count = 0;
        while let Some(batch) = listing.next().await.unwrap() {
            count += batch.found.len();
        }
        count
    }

    pub(crate) async fn collect(&self) -> CollectReport {
        self.registry
            .collect(&CancellationToken::new(), |_| ())
            .await
            .unwrap()
    }

    pub(crate) async fn fsck(&self, deep: bool, repair: bool) -> FsckReport {
        let options = FsckOptions { deep, repair };
        self.registry
            .fsck(&options, &CancellationToken::new(), |_| ())
            .await
            .unwrap()
    }
}

async fn people(db: &Db) -> (UserId, ProjectId) {
    db.write(|tx| {
        Box::pin(async move {
            let now = tx.now().await?;
            let new = users::NewUser {
                name: "admin".parse()?,
                email: None,
                realname: None,
                comment: None,
                password: None,
                admin: true,
            };
            let owner = users::insert(tx, &new, now).await?;
            let library = projects::NewProject {
                public: true,
                ..projects::NewProject::named("library".parse()?, owner)
            };
            let project = projects::insert(tx, &library, now).await?;
            Ok((owner, project))
        })
    })
    .await
    .unwrap()
}

fn descriptor(media_type: &str, bytes: &[u8]) -> serde_json::Value {
    serde_json::json!({ "mediaType": media_type, "digest": digest_of(bytes), "size": bytes.len() })
}

pub(crate) fn image(config: &[u8], layers: &[&[u8]]) -> Bytes {
    let layers: Vec<_> = layers
        .iter()
        .map(|layer| descriptor("application/vnd.oci.image.layer.v1.tar", layer))
        .collect();
    let manifest = serde_json::json!({
        "schemaVersion": 2,
        "mediaType": "application/vnd.oci.image.manifest.v1+json",
        "config": descriptor("application/vnd.oci.image.config.v1+json", config),
        "layers": layers,
    });
    manifest.to_string().into()
}

pub(crate) fn index(manifests: &[&[u8]]) -> Bytes {
    let kind = |bytes: &[u8]| {
        let text = std::str::from_utf8(bytes).unwrap();
        let is_index = text.contains("\"manifests\"");
        if is_index {
            "application/vnd.oci.image.index.v1+json"
        } else {
            "application/vnd.oci.image.manifest.v1+json"
        }
    };
    let manifests: Vec<_> = manifests
        .iter()
        .map(|bytes| descriptor(kind(bytes), bytes))
        .collect();
    let manifest = serde_json::json!({
        "schemaVersion": 2,
        "mediaType": "application/vnd.oci.image.index.v1+json",
        "manifests": manifests,
    });
    manifest.to_string().into()
}
