use tokio_util::sync::CancellationToken;

use super::Space;
use crate::world::{World, each};

async fn measure(world: &World<'_>) -> Space {
    let cancel = CancellationToken::new();
    let measured = world.registry.measure_space(&cancel, |_| ()).await;
    measured.unwrap().unwrap()
}

#[test]
fn every_stored_byte_is_in_one_part_of_the_report() {
    each(async |world| {
        assert_eq!(world.registry.space().await.unwrap(), None);
        let kept = world.push_image("library/a", "v1", &[b"kept"]).await;
        let gone = world.push_image("library/a", "v2", &[b"gone!"]).await;
        world.push_blob("library/a", b"fresh").await;
        let before = measure(world).await;
        assert_eq!(before.projects.files, 7, "{before:?}");
        world.delete_manifest("library/a", &gone).await;
        // A stray that no row knows.
        let stray = blob::digest_of(oci::digest::Algorithm::Sha256, b"stray");
        world
            .registry
            .store()
            .put(&stray, "data", b"stray".as_slice().into())
            .await
            .unwrap();
        let space = measure(world).await;
        assert_eq!(
            (
                space.projects.files,
                space.waiting.files,
                space.unknown.files
            ),
            (4, 3, 1),
            "{space:?}"
        );
        assert_eq!(space.unknown.bytes, 5);
        assert_eq!(space.stored.bytes, before.stored.bytes + 5);
        assert_eq!(world.registry.space().await.unwrap().as_ref(), Some(&space));
        world.collect().await;
        let after = measure(world).await;
        assert_eq!((after.waiting.files, after.projects), (0, space.projects));
        assert!(world.serves("library/a", &kept).await);
    });
}

#[test]
fn a_measurement_that_is_cancelled_says_nothing() {
    each(async |world| {
        world.push_image("library/a", "v1", &[b"one"]).await;
        let cancel = CancellationToken::new();
        cancel.cancel();
        let measured = world.registry.measure_space(&cancel, |_| ()).await;
        assert_eq!(measured.unwrap(), None);
        assert_eq!(world.registry.space().await.unwrap(), None);
    });
}
