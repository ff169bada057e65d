//! Who serves, and who has which name.

use std::collections::BTreeMap;

use db::{
    nodes::{self, Node, Sign},
    uploads,
};
use model::{Error, time::Timestamp};

fn node(name: &str, run: &str, now: Timestamp) -> Node {
    Node {
        name: name.to_owned(),
        run: run.to_owned(),
        host: "host".to_owned(),
        pid: 7,
        version: "1".to_owned(),
        addresses: vec!["http://host:8080".to_owned()],
        workers: 10,
        started_at: now,
        seen_at: now,
        clock_offset: -5,
        settings: BTreeMap::from([("gc.grace".to_owned(), "0ns".to_owned())]),
        state: "ready".to_owned(),
        drained_at: None,
        next_key: String::new(),
    }
}

#[test]
fn a_name_goes_from_one_run_to_one_other() {
    testkit::on_both(async |test| {
        let db = &test.db;
        let now = db.now().await.unwrap();
        let first = node("one", "first", now);
        let enter = async |node: &Node, seen: Option<&Node>, dead: bool| {
            let (node, seen) = (node.clone(), seen.cloned());
            transact!(db, [node, seen], |tx| nodes::enter(
                tx,
                &node,
                seen.as_ref(),
                dead
            )
            .await)
            .unwrap()
        };
        let see = async |run: &'static str, now: Timestamp| {
            let sign = Sign {
                name: "one",
                run,
                state: "degraded",
                clock_offset: 3,
                next_key: "of the next",
            };
            transact!(db, [sign], |tx| nodes::see(tx, &sign, now).await).unwrap()
        };
        let found = async || {
            let reader = &mut *db.reader().await.unwrap();
            nodes::find(reader, "one").await.unwrap()
        };
        assert!(enter(&first, None, true).await);
        assert_eq!(found().await, Some(first.clone()));
        assert!(!enter(&node("one", "second", now), None, true).await);
        // What was written between the look and the taking counts.
        let later = Timestamp(now.0 + 1);
        assert_eq!(see("first", later).await, Some(false));
        let second = node("one", "second", later);
        assert!(!enter(&second, Some(&first), false).await);
        let seen = found().await.unwrap();
        assert_eq!((seen.state.as_str(), seen.clock_offset), ("degraded", 3));
        transact!(db, |tx| uploads::take(
            tx,
            "session",
            "library/app",
            None,
            false,
            now
        )
        .await)
        .unwrap();
        let (third, fourth) = (node("one", "third", later), node("one", "fourth", later));
        let (a, b) = tokio::join!(
            enter(&third, Some(&seen), false),
            enter(&fourth, Some(&seen), false)
        );
        assert!(a != b, "one of them");
        assert_eq!(see("first", later).await, None);
        transact!(db, |tx| nodes::leave(tx, "one", "first").await).unwrap();
        assert!(found().await.is_some(), "it is another's");
        // What the run before may still write to is not the newcomer's.
        let reader = &mut *db.reader().await.unwrap();
        let upload = uploads::find(reader, "session").await.unwrap().unwrap();
        assert_eq!(upload.node, "one/first");
    });
}

#[test]
fn only_who_hears_of_it_is_drained() {
    testkit::on_both(async |test| {
        let db = &test.db;
        let now = db.now().await.unwrap();
        for (name, run) in [(db.node(), "run"), ("older", "")] {
            let node = node(name, run, now);
            transact!(db, [node], |tx| nodes::enter(tx, &node, None, true).await).unwrap();
        }
        nodes::ask(db, db.node(), true).await.unwrap();
        let own = nodes::alive(db).await.unwrap();
        let own = own.iter().find(|node| node.name == db.node()).unwrap();
        assert!(own.drained_at.is_some());
        nodes::ask(db, db.node(), false).await.unwrap();
        let nowhere = nodes::ask(db, "nowhere", true).await;
        assert!(matches!(nowhere, Err(Error::NotFound(..))), "{nowhere:?}");
        if !db.is_exclusive() {
            let older = nodes::ask(db, "older", true).await;
            assert!(matches!(older, Err(Error::Precondition(_))), "{older:?}");
        }
    });
}
