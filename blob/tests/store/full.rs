//! A file system without room: a small one, mounted for the test, which takes root.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use blob::{
    Error,
    files::{Config, Store},
};
use bytes::Bytes;
use oci::digest::Algorithm::Sha256;
use tempfile::TempDir;

use crate::{content, sha256};

struct SmallDisk {
    dir: TempDir,
}

impl SmallDisk {
    /// `None`, loudly, where mounting is not possible.
    fn mount() -> Option<Self> {
        let disk = Self {
            dir: tempfile::tempdir().unwrap(),
        };
        let image = disk.dir.path().join("image");
        fs::File::create(&image).unwrap().set_len(16 << 20).unwrap();
        fs::create_dir(disk.root()).unwrap();
        let made = run("mkfs.ext4", &["-q", "-m", "0"], &[&image])
            && run("mount", &["-o", "loop"], &[&image, &disk.root()]);
        if !made {
            eprintln!(
                "LEFT OUT: a full file system cannot be tested here (mounting takes root, loop devices and mkfs.ext4)"
            );
            return None;
        }
        Some(disk)
    }

    fn root(&self) -> PathBuf {
        self.dir.path().join("root")
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        run("umount", &["-q"], &[&self.root()]);
    }
}

fn run(program: &str, options: &[&str], paths: &[&Path]) -> bool {
    let mut command = Command::new(program);
    let output = command.args(options).args(paths).output();
    output.is_ok_and(|output| output.status.success())
}

#[tokio::test]
async fn a_full_disk_keeps_the_upload_and_it_goes_on_when_there_is_room() {
    let Some(disk) = SmallDisk::mount() else {
        return;
    };
    let mut config = Config::new(disk.root());
    config.reserve = Some(0);
    let store = Store::open(config).await.unwrap();
    assert!(store.is_empty().await.unwrap(), "lost+found is no content");
    store.adopt("small").await.unwrap();

    let mut filler = store.begin("filler", Sha256).await.unwrap();
    filler.write(Bytes::from(vec![1; 6 << 20])).await.unwrap();
    filler.flush().await.unwrap();
    drop(filler);

    let all = content(12 << 20);
    let mut writer = store.begin("large", Sha256).await.unwrap();
    let mut refused = None;
    while refused.is_none() {
        let at = writer.offset() as usize;
        let frame = Bytes::copy_from_slice(&all[at..at + 50_000]);
        refused = writer.write(frame).await.err();
    }
    assert!(matches!(refused, Some(Error::Full)), "{refused:?}");
    // What was handed on may still meet the end of the disk; what is left after that stands.
    while let Err(e) = writer.settle().await {
        assert!(matches!(e, Error::Full), "{e}");
    }
    let kept = writer.offset();
    let state = writer.flush().await.unwrap();
    drop(writer);
    assert_eq!(state.offset, kept);
    assert!(kept > 1 << 20);

    let manifest = content(2 << 20);
    let put = store.put(&sha256(&manifest), "data", manifest.into()).await;
    assert!(put.unwrap_err().is_full());
    let keys = store.uploads().await.unwrap().into_iter().map(|u| u.key);
    let mut keys: Vec<_> = keys.collect();
    keys.sort();
    assert_eq!(keys, ["filler", "large"]);

    store.discard("filler").await.unwrap();
    assert!(store.has_room(1 << 20), "freed room is seen at once");
    let mut writer = store
        .resume("large", kept, Some(&state), Sha256)
        .await
        .unwrap();
    for frame in all[kept as usize..].chunks(100_000) {
        writer.write(Bytes::copy_from_slice(frame)).await.unwrap();
    }
    let staged = writer.finish(&sha256(&all)).await.unwrap();
    staged.publish("data").await.unwrap();
    assert_eq!(
        store.read(&staged.digest, "data", 1 << 30).await.unwrap(),
        all
    );
}
