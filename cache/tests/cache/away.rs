//! Nobody waits for a Redis that is slow or away.

use std::time::{Duration, Instant};

use bytes::Bytes;
use cache::Kind;
use tokio::task::JoinSet;

use crate::{Node, config, run, until};

/// How long reads take from now on, by many at once: the slowest.
async fn slowest(node: &Node, rounds: usize) -> Duration {
    let mut readers = JoinSet::new();
    for reader in 0..20 {
        let cache = node.cache.clone();
        readers.spawn(async move {
            let mut slowest = Duration::ZERO;
            for round in 0..rounds {
                let asked = Instant::now();
                cache.put(
                    Kind::Content,
                    &format!("{reader}-{round}"),
                    Bytes::from_static(b"it"),
                );
                cache.get(Kind::Content, &format!("{reader}-{round}")).await;
                slowest = slowest.max(asked.elapsed());
            }
            slowest
        });
    }
    let mut slowest = Duration::ZERO;
    while let Some(one) = readers.join_next().await {
        slowest = slowest.max(one.unwrap());
    }
    slowest
}

#[test]
fn one_that_stands_still_is_left_alone_and_found_again() {
    let Some(redis) = testkit::redis("", &[]) else {
        return;
    };
    run(async {
        let node = Node::start(&config(&format!("redis://{}", redis.address()))).await;
        redis.signal("STOP");
        let slowest = slowest(&node, 200).await;
        assert!(slowest < Duration::from_millis(500), "{slowest:?}");
        until("it is told", async || node.cache.fault().is_some()).await;
        // From here on nobody waits at all, also while another connection is tried.
        let begun = Instant::now();
        while begun.elapsed() < Duration::from_secs(3) {
            let asked = Instant::now();
            assert_eq!(node.get("name").await, None);
            assert!(
                asked.elapsed() < Duration::from_millis(40),
                "{:?}",
                asked.elapsed()
            );
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        redis.signal("CONT");
        until("it is back", async || node.works().await).await;
        assert_eq!(node.cache.fault(), None);
    });
}

#[test]
fn one_that_nobody_asks_anything_is_known_to_be_away() {
    let Some(redis) = testkit::redis("", &[]) else {
        return;
    };
    run(async {
        let node = Node::start(&config(&format!("redis://{}", redis.address()))).await;
        redis.signal("STOP");
        until("it is told", async || node.cache.fault().is_some()).await;
        redis.signal("CONT");
        until("it is told", async || node.cache.fault().is_none()).await;
    });
}

#[test]
fn one_that_comes_late_dies_and_comes_again_is_used_each_time() {
    let Some(mut redis) = testkit::redis("", &[]) else {
        return;
    };
    run(async {
        redis.kill();
        let config = config(&format!("redis://{}", redis.address()));
        let node = Node::begin(&config);
        until("it is told", async || node.cache.fault().is_some()).await;
        let why = cache::look(&config).await.unwrap_err();
        assert!(why.to_lowercase().contains("refused"), "{why}");
        for _ in 0..2 {
            redis.restart();
            until("it is used", async || node.works().await).await;
            redis.ask(&["FLUSHALL"]);
            assert_eq!(node.get("works").await, None);
            redis.kill();
            until("it is told", async || node.cache.fault().is_some()).await;
        }
    });
}
