//! The tree of a Docker registry, laid by hand, and a registry that takes it over.

use std::{
    fs,
    path::PathBuf,
    time::{Duration, SystemTime},
};

use blob::Store;
use bytes::Bytes;
use db::blobs::State;
use oci::{digest::Digest, name::RepoName, reference::ReferenceRef};
use tokio_util::sync::CancellationToken;

use super::super::{ImportOptions, ImportReport, Rules, Source, prepare};
use crate::{
    Registry,
    world::{World, config, digest_of, image},
};

pub(super) const CONFIG: &[u8] = b"{\"architecture\":\"amd64\"}";
const V2: &str = "docker/registry/v2";

/// A tree as a Docker registry leaves it, and a registry that has nothing yet.
pub(super) struct Tree<'a> {
    pub(super) registry: Registry,
    pub(super) world: &'a World<'a>,
    pub(super) root: PathBuf,
    _home: tempfile::TempDir,
}

impl<'a> Tree<'a> {
    /// The world's own store is given up: its database is new but for its users.
    pub(super) async fn new(world: &'a World<'a>) -> Self {
        let home = tempfile::tempdir().unwrap();
        let root = home.path().join("old");
        fs::create_dir_all(root.join(V2).join("blobs/sha256")).unwrap();
        let store = Store::open(blob::Config::new(&root)).await.unwrap();
        let db = world.database.db.clone();
        Self {
            registry: Registry::new(db, store, config(), &[[1; 32]]),
            world,
            root,
            _home: home,
        }
    }

    pub(super) fn file(&self, path: &str) -> PathBuf {
        self.root.join(V2).join(path)
    }

    pub(super) fn write(&self, path: &str, bytes: &[u8]) {
        let file = self.file(path);
        fs::create_dir_all(file.parent().unwrap()).unwrap();
        fs::write(&file, bytes).unwrap();
        // It was pushed a year ago.
        let ago = SystemTime::UNIX_EPOCH + Duration::from_secs(1_700_000_000);
        let file = fs::File::options().append(true).open(&file).unwrap();
        file.set_modified(ago).unwrap();
    }

    pub(super) fn data(digest: &Digest) -> String {
        let hex = digest.hex();
        format!("blobs/sha256/{}/{hex}/data", &hex[..2])
    }

    pub(super) fn content(&self, bytes: &[u8]) -> Digest {
        let digest = digest_of(bytes);
        self.write(&Self::data(&digest), bytes);
        digest
    }

    pub(super) fn layer(&self, name: &str, bytes: &[u8]) -> Digest {
        let digest = self.content(bytes);
        self.link(
            name,
            &format!("_layers/sha256/{}/link", digest.hex()),
            &digest,
        );
        digest
    }

    pub(super) fn link(&self, name: &str, path: &str, digest: &Digest) {
        self.write(
            &format!("repositories/{name}/{path}"),
            digest.to_string().as_bytes(),
        );
    }

    pub(super) fn manifest(&self, name: &str, bytes: &[u8]) -> Digest {
        let digest = self.content(bytes);
        let path = format!("_manifests/revisions/sha256/{}/link", digest.hex());
        self.link(name, &path, &digest);
        digest
    }

    pub(super) fn tag(&self, name: &str, tag: &str, digest: &Digest) {
        self.link(name, &format!("_manifests/tags/{tag}/current/link"), digest);
        let before = format!("_manifests/tags/{tag}/index/sha256/{}/link", digest.hex());
        self.link(name, &before, digest);
    }

    /// An image of these layers, tagged.
    pub(super) fn image(&self, name: &str, tag: &str, layers: &[&[u8]]) -> (Digest, Bytes) {
        for bytes in layers.iter().chain(&[CONFIG]) {
            self.layer(name, bytes);
        }
        let bytes = image(CONFIG, layers);
        let digest = self.manifest(name, &bytes);
        self.tag(name, tag, &digest);
        (digest, bytes)
    }

    pub(super) async fn import(&self, rules: Rules) -> ImportReport {
        self.import_from(Source::Docker, rules).await
    }

    pub(super) async fn import_from(&self, source: Source, rules: Rules) -> ImportReport {
        let options = ImportOptions { source, rules };
        prepare(&self.world.database.db, self.registry.store())
            .await
            .unwrap();
        self.registry
            .import_blobs(&options, &CancellationToken::new(), |_| ())
            .await
            .unwrap()
    }

    pub(super) async fn state(&self, digest: &Digest) -> Option<State> {
        self.world.state(digest).await
    }

    /// What a pull of the content gets.
    pub(super) async fn pull(&self, name: &str, digest: &Digest) -> Option<Bytes> {
        let name: RepoName = name.parse().unwrap();
        let blob = self
            .registry
            .find_blob(name.borrowed(), digest)
            .await
            .unwrap()?;
        let store = self.registry.store();
        Some(store.read(digest, &blob.location, 1 << 20).await.unwrap())
    }

    pub(super) async fn pull_manifest(&self, name: &str, reference: &str) -> Option<Bytes> {
        let name: RepoName = name.parse().unwrap();
        let reference = ReferenceRef::parse(reference).unwrap();
        let found = self
            .registry
            .find_manifest(name.borrowed(), &reference)
            .await;
        found.unwrap().map(|found| found.bytes.clone())
    }

    pub(super) async fn collect(&self) -> u64 {
        let cancel = CancellationToken::new();
        let report = self.registry.collect(&cancel, |_| ()).await.unwrap();
        report.done.freed
    }

    pub(super) async fn finish(&self) {
        let cancel = CancellationToken::new();
        self.registry.finish_import(&cancel, |_| ()).await.unwrap();
    }
}

pub(super) fn into(project: &str) -> Rules {
    Rules {
        into: Some(project.parse().unwrap()),
        create_projects: true,
        ..Rules::default()
    }
}

/// A test on each database, whose store is given up: it knows of no contents yet.
pub(super) async fn on_tree(world: &World<'_>, test: impl AsyncFn(&Tree<'_>)) {
    test(&Tree::new(world).await).await;
}
