//! Which database a store belongs to, and whether it still is that store.
//!
//! An empty mount point has no identity, so asking for it is also how a share that went away is noticed.

use std::{
    fs::{self, File},
    io::{self, Write as _},
    path::Path,
    sync::{Arc, atomic::Ordering},
    time::{Duration, Instant},
};

use rustix::fs::{CWD, RenameFlags, renameat_with};

use super::{
    Store,
    durable::sync_dir,
    layout::Layout,
    store::{Shared, make_dirs, try_dir},
};
use crate::{Error, Result};

const MAX_ID: u64 = 256;
/// How long a write that went well speaks for the store: each one is a commit of the disk's journal, also where nothing
/// else happens all day.
const TRUSTED: Duration = Duration::from_secs(6);

impl Store {
    /// Whose store this is, if anybody's. `Unusable` when it has an identity and no blob tree: a share may be mounted
    /// there, and is away.
    pub async fn identity(&self) -> Result<Option<String>> {
        let shared = Arc::clone(&self.shared);
        let read = move || read_identity(&shared.layout);
        self.shared.reads.run(read).await
    }

    /// Whether nothing is stored here. Names with a leading dot and `lost+found` come with file systems; empty
    /// directories hold nothing.
    pub async fn is_empty(&self) -> Result<bool> {
        let shared = Arc::clone(&self.shared);
        let look = move || {
            let root = &shared.layout.root;
            holds_nothing(root, root).map_err(|e| Error::io("read", root, e))
        };
        self.shared.reads.run(look).await
    }

    /// Gives the store its identity, durably, and makes the directories inside. Never replaces another identity, also
    /// when two do this at once.
    pub async fn adopt(&self, id: &str) -> Result<()> {
        let plain = |b: u8| b.is_ascii_graphic();
        if id.is_empty() || id.len() as u64 > MAX_ID || !id.bytes().all(plain) {
            return Err(Error::Invalid(id.to_owned(), "store identity"));
        }
        let (shared, id) = (Arc::clone(&self.shared), id.to_owned());
        let write = move || {
            // The directories first: an identity without them is a store that is away.
            make_dirs(&shared.layout, &shared.layout.skeleton())?;
            // Those of another registry may be another user's.
            try_dir(&shared.layout.blobs(), &shared.temporary("adopt"))?;
            write_identity(&shared, &id)
        };
        self.shared.writes.run(write).await
    }

    /// Puts another identity in the place of `from`.
    pub async fn change_identity(&self, from: &str, to: &str) -> Result<()> {
        let (shared, from, to) = (Arc::clone(&self.shared), from.to_owned(), to.to_owned());
        let write = move || {
            expect_identity(&shared.layout, &from)?;
            let path = shared.layout.identity();
            let draft = shared.temporary("store-id");
            let draft = shared.layout.root.join(format!(".{draft}"));
            let written = File::create_new(&draft)
                .and_then(|mut file| {
                    writeln!(file, "{to}")?;
                    file.sync_all()
                })
                .and_then(|()| fs::rename(&draft, &path));
            written.map_err(|e| Error::io("write", &path, e))?;
            sync_dir(&shared.layout.root)
        };
        self.shared.writes.run(write).await
    }

    /// Whether this is still our store and takes bytes. `Full` is an answer too: such a store still serves and deletes.
    /// The caller sets the time-out; while a probe that ran into it is not back, the next ones fail with `Hung` at once.
    /// Meant to be asked every few seconds: it writes when the last time is a while ago, and lets go of mappings that no
    /// pull used since it was asked last.
    pub async fn probe(&self, expected_id: &str) -> Result<()> {
        if self.shared.probing.swap(true, Ordering::Acquire) {
            return Err(Error::Hung);
        }
        let (shared, expected) = (Arc::clone(&self.shared), expected_id.to_owned());
        // Outside the lanes: long reads and writes there must not make the store look hung.
        let answer = tokio::task::spawn_blocking(move || {
            shared.windows.rest();
            let done = probe(&shared, &expected);
            shared.probing.store(false, Ordering::Release);
            done
        });
        answer.await.map_err(crate::error::stopped)?
    }
}

fn read_identity(layout: &Layout) -> Result<Option<String>> {
    let path = layout.identity();
    let text = match fs::read_to_string(&path) {
        Ok(text) => text,
        Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(e) => return Err(Error::io("read", &path, e)),
    };
    let id = text.trim();
    if id.is_empty() {
        return Ok(None);
    }
    let tree = layout.blobs();
    if !tree.is_dir() {
        return Err(Error::Unusable {
            root: layout.root.display().to_string(),
            why: format!("`{}` is missing: is it mounted?", layout.shown(&tree)),
        });
    }
    Ok(Some(id.to_owned()))
}

fn holds_nothing(root: &Path, dir: &Path) -> io::Result<bool> {
    for entry in fs::read_dir(dir)? {
        let entry = entry?;
        let name = entry.file_name();
        let foreign = name.to_string_lossy().starts_with('.') || name == "lost+found";
        // What a start that was killed has tried to write is nobody's.
        let is_trial = name.to_string_lossy().starts_with(".trial-");
        if (dir == root && foreign) || is_trial {
            continue;
        }
        if !entry.file_type()?.is_dir() || !holds_nothing(root, &entry.path())? {
            return Ok(false);
        }
    }
    Ok(true)
}

fn expect_identity(layout: &Layout, expected: &str) -> Result<()> {
    let found = read_identity(layout)?;
    if found.as_deref() == Some(expected) {
        return Ok(());
    }
    Err(Error::Foreign {
        root: layout.root.display().to_string(),
        found,
        expected: expected.to_owned(),
    })
}

fn write_identity(shared: &Shared, id: &str) -> Result<()> {
    let layout = &shared.layout;
    let path = layout.identity();
    let draft = layout
        .root
        .join(format!(".{}", shared.temporary("store-id")));
    let written = File::create_new(&draft)
        .and_then(|mut file| {
            writeln!(file, "{id}")?;
            file.sync_all()
        })
        .and_then(|()| name_if_free(&draft, &path));
    // The draft is gone when it was renamed.
    let _ = fs::remove_file(&draft);
    match written {
        Ok(()) => sync_dir(&layout.root),
        // Who had written it before may have been killed at the next step.
        Err(e) if e.kind() == io::ErrorKind::AlreadyExists => {
            sync_dir(&layout.root)?;
            expect_identity(layout, id)
        }
        Err(e) => Err(Error::io("write", &path, e)),
    }
}

/// NFS has links and no exclusive rename, SMB and many FUSE file systems the other way round.
fn name_if_free(from: &Path, to: &Path) -> io::Result<()> {
    match fs::hard_link(from, to) {
        Err(e) if e.kind() != io::ErrorKind::AlreadyExists => {
            Ok(renameat_with(CWD, from, CWD, to, RenameFlags::NOREPLACE)?)
        }
        done => done,
    }
}

fn probe(shared: &Shared, expected: &str) -> Result<()> {
    expect_identity(&shared.layout, expected)?;
    let dir = shared.layout.uploads();
    fs::symlink_metadata(&dir).map_err(|e| Error::io("look at", &dir, e))?;
    let mut wrote = shared.wrote.lock();
    if wrote.is_some_and(|when| when.elapsed() < TRUSTED) {
        return Ok(());
    }
    *wrote = None;
    write_probe(shared)?;
    *wrote = Some(Instant::now());
    Ok(())
}

fn write_probe(shared: &Shared) -> Result<()> {
    let path = shared.layout.upload(&shared.temporary("probe"))?;
    let tried = File::create_new(&path).and_then(|mut file| {
        file.write_all(b"probe\n")?;
        file.sync_data()
    });
    let removed = fs::remove_file(&path);
    tried.and(removed).map_err(|e| Error::io("write", &path, e))
}
