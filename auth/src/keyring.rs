//! The key file, and those beside it while it is changed: `FILE.next` takes its place once the database was encrypted with it, and
//! `FILE.previous` still reads what was signed until a moment before. Which of them is the key, the database says, by its fingerprint.

use std::{
    fs,
    path::{Path, PathBuf},
    sync::Arc,
};

use model::{Error, Result};
use parking_lot::RwLock;

use crate::{SecretKey, random, secret_key};

const NEXT: &str = ".next";
const PREVIOUS: &str = ".previous";

/// The keys of a node. A clone is another handle on the same.
#[derive(Clone)]
pub struct Keyring(Arc<Inner>);

struct Inner {
    path: PathBuf,
    keys: RwLock<Keys>,
}

#[derive(Clone)]
struct Keys {
    current: SecretKey,
    next: Option<SecretKey>,
    previous: Option<SecretKey>,
}

impl Keyring {
    /// Reads the key file, and makes it where the database `expects` none yet. Where it is not the one that is expected, and one beside
    /// it is, that one takes its place: the database was changed while this node was away, or came back from a backup.
    /// Whether the key fits then, [`Self::fingerprint`] tells.
    pub fn open(path: &Path, expected: Option<&str>) -> Result<Self> {
        let current = SecretKey::load_or_create(path, expected.is_none())?;
        let keys = Keys {
            current,
            next: None,
            previous: read(&named(path, PREVIOUS)).unwrap_or_else(|error| told(&error)),
        };
        let ring = Self(Arc::new(Inner {
            path: path.to_owned(),
            keys: RwLock::new(keys),
        }));
        ring.look().unwrap_or_else(|error| told(&error));
        if let Some(expected) = expected {
            ring.follow(expected);
        }
        Ok(ring)
    }

    /// Of the key that counts.
    pub fn fingerprint(&self) -> String {
        self.keys().current.fingerprint()
    }

    /// Of the key that waits to take its place.
    pub fn next_fingerprint(&self) -> Option<String> {
        self.keys().next.map(|key| key.fingerprint())
    }

    /// Where the key that is to come belongs.
    pub fn next_path(&self) -> PathBuf {
        named(&self.0.path, NEXT)
    }

    /// Reads again what lies beside the key file.
    pub fn look(&self) -> Result<()> {
        let next = read(&self.next_path())?;
        let mut keys = self.0.keys.write();
        let current = keys.current.fingerprint();
        keys.next = next.filter(|next| next.fingerprint() != current);
        Ok(())
    }

    /// Makes the key that is to come, unless it is there.
    pub fn make_next(&self) -> Result<()> {
        let path = self.next_path();
        secret_key::create(&path).map_err(|error| secret_key::unreadable(&path, error))?;
        self.look()
    }

    /// Has the key count that the database was encrypted with; false when none of ours is it.
    pub fn follow(&self, expected: &str) -> bool {
        if self.fingerprint() == expected {
            return true;
        }
        let path = &self.0.path;
        let known = self.find(expected).or_else(|| {
            // Nodes may share one file: then another has put it in its place already.
            let files = [path.clone(), named(path, NEXT)];
            let mut read = files.iter().filter_map(|file| read(file).ok().flatten());
            read.find(|key| key.fingerprint() == expected)
        });
        let Some(chosen) = known else { return false };
        let before = {
            let mut keys = self.0.keys.write();
            keys.next = keys
                .next
                .take()
                .filter(|next| next.fingerprint() != expected);
            let before = std::mem::replace(&mut keys.current, chosen);
            keys.previous.insert(before).fingerprint()
        };
        if let Err(error) = put_in_place(path, &before, expected) {
            tracing::warn!(
                %error,
                path = %path.display(),
                "the key has changed, and its file cannot be replaced from here: put the one that ends in `{NEXT}` in its place",
            );
        }
        true
    }

    /// What the key before signed counts no more. Its file stays: backups of the database need it.
    pub fn forget_previous(&self) {
        self.0.keys.write().previous = None;
    }

    /// The key with this fingerprint, if it is one of ours.
    pub(crate) fn find(&self, fingerprint: &str) -> Option<SecretKey> {
        let Keys {
            current,
            next,
            previous,
        } = self.keys();
        let mut all = [Some(current), next, previous].into_iter().flatten();
        all.find(|key| key.fingerprint() == fingerprint)
    }

    /// A key for one purpose of each of ours: the first makes marks, all of them check them, since other nodes may be ahead or
    /// behind by some seconds.
    pub fn derive(&self, label: &str) -> Vec<[u8; 32]> {
        let Keys {
            current,
            next,
            previous,
        } = self.keys();
        let all = [Some(current), next, previous].into_iter().flatten();
        all.map(|key| key.derive(label)).collect()
    }

    pub(crate) fn decrypt(&self, text: &str) -> Result<Vec<u8>> {
        let Keys {
            current,
            next,
            previous,
        } = self.keys();
        let plain = current.decrypt(text);
        if plain.is_ok() {
            return plain;
        }
        let mut others = [next, previous].into_iter().flatten();
        let other = others.find_map(|key| key.decrypt(text).ok());
        other.map_or(plain, Ok)
    }

    fn keys(&self) -> Keys {
        self.0.keys.read().clone()
    }
}

/// What lies beside the key file is not worth a failure before it is needed.
fn told<T: Default>(error: &Error) -> T {
    tracing::warn!(%error, "a key beside the key file cannot be read");
    T::default()
}

fn named(path: &Path, suffix: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(suffix);
    name.into()
}

/// None where there is no such file.
fn read(path: &Path) -> Result<Option<SecretKey>> {
    if !path.exists() {
        return Ok(None);
    }
    match SecretKey::load_or_create(path, false) {
        Ok(key) => Ok(Some(key)),
        // Gone meanwhile: another process put it in its place.
        Err(Error::Precondition(_)) if !path.exists() => Ok(None),
        Err(error) => Err(error),
    }
}

fn is(path: &Path, fingerprint: &str) -> Result<bool> {
    Ok(read(path)?.is_some_and(|key| key.fingerprint() == fingerprint))
}

/// The file of the key `after` takes the place of the one of `before`, which is kept. At every moment there is a key file, and
/// several processes may do this at once with the same files.
fn put_in_place(path: &Path, before: &str, after: &str) -> Result<()> {
    let aside = random::text(8)?;
    let [old, new] = ["old", "new"].map(|suffix| named(path, &format!(".{aside}.{suffix}")));
    let put = || {
        let (next, previous) = (named(path, NEXT), named(path, PREVIOUS));
        let from = if is(&next, after)? { &next } else { &previous };
        link(from, &new)?;
        link(path, &old)?;
        // Another may have been faster, between the looks and the links.
        if is(&old, before)? && is(&new, after)? {
            rename(&old, &previous)?;
            rename(&new, path)?;
            let _ = fs::remove_file(next);
        }
        Ok(())
    };
    let done = if is(path, after)? { Ok(()) } else { put() };
    for file in [old, new] {
        let _ = fs::remove_file(file);
    }
    if !is(path, after)? {
        return done;
    }
    secret_key::sync_folder(path).map_err(|error| secret_key::unreadable(path, error))
}

fn link(from: &Path, to: &Path) -> Result<()> {
    fs::hard_link(from, to).map_err(|error| secret_key::unreadable(from, error))
}

fn rename(from: &Path, to: &Path) -> Result<()> {
    fs::rename(from, to).map_err(|error| secret_key::unreadable(from, error))
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Folder(tempfile::TempDir);

    impl Folder {
        fn path(&self) -> PathBuf {
            self.0.path().join("secretkey")
        }

        fn names(&self) -> Vec<String> {
            let entries = fs::read_dir(self.0.path()).unwrap();
            let mut names: Vec<_> = entries
                .map(|entry| entry.unwrap().file_name().into_string().unwrap())
                .collect();
            names.sort();
            names
        }
    }

    fn changed() -> (Folder, Keyring, [String; 2]) {
        let folder = Folder(tempfile::tempdir().unwrap());
        let ring = Keyring::open(&folder.path(), None).unwrap();
        let first = ring.fingerprint();
        ring.make_next().unwrap();
        let second = ring.next_fingerprint().unwrap();
        assert_ne!(first, second);
        (folder, ring, [first, second])
    }

    #[test]
    fn the_next_key_counts_when_the_database_says_so_and_not_before() {
        let (folder, ring, [first, second]) = changed();
        let before = ring.find(&first).unwrap().encrypt(b"before");
        let after = ring.find(&second).unwrap().encrypt(b"after");
        assert!(ring.follow(&first), "nothing happened yet");
        assert_eq!(ring.fingerprint(), first);
        // Another node may be ahead.
        assert_eq!(ring.decrypt(&after).unwrap(), b"after");
        assert!(ring.follow(&second));
        assert_eq!(ring.fingerprint(), second);
        assert_eq!(ring.next_fingerprint(), None);
        for (text, plain) in [(&before, "before"), (&after, "after")] {
            assert_eq!(ring.decrypt(text).unwrap(), plain.as_bytes());
        }
        assert_eq!(folder.names(), ["secretkey", "secretkey.previous"]);
        let again = Keyring::open(&folder.path(), Some(&second)).unwrap();
        assert_eq!(again.fingerprint(), second);
        assert_eq!(again.decrypt(&before).unwrap(), b"before");
        again.forget_previous();
        assert!(again.decrypt(&before).is_err());
        assert_eq!(again.derive("purpose").len(), 1);
    }

    #[test]
    fn a_node_that_was_away_finds_its_key_by_what_the_database_says() {
        let (folder, _, [first, second]) = changed();
        let late = Keyring::open(&folder.path(), Some(&second)).unwrap();
        assert_eq!(late.fingerprint(), second);
        // A backup from before the change came back, and then one from after it.
        for expected in [&first, &second, &first] {
            let back = Keyring::open(&folder.path(), Some(expected)).unwrap();
            assert_eq!(back.fingerprint(), *expected);
            assert_eq!(folder.names(), ["secretkey", "secretkey.previous"]);
        }
    }

    #[test]
    fn nodes_that_share_one_file_may_follow_at_once() {
        for _ in 0..20 {
            let (folder, ring, [first, second]) = changed();
            let old = ring.find(&first).unwrap().encrypt(b"old");
            let rings: Vec<_> = (0..4)
                .map(|_| Keyring::open(&folder.path(), Some(&first)).unwrap())
                .collect();
            std::thread::scope(|scope| {
                for ring in &rings {
                    scope.spawn(|| assert!(ring.follow(&second)));
                }
            });
            assert_eq!(folder.names(), ["secretkey", "secretkey.previous"]);
            let late = Keyring::open(&folder.path(), Some(&second)).unwrap();
            assert_eq!(late.fingerprint(), second);
            assert_eq!(late.decrypt(&old).unwrap(), b"old");
            // One that was away while the files moved.
            assert!(ring.follow(&second));
        }
    }

    #[test]
    fn a_key_that_is_none_of_ours_is_not_followed() {
        let (folder, ring, [first, _]) = changed();
        assert!(!ring.follow("another"));
        assert_eq!(ring.fingerprint(), first);
        let opened = Keyring::open(&folder.path(), Some("another")).unwrap();
        assert_eq!(opened.fingerprint(), first);
        assert_eq!(folder.names(), ["secretkey", "secretkey.next"]);
    }

    #[test]
    fn a_next_key_that_is_none_is_told_of_and_leaves_the_key_alone() {
        let (folder, ring, [first, _]) = changed();
        fs::write(ring.next_path(), "short").unwrap();
        assert!(ring.look().is_err());
        assert!(!ring.follow("another"));
        assert_eq!(ring.fingerprint(), first);
        let opened = Keyring::open(&folder.path(), Some(&first)).unwrap();
        assert_eq!(opened.fingerprint(), first);
    }
}
