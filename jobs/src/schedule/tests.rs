use std::time::Duration;

use db::{
    blobs,
    jobs::{self, End, queues},
    schedules,
};
use model::{
    cron::Cron,
    job::{Gc, Job},
};
use oci::digest::Algorithm;

use super::{Intervals, Schedule};
use crate::world::{LEASE, World, each};

/// What is due on a fresh database.
const ALL: [&str; 7] = [
    "scrub",
    "expire-uploads",
    "trim-history",
    "fold-activity",
    "recount",
    "fsck",
    "measure-space",
];
const HOUR: Duration = Duration::from_hours(1);
const SECOND: Duration = Duration::from_secs(1);

fn schedule(registry: &registry::Registry) -> Schedule {
    Schedule::new(registry.clone(), Intervals::default(), LEASE)
}

/// Ends whatever waits, as runners would.
async fn drain(world: &World<'_>) -> usize {
    let mut count = 0;
    while let Some(claimed) = world.claim("one").await {
        world
            .write(move |tx| {
                Box::pin(async move {
                    jobs::end(tx, claimed.id, claimed.attempt, End::Done, None, None).await
                })
            })
            .await;
        count += 1;
    }
    count
}

#[test]
fn each_is_due_after_its_interval_and_missed_ones_are_due_once() {
    each(async |world| {
        let schedule = schedule(&world.registry);
        assert_eq!(schedule.look().await.unwrap(), ALL);
        assert_eq!(drain(world).await, ALL.len());
        assert!(schedule.look().await.unwrap().is_empty());
        world.advance(Duration::from_secs(601));
        assert_eq!(schedule.look().await.unwrap(), ["expire-uploads"]);
        world.advance(HOUR);
        assert_eq!(schedule.look().await.unwrap(), ["scrub", "expire-uploads"]);
        drain(world).await;
        // Nobody ran for a week.
        world.advance(HOUR * 24 * 7);
        assert_eq!(schedule.look().await.unwrap(), ALL);
        assert_eq!(drain(world).await, ALL.len());
        assert!(schedule.look().await.unwrap().is_empty());
    });
}

#[test]
fn what_has_no_interval_is_never_due() {
    each(async |world| {
        let intervals = Intervals {
            scrub: None,
            ..Intervals::default()
        };
        let schedule = Schedule::new(world.registry.clone(), intervals, LEASE);
        for _ in 0..2 {
            assert_eq!(schedule.look().await.unwrap(), ALL[1..]);
            drain(world).await;
            world.advance(HOUR * 24 * 8);
        }
    });
}

#[test]
fn a_collection_is_due_when_there_is_something_to_collect() {
    each(async |world| {
        let schedule = schedule(&world.registry);
        schedule.look().await.unwrap();
        drain(world).await;
        let digest = blob::digest_of(Algorithm::Sha256, b"unheld");
        let made = world.write(move |tx| {
            Box::pin(async move {
                let now = tx.now().await?;
                let id = blobs::insert(tx, &digest, 0, 6, "data", now)
                    .await?
                    .expect("a new row");
                blobs::condemn_if_unheld(tx, id, now).await
            })
        });
        assert!(made.await);
        assert_eq!(schedule.look().await.unwrap(), ["collect"]);
        assert!(
            schedule.look().await.unwrap().is_empty(),
            "not again before its interval"
        );
        world.advance(SECOND * 61);
        drain(world).await;
        assert_eq!(schedule.look().await.unwrap(), ["collect"]);
    });
}

#[test]
fn a_job_that_still_waits_is_not_enqueued_beside_itself() {
    each(async |world| {
        let schedule = schedule(&world.registry);
        schedule.look().await.unwrap();
        world.advance(HOUR * 48);
        schedule.look().await.unwrap();
        assert_eq!(drain(world).await, ALL.len());
    });
}

#[test]
fn of_two_nodes_one_enqueues_and_the_other_when_it_is_gone() {
    each(async |world| {
        let other = world.node("two").await;
        let (first, second) = (schedule(&world.registry), schedule(&other));
        let (a, b) = tokio::join!(first.look(), second.look());
        assert_eq!(a.unwrap().len() + b.unwrap().len(), ALL.len());
        assert_eq!(drain(world).await, ALL.len());
        world.advance(HOUR + LEASE);
        assert_eq!(second.look().await.unwrap(), ["scrub", "expire-uploads"]);
        assert!(first.look().await.unwrap().is_empty());
    });
}

/// A collection each night, as somebody chose it.
async fn each_night(world: &World<'_>) {
    world
        .write(|tx| {
            Box::pin(async move {
                let now = tx.now().await?;
                let new = schedules::New {
                    cron: Cron::parse("0 0 0 * * *")?,
                    cron_kind: "Daily".to_owned(),
                    job: Job::Gc(Gc::default()),
                    params: serde_json::json!({}),
                };
                schedules::set(tx, &new, now).await
            })
        })
        .await;
}

#[test]
fn what_somebody_chose_is_due_at_its_time_and_missed_ones_once() {
    each(async |world| {
        let schedule = schedule(&world.registry);
        schedule.look().await.unwrap();
        drain(world).await;
        each_night(world).await;
        assert!(schedule.look().await.unwrap().is_empty());
        assert!(schedule.until_next().await.unwrap() <= super::TICK);
        let gc = |kinds: Vec<&'static str>| kinds.into_iter().filter(|kind| *kind == "gc").count();
        world.advance(HOUR * 24);
        assert_eq!(gc(schedule.look().await.unwrap()), 1);
        assert_eq!(gc(schedule.look().await.unwrap()), 0);
        // The one of the night before still goes on.
        world.advance(HOUR * 24);
        assert_eq!(gc(schedule.look().await.unwrap()), 0);
        drain(world).await;
        // Nobody ran for a week.
        world.advance(HOUR * 24 * 7);
        assert_eq!(gc(schedule.look().await.unwrap()), 1);
        assert_eq!(gc(schedule.look().await.unwrap()), 0);
    });
}

#[test]
fn of_two_nodes_one_enqueues_what_somebody_chose() {
    each(async |world| {
        let other = world.node("two").await;
        each_night(world).await;
        world.advance(HOUR * 25);
        let due = {
            let mut reader = world.database.db.reader().await.unwrap();
            let now = world.database.db.now().await.unwrap();
            schedules::due(&mut reader, now, 10).await.unwrap()
        };
        let begin = async |db: &db::Db| {
            let row = due[0].clone();
            let begun = db.write(move |tx| {
                let row = row.clone();
                Box::pin(async move { super::begin(tx, &row).await })
            });
            begun.await.unwrap()
        };
        // Both believe that they lead.
        let (a, b) = tokio::join!(begin(world.registry.db()), begin(other.db()));
        assert_eq!(
            u8::from(a.is_some()) + u8::from(b.is_some()),
            1,
            "{a:?} {b:?}"
        );
    });
}

#[test]
fn while_schedules_are_paused_nothing_of_them_begins() {
    each(async |world| {
        let schedule = schedule(&world.registry);
        schedule.look().await.unwrap();
        drain(world).await;
        each_night(world).await;
        world
            .write(|tx| {
                Box::pin(async move {
                    let now = tx.now().await?;
                    queues::pause(tx, queues::SCHEDULER, now).await
                })
            })
            .await;
        world.advance(HOUR * 25);
        assert!(!schedule.look().await.unwrap().contains(&"gc"));
        world
            .write(|tx| Box::pin(async move { queues::resume(tx, queues::SCHEDULER).await }))
            .await;
        assert_eq!(schedule.look().await.unwrap(), ["gc"]);
    });
}
