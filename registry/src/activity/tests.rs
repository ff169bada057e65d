use std::{sync::Arc, time::Duration};

use auth::{RobotFacts, UserFacts};
use db::activity::{Of, Span};
use model::{
    id::{RobotId, UserId},
    settings::{Pinned, Settings},
};

use super::{summary::Summary, *};
use crate::{Registry, world::each};

const NAME: &str = "library/app";
const AT: Timestamp = Timestamp(1_000_000_000);

fn ann() -> Subject {
    Subject::User(Arc::new(UserFacts {
        id: UserId(7),
        name: "ann".to_owned(),
        admin: false,
        version: 1,
    }))
}

fn robot() -> Subject {
    Subject::Robot(Arc::new(RobotFacts {
        id: RobotId(7),
        name: "robot$library+scan".to_owned(),
        project: None,
        expires_at: None,
        version: 1,
    }))
}

fn artifact(id: i64) -> Artifact {
    Artifact {
        id: ArtifactId(id),
        digest: blob::digest_of(oci::Algorithm::Sha256, &id.to_be_bytes()),
        media_type: String::new(),
        size: 1,
        location: String::new(),
        state: db::blobs::State::Live,
    }
}

fn pull<'a>(artifact: &'a Artifact, caller: &'a Subject) -> Pull<'a> {
    Pull {
        repository: NAME,
        project: ProjectId(1),
        artifact,
        bytes: 10,
        tag: Some("v1"),
        caller,
        address: Some([10, 0, 0, 1].into()),
        is_scanner: false,
        is_head: false,
        at: AT,
    }
}

fn settings(on: &[&str]) -> Settings {
    let values = on
        .iter()
        .map(|name| ((*name).to_owned(), "true".to_owned()));
    Settings::new(values, &Pinned::default())
}

/// What a flush tells of these pulls, with these settings on.
fn summary(pulls: &[Pull<'_>], on: &[&str]) -> Summary {
    let activity = Activity::default();
    for pull in pulls {
        activity.pulled(pull);
    }
    summary::of(&activity.take(true).pulls, &settings(on))
}

fn told(summary: &Summary) -> Vec<(&str, &str, &str)> {
    summary
        .told
        .iter()
        .map(|told| {
            let description = told.description.as_deref().unwrap();
            let often = description.split_once(" (").map_or("", |(_, often)| often);
            (&*told.actor, &*told.resource, often)
        })
        .collect()
}

#[test]
fn each_get_is_a_pull_and_the_audit_says_how_many() {
    let (one, ann) = (artifact(1), ann());
    let by_tag = pull(&one, &ann);
    let elsewhere = Pull {
        address: None,
        ..by_tag
    };
    let nobody = Pull {
        caller: &Subject::Anonymous,
        ..by_tag
    };
    let summary = summary(&[by_tag, by_tag, by_tag, elsewhere, nobody], &[]);
    assert_eq!(summary.pulls, [(NAME.to_owned(), 5)].into());
    assert_eq!(summary.bytes, [(NAME.to_owned(), 50)].into());
    let resource = "library/app:v1";
    assert_eq!(
        told(&summary),
        [
            ("anonymous", resource, ""),
            ("ann", resource, ""),
            ("ann", resource, "3 times)")
        ]
    );
    assert_eq!(
        summary.told[0].description,
        Some(format!("pull artifact: library/app@{}", one.digest))
    );
    assert_eq!(summary.times.len(), 1);
}

#[test]
fn a_head_with_its_get_is_one_pull() {
    let (one, ann) = (artifact(1), ann());
    let head = Pull {
        is_head: true,
        ..pull(&one, &ann)
    };
    let get = Pull {
        tag: None,
        at: AT.plus(Duration::from_secs(1)),
        ..pull(&one, &ann)
    };
    let summary = summary(&[head, head, get], &[]);
    assert_eq!(summary.pulls, [(NAME.to_owned(), 1)].into());
    assert_eq!(told(&summary), [("ann", "library/app:v1", "")]);
    let times: Vec<_> = summary
        .times
        .iter()
        .map(|((_, _, tag), at)| (tag.as_deref(), *at))
        .collect();
    assert_eq!(times, [(None, get.at), (Some("v1"), AT)]);
}

#[test]
fn heads_alone_are_one_pull() {
    let (one, ann) = (artifact(1), ann());
    let head = Pull {
        is_head: true,
        ..pull(&one, &ann)
    };
    let summary = summary(
        &[
            head,
            Pull {
                tag: Some("v2"),
                ..head
            },
            head,
        ],
        &[],
    );
    assert_eq!(summary.pulls, [(NAME.to_owned(), 1)].into());
    assert_eq!(summary.times.len(), 2);
}

#[test]
fn a_head_waits_one_flush_for_its_get() {
    let (one, two, ann) = (artifact(1), artifact(2), ann());
    let activity = Activity::default();
    let head = Pull {
        is_head: true,
        ..pull(&one, &ann)
    };
    let get = Pull {
        tag: None,
        ..pull(&one, &ann)
    };
    activity.pulled(&head);
    activity.pulled(&Pull {
        artifact: &two,
        ..head
    });
    assert_eq!(activity.take(false).pulls.len(), 0);
    activity.pulled(&get);
    let counted = activity.take(false);
    assert_eq!(counted.pulls.len(), 3);
    let summary = summary::of(&counted.pulls, &settings(&[]));
    assert_eq!(summary.pulls, [(NAME.to_owned(), 2)].into());
    // The GET is there already: nothing to wait for.
    activity.pulled(&head);
    activity.pulled(&get);
    assert_eq!(activity.take(false).pulls.len(), 2);
    assert!(activity.take(true).pulls.is_empty());
}

#[test]
fn settings_and_scanners_are_honoured() {
    let (one, ann, robot) = (artifact(1), ann(), robot());
    let person = pull(&one, &ann);
    let scanner = Pull {
        is_scanner: true,
        ..pull(&one, &robot)
    };
    for (pulls, on, (count, times, rows)) in [
        ([person, person], &[][..], (2, 1, 1)),
        ([person, person], &["pull_time_update_disable"], (2, 0, 1)),
        ([person, person], &["pull_audit_log_disable"], (2, 1, 0)),
        ([scanner, scanner], &[], (0, 1, 1)),
        (
            [scanner, scanner],
            &["scanner_skip_update_pulltime"],
            (0, 0, 1),
        ),
        (
            [scanner, person],
            &["scanner_skip_update_pulltime"],
            (1, 1, 2),
        ),
    ] {
        let summary = summary(&pulls, on);
        let found = (summary.pulls[NAME], summary.times.len(), summary.told.len());
        assert_eq!(found, (count, times, rows), "{on:?}");
    }
}

#[test]
fn what_is_kept_between_two_flushes_has_a_bound() {
    let (one, ann) = (artifact(1), ann());
    let activity = Activity::default();
    for n in 0..2 * MOST {
        let tag = n.to_string();
        activity.pulled(&Pull {
            tag: Some(&tag),
            ..pull(&one, &ann)
        });
        activity.pulled(&Pull {
            tag: Some("0"),
            ..pull(&one, &ann)
        });
    }
    assert_eq!(activity.missed.load(Ordering::Relaxed), MOST as u64);
    let counted = activity.take(true).pulls;
    assert_eq!(counted.len(), MOST);
    let known = counted
        .iter()
        .find(|(key, _)| key.tag.as_deref() == Some("0"));
    assert_eq!(known.unwrap().1.gets, 2 * MOST as i64 + 1);
}

async fn artifact_of(registry: &Registry, digest: &Digest) -> Artifact {
    let name: oci::RepoName = NAME.parse().unwrap();
    let repository = registry
        .find_repository(name.borrowed())
        .await
        .unwrap()
        .unwrap();
    let mut reader = registry.db().reader().await.unwrap();
    db::artifacts::find(&mut reader, repository, digest)
        .await
        .unwrap()
        .unwrap()
}

#[test]
fn what_was_counted_is_told_once() {
    each(async |world| {
        let registry = &world.registry;
        let digest = world.push_image(NAME, "v1", &[b"layer"]).await;
        let (pulled, ann) = (artifact_of(registry, &digest).await, ann());
        let activity = registry.activity();
        for _ in 0..3 {
            activity.pulled(&pull(&pulled, &ann));
        }
        // Of what is not there any more, or was never, nothing is told.
        let gone = artifact(9999);
        activity.pulled(&pull(&gone, &ann));
        let never = artifact(9998);
        activity.pulled(&Pull {
            repository: "library/gone",
            ..pull(&never, &ann)
        });
        activity.add(
            NAME,
            Counts {
                bytes_out: 500,
                ..Counts::default()
            },
        );
        activity.add(
            "library/gone",
            Counts {
                bytes_out: 500,
                ..Counts::default()
            },
        );
        for _ in 0..2 {
            registry.flush_activity().await.unwrap();
        }
        let mut reader = registry.db().reader().await.unwrap();
        let series = db::activity::series(&mut reader, Of::System, Span::Hour, 0, i64::MAX);
        let points = series.await.unwrap();
        assert_eq!(points.len(), 1);
        let expected = Counts {
            pulls: 4,
            bytes_out: 540,
            ..Counts::default()
        };
        let found = Counts {
            pushes: 0,
            bytes_in: 0,
            ..points[0].counts
        };
        assert_eq!(found, expected);
        // Read as it stands: a reader with a cursor waits for whatever else is open on the same server.
        let sql = "SELECT actor, address, resource FROM audit WHERE event = 'pull_artifact' ORDER BY resource";
        let pulls = reader.rows(sql, &[], |row| {
            Ok((row.text(0)?, row.opt_text(1)?, row.text(2)?))
        });
        let pulls = pulls.await.unwrap();
        let pulls: Vec<_> = pulls
            .iter()
            .map(|(actor, address, resource)| (&**actor, address.as_deref(), &**resource))
            .collect();
        let (ann, from) = ("ann", Some("10.0.0.1"));
        let expected = [
            (ann, from, "library/app:v1"),
            (ann, from, "library/app:v1"),
            (ann, from, "library/gone:v1"),
        ];
        assert_eq!(pulls, expected);
    });
}

#[test]
fn a_large_flush_goes_in_parts() {
    each(async |world| {
        let registry = &world.registry;
        let digest = world.push_image(NAME, "v1", &[b"layer"]).await;
        let (pulled, ann) = (artifact_of(registry, &digest).await, ann());
        let others: Vec<_> = (0..1000).map(|n| artifact(10_000 + n)).collect();
        for other in others.iter().chain([&pulled]) {
            registry.activity().pulled(&pull(other, &ann));
        }
        registry.flush_activity().await.unwrap();
        let mut reader = registry.db().reader().await.unwrap();
        let series = db::activity::series(&mut reader, Of::System, Span::Day, 0, i64::MAX);
        assert_eq!(series.await.unwrap()[0].counts.pulls, 1001);
    });
}
