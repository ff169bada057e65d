//! Nobody waits for a Redis that is slow or away.

use std::time::{Duration, Instant};

use bytes::Bytes;
use cache::Kind;
use tokio::task::JoinSet;

use crate::{Node, config, run, until};

/// How long it takes twenty who ask again and again.
async fn many(node: &Node, rounds: usize) -> Duration {
    let (begun, mut readers) = (Instant::now(), JoinSet::new());
    for reader in 0..20 {
        let cache = node.cache.clone();
        readers.spawn(async move {
            for round in 0..rounds {
                let name = format!("{reader}-{round}");
                cache.put(Kind::Content, &name, Bytes::from_static(b"it"));
                cache.get(Kind::Content, &name).await;
            }
        });
    }
    readers.join_all().await;
    begun.elapsed()
}

#[test]
fn one_that_stands_still_is_left_alone_and_found_again() {
    let Some(redis) = testkit::redis("", &[]) else {
        return;
    };
    run(async {
        let node = Node::start(&config(&format!("redis://{}", redis.address()))).await;
        redis.signal("STOP");
        // If each of them waited for its answer that would be 10 s.
        let took = many(&node, 200).await;
        assert!(took < Duration::from_secs(5), "{took:?}");
        until("it is told", async || node.cache.fault().is_some()).await;
        // From here on nobody waits, also while other connections are tried. (A busy machine may stall whom it likes.)
        let (mut asked, mut waited) = (0, 0);
        for _ in 0..300 {
            let begun = Instant::now();
            assert_eq!(node.get("name").await, None);
            asked += 1;
            waited += u32::from(begun.elapsed() >= Duration::from_millis(45));
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        assert!(waited * 10 < asked, "{waited} of {asked} waited");
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
