use std::{sync::Arc, time::Duration};

use db::jobs::{self, executions, queues};
use model::{
    id::{PolicyId, RepositoryId},
    job::{Gc, Job},
    listing::Listing,
};
use tokio::{
    sync::{
        Notify,
        mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel},
    },
    time::Instant,
};

use super::{Config, Work};
use crate::{
    Context, Outcome,
    world::{LEASE, each, impatient, on_postgres, start, work},
};

const JOB: Job = Job::TrimHistory {};

#[derive(Debug, PartialEq, Eq)]
enum Saw {
    Started(&'static str),
    Cancelled,
}

/// Work that runs until it is cancelled, and tells.
fn endless() -> (Work, UnboundedReceiver<Saw>) {
    let (sender, receiver) = unbounded_channel();
    (
        work(move |cx, job| {
            Box::pin(until_cancelled(
                cx.clone(),
                job.kind().as_str(),
                sender.clone(),
            ))
        }),
        receiver,
    )
}

async fn until_cancelled(
    cx: Context,
    kind: &'static str,
    tell: UnboundedSender<Saw>,
) -> model::Result<Outcome> {
    tell.send(Saw::Started(kind)).unwrap();
    cx.cancel.cancelled().await;
    tell.send(Saw::Cancelled).unwrap();
    Ok(Outcome::Interrupted)
}

/// Work that is done at once, and tells.
fn quick() -> (Work, UnboundedReceiver<Saw>) {
    let (sender, receiver) = unbounded_channel();
    let work = work(move |_, job| {
        sender.send(Saw::Started(job.kind().as_str())).unwrap();
        Box::pin(async { Ok(Outcome::Done(String::new())) })
    });
    (work, receiver)
}

#[test]
fn what_is_enqueued_runs_at_once() {
    each(async |world| {
        let (work, mut saw) = quick();
        let running = world.start(work);
        let id = world.enqueue(JOB).await;
        assert_eq!(saw.recv().await, Some(Saw::Started("trim-history")));
        running.stop().await;
        let row = world.row(id).await;
        assert_eq!(
            (row.state.as_str(), row.node.as_deref()),
            ("done", Some("one"))
        );
    });
}

#[test]
fn what_somebody_waits_for_runs_first() {
    each(async |world| {
        world.enqueue(JOB).await;
        world.enqueue(Job::ExpireUploads {}).await;
        world.enqueue(Job::Gc(Gc::default())).await;
        let (work, mut saw) = quick();
        let running = start(
            world.registry.clone(),
            Config {
                workers: 1,
                ..Config::default()
            },
            work,
        );
        for kind in ["gc", "expire-uploads", "trim-history"] {
            assert_eq!(saw.recv().await, Some(Saw::Started(kind)));
        }
        running.stop().await;
    });
}

#[test]
fn a_running_job_hears_that_it_should_stop() {
    each(async |world| {
        let (work, mut saw) = endless();
        let running = world.start(work);
        let id = world.enqueue(JOB).await;
        assert_eq!(saw.recv().await, Some(Saw::Started("trim-history")));
        let asked = Instant::now();
        world.write(move |tx| Box::pin(jobs::stop(tx, id))).await;
        assert_eq!(saw.recv().await, Some(Saw::Cancelled));
        assert!(
            asked.elapsed() < Duration::from_secs(2),
            "{:?}",
            asked.elapsed()
        );
        running.stop().await;
        assert_eq!(world.row(id).await.state.as_str(), "stopped");
    });
}

#[test]
fn a_job_on_another_node_hears_it_within_two_seconds() {
    each(async |world| {
        let (work, mut saw) = endless();
        let other = world.node("two").await;
        let id = world.enqueue(JOB).await;
        let running = start(other, Config::default(), work);
        assert_eq!(saw.recv().await, Some(Saw::Started("trim-history")));
        let asked = Instant::now();
        world.write(move |tx| Box::pin(jobs::stop(tx, id))).await;
        assert_eq!(saw.recv().await, Some(Saw::Cancelled));
        assert!(
            asked.elapsed() < Duration::from_secs(2),
            "{:?}",
            asked.elapsed()
        );
        running.stop().await;
        assert_eq!(world.row(id).await.state.as_str(), "stopped");
    });
}

#[test]
fn a_job_that_ignores_its_token_is_dropped_where_it_stands() {
    each(async |world| {
        let (sender, mut saw) = unbounded_channel();
        let deaf = work(move |_, _| {
            sender.send(()).unwrap();
            Box::pin(std::future::pending())
        });
        let running = start(world.registry.clone(), impatient(), deaf);
        let id = world.enqueue(JOB).await;
        saw.recv().await.unwrap();
        running.stop().await;
        assert_eq!(world.row(id).await.state.as_str(), "ready");
    });
}

#[test]
fn a_stopping_node_gives_its_jobs_back_at_once() {
    each(async |world| {
        let (work, mut saw) = endless();
        let running = world.start(work);
        let id = world.enqueue(JOB).await;
        assert_eq!(saw.recv().await, Some(Saw::Started("trim-history")));
        running.stop().await;
        assert_eq!(saw.recv().await, Some(Saw::Cancelled));
        let claimed = world.claim("two").await.unwrap();
        assert_eq!(
            (claimed.id, claimed.failures),
            (id, 0),
            "that was no failure"
        );
    });
}

#[test]
fn a_node_stops_at_once_also_while_its_database_hangs() {
    const WAITING: &str = "SELECT COUNT(*) FROM pg_stat_activity
          WHERE datname = current_database() AND wait_event_type = 'Lock'";
    on_postgres(async |world| {
        let (work, mut saw) = endless();
        let listening = Config {
            listen: Duration::from_millis(10),
            ..impatient()
        };
        let running = start(world.registry.clone(), listening, work);
        world.enqueue(JOB).await;
        assert_eq!(saw.recv().await, Some(Saw::Started("trim-history")));
        let other = world.node("two").await;
        let (locked, stopped) = (Arc::new(Notify::new()), Arc::new(Notify::new()));
        let (has_locked, has_stopped) = (locked.clone(), stopped.clone());
        let hang = other.db().write(move |tx| {
            let (locked, stopped) = (has_locked.clone(), has_stopped.clone());
            Box::pin(async move {
                tx.execute("LOCK TABLE jobs IN ACCESS EXCLUSIVE MODE", &[])
                    .await?;
                locked.notify_one();
                stopped.notified().await;
                Ok(())
            })
        });
        let stop = async {
            locked.notified().await;
            world.database.db.job_waiting().notify_one();
            // The runner that wants to claim, and the job that wants to hear.
            let mut waiting = Some(0);
            while waiting < Some(2) {
                tokio::task::yield_now().await;
                let mut reader = other.db().reader().await.unwrap();
                waiting = reader.row(WAITING, &[], |row| row.int(0)).await.unwrap();
            }
            let asked = Instant::now();
            running.stop().await;
            assert!(asked.elapsed() < LEASE / 6, "{:?}", asked.elapsed());
            assert_eq!(saw.recv().await, Some(Saw::Cancelled));
            stopped.notify_one();
        };
        let (hung, ()) = tokio::join!(hang, stop);
        hung.unwrap();
    });
}

#[test]
fn a_runner_whose_job_was_taken_over_stops_and_writes_nothing() {
    each(async |world| {
        let (work, mut saw) = endless();
        // With a slot to spare it might take the job over from itself.
        let running = start(
            world.registry.clone(),
            Config {
                workers: 1,
                ..Config::default()
            },
            work,
        );
        let id = world.enqueue(JOB).await;
        assert_eq!(saw.recv().await, Some(Saw::Started("trim-history")));
        // As if this node had stood still for longer than its lease.
        world.advance(LEASE + LEASE);
        assert_eq!(world.claim("two").await.unwrap().attempt, 2);
        world.database.db.job_waiting().notify_one();
        assert_eq!(saw.recv().await, Some(Saw::Cancelled));
        running.stop().await;
        let row = world.row(id).await;
        assert_eq!(
            (row.state.as_str(), row.node.as_deref(), row.attempt),
            ("running", Some("two"), 2)
        );
    });
}

#[test]
fn a_runner_that_cannot_renew_its_lease_stops_before_it_ends() {
    each(async |world| {
        let node = world.node("two").await;
        let (work, mut saw) = endless();
        let lease = Duration::from_secs(3);
        let id = world.enqueue(JOB).await;
        let begin = Instant::now();
        let running = start(
            node.clone(),
            Config {
                lease,
                ..Config::default()
            },
            work,
        );
        assert_eq!(saw.recv().await, Some(Saw::Started("trim-history")));
        node.db().close().await;
        assert_eq!(saw.recv().await, Some(Saw::Cancelled));
        assert!(begin.elapsed() < lease, "{:?}", begin.elapsed());
        running.stop().await;
        assert_eq!(
            world.row(id).await.state.as_str(),
            "running",
            "nobody could say otherwise; the lease ends by itself"
        );
        world.advance(lease + lease);
        assert_eq!(world.claim("one").await.unwrap().attempt, 2);
    });
}

/// Thousands of jobs that nobody waits for, and one that somebody does.
#[test]
fn what_somebody_waits_for_begins_within_a_second_whatever_waits_before_it() {
    const BULK: i64 = 10_000;
    each(async |world| {
        world
            .write(|tx| {
                Box::pin(async move {
                    let now = tx.now().await?;
                    for number in 0..BULK {
                        let job = Job::Retain {
                            policy: PolicyId(1),
                            repository: RepositoryId(number),
                            dry_run: false,
                        };
                        jobs::enqueue(tx, &job, now, now).await?;
                    }
                    Ok(())
                })
            })
            .await;
        // Each takes as long as it is left.
        let (work, mut saw) = endless();
        let running = world.start(work);
        for _ in 0..5 {
            assert_eq!(saw.recv().await, Some(Saw::Started("retain")));
        }
        let asked = Instant::now();
        world.enqueue(Job::Gc(Gc::default())).await;
        assert_eq!(saw.recv().await, Some(Saw::Started("gc")));
        let took = asked.elapsed();
        assert!(took < Duration::from_secs(1), "{took:?}");
        running.stop().await;
    });
}

#[test]
fn what_is_paused_waits_and_what_else_there_is_goes_on() {
    each(async |world| {
        let pause = |name: &'static str| {
            world.write(move |tx| {
                Box::pin(async move {
                    let now = tx.now().await?;
                    queues::pause(tx, name, now).await
                })
            })
        };
        pause("gc").await;
        let (work, mut saw) = quick();
        let running = world.start(work);
        world.enqueue(Job::Gc(Gc::default())).await;
        world.enqueue(JOB).await;
        assert_eq!(saw.recv().await, Some(Saw::Started("trim-history")));
        world
            .write(|tx| Box::pin(async move { queues::resume(tx, "gc").await }))
            .await;
        assert_eq!(saw.recv().await, Some(Saw::Started("gc")));
        running.stop().await;
    });
}

#[test]
fn an_execution_ends_with_the_last_of_its_tasks() {
    each(async |world| {
        let parent = world
            .enqueue(Job::Retention {
                policy: PolicyId(1),
                dry_run: true,
            })
            .await;
        let split = work(|cx, job| {
            let (cx, job) = (cx.clone(), job.clone());
            Box::pin(async move {
                let (Job::Retention { .. }, id) = (&job, cx.id) else {
                    return Ok(Outcome::Done(String::new()));
                };
                cx.db()
                    .write(move |tx| {
                        Box::pin(async move {
                            let now = tx.now().await?;
                            for number in 0..20 {
                                let job = Job::Retain {
                                    policy: PolicyId(1),
                                    repository: RepositoryId(number),
                                    dry_run: true,
                                };
                                let task = jobs::New {
                                    task_of: Some((id, "app")),
                                    ..jobs::New::of(&job, now)
                                };
                                jobs::enqueue_new(tx, &task, now).await?;
                            }
                            Ok(())
                        })
                    })
                    .await?;
                Ok(Outcome::Split("20 tasks".to_owned()))
            })
        });
        let running = world.start(split);
        let start = Instant::now();
        while world.row(parent).await.ended_at.is_none() {
            assert!(start.elapsed() < Duration::from_mins(1));
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        running.stop().await;
        let row = world.row(parent).await;
        assert_eq!(row.state.as_str(), "done");
        let tasks = executions::TASKS
            .select(&Listing::default(), executions::tasks_of(parent))
            .unwrap();
        let mut reader = world.database.db.reader().await.unwrap();
        let tasks = tasks.page(&mut reader, 0, 100).await.unwrap();
        assert_eq!(tasks.len(), 20);
        assert!(
            tasks
                .iter()
                .all(|task| task.state.as_str() == "done" && task.ended_at <= row.ended_at)
        );
    });
}
