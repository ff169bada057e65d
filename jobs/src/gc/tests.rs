use std::time::Duration;

use model::job::{Gc, Job};

use crate::{
    Outcome,
    world::{World, each},
};

/// Two images of which one has lost its tag.
async fn library(world: &World<'_>) -> (String, String) {
    world.library().await;
    let kept = world.push("library/app", "v1", b"one").await;
    let gone = world.push("library/app", "v2", b"two").await;
    let (name, tag) = ("library/app".parse().unwrap(), "v2".parse().unwrap());
    world.registry.delete_tag(&name, &tag).await.unwrap();
    world.advance(Duration::from_secs(1));
    (kept.to_string(), gone.to_string())
}

fn asked(gc: &Gc) -> Job {
    Job::Gc(Gc {
        requested_by: Some("admin".to_owned()),
        ..gc.clone()
    })
}

#[test]
fn what_has_no_tag_goes_when_it_is_wanted_and_the_log_names_it() {
    each(async |world| {
        let (kept, gone) = library(world).await;
        let (_, outcome) = world.run(asked(&Gc::default())).await;
        let nothing =
            "0 manifests without a tag deleted, 0 links ended, 0 contents with 0 bytes freed";
        assert_eq!(outcome.unwrap(), Outcome::Done(nothing.to_owned()));
        let wanted = Gc {
            delete_untagged: true,
            ..Gc::default()
        };
        let (id, outcome) = world.run(asked(&wanted)).await;
        let Outcome::Done(told) = outcome.unwrap() else {
            panic!("not done");
        };
        // Its manifest and its layer; the config is that of the other.
        assert!(
            told.starts_with("1 manifests without a tag deleted, 2 links ended, 2 contents"),
            "{told}"
        );
        let log = world.log(id).await;
        assert_eq!(log[0], "asked for by admin");
        assert_eq!(log[1], format!("deleted library/app@{gone}: it has no tag"));
        assert_eq!(
            log.iter().filter(|line| line.starts_with("freed ")).count(),
            2
        );
        assert!(!log.iter().any(|line| line.contains(&kept)), "{log:?}");
    });
}

#[test]
fn a_dry_run_names_what_would_go_and_changes_nothing() {
    each(async |world| {
        let (_, gone) = library(world).await;
        let wanted = Gc {
            delete_untagged: true,
            dry_run: true,
            ..Gc::default()
        };
        for _ in 0..2 {
            let (id, outcome) = world.run(asked(&wanted)).await;
            let told = "a dry run: 1 manifests without a tag, 0 contents with 0 bytes would go";
            assert_eq!(outcome.unwrap(), Outcome::Done(told.to_owned()));
            assert_eq!(
                world.log(id).await[1],
                format!("would delete library/app@{gone}: it has no tag")
            );
        }
    });
}

#[test]
fn what_has_no_tag_yet_is_left_alone_for_as_long_as_gc_grace() {
    each(async |world| {
        world.library().await;
        world.push_untagged("library/app", b"young").await;
        let patient = world.patient(Duration::from_hours(2)).await;
        let untagged = async || {
            let cancel = tokio_util::sync::CancellationToken::new();
            let each = |_| ();
            patient
                .delete_untagged(false, None, &cancel, each)
                .await
                .unwrap()
        };
        assert_eq!(untagged().await, 0);
        world.advance(Duration::from_hours(2) + Duration::from_secs(1));
        assert_eq!(untagged().await, 1);
    });
}
