//! The job queue and the leases.

use std::{collections::BTreeSet, sync::Arc, time::Duration};

use db::{
    Db,
    jobs::{self, End, Heartbeat, Queue, State, Swept},
    leases,
};
use model::{
    Error,
    id::{JobId, PolicyId, RepositoryId},
    job::Job,
};
use tokio::sync::{Barrier, Notify};

use crate::given::assert_kind;

const LEASE: Duration = Duration::from_secs(30);
const COLLECT: Job = Job::Collect {};
const SCRUB: Job = Job::Scrub { requested_by: None };

async fn enqueue(db: &Db, job: &Job) -> JobId {
    transact!(db, [job], |tx| {
        let now = tx.now().await?;
        jobs::enqueue(tx, &job, now, now).await
    })
    .unwrap()
}

async fn claim(db: &Db, node: &'static str) -> Option<jobs::Claimed> {
    transact!(db, |tx| jobs::claim(tx, node, LEASE, &Queue::all()).await).unwrap()
}

async fn state(db: &Db, id: JobId) -> State {
    jobs::get(&mut db.reader().await.unwrap(), id)
        .await
        .unwrap()
        .state
}

#[test]
fn jobs_are_claimed_by_priority_and_each_once() {
    testkit::on_both(async |test| {
        let trim = enqueue(&test.db, &Job::TrimHistory {}).await;
        let collect = enqueue(&test.db, &COLLECT).await;
        assert_eq!(
            enqueue(&test.db, &COLLECT).await,
            collect,
            "one of a kind waits at a time"
        );
        let first = claim(&test.db, "one").await.unwrap();
        assert_eq!(
            (first.id, first.attempt, first.failures, &first.job),
            (collect, 1, 0, &COLLECT)
        );
        assert_eq!(claim(&test.db, "two").await.unwrap().id, trim);
        assert!(claim(&test.db, "two").await.is_none());
        assert!(
            transact!(test.db, |tx| jobs::end(
                tx,
                collect,
                1,
                End::Done,
                Some("{}"),
                None
            )
            .await)
            .unwrap()
        );
        let row = jobs::get(&mut test.db.reader().await.unwrap(), collect)
            .await
            .unwrap();
        assert_eq!(
            (
                row.state.as_str(),
                row.node.as_deref(),
                row.progress.as_deref()
            ),
            ("done", Some("one"), Some("{}"))
        );
        assert!(
            enqueue(&test.db, &COLLECT).await > collect,
            "after its end the next one is another"
        );
        let newest = jobs::list(&mut test.db.reader().await.unwrap(), jobs::NEWEST, 2)
            .await
            .unwrap();
        assert_eq!(
            newest
                .iter()
                .map(|job| job.kind.as_str())
                .collect::<Vec<_>>(),
            ["collect", "collect"]
        );
        let missing = jobs::get(&mut test.db.reader().await.unwrap(), JobId(999)).await;
        assert_kind(missing, |error| matches!(error, Error::NotFound(..)));
    });
}

/// Two connections at once, each with the other's claim not yet committed.
#[test]
fn two_who_claim_at_once_get_different_jobs() {
    testkit::on_postgres(async |test| {
        for job in [&COLLECT, &Job::TrimHistory {}] {
            enqueue(&test.db, job).await;
        }
        let both = Arc::new(Barrier::new(2));
        let claim = async |node: &'static str| {
            transact!(test.db, [both], |tx| {
                let claimed = jobs::claim(tx, node, LEASE, &Queue::all()).await?;
                both.wait().await;
                Ok(claimed.map(|claimed| claimed.id))
            })
            .unwrap()
        };
        let (a, b) = tokio::join!(claim("one"), claim("two"));
        assert_eq!(BTreeSet::from([a.unwrap(), b.unwrap()]).len(), 2);
    });
}

#[test]
fn a_lease_that_ran_out_makes_its_job_available_and_the_old_attempt_powerless() {
    testkit::on_both(async |test| {
        let id = enqueue(&test.db, &COLLECT).await;
        claim(&test.db, "one").await.unwrap();
        assert!(claim(&test.db, "two").await.is_none());
        test.clock.advance(LEASE + Duration::from_secs(1));
        let second = claim(&test.db, "two").await.unwrap();
        assert_eq!((second.id, second.attempt, second.failures), (id, 2, 1));

        let heard = transact!(test.db, |tx| jobs::heartbeat(tx, id, 1, LEASE, Some("old"))
            .await)
        .unwrap();
        assert_eq!(heard, Heartbeat::Lost);
        assert_eq!(
            jobs::listen(&mut test.db.reader().await.unwrap(), id, 1)
                .await
                .unwrap(),
            Heartbeat::Lost
        );
        for written in [
            transact!(test.db, |tx| jobs::end(tx, id, 1, End::Done, None, None)
                .await),
            transact!(test.db, |tx| jobs::retry(tx, id, 1, LEASE, "old").await),
            transact!(test.db, |tx| jobs::give_back(tx, id, 1).await),
            transact!(test.db, |tx| jobs::log(tx, id, 1, &["old"]).await),
        ] {
            assert!(!written.unwrap(), "a stale attempt wrote");
        }
        let row = jobs::get(&mut test.db.reader().await.unwrap(), id)
            .await
            .unwrap();
        assert_eq!(
            (row.state.as_str(), row.attempt, row.progress, row.message),
            ("running", 2, None, None)
        );
        assert_eq!(
            jobs::count_logs(&mut test.db.reader().await.unwrap(), id)
                .await
                .unwrap(),
            0
        );
    });
}

#[test]
fn a_heartbeat_keeps_the_lease() {
    testkit::on_both(async |test| {
        let id = enqueue(&test.db, &COLLECT).await;
        claim(&test.db, "one").await.unwrap();
        for _ in 0..3 {
            test.clock.advance(LEASE / 2);
            let heard = transact!(test.db, |tx| jobs::heartbeat(tx, id, 1, LEASE, Some("7"))
                .await)
            .unwrap();
            assert_eq!(heard, Heartbeat::GoOn);
            assert!(claim(&test.db, "two").await.is_none());
        }
        let row = jobs::get(&mut test.db.reader().await.unwrap(), id)
            .await
            .unwrap();
        assert_eq!(row.progress.as_deref(), Some("7"));
        assert_eq!(
            jobs::listen(&mut test.db.reader().await.unwrap(), id, 1)
                .await
                .unwrap(),
            Heartbeat::GoOn
        );
    });
}

#[test]
fn a_failed_attempt_waits_and_one_given_back_does_not() {
    testkit::on_both(async |test| {
        let id = enqueue(&test.db, &COLLECT).await;
        claim(&test.db, "one").await.unwrap();
        assert!(transact!(test.db, |tx| jobs::give_back(tx, id, 1).await).unwrap());
        let second = claim(&test.db, "one").await.unwrap();
        assert_eq!((second.attempt, second.failures), (2, 0));
        let minute = Duration::from_mins(1);
        assert!(
            transact!(test.db, |tx| jobs::retry(
                tx,
                id,
                2,
                minute,
                "the store is away"
            )
            .await)
            .unwrap()
        );
        assert!(claim(&test.db, "one").await.is_none());
        let due = jobs::next_due(&mut test.db.reader().await.unwrap(), &Queue::all())
            .await
            .unwrap()
            .unwrap();
        let now = test.db.now().await.unwrap();
        assert!(due > now && due <= now.plus(minute), "{due:?} {now:?}");
        test.clock.advance(minute);
        let third = claim(&test.db, "one").await.unwrap();
        assert_eq!((third.attempt, third.failures), (3, 1));
        assert!(
            transact!(test.db, |tx| jobs::end(
                tx,
                id,
                3,
                End::Failed,
                None,
                Some("no")
            )
            .await)
            .unwrap()
        );
        assert_eq!(
            jobs::next_due(&mut test.db.reader().await.unwrap(), &Queue::all())
                .await
                .unwrap(),
            None
        );
    });
}

#[test]
fn a_waiting_job_is_hurried_by_who_asks_and_never_put_off() {
    testkit::on_both(async |test| {
        let asked = Job::Scrub {
            requested_by: Some("admin".to_owned()),
        };
        let tomorrow = Duration::from_hours(24);
        let enqueue_for = async |job: &Job, wait: Duration| {
            transact!(test.db, [job], |tx| {
                let now = tx.now().await?;
                jobs::enqueue(tx, &job, now.plus(wait), now).await
            })
            .unwrap()
        };
        let id = enqueue_for(&SCRUB, tomorrow).await;
        assert!(claim(&test.db, "one").await.is_none());
        assert_eq!(enqueue_for(&asked, Duration::ZERO).await, id);
        assert_eq!(enqueue_for(&SCRUB, tomorrow).await, id);
        enqueue(&test.db, &Job::ExpireUploads {}).await;
        let first = claim(&test.db, "one").await.unwrap();
        assert_eq!(
            (first.id, first.job),
            (id, asked),
            "it is due, still the admin's, and before what was waiting"
        );
    });
}

#[test]
fn a_job_is_stopped_while_it_waits_or_at_its_next_heartbeat() {
    testkit::on_both(async |test| {
        let waiting = enqueue(&test.db, &Job::TrimHistory {}).await;
        transact!(test.db, |tx| jobs::stop(tx, waiting).await).unwrap();
        assert_eq!(state(&test.db, waiting).await, State::Stopped);
        let id = enqueue(&test.db, &COLLECT).await;
        claim(&test.db, "one").await.unwrap();
        transact!(test.db, |tx| jobs::stop(tx, id).await).unwrap();
        let heard = transact!(test.db, |tx| jobs::heartbeat(tx, id, 1, LEASE, None).await).unwrap();
        assert_eq!(heard, Heartbeat::Stop);
        assert_eq!(
            jobs::listen(&mut test.db.reader().await.unwrap(), id, 1)
                .await
                .unwrap(),
            Heartbeat::Stop
        );
        transact!(test.db, |tx| jobs::end(tx, id, 1, End::Stopped, None, None)
            .await)
        .unwrap();
        transact!(test.db, |tx| jobs::stop(tx, id).await).unwrap();
        assert_eq!(state(&test.db, id).await, State::Stopped);
    });
}

#[test]
fn a_job_of_a_newer_version_does_not_stand_in_the_way() {
    testkit::on_both(async |test| {
        const NEWER: &str = "INSERT INTO jobs (kind, payload, state, priority, run_at, created_at)
             VALUES ('fly', '{\"kind\":\"fly\"}', 'ready', 1000, 0, 0)";
        transact!(test.db, |tx| tx.execute(NEWER, &[]).await).unwrap();
        let id = enqueue(&test.db, &COLLECT).await;
        assert_eq!(claim(&test.db, "one").await.unwrap().id, id);
        assert!(claim(&test.db, "one").await.is_none());
        let newest = jobs::list(&mut test.db.reader().await.unwrap(), jobs::NEWEST, 10)
            .await
            .unwrap();
        assert_eq!(
            (newest[1].kind.as_str(), newest[1].state.as_str()),
            ("fly", "ready")
        );
    });
}

#[test]
fn what_was_asked_to_stop_does_not_come_back() {
    testkit::on_both(async |test| {
        let stopping = async |job: &Job| {
            let id = enqueue(&test.db, job).await;
            claim(&test.db, "one").await.unwrap();
            transact!(test.db, |tx| jobs::stop(tx, id).await).unwrap();
            id
        };
        let failed = stopping(&COLLECT).await;
        assert!(transact!(test.db, |tx| jobs::retry(tx, failed, 1, LEASE, "no").await).unwrap());
        let given_back = stopping(&COLLECT).await;
        assert!(transact!(test.db, |tx| jobs::give_back(tx, given_back, 1).await).unwrap());
        let left = stopping(&COLLECT).await;
        test.clock.advance(LEASE * 2);
        assert!(claim(&test.db, "two").await.is_none());
        for id in [failed, given_back, left] {
            let row = jobs::get(&mut test.db.reader().await.unwrap(), id)
                .await
                .unwrap();
            assert_eq!(
                (row.state.as_str(), row.ended_at.is_some()),
                ("stopped", true)
            );
        }
    });
}

#[test]
fn a_lease_of_a_clock_that_was_ahead_is_over() {
    testkit::on_both(async |test| {
        let (year, minute) = (Duration::from_hours(365 * 24), Duration::from_mins(1));
        test.clock.advance(year);
        let id = enqueue(&test.db, &COLLECT).await;
        claim(&test.db, "one").await.unwrap();
        let held = async |who: &'static str| {
            transact!(test.db, |tx| leases::hold(tx, "leader", who, LEASE).await).unwrap()
        };
        let due = async |every: Duration| {
            transact!(test.db, |tx| leases::is_due(tx, "every", every).await).unwrap()
        };
        assert!(held("one").await && due(year).await);
        test.clock.set_back(year);
        assert_eq!(claim(&test.db, "two").await.unwrap().id, id);
        assert!(held("two").await && !held("one").await);
        assert!(due(minute).await && !due(minute).await);
        assert!(claim(&test.db, "three").await.is_none());
    });
}

#[test]
fn logs_are_kept_in_order_cut_and_read_on_from_a_line() {
    testkit::on_both(async |test| {
        let id = enqueue(&test.db, &COLLECT).await;
        claim(&test.db, "one").await.unwrap();
        let long = "ä".repeat(jobs::MAX_LOG_LINE);
        let all = ["first".to_owned(), "second".to_owned(), long];
        assert!(transact!(test.db, [all], |tx| jobs::log(tx, id, 1, &all).await).unwrap());
        let read = async |after: i64, limit: i64| {
            let reader = &mut *test.db.reader().await.unwrap();
            jobs::logs(reader, id, after, limit).await.unwrap()
        };
        let lines = read(0, 10).await;
        assert_eq!(
            (lines[0].text.as_str(), lines[1].text.as_str(), lines.len()),
            ("first", "second", 3)
        );
        assert!(lines[2].text.len() <= jobs::MAX_LOG_LINE);
        let next = read(lines[0].id, 1).await;
        assert_eq!((next[0].id, next.len()), (lines[1].id, 1));
        assert!(read(lines[2].id, 10).await.is_empty());
    });
}

#[test]
fn ended_jobs_go_in_small_steps_with_their_logs() {
    testkit::on_both(async |test| {
        let id = enqueue(&test.db, &COLLECT).await;
        claim(&test.db, "one").await.unwrap();
        let lines: Vec<String> = (0..25).map(|number| number.to_string()).collect();
        transact!(test.db, [lines], |tx| jobs::log(tx, id, 1, &lines).await).unwrap();
        let now = test.db.now().await.unwrap();
        let forget = jobs::Forget {
            all: now.plus(LEASE),
            unasked: now.plus(LEASE),
        };
        let trim =
            async |forget| transact!(test.db, |tx| jobs::trim(tx, forget, 10).await).unwrap();
        let count = async || {
            let reader = &mut *test.db.reader().await.unwrap();
            jobs::count_logs(reader, id).await.unwrap()
        };
        assert!(trim(forget).await.is_over(), "it has not ended");
        transact!(test.db, |tx| jobs::end(tx, id, 1, End::Done, None, None)
            .await)
        .unwrap();
        for left in [15, 5] {
            assert_eq!(trim(forget).await, Swept { jobs: 0, lines: 10 });
            assert_eq!(count().await, left);
        }
        assert_eq!(trim(forget).await, Swept { jobs: 1, lines: 5 });
        assert!(trim(forget).await.is_over());
        assert_eq!(count().await, 0);
    });
}

#[test]
fn what_somebody_asked_for_or_went_wrong_is_kept_longer() {
    testkit::on_both(async |test| {
        let asked = Job::Scrub {
            requested_by: Some("admin".to_owned()),
        };
        for (job, end) in [
            (&SCRUB, End::Done),
            (&SCRUB, End::Failed),
            (&asked, End::Done),
        ] {
            let id = enqueue(&test.db, job).await;
            claim(&test.db, "one").await.unwrap();
            transact!(test.db, |tx| jobs::end(tx, id, 1, end, None, None).await).unwrap();
        }
        let now = test.db.now().await.unwrap();
        let trim = async |all, unasked| {
            let forget = jobs::Forget { all, unasked };
            transact!(test.db, |tx| jobs::trim(tx, forget, 10).await)
                .unwrap()
                .jobs
        };
        assert_eq!(trim(now.minus(LEASE), now.plus(LEASE)).await, 1);
        assert_eq!(trim(now.minus(LEASE), now.plus(LEASE)).await, 0);
        assert_eq!(trim(now.plus(LEASE), now.plus(LEASE)).await, 2);
    });
}

#[test]
fn an_enqueued_job_wakes_the_runner_when_it_is_committed() {
    testkit::on_both(async |test| {
        let refused: Result<(), Error> = transact!(test.db, |tx| {
            let now = tx.now().await?;
            jobs::enqueue(tx, &Job::TrimHistory {}, now, now).await?;
            Err(Error::Denied("no".to_owned()))
        });
        assert!(refused.is_err());
        assert!(claim(&test.db, "one").await.is_none());
        let waiting = test.db.job_waiting().notified();
        enqueue(&test.db, &COLLECT).await;
        tokio::time::timeout(Duration::from_secs(5), waiting)
            .await
            .unwrap();
    });
}

#[test]
fn a_lease_has_one_holder_until_it_ends_or_is_given_back() {
    testkit::on_both(async |test| {
        let hold = async |who: &'static str| {
            transact!(test.db, |tx| leases::hold(tx, "leader", who, LEASE).await).unwrap()
        };
        let (a, b) = tokio::join!(hold("a"), hold("b"));
        assert!(a != b, "one of them");
        let (winner, loser) = if a { ("a", "b") } else { ("b", "a") };
        assert!(hold(winner).await);
        assert!(!hold(loser).await);
        test.clock.advance(LEASE + Duration::from_secs(1));
        assert!(hold(loser).await);
        assert!(!hold(winner).await);
        transact!(test.db, |tx| leases::release(tx, "leader", winner).await).unwrap();
        assert!(!hold(winner).await, "only its holder gives a lease back");
        transact!(test.db, |tx| leases::release(tx, "leader", loser).await).unwrap();
        assert!(hold(winner).await);
    });
}

#[test]
fn what_is_due_every_so_often_is_due_for_one_who_asks() {
    testkit::on_both(async |test| {
        let other = test.node("two").await;
        let ask = async |db: &Db| {
            transact!(db, |tx| leases::is_due(tx, "schedule.collect", LEASE).await).unwrap()
        };
        let (a, b) = tokio::join!(ask(&test.db), ask(&other));
        assert!(a != b);
        assert!(!ask(&test.db).await);
        test.clock.advance(LEASE * 10);
        assert!(ask(&other).await);
        assert!(!ask(&test.db).await, "what was missed is due once");
        other.close().await;
    });
}

/// The last task ends while somebody says that the execution's own part is done, each not yet committed for the other.
#[test]
fn an_execution_ends_when_its_last_task_ends_in_the_same_moment_as_its_own_part() {
    testkit::on_postgres(async |test| {
        for task_first in [false, true] {
            let parent = enqueue(
                &test.db,
                &Job::Retention {
                    policy: PolicyId(1),
                    dry_run: task_first,
                },
            )
            .await;
            let own = claim(&test.db, "one").await.unwrap();
            assert_eq!(own.id, parent);
            let task = Job::Retain {
                policy: PolicyId(1),
                repository: RepositoryId(1),
                dry_run: true,
            };
            transact!(test.db, [task], |tx| {
                let now = tx.now().await?;
                let new = jobs::New {
                    task_of: Some((parent, "app")),
                    ..jobs::New::of(&task, now)
                };
                jobs::enqueue_new(tx, &new, now).await
            })
            .unwrap();
            let task = claim(&test.db, "two").await.unwrap();
            let (begun, seen) = (Arc::new(Notify::new()), Arc::new(Notify::new()));
            let split = async {
                transact!(test.db, [begun, seen], |tx| {
                    if task_first {
                        seen.notified().await;
                    }
                    jobs::split(tx, parent, own.attempt, None, None).await?;
                    begun.notify_one();
                    if !task_first {
                        tokio::time::timeout(Duration::from_millis(300), seen.notified())
                            .await
                            .ok();
                    }
                    Ok(())
                })
                .unwrap();
            };
            let end = async {
                transact!(test.db, [begun, seen, task], |tx| {
                    if !task_first {
                        begun.notified().await;
                    }
                    let ended = jobs::end(tx, task.id, task.attempt, End::Done, None, None).await?;
                    seen.notify_one();
                    if task_first {
                        tokio::time::timeout(Duration::from_millis(300), begun.notified())
                            .await
                            .ok();
                    }
                    Ok(ended)
                })
                .unwrap();
            };
            tokio::join!(split, end);
            assert_eq!(state(&test.db, parent).await, State::Done, "{task_first}");
        }
    });
}

#[test]
fn what_another_node_enqueues_is_heard_at_once() {
    testkit::on_postgres(async |test| {
        let other = test.node("two").await;
        let hear = async {
            tokio::select! {
                () = other.hear_jobs() => {}
                () = async {
                    while !other.hears_all_jobs() {
                        tokio::task::yield_now().await;
                    }
                    // Its own first word.
                    other.job_waiting().notified().await;
                    let waiting = other.job_waiting().notified();
                    enqueue(&test.db, &COLLECT).await;
                    waiting.await;
                } => {}
            }
        };
        let heard = tokio::time::timeout(Duration::from_secs(20), hear).await;
        assert!(heard.is_ok());
        other.close().await;
    });
}
