//! Whose store it is, and directories that cannot be one.

use std::{fs, time::UNIX_EPOCH};

use blob::{
    Error,
    files::{Config, Store},
};
use tokio::task::JoinSet;

use crate::{Home, sha256};

#[tokio::test]
async fn a_fresh_directory_takes_one_identity_and_keeps_it() {
    let dir = tempfile::tempdir().unwrap();
    let root = dir.path().join("new");
    let store = Store::open(Config::new(&root)).await.unwrap();
    assert_eq!(store.identity().await.unwrap(), None);
    assert!(store.is_empty().await.unwrap());
    assert!(
        fs::read_dir(&root).unwrap().next().is_none(),
        "nothing is made before the identity"
    );

    store.adopt("one").await.unwrap();
    store.adopt("one").await.unwrap();
    assert_eq!(store.identity().await.unwrap().as_deref(), Some("one"));
    assert!(!store.is_empty().await.unwrap());
    match store.adopt("two").await {
        Err(Error::Foreign {
            found, expected, ..
        }) => {
            assert_eq!((found.as_deref(), expected.as_str()), (Some("one"), "two"));
        }
        other => panic!("{other:?}"),
    }
    assert_eq!(store.identity().await.unwrap().as_deref(), Some("one"));
    for id in ["", "a b", "a\nb"] {
        assert!(
            matches!(store.adopt(id).await, Err(Error::Invalid(..))),
            "{id}"
        );
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn of_many_that_adopt_at_once_one_wins() {
    let dir = tempfile::tempdir().unwrap();
    let mut tasks = JoinSet::new();
    for n in 0..16 {
        let store = Home::open(&dir).await;
        tasks.spawn(async move { (n, store.adopt(&format!("id-{n}")).await) });
    }
    let answers = tasks.join_all().await;
    let winners: Vec<_> = answers
        .iter()
        .filter(|(_, answer)| answer.is_ok())
        .collect();
    assert_eq!(winners.len(), 1);
    let store = Home::open(&dir).await;
    assert_eq!(
        store.identity().await.unwrap(),
        Some(format!("id-{}", winners[0].0))
    );
    assert_eq!(
        fs::read_dir(dir.path()).unwrap().count(),
        4,
        "no drafts are left"
    );
}

#[tokio::test]
async fn what_comes_with_a_file_system_is_not_content() {
    let dir = tempfile::tempdir().unwrap();
    let store = Home::open(&dir).await;
    fs::create_dir(dir.path().join("lost+found")).unwrap();
    fs::create_dir_all(dir.path().join(".snapshot/hourly")).unwrap();
    fs::write(dir.path().join(".snapshot/file"), "x").unwrap();
    fs::create_dir_all(dir.path().join("docker/registry")).unwrap();
    assert!(store.is_empty().await.unwrap());
    fs::write(dir.path().join("docker/registry/file"), "x").unwrap();
    assert!(!store.is_empty().await.unwrap());
}

#[tokio::test]
async fn a_probe_notices_when_it_is_not_our_store() {
    let home = Home::new().await;
    home.store.probe("home").await.unwrap();
    assert_eq!(
        home.store.uploads().await.unwrap(),
        [],
        "a probe leaves nothing"
    );
    let uploads = fs::File::open(home.path("uploads")).unwrap();
    uploads.set_modified(UNIX_EPOCH).unwrap();
    home.store.probe("home").await.unwrap();
    let touched = uploads.metadata().unwrap().modified().unwrap();
    assert_eq!(touched, UNIX_EPOCH, "the write of a moment ago will do");
    let other = home.store.probe("another").await;
    assert!(matches!(other, Err(Error::Foreign { found: Some(id), .. }) if id == "home"));
    fs::remove_file(home.path("store-id")).unwrap();
    let none = home.store.probe("home").await;
    assert!(matches!(none, Err(Error::Foreign { found: None, .. })));
    fs::write(home.path("store-id"), "home\n").unwrap();
    fs::remove_dir(home.path("uploads")).unwrap();
    assert!(matches!(
        home.store.probe("home").await,
        Err(Error::Io { .. })
    ));
    fs::create_dir(home.path("uploads")).unwrap();
    home.store.probe("home").await.unwrap();
}

#[tokio::test]
async fn a_blob_tree_that_went_away_is_noticed_and_not_made_anew() {
    let home = Home::new().await;
    let (tree, away) = (home.path("docker/registry/v2/blobs"), home.path("away"));
    fs::rename(&tree, &away).unwrap();
    let reopened = home.reopened().await;
    for store in [&home.store, &reopened] {
        let probed = store.probe("home").await;
        assert!(matches!(probed, Err(Error::Unusable { .. })), "{probed:?}");
        assert!(store.identity().await.is_err());
        let digest = sha256(b"x");
        assert!(store.put(&digest, "data", "x".into()).await.is_err());
        assert!(!tree.exists());
    }
    fs::rename(&away, &tree).unwrap();
    home.store.probe("home").await.unwrap();
}

#[tokio::test]
async fn a_directory_that_cannot_be_a_store_is_refused_by_name() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("file");
    fs::write(&file, "x").unwrap();
    for root in [file, dir.path().join("no/parent")] {
        let refused = Store::open(Config::new(&root)).await.err().unwrap();
        assert!(matches!(refused, Error::Unusable { .. }));
        let message = refused.to_string();
        assert!(message.contains(root.to_str().unwrap()), "{message}");
    }
    // A read-only file system refuses root too; permission bits do not, so this asks the kernel's own.
    let refused = Store::open(Config::new("/proc/self")).await.err().unwrap();
    assert!(refused.to_string().contains("/proc/self"));
}

#[tokio::test]
async fn a_store_whose_empty_directories_were_not_copied_opens() {
    let home = Home::new().await;
    let digest = home.store(b"kept").await;
    fs::remove_dir(home.path("uploads")).unwrap();
    fs::remove_dir(home.path("quarantine")).unwrap();
    let store = home.reopened().await;
    store.probe("home").await.unwrap();
    assert_eq!(store.read(&digest, "data", 9).await.unwrap(), "kept");
}

#[tokio::test]
async fn the_reserve_is_left_alone() {
    let dir = tempfile::tempdir().unwrap();
    let mut config = Config::new(dir.path());
    config.reserve = Some(u64::MAX / 2);
    let store = Store::open(config.clone()).await.unwrap();
    store.adopt("full").await.unwrap();
    let space = store.space().unwrap();
    assert!(space.total >= space.free && space.free > 0);
    assert!(!store.has_room(0));
    let mut writer = store
        .begin("refused", oci::digest::Algorithm::Sha256)
        .await
        .unwrap();
    assert!(matches!(writer.write("x".into()).await, Err(Error::Full)));
    let put = store.put(&sha256(b"x"), "data", "x".into()).await;
    assert!(matches!(put, Err(Error::Full)));

    config.reserve = Some(0);
    let store = Store::open(config.clone()).await.unwrap();
    assert!(store.has_room(1));
    assert!(!store.has_room(u64::MAX));
    config.reserve = None;
    let space = Store::open(config).await.unwrap().space().unwrap();
    assert_eq!(space.reserve, (space.total / 20).min(1 << 30));
}
