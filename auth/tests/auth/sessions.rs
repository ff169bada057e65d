//! Browsers' sessions, and the brake on guessing.

use std::{net::IpAddr, time::Duration};

use auth::{Subject, UserFacts, Via, attempts};
use db::{audit, cursors::Cursor};
use futures_util::future::join_all;
use model::{Error, audit::Event};
use tokio::time::timeout;

use crate::world::{World, each};

fn told(event: Event, name: &str, world: &World<'_>) -> audit::New {
    audit::New {
        at: world.db.clock().now(),
        project: None,
        actor: name.to_owned(),
        address: None,
        event,
        resource: name.to_owned(),
        description: None,
        succeeded: true,
    }
}

async fn facts(world: &World<'_>, name: &str) -> UserFacts {
    match world.login(name, "Harbor12345").await.subject {
        Subject::User(user) => (*user).clone(),
        other => panic!("{other:?}"),
    }
}

async fn begin(world: &World<'_>, old: Option<&str>) -> String {
    let user = facts(world, "alice").await;
    let told = told(Event::LoginUser, "alice", world);
    let session = world.auth.begin_session(&user, old, told).await.unwrap();
    assert_eq!(session.life, Duration::from_hours(1));
    session.cookie
}

/// Whose session it is, and whether its end was put off.
async fn seen(world: &World<'_>, cookie: &str, renew: bool) -> Option<(String, bool)> {
    let now = world.db.clock().now();
    let signed = world.auth.session(cookie, renew, now).await.unwrap()?;
    assert_eq!(signed.caller.via, Via::Session);
    Some((signed.caller.name().to_owned(), signed.renewed.is_some()))
}

#[test]
fn a_session_lasts_while_it_is_used_and_is_written_once_a_minute() {
    each(async |world| {
        world.user("alice", "Harbor12345").await;
        let cookie = begin(world, None).await;
        let alice = |renewed| Some(("alice".to_owned(), renewed));
        assert_eq!(seen(world, &cookie, true).await, alice(false));
        let clock = world.db.clock();
        clock.advance(Duration::from_mins(50));
        assert_eq!(
            seen(world, &cookie, false).await,
            alice(false),
            "nobody's doing"
        );
        assert_eq!(seen(world, &cookie, true).await, alice(true));
        assert_eq!(seen(world, &cookie, true).await, alice(false));
        clock.advance(Duration::from_mins(50));
        assert_eq!(seen(world, &cookie, false).await, alice(false));
        clock.advance(Duration::from_mins(11));
        assert_eq!(seen(world, &cookie, true).await, None);
        assert_eq!(seen(world, "nonsense", true).await, None);
    });
}

/// So many of who came and went, once they are settled: transactions of other tests on the same server hold readers of the audit up.
async fn log_events(world: &World<'_>, count: usize) -> Vec<String> {
    let read = async || {
        let reader = &mut world.db.reader().await.unwrap();
        let rows = audit::after(reader, Cursor::default(), 100).await.unwrap();
        let events = rows.into_iter().map(|row| row.event);
        let events = events.filter(|event| event.starts_with("log"));
        events.collect::<Vec<_>>()
    };
    let settled = async {
        loop {
            let events = read().await;
            if events.len() >= count {
                return events;
            }
            tokio::task::yield_now().await;
        }
    };
    timeout(Duration::from_mins(1), settled)
        .await
        .expect("they are settled")
}

#[test]
fn a_session_ends_with_what_it_began_with() {
    each(async |world| {
        world.user("alice", "Harbor12345").await;
        let first = begin(world, None).await;
        let second = begin(world, Some(&first)).await;
        assert_eq!(
            seen(world, &first, true).await,
            None,
            "another took its place"
        );
        assert!(seen(world, &second, true).await.is_some());
        world.set_admin("alice", true).await;
        assert_eq!(
            seen(world, &second, true).await,
            None,
            "he may other things now"
        );
        let third = begin(world, None).await;
        world
            .auth
            .end_session(&third, Some(told(Event::LogoutUser, "alice", world)))
            .await
            .unwrap();
        assert_eq!(seen(world, &third, true).await, None);
        let told = ["login_user", "login_user", "login_user", "logout_user"];
        assert_eq!(log_events(world, told.len()).await, told);
    });
}

/// So many wrong passwords from one address, at once.
async fn guess(world: &World<'_>, name: &str, from: IpAddr, count: usize) {
    let guesses: Vec<_> = (0..count).map(|n| format!("{from}Guess{n}")).collect();
    let tries = guesses
        .iter()
        .map(|guess| world.auth.basic(name, guess, Some(from)));
    for answer in join_all(tries).await {
        assert!(matches!(answer, Ok(None) | Err(Error::TooMany { .. })));
    }
}

#[test]
fn a_place_where_somebody_signed_in_is_open_while_others_guess() {
    each(async |world| {
        world.user("alice", "Harbor12345").await;
        let [home, one, two, elsewhere] = [1, 2, 3, 4].map(|n| IpAddr::from([192, 0, 2, n]));
        let try_from = async |from| world.auth.basic("alice", "Harbor12345", Some(from)).await;
        assert!(try_from(home).await.unwrap().is_some());
        let clock = world.db.clock();
        // What a node remembers of a right password would hide what is asked here.
        clock.advance(Duration::from_secs(61));
        guess(world, "alice", one, 9).await;
        guess(world, "alice", two, 9).await;
        assert!(matches!(
            try_from(elsewhere).await,
            Err(Error::TooMany { .. })
        ));
        assert!(try_from(home).await.unwrap().is_some());
        clock.advance(Duration::from_secs(61));
        assert!(
            try_from(elsewhere).await.unwrap().is_some(),
            "nobody waits for long"
        );
        if let Some((_, auth)) = world.second_node().await {
            // How many of several at once are counted depends on the machine; a few more settle it.
            guess(world, "alice", one, 9).await;
            let mut braked = false;
            for n in 0..20 {
                let guess = format!("There{n}");
                let there = auth.basic("alice", &guess, Some(two)).await;
                braked |= matches!(there, Err(Error::TooMany { .. }));
                if braked {
                    break;
                }
            }
            assert!(braked, "the other node knows nothing of it");
        }
    });
}

#[test]
fn what_strangers_ask_for_is_counted_and_forgiven() {
    each(async |world| {
        let from = Some(IpAddr::from([192, 0, 2, 1]));
        let ask = async || {
            let asked = world.db.write(move |tx| {
                Box::pin(async move {
                    let now = tx.now().await?;
                    attempts::ask(tx, "letters", from, now).await
                })
            });
            asked.await.is_ok()
        };
        for n in 0..10 {
            assert!(ask().await, "{n}");
        }
        assert!(!ask().await);
        world.db.clock().advance(Duration::from_mins(2));
        assert!(ask().await);
    });
}
