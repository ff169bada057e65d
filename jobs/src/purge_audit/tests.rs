use std::time::Duration;

use db::audit;
use model::{
    audit::Event,
    job::{Job, PurgeAudit},
};

use crate::{Outcome, world::each};

const HOUR: Duration = Duration::from_hours(1);

fn purge(keep_hours: i64, events: &[&str], dry_run: bool) -> Job {
    Job::PurgeAudit(PurgeAudit {
        keep_hours,
        events: events.iter().map(|event| (*event).to_owned()).collect(),
        dry_run,
    })
}

#[test]
fn old_rows_of_the_named_events_go_and_no_others() {
    each(async |world| {
        let tell = |event: Event| {
            world.write(move |tx| {
                Box::pin(async move {
                    let row = audit::New {
                        at: tx.now().await?,
                        project: None,
                        actor: "admin".to_owned(),
                        address: None,
                        event,
                        resource: "library/app:v1".to_owned(),
                        description: None,
                        succeeded: true,
                    };
                    audit::append_all(tx, &vec![row; 700]).await
                })
            })
        };
        tell(Event::PullArtifact).await;
        tell(Event::CreateArtifact).await;
        world.advance(HOUR * 25);
        tell(Event::PullArtifact).await;
        let run = async |job: Job| match world.run(job).await.1.unwrap() {
            Outcome::Done(told) => told,
            other => panic!("{other:?}"),
        };
        for nothing in [purge(0, &["pull_artifact"], false), purge(24, &[], false)] {
            assert!(run(nothing).await.starts_with("nothing to drop"));
        }
        let dry = run(purge(24, &["pull_artifact"], true)).await;
        assert!(
            dry.starts_with("700 rows") && dry.ends_with("would be dropped"),
            "{dry}"
        );
        let done = run(purge(24, &["pull_artifact"], false)).await;
        assert!(
            done.starts_with("700 rows") && done.ends_with(" dropped"),
            "{done}"
        );
        assert!(
            run(purge(24, &["pull_artifact", "unknown"], false))
                .await
                .starts_with("0 rows")
        );
        assert!(
            run(purge(24, &["create_artifact"], false))
                .await
                .starts_with("700 rows")
        );
    });
}
