//! A collector that stops between its decision and its deletes, for longer than anybody waits.

use std::process::Command;

use crate::harness::{
    Seawall, digest,
    image::content,
    server::{Store, both, bucket_on},
};

/// Contents whose collection has been decided and whose bytes are still there.
fn decided(url: &str) -> u64 {
    count(
        url,
        "SELECT COUNT(*) FROM blobs WHERE state = 2 AND freed_at IS NULL",
    )
}

/// The one number that a query gives.
pub fn count(url: &str, sql: &str) -> u64 {
    let output = Command::new("psql")
        .args([url, "-tAc", sql])
        .output()
        .expect("psql starts");
    String::from_utf8_lossy(&output.stdout)
        .trim()
        .parse()
        .unwrap_or_else(|_| panic!("{}", String::from_utf8_lossy(&output.stderr)))
}

#[test]
fn what_is_pushed_while_a_collector_is_frozen_survives_its_late_deletes() {
    survives(400, &[]);
}

#[test]
fn what_is_pushed_into_a_bucket_survives_them_too() {
    if let Some(s3) = testkit::s3() {
        survives(60, &bucket_on(s3));
    }
}

fn survives(count: usize, store: &Store) {
    let Some(server) = testkit::postgres() else {
        return;
    };
    let database = server.fresh_database();
    let url = database.url();
    let settings = [
        ("SEAWALL_UPLOADS__EXPIRE", "1s"),
        ("SEAWALL_GC__INTERVAL", "1h"),
    ];
    let mut collector = Seawall::start_on(database, &both(store, &settings));
    let mut other = collector.start_beside(&[
        ("SEAWALL_UPLOADS__EXPIRE", "1h"),
        ("SEAWALL_GC__INTERVAL", "1h"),
    ]);
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .expect("a runtime");
    runtime.block_on(async {
        let contents: Vec<_> = (0..count)
            .map(|n| content(&format!("frozen-{n}"), 1000))
            .collect();
        for bytes in &contents {
            let path = format!("/v2/library/frozen/blobs/uploads/?digest={}", digest(bytes));
            collector
                .admin()
                .request("POST", &path)
                .body(bytes.clone())
                .send()
                .await
                .expect(201);
        }
        // Collected over and over until it is caught in the act; what it has finished meanwhile is pushed again.
        let mut caught = false;
        for _ in 0..50 {
            let mut collection = collector.spawn(&["gc"]);
            while collection.try_wait().expect("asked").is_none() {
                collector.signal("STOP");
                if tokio::task::block_in_place(|| decided(&url)) > 0 {
                    caught = true;
                    break;
                }
                collector.signal("CONT");
            }
            if caught {
                for bytes in &contents {
                    other.admin().push_blob("library/frozen", bytes).await;
                }
                collector.signal("CONT");
                // On a slow machine its lease is over by now, and another has its job: then it says that it failed.
                collection.wait().expect("ends");
                break;
            }
            for bytes in &contents {
                let path = format!("/v2/library/frozen/blobs/uploads/?digest={}", digest(bytes));
                collector
                    .admin()
                    .request("POST", &path)
                    .body(bytes.clone())
                    .send()
                    .await
                    .expect(201);
            }
        }
        assert!(
            caught,
            "the collector was never seen between decision and delete"
        );
        for bytes in &contents {
            let answer = other
                .admin()
                .get(&format!("/v2/library/frozen/blobs/{}", digest(bytes)))
                .await
                .expect(200);
            assert_eq!(answer.body, *bytes);
        }
    });
    other.stop();
    collector.stop();
}
