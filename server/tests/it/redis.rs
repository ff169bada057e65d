//! What nodes share through Redis: it speeds up, lets nobody in, serves nothing wrong, and may be emptied, slow or gone at any time.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

use serde_json::{Value, json};
use testkit::{Alike, Redis};
use tokio::task::JoinSet;

use crate::{
    harness::{Answer, Client, Image, PASSWORD, Seawall, digest, server::bucket_on, until},
    nodes::run,
};

/// No request takes as long; a busy machine may take some of it.
const SLOWEST: Duration = Duration::from_secs(4);

/// Two nodes on one PostgreSQL, one bucket and one Redis; none (said aloud) where one of them is missing.
fn two_nodes(redis_url: &str, settings: &[(&str, &str)]) -> Option<(Seawall, Seawall)> {
    let (postgres, s3) = (testkit::postgres()?, testkit::s3()?);
    let store = bucket_on(s3);
    let mut all: Vec<_> = store
        .iter()
        .map(|(key, value)| (*key, value.as_str()))
        .collect();
    all.push(("SEAWALL_REDIS__URL", redis_url));
    all.extend_from_slice(settings);
    let one = Seawall::start_on(postgres.fresh_database(), &all);
    let two = one.start_beside(&all);
    Some((one, two))
}

fn plain() -> Option<(Redis, String)> {
    let redis = testkit::redis("", &[])?;
    let url = format!("redis://{}", redis.address());
    Some((redis, url))
}

/// The sum of a metric's series that have this in their labels.
async fn figure(seawall: &Seawall, name: &str, labels: &[&str]) -> f64 {
    let page = seawall.stranger().get("/metrics").await.expect(200).text();
    let lines = page.lines().filter(|line| line.starts_with(name));
    let lines = lines.filter(|line| labels.iter().all(|label| line.contains(label)));
    lines
        .filter_map(|line| line.rsplit_once(' ')?.1.parse::<f64>().ok())
        .sum()
}

async fn hits(seawall: &Seawall, kind: &str) -> f64 {
    let labels = [&format!("kind=\"{kind}\""), "result=\"hit\""];
    figure(seawall, "seawall_redis_reads_total", &labels).await
}

/// The keys of a kind, once there are so many.
async fn keys(redis: &Redis, kind: &str, count: usize) -> Vec<String> {
    let mut found = Vec::new();
    until("keys are there", async || {
        found = redis.keys();
        found.retain(|key| key.contains(&format!(":{kind}:")));
        found.len() >= count
    })
    .await;
    found
}

async fn sign_in(seawall: &Seawall, name: &str, password: &str) -> Answer {
    let client = seawall.stranger().with_basic(name, password);
    client.api_get("/users/current").await
}

#[test]
fn what_one_node_found_out_another_finds_at_hand() {
    let Some((redis, url)) = plain() else { return };
    let Some((mut one, mut two)) = two_nodes(&url, &[]) else {
        return;
    };
    run(async {
        let image = Image::new("shared");
        one.admin().push("library/app", "v1", &image).await;
        one.make_user("alice");
        keys(&redis, "content", 1).await;
        sign_in(&one, "alice", PASSWORD).await.expect(200);
        keys(&redis, "check", 2).await;

        two.admin().pull("library/app", "v1", &image).await;
        assert!(hits(&two, "content").await >= 1.0, "the manifest");
        assert!(
            hits(&two, "check").await >= 1.0,
            "the administrator's password"
        );
        let before = hits(&two, "check").await;
        sign_in(&two, "alice", PASSWORD).await.expect(200);
        assert!(hits(&two, "check").await > before);

        // The config came from the bucket, and is at hand for the next pull from any node.
        let before = hits(&one, "content").await;
        one.admin().pull("library/app", "v1", &image).await;
        let config = format!("/v2/library/app/blobs/{}", digest(&image.config));
        until("the config is at hand", async || {
            let answer = one.admin().get(&config).await.expect(200);
            assert_eq!(answer.body, image.config);
            hits(&one, "content").await > before
        })
        .await;
        let admin = one.admin();
        let part = admin.request("GET", &config).header("range", "bytes=2-5");
        assert_eq!(part.send().await.expect(206).body, image.config[2..6]);

        // What is no content any more is not served, whoever has its bytes.
        let manifest = format!("/v2/library/app/manifests/{}", image.digest());
        one.admin().delete(&manifest).await.expect(202);
        for node in [&one, &two] {
            node.admin().get(&manifest).await.expect(404);
        }
        two.stop();
        one.stop();
    });
}

#[test]
fn wrong_bytes_under_a_digests_name_are_not_served() {
    let Some((redis, url)) = plain() else { return };
    let Some((mut one, mut two)) = two_nodes(&url, &[]) else {
        return;
    };
    run(async {
        let image = Image::new("right");
        one.admin().push("library/app", "v1", &image).await;
        one.admin().pull("library/app", "v1", &image).await;
        // Manifest, config and layer are small.
        let names = keys(&redis, "content", 3).await;
        let wrong = Image::new("wrong");
        for name in &names {
            let wrong = String::from_utf8_lossy(&wrong.manifest).into_owned();
            redis.ask(&["SET", name, &wrong]);
        }
        two.admin().pull("library/app", "v1", &image).await;
        let forged = figure(&two, "seawall_redis_forged_total", &["kind=\"content\""]).await;
        assert!(forged >= 3.0, "{forged}");
        two.stop();
        one.stop();
    });
}

/// A password that is tried at this node, and the name under which the node asked for its check.
async fn asked_for(seawall: &Seawall, log: &std::path::Path, password: &str) -> String {
    let asked = || {
        let told = std::fs::read_to_string(log).unwrap_or_default();
        let checks = told.lines().filter(|line| line.contains("\"GETRANGE\""));
        checks
            .filter_map(|line| line.split('"').find(|word| word.contains(":check:")))
            .map(str::to_owned)
            .collect::<Vec<_>>()
    };
    let before = asked().len();
    sign_in(seawall, "alice", password).await.expect(401);
    let mut name = None;
    until("the node asked", async || {
        name = asked().get(before).cloned();
        name.is_some()
    })
    .await;
    name.expect("waited for")
}

#[test]
fn whoever_writes_into_redis_lets_nobody_in() {
    let Some((redis, url)) = plain() else { return };
    let Some((mut one, mut two)) = two_nodes(&url, &[]) else {
        return;
    };
    run(async {
        one.make_user("alice");
        sign_in(&one, "alice", PASSWORD).await.expect(200);
        let right = keys(&redis, "check", 1).await.remove(0);
        let dir = tempfile::tempdir().expect("a directory");
        let log = dir.path().join("monitor");
        let _watching = redis.watch(&log);
        until("it is watched", async || {
            redis.ask(&["ECHO", "watched"]);
            std::fs::read_to_string(&log).is_ok_and(|told| told.contains("watched"))
        })
        .await;
        // Whoever sees what nodes ask for knows the names, and may write there: what was right for another, or what he likes.
        for (password, planted) in [("Wrong12345", None), ("Wrong23456", Some("1"))] {
            let name = asked_for(&one, &log, password).await;
            assert_ne!(name, right);
            match planted {
                None => assert_eq!(redis.ask(&["COPY", &right, &name]), "1"),
                Some(value) => assert_eq!(redis.ask(&["SET", &name, value]), "OK"),
            }
            sign_in(&two, "alice", password).await.expect(401);
        }
        let forged = figure(&two, "seawall_redis_forged_total", &["kind=\"check\""]).await;
        assert!(forged >= 2.0, "{forged}");
        sign_in(&two, "alice", PASSWORD).await.expect(200);
        two.stop();
        one.stop();
    });
}

#[test]
fn a_changed_password_and_a_deleted_user_are_refused_at_once() {
    let Some((redis, url)) = plain() else { return };
    let Some((mut one, mut two)) = two_nodes(&url, &[]) else {
        return;
    };
    run(async {
        one.make_user("alice");
        let me = sign_in(&one, "alice", PASSWORD).await.expect(200).json();
        let names = keys(&redis, "check", 1).await;
        let path = format!("/users/{}", me["user_id"]);
        let new = "Another12345";
        let change = json!({ "new_password": new });
        let (admin, at) = (one.admin(), format!("{path}/password"));
        admin.api("PUT", &at, &change).await.expect(200);
        for node in [&two, &one] {
            sign_in(node, "alice", PASSWORD).await.expect(401);
            sign_in(node, "alice", new).await.expect(200);
        }
        assert_eq!(
            redis.ask(&["EXISTS", &names[0]]),
            "1",
            "the old check is there"
        );

        let delete = format!("/api/v2.0{path}");
        two.admin().delete(&delete).await.expect(200);
        for node in [&one, &two] {
            sign_in(node, "alice", new).await.expect(401);
        }
        two.stop();
        one.stop();
    });
}

/// Clients that pull and sign in, at both nodes, until told to stop.
struct Load {
    clients: JoinSet<Duration>,
    stop: Arc<AtomicBool>,
    answered: Arc<AtomicUsize>,
}

impl Load {
    async fn start(one: &Seawall, two: &Seawall) -> Self {
        let (stop, answered) = (Arc::<AtomicBool>::default(), Arc::<AtomicUsize>::default());
        let mut load = Self {
            clients: JoinSet::new(),
            stop,
            answered,
        };
        let images: Vec<_> = (0..8)
            .map(|number| Image::new(&format!("load-{number}")))
            .collect();
        for (number, image) in images.iter().enumerate() {
            let repository = format!("library/load-{number}");
            one.admin().push(&repository, "v1", image).await;
            let name = format!("user-{number}");
            one.make_user(&name);
        }
        for (number, image) in images.into_iter().enumerate() {
            let node = if number % 2 == 0 { one } else { two };
            let (admin, user) = (node.admin(), node.user(&format!("user-{number}")));
            let (stop, answered) = (load.stop.clone(), load.answered.clone());
            load.clients.spawn(async move {
                let mut slowest = Duration::ZERO;
                while !stop.load(Ordering::Relaxed) {
                    let took = Self::round(&admin, &user, number, &image).await;
                    slowest = slowest.max(took);
                    answered.fetch_add(1, Ordering::Relaxed);
                }
                slowest
            });
        }
        load
    }

    /// The slowest of its requests, none of which fails.
    async fn round(admin: &Client, user: &Client, number: usize, image: &Image) -> Duration {
        let repository = format!("library/load-{number}");
        let requests = [
            (
                admin,
                format!("/v2/{repository}/manifests/v1"),
                Some(&image.manifest),
            ),
            (
                admin,
                format!("/v2/{repository}/blobs/{}", digest(&image.config)),
                Some(&image.config),
            ),
            (
                user,
                "/service/token?service=harbor-registry".to_owned(),
                None,
            ),
        ];
        let mut slowest = Duration::ZERO;
        for (client, path, expected) in requests {
            let asked = Instant::now();
            let answer = client.get(&path).await.expect(200);
            slowest = slowest.max(asked.elapsed());
            assert!(
                expected.is_none_or(|expected| answer.body == *expected),
                "{path}"
            );
        }
        slowest
    }

    async fn reach(&self, more: usize) {
        let wanted = self.answered.load(Ordering::Relaxed) + more;
        until("clients are answered", async || {
            assert!(!self.clients.is_empty());
            self.answered.load(Ordering::Relaxed) >= wanted
        })
        .await;
    }

    async fn end(mut self) -> Duration {
        self.stop.store(true, Ordering::Relaxed);
        let mut slowest = Duration::ZERO;
        while let Some(client) = self.clients.join_next().await {
            slowest = slowest.max(client.expect("no request fails"));
        }
        slowest
    }
}

/// Until a node says this of itself: `degraded` for the sake of Redis, or `ready`.
async fn until_status(seawall: &Seawall, wanted: &str) {
    until(wanted, async || {
        let told = seawall.stranger().get("/readyz").await.expect(200).json();
        let parts = told["degraded"].as_array().map_or(0, Vec::len);
        let is_redis = told["degraded"][0]["part"] == "redis";
        told["status"] == wanted && (parts == 1 && is_redis) == (wanted == "degraded")
    })
    .await;
}

#[test]
fn emptied_frozen_and_killed_under_load_it_fails_no_request() {
    let Some((mut redis, url)) = plain() else {
        return;
    };
    // So little memory that each manifest is asked of Redis.
    let Some((mut one, mut two)) = two_nodes(&url, &[("SEAWALL_CACHE__MANIFESTS", "1KiB")]) else {
        return;
    };
    run(async {
        let load = Load::start(&one, &two).await;
        load.reach(50).await;
        for _ in 0..5 {
            assert_eq!(redis.ask(&["FLUSHALL"]), "OK");
            load.reach(30).await;
        }
        assert!(hits(&two, "content").await > 10.0);
        redis.signal("STOP");
        load.reach(200).await;
        for node in [&one, &two] {
            until_status(node, "degraded").await;
        }
        redis.signal("CONT");
        for node in [&one, &two] {
            until_status(node, "ready").await;
        }
        let before = hits(&two, "content").await;
        load.reach(50).await;
        assert!(hits(&two, "content").await > before, "it helps again");
        redis.kill();
        load.reach(100).await;
        redis.restart();
        for node in [&one, &two] {
            until_status(node, "ready").await;
        }
        load.reach(50).await;
        let slowest = load.end().await;
        assert!(slowest < SLOWEST, "{slowest:?}");
        two.stop();
        one.stop();
    });
}

#[test]
fn a_master_that_dies_under_load_fails_no_request_and_another_takes_over() {
    let Some(mut watched) = testkit::watched("geheim", "wachsam", Alike::default()) else {
        return;
    };
    let sentinels: Vec<_> = watched.sentinels.iter().map(Redis::address).collect();
    let url = format!(
        "redis+sentinel://:geheim@{}/{}/1",
        sentinels.join(","),
        testkit::MASTER
    );
    let settings = [
        ("SEAWALL_REDIS__SENTINEL_PASSWORD", "wachsam"),
        ("SEAWALL_CACHE__MANIFESTS", "1KiB"),
    ];
    let Some((mut one, mut two)) = two_nodes(&url, &settings) else {
        return;
    };
    run(async {
        let load = Load::start(&one, &two).await;
        load.reach(50).await;
        watched.master.kill();
        until_status(&one, "degraded").await;
        for node in [&one, &two] {
            until_status(node, "ready").await;
        }
        let before = hits(&two, "content").await;
        load.reach(100).await;
        assert!(hits(&two, "content").await > before);
        let slowest = load.end().await;
        assert!(slowest < SLOWEST, "{slowest:?}");
        two.stop();
        one.stop();
    });
}

#[test]
fn it_is_told_where_one_looks_that_redis_is_away() {
    let Some((mut redis, url)) = plain() else {
        return;
    };
    let mut seawall = Seawall::start_alone(&[("SEAWALL_REDIS__URL", url.as_str())]);
    let check = |seawall: &Seawall| {
        let listen = seawall.address().to_owned();
        let output = seawall.try_run(&["check", "--json", "--listen", &listen], "");
        assert!(output.status.success(), "a server without it works");
        let findings: Vec<Value> = serde_json::from_slice(&output.stdout).expect("JSON");
        let found = findings
            .into_iter()
            .find(|finding| finding["part"] == "redis");
        found.expect("a finding")
    };
    run(async {
        let component = async |seawall: &Seawall| {
            let health = seawall.admin().api_get("/health").await.expect(200).json();
            let components = health["components"].as_array().expect("a list").clone();
            let names: Vec<_> = components
                .iter()
                .map(|part| part["name"].as_str())
                .collect();
            assert!(names.is_sorted(), "{names:?}");
            let redis = components.into_iter().find(|part| part["name"] == "redis");
            (redis.expect("a component"), health["status"].clone())
        };
        until_status(&seawall, "ready").await;
        assert_eq!(component(&seawall).await.0["status"], "healthy");
        assert_eq!(check(&seawall)["state"], "ok");

        redis.kill();
        until_status(&seawall, "degraded").await;
        let (told, overall) = component(&seawall).await;
        assert_eq!(
            (told["status"].as_str(), overall.as_str()),
            (Some("unhealthy"), Some("unhealthy"))
        );
        assert!(told["error"].is_string());
        let found = check(&seawall);
        assert_eq!(found["state"], "warning");
        assert!(
            found["advice"]
                .as_str()
                .is_some_and(|advice| advice.contains("[redis]"))
        );
        assert!(figure(&seawall, "seawall_redis_up", &[]).await < 0.5);

        redis.restart();
        until_status(&seawall, "ready").await;
        assert!(figure(&seawall, "seawall_redis_up", &[]).await > 0.5);
        seawall.stop();
    });
    let mut without = Seawall::start_alone(&[]);
    run(async {
        let health = without.admin().api_get("/health").await.expect(200).text();
        assert!(!health.contains("redis"), "{health}");
        without.stop();
    });
}
