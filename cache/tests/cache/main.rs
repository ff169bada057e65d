//! The cache against real servers.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on ends")]

mod away;
mod places;
mod values;

use std::time::Duration;

use bytes::Bytes;
use cache::{Cache, Config, Kind, place::RedisUrl};
use outbound::Trust;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

/// A cache whose connection is kept.
struct Node {
    cache: Cache,
    _tasks: JoinSet<()>,
}

impl Node {
    async fn start(config: &Config) -> Self {
        let node = Self::begin(config);
        until("it is connected", async || node.works().await).await;
        node
    }

    /// Not connected yet.
    fn begin(config: &Config) -> Self {
        let cache = Cache::new(config.clone(), "store");
        let mut tasks = JoinSet::new();
        tasks.spawn(cache.clone().keep(CancellationToken::new()));
        Self {
            cache,
            _tasks: tasks,
        }
    }

    async fn put(&self, name: &str, value: impl Into<Bytes>) {
        let value = value.into();
        until("it is kept", async || {
            self.cache.put(Kind::Content, name, value.clone());
            self.get(name).await.is_some()
        })
        .await;
    }

    async fn get(&self, name: &str) -> Option<Bytes> {
        self.cache.get(Kind::Content, name).await
    }

    /// Whether what is put is found.
    async fn works(&self) -> bool {
        self.cache
            .put(Kind::Content, "works", Bytes::from_static(b"yes"));
        self.get("works").await.is_some()
    }
}

fn config(url: &str) -> Config {
    let RedisUrl { place, login } = url.parse().unwrap();
    Config {
        place,
        login,
        password_file: None,
        sentinel_login: cache::place::Login::default(),
        ca_file: None,
        client: None,
        prefix: "seawall".to_owned(),
        trust: Trust::default(),
    }
}

fn run(test: impl Future<Output = ()>) {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .unwrap();
    runtime.block_on(test);
}

async fn until(what: &str, mut is_so: impl AsyncFnMut() -> bool) {
    let wait = async {
        while !is_so().await {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    let waited = tokio::time::timeout(Duration::from_mins(1), wait).await;
    waited.unwrap_or_else(|_| panic!("{what}"));
}
