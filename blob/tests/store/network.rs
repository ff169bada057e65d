//! A file system with somebody else behind it, who may stop answering: FUSE through `bindfs`, whose process can be
//! frozen, which takes root (or fusermount) and that program.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
    time::Duration,
};

use blob::{
    Error,
    files::{Config, Store},
};
use oci::digest::Algorithm::Sha256;
use rustix::process::{Pid, Signal, kill_process};
use tempfile::TempDir;
use tokio::time::timeout;

use crate::{Home, content, sha256};

struct Share {
    dir: TempDir,
    server: Pid,
}

impl Share {
    /// `None`, loudly, where there is no FUSE.
    fn mount() -> Option<Self> {
        let dir = tempfile::tempdir().unwrap();
        let (behind, front) = (dir.path().join("behind"), dir.path().join("front"));
        fs::create_dir(&behind).unwrap();
        fs::create_dir(&front).unwrap();
        // It goes to the background when it is mounted.
        let mounted = Command::new("bindfs").args([&behind, &front]).status();
        let server = serving(&front).filter(|_| mounted.is_ok_and(|status| status.success()));
        let Some(server) = server else {
            eprintln!(
                "LEFT OUT: a hung share cannot be tested here (it takes FUSE and the program bindfs)"
            );
            return None;
        };
        Some(Self { dir, server })
    }

    fn root(&self) -> PathBuf {
        self.dir.path().join("front")
    }

    fn freeze(&self) {
        kill_process(self.server, Signal::STOP).unwrap();
    }

    fn thaw(&self) {
        kill_process(self.server, Signal::CONT).unwrap();
    }
}

impl Drop for Share {
    fn drop(&mut self) {
        self.thaw();
        let _ = Command::new("umount").arg("-l").arg(self.root()).status();
    }
}

/// The process whose command line names this mount point.
fn serving(front: &Path) -> Option<Pid> {
    let front = front.to_str().unwrap();
    let processes = fs::read_dir("/proc").unwrap();
    let mut ids = processes.filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok());
    let id = ids.find(|id| {
        let line = fs::read_to_string(format!("/proc/{id}/cmdline"));
        line.is_ok_and(|line| line.contains(front))
    })?;
    Pid::from_raw(id)
}

#[tokio::test]
async fn a_share_is_known_as_one_and_works_like_any_other() {
    let Some(share) = Share::mount() else { return };
    let store = Store::open(Config::new(share.root())).await.unwrap();
    assert_eq!(store.network(), Some("fuse"));
    assert!(!store.is_mapped());
    store.adopt("share").await.unwrap();
    let all = content(700_000);
    let mut writer = store.begin("over-there", Sha256).await.unwrap();
    writer.write(all.clone().into()).await.unwrap();
    let state = writer.flush().await.unwrap();
    drop(writer);
    let resumed = store
        .resume("over-there", 700_000, Some(&state), Sha256)
        .await;
    let staged = resumed.unwrap().finish(&sha256(&all)).await.unwrap();
    staged.publish("data").await.unwrap();
    staged.publish("data.1").await.unwrap();
    drop(staged);
    assert_eq!(
        store.read(&sha256(&all), "data.1", 1 << 20).await.unwrap(),
        all
    );
    let both = ["data", "data.1"].map(|location| (sha256(&all), location.to_owned()));
    for freed in store.delete(&both).await {
        assert_eq!(freed.unwrap(), 700_000);
    }
}

/// On one thread, so that a call that blocks it shows.
#[tokio::test]
async fn a_hung_share_holds_up_nothing_else() {
    let Some(share) = Share::mount() else { return };
    let store = Store::open(Config::new(share.root())).await.unwrap();
    store.adopt("share").await.unwrap();
    let digest = sha256(b"over there");
    store
        .put(&digest, "data", "over there".into())
        .await
        .unwrap();
    store.probe("share").await.unwrap();

    let moment = Duration::from_millis(300);
    share.freeze();
    assert!(timeout(moment, store.probe("share")).await.is_err());
    let again = timeout(moment, store.probe("share")).await.unwrap();
    assert!(matches!(again, Err(Error::Hung)));
    assert!(
        timeout(moment, store.open_blob(&digest, "data", 10))
            .await
            .is_err()
    );
    assert!(
        timeout(moment, store.read(&digest, "data", 10))
            .await
            .is_err()
    );
    assert!(store.has_room(1));
    let home = Home::new().await;
    let local = home.store(b"here").await;
    assert_eq!(home.read(&local, "data").await.unwrap(), "here");

    share.thaw();
    let healed = timeout(Duration::from_mins(1), async {
        while store.probe("share").await.is_err() {
            tokio::task::yield_now().await;
        }
        store.read(&digest, "data", 10).await.unwrap()
    });
    assert_eq!(healed.await.unwrap(), "over there");
}
