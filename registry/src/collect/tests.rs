use std::time::{Duration, Instant};

use db::{
    blobs::{self, State},
    counters::Counter,
    links, repositories,
};
use model::Error;
use oci::digest::Digest;
use tokio_util::sync::CancellationToken;

use super::{Candidate, TOMBSTONE};
use crate::world::{World, digest_of, each};

const DAY: Duration = Duration::from_hours(24);
const SECOND: Duration = Duration::from_secs(1);

#[test]
fn what_a_deleted_manifest_named_goes_at_once_without_grace() {
    each(async |world| {
        let manifest = world.push_image("library/a", "v1", &[b"layer"]).await;
        assert_eq!(world.collect().await.done.freed, 0, "everything is named");
        world.delete_manifest("library/a", &manifest).await;
        let report = world.collect().await;
        assert_eq!(
            (
                report.done.links_ended,
                report.done.freed,
                report.done.failed
            ),
            (3, 3, 0)
        );
        assert!(report.complete && report.done.bytes_freed > 0 && report.examples.len() == 3);
        assert_eq!(world.stored().await, 0);
        assert!(!world.serves("library/a", &digest_of(b"layer")).await);
        assert!(world.fsck(true, false).await.is_clean());
    });
}

#[test]
fn what_another_manifest_names_stays() {
    each(async |world| {
        let first = world
            .push_image("library/a", "v1", &[b"shared", b"own"])
            .await;
        world.push_image("library/a", "v2", &[b"shared"]).await;
        world.delete_manifest("library/a", &first).await;
        // Of the first image went its manifest, its config and its own layer.
        assert_eq!(world.collect().await.done.freed, 3);
        assert!(world.serves("library/a", &digest_of(b"shared")).await);
        assert!(!world.serves("library/a", &digest_of(b"own")).await);
        // The link was noted as asked about: nothing is due any more.
        assert_eq!(world.collect().await.done.links_asked, 0);
    });
}

#[test]
fn what_another_repository_holds_stays_there_alone() {
    each(async |world| {
        let manifest = world.push_image("library/a", "v1", &[b"shared"]).await;
        world.push_image("library/b", "v2", &[b"shared"]).await;
        world.delete_manifest("library/a", &manifest).await;
        let report = world.collect().await;
        assert_eq!((report.done.links_ended, report.done.freed), (3, 2));
        assert!(world.serves("library/b", &digest_of(b"shared")).await);
        assert!(!world.serves("library/a", &digest_of(b"shared")).await);
    });
}

#[test]
fn an_upload_stays_a_day_and_for_ever_once_it_is_named() {
    each(async |world| {
        let lonely = world.push_blob("library/a", b"lonely").await;
        world.push_blob("library/a", b"layer").await;
        world.advance(Duration::from_hours(23));
        assert_eq!(world.collect().await.done.links_asked, 0);
        world.push_image("library/a", "v1", &[b"layer"]).await;
        world.advance(Duration::from_hours(2));
        assert_eq!(world.collect().await.done.freed, 1);
        assert!(!world.serves("library/a", &lonely).await);
        world.advance(DAY * 2);
        assert_eq!(world.collect().await.done.freed, 0);
        assert!(world.serves("library/a", &digest_of(b"layer")).await);
    });
}

#[test]
fn a_push_between_decision_and_claim_takes_the_content_back() {
    each(async |world| {
        let digest = condemn(world, b"again").await;
        world.push_blob("library/a", b"again").await;
        let (claimed, _) = world
            .registry
            .claim_condemned(vec![condemned_row(world, &digest).await])
            .await
            .unwrap();
        assert!(claimed.is_empty());
        assert_eq!(world.collect().await.done.freed, 0);
        assert!(world.serves("library/a", &digest).await);
        assert_eq!(world.row(&digest).await.unwrap().location, "data");
    });
}

#[test]
fn a_push_after_the_claim_stores_elsewhere_and_survives_the_late_delete() {
    each(async |world| {
        let digest = condemn(world, b"again").await;
        let (claimed, _) = world
            .registry
            .claim_condemned(vec![condemned_row(world, &digest).await])
            .await
            .unwrap();
        assert_eq!(claimed.len(), 1);
        // The collector stands still here. Nobody sees the content meanwhile.
        assert!(!world.serves("library/a", &digest).await);
        world.push_blob("library/a", b"again").await;
        let row = world.row(&digest).await.unwrap();
        assert_eq!(
            (row.generation, row.location.as_str(), row.state),
            (1, "data.1", State::Live)
        );
        let answers = world
            .registry
            .store()
            .delete(&[(digest, claimed[0].location.clone())])
            .await;
        assert_eq!(answers.into_iter().next().unwrap().unwrap(), Some(5));
        world.registry.set_freed(vec![claimed[0].id]).await.unwrap();
        assert!(world.serves("library/a", &digest).await);
        assert!(world.fsck(true, false).await.is_clean());
    });
}

#[test]
fn what_a_dead_collector_had_claimed_is_finished_by_the_next_one() {
    each(async |world| {
        let digest = condemn(world, b"claimed").await;
        world
            .registry
            .claim_condemned(vec![condemned_row(world, &digest).await])
            .await
            .unwrap();
        let next = world.restart().await;
        assert!(next.has_garbage().await.unwrap());
        let report = next
            .collect(&CancellationToken::new(), |_| ())
            .await
            .unwrap();
        assert_eq!((report.done.freed, report.done.bytes_freed), (1, 7));
        assert!(!world.file(&digest, "data").exists());
        // The tombstone stays an hour and, its place cleared once more, another; then the content starts anew.
        for _ in 0..2 {
            assert_eq!(world.state(&digest).await, Some(State::Deleting));
            assert!(!next.has_garbage().await.unwrap());
            world.advance(TOMBSTONE + SECOND);
            assert!(next.has_garbage().await.unwrap());
            next.collect(&CancellationToken::new(), |_| ())
                .await
                .unwrap();
        }
        assert_eq!(world.state(&digest).await, None);
    });
}

/// It had begun before the claim, and stored elsewhere in the end.
#[test]
fn what_a_late_push_left_behind_goes_when_the_tombstone_does() {
    each(async |world| {
        let digest = condemn(world, b"late").await;
        assert_eq!(world.collect().await.done.freed, 1);
        let late = world
            .registry
            .store()
            .put(&digest, "data", b"late".as_slice().into());
        late.await.unwrap();
        assert_eq!(world.collect().await.done.freed, 0);
        assert!(world.file(&digest, "data").exists());
        world.advance(TOMBSTONE + SECOND);
        world.collect().await;
        assert!(!world.file(&digest, "data").exists());
        // Another collector may have read it in the same moment: an hour passes before the place may be used anew.
        assert_eq!(world.state(&digest).await, Some(State::Deleting));
        world.push_blob("library/a", b"late").await;
        assert_eq!(world.row(&digest).await.unwrap().location, "data.1");
        world.advance(TOMBSTONE + SECOND);
        world.collect().await;
        assert!(world.serves("library/a", &digest).await);
        assert!(world.fsck(true, false).await.is_clean());
    });
}

/// Two nodes collect, clear and bury the same contents at once, while a client pushes what they bury.
#[test]
fn two_collectors_do_no_harm_to_each_other_nor_to_a_push() {
    const COUNT: usize = 250;
    each(async |world| {
        let mut again = Vec::new();
        for number in 0..10 {
            again.push(condemn(world, format!("again {number}").as_bytes()).await);
        }
        plant(world, COUNT).await;
        let other = world.restart().await;
        let cancel = CancellationToken::new();
        let mut freed = 0;
        for _ in 0..3 {
            let both = async {
                let (one, two) = (&world.registry, &other);
                tokio::join!(one.collect(&cancel, |_| ()), two.collect(&cancel, |_| ()))
            };
            let pushes = async {
                for number in 0..10 {
                    let bytes = format!("again {number}");
                    world.push_blob("library/a", bytes.as_bytes()).await;
                    tokio::task::yield_now().await;
                }
            };
            let ((one, two), ()) = tokio::join!(both, pushes);
            let (one, two) = (one.unwrap().done, two.unwrap().done);
            assert_eq!((one.failed, two.failed), (0, 0));
            freed += one.freed + two.freed;
            for digest in &again {
                assert!(world.serves("library/a", digest).await, "{digest}");
            }
            world.advance(TOMBSTONE + SECOND);
        }
        assert!(freed >= COUNT as u64, "{freed}");
        assert_eq!(world.stored().await, again.len());
        let report = world.fsck(true, false).await;
        assert!(report.is_clean(), "{:?}", report.findings);
    });
}

#[test]
fn nothing_is_freed_while_the_store_is_away() {
    each(async |world| {
        let digest = condemn(world, b"content").await;
        let (identity, aside) = (world.root.join("store-id"), world.root.join("aside"));
        std::fs::rename(&identity, &aside).unwrap();
        let refused = world
            .registry
            .collect(&CancellationToken::new(), |_| ())
            .await;
        assert!(matches!(refused, Err(Error::Unavailable(_))), "{refused:?}");
        std::fs::rename(&aside, &identity).unwrap();
        assert!(world.file(&digest, "data").exists());
        assert_eq!(world.collect().await.done.freed, 1);
        assert!(!world.file(&digest, "data").exists());
    });
}

#[test]
fn a_content_that_cannot_be_deleted_holds_up_nothing_else() {
    each(async |world| {
        let stuck = condemn(world, b"stuck").await;
        condemn(world, b"other").await;
        // A directory in place of the file cannot be unlinked.
        std::fs::remove_file(world.file(&stuck, "data")).unwrap();
        std::fs::create_dir(world.file(&stuck, "data")).unwrap();
        let report = world.collect().await;
        assert_eq!((report.done.freed, report.done.failed), (1, 1));
        std::fs::remove_dir(world.file(&stuck, "data")).unwrap();
        assert_eq!(world.collect().await.done.freed, 1);
    });
}

#[test]
fn a_cancelled_run_stops_where_it_is_and_the_next_goes_on() {
    each(async |world| {
        plant(world, 350).await;
        let cancel = CancellationToken::new();
        let report = world
            .registry
            .collect(&cancel, |done| {
                if done.links_asked >= 200 {
                    cancel.cancel();
                }
            })
            .await
            .unwrap();
        assert!(!report.complete);
        assert_eq!((report.done.links_asked, report.done.freed), (200, 0));
        let report = world.collect().await;
        assert_eq!((report.done.links_asked, report.done.freed), (150, 350));
        assert_eq!(world.stored().await, 0);
    });
}

#[test]
fn the_preview_names_what_goes_and_why_and_changes_nothing() {
    each(async |world| {
        let manifest = world
            .push_image("library/a", "v1", &[b"shared", b"own"])
            .await;
        world.push_image("library/b", "v2", &[b"shared"]).await;
        assert!(world.registry.collect_preview(10).await.unwrap().is_empty());
        world.delete_manifest("library/a", &manifest).await;
        let candidates = world.registry.collect_preview(10).await.unwrap();
        assert_eq!(candidates.len(), 4);
        let of = |digest: &Digest| {
            candidates
                .iter()
                .find(|candidate| candidate.digest == *digest)
                .unwrap()
        };
        let Candidate {
            repository,
            frees_bytes,
            why,
            size,
            ..
        } = of(&digest_of(b"own"));
        assert_eq!(
            (repository.as_deref(), *frees_bytes, *size),
            (Some("library/a"), true, 3)
        );
        assert!(why.contains("no manifest of `library/a` names it"), "{why}");
        assert!(!of(&digest_of(b"shared")).frees_bytes);
        assert_eq!(world.registry.collect_preview(2).await.unwrap().len(), 2);
        assert_eq!(world.collect().await.done.freed, 3);
        assert!(world.registry.collect_preview(10).await.unwrap().is_empty());
    });
}

/// The rule that everything here is for: what a push was told is stored can be pulled, whatever the collector does.
#[test]
fn acknowledged_content_is_never_missing_while_collection_runs_without_grace() {
    const CLIENTS: usize = 6;
    const ROUNDS: usize = 15;
    each(async |world| {
        let stop = CancellationToken::new();
        let collector = async {
            let mut freed = 0;
            while !stop.is_cancelled() {
                freed += world.collect().await.done.freed;
                tokio::task::yield_now().await;
            }
            freed
        };
        // Each client has a repository of its own, and few different contents: what one releases the others push.
        let client = async |number: usize| {
            let name = format!("library/r{number}");
            for round in 0..ROUNDS {
                let layer = format!("layer {}", (number + round) % 3);
                let manifest = world.push_image(&name, "t", &[layer.as_bytes()]).await;
                for _ in 0..3 {
                    for digest in [digest_of(layer.as_bytes()), manifest] {
                        assert!(
                            world.serves(&name, &digest).await,
                            "{digest} is missing in {name}"
                        );
                    }
                    tokio::task::yield_now().await;
                }
                world.delete_manifest(&name, &manifest).await;
            }
        };
        let clients = async {
            futures_util::future::join_all((0..CLIENTS).map(client)).await;
            stop.cancel();
        };
        let (freed, ()) = tokio::join!(collector, clients);
        assert!(freed > 0, "the collector had nothing to do");
        world.collect().await;
        let report = world.fsck(true, false).await;
        assert!(report.is_clean(), "{:?}", report.findings);
    });
}

/// Prints how fast many small contents go while a client pushes.
#[test]
#[ignore = "owner: registry::collect; it measures a rate, so it is run alone and by hand"]
fn a_hundred_thousand_contents_go_quickly_while_pushes_go_on() {
    const COUNT: usize = 100_000;
    each(async |world| {
        plant(world, COUNT).await;
        world.database.settle();
        let stop = CancellationToken::new();
        let pushes = async {
            let (mut count, mut slowest) = (0_u32, Duration::ZERO);
            while !stop.is_cancelled() {
                let start = Instant::now();
                world
                    .push_blob("library/b", format!("push {count}").as_bytes())
                    .await;
                slowest = slowest.max(start.elapsed());
                count += 1;
            }
            (count, slowest)
        };
        let collection = async {
            let start = Instant::now();
            let report = world.collect().await;
            stop.cancel();
            (report, start.elapsed())
        };
        let ((report, took), (pushed, slowest)) = tokio::join!(collection, pushes);
        assert_eq!(report.done.freed, COUNT as u64);
        println!(
            "{}: {COUNT} contents in {took:?}, {:.0}/s; meanwhile {pushed} pushes, the slowest {slowest:?}",
            world.database.db.engine(),
            COUNT as f64 / took.as_secs_f64(),
        );
        assert!(COUNT as f64 / took.as_secs_f64() >= 2000.0);
    });
}

/// A content that was decided to go, as far as its condemnation.
async fn condemn(world: &World<'_>, bytes: &[u8]) -> Digest {
    let digest = world.push_blob("library/a", bytes).await;
    world.advance(DAY + SECOND);
    let db = &world.database.db;
    let now = db.now().await.unwrap();
    let due = links::due(&mut db.reader().await.unwrap(), now, 10)
        .await
        .unwrap();
    assert_eq!(world.registry.end_links(due).await.unwrap(), 1);
    assert_eq!(world.state(&digest).await, Some(State::Condemned));
    digest
}

/// As the collector read it before somebody else was faster.
async fn condemned_row(world: &World<'_>, digest: &Digest) -> blobs::Blob {
    blobs::Blob {
        state: State::Condemned,
        ..world.row(digest).await.unwrap()
    }
}

/// Contents whose links are due and that nothing names, without the cost of pushing each: named by their numbers, whatever their bytes.
async fn plant(world: &World<'_>, count: usize) {
    std::thread::scope(|scope| {
        for part in 0..8 {
            let numbers = (10_000_000..10_000_000 + count).skip(part).step_by(8);
            scope.spawn(move || {
                for number in numbers {
                    let name = format!("sha256:{}{number}a{}", 10 + number % 90, "0".repeat(53));
                    let file = world.file(&name.parse().unwrap(), "data");
                    std::fs::create_dir_all(file.parent().unwrap()).unwrap();
                    std::fs::write(file, number.to_string()).unwrap();
                }
            });
        }
    });
    let target = world.target("library/planted");
    let planted = world.database.db.write(move |tx| {
        let target = target.clone();
        Box::pin(async move {
            let now = tx.now().await?;
            let made = repositories::ensure(tx, target.project, &target.name, now).await?;
            let values = &[(count as i64).into(), now.into()];
            tx.execute(
                "INSERT INTO blobs (digest, generation, size, location, state, state_at, checked_at, created_at)
                 WITH RECURSIVE n(i) AS (SELECT 10000000 UNION ALL SELECT i + 1 FROM n WHERE i < 10000000 + $1 - 1)
                 SELECT 'sha256:' || (10 + n.i % 90) || n.i || 'a' || '00000000000000000000000000000000000000000000000000000', 0, 8, 'data', 0, $2, $2, $2
                   FROM n",
                values,
            )
            .await?;
            let links = [
                "INSERT INTO repository_blobs (repository_id, blob_id, added_at, check_at) SELECT $1, id, $2, $2 FROM blobs WHERE digest LIKE '%a00000000000000000000000000000000000000000000000000000'",
                "INSERT INTO project_blobs (project_id, blob_id, links) SELECT r.project_id, b.id, 1 FROM blobs b
                   JOIN repositories r ON r.id = $1 WHERE digest LIKE '%a00000000000000000000000000000000000000000000000000000' AND b.created_at <= $2",
            ];
            for sql in links {
                let linked = tx.execute(sql, &[made.id.into(), now.into()]).await?;
                assert_eq!(linked, count as u64);
            }
            tx.count(Counter::ProjectBytes(target.project), 8 * count as i64);
            Ok(())
        })
    });
    planted.await.unwrap();
}
