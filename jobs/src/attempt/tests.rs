use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use db::jobs::{self, Claimed, MAX_LOG_LINE};
use model::{Error, job::Job};
use tokio::time::Instant;

use crate::{
    Outcome, attempt,
    runner::Work,
    world::{LEASE, World, each, work},
};

const JOB: Job = Job::TrimHistory {};

async fn run(world: &World<'_>, claimed: Claimed, work: Work) {
    attempt::run(&world.bench(work), claimed, Instant::now()).await;
}

fn failing() -> Work {
    work(|_, _| Box::pin(async { Err(Error::Unavailable(anyhow::anyhow!("not today"))) }))
}

#[test]
fn a_job_that_is_done_says_so_with_its_progress_and_log() {
    each(async |world| {
        let id = world.enqueue(JOB).await;
        let claimed = world.claim("one").await.unwrap();
        run(
            world,
            claimed,
            work(|cx, _| {
                Box::pin(async move {
                    cx.log("half way").await;
                    cx.log("ä".repeat(MAX_LOG_LINE)).await;
                    cx.show(&serde_json::json!({ "rows": 2 }));
                    Ok(Outcome::Done("2 rows".to_owned()))
                })
            }),
        )
        .await;
        let row = world.row(id).await;
        assert_eq!(
            (row.state.as_str(), row.message.as_deref(), row.attempt),
            ("done", Some("2 rows"), 1)
        );
        assert_eq!(row.progress.as_deref(), Some("{\"rows\":2}"));
        assert!(row.started_at.is_some() && row.ended_at.is_some());
        let log = world.log(id).await;
        assert_eq!((log[0].as_str(), log[1].len()), ("half way", MAX_LOG_LINE));
        assert!(world.claim("one").await.is_none());
    });
}

#[test]
fn a_failed_attempt_waits_longer_each_time_and_then_the_job_has_failed() {
    each(async |world| {
        let id = world.enqueue(JOB).await;
        for attempt in 1..=JOB.max_attempts() {
            let claimed = world.claim("one").await.unwrap();
            assert_eq!((claimed.attempt, claimed.failures), (attempt, attempt - 1));
            run(world, claimed, failing()).await;
            let row = world.row(id).await;
            assert!(row.message.unwrap().contains("not today"));
            if attempt == JOB.max_attempts() {
                assert_eq!(row.state.as_str(), "failed");
                break;
            }
            assert_eq!(row.state.as_str(), "ready");
            let wait = JOB.backoff(attempt - 1);
            world.advance(wait / 2);
            assert!(world.claim("one").await.is_none(), "too early");
            world.advance(wait);
        }
        world.advance(LEASE * 100);
        assert!(world.claim("one").await.is_none());
        // Another of its kind may be enqueued now.
        assert_ne!(world.enqueue(JOB).await, id);
    });
}

#[test]
fn what_repeating_would_not_change_is_given_up_at_once() {
    each(async |world| {
        let id = world.enqueue(JOB).await;
        let claimed = world.claim("one").await.unwrap();
        run(
            world,
            claimed,
            work(|_, _| Box::pin(async { Ok(Outcome::GiveUp("no such thing".to_owned())) })),
        )
        .await;
        let row = world.row(id).await;
        assert_eq!(
            (row.state.as_str(), row.message.as_deref()),
            ("failed", Some("no such thing"))
        );
    });
}

#[test]
fn work_that_ends_early_unasked_waits_before_it_is_tried_again() {
    each(async |world| {
        let id = world.enqueue(JOB).await;
        let claimed = world.claim("one").await.unwrap();
        let early = work(|_, _| Box::pin(async { Ok(Outcome::Interrupted) }));
        run(world, claimed, early).await;
        assert_eq!(world.row(id).await.state.as_str(), "ready");
        assert!(world.claim("one").await.is_none());
        world.advance(JOB.backoff(0));
        assert_eq!(world.claim("one").await.unwrap().failures, 1);
    });
}

#[test]
fn work_that_hangs_is_cancelled_and_has_failed() {
    each(async |world| {
        let id = world.enqueue(JOB).await;
        let claimed = world.claim("one").await.unwrap();
        let hanging = work(|cx, _| {
            Box::pin(async {
                cx.cancel.cancelled().await;
                Ok(Outcome::Interrupted)
            })
        });
        let mut node = world.bench(hanging);
        node.config.timeout = |_| Duration::from_millis(20);
        attempt::run(&node, claimed, Instant::now()).await;
        let row = world.row(id).await;
        assert_eq!(row.state.as_str(), "ready");
        assert!(row.message.unwrap().contains("not done after 20ms"));
        world.advance(JOB.backoff(0));
        assert_eq!(world.claim("one").await.unwrap().failures, 1);
    });
}

#[test]
fn a_job_that_was_told_to_end_writes_no_more_lines() {
    each(async |world| {
        let id = world.enqueue(JOB).await;
        let claimed = world.claim("one").await.unwrap();
        let cancel = tokio_util::sync::CancellationToken::new();
        let cx = crate::Context::new(
            world.registry.clone(),
            cancel.clone(),
            id,
            claimed.attempt,
            0,
        );
        cx.log_all(vec!["one".to_owned(), "two".to_owned()]).await;
        cancel.cancel();
        cx.log_all(vec!["three".to_owned()]).await;
        assert_eq!(world.log(id).await, ["one", "two"]);
    });
}

#[test]
fn a_panic_is_a_failed_attempt() {
    each(async |world| {
        let id = world.enqueue(JOB).await;
        let claimed = world.claim("one").await.unwrap();
        run(
            world,
            claimed,
            work(|_, _| Box::pin(async { panic!("as this test wants") })),
        )
        .await;
        let row = world.row(id).await;
        assert_eq!(row.state.as_str(), "ready");
        assert!(row.message.unwrap().contains("panicked"));
    });
}

#[test]
fn a_lease_that_ran_out_is_taken_over_and_the_old_attempt_writes_nothing() {
    each(async |world| {
        let id = world.enqueue(JOB).await;
        let old = world.claim("dead").await.unwrap();
        assert!(world.claim("two").await.is_none());
        world.advance(LEASE + LEASE);
        let new = world.claim("two").await.unwrap();
        assert_eq!((new.id, new.attempt, new.failures), (id, 2, 1));
        let (attempt, late) = (old.attempt, jobs::End::Done);
        let written = world
            .write(move |tx| {
                Box::pin(async move {
                    let heard = jobs::heartbeat(tx, id, attempt, LEASE, Some("{}")).await?;
                    let logged = jobs::log(tx, id, attempt, &["late"]).await?;
                    let retried = jobs::retry(tx, id, attempt, LEASE, "late").await?;
                    let given_back = jobs::give_back(tx, id, attempt).await?;
                    let ended = jobs::end(tx, id, attempt, late, Some("{}"), Some("late")).await?;
                    Ok((heard, logged || retried || given_back || ended))
                })
            })
            .await;
        assert_eq!(written, (jobs::Heartbeat::Lost, false));
        let row = world.row(id).await;
        assert_eq!(
            (row.state.as_str(), row.node.as_deref(), row.progress),
            ("running", Some("two"), None)
        );
        assert!(world.log(id).await.is_empty());
    });
}

#[test]
fn a_job_that_takes_its_node_with_it_is_not_tried_for_ever() {
    each(async |world| {
        let id = world.enqueue(JOB).await;
        for _ in 0..JOB.max_attempts() {
            world.claim("dead").await.unwrap();
            world.advance(LEASE + LEASE);
        }
        let claimed = world.claim("one").await.unwrap();
        let ran = Arc::new(AtomicUsize::new(0));
        let count = ran.clone();
        run(
            world,
            claimed,
            work(move |_, _| {
                count.fetch_add(1, Ordering::SeqCst);
                Box::pin(async { Ok(Outcome::Done(String::new())) })
            }),
        )
        .await;
        assert_eq!(ran.load(Ordering::SeqCst), 0);
        assert_eq!(world.row(id).await.state.as_str(), "failed");
    });
}

#[test]
fn a_log_takes_so_many_lines_and_no_more() {
    each(async |world| {
        let id = world.enqueue(JOB).await;
        let claimed = world.claim("one").await.unwrap();
        let lines = jobs::MAX_LOG_LINES - 2;
        let cx = crate::Context::new(
            world.registry.clone(),
            tokio_util::sync::CancellationToken::new(),
            id,
            claimed.attempt,
            lines,
        );
        for number in 0..5 {
            cx.log(format!("line {number}")).await;
        }
        assert_eq!(world.log(id).await, ["line 0", "line 1"]);
    });
}
