use db::{counters::Counter, recount};
use model::job::Job;

use crate::{Outcome, world::each};

#[test]
fn totals_that_are_wrong_are_put_right_and_told() {
    each(async |world| {
        let library = world.library().await;
        world
            .write(move |tx| {
                Box::pin(async move {
                    tx.count(Counter::ProjectBytes(library), 5);
                    tx.count(Counter::ProjectArtifacts(library), -2);
                    Ok(())
                })
            })
            .await;
        let (id, outcome) = world.run(Job::Recount {}).await;
        let done =
            |put_right| Outcome::Done(format!("projects counted: 1, put right: {put_right}"));
        assert_eq!(outcome.unwrap(), done(1));
        assert_eq!(
            world.log(id).await,
            [
                "library: -5 bytes, +0 repositories, +2 artifacts, +0 rows of the audit; 0 links, 0 contents and the totals of 0 repositories were wrong"
            ]
        );
        let mut reader = world.database.db.reader().await.unwrap();
        assert!(
            recount::find(&mut reader, library)
                .await
                .unwrap()
                .is_exact()
        );
        drop(reader);
        let (_, outcome) = world.run(Job::Recount {}).await;
        assert_eq!(outcome.unwrap(), done(0));
    });
}
