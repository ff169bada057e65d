//! What goes with a manifest or a repository, and which artifacts lists show meanwhile.

use db::{
    Db,
    artifacts::{self, Attached, Deletion, NewArtifact},
    blobs,
    counters::{self, Counter},
    links, projects, quotas, recount,
    repositories::{self, Repository},
    tags,
};
use futures_util::future::join_all;
use model::{Error, Result, id::ArtifactId};
use oci::name::{RepoName, Tag};

use crate::given::{
    self, NOW, assert_kind, child, digest, find, held, later, manifest, new_artifact, repository,
    tag,
};

/// A manifest that is attached to another.
async fn attached(db: &Db, repository: &'static Repository, number: u64, to: u64) -> ArtifactId {
    let known = find(db, repository, number).await;
    let own = match &known {
        Some(_) => {
            let mut reader = db.reader().await.unwrap();
            let content = blobs::newest(&mut reader, &digest(number)).await.unwrap();
            content.unwrap().id
        }
        None => held(db, repository, number).await,
    };
    let new = NewArtifact {
        attached: Some(Attached {
            kind: "signature.cosign".to_owned(),
            subject: digest(to),
        }),
        ..new_artifact(number, own, &[])
    };
    transact!(db, [new], |tx| artifacts::ensure(tx, repository, &new, NOW)
        .await)
    .unwrap()
    .0
}

/// Deletes to the end; answers in how many steps.
async fn delete(db: &Db, repository: &'static Repository, number: u64) -> Result<u32> {
    let mut deletion = Deletion::of(&find(db, repository, number).await.unwrap(), None);
    let mut steps = 0;
    while !deletion.is_done() {
        deletion = transact!(db, [deletion], |tx| {
            let mut deletion = deletion;
            artifacts::delete_some(tx, repository, &mut deletion, later(60), NOW).await?;
            Ok(deletion)
        })?;
        steps += 1;
    }
    Ok(steps)
}

async fn untag(db: &Db, repository: &'static Repository, name: &str) -> Result<()> {
    let name: Tag = name.parse().unwrap();
    transact!(db, [name], |tx| tags::delete(
        tx, repository, &name, None, None, NOW
    )
    .await)
}

/// Those of these that are there.
async fn there(db: &Db, repository: &Repository, numbers: &[u64]) -> Vec<u64> {
    let mut there = Vec::new();
    for number in numbers {
        if find(db, repository, *number).await.is_some() {
            there.push(*number);
        }
    }
    there
}

/// The digests' numbers of what lists show, and the two counters.
async fn listed(db: &Db, repository: &Repository) -> Vec<u64> {
    let mut reader = db.reader().await.unwrap();
    let sql = "SELECT digest FROM artifacts WHERE repository_id = $1 AND listed ORDER BY digest";
    let values = &[repository.id.into()];
    let shown = reader.rows(sql, values, |row| row.text(0)).await.unwrap();
    let shown: Vec<u64> = shown
        .into_iter()
        .map(|text| u64::from_str_radix(text.strip_prefix("sha256:").unwrap(), 16).unwrap())
        .collect();
    let counter = Counter::RepositoryArtifacts(repository.id);
    let counted = counters::value(&mut reader, counter).await.unwrap();
    assert_eq!(counted, shown.len() as i64, "{shown:?}");
    shown
}

#[test]
fn a_manifest_takes_its_accessories_and_theirs() {
    testkit::on_both(async |test| {
        let app = repository(&test.db, "library/app").await;
        manifest(&test.db, app, 1, &[], &[]).await;
        manifest(&test.db, app, 9, &[], &[]).await;
        for (number, to) in [(2, 1), (3, 2), (4, 3), (5, 1), (8, 9)] {
            attached(&test.db, app, number, to).await;
        }
        assert_eq!(listed(&test.db, app).await, [1, 9]);
        assert_eq!(delete(&test.db, app, 1).await.unwrap(), 1);
        assert_eq!(there(&test.db, app, &[1, 2, 3, 4, 5, 8, 9]).await, [8, 9]);
        assert_eq!(listed(&test.db, app).await, [9]);
    });
}

#[test]
fn accessories_in_a_circle_go_together() {
    testkit::on_both(async |test| {
        let app = repository(&test.db, "library/app").await;
        attached(&test.db, app, 1, 2).await;
        attached(&test.db, app, 2, 3).await;
        attached(&test.db, app, 3, 1).await;
        delete(&test.db, app, 2).await.unwrap();
        assert!(there(&test.db, app, &[1, 2, 3]).await.is_empty());
    });
}

#[test]
fn an_index_takes_what_nothing_else_needs() {
    testkit::on_both(async |test| {
        let app = repository(&test.db, "library/app").await;
        let mut parts = Vec::new();
        for number in 1..=4 {
            parts.push(manifest(&test.db, app, number, &[], &[]).await);
        }
        attached(&test.db, app, 21, 1).await;
        assert_eq!(listed(&test.db, app).await, [1, 2, 3, 4]);
        manifest(&test.db, app, 10, &[], &parts[..3]).await;
        manifest(&test.db, app, 11, &[], &parts[2..]).await;
        assert_eq!(listed(&test.db, app).await, [10, 11]);
        tag(&test.db, app, "arm64", parts[1], 2).await;
        assert_eq!(listed(&test.db, app).await, [2, 10, 11]);
        assert_kind(delete(&test.db, app, 1).await, |error| {
            matches!(error, Error::Precondition(_))
        });
        delete(&test.db, app, 10).await.unwrap();
        let all = [1, 2, 3, 4, 10, 11, 21];
        assert_eq!(there(&test.db, app, &all).await, [2, 3, 4, 11]);
        assert_eq!(listed(&test.db, app).await, [2, 11]);
        delete(&test.db, app, 11).await.unwrap();
        assert_eq!(there(&test.db, app, &all).await, [2]);
        untag(&test.db, app, "arm64").await.unwrap();
        assert_eq!(
            listed(&test.db, app).await,
            [2],
            "it is part of no index any more"
        );
    });
}

#[test]
fn an_accessory_that_is_part_of_an_index_stays_with_it() {
    testkit::on_both(async |test| {
        let app = repository(&test.db, "library/app").await;
        manifest(&test.db, app, 1, &[], &[]).await;
        let signature = attached(&test.db, app, 2, 1).await;
        manifest(&test.db, app, 10, &[], &[signature]).await;
        delete(&test.db, app, 1).await.unwrap();
        assert_eq!(there(&test.db, app, &[1, 2, 10]).await, [2, 10]);
    });
}

#[test]
fn what_is_much_goes_in_steps_and_what_is_left_can_be_deleted() {
    testkit::on_both(async |test| {
        let app = repository(&test.db, "library/app").await;
        let image = manifest(&test.db, app, 1, &[], &[]).await;
        transact!(test.db, |tx| {
            for number in 0..1_100 {
                let name: Tag = format!("v{number}").parse().unwrap();
                let cause = tags::Cause::Push;
                tags::set(tx, app, &name, image, &digest(1), cause, NOW).await?;
            }
            for number in 100..300 {
                let own = blobs::insert(tx, &digest(number), 0, 1, "data", NOW)
                    .await?
                    .unwrap();
                let attached = Attached {
                    kind: "signature.cosign".to_owned(),
                    subject: digest(1),
                };
                let new = NewArtifact {
                    attached: Some(attached),
                    ..new_artifact(number, own, &[])
                };
                artifacts::ensure(tx, app, &new, NOW).await?;
                links::add(tx, app, own, None, NOW).await?;
            }
            Ok::<_, Error>(())
        })
        .unwrap();
        let deletion = Deletion::of(&find(&test.db, app, 1).await.unwrap(), None);
        transact!(test.db, [deletion], |tx| {
            let mut deletion = deletion;
            artifacts::delete_some(tx, app, &mut deletion, later(60), NOW).await
        })
        .unwrap();
        // Somebody who begins anew finds it.
        assert_eq!(listed(&test.db, app).await, [1]);
        assert!(delete(&test.db, app, 1).await.unwrap() > 1);
        let all: Vec<u64> = (1..300).collect();
        assert!(there(&test.db, app, &all).await.is_empty());
        assert!(listed(&test.db, app).await.is_empty());
    });
}

#[test]
fn lists_show_a_part_of_an_index_as_long_as_it_has_a_tag() {
    testkit::on_both(async |test| {
        let app = repository(&test.db, "library/app").await;
        let (part, other) = (
            manifest(&test.db, app, 1, &[], &[]).await,
            manifest(&test.db, app, 2, &[], &[]).await,
        );
        manifest(&test.db, app, 10, &[], &[part]).await;
        assert_eq!(listed(&test.db, app).await, [2, 10]);
        tag(&test.db, app, "a", part, 1).await;
        tag(&test.db, app, "b", part, 1).await;
        assert_eq!(listed(&test.db, app).await, [1, 2, 10]);
        untag(&test.db, app, "a").await.unwrap();
        assert_eq!(listed(&test.db, app).await, [1, 2, 10]);
        // Moved away.
        tag(&test.db, app, "b", other, 2).await;
        assert_eq!(listed(&test.db, app).await, [2, 10]);
    });
}

#[test]
fn a_signature_that_gets_its_tag_later_is_an_accessory_from_then_on() {
    testkit::on_both(async |test| {
        let app = repository(&test.db, "library/app").await;
        manifest(&test.db, app, 1, &[], &[]).await;
        manifest(&test.db, app, 2, &[], &[]).await;
        assert_eq!(listed(&test.db, app).await, [1, 2]);
        let own = find(&test.db, app, 2).await.unwrap();
        let id = attached(&test.db, app, 2, 1).await;
        assert_eq!(id, own.id);
        assert_eq!(listed(&test.db, app).await, [1]);
        delete(&test.db, app, 1).await.unwrap();
        assert!(there(&test.db, app, &[1, 2]).await.is_empty());
    });
}

#[test]
fn an_index_keeps_what_it_says_of_its_parts() {
    testkit::on_both(async |test| {
        let app = repository(&test.db, "library/app").await;
        let part = manifest(&test.db, app, 1, &[], &[]).await;
        let own = held(&test.db, app, 10).await;
        let mut told = child(part);
        told.descriptor = Some(r#"{"platform":{"os":"linux"}}"#.to_owned());
        let new = NewArtifact {
            children: vec![told.clone()],
            ..new_artifact(10, own, &[])
        };
        transact!(test.db, [new], |tx| artifacts::ensure(tx, app, &new, NOW)
            .await)
        .unwrap();
        let mut reader = test.db.reader().await.unwrap();
        let kept = reader.row("SELECT descriptor FROM artifact_children", &[], |row| {
            row.opt_text(0)
        });
        assert_eq!(kept.await.unwrap().unwrap(), told.descriptor);
    });
}

async fn delete_repository(db: &Db, repository: &'static Repository) -> u32 {
    let mut steps = 1;
    while !transact!(db, |tx| repositories::delete_some(
        tx,
        repository,
        None,
        later(60),
        NOW
    )
    .await)
    .unwrap()
    {
        steps += 1;
    }
    steps
}

#[test]
fn a_repository_goes_with_all_it_holds_and_its_project_after_it() {
    testkit::on_both(async |test| {
        let (app, other) = (
            repository(&test.db, "library/app").await,
            repository(&test.db, "library/other").await,
        );
        let (shared, fresh) = (
            held(&test.db, app, 1000).await,
            held(&test.db, app, 1001).await,
        );
        transact!(test.db, |tx| links::add(tx, other, shared, None, NOW).await).unwrap();
        let mut parts = Vec::new();
        for number in 1..=120 {
            parts.push(manifest(&test.db, app, number, &[shared], &[]).await);
        }
        let index = manifest(&test.db, app, 200, &[], &parts[..30]).await;
        attached(&test.db, app, 201, 200).await;
        tag(&test.db, app, "v1", index, 200).await;
        tag(&test.db, app, "part", parts[3], 4).await;
        assert!(delete_repository(&test.db, app).await > 2);
        let reader = &mut *test.db.reader().await.unwrap();
        assert!(
            repositories::find(reader, "library/app")
                .await
                .unwrap()
                .is_none()
        );
        let one = |number| (number, 1);
        assert_eq!(
            counters::values(
                reader,
                |id| Counter::ProjectRepositories(model::id::ProjectId(id)),
                &[app.project.0]
            )
            .await
            .unwrap(),
            [one(app.project.0)].into()
        );
        assert_eq!(
            counters::value(reader, Counter::ProjectArtifacts(app.project))
                .await
                .unwrap(),
            0
        );
        assert_eq!(quotas::usage(reader, app.project).await.unwrap(), 100);
        assert!(recount::find(reader, app.project).await.unwrap().is_exact());
        for (number, held) in [(1000, true), (1001, false), (1, false), (200, false)] {
            let content = blobs::newest(reader, &digest(number))
                .await
                .unwrap()
                .unwrap();
            assert_eq!(content.state == blobs::State::Live, held, "{number}");
        }
        assert!(fresh.0 > 0);
        let library = projects::find_name(reader, "library")
            .await
            .unwrap()
            .unwrap();
        let early = transact!(test.db, [library], |tx| projects::delete(tx, &library, NOW)
            .await);
        assert_kind(early, |error| matches!(error, Error::Precondition(_)));
        delete_repository(&test.db, other).await;
        transact!(test.db, [library], |tx| projects::delete(tx, &library, NOW)
            .await)
        .unwrap();
        let told = given::changes(&test.db).await;
        assert!(told.contains(&"repository.deleted library/app".to_owned()));
    });
}

#[test]
fn who_pushes_while_a_repository_goes_finds_it_or_makes_it_anew() {
    testkit::on_both(async |test| {
        let app = repository(&test.db, "library/app").await;
        for number in 1..20 {
            manifest(&test.db, app, number, &[], &[]).await;
        }
        let pushes = (30..60).map(|number| {
            let (db, name) = (test.db.clone(), "library/app".parse::<RepoName>().unwrap());
            async move {
                transact!(db, [name], |tx| {
                    let repository = repositories::ensure(tx, app.project, &name, NOW).await?;
                    let own = blobs::insert(tx, &digest(number), 0, 1, "data", NOW)
                        .await?
                        .unwrap();
                    let (_, is_new) =
                        artifacts::ensure(tx, &repository, &new_artifact(number, own, &[]), NOW)
                            .await?;
                    assert!(is_new);
                    links::add(tx, &repository, own, None, NOW).await
                })
            }
        });
        let (outcomes, _) = tokio::join!(join_all(pushes), delete_repository(&test.db, app));
        for outcome in outcomes {
            outcome.unwrap();
        }
        let reader = &mut *test.db.reader().await.unwrap();
        assert!(recount::find(reader, app.project).await.unwrap().is_exact());
        if let Some(anew) = repositories::find(reader, "library/app").await.unwrap() {
            listed(&test.db, &anew).await;
        }
    });
}

/// Tags, untags, pushes and deletes at random, several at once: what lists show is what the rows say.
#[test]
fn what_lists_show_is_right_after_any_sequence() {
    testkit::on_both(async |test| {
        let app = repository(&test.db, "library/app").await;
        for number in 1..=6 {
            manifest(&test.db, app, number, &[], &[]).await;
        }
        for seed in 1..=6_u64 {
            let mut dice = seed * 0x9E37_79B9;
            for _ in 0..40 {
                dice ^= dice << 13;
                dice ^= dice >> 7;
                dice ^= dice << 17;
                let (what, which, name) =
                    (dice % 8, dice / 8 % 6 + 1, format!("t{}", dice / 64 % 4));
                let found = find(&test.db, app, which).await;
                match (what, found) {
                    (0..=2, Some(found)) => tag(&test.db, app, &name, found.id, which).await,
                    (3 | 4, _) => drop(untag(&test.db, app, &name).await),
                    (5, Some(found)) => {
                        manifest_again(&test.db, app, 20 + dice / 512 % 3, found.id).await;
                    }
                    (6, _) if find(&test.db, app, 20 + which % 3).await.is_some() => {
                        delete(&test.db, app, 20 + which % 3).await.unwrap();
                    }
                    (_, None) => {
                        manifest_again(&test.db, app, which, ArtifactId(0)).await;
                    }
                    _ => {}
                }
            }
            listed(&test.db, app).await;
            let mut reader = test.db.reader().await.unwrap();
            let wrong = "SELECT 1 FROM artifacts a WHERE a.listed <> (a.accessory IS NULL
                AND (EXISTS (SELECT 1 FROM tags t WHERE t.artifact_id = a.id)
                     OR NOT EXISTS (SELECT 1 FROM artifact_children c WHERE c.child_id = a.id)))";
            assert!(!reader.exists(wrong, &[]).await.unwrap(), "seed {seed}");
        }
    });
}

/// Pushes a manifest whether its bytes are there or not; an index of one part, or none.
async fn manifest_again(db: &Db, repository: &'static Repository, number: u64, part: ArtifactId) {
    transact!(db, |tx| {
        let own = match blobs::newest(tx, &digest(number)).await? {
            Some(known) => known.id,
            None => blobs::insert(tx, &digest(number), 0, 1, "data", NOW)
                .await?
                .unwrap(),
        };
        let children = if part.0 == 0 {
            vec![]
        } else {
            vec![child(part)]
        };
        let new = NewArtifact {
            children,
            ..new_artifact(number, own, &[])
        };
        let (_, is_new) = artifacts::ensure(tx, repository, &new, NOW).await?;
        if is_new {
            links::add(tx, repository, own, None, NOW).await?;
        }
        Ok::<_, Error>(())
    })
    .unwrap();
}
