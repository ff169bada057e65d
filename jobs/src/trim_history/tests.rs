use std::time::Duration;

use db::{
    activity::{self, Counts, Of, Place, Span},
    audit, changes, cursors,
    jobs::{self, executions},
    settings,
};
use model::{
    Error,
    audit::Event,
    change::Kind,
    id::{PolicyId, ProjectId, RepositoryId},
    job::{Job, Kind as JobKind, Trigger},
    listing::Listing,
    settings::Changes,
};

use crate::{
    Outcome,
    world::{audit_until, each},
};

const DAY: Duration = Duration::from_hours(24);

#[test]
fn old_changes_and_jobs_go_and_young_ones_stay() {
    each(async |world| {
        let change = |count: usize| {
            world.write(move |tx| {
                Box::pin(async move {
                    let now = tx.now().await?;
                    for _ in 0..count {
                        changes::append(
                            tx,
                            Kind::SettingChanged,
                            "key",
                            None,
                            &serde_json::Value::Null,
                            now,
                        )
                        .await?;
                    }
                    Ok(())
                })
            })
        };
        change(450).await;
        let (old, _) = world.run(Job::ExpireUploads {}).await;
        let (asked, _) = world
            .run(Job::Scrub {
                requested_by: Some("admin".to_owned()),
            })
            .await;
        world.advance(DAY * 8);
        change(2).await;
        let (_, outcome) = world.run(Job::TrimHistory {}).await;
        assert_eq!(
            outcome.unwrap(),
            Outcome::Done("450 changes and 1 ended jobs dropped".to_owned())
        );
        let left = changes::list(&mut world.database.db.reader().await.unwrap(), None, 1000)
            .await
            .unwrap();
        assert_eq!(left.len(), 2);
        let gone = jobs::get(&mut world.database.db.reader().await.unwrap(), old).await;
        assert!(matches!(gone, Err(Error::NotFound(..))), "{gone:?}");
        world.row(asked).await;
        world.advance(DAY * 30);
        let (_, outcome) = world.run(Job::TrimHistory {}).await;
        assert_eq!(
            outcome.unwrap(),
            Outcome::Done("2 changes and 2 ended jobs dropped".to_owned())
        );
        let gone = jobs::get(&mut world.database.db.reader().await.unwrap(), asked).await;
        assert!(matches!(gone, Err(Error::NotFound(..))), "{gone:?}");
    });
}

#[test]
fn what_went_on_is_kept_by_the_hour_then_by_the_day() {
    each(async |world| {
        let count = || {
            world.write(|tx| {
                Box::pin(async move {
                    let (now, place) = (tx.now().await?, place());
                    let counts = Counts {
                        pulls: 1,
                        ..Counts::default()
                    };
                    activity::add(tx, &[(place, counts)], now).await
                })
            })
        };
        let points = async |span| {
            let mut reader = world.database.db.reader().await.unwrap();
            let series = activity::series(&mut reader, Of::System, span, 0, i64::MAX);
            series.await.unwrap().len()
        };
        count().await;
        world.advance(DAY * 2);
        count().await;
        world.advance(DAY * 13);
        world.run(Job::FoldActivity {}).await.1.unwrap();
        assert_eq!((points(Span::Hour).await, points(Span::Day).await), (1, 2));
        world.advance(DAY * 386);
        world.run(Job::FoldActivity {}).await.1.unwrap();
        assert_eq!((points(Span::Hour).await, points(Span::Day).await), (0, 1));
    });
}

fn place() -> Place {
    Place {
        repository: RepositoryId(1),
        project: ProjectId(1),
        name: "library/app".to_owned(),
    }
}

/// Rows of the audit that are old, and then one that is young.
async fn tell(world: &crate::world::World<'_>, count: usize) {
    world
        .write(move |tx| {
            Box::pin(async move {
                let now = tx.now().await?;
                let one = audit::New {
                    at: now,
                    project: None,
                    actor: "alice".to_owned(),
                    address: None,
                    event: Event::LoginUser,
                    resource: "alice".to_owned(),
                    description: None,
                    succeeded: true,
                };
                audit::append_all(tx, &vec![one; count]).await
            })
        })
        .await;
}

/// Waits until there are so many rows of people who signed in.
async fn told(world: &crate::world::World<'_>, count: usize) -> Vec<audit::Entry> {
    let sign_ins = |rows: &[audit::Entry]| rows.iter().filter(|row| row.actor == "alice").count();
    audit_until(&world.database.db, |rows| sign_ins(rows) == count).await
}

#[test]
fn the_audit_stays_for_ever_unless_it_is_said_for_how_long() {
    each(async |world| {
        tell(world, 450).await;
        world.advance(DAY * 365);
        tell(world, 1).await;
        told(world, 451).await;
        world.run(Job::TrimHistory {}).await.1.unwrap();
        told(world, 451).await;
        let (_, outcome) = world.run_keeping(Job::TrimHistory {}, DAY * 90).await;
        assert!(matches!(outcome.unwrap(), Outcome::Done(_)));
        told(world, 1).await;
    });
}

#[test]
fn what_a_collector_has_not_got_stays() {
    each(async |world| {
        tell(world, 300).await;
        world
            .write(|tx| {
                Box::pin(async move {
                    let now = tx.now().await?;
                    let endpoint =
                        Changes::from([("audit_log_forward_endpoint", "h:1".to_owned())]);
                    settings::set_all(tx, &endpoint, now).await
                })
            })
            .await;
        let all = told(world, 300).await;
        world.advance(DAY * 365);
        world.run_keeping(Job::TrimHistory {}, DAY).await.1.unwrap();
        // Nobody has begun to read.
        told(world, 300).await;
        let read = all[99].cursor;
        world
            .write(move |tx| {
                Box::pin(async move {
                    let now = tx.now().await?;
                    cursors::set(tx, crate::forward::NAME, read, now).await
                })
            })
            .await;
        world.run_keeping(Job::TrimHistory {}, DAY).await.1.unwrap();
        let gone = all[..100].iter().filter(|row| row.actor == "alice").count();
        told(world, 300 - gone).await;
    });
}

#[test]
fn of_executions_the_newest_fifty_of_each_policy_stay_with_their_tasks() {
    each(async |world| {
        world
            .write(|tx| {
                Box::pin(async move {
                    let now = tx.now().await?;
                    for policy in [1, 2] {
                        for number in 0..(if policy == 1 { 53 } else { 3 }) {
                            let job = Job::Retention {
                                policy: PolicyId(policy),
                                dry_run: true,
                            };
                            let new = jobs::New::begun_by(Trigger::Manual, &job, now);
                            let id = jobs::enqueue_new(tx, &new, now).await?;
                            let task = Job::Retain {
                                policy: PolicyId(policy),
                                repository: RepositoryId(number),
                                dry_run: true,
                            };
                            let task = jobs::New {
                                task_of: Some((id, "app")),
                                ..jobs::New::of(&task, now)
                            };
                            jobs::enqueue_new(tx, &task, now).await?;
                            jobs::stop(tx, id).await?;
                        }
                    }
                    Ok(())
                })
            })
            .await;
        let (_, outcome) = world.run(Job::TrimHistory {}).await;
        assert_eq!(
            outcome.unwrap(),
            Outcome::Done("0 changes and 6 ended jobs dropped".to_owned())
        );
        let mut reader = world.database.db.reader().await.unwrap();
        for (policy, left) in [(1, 50), (2, 3)] {
            let within = executions::of(JobKind::Retention, policy);
            let all = executions::EXECUTIONS.select(&Listing::default(), within);
            let all = all.unwrap().total(&mut reader, None).await.unwrap();
            assert_eq!(all, left);
        }
    });
}
