//! Walking over the repositories of a Docker registry's directory: open directories and one batch in memory.

use std::{
    fs::{self, ReadDir},
    io,
    path::{Path, PathBuf},
    sync::Arc,
    time::SystemTime,
};

use oci::digest::Digest;

use super::{Store, store::Shared};
use crate::{
    Error, Result,
    error::is_away,
    tree::{self, Held, HeldBatch, LONGEST_LINK, REPOSITORIES, What},
};

const BATCH: usize = 1024;

/// A walk under way.
pub(crate) struct TreeWalk {
    shared: Arc<Shared>,
    /// What is left to look at, the next one last; `None` before the first batch.
    left: Option<Vec<Dir>>,
}

/// A directory on the walk.
struct Dir {
    path: PathBuf,
    /// The repository that it is part of; empty above the first.
    repository: String,
    kind: Kind,
    /// Opened when its turn comes.
    entries: Option<ReadDir>,
}

/// What the names in a directory are.
#[derive(Clone, Copy)]
enum Kind {
    /// Parts of repositories' names.
    Names,
    Layers(Level),
    Manifests(Level),
    Tags,
    Uploads,
}

#[derive(Clone, Copy)]
enum Level {
    Algorithms,
    Digests,
}

impl Store {
    pub(crate) fn tree(&self) -> TreeWalk {
        TreeWalk {
            shared: Arc::clone(&self.shared),
            left: None,
        }
    }

    /// Whether a registry's blob tree lies here, whosever.
    pub(crate) async fn holds_tree(&self) -> Result<bool> {
        let shared = Arc::clone(&self.shared);
        let look = move || {
            let dir = shared.layout.blobs();
            match fs::read_dir(&dir) {
                Ok(_) => Ok(true),
                Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(false),
                Err(e) => Err(Error::io("read", &dir, e)),
            }
        };
        self.shared.reads.run(look).await
    }

    /// The digest that a tag of the tree stands for; none when its link is none.
    pub(crate) async fn tag_in_tree(&self, repository: &str, tag: &str) -> Result<Option<Digest>> {
        let Some(link) = tree::tag_link(repository, tag) else {
            return Ok(None);
        };
        let path = self.shared.layout.root.join(link);
        let read = move || {
            let failed = |e: io::Error| match e.kind() {
                io::ErrorKind::NotFound => Error::NotFound,
                _ => Error::content("read", &path, e),
            };
            let file = fs::File::open(&path).map_err(failed)?;
            let mut text = Vec::new();
            let mut limited = io::Read::take(file, LONGEST_LINK);
            io::Read::read_to_end(&mut limited, &mut text).map_err(failed)?;
            Ok(tree::link_text(&text))
        };
        match self.shared.reads.run(read).await {
            Err(Error::NotFound | Error::Damaged(_)) => Ok(None),
            read => read,
        }
    }
}

impl TreeWalk {
    /// The next batch; `None` at the end.
    pub(crate) async fn next(&mut self) -> Result<Option<HeldBatch>> {
        let shared = Arc::clone(&self.shared);
        let left = self.left.take();
        let walk = move || {
            let mut left = left.unwrap_or_else(|| {
                let path = shared.layout.root.join(REPOSITORIES.trim_end_matches('/'));
                vec![Dir::new(path, String::new(), Kind::Names)]
            });
            let mut batch = HeldBatch::default();
            while batch.len() < BATCH && step(&shared, &mut left, &mut batch)? {}
            Ok((left, batch))
        };
        let (left, batch) = self.shared.reads.run(walk).await?;
        self.left = Some(left);
        Ok((batch.len() > 0).then_some(batch))
    }
}

impl Dir {
    fn new(path: PathBuf, repository: String, kind: Kind) -> Self {
        Self {
            path,
            repository,
            kind,
            entries: None,
        }
    }

    fn below(&self, name: &str, kind: Kind) -> Self {
        Self::new(self.path.join(name), self.repository.clone(), kind)
    }
}

/// Looks at one entry; false at the end of the walk.
fn step(shared: &Shared, left: &mut Vec<Dir>, batch: &mut HeldBatch) -> Result<bool> {
    let Some(dir) = left.last_mut() else {
        return Ok(false);
    };
    let entries = match &mut dir.entries {
        Some(entries) => entries,
        closed => match fs::read_dir(&dir.path) {
            Ok(entries) => closed.insert(entries),
            // A repository need not have all of them.
            Err(e) if e.kind() == io::ErrorKind::NotFound => {
                left.pop();
                return Ok(true);
            }
            Err(e) => {
                let dir = left.pop().expect("it was the last");
                if e.kind() == io::ErrorKind::NotADirectory {
                    batch.strange.push(shared.layout.shown(&dir.path));
                } else {
                    refuse(batch, shared, &dir.path, e)?;
                }
                return Ok(true);
            }
        },
    };
    let path = match entries.next() {
        Some(Ok(entry)) => entry.path(),
        ended => {
            let dir = left.pop().expect("it was the last");
            if let Some(Err(e)) = ended {
                refuse(batch, shared, &dir.path, e)?;
            }
            return Ok(true);
        }
    };
    let name = path.file_name().and_then(|name| name.to_str());
    let looked = match name {
        Some(name) => look(dir, name),
        None => Ok(Looked::Strange),
    };
    match looked {
        Ok(Looked::Dirs(dirs)) => left.extend(dirs),
        Ok(Looked::Held(held)) => batch.held.push(held),
        Ok(Looked::Nothing) => {}
        Ok(Looked::Strange) => batch.strange.push(shared.layout.shown(&path)),
        Err(e) if e.kind() == io::ErrorKind::NotFound => {}
        // A stray file where a directory belongs.
        Err(e) if e.kind() == io::ErrorKind::NotADirectory => {
            batch.strange.push(shared.layout.shown(&path));
        }
        Err(e) => refuse(batch, shared, &path, e)?,
    }
    Ok(true)
}

enum Looked {
    /// The last of them is looked at next.
    Dirs(Vec<Dir>),
    Held(Held),
    Nothing,
    Strange,
}

fn look(dir: &Dir, name: &str) -> io::Result<Looked> {
    let path = dir.path.join(name);
    let digest_of = |digest: Option<Digest>, what: fn(Digest) -> What| match digest {
        // A link that was deleted leaves its directory.
        Some(digest) => Ok(held(dir, what(digest), modified(&path.join("link"))?)),
        None => Ok(Looked::Strange),
    };
    let algorithm = || dir.path.file_name().and_then(|name| name.to_str());
    let digest = || tree::digest(algorithm()?, name);
    match dir.kind {
        Kind::Names if name.starts_with('_') => Ok(match name {
            // Entered with their repository.
            "_layers" | "_manifests" | "_uploads" if !dir.repository.is_empty() => Looked::Nothing,
            _ => Looked::Strange,
        }),
        Kind::Names => names(dir, name),
        Kind::Layers(Level::Algorithms) => Ok(Looked::Dirs(vec![
            dir.below(name, Kind::Layers(Level::Digests)),
        ])),
        Kind::Manifests(Level::Algorithms) => Ok(Looked::Dirs(vec![
            dir.below(name, Kind::Manifests(Level::Digests)),
        ])),
        Kind::Layers(Level::Digests) => digest_of(digest(), What::Layer),
        Kind::Manifests(Level::Digests) => digest_of(digest(), What::Manifest),
        Kind::Tags => {
            let modified = modified(&path.join("current/link"))?;
            Ok(held(dir, What::Tag(name.to_owned()), modified))
        }
        Kind::Uploads => {
            let data = fs::symlink_metadata(path.join("data"))?;
            let what = What::Upload { bytes: data.len() };
            Ok(held(dir, what, data.modified()?))
        }
    }
}

/// A further part of a repository's name: what it holds itself, and then those whose names go on.
fn names(dir: &Dir, name: &str) -> io::Result<Looked> {
    if !fs::symlink_metadata(dir.path.join(name))?.is_dir() {
        return Ok(Looked::Strange);
    }
    let mut inner = dir.below(name, Kind::Names);
    if !inner.repository.is_empty() {
        inner.repository.push('/');
    }
    inner.repository.push_str(name);
    let own = [
        inner.below("_uploads", Kind::Uploads),
        inner.below("_manifests/tags", Kind::Tags),
        inner.below("_manifests/revisions", Kind::Manifests(Level::Algorithms)),
        inner.below("_layers", Kind::Layers(Level::Algorithms)),
    ];
    let mut dirs = vec![inner];
    dirs.extend(own);
    Ok(Looked::Dirs(dirs))
}

fn held(dir: &Dir, what: What, modified: SystemTime) -> Looked {
    Looked::Held(Held {
        repository: dir.repository.clone(),
        what,
        modified,
    })
}

fn modified(path: &Path) -> io::Result<SystemTime> {
    fs::symlink_metadata(path)?.modified()
}

/// Notes what the disk does not show; an error that is not about this file ends the walk.
fn refuse(batch: &mut HeldBatch, shared: &Shared, path: &Path, error: io::Error) -> Result<()> {
    if is_away(&error) {
        return Err(Error::io("look at", path, error));
    }
    let shown = shared.layout.shown(path);
    batch.unreadable.push(format!("{shown}: {error}"));
    Ok(())
}
