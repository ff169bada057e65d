//! The data directory and the SQLite file: one process has them, by locks that end with it.

use std::{
    fs::{self, File, TryLockError},
    io::{Read, Write},
    os::unix::fs::{DirBuilderExt, OpenOptionsExt},
    path::{Path, PathBuf},
};

use anyhow::{Context, Result, bail};

use crate::config::{Config, DatabaseUrl};

/// Locked while a process uses the data directory; it holds the process's number.
const LOCK: &str = "seawall.lock";

/// A data directory that this process alone uses, until it is dropped; and the SQLite file, where that lies elsewhere.
pub struct DataDir {
    pub path: PathBuf,
    _locks: Vec<File>,
}

impl DataDir {
    /// Makes the directory when its parent exists, and takes its lock.
    pub fn open(config: &Config) -> Result<Self> {
        let path = &config.server.data;
        match fs::DirBuilder::new().mode(0o700).create(path) {
            Ok(()) => {}
            Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => {}
            Err(error) => bail!(
                "cannot make the data directory `{}`: {error}",
                path.display()
            ),
        }
        let name = path.join(LOCK);
        let lock = open_lock(&name).with_context(|| {
            format!(
                "cannot use the data directory `{}`: is it this user's?",
                path.display()
            )
        })?;
        let mut locks = vec![take_lock(lock, &name, InUse::data(path))?];
        // What is remembered of an SQLite file is right only while nobody else writes it, whatever directory he came with.
        if let DatabaseUrl::Sqlite(file) = &config.database.url
            && let Some(name) = lock_beside(file, path)
        {
            let lock = open_lock(&name)
                .with_context(|| format!("cannot make `{}` beside the database", name.display()))?;
            locks.push(take_lock(lock, &name, InUse::database(file))?);
        }
        for mut lock in &locks {
            lock.set_len(0)?;
            writeln!(lock, "process {}", std::process::id())?;
        }
        Ok(Self {
            path: path.clone(),
            _locks: locks,
        })
    }

    /// Takes the locks that are there, and makes and writes none. Fails as `open` does where somebody else has them.
    pub fn hold(config: &Config) -> Result<Self> {
        let path = &config.server.data;
        let mut wanted = vec![(path.join(LOCK), InUse::data(path))];
        if let DatabaseUrl::Sqlite(file) = &config.database.url
            && let Some(name) = lock_beside(file, path)
        {
            wanted.push((name, InUse::database(file)));
        }
        let mut locks = Vec::new();
        for (name, in_use) in wanted {
            match File::open(&name) {
                Ok(lock) => locks.push(take_lock(lock, &name, in_use)?),
                Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
                Err(error) => bail!("cannot open `{}`: {error}", name.display()),
            }
        }
        Ok(Self {
            path: path.clone(),
            _locks: locks,
        })
    }

    /// Takes the lock of another SQLite file, where it has one of its own.
    pub fn lock_database(data: &Path, file: &Path) -> Result<Option<File>> {
        let Some(name) = lock_beside(file, data) else {
            return Ok(None);
        };
        let lock = open_lock(&name)
            .with_context(|| format!("cannot make `{}` beside the database", name.display()))?;
        take_lock(lock, &name, InUse::database(file)).map(Some)
    }

    /// Where a running server listens for commands.
    pub fn socket(path: &Path) -> PathBuf {
        path.join("seawall.sock")
    }
}

/// The lock of an SQLite file; none in the data directory, whose own lock covers it, and where there is no directory for it.
fn lock_beside(file: &Path, data: &Path) -> Option<PathBuf> {
    // As SQLite does it: a link is followed, so that all its names have one lock.
    let file = fs::canonicalize(file).unwrap_or_else(|_| file.to_owned());
    let folder = file
        .parent()
        .filter(|folder| !folder.as_os_str().is_empty())
        .unwrap_or_else(|| Path::new("."));
    let folder = fs::canonicalize(folder).ok()?;
    if fs::canonicalize(data).is_ok_and(|data| data == folder) {
        return None;
    }
    let mut name = file.file_name()?.to_owned();
    name.push(".lock");
    Some(folder.join(name))
}

fn open_lock(name: &Path) -> std::io::Result<File> {
    File::options()
        .create(true)
        .truncate(false)
        .read(true)
        .write(true)
        .mode(0o600)
        .open(name)
}

fn take_lock(mut lock: File, name: &Path, in_use: InUse) -> Result<File> {
    match lock.try_lock() {
        Ok(()) => Ok(lock),
        Err(TryLockError::WouldBlock) => {
            let mut holder = String::new();
            let _ = lock.read_to_string(&mut holder);
            holder.truncate(holder.trim_end().len());
            Err(anyhow::Error::new(InUse { holder, ..in_use }))
        }
        Err(TryLockError::Error(error)) => bail!("cannot lock `{}`: {error}", name.display()),
    }
}

/// Another process has the data directory, or the database.
#[derive(Debug, thiserror::Error)]
#[error("the {what} `{}` is in use by another seawall ({holder}): stop that one, or {instead}", path.display())]
pub struct InUse {
    what: &'static str,
    path: PathBuf,
    instead: &'static str,
    holder: String,
}

impl InUse {
    fn data(path: &Path) -> Self {
        Self {
            what: "data directory",
            path: path.to_owned(),
            instead: "choose another directory with --data",
            holder: String::new(),
        }
    }

    fn database(path: &Path) -> Self {
        Self {
            what: "database",
            path: path.to_owned(),
            instead: "use its own data directory (--data), which has the socket for commands",
            holder: String::new(),
        }
    }
}
