use std::time::Duration;

use db::{
    projects::{self, NewProject},
    trash::{self, Item},
};
use model::{Error, listing::Listing, name::ProjectName};
use tokio_util::sync::CancellationToken;

use crate::{
    Config, Registry,
    world::{World, config, digest_of, each, image, index},
};

const SECOND: Duration = Duration::from_secs(1);

/// The same registry where what is deleted stays a day.
async fn keeping(world: &World<'_>) -> Registry {
    let store = blob::Store::open(blob::Config::new(&world.root))
        .await
        .unwrap();
    let config = Config {
        trash_keep: Duration::from_hours(24),
        ..config()
    };
    Registry::new(world.database.db.clone(), store, config, &[[1; 32]])
}

async fn all(world: &World<'_>) -> Vec<Item> {
    let mut reader = world.database.db.reader().await.unwrap();
    let all = trash::LIST.select(&Listing::default(), db::query::Within::all());
    all.unwrap().page(&mut reader, 0, 1000).await.unwrap()
}

/// The rule that everything here is for: what was put into the trash comes back whole, whatever the collector does meanwhile.
#[test]
fn what_comes_back_is_whole_while_collection_runs_without_grace() {
    const CLIENTS: usize = 4;
    const ROUNDS: usize = 10;
    each(async |world| {
        let keeping = keeping(world).await;
        let stop = CancellationToken::new();
        let collector = async {
            while !stop.is_cancelled() {
                world.collect().await;
                tokio::task::yield_now().await;
            }
        };
        let client = async |number: usize| {
            let name = format!("library/r{number}");
            let repository = name.parse().unwrap();
            for round in 0..ROUNDS {
                // What one has in the trash another pushes.
                let layer = format!("layer {}", (number + round) % 3);
                let digest = world.push_image(&name, "t", &[layer.as_bytes()]).await;
                keeping.delete_manifest(&repository, &digest).await.unwrap();
                for _ in 0..3 {
                    tokio::task::yield_now().await;
                }
                let own = all(world).await;
                let own = own.iter().find(|item| item.repository == name).unwrap();
                let back = keeping.restore(own.id).await.unwrap();
                assert_eq!((back.manifests, back.tags), (1, 1));
                for digest in [digest_of(layer.as_bytes()), digest] {
                    assert!(world.serves(&name, &digest).await, "{digest} in {name}");
                }
                world.delete_manifest(&name, &digest).await;
            }
        };
        let clients = async {
            futures_util::future::join_all((0..CLIENTS).map(client)).await;
            stop.cancel();
        };
        tokio::join!(collector, clients);
        world.collect().await;
        let report = world.fsck(true, false).await;
        assert!(report.is_clean(), "{:?}", report.findings);
        // What a push that came too late had begun to write goes with the tombstones.
        world.advance(Duration::from_hours(2));
        world.collect().await;
        assert_eq!(world.stored().await, 0);
    });
}

#[test]
fn an_index_brings_its_manifests_back_and_they_cannot_come_without_their_own() {
    each(async |world| {
        let keeping = keeping(world).await;
        world.push_blob("library/a", b"{}").await;
        world.push_blob("library/a", b"layer").await;
        let part = image(b"{}", &[b"layer"]);
        let parts: Vec<&[u8]> = vec![&part];
        let name = "library/a".parse().unwrap();
        let whole = index(&parts);
        world.push_manifest("library/a", "part", part.clone()).await;
        world.push_manifest("library/a", "all", whole.clone()).await;
        let part_tag = "part".parse().unwrap();
        world.registry.delete_tag(&name, &part_tag).await.unwrap();
        keeping
            .delete_manifest(&name, &digest_of(&whole))
            .await
            .unwrap();
        world.collect().await;
        let items = all(world).await;
        assert_eq!(items.len(), 2);
        let own = items
            .iter()
            .find(|item| item.digest == digest_of(&whole))
            .unwrap();
        // Its manifest ends for good: an index without it would be broken.
        let other = items
            .iter()
            .find(|item| item.digest == digest_of(&part))
            .unwrap()
            .clone();
        let back = keeping.restore(own.id).await.unwrap();
        assert_eq!((back.manifests, back.tags), (2, 1));
        assert!(world.serves("library/a", &digest_of(b"layer")).await);
        keeping
            .delete_manifest(&name, &digest_of(&whole))
            .await
            .unwrap();
        let items = all(world).await;
        assert!(
            items.iter().all(|item| item.act != other.act),
            "another act"
        );
        let other = items
            .iter()
            .find(|item| item.digest == digest_of(&part))
            .unwrap()
            .clone();
        let ended = world.database.db.write(move |tx| {
            let other = other.clone();
            Box::pin(async move {
                let now = tx.now().await?;
                trash::delete(tx, &other, now).await
            })
        });
        ended.await.unwrap();
        let own = items
            .iter()
            .find(|item| item.digest == digest_of(&whole))
            .unwrap();
        let refused = keeping.restore(own.id).await;
        assert!(matches!(refused, Err(Error::Invalid(..))), "{refused:?}");
        assert_eq!(all(world).await.len(), 1, "it stays in the trash");
    });
}

#[test]
fn what_another_trash_or_a_repository_holds_is_not_freed_by_one_that_ends() {
    each(async |world| {
        let keeping = keeping(world).await;
        for name in ["library/a", "library/b", "library/c"] {
            world.push_image(name, "v1", &[b"shared"]).await;
        }
        let a = "library/a".parse().unwrap();
        keeping.delete_repository(&a).await.unwrap();
        world.advance(SECOND * 10);
        let b = "library/b".parse().unwrap();
        keeping.delete_repository(&b).await.unwrap();
        world.advance(Duration::from_secs(24 * 60 * 60 - 5));
        let cancel = CancellationToken::new();
        assert_eq!(keeping.empty_trash(&cancel).await.unwrap(), 1);
        world.collect().await;
        assert!(world.serves("library/c", &digest_of(b"shared")).await);
        let back = keeping.restore(all(world).await[0].id).await.unwrap();
        assert_eq!(back.manifests, 1);
        assert!(world.serves("library/b", &digest_of(b"shared")).await);
        world.advance(Duration::from_hours(48));
        assert_eq!(keeping.empty_trash(&cancel).await.unwrap(), 0);
    });
}

#[test]
fn a_project_does_not_come_back_beside_one_of_its_name() {
    each(async |world| {
        let (keeping, owner) = (keeping(world).await, world.owner);
        for round in 0..5 {
            let name: ProjectName = format!("team{round}").parse().unwrap();
            let make = || {
                let name = name.clone();
                world.database.db.write(move |tx| {
                    let name = name.clone();
                    Box::pin(async move {
                        let now = tx.now().await?;
                        projects::insert(tx, &NewProject::named(name, owner), now).await
                    })
                })
            };
            let old = make().await.unwrap();
            keeping.delete_project(old).await.unwrap();
            let (back, made) = tokio::join!(keeping.restore_project(old), make());
            let reader = &mut *world.database.db.reader().await.unwrap();
            let named = projects::get_name(reader, name.as_str()).await.unwrap();
            match (back, made) {
                (Ok(()), Err(Error::Conflict(..))) => assert_eq!(named.id, old),
                (Err(Error::Conflict(..)), Ok(made)) => assert_eq!(named.id, made),
                both => panic!("{both:?}"),
            }
        }
    });
}
