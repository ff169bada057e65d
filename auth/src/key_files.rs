//! The key file and those beside it, on the disk: `FILE.next` is to come, `FILE.previous` was before, and what was before that is
//! `FILE.previous.` and the first digits of its fingerprint. Several processes may have the same files.

use std::{
    ffi::OsString,
    fs,
    io::{self, ErrorKind},
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
};

use model::Result;

use crate::{SecretKey, random, secret_key};

pub(crate) const NEXT: &str = ".next";
pub(crate) const PREVIOUS: &str = ".previous";
/// How much of its fingerprint an older key has in its name.
const SHOWN: usize = 8;

pub(crate) fn named(path: &Path, suffix: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(suffix);
    name.into()
}

fn older(path: &Path, fingerprint: &str) -> PathBuf {
    let shown = fingerprint.get(..SHOWN).unwrap_or_default();
    named(path, &format!("{PREVIOUS}.{shown}"))
}

/// How a file was when it was looked at; another one, or another owner or mode, is seen by it without reading.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Seen {
    None,
    File([i64; 10]),
    Hidden(ErrorKind),
}

impl Seen {
    pub(crate) fn of(path: &Path) -> Self {
        match fs::metadata(path) {
            Ok(found) => Self::File([
                found.dev().cast_signed(),
                found.ino().cast_signed(),
                found.size().cast_signed(),
                i64::from(found.mode()),
                i64::from(found.uid()),
                i64::from(found.gid()),
                found.mtime(),
                found.mtime_nsec(),
                found.ctime(),
                found.ctime_nsec(),
            ]),
            Err(error) if error.kind() == ErrorKind::NotFound => Self::None,
            Err(error) => Self::Hidden(error.kind()),
        }
    }
}

/// Whether two files are there and have one owner.
pub(crate) fn have_one_owner(one: &Path, other: &Path) -> bool {
    let owner = |path| fs::metadata(path).map(|found: fs::Metadata| found.uid());
    match (owner(one), owner(other)) {
        (Ok(one), Ok(other)) => one == other,
        _ => false,
    }
}

/// The key with this fingerprint, whichever of the files it is in. Fails when it may be in one that the disk does not give back.
pub(crate) fn find(path: &Path, fingerprint: &str) -> Result<Option<SecretKey>> {
    // Another process may rename them between two reads, so the second look counts.
    if let Ok(Some(key)) = look_for(path, fingerprint) {
        return Ok(Some(key));
    }
    look_for(path, fingerprint)
}

fn look_for(path: &Path, fingerprint: &str) -> Result<Option<SecretKey>> {
    let mut failed = None;
    for file in places(path, fingerprint) {
        match SecretKey::find(&file) {
            Ok(Some(key)) if key.fingerprint() == fingerprint => return Ok(Some(key)),
            Ok(_) => {}
            Err(error) => {
                if is_unread(&file) {
                    failed = Some(error);
                }
            }
        }
    }
    failed.map_or(Ok(None), Err)
}

/// Whether a file is one that the disk, and not its mode or what is in it, keeps from being read.
fn is_unread(path: &Path) -> bool {
    let read = fs::read(path).map_err(|error| error.kind());
    read.is_err_and(|kind| !matches!(kind, ErrorKind::NotFound | ErrorKind::PermissionDenied))
}

/// Where a key may be.
fn places(path: &Path, fingerprint: &str) -> [PathBuf; 4] {
    [
        path.to_owned(),
        named(path, NEXT),
        named(path, PREVIOUS),
        older(path, fingerprint),
    ]
}

/// The fingerprints of what lies beside the key file and may take its place, as far as it can be read.
pub fn beside(path: &Path) -> Vec<String> {
    let folder = secret_key::folder(path);
    let name = path.file_name().unwrap_or_default();
    let with = |suffix: &str| -> OsString { named(Path::new(name), suffix).into() };
    let (next, previous) = (with(NEXT), with(PREVIOUS));
    let is_ours = |found: &OsString| {
        let bytes = found.as_encoded_bytes();
        *found == next || bytes.starts_with(previous.as_encoded_bytes())
    };
    let names = fs::read_dir(folder).into_iter().flatten().flatten();
    let names = names.map(|entry| entry.file_name()).filter(is_ours);
    names
        .filter_map(|name| SecretKey::find(&folder.join(name)).ok().flatten())
        .map(|key| key.fingerprint())
        .collect()
}

pub(crate) fn is(path: &Path, fingerprint: &str) -> Result<bool> {
    Ok(SecretKey::find(path)?.is_some_and(|key| key.fingerprint() == fingerprint))
}

/// The file of the key `after` takes the place of the one of `before`, which is kept. At every moment there is a key file, and
/// several processes may do this at once with the same files.
pub(crate) fn put_in_place(path: &Path, before: &str, after: &str) -> Result<()> {
    let aside = random::text(8)?;
    let [old, new] = ["old", "new"].map(|suffix| named(path, &format!(".{aside}.{suffix}")));
    let done = if is(path, after)? {
        Ok(())
    } else {
        exchange(path, [&old, &new], [before, after])
    };
    for file in [old, new] {
        let _ = fs::remove_file(file);
    }
    if !is(path, after)? {
        let other = "it holds neither the key that counts nor the one before";
        return done.and_then(|()| {
            let error = io::Error::new(ErrorKind::InvalidData, other);
            Err(secret_key::unreadable(path, error))
        });
    }
    secret_key::sync_folder(path).map_err(|error| secret_key::unreadable(path, error))
}

fn exchange(path: &Path, [old, new]: [&Path; 2], [before, after]: [&str; 2]) -> Result<()> {
    let mut places = places(path, after).into_iter();
    let from = places.find(|place| is(place, after).is_ok_and(|is| is));
    let (next, previous) = (named(path, NEXT), named(path, PREVIOUS));
    link(from.as_deref().unwrap_or(&next), new)?;
    link(path, old)?;
    // Another may have been faster, between the looks and the links.
    if is(old, before)? && is(new, after)? {
        keep_older(path, [before, after])?;
        rename(old, &previous)?;
        rename(new, path)?;
        // What is to come after this one is somebody's work.
        if is(&next, after)? {
            let _ = fs::remove_file(next);
        }
    }
    Ok(())
}

/// Backups need the key that is in `FILE.previous` when it is neither of these two: it gets another name before it loses this one.
fn keep_older(path: &Path, [before, after]: [&str; 2]) -> Result<()> {
    let previous = named(path, PREVIOUS);
    let kept = match SecretKey::find(&previous) {
        Ok(None) => return Ok(()),
        Ok(Some(key)) => key.fingerprint(),
        // It may be a key that only its owner can read.
        Err(_) => random::text(SHOWN)?,
    };
    if [before, after].contains(&kept.as_str()) {
        return Ok(());
    }
    let kept = older(path, &kept);
    match fs::hard_link(&previous, &kept) {
        // Another process was faster, or it had the name already.
        Err(error) if error.kind() == ErrorKind::AlreadyExists => Ok(()),
        linked => linked.map_err(|error| secret_key::unreadable(&previous, error)),
    }
}

fn link(from: &Path, to: &Path) -> Result<()> {
    fs::hard_link(from, to).map_err(|error| secret_key::unreadable(from, error))
}

fn rename(from: &Path, to: &Path) -> Result<()> {
    fs::rename(from, to).map_err(|error: io::Error| secret_key::unreadable(from, error))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(path: &Path) -> String {
        secret_key::create(path, None).unwrap();
        SecretKey::find(path).unwrap().unwrap().fingerprint()
    }

    #[test]
    fn a_file_with_neither_key_stays_as_it_is() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("key");
        let (third, before) = (key(&file), key(&dir.path().join("before")));
        let after = key(&named(&file, NEXT));
        put_in_place(&file, &before, &after).unwrap_err();
        assert!(is(&file, &third).unwrap());
        assert!(is(&named(&file, NEXT), &after).unwrap());
        // Nothing is left beside them.
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 3);
    }

    #[test]
    fn the_next_key_takes_the_place_of_the_one_before() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("key");
        let (before, after) = (key(&file), key(&named(&file, NEXT)));
        for _ in 0..2 {
            put_in_place(&file, &before, &after).unwrap();
            assert!(is(&file, &after).unwrap());
            assert!(is(&named(&file, PREVIOUS), &before).unwrap());
            assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 2);
        }
    }
}
