//! Jobs on several nodes that share a PostgreSQL: what happens to them when a node dies, freezes, is asked to stop them, or has a wrong
//! clock.

use std::{
    path::Path,
    process::Child,
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

use serde_json::Value;

use crate::harness::{Client, Image, Seawall, image::content};

/// How long a job stays claimed without a heartbeat.
const LEASE: Duration = Duration::from_secs(30);
/// Reads so slowly that a scrub of [`BYTES`] takes a quarter of a minute.
const SLOW: (&str, &str) = ("SEAWALL_SCRUB__RATE", "64KiB");
const BYTES: usize = 1 << 20;

/// A node on a fresh PostgreSQL; none where there is none, which is said aloud.
pub fn first(settings: &[(&str, &str)]) -> Option<Seawall> {
    let server = testkit::postgres()?;
    let database = server.fresh_database();
    Some(Seawall::start_on(database, settings))
}

pub fn run(test: impl Future<Output = ()>) {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .expect("a runtime");
    runtime.block_on(test);
}

/// The long job that somebody asked for on this node, once a node runs it; the command waits for it.
async fn begin(seawall: &Seawall) -> (Child, Value) {
    let layer = content("long", BYTES);
    let image = Image::with_layer("long", layer);
    seawall.admin().push("library/long", "v1", &image).await;
    let command = seawall.spawn(&["scrub"]);
    let worker = until(&seawall.admin(), |worker| worker["job_name"] == "SCRUB").await;
    (command, worker)
}

async fn workers(client: &Client) -> Vec<Value> {
    let told = client.api_get("/jobservice/pools/all/workers").await;
    told.expect(200).json().as_array().expect("a list").clone()
}

/// The first that is as wanted.
async fn until(client: &Client, is_so: impl Fn(&Value) -> bool) -> Value {
    let start = Instant::now();
    loop {
        let all = workers(client).await;
        if let Some(found) = all.iter().find(|worker| is_so(worker)) {
            return found.clone();
        }
        assert!(start.elapsed() < LEASE * 2, "{all:?}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// State, attempt and node of a job, as a node's operator sees it.
fn job(seawall: &Seawall, id: &str) -> (String, i64, String) {
    let text = seawall.run(&["job", "log", id, "--json"]);
    let job: Value = serde_json::from_str(&text).expect("JSON");
    let word = |key: &str| job[key].as_str().unwrap_or_default().to_owned();
    (
        word("state"),
        job["attempt"].as_i64().expect("a number"),
        word("node"),
    )
}

fn number(worker: &Value) -> String {
    worker["job_id"].as_str().expect("a number").to_owned()
}

#[test]
fn what_a_dead_node_ran_another_takes_over_within_the_lease() {
    let Some(mut dead) = first(&[SLOW]) else {
        return;
    };
    run(async {
        let (mut command, worker) = begin(&dead).await;
        let other = dead.start_beside(&[SLOW]);
        let killed = Instant::now();
        dead.kill();
        let id = number(&worker);
        let by_other = |worker: &Value| worker["job_id"] == id && worker["pool_id"] == "beside";
        until(&other.admin(), by_other).await;
        let took = killed.elapsed();
        assert!(took < LEASE + Duration::from_secs(3), "{took:?}");
        eprintln!("taken over after {took:?}");
        assert_eq!(job(&other, &id).1, 2);
        let _ = command.kill();
        let _ = command.wait();
    });
}

#[test]
fn a_node_that_was_frozen_longer_than_its_lease_writes_nothing_afterwards() {
    let Some(mut frozen) = first(&[SLOW]) else {
        return;
    };
    run(async {
        let (mut command, worker) = begin(&frozen).await;
        let mut other = frozen.start_beside(&[SLOW]);
        frozen.signal("STOP");
        let id = number(&worker);
        let by_other = |worker: &Value| worker["job_id"] == id && worker["pool_id"] == "beside";
        until(&other.admin(), by_other).await;
        frozen.signal("CONT");
        // It wakes up with the job at work, and with the time of its lease long over.
        let start = Instant::now();
        while job(&other, &id).0 == "running" {
            let (_, attempt, node) = job(&other, &id);
            assert_eq!((attempt, node.as_str()), (2, "beside"));
            assert!(start.elapsed() < LEASE * 2);
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        assert_eq!(
            job(&other, &id),
            ("done".to_owned(), 2, "beside".to_owned())
        );
        // It goes on serving.
        frozen.admin().api_get("/ping").await.expect(200);
        let _ = command.wait();
        other.stop();
        frozen.stop();
    });
}

#[test]
fn a_stop_that_is_asked_for_on_one_node_ends_a_job_on_another() {
    let Some(mut runs) = first(&[SLOW]) else {
        return;
    };
    run(async {
        let (mut command, worker) = begin(&runs).await;
        let mut asked = runs.start_beside(&[SLOW]);
        let id = number(&worker);
        let begin = Instant::now();
        let path = format!("/api/v2.0/jobservice/jobs/{id}");
        let stop = asked.admin();
        stop.request("PUT", &path).send().await.expect(200);
        while workers(&stop)
            .await
            .iter()
            .any(|worker| worker["job_id"] == id)
        {
            assert!(begin.elapsed() < Duration::from_secs(2), "it still runs");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        eprintln!("stopped after {:?}", begin.elapsed());
        assert_eq!(job(&asked, &id).0, "stopped");
        let _ = command.wait();
        asked.stop();
        runs.stop();
    });
}

/// The library that tells a process another time; said aloud when it is not there.
fn faketime() -> Option<String> {
    let places = ["x86_64", "aarch64"]
        .map(|machine| format!("/usr/lib/{machine}-linux-gnu/faketime/libfaketimeMT.so.1"));
    let found = places.into_iter().find(|place| Path::new(place).exists());
    if found.is_none() {
        testkit::left_out("faketime", "libfaketime is not installed: a wrong clock");
    }
    found
}

/// Leases are judged by the database's clock: an hour ahead or behind, a node neither steals what another runs nor loses what it runs,
/// and nothing begins before its time.
#[test]
fn a_clock_that_is_an_hour_off_steals_no_lease_and_begins_nothing_twice() {
    let Some(library) = faketime() else { return };
    for off in ["+3600", "-3600"] {
        let wrong = [
            SLOW,
            ("LD_PRELOAD", library.as_str()),
            ("FAKETIME", off),
            ("FAKETIME_DONT_FAKE_MONOTONIC", "1"),
            ("DONT_FAKE_MONOTONIC", "1"),
        ];
        for (own, others) in [(&wrong[..], &[SLOW][..]), (&[SLOW][..], &wrong[..])] {
            let Some(mut runs) = first(own) else { return };
            run(async {
                let (mut command, worker) = begin(&runs).await;
                // Due in half an hour, or by a clock that is ahead half an hour ago.
                let since = SystemTime::now()
                    .duration_since(UNIX_EPOCH)
                    .expect("after 1970");
                let minute = (since.as_secs() / 60 + 30) % 60;
                let hourly = serde_json::json!({
                    "schedule": { "type": "Custom", "cron": format!("0 {minute} * * * *") },
                });
                let admin = runs.admin();
                let set = admin.api("POST", "/system/gc/schedule", &hourly).await;
                set.expect(201);
                let mut other = runs.start_beside(others);
                let (id, start) = (number(&worker), Instant::now());
                let first = job(&runs, &id);
                while start.elapsed() < Duration::from_secs(6) {
                    let now = job(&other, &id);
                    assert_eq!((now.1, &now.2), (1, &first.2), "{off}: {now:?}");
                    tokio::time::sleep(Duration::from_millis(100)).await;
                }
                let begun = admin.api_get("/system/gc").await.expect(200).json();
                assert_eq!(begun, serde_json::json!([]), "{off}");
                let _ = command.kill();
                let _ = command.wait();
                other.kill();
                runs.kill();
            });
        }
    }
}
