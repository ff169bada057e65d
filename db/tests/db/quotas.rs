//! What projects use: exact whatever happens in whatever order, and never above a limit.

use std::{collections::BTreeSet, sync::Arc};

use db::{
    Db,
    artifacts::{self, NewArtifact},
    blobs::{self, Lock},
    counters::{self, Counter},
    links, projects, quotas, recount,
    repositories::{self, Repository},
};
use futures_util::future::join_all;
use model::{
    Error,
    id::{BlobId, ProjectId},
    time::Timestamp,
};
use oci::{digest::Digest, name::RepoName};

use crate::given::{
    self, NOW, assert_kind, blob, digest, find, held, later, manifest, new_artifact, project,
    repository,
};

async fn used(db: &Db, project: ProjectId) -> u64 {
    let mut reader = db.reader().await.unwrap();
    quotas::usage(&mut reader, project).await.unwrap()
}

async fn value(db: &Db, counter: Counter) -> i64 {
    let mut reader = db.reader().await.unwrap();
    counters::value(&mut reader, counter).await.unwrap()
}

async fn assert_exact(db: &Db, project: ProjectId) {
    let mut reader = db.reader().await.unwrap();
    let wrong = recount::find(&mut reader, project).await.unwrap();
    assert!(wrong.is_exact(), "{wrong:?}");
}

async fn set_hard(db: &Db, name: &str, hard: i64) {
    let mut reader = db.reader().await.unwrap();
    let project = projects::get_name(&mut reader, name).await.unwrap();
    let quota = quotas::find(&mut reader, project.id)
        .await
        .unwrap()
        .unwrap();
    drop(reader);
    transact!(db, [quota], |tx| quotas::set_hard(tx, &quota, hard, NOW)
        .await)
    .unwrap();
}

#[test]
fn a_content_counts_once_per_project_and_again_in_another() {
    testkit::on_both(async |test| {
        let (one, two) = (
            repository(&test.db, "library/one").await,
            repository(&test.db, "library/two").await,
        );
        let other = repository(&test.db, "other/app").await;
        let layer = held(&test.db, one, 1).await;
        for repository in [two, other, one] {
            transact!(test.db, |tx| links::add(tx, repository, layer, None, NOW)
                .await)
            .unwrap();
        }
        assert_eq!(
            (
                used(&test.db, one.project).await,
                used(&test.db, other.project).await
            ),
            (100, 100)
        );
        for (repository, left) in [(one, 100), (two, 0)] {
            assert!(
                transact!(test.db, |tx| links::remove_unless_named(
                    tx, repository, layer
                )
                .await)
                .unwrap()
            );
            assert_eq!(used(&test.db, one.project).await, left);
        }
        assert_eq!(used(&test.db, other.project).await, 100);
        assert_eq!(
            value(&test.db, Counter::ProjectRepositories(one.project)).await,
            2
        );
        assert_exact(&test.db, one.project).await;
    });
}

#[test]
fn a_deleted_manifest_stops_counting_at_once_but_for_what_is_fresh_or_named_elsewhere() {
    testkit::on_both(async |test| {
        let app = repository(&test.db, "library/app").await;
        let (shared, own, fresh) = (
            held(&test.db, app, 1).await,
            held(&test.db, app, 2).await,
            held(&test.db, app, 3).await,
        );
        manifest(&test.db, app, 10, &[shared], &[]).await;
        manifest(&test.db, app, 11, &[shared, own, fresh], &[]).await;
        assert_eq!(used(&test.db, app.project).await, 500);
        // Uploaded again since: the manifest that is to name it may be on its way.
        transact!(test.db, |tx| links::add(
            tx,
            app,
            fresh,
            Some(later(86_400)),
            NOW
        )
        .await)
        .unwrap();
        let going = find(&test.db, app, 11).await.unwrap();
        transact!(test.db, [going], |tx| given::delete(
            tx,
            app,
            &going,
            later(7_200),
            NOW
        )
        .await)
        .unwrap();
        assert_eq!(
            used(&test.db, app.project).await,
            300,
            "the other manifest, what it names, and what is fresh"
        );
        let readable = links::find(&mut test.db.reader().await.unwrap(), app.id, &digest(2))
            .await
            .unwrap();
        assert!(
            readable.is_some(),
            "it may be read until the collector ends it"
        );
        assert_exact(&test.db, app.project).await;
        // Named again before the collector came, it counts again.
        let new = NewArtifact {
            digest: digest(12),
            ..new_artifact(12, own, &[own])
        };
        transact!(test.db, [new], |tx| artifacts::ensure(tx, app, &new, NOW)
            .await)
        .unwrap();
        assert_eq!(used(&test.db, app.project).await, 400);
        let ended = transact!(test.db, |tx| links::collect(
            tx,
            app,
            &[fresh, own, shared],
            later(90_000)
        )
        .await);
        assert_eq!(ended.unwrap(), [fresh]);
        assert_eq!(used(&test.db, app.project).await, 300);
        assert_exact(&test.db, app.project).await;
    });
}

#[test]
fn a_content_found_to_have_another_length_counts_with_it() {
    testkit::on_both(async |test| {
        let (app, other) = (
            repository(&test.db, "library/app").await,
            repository(&test.db, "other/app").await,
        );
        let layer = held(&test.db, app, 1).await;
        transact!(test.db, |tx| links::add(tx, other, layer, None, NOW).await).unwrap();
        transact!(test.db, |tx| blobs::set_size(tx, layer, 70).await).unwrap();
        assert_eq!(
            (
                used(&test.db, app.project).await,
                used(&test.db, other.project).await
            ),
            (70, 70)
        );
    });
}

#[test]
fn a_transaction_that_fails_counts_nothing() {
    testkit::on_both(async |test| {
        let app = repository(&test.db, "library/app").await;
        let layer = blob(&test.db, 1).await;
        let outcome = transact!(test.db, |tx| {
            links::add(tx, app, layer, None, NOW).await?;
            tx.count(Counter::ProjectArtifacts(app.project), 5);
            Err::<(), _>(Error::Conflict("no".to_owned()))
        });
        assert!(outcome.is_err());
        transact!(test.db, |tx| tx.now().await).unwrap();
        assert_eq!(used(&test.db, app.project).await, 0);
        assert_eq!(
            value(&test.db, Counter::ProjectArtifacts(app.project)).await,
            0
        );
    });
}

#[test]
fn what_would_exceed_the_limit_is_refused_and_nothing_of_it_stays() {
    testkit::on_both(async |test| {
        let app = repository(&test.db, "library/app").await;
        held(&test.db, app, 1).await;
        set_hard(&test.db, "library", 250).await;
        held(&test.db, app, 2).await;
        let third = blob(&test.db, 3).await;
        let outcome = transact!(test.db, |tx| links::add(tx, app, third, None, NOW).await);
        let Err(Error::QuotaExceeded(words)) = outcome else {
            panic!("{outcome:?}")
        };
        assert_eq!(
            words,
            "adding 100 B of storage resource, which when updated to current usage of 200 B will exceed the configured upper limit of 250 B."
        );
        assert_eq!(used(&test.db, app.project).await, 200);
        assert!(
            links::find(&mut test.db.reader().await.unwrap(), app.id, &digest(3))
                .await
                .unwrap()
                .is_none()
        );
        let early = async |adding| {
            let mut reader = test.db.reader().await.unwrap();
            quotas::check(&mut reader, app.project, adding, None).await
        };
        early(50).await.unwrap();
        assert_kind(early(51).await, |error| {
            matches!(error, Error::QuotaExceeded(_))
        });
        let mut reader = test.db.reader().await.unwrap();
        for (content, is_there) in [(2, true), (3, false)] {
            let again = quotas::check(&mut reader, app.project, 100, Some(&digest(content))).await;
            assert_eq!(again.is_ok(), is_there, "content {content}");
        }
        drop(reader);
        // What is there already adds nothing; what goes makes room; and a lower limit stops nobody from giving back.
        let two = repository(&test.db, "library/two").await;
        let second = blobs::newest(&mut test.db.reader().await.unwrap(), &digest(2))
            .await
            .unwrap()
            .unwrap()
            .id;
        transact!(test.db, |tx| links::add(tx, two, second, None, NOW).await).unwrap();
        set_hard(&test.db, "library", 100).await;
        assert_kind(early(0).await, |error| {
            matches!(error, Error::QuotaExceeded(_))
        });
        for repository in [app, two] {
            transact!(test.db, |tx| links::remove_unless_named(
                tx, repository, second
            )
            .await)
            .unwrap();
        }
        early(0).await.unwrap();
        transact!(test.db, |tx| {
            tx.use_bytes(app.project, -30);
            Ok::<_, Error>(())
        })
        .unwrap();
        let over = transact!(test.db, |tx| {
            tx.use_bytes(app.project, 31);
            Ok::<_, Error>(())
        });
        assert_kind(over, |error| matches!(error, Error::QuotaExceeded(_)));
    });
}

#[test]
fn a_limit_counts_for_nobody_while_quotas_are_switched_off() {
    testkit::on_both(async |test| {
        let app = repository(&test.db, "library/app").await;
        set_hard(&test.db, "library", 1).await;
        let wanted =
            model::settings::Changes::from([("quota_per_project_enable", "false".to_owned())]);
        transact!(test.db, [wanted], |tx| db::settings::set_all(
            tx, &wanted, NOW
        )
        .await)
        .unwrap();
        held(&test.db, app, 1).await;
        assert_eq!(used(&test.db, app.project).await, 100);
    });
}

#[test]
fn many_at_once_never_exceed_the_limit_and_fill_it() {
    testkit::on_both(async |test| {
        let app = repository(&test.db, "library/app").await;
        set_hard(&test.db, "library", 1_050).await;
        let mut contents = Vec::new();
        for number in 0..32 {
            contents.push(blob(&test.db, number).await);
        }
        let pushes = contents.iter().map(|content| {
            let (db, content, name) = (
                test.db.clone(),
                *content,
                "library/app".parse::<RepoName>().unwrap(),
            );
            async move {
                transact!(db, [name], |tx| {
                    let repository = repositories::ensure(tx, app.project, &name, NOW).await?;
                    links::add(tx, &repository, content, None, NOW).await
                })
            }
        });
        let outcomes = join_all(pushes).await;
        assert_eq!(
            outcomes.iter().filter(|outcome| outcome.is_ok()).count(),
            10
        );
        for outcome in outcomes.into_iter().filter(Result::is_err) {
            assert_kind(outcome, |error| matches!(error, Error::QuotaExceeded(_)));
        }
        assert_eq!(used(&test.db, app.project).await, 1_000);
        assert_exact(&test.db, app.project).await;
    });
}

#[test]
fn a_recount_puts_right_what_is_wrong_and_leaves_what_is_not() {
    testkit::on_both(async |test| {
        let app = repository(&test.db, "library/app").await;
        let layer = held(&test.db, app, 1).await;
        manifest(&test.db, app, 2, &[layer], &[]).await;
        let recount =
            async || transact!(test.db, |tx| recount::mend(tx, app.project).await).unwrap();
        assert!(recount().await.is_exact());
        for wrong in [
            "UPDATE counters SET n = n + 5 WHERE name = 'project.bytes'",
            "DELETE FROM project_blobs WHERE blob_id = 1",
            "UPDATE project_blobs SET links = links + 3",
            "UPDATE repository_blobs SET counted = FALSE",
            "DELETE FROM counters",
            "INSERT INTO project_blobs (project_id, blob_id, links) SELECT project_id, 9999, 1 FROM repositories",
        ] {
            transact!(test.db, |tx| tx.execute(wrong, &[]).await).unwrap();
            let found = recount().await;
            assert!(!found.is_exact(), "{wrong}");
            assert_exact(&test.db, app.project).await;
            assert_eq!(used(&test.db, app.project).await, 200, "{wrong}");
        }
    });
}

/// Steps of a walk, from a seed.
struct Dice(u64);

impl Dice {
    fn roll(&mut self, sides: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % sides
    }
}

/// Pushes, uploads, deletes and collects at random; time goes on by an hour each step.
async fn walk(
    db: &Db,
    seed: u64,
    steps: u64,
    repositories: &[&'static Repository],
    contents: &[(BlobId, Digest)],
) {
    let mut dice = Dice(seed * 7919 + 1);
    for step in 0..steps {
        let now = later((step * 3_600) as i64);
        let repository = repositories[dice.roll(repositories.len() as u64) as usize];
        let some: BTreeSet<usize> = (0..=dice.roll(3))
            .map(|_| dice.roll(contents.len() as u64) as usize)
            .collect();
        let some: Vec<(BlobId, Digest)> = some.into_iter().map(|at| contents[at]).collect();
        let number = 1_000 + dice.roll(6);
        let outcome = match dice.roll(10) {
            0..=2 => upload(db, repository, some[0], now).await,
            3..=5 => push(db, repository, number, some, now).await,
            6..=7 => remove(db, repository, number, now).await,
            8 => collect(db, repository, some, now).await,
            _ => take(db, repository, some[0]).await,
        };
        match outcome {
            Ok(()) | Err(Error::NotFound(..) | Error::MissingBlob(_)) => {}
            Err(error) => panic!("{error}"),
        }
    }
}

async fn upload(
    db: &Db,
    repository: &'static Repository,
    (id, digest): (BlobId, Digest),
    now: Timestamp,
) -> model::Result<()> {
    transact!(db, |tx| {
        blobs::hold(tx, &[digest], Lock::Share).await?;
        links::add(
            tx,
            repository,
            id,
            Some(now.plus(std::time::Duration::from_hours(24))),
            now,
        )
        .await
    })
}

/// The manifest's own bytes are the last content.
async fn push(
    db: &Db,
    repository: &'static Repository,
    number: u64,
    some: Vec<(BlobId, Digest)>,
    now: Timestamp,
) -> model::Result<()> {
    transact!(db, [some], |tx| {
        let digests: Vec<Digest> = some.iter().map(|(_, digest)| *digest).collect();
        blobs::hold(tx, &digests, Lock::Share).await?;
        let held = links::held(tx, repository.id, &digests).await?;
        if held.len() < digests.len() {
            return Err(Error::MissingBlob(digests[0]));
        }
        let own = some[some.len() - 1].0;
        let new = NewArtifact {
            digest: digest(number),
            blobs: some.iter().map(|(id, _)| *id).collect(),
            ..new_artifact(number, own, &[])
        };
        let (_, is_new) = artifacts::ensure(tx, repository, &new, now).await?;
        if is_new {
            links::add(tx, repository, own, None, now).await?;
        }
        Ok(())
    })
}

async fn remove(
    db: &Db,
    repository: &'static Repository,
    number: u64,
    now: Timestamp,
) -> model::Result<()> {
    let Some(found) = find(db, repository, number).await else {
        return Ok(());
    };
    let check_at = now.plus(std::time::Duration::from_hours(2));
    transact!(db, [found], |tx| given::delete(
        tx, repository, &found, check_at, now
    )
    .await
    .map(|_| ()))
}

async fn collect(
    db: &Db,
    repository: &'static Repository,
    some: Vec<(BlobId, Digest)>,
    now: Timestamp,
) -> model::Result<()> {
    transact!(db, [some], |tx| {
        let digests: Vec<Digest> = some.iter().map(|(_, digest)| *digest).collect();
        blobs::lock(tx, &digests).await?;
        let ids: Vec<BlobId> = some.iter().map(|(id, _)| *id).collect();
        links::collect(tx, repository, &ids, now).await.map(|_| ())
    })
}

async fn take(
    db: &Db,
    repository: &'static Repository,
    (id, digest): (BlobId, Digest),
) -> model::Result<()> {
    transact!(db, |tx| {
        blobs::lock(tx, &[digest]).await?;
        links::remove_unless_named(tx, repository, id)
            .await
            .map(|_| ())
    })
}

async fn world(db: &Db) -> (Vec<&'static Repository>, Vec<(BlobId, Digest)>) {
    let mut repositories = Vec::new();
    for name in ["library/one", "library/two", "other/one"] {
        repositories.push(repository(db, name).await);
    }
    let mut contents = Vec::new();
    for number in 1..=8 {
        contents.push((blob(db, number).await, digest(number)));
    }
    (repositories, contents)
}

#[test]
fn use_is_exact_after_any_sequence() {
    testkit::on_both(async |test| {
        let (repositories, contents) = world(&test.db).await;
        for seed in 1..=8 {
            walk(&test.db, seed, 40, &repositories, &contents).await;
            for repository in &repositories {
                assert_exact(&test.db, repository.project).await;
            }
        }
    });
}

#[test]
fn use_is_exact_after_many_sequences_at_once() {
    testkit::on_both(async |test| {
        let (repositories, contents) = world(&test.db).await;
        let (repositories, contents) = (Arc::new(repositories), Arc::new(contents));
        let walks = (1..=6).map(|seed| {
            let (db, repositories, contents) =
                (test.db.clone(), repositories.clone(), contents.clone());
            async move { walk(&db, seed, 60, &repositories, &contents).await }
        });
        join_all(walks).await;
        for repository in repositories.iter() {
            assert_exact(&test.db, repository.project).await;
        }
    });
}

#[test]
fn a_project_ends_with_its_counters() {
    testkit::on_both(async |test| {
        let library = project(&test.db, "library").await;
        transact!(test.db, |tx| {
            tx.use_bytes(library.id, 5);
            Ok::<_, Error>(())
        })
        .unwrap();
        assert_eq!(used(&test.db, library.id).await, 5);
        let id = library.id;
        transact!(test.db, [library], |tx| projects::delete(tx, &library, NOW)
            .await)
        .unwrap();
        assert_eq!(used(&test.db, id).await, 0);
        assert!(
            quotas::find(&mut test.db.reader().await.unwrap(), id)
                .await
                .unwrap()
                .is_none()
        );
    });
}
