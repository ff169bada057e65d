//! What is kept, under which names, for how long; and what others write there.

use bytes::Bytes;
use cache::{Cache, Kind, MOST_CONTENT};

use crate::{Node, config, run, until};

#[test]
fn what_one_node_keeps_another_finds_and_other_stores_do_not_meet_it() {
    let Some(redis) = testkit::redis("", &[]) else {
        return;
    };
    run(async {
        let config = config(&format!("redis://{}/3", redis.address()));
        let (one, two) = (Node::start(&config).await, Node::start(&config).await);
        one.put("sha256:ab", vec![7; MOST_CONTENT]).await;
        let found = two.get("sha256:ab").await.unwrap();
        assert!(found == vec![7; MOST_CONTENT]);
        assert_eq!(two.get("sha256:cd").await, None);
        assert_eq!(two.cache.get(Kind::Check, "sha256:ab").await, None);

        let lasts = redis.ask(&["-n", "3", "TTL", "seawall:store:content:sha256:ab"]);
        let lasts: i64 = lasts.parse().unwrap();
        assert!((86_000..=86_400).contains(&lasts), "{lasts}");
        one.cache
            .put(Kind::Check, "who", Bytes::from_static(b"yes"));
        let check = "seawall:store:check:who";
        until("a check is kept", async || {
            let lasts = redis.ask(&["-n", "3", "PTTL", check]);
            (1..=60_000).contains(&lasts.parse::<i64>().unwrap())
        })
        .await;
    });
}

#[test]
fn what_is_too_large_is_neither_kept_nor_read() {
    let Some(redis) = testkit::redis("", &[]) else {
        return;
    };
    run(async {
        let node = Node::start(&config(&format!("redis://{}", redis.address()))).await;
        let large = Bytes::from(vec![1; MOST_CONTENT + 1]);
        node.cache.put(Kind::Content, "large", large);
        node.put("after", "it").await;
        assert!(
            !redis
                .keys()
                .contains(&"seawall:store:content:large".to_owned())
        );
        // Somebody else puts 400 MB there.
        redis.ask(&["SETRANGE", "seawall:store:content:large", "400000000", "x"]);
        assert_eq!(node.get("large").await, None);
        redis.ask(&["RPUSH", "seawall:store:content:list", "x"]);
        for _ in 0..10 {
            assert_eq!(node.get("list").await, None, "it is of another type");
        }
        assert!(node.works().await, "the connection is as good as before");
        assert_eq!(node.cache.fault(), None);
    });
}

#[test]
fn a_redis_without_room_is_told_of_and_still_read() {
    let Some(redis) = testkit::redis("maxmemory-policy noeviction", &[]) else {
        return;
    };
    run(async {
        let config = config(&format!("redis://{}", redis.address()));
        let node = Node::start(&config).await;
        node.put("before", "it").await;
        redis.ask(&["CONFIG", "SET", "maxmemory", "1"]);
        until("it is told", async || {
            node.cache
                .put(Kind::Content, "new", Bytes::from_static(b"it"));
            let fault = node.cache.fault();
            fault.is_some_and(|why| why.contains("keeps nothing new") && why.contains("OOM"))
        })
        .await;
        assert_eq!(node.get("before").await, Some(Bytes::from_static(b"it")));
        let seen = cache::look(&config).await.unwrap();
        assert!(seen.refused.unwrap().contains("OOM"));

        redis.ask(&["CONFIG", "SET", "maxmemory", "0"]);
        until("it is well again", async || node.cache.fault().is_none()).await;
        assert!(cache::look(&config).await.unwrap().refused.is_none());
    });
}

#[test]
fn without_a_redis_nothing_is_kept_or_found() {
    run(async {
        let cache = Cache::default();
        assert!(!cache.is_configured());
        cache.put(Kind::Content, "name", Bytes::from_static(b"it"));
        assert_eq!(cache.get(Kind::Content, "name").await, None);
        assert_eq!(cache.fault(), None);
    });
}
