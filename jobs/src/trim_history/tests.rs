use std::time::Duration;

use db::{changes, jobs};
use model::{Error, change::Kind, job::Job};

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
