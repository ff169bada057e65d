//! Tags and their clocks.

use std::time::Duration;

use db::tags::Cause;
use db::{Db, artifacts, tags};
use model::{
    Error,
    id::{ArtifactId, RepositoryId},
    time::Clock,
};
use oci::name::Tag;

use crate::given::{NOW, assert_kind, changes, digest, find, later, manifest, repository, tag};

async fn clock(db: &Db, repository: RepositoryId, name: &'static str) -> i64 {
    let clock = db
        .reader()
        .await
        .unwrap()
        .row(
            "SELECT clock FROM tags WHERE repository_id = $1 AND name = $2",
            &[repository.into(), name.into()],
            |row| row.int(0),
        )
        .await;
    clock.unwrap().unwrap()
}

#[test]
fn a_tag_moves_and_goes() {
    testkit::on_both(async |test| {
        let app = repository(&test.db, "library/app").await;
        let (one, two) = (
            manifest(&test.db, app, 1, &[], &[]).await,
            manifest(&test.db, app, 2, &[], &[]).await,
        );
        tag(&test.db, app, "v1", one, 1).await;
        let before = test.db.generations().of(app.id);
        tag(&test.db, app, "v1", two, 2).await;
        assert_ne!(test.db.generations().of(app.id), before);
        let found = artifacts::find_tagged(&mut test.db.reader().await.unwrap(), app.id, "v1")
            .await
            .unwrap();
        assert_eq!(found.unwrap().digest, digest(2));

        let name: Tag = "v1".parse().unwrap();
        transact!(test.db, [name], |tx| tags::delete(
            tx, app, &name, None, None, NOW
        )
        .await)
        .unwrap();
        let again = transact!(test.db, [name], |tx| tags::delete(
            tx, app, &name, None, None, NOW
        )
        .await);
        assert_kind(again, |error| matches!(error, Error::NotFound(..)));
        assert!(find(&test.db, app, 2).await.is_some(), "the manifest stays");
        let moves = changes(&test.db)
            .await
            .into_iter()
            .filter(|change| change.starts_with("tag."));
        let expected = [
            "tag.moved library/app:v1",
            "tag.moved library/app:v1",
            "tag.deleted library/app:v1",
        ];
        assert_eq!(moves.collect::<Vec<_>>(), expected);
    });
}

#[test]
fn tags_are_listed_by_the_bytes_of_their_names() {
    testkit::on_both(async |test| {
        let app = repository(&test.db, "library/app").await;
        let image = manifest(&test.db, app, 1, &[], &[]).await;
        let sorted = [
            "0", "A", "B", "Z", "_", "_a", "a", "a-", "a.", "a0", "aA", "a_", "aa", "b", "z",
        ];
        for name in [
            "aa", "a_", "Z", "a", "z", "A", "_", "a-", "a.", "B", "b", "0", "a0", "aA", "_a",
        ] {
            tag(&test.db, app, name, image, 1).await;
        }
        let reader = &mut *test.db.reader().await.unwrap();
        for (index, name) in sorted.iter().enumerate() {
            assert_eq!(
                tags::list(reader, app.id, name, 100).await.unwrap(),
                sorted[index + 1..]
            );
        }
        let mut pages: Vec<String> = Vec::new();
        loop {
            let after = pages.last().cloned().unwrap_or_default();
            let page = tags::list(reader, app.id, &after, 4).await.unwrap();
            if page.is_empty() {
                break;
            }
            pages.extend(page);
        }
        assert_eq!(pages, sorted);
        assert_eq!(
            tags::list(reader, app.id, "a!", 2).await.unwrap(),
            ["a-", "a."],
            "after a name that is none"
        );
    });
}

#[test]
fn a_clock_that_goes_back_still_moves_the_tag_forward() {
    testkit::on_both(async |test| {
        let app = repository(&test.db, "library/app").await;
        let image = manifest(&test.db, app, 1, &[], &[]).await;
        let (name, digest): (Tag, _) = ("v1".parse().unwrap(), digest(1));
        let mut last = 0;
        for now in [later(100), NOW, later(50), later(-1_000)] {
            transact!(test.db, [name], |tx| tags::set(
                tx,
                app,
                &name,
                image,
                &digest,
                Cause::Push,
                now
            )
            .await)
            .unwrap();
            let clock = clock(&test.db, app.id, "v1").await;
            assert!(clock > last, "{clock} after {last}");
            last = clock;
        }
        // A restarted node, whose machine's clock is an hour behind, goes on where this database stands.
        let behind = Clock::default();
        let other = Db::open(&test.config, behind).await.unwrap();
        transact!(other, [name], |tx| tags::delete(
            tx,
            app,
            &name,
            None,
            None,
            later(-3_600)
        )
        .await)
        .unwrap();
        transact!(other, [name], |tx| tags::set(
            tx,
            app,
            &name,
            image,
            &digest,
            Cause::Push,
            later(-3_600)
        )
        .await)
        .unwrap();
        assert!(clock(&test.db, app.id, "v1").await > last);
        other.close().await;
        let log = db::changes::list(&mut test.db.reader().await.unwrap(), None, 100)
            .await
            .unwrap();
        let clocks: Vec<i64> = log
            .into_iter()
            .rev()
            .filter(|change| change.kind.starts_with("tag."))
            .map(|change| change.clock)
            .collect();
        assert!(clocks.is_sorted_by(|a, b| a < b), "{clocks:?}");
    });
}

#[test]
fn a_deletion_is_later_than_a_tag_of_a_node_that_is_ahead() {
    testkit::on_both(async |test| {
        let app = repository(&test.db, "library/app").await;
        let image = manifest(&test.db, app, 1, &[], &[]).await;
        let (name, digest): (Tag, _) = ("v1".parse().unwrap(), digest(1));
        let behind = test.node("behind").await; // it does not learn what the other gives from now on
        let ahead = later(3_600);
        transact!(test.db, [name], |tx| tags::set(
            tx,
            app,
            &name,
            image,
            &digest,
            Cause::Push,
            ahead
        )
        .await)
        .unwrap();
        transact!(behind, [name], |tx| tags::delete(
            tx, app, &name, None, None, NOW
        )
        .await)
        .unwrap();
        behind.close().await;
        let newest = db::changes::list(&mut test.db.reader().await.unwrap(), None, 1)
            .await
            .unwrap();
        assert_eq!(newest[0].kind, "tag.deleted");
        assert_eq!(newest[0].origin, "behind");
        assert!(
            newest[0].clock > ahead.0,
            "{} after {}",
            newest[0].clock,
            ahead.0
        );
    });
}

#[test]
fn of_many_who_move_a_tag_at_once_each_does_and_the_last_stays() {
    testkit::on_both(async |test| {
        let app = repository(&test.db, "library/app").await;
        let two = test.node("two").await;
        let mut images = Vec::new();
        for number in 1..=8 {
            images.push((number, manifest(&test.db, app, number, &[], &[]).await));
        }
        let moved = images.iter().map(async |(number, image)| {
            let node = if number % 2 == 0 { &two } else { &test.db };
            tag(node, app, "v1", *image, *number).await;
        });
        tokio::time::timeout(
            Duration::from_secs(30),
            futures_util::future::join_all(moved),
        )
        .await
        .unwrap();
        two.close().await;
        let log = db::changes::list(&mut test.db.reader().await.unwrap(), None, 100)
            .await
            .unwrap();
        let mut moves: Vec<_> = log
            .into_iter()
            .filter(|change| change.kind == "tag.moved")
            .collect();
        assert_eq!(moves.len(), 8);
        moves.sort_by_key(|change| change.clock);
        assert!(
            moves.is_sorted_by(|a, b| a.clock < b.clock),
            "no two have the same clock"
        );
        let stays = artifacts::find_tagged(&mut test.db.reader().await.unwrap(), app.id, "v1")
            .await
            .unwrap()
            .unwrap();
        assert!(moves[7].payload.contains(&stays.digest.to_string()));
        assert_eq!(clock(&test.db, app.id, "v1").await, moves[7].clock);
    });
}

#[test]
fn a_tag_is_taken_from_the_artifact_that_was_meant_and_from_no_other() {
    testkit::on_both(async |test| {
        let app = repository(&test.db, "library/app").await;
        let (one, two) = (
            manifest(&test.db, app, 1, &[], &[]).await,
            manifest(&test.db, app, 2, &[], &[]).await,
        );
        tag(&test.db, app, "v1", two, 2).await;
        let name: Tag = "v1".parse().unwrap();
        let from_one = transact!(test.db, [name], |tx| tags::delete(
            tx,
            app,
            &name,
            Some(one),
            None,
            NOW
        )
        .await);
        assert_kind(from_one, |error| matches!(error, Error::NotFound(..)));
        let from_two = transact!(test.db, [name], |tx| tags::delete(
            tx,
            app,
            &name,
            Some(two),
            None,
            NOW
        )
        .await);
        from_two.unwrap();
    });
}

#[test]
fn the_last_two_tags_of_an_indexs_part_move_off_at_once_and_lists_show_it_no_more() {
    testkit::on_both(async |test| {
        let app = repository(&test.db, "library/app").await;
        let part = manifest(&test.db, app, 1, &[], &[]).await;
        let other = manifest(&test.db, app, 2, &[], &[]).await;
        manifest(&test.db, app, 3, &[], &[part]).await;
        for round in 0..20 {
            for name in ["a", "b"] {
                tag(&test.db, app, name, part, 1).await;
            }
            let moves = ["a", "b"].map(|name| tag(&test.db, app, name, other, 2));
            futures_util::future::join_all(moves).await;
            let mut reader = test.db.reader().await.unwrap();
            let wrong = db::consistency::mislisted(&mut reader, ArtifactId(0), ArtifactId(100));
            let wrong = wrong.await.unwrap();
            assert!(wrong.is_empty(), "round {round}: {wrong:?}");
        }
    });
}

#[test]
fn all_tags_of_a_page_are_told_however_many_they_are() {
    testkit::on_both(async |test| {
        let app = repository(&test.db, "library/app").await;
        let (many, few) = (
            manifest(&test.db, app, 1, &[], &[]).await,
            manifest(&test.db, app, 2, &[], &[]).await,
        );
        transact!(test.db, |tx| tx
            .execute(
                "WITH RECURSIVE numbers(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM numbers WHERE n < 20000)
                 INSERT INTO tags (repository_id, name, artifact_id, digest, clock, node, pushed_at, uid)
                 SELECT $1, 't' || n, $2, 'x', 0, 'n', 0, 'u' || n FROM numbers",
                &[app.id.into(), many.0.into()],
            )
            .await)
        .unwrap();
        tag(&test.db, app, "important", few, 2).await;
        let mut reader = test.db.reader().await.unwrap();
        let told = tags::details::of_all(&mut reader, &[few, many])
            .await
            .unwrap();
        assert_eq!(told.len(), 20_001);
        assert_eq!(told.last().unwrap().name, "important");
        let own = told.iter().filter(|tag| tag.artifact == many);
        let names: std::collections::BTreeSet<_> = own.map(|tag| &tag.name).collect();
        assert_eq!(names.len(), 20_000);
    });
}
