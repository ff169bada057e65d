//! Three nodes behind haproxy, as docs/cluster.md has it: they are killed, restarted, and lose their database, under thirty clients.
//! `SEAWALL_TEST_SECONDS` says how long; a few seconds without it.

use std::{
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

use bytes::Bytes;
use tokio::{task::JoinSet, time::sleep};

use crate::{
    harness::{
        Answer, Client, Image, PASSWORD, Seawall,
        image::{MANIFEST, content, digest},
        server::LISTEN,
        until,
    },
    nodes::run,
};

const CLIENTS: usize = 30;
const LAYER: usize = 300_000;
/// Between two kills.
const EVERY: Duration = Duration::from_secs(5);

fn seconds() -> Duration {
    let given = std::env::var("SEAWALL_TEST_SECONDS").ok();
    let given = given.map(|text| text.parse().expect("a number of seconds"));
    Duration::from_secs(given.unwrap_or(10))
}

struct Cluster {
    nodes: Vec<Seawall>,
    balancer: testkit::Balancer,
}

impl Cluster {
    /// None without PostgreSQL or haproxy.
    fn start(postgres: Option<&testkit::Server>) -> Option<Self> {
        let database = postgres?.fresh_database();
        let addresses: Vec<_> = (0..3)
            .map(|_| format!("127.0.0.1:{}", testkit::lasting_port()))
            .collect();
        let page = include_str!("../../../docs/cluster.md");
        let balancer = testkit::Balancer::start(page, &addresses)?;
        let settings = |name: &'static str, n: usize| {
            [
                ("SEAWALL_SERVER__NODE", name.to_owned()),
                (
                    "SEAWALL_SERVER__TRUSTED_PROXIES",
                    r#"["127.0.0.1"]"#.to_owned(),
                ),
                ("SEAWALL_DRAIN__DELAY", "2s".to_owned()),
                (LISTEN, addresses[n].clone()),
            ]
        };
        let borrowed = |all: &[(&'static str, String); 4]| {
            all.clone().map(|(key, value)| (key, value.leak() as &str))
        };
        let first = Seawall::start_on(database, &borrowed(&settings("a", 0)));
        let second = first.start_beside(&borrowed(&settings("b", 1)));
        let third = first.start_beside(&borrowed(&settings("c", 2)));
        Some(Self {
            nodes: vec![first, second, third],
            balancer,
        })
    }

    async fn all_up(&self) {
        until("all nodes are up", async || {
            self.balancer
                .states()
                .iter()
                .all(|(state, _)| state == "UP")
        })
        .await;
    }

    fn load(&self, tries: u32) -> Arc<Load> {
        Arc::new(Load {
            client: Client::new(&self.balancer.address()).with_basic("admin", PASSWORD),
            tries,
            over: AtomicBool::new(false),
            repeated: AtomicUsize::new(0),
            resumed: AtomicUsize::new(0),
            anew: AtomicUsize::new(0),
            pulled: AtomicUsize::new(0),
            pushed: Mutex::default(),
        })
    }

    /// What was acknowledged is there, on every node.
    async fn expect_all(&self, load: &Load) {
        let pushed = load.pushed.lock().expect("nobody died").clone();
        assert!(pushed.len() > CLIENTS, "only {} pushes", pushed.len());
        for (n, (repository, tag, image)) in pushed.iter().enumerate() {
            let node = self.nodes[n % self.nodes.len()].admin();
            node.pull(repository, tag, image).await;
        }
        self.nodes[0].run(&["fsck", "--deep"]);
        eprintln!(
            "{} pushes are whole, {} pulls; {} requests were repeated, {} uploads went on where they were, {} began anew",
            pushed.len(),
            load.pulled.load(Ordering::Relaxed),
            load.repeated.load(Ordering::Relaxed),
            load.resumed.load(Ordering::Relaxed),
            load.anew.load(Ordering::Relaxed),
        );
    }
}

struct Load {
    client: Client,
    /// Of one request.
    tries: u32,
    over: AtomicBool,
    repeated: AtomicUsize,
    resumed: AtomicUsize,
    anew: AtomicUsize,
    pulled: AtomicUsize,
    pushed: Mutex<Vec<(String, String, Image)>>,
}

impl Load {
    /// Clients that push and pull until the load is over.
    fn begin(self: &Arc<Self>) -> JoinSet<()> {
        let mut clients = JoinSet::new();
        for id in 0..CLIENTS {
            let load = self.clone();
            clients.spawn(async move { load.work(id).await });
        }
        clients
    }

    async fn end(&self, mut clients: JoinSet<()>) {
        self.over.store(true, Ordering::Relaxed);
        while let Some(ended) = clients.join_next().await {
            ended.expect("no client sees a failure");
        }
    }

    async fn work(&self, id: usize) {
        let nothing = Bytes::new();
        for n in 0.. {
            if self.over.load(Ordering::Relaxed) {
                return;
            }
            let (repository, tag) = (format!("library/app{}", id % 5), format!("c{id}-{n}"));
            let image = Image::with_layer(&tag, content(&tag, LAYER));
            for blob in [&image.config, &image.layer] {
                self.push_blob(&repository, blob).await;
            }
            let path = format!("/v2/{repository}/manifests/{tag}");
            let put = self.persist("PUT", &path, &image.manifest).await;
            put.expect(201);
            let got = self.persist("GET", &path, &nothing).await.expect(200);
            assert_eq!(got.body, image.manifest);
            let path = format!("/v2/{repository}/blobs/{}", digest(&image.layer));
            let got = self.persist("GET", &path, &nothing).await.expect(200);
            assert_eq!(got.body, image.layer);
            self.pulled.fetch_add(1, Ordering::Relaxed);
            let mut pushed = self.pushed.lock().expect("nobody died");
            pushed.push((repository, tag, image));
        }
    }

    /// As docker does it: from the beginning, when the upload itself is gone.
    async fn push_blob(&self, repository: &str, bytes: &Bytes) {
        for _ in 0..self.tries {
            if self.upload(repository, bytes).await {
                return;
            }
            self.anew.fetch_add(1, Ordering::Relaxed);
        }
        panic!("no upload comes to its end");
    }

    /// In three chunks; where one breaks off, the upload is asked how far it has come, and goes on from there. False when there is no
    /// such upload any more: the node died between publishing it and saying so.
    async fn upload(&self, repository: &str, bytes: &Bytes) -> bool {
        let path = format!("/v2/{repository}/blobs/uploads/");
        let begun = self.persist("POST", &path, &Bytes::new()).await;
        let mut place = begun.expect(202).header("location").to_owned();
        let (mut at, mut broken) = (0, 0);
        while at < bytes.len() {
            let end = (at + bytes.len().div_ceil(3)).min(bytes.len());
            let chunk = self.client.request("PATCH", &place);
            let chunk = chunk.header("content-range", &format!("{at}-{}", end - 1));
            match chunk.body(bytes.slice(at..end)).try_send().await {
                Ok(answer) if answer.status == 202 => {
                    answer.header("location").clone_into(&mut place);
                    at = end;
                }
                told => {
                    let told = told.map(|answer| (answer.status, answer.text()));
                    broken += 1;
                    assert!(broken < self.tries, "{told:?}");
                    self.repeated.fetch_add(1, Ordering::Relaxed);
                    at = self.how_far(&place).await;
                    self.resumed.fetch_add(1, Ordering::Relaxed);
                }
            }
        }
        let path = format!("{place}?digest={}", digest(bytes));
        let put = self.persist("PUT", &path, &Bytes::new()).await;
        if put.status == 404 && self.tries > 1 {
            return false;
        }
        put.expect(201);
        true
    }

    async fn how_far(&self, place: &str) -> usize {
        let answer = self.persist("GET", place, &Bytes::new()).await;
        // It has no row before its first byte.
        if answer.status == 404 {
            return 0;
        }
        let answer = answer.expect(204);
        match answer.header("range").strip_prefix("0-") {
            Some("0") | None => 0,
            Some(last) => last.parse::<usize>().expect("a number") + 1,
        }
    }

    /// As clients do it: again when the connection broke or the answer is 502, 503 or 504, a little later each time.
    async fn persist(&self, method: &str, path: &str, body: &Bytes) -> Answer {
        let mut pause = Duration::from_millis(100);
        for n in 1.. {
            let request = self.client.request(method, path).body(body.clone());
            let request = request.header("content-type", MANIFEST);
            let told = match request.try_send().await {
                Ok(answer) if !matches!(answer.status.as_u16(), 500..) => return answer,
                Ok(answer) => format!("{} {}", answer.status, answer.text()),
                Err(error) => format!("{error:#}"),
            };
            assert!(n < self.tries, "{told}");
            self.repeated.fetch_add(1, Ordering::Relaxed);
            sleep(pause).await;
            pause = (pause * 2).min(Duration::from_secs(2));
        }
        unreachable!("it returns or fails")
    }
}

#[test]
fn a_node_that_is_killed_every_five_seconds_loses_nothing_and_clients_that_retry_see_no_failure() {
    let postgres = testkit::postgres();
    let Some(mut cluster) = Cluster::start(postgres.as_ref()) else {
        return;
    };
    run(async {
        cluster.all_up().await;
        let load = cluster.load(10);
        let clients = load.begin();
        let (begun, mut turn) = (Instant::now(), 0);
        while begun.elapsed() < seconds() {
            let next = Instant::now() + EVERY;
            let node = turn % cluster.nodes.len();
            cluster.nodes[node].kill();
            // Clients meet the hole before it is filled.
            sleep(EVERY / 4).await;
            cluster.nodes[node].launch();
            sleep(next.saturating_duration_since(Instant::now())).await;
            turn += 1;
        }
        load.end(clients).await;
        eprintln!("{turn} kills");
        cluster.all_up().await;
        cluster.expect_all(&load).await;
    });
}

#[test]
fn a_rolling_restart_fails_no_request_of_clients_that_do_not_retry() {
    let postgres = testkit::postgres();
    let Some(mut cluster) = Cluster::start(postgres.as_ref()) else {
        return;
    };
    run(async {
        cluster.all_up().await;
        let load = cluster.load(1);
        let clients = load.begin();
        for n in 0..cluster.nodes.len() {
            cluster.nodes[n].stop();
            cluster.nodes[n].launch();
            cluster.all_up().await;
        }
        load.end(clients).await;
        cluster.expect_all(&load).await;
    });
}

#[test]
fn no_node_is_marked_down_while_the_database_is_away() {
    let postgres = testkit::private_postgres();
    let Some(cluster) = Cluster::start(postgres.as_ref().map(|private| &private.server)) else {
        return;
    };
    let postgres = postgres.expect("it is there");
    run(async {
        cluster.all_up().await;
        let image = Image::new("known");
        let balanced = Client::new(&cluster.balancer.address()).with_basic("admin", PASSWORD);
        balanced.push("library/app", "v1", &image).await;
        let path = "/v2/library/app/manifests/v1";
        for node in &cluster.nodes {
            node.admin().get(path).await.expect(200);
        }
        let before = cluster.balancer.states();
        postgres.crash();
        let begun = Instant::now();
        let mut known = 0;
        while begun.elapsed() < seconds() {
            assert_eq!(balanced.get(path).await.expect(200).body, image.manifest);
            let write = balanced.put_manifest("library/app", "v2", MANIFEST, &image.manifest);
            let refused = write.await.expect(503);
            assert!(refused.headers.contains_key("retry-after"));
            assert_eq!(cluster.balancer.states(), before, "all nodes are up");
            known += 1;
        }
        postgres.start();
        until("writes go on", async || {
            let write = balanced.put_manifest("library/app", "v2", MANIFEST, &image.manifest);
            write.await.status == 201
        })
        .await;
        assert_eq!(cluster.balancer.states(), before);
        eprintln!("{known} pulls of what is known while PostgreSQL was away");
    });
}
