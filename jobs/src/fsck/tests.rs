use std::{fs, time::Duration};

use blob::digest_of;
use model::job::Job;
use oci::digest::{Algorithm, Digest};

use crate::{
    Outcome,
    world::{World, each},
};

async fn check(world: &World<'_>) -> (String, Vec<String>) {
    let (id, outcome) = world.run(Job::Fsck {}).await;
    match outcome.unwrap() {
        Outcome::Done(told) => (told, world.log(id).await),
        outcome => panic!("{outcome:?}"),
    }
}

#[test]
fn what_is_missing_and_what_nobody_knows_is_named() {
    each(async |world| {
        world.library().await;
        let pushed = world.push("library/app", "v1", b"one").await;
        let all = "3 contents and 3 files compared: nothing is wrong";
        assert_eq!(check(world).await, (all.to_owned(), Vec::new()));
        let file = |digest: &Digest| {
            let (hex, blobs) = (digest.hex(), "docker/registry/v2/blobs/sha256");
            world.root.join(format!("{blobs}/{}/{hex}/data", &hex[..2]))
        };
        fs::remove_file(file(&pushed)).unwrap();
        let stray = digest_of(Algorithm::Sha256, b"stray");
        let store = world.registry.store();
        let bytes = b"stray".as_slice().into();
        store.put(&stray, "data", bytes).await.unwrap();
        world.advance(Duration::from_hours(30 * 24));
        let (told, log) = check(world).await;
        assert!(
            told.starts_with("3 contents and 3 files compared: 2 are wrong, see the log"),
            "{told}"
        );
        assert_eq!(
            log.join("\n").lines().collect::<Vec<_>>(),
            [
                "1 contents whose bytes are missing; push them again",
                &format!("  {pushed}: its bytes are missing"),
                "1 files that the database does not know",
                &format!("  {stray} at `data`: 5 bytes that no row knows"),
            ]
        );
        // Nothing was touched: that is for a person to decide.
        assert!(file(&stray).exists());
    });
}
