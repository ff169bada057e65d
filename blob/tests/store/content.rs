//! Content that is there: read, deleted, listed, verified, set aside.

use std::{
    fs::{self, Permissions},
    os::unix::fs::PermissionsExt,
    path::Path,
};

use blob::{Damage, Error, Verdict, digest_of};
use oci::digest::Algorithm::Sha512;
use rustix::thread::CapabilitySet;
use tokio_util::sync::CancellationToken;

use crate::{Home, content, sha256};

#[tokio::test]
async fn small_content_is_put_and_read_whole() {
    let home = Home::new().await;
    let digest = home.store(b"manifest").await;
    assert_eq!(
        home.store.read(&digest, "data", 8).await.unwrap(),
        "manifest"
    );
    let large = home.store.read(&digest, "data", 7).await;
    assert!(matches!(large, Err(Error::TooLarge { len: 8, max: 7 })));
    let missing = home.read(&sha256(b"other"), "data").await;
    assert!(matches!(missing, Err(Error::NotFound)));
    let other = home.read(&digest, "data.1").await;
    assert!(matches!(other, Err(Error::NotFound)));

    let wrong = home.store.put(&digest, "data", "manifesto".into()).await;
    assert!(matches!(wrong, Err(Error::DigestMismatch { .. })));
    fs::write(home.blob(&digest, "data"), "manifesT").unwrap();
    assert!(matches!(
        home.read(&digest, "data").await,
        Err(Error::Damaged(_))
    ));
    home.store(b"manifest").await;
    assert_eq!(home.read(&digest, "data").await.unwrap(), "manifest");
    assert_eq!(home.store.uploads().await.unwrap(), []);
}

#[tokio::test]
async fn deletes_say_what_they_freed() {
    let home = Home::new().await;
    let (one, two) = (home.store(b"one").await, home.store(b"two").await);
    home.store.put(&two, "data.1", "two".into()).await.unwrap();
    let items = [
        (one, "data".to_owned()),
        (one, "data".to_owned()),
        (two, "data".to_owned()),
        (sha256(b"never"), "data".to_owned()),
        (two, "../data".to_owned()),
    ];
    let freed = home.store.delete(&items).await;
    let freed: Vec<_> = freed.into_iter().map(Result::ok).collect();
    assert_eq!(freed, [Some(3), Some(0), Some(3), Some(0), None]);
    assert!(!home.blob(&one, "data").parent().unwrap().exists());
    assert_eq!(home.read(&two, "data.1").await.unwrap(), "two");
}

#[tokio::test]
async fn all_content_is_listed_in_batches() {
    let home = Home::new().await;
    let mut expected = Vec::new();
    for n in 0..1_500_u32 {
        let bytes = vec![1; n as usize % 50];
        let digest = sha256(&n.to_le_bytes());
        let path = home.blob(&digest, "data");
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, &bytes).unwrap();
        expected.push((digest, "data".to_owned(), bytes.len() as u64));
    }
    let long = digest_of(Sha512, b"long");
    home.store.put(&long, "data", "long".into()).await.unwrap();
    expected.push((long, "data".to_owned(), 4));
    let both = home.store(b"both").await;
    home.store
        .put(&both, "data.7", "both".into())
        .await
        .unwrap();
    expected.push((both, "data".to_owned(), 4));
    expected.push((both, "data.7".to_owned(), 4));

    let mut batches = 0;
    let mut listing = home.store.list();
    let mut found = Vec::new();
    while let Some(batch) = listing.next().await.unwrap() {
        assert!(batch.found.len() <= 1_024);
        assert!(batch.strange.is_empty());
        batches += 1;
        found.extend(
            batch
                .found
                .into_iter()
                .map(|f| (f.digest, f.location, f.size)),
        );
    }
    found.sort();
    expected.sort();
    assert_eq!(found, expected);
    assert!(batches >= 2);
}

#[tokio::test]
async fn what_does_not_belong_is_named() {
    let home = Home::new().await;
    let digest = home.store(b"fine").await;
    let blobs = home.path("docker/registry/v2/blobs");
    let inside = home.blob(&digest, "data.bak");
    fs::write(&inside, "x").unwrap();
    fs::write(blobs.join("notes.txt"), "x").unwrap();
    fs::create_dir_all(blobs.join("md5/ab")).unwrap();
    fs::create_dir_all(blobs.join("sha256/zz")).unwrap();
    // A digest under digits that are not its own cannot be found by anybody.
    let misplaced = format!(
        "{}{}",
        if digest.hex().starts_with("00") {
            "11"
        } else {
            "00"
        },
        &digest.hex()[2..]
    );
    let prefix = &digest.hex()[..2];
    fs::create_dir_all(blobs.join(format!("sha256/{prefix}/{misplaced}"))).unwrap();

    let all = home.list().await;
    assert_eq!(all.found.len(), 1);
    let tree = "docker/registry/v2/blobs";
    let mut expected = vec![
        inside
            .strip_prefix(home.dir.path())
            .unwrap()
            .display()
            .to_string(),
        format!("{tree}/notes.txt"),
        format!("{tree}/md5"),
        format!("{tree}/sha256/zz"),
        format!("{tree}/sha256/{prefix}/{misplaced}"),
    ];
    let mut strange = all.strange;
    strange.sort();
    expected.sort();
    assert_eq!(strange, expected);
}

#[tokio::test]
async fn a_look_tells_good_from_missing_from_damaged() {
    let home = Home::new().await;
    let cancel = CancellationToken::new();
    let all = content(9 << 20);
    let digest = home.store(&all).await;
    let size = all.len() as u64;
    let good = home.store.verify(&digest, "data", None, &cancel).await;
    assert_eq!(good.unwrap(), Verdict::Good { size });
    let missing = home.store.verify(&digest, "data.1", None, &cancel).await;
    assert_eq!(missing.unwrap(), Verdict::Missing);

    let mut damaged = all;
    damaged[8 << 20] ^= 1;
    fs::write(home.blob(&digest, "data"), &damaged).unwrap();
    let bad = home.store.verify(&digest, "data", None, &cancel).await;
    let actual = sha256(&damaged);
    assert_eq!(
        bad.unwrap(),
        Verdict::Damaged(Damage::Digest { size, actual })
    );
}

#[tokio::test]
async fn a_slow_look_ends_when_it_is_told_to() {
    let home = Home::new().await;
    let digest = home.store(&content(9 << 20)).await;
    let cancel = CancellationToken::new();
    // At a byte a second this would take months.
    let look = home.store.verify(&digest, "data", Some(1), &cancel);
    let (answer, ()) = tokio::join!(look, async { cancel.cancel() });
    assert!(matches!(answer, Err(Error::Cancelled)));
}

#[tokio::test]
async fn damaged_content_is_set_aside() {
    let home = Home::new().await;
    let digest = home.store(b"broken").await;
    home.store.quarantine(&digest, "data").await.unwrap();
    assert!(matches!(
        home.read(&digest, "data").await,
        Err(Error::NotFound)
    ));
    assert!(!home.blob(&digest, "data").parent().unwrap().exists());
    let kept = format!("quarantine/sha256-{}-data", digest.hex());
    assert_eq!(fs::read(home.path(&kept)).unwrap(), b"broken");
    let again = home.store.quarantine(&digest, "data").await;
    assert!(matches!(again, Err(Error::NotFound)));
    home.store(b"broken").await;
    assert_eq!(home.read(&digest, "data").await.unwrap(), "broken");
}

/// Without the right to look into everything that comes with the superuser, so that mode 0 is a refusal like a disk's.
fn unprivileged(test: impl AsyncFnOnce() + Send + 'static) {
    let run = || {
        let mut held = rustix::thread::capabilities(None).unwrap();
        let above = CapabilitySet::DAC_OVERRIDE | CapabilitySet::DAC_READ_SEARCH;
        held.effective.remove(above);
        rustix::thread::set_capabilities(None, held).unwrap();
        let runtime = tokio::runtime::Builder::new_current_thread();
        { runtime }.enable_all().build().unwrap().block_on(test());
    };
    std::thread::spawn(run).join().unwrap();
}

#[test]
fn what_the_disk_refuses_is_named_and_the_rest_goes_on() {
    unprivileged(async || {
        let home = Home::new().await;
        let (shut, blocked) = (home.store(b"shut").await, home.store(b"blocked").await);
        let (file, good) = (home.store(b"a file").await, home.store(b"good").await);
        let path = |digest| home.blob(digest, "data");
        let mode = |path: &Path, mode| fs::set_permissions(path, Permissions::from_mode(mode));
        mode(&path(&shut), 0).unwrap();
        let dir = path(&blocked).parent().unwrap().to_owned();
        mode(&dir, 0).unwrap();
        fs::remove_dir_all(path(&file).parent().unwrap()).unwrap();
        fs::write(path(&file).parent().unwrap(), b"no directory").unwrap();

        let cancel = CancellationToken::new();
        for digest in [&shut, &blocked, &file] {
            let verdict = home.store.verify(digest, "data", None, &cancel).await;
            let verdict = verdict.unwrap();
            assert!(
                matches!(verdict, Verdict::Damaged(Damage::Unreadable(_))),
                "{verdict:?}"
            );
            assert!(verdict.to_string().starts_with("it cannot be read: open"));
            let read = home.read(digest, "data").await;
            assert!(matches!(read, Err(Error::Damaged(_))), "{read:?}");
            let opened = home.store.open_blob(digest, "data", 4).await;
            assert!(matches!(opened, Err(Error::Damaged(_))));
        }
        let listed = home.list().await;
        mode(&dir, 0o700).unwrap();
        let digests: Vec<_> = listed.found.iter().map(|found| found.digest).collect();
        assert!(digests.contains(&good) && digests.contains(&shut) && digests.len() == 2);
        assert_eq!((listed.strange.len(), listed.unreadable.len()), (1, 1));
        assert!(listed.unreadable[0].contains(&blocked.hex()[..]));
    });
}
