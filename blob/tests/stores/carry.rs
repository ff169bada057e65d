//! Contents that move from one store to another, of another kind or of the same.

use blob::{Config, Error, Store};
use bytes::Bytes;
use oci::digest::Digest;

use crate::{PART, World, append, begin, content, finish, on_each, sha256};

/// Where a content lies before.
struct Moving {
    bytes: Vec<u8>,
    digest: Digest,
    location: String,
}

/// A content of each way in which they are stored: with one call, as one part, as several.
async fn contents_of(world: &World) -> Vec<Moving> {
    let mut all = Vec::new();
    for (seed, len) in [(1, 1000), (2, PART), (3, 2 * PART + 10)] {
        let bytes = content(seed, len);
        let digest = sha256(&bytes);
        let mut writer = begin(&world.store, &format!("moving-{seed}")).await;
        append(&mut writer, &bytes).await;
        let staged = finish(&mut writer, &digest).await.unwrap();
        all.push(Moving {
            bytes,
            digest,
            location: staged.location("data").to_owned(),
        });
    }
    all
}

/// Everything arrives, is listed as long as it is, and leaves nothing behind where it is deleted.
async fn carry_and_delete(from: &World, to: &Store, there: &str) {
    let all = contents_of(from).await;
    for moving in &all {
        let size = moving.bytes.len() as u64;
        // The second time it is there already.
        for _ in 0..2 {
            let (digest, location) = (&moving.digest, &moving.location);
            let carried = from.store.carry(digest, location, size, to, there).await;
            carried.unwrap();
        }
        let read = to.read(&moving.digest, there, 1 << 30).await.unwrap();
        assert!(read == moving.bytes, "{size}");
    }
    let (mut listed, mut walk) = (Vec::new(), to.list());
    while let Some(batch) = walk.next().await.unwrap() {
        assert!(batch.strange.is_empty(), "{:?}", batch.strange);
        listed.extend(batch.found.into_iter().map(|f| (f.digest, f.size)));
    }
    let as_text = |items: Vec<(Digest, u64)>| {
        let mut items: Vec<_> = items
            .into_iter()
            .map(|(digest, size)| (digest.to_string(), size))
            .collect();
        items.sort();
        items
    };
    let put = all.iter().map(|m| (m.digest, m.bytes.len() as u64));
    assert_eq!(as_text(listed), as_text(put.collect()));
    let gone: Vec<_> = all.iter().map(|m| (m.digest, there.to_owned())).collect();
    for deleted in to.delete(&gone).await {
        deleted.unwrap();
    }
    for moving in &all {
        let read = to.read(&moving.digest, there, 1 << 30).await;
        assert!(matches!(read, Err(Error::NotFound)), "{read:?}");
    }
    nothing_is_left(to).await;
}

/// A bucket that is nobody's is then empty.
async fn nothing_is_left(to: &Store) {
    if to.bucket().is_some() && to.identity().await.unwrap().is_none() {
        assert!(to.is_empty().await.unwrap(), "something is left");
    }
}

async fn directory() -> (World, tempfile::TempDir) {
    let dir = tempfile::tempdir().unwrap();
    let mut config = blob::files::Config::new(dir.path());
    config.reserve = Some(0);
    (World::new(Config::Files(config), None).await, dir)
}

#[test]
fn a_directorys_contents_move_to_each_kind_of_store_and_are_deleted_there() {
    on_each(async |world| {
        let (from, _dir) = directory().await;
        carry_and_delete(&from, &elsewhere(&world).await, "data.3").await;
    });
}

#[test]
fn contents_move_between_stores_of_one_kind_and_are_deleted_there() {
    on_each(async |world| {
        carry_and_delete(&world, &elsewhere(&world).await, "data").await;
    });
}

#[test]
fn each_stores_contents_move_to_a_directory() {
    on_each(async |world| {
        let (to, _dir) = directory().await;
        carry_and_delete(&world, &to.store, "data.1").await;
    });
}

#[test]
fn what_is_no_more_what_it_was_is_not_carried() {
    on_each(async |world| {
        let to = elsewhere(&world).await;
        let bytes = content(9, PART + 10);
        let digest = sha256(&bytes);
        let size = bytes.len() as u64;
        let carried = world.store.carry(&digest, "data", size, &to, "data").await;
        assert!(matches!(carried, Err(Error::NotFound)), "{carried:?}");
        // A small content's place holds bytes that are none of its own.
        let other: Bytes = content(10, 100).into();
        let named = sha256(&other);
        world.store.put(&named, "data", other).await.unwrap();
        let carried = world.store.carry(&named, "data", size, &to, "data").await;
        assert!(matches!(carried, Err(Error::Damaged(_))), "{carried:?}");
        nothing_is_left(&to).await;
    });
}

/// Another store of the same kind, beside the first one. Only a directory is anybody's: a bucket stays empty without it.
async fn elsewhere(world: &World) -> Store {
    let config = match world.config.clone() {
        Config::Files(mut files) => {
            files.root = files.root.join("elsewhere");
            std::fs::create_dir(&files.root).unwrap();
            Config::Files(files)
        }
        Config::Objects(mut objects) => {
            objects.prefix = "elsewhere".to_owned();
            Config::Objects(objects)
        }
    };
    let store = Store::open(config).await.unwrap();
    if store.bucket().is_none() {
        store.adopt("theirs").await.unwrap();
    }
    store
}
