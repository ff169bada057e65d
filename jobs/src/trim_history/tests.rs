use std::time::Duration;

use db::{
    activity::{self, Counts, Of, Place, Span},
    changes, jobs,
};
use model::{
    Error,
    change::Kind,
    id::{ProjectId, RepositoryId},
    job::Job,
};

use crate::{Outcome, world::each};

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
            .run(Job::Collect {
                requested_by: Some("admin".to_owned()),
            })
            .await;
        world.advance(DAY * 8);
        change(2).await;
        let (_, outcome) = world.run(Job::TrimHistory {}).await;
        assert_eq!(
            outcome.unwrap(),
            Outcome::Done(
                "450 changes and 1 ended jobs dropped, 0 hours of activity folded".to_owned()
            )
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
            Outcome::Done(
                "2 changes and 2 ended jobs dropped, 0 hours of activity folded".to_owned()
            )
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
        world.run(Job::TrimHistory {}).await.1.unwrap();
        assert_eq!((points(Span::Hour).await, points(Span::Day).await), (1, 2));
        world.advance(DAY * 386);
        world.run(Job::TrimHistory {}).await.1.unwrap();
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
