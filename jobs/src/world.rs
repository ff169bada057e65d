//! A registry with a queue, over a fresh database and a fresh store.

use std::{path::PathBuf, sync::Arc, time::Duration};

use auth::{Auth, Keyring};
use blob::Store;
use bytes::Bytes;
use db::{
    Db, Tx,
    audit::{self, Entry},
    cursors::Cursor,
    jobs::{self, Claimed, JobRow, Queue},
    projects, repositories, tags, users,
};
use futures_util::future::BoxFuture;
use model::{
    Result,
    id::{JobId, ProjectId},
    job::Job,
};
use oci::{
    digest::{Algorithm, Digest},
    reference::Reference,
};
use outbound::Trust;
use registry::{Registry, manifest::NewManifest, push::Target};
use tempfile::TempDir;
use testkit::{TestDatabase, on_both};
use tokio::sync::watch;
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use crate::{
    Config, Context, Outcome, Post,
    runner::{Node, Runner, Work},
};

pub(crate) const LEASE: Duration = Duration::from_secs(30);

pub(crate) struct World<'a> {
    pub(crate) registry: Registry,
    pub(crate) database: &'a TestDatabase,
    pub(crate) root: PathBuf,
    home: TempDir,
}

/// Runs the test on each database that this machine has.
#[expect(
    clippy::needless_pass_by_value,
    reason = "a closure is written where it is called"
)]
pub(crate) fn each(test: impl AsyncFn(&World<'_>)) {
    on_both(async |database| test(&World::new(database).await).await);
}

/// The same on PostgreSQL alone.
#[expect(
    clippy::needless_pass_by_value,
    reason = "a closure is written where it is called"
)]
pub(crate) fn on_postgres(test: impl AsyncFn(&World<'_>)) {
    testkit::on_postgres(async |database| test(&World::new(database).await).await);
}

/// With contents in a fresh bucket, where there is an S3 server; with its name.
pub(crate) fn in_a_bucket(test: &impl AsyncFn(&World<'_>, &testkit::S3, &str)) {
    let Some(s3) = testkit::s3() else {
        return;
    };
    testkit::on_both(async |database| {
        let (bucket, outbound) = (
            s3.fresh_bucket().await,
            outbound::Outbound::new(Trust::new(&[]), outbound::Proxy::default()),
        );
        let config = blob::objects::Config {
            endpoint: Some(s3.endpoint.clone()),
            keys: Some(blob::objects::config::Keys {
                id: s3.id.clone(),
                secret: s3.secret.clone(),
                session_token: None,
            }),
            part_size: 5 << 20,
            ..blob::objects::Config::new(
                blob::objects::config::Vendor::S3,
                bucket.clone(),
                outbound,
            )
        };
        let home = tempfile::tempdir().unwrap();
        let world = World::over(database, home, config.into()).await;
        test(&world, &s3, &bucket).await;
    });
}

/// A runner at work, until it is stopped.
pub(crate) struct Running {
    tracker: TaskTracker,
    pub(crate) shutdown: CancellationToken,
}

impl Running {
    /// Stops it as a server stops, and waits until nothing of it runs.
    pub(crate) async fn stop(self) {
        self.shutdown.cancel();
        self.tracker.close();
        self.tracker.wait().await;
    }
}

pub(crate) fn work<F>(work: F) -> Work
where
    F: for<'a> Fn(&'a Context, &'a Job) -> BoxFuture<'a, Result<Outcome>> + Send + Sync + 'static,
{
    Arc::new(work)
}

impl<'a> World<'a> {
    async fn new(database: &'a TestDatabase) -> Self {
        let home = tempfile::tempdir().unwrap();
        let root = home.path().join("store");
        Self::over(database, home, blob::Config::new(root)).await
    }

    async fn over(database: &'a TestDatabase, home: TempDir, config: blob::Config) -> Self {
        let root = home.path().join("store");
        let store = Store::open(config).await.unwrap();
        store.adopt("world").await.unwrap();
        registry::fsck::adopt_store(&database.db, &store)
            .await
            .unwrap();
        let registry = over(&database.db, store);
        Self {
            registry,
            database,
            root,
            home,
        }
    }

    /// A registry of another node on the same database.
    pub(crate) async fn node(&self, name: &str) -> Registry {
        let store = Store::open(blob::Config::new(self.home.path().join("store")))
            .await
            .unwrap();
        over(&self.database.node(name).await, store)
    }

    pub(crate) fn advance(&self, by: Duration) {
        self.database.clock.advance(by);
    }

    pub(crate) async fn write<T, F>(&self, work: F) -> T
    where
        T: Send + 'static,
        F: for<'t> Fn(&'t mut Tx) -> BoxFuture<'t, Result<T>> + Send + Sync + 'static,
    {
        self.database.db.write(work).await.unwrap()
    }

    /// Makes the project `library`, of an administrator.
    pub(crate) async fn library(&self) -> ProjectId {
        self.write(|tx| {
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
                let library = projects::NewProject::named("library".parse()?, owner);
                projects::insert(tx, &library, now).await
            })
        })
        .await
    }

    pub(crate) async fn enqueue(&self, job: Job) -> JobId {
        self.write(move |tx| {
            let job = job.clone();
            Box::pin(async move {
                let now = tx.now().await?;
                jobs::enqueue(tx, &job, now, now).await
            })
        })
        .await
    }

    /// Claims the next job as a node of this name would.
    pub(crate) async fn claim(&self, node: &'static str) -> Option<Claimed> {
        self.write(move |tx| {
            Box::pin(async move { jobs::claim(tx, node, LEASE, &Queue::all()).await })
        })
        .await
    }

    pub(crate) async fn row(&self, id: JobId) -> JobRow {
        jobs::get(&mut self.database.db.reader().await.unwrap(), id)
            .await
            .unwrap()
    }

    pub(crate) async fn log(&self, id: JobId) -> Vec<String> {
        let lines = jobs::logs(&mut self.database.db.reader().await.unwrap(), id, 0, 20_000)
            .await
            .unwrap();
        lines.into_iter().map(|line| line.text).collect()
    }

    /// Runs one job of this kind as a runner would, but here and now.
    pub(crate) async fn run(&self, job: Job) -> (JobId, Result<Outcome>) {
        self.run_with(job, None).await
    }

    /// The same where rows of the audit stay for so long.
    pub(crate) async fn run_keeping(&self, job: Job, keep: Duration) -> (JobId, Result<Outcome>) {
        self.run_with(job, Some(keep)).await
    }

    /// Runs an attempt that was claimed, and leaves its row as it is.
    pub(crate) async fn attempt(&self, claimed: &Claimed) -> Result<Outcome> {
        let cx = Context::new(
            self.registry.clone(),
            CancellationToken::new(),
            claimed.id,
            claimed.attempt,
            0,
        );
        crate::run(&cx, &self.post().await, &claimed.job).await
    }

    async fn run_with(&self, job: Job, keep: Option<Duration>) -> (JobId, Result<Outcome>) {
        let id = self.enqueue(job).await;
        let claimed = self.claim("one").await.unwrap();
        let mut cx = Context::new(
            self.registry.clone(),
            CancellationToken::new(),
            claimed.id,
            claimed.attempt,
            0,
        );
        cx.audit_keep = keep;
        let outcome = crate::run(&cx, &self.post().await, &claimed.job).await;
        let attempt = claimed.attempt;
        self.write(move |tx| {
            Box::pin(async move { jobs::end(tx, id, attempt, jobs::End::Done, None, None).await })
        })
        .await;
        (id, outcome)
    }

    pub(crate) async fn post(&self) -> Post {
        let key = Keyring::open(&self.home.path().join("secretkey"), None).unwrap();
        let auth = Auth::open(self.database.db.clone(), key, auth::Config::default());
        Post {
            auth: auth.await.unwrap(),
            trust: Trust::new(&[]),
            external_url: None,
        }
    }

    /// An image of one layer under a tag; answers its manifest's digest.
    pub(crate) async fn push(&self, name: &str, tag: &str, layer: &[u8]) -> Digest {
        let reference = Reference::Tag(tag.parse().unwrap());
        self.push_as(name, Some(reference), layer).await
    }

    pub(crate) async fn push_untagged(&self, name: &str, layer: &[u8]) -> Digest {
        self.push_as(name, None, layer).await
    }

    async fn push_as(&self, name: &str, reference: Option<Reference>, layer: &[u8]) -> Digest {
        let target = self.target(name).await;
        let part = |kind: &str, bytes: &[u8]| {
            serde_json::json!({
                "mediaType": format!("application/vnd.oci.image.{kind}"),
                "digest": digest_of(bytes).to_string(),
                "size": bytes.len(),
            })
        };
        for bytes in [b"{}", layer] {
            self.push_blob(name, bytes).await;
        }
        let manifest = serde_json::json!({
            "schemaVersion": 2,
            "mediaType": "application/vnd.oci.image.manifest.v1+json",
            "config": part("config.v1+json", b"{}"),
            "layers": [part("layer.v1.tar", layer)],
        });
        let bytes = Bytes::from(manifest.to_string());
        let reference = reference.unwrap_or(Reference::Digest(digest_of(&bytes)));
        let new = NewManifest {
            bytes,
            content_type: None,
            reference,
            tags: Vec::new(),
        };
        let pushed = self.registry.push_manifest(&target, new).await.unwrap();
        pushed.digest
    }

    /// A content that no manifest names.
    pub(crate) async fn push_blob(&self, name: &str, bytes: &[u8]) {
        let target = self.target(name).await;
        let body = futures_util::stream::iter([Ok(Bytes::copy_from_slice(bytes))]);
        let digest = digest_of(bytes);
        let pushed = self.registry.push_blob(&target, &digest, body).await;
        pushed.unwrap();
    }

    async fn target(&self, name: &str) -> Target {
        let mut reader = self.database.db.reader().await.unwrap();
        let library = projects::get_name(&mut reader, "library").await.unwrap();
        Target {
            project: library.id,
            name: name.parse().unwrap(),
        }
    }

    /// The tags of a repository, sorted.
    pub(crate) async fn tags(&self, name: &str) -> Vec<String> {
        let mut reader = self.database.db.reader().await.unwrap();
        let found = repositories::find(&mut reader, name).await.unwrap();
        tags::list(&mut reader, found.unwrap().id, "", 100)
            .await
            .unwrap()
    }

    /// The same registry where what was released stays for a while.
    pub(crate) async fn patient(&self, grace: Duration) -> Registry {
        let store = Store::open(blob::Config::new(&self.root)).await.unwrap();
        let config = registry::Config {
            gc_untagged_grace: grace,
            ..registry::Config::default()
        };
        Registry::new(self.database.db.clone(), store, config, &[[1; 32]])
    }

    /// What an attempt runs in, outside any loop.
    pub(crate) fn bench(&self, work: Work) -> Node {
        Node {
            registry: self.registry.clone(),
            config: Config::default(),
            shutdown: CancellationToken::new(),
            work,
            poke: watch::Sender::new(0),
            drained: watch::Sender::new(false).subscribe(),
        }
    }

    pub(crate) fn start(&self, work: Work) -> Running {
        start(self.registry.clone(), Config::default(), work)
    }
}

/// The audit, once what is looked for is in it: on PostgreSQL rows are not read while a transaction of another test is open that
/// began before theirs ended.
pub(crate) async fn audit_until(db: &Db, is_there: impl Fn(&[Entry]) -> bool) -> Vec<Entry> {
    let start = tokio::time::Instant::now();
    loop {
        let read = async {
            let mut reader = db.reader().await?;
            audit::after(&mut reader, Cursor::default(), 10_000).await
        };
        let rows = read.await.unwrap();
        if is_there(&rows) {
            return rows;
        }
        assert!(start.elapsed() < Duration::from_mins(1), "{rows:#?}");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

/// As it is by default, but with less patience.
pub(crate) fn impatient() -> Config {
    Config {
        patience: Duration::from_millis(500),
        ..Config::default()
    }
}

pub(crate) fn start(registry: Registry, config: Config, work: Work) -> Running {
    let (tracker, shutdown) = (TaskTracker::new(), CancellationToken::new());
    let drained = watch::Sender::new(false).subscribe();
    Runner::start_with(registry, &tracker, shutdown.clone(), drained, config, work);
    Running { tracker, shutdown }
}

pub(crate) fn digest_of(bytes: &[u8]) -> Digest {
    blob::digest_of(Algorithm::Sha256, bytes)
}

fn over(db: &Db, store: Store) -> Registry {
    let config = registry::Config {
        gc_grace: Duration::ZERO,
        gc_untagged_grace: Duration::ZERO,
        ..registry::Config::default()
    };
    Registry::new(db.clone(), store, config, &[[1; 32]])
}
