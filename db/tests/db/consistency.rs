//! Repairs beside a server at work: what was found is asked about again.

use db::{
    Db,
    blobs::{self, tombstones},
    changes,
    consistency::{self, Linking, LooseTag},
};
use model::{
    change::Kind,
    id::{ArtifactId, TagId},
};

use crate::given::{self, NOW, blob, digest, find, held, later, manifest, repository, tag};

async fn loose(db: &Db) -> Vec<LooseTag> {
    let reader = &mut *db.reader().await.unwrap();
    consistency::loose_tags(reader, TagId(0), TagId(i64::MAX))
        .await
        .unwrap()
}

async fn mend(db: &Db, tag: &LooseTag) -> bool {
    transact!(db, [tag], |tx| consistency::mend_tag(tx, &tag, later(60))
        .await)
    .unwrap()
}

/// Kind and clock of the last change.
async fn last_change(db: &Db) -> (String, String, i64) {
    let reader = &mut *db.reader().await.unwrap();
    let all = changes::list(reader, None, 1000).await.unwrap();
    let newest = all.iter().max_by_key(|change| change.id).unwrap();
    (newest.kind.clone(), newest.key.clone(), newest.clock)
}

#[test]
fn a_tag_is_mended_under_a_later_clock_and_told() {
    testkit::on_both(async |test| {
        let app = repository(&test.db, "library/app").await;
        let layer = held(&test.db, app, 1).await;
        let image = manifest(&test.db, app, 10, &[layer], &[]).await;
        tag(&test.db, app, "v1", image, 11).await;
        let (_, _, pushed) = last_change(&test.db).await;
        let found = loose(&test.db).await;
        assert!(mend(&test.db, &found[0]).await);
        assert!(loose(&test.db).await.is_empty());
        let (kind, key, clock) = last_change(&test.db).await;
        assert_eq!(kind, Kind::TagMoved.as_str());
        assert!(key.ends_with(":v1"), "{key}");
        assert!(clock > pushed);
        assert!(!mend(&test.db, &found[0]).await, "it is right already");
        assert_eq!(last_change(&test.db).await.2, clock);
    });
}

#[test]
fn a_tag_that_was_pushed_meanwhile_is_left_alone() {
    testkit::on_both(async |test| {
        let (app, other) = (
            repository(&test.db, "library/app").await,
            repository(&test.db, "library/other").await,
        );
        let layer = held(&test.db, app, 1).await;
        let old = manifest(&test.db, app, 10, &[layer], &[]).await;
        let new = manifest(&test.db, app, 12, &[layer], &[]).await;
        let elsewhere = manifest(&test.db, other, 13, &[], &[]).await;
        // One that says something else than it points at, and one that points at nothing of its repository.
        tag(&test.db, app, "says", old, 11).await;
        tag(&test.db, app, "points", elsewhere, 13).await;
        let found = loose(&test.db).await;
        assert_eq!(found.len(), 2);
        assert!(found.iter().any(|tag| tag.points_at.is_none()));
        tag(&test.db, app, "says", new, 12).await;
        tag(&test.db, app, "points", new, 12).await;
        let before = last_change(&test.db).await;
        for tag in &found {
            assert!(!mend(&test.db, tag).await);
        }
        assert_eq!(last_change(&test.db).await, before);
        assert!(loose(&test.db).await.is_empty(), "they are as pushed");
        let reader = &mut *test.db.reader().await.unwrap();
        let all = db::tags::list(reader, app.id, "", 10).await.unwrap();
        assert_eq!(all, ["points", "says"]);
    });
}

#[test]
fn a_manifest_that_was_deleted_meanwhile_gets_nothing() {
    testkit::on_both(async |test| {
        let app = repository(&test.db, "library/app").await;
        let layer = held(&test.db, app, 1).await;
        let image = manifest(&test.db, app, 10, &[layer], &[]).await;
        transact!(test.db, |tx| tx
            .execute("DELETE FROM repository_blobs", &[])
            .await)
        .unwrap();
        let found = {
            let reader = &mut *test.db.reader().await.unwrap();
            consistency::unlinked(reader, ArtifactId(0), image)
                .await
                .unwrap()
        };
        assert_eq!(found.len(), 2);
        let going = find(&test.db, app, 10).await.unwrap();
        transact!(test.db, [going], |tx| {
            given::delete(tx, app, &going, NOW, NOW).await
        })
        .unwrap();
        for unlinked in found {
            let linked = transact!(test.db, [unlinked], |tx| consistency::link(
                tx, &unlinked, NOW
            )
            .await);
            assert_eq!(linked.unwrap(), Linking::Gone);
        }
    });
}

#[test]
fn a_tombstone_that_a_manifest_names_does_not_keep_the_others() {
    testkit::on_both(async |test| {
        let app = repository(&test.db, "library/app").await;
        let (named, other) = (blob(&test.db, 1).await, blob(&test.db, 2).await);
        manifest(&test.db, app, 10, &[named], &[]).await;
        transact!(test.db, |tx| {
            let freed = "UPDATE blobs SET state = 2, freed_at = 1, cleared_at = 1 WHERE id = $1";
            tx.execute(freed, &[named.into()]).await?;
            tx.execute(freed, &[other.into()]).await
        })
        .unwrap();
        let any = async || {
            let reader = &mut *test.db.reader().await.unwrap();
            tombstones::any_to_collect(reader, NOW).await.unwrap()
        };
        assert!(any().await);
        let buried = transact!(test.db, |tx| tombstones::bury(tx, NOW, 100).await);
        assert_eq!(buried.unwrap(), 1);
        assert!(!any().await);
        let reader = &mut *test.db.reader().await.unwrap();
        let left = blobs::newest(reader, &digest(1)).await.unwrap();
        assert_eq!(left.unwrap().id, named);
    });
}
