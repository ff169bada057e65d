//! Contents that were taken in as they lay in the store.

use db::{
    Db,
    blobs::{self, State, adopted},
    imported, links,
};
use model::id::BlobId;

use crate::given::{NOW, digest, later, manifest, repository};

/// A content that nobody has read, held by this repository until the import is finished.
async fn adopt(db: &Db, repository: &str, number: u64) -> BlobId {
    let repository = crate::given::repository(db, repository).await;
    transact!(db, |tx| {
        let id = adopted::insert(tx, &digest(number), 0, 100, "data", NOW).await?;
        let id = id.expect("new");
        links::add(tx, repository, id, Some(adopted::UNTIL_FINISHED), NOW).await?;
        Ok::<_, model::Error>(id)
    })
    .unwrap()
}

async fn state(db: &Db, number: u64) -> State {
    let mut reader = db.reader().await.unwrap();
    let newest = blobs::newest(&mut reader, &digest(number)).await.unwrap();
    newest.unwrap().state
}

#[test]
fn what_is_adopted_is_live_once_it_was_read_or_written() {
    testkit::on_both(async |test| {
        for number in 1..=3 {
            adopt(&test.db, "library/app", number).await;
            assert_eq!(state(&test.db, number).await, State::Adopted);
        }
        let rows = {
            let mut reader = test.db.reader().await.unwrap();
            blobs::in_state(&mut reader, State::Adopted, BlobId(0), 10)
                .await
                .unwrap()
        };
        let ids: Vec<BlobId> = rows.iter().map(|row| row.id).collect();
        let [first, second, third] = ids[..] else {
            panic!("three of them");
        };
        transact!(test.db, |tx| blobs::set_checked(tx, &[first], later(1))
            .await)
        .unwrap();
        transact!(test.db, |tx| blobs::clear_suspect(
            tx,
            second,
            100,
            later(1)
        )
        .await)
        .unwrap();
        transact!(test.db, |tx| {
            blobs::set_written(tx, third, 100, "data", later(1)).await
        })
        .unwrap();
        for number in 1..=3 {
            assert_eq!(state(&test.db, number).await, State::Live, "{number}");
        }
    });
}

#[test]
fn a_verdict_on_what_is_adopted_counts_unless_a_push_was_faster() {
    testkit::on_both(async |test| {
        for number in 1..=2 {
            adopt(&test.db, "library/app", number).await;
        }
        let mut marked = Vec::new();
        for number in 1..=2 {
            let row = {
                let mut reader = test.db.reader().await.unwrap();
                blobs::newest(&mut reader, &digest(number))
                    .await
                    .unwrap()
                    .unwrap()
            };
            let suspicion = transact!(test.db, [row], |tx| {
                blobs::set_suspect(tx, &row, later(1)).await
            });
            let suspicion = suspicion.unwrap().unwrap();
            // It is not served meanwhile.
            assert_eq!(state(&test.db, number).await, State::Adopted);
            if number == 2 {
                transact!(test.db, |tx| {
                    blobs::set_written(tx, row.id, 100, "data", later(2)).await
                })
                .unwrap();
            }
            let done = transact!(test.db, [row], |tx| {
                blobs::mark_damaged(tx, &row, suspicion, later(3)).await
            });
            marked.push(done.unwrap().is_some());
        }
        assert_eq!(marked, [true, false]);
        assert_eq!(state(&test.db, 1).await, State::Lost);
        assert_eq!(state(&test.db, 2).await, State::Live);
    });
}

#[test]
fn what_was_condemned_unread_comes_back_unread() {
    testkit::on_both(async |test| {
        let app = repository(&test.db, "library/app").await;
        let id = adopt(&test.db, "library/app", 1).await;
        transact!(test.db, |tx| links::remove_unless_named(tx, app, id).await).unwrap();
        assert!(
            transact!(test.db, |tx| blobs::condemn_if_unheld(tx, id, later(1))
                .await)
            .unwrap()
        );
        assert_eq!(state(&test.db, 1).await, State::Condemned);
        // Whoever wrote the same beside it does not take its bytes for good.
        let revived = transact!(test.db, |tx| adopted::revive_read(tx, id, later(2)).await);
        assert!(!revived.unwrap());
        assert_eq!(state(&test.db, 1).await, State::Condemned);
        transact!(test.db, |tx| blobs::revive(tx, id, later(2)).await).unwrap();
        assert_eq!(state(&test.db, 1).await, State::Adopted);
    });
}

#[test]
fn links_wait_for_the_end_of_the_import() {
    testkit::on_both(async |test| {
        let (app, import) = (
            repository(&test.db, "library/app").await,
            repository(&test.db, "seawall/import").await,
        );
        let mut ids = Vec::new();
        for number in 1..=3 {
            let id = adopt(&test.db, "seawall/import", number).await;
            if number < 3 {
                let check_at = Some(adopted::UNTIL_FINISHED);
                transact!(test.db, |tx| links::add(tx, app, id, check_at, NOW).await).unwrap();
            }
            ids.push(id);
        }
        manifest(&test.db, app, 10, &[ids[0]], &[]).await;
        let ages = later(1_000_000_000);
        {
            let mut reader = test.db.reader().await.unwrap();
            let due = links::due(&mut reader, ages, 10).await.unwrap();
            assert!(due.iter().all(|link| !ids.contains(&link.blob)), "{due:?}");
            let held = adopted::held(&mut reader, import.id, BlobId(0), 10)
                .await
                .unwrap();
            let needed: Vec<bool> = held.iter().map(|one| one.is_needed).collect();
            assert_eq!(needed, [true, false, false]);
            let rest = adopted::held(&mut reader, import.id, ids[0], 1)
                .await
                .unwrap();
            assert_eq!(rest[0].id, ids[1]);
        }
        let release = async |limit| {
            transact!(test.db, |tx| adopted::release(tx, limit, later(5)).await).unwrap()
        };
        assert_eq!(
            (release(3).await, release(3).await, release(3).await),
            (3, 1, 0)
        );
        let mut reader = test.db.reader().await.unwrap();
        assert_eq!(
            links::due(&mut reader, later(5), 10).await.unwrap().len(),
            4
        );
    });
}

#[test]
fn tags_are_found_by_their_names() {
    testkit::on_both(async |test| {
        let app = repository(&test.db, "library/app").await;
        let artifact = manifest(&test.db, app, 10, &[], &[]).await;
        let tag: oci::name::Tag = "v1".parse().unwrap();
        transact!(test.db, [tag], |tx| {
            let cause = db::tags::Cause::Import;
            db::tags::set(tx, app, &tag, artifact, &digest(10), cause, NOW).await?;
            imported::set_tag_time(tx, app.id, &tag, later(-50), NOW).await?;
            // One that was set before this stays as it is.
            imported::set_tag_time(tx, app.id, &tag, later(-90), later(9)).await?;
            imported::set_manifest_time(tx, artifact, later(-70), NOW).await
        })
        .unwrap();
        let mut reader = test.db.reader().await.unwrap();
        let names = ["v1".to_owned(), "v2".to_owned()];
        let found = imported::tags(&mut reader, app.id, &names).await.unwrap();
        assert_eq!(found, [("v1".to_owned(), digest(10))]);
        let told = db::tags::details::of_all(&mut reader, &[artifact])
            .await
            .unwrap();
        assert_eq!(told[0].pushed_at, later(-50));
        let details = db::artifacts::details::find(&mut reader, app.id, &digest(10)).await;
        assert_eq!(details.unwrap().unwrap().pushed_at, later(-70));
    });
}
