//! The keys of a node: the one that counts, the one that is to take its place once the database was encrypted with it, and the one
//! before, which still reads what was signed until a moment before. Which of them counts, the database says, by its fingerprint.

use std::{
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use model::{Error, Result, error::internal};
use parking_lot::{Mutex, RwLock};
use tokio::{sync, task::spawn_blocking, time::timeout};

use crate::{
    SecretKey,
    key_files::{self, NEXT, PREVIOUS, Seen, named},
    secret_key,
};

/// What the files' system may take: it may be one that hangs, and signs of life go on.
pub(crate) const SOON: Duration = Duration::from_secs(3);
/// The same where a start or a person waits for a file to be written: a busy disk is none that hangs.
pub(crate) const PATIENTLY: Duration = Duration::from_secs(30);

/// The keys of a node. A clone is another handle on the same.
#[derive(Clone)]
pub struct Keyring(Arc<Inner>);

struct Inner {
    path: PathBuf,
    keys: RwLock<Keys>,
    /// How `FILE.next` was when it was read last.
    seen: Mutex<Option<Seen>>,
    unsettled: Mutex<Option<Unsettled>>,
    turning: sync::Mutex<()>,
    /// Held by the one thread that works on the files.
    files: Arc<sync::Mutex<()>>,
}

/// A key that counts no more and is in the file still.
struct Unsettled {
    fingerprint: String,
    is_told: bool,
}

#[derive(Clone)]
struct Keys {
    current: SecretKey,
    next: Option<SecretKey>,
    previous: Option<SecretKey>,
}

impl Keys {
    fn all(&self) -> impl Iterator<Item = &SecretKey> {
        let others = [&self.next, &self.previous].into_iter().flatten();
        std::iter::once(&self.current).chain(others)
    }

    fn find(&self, fingerprint: &str) -> Option<SecretKey> {
        let mut all = self.all();
        all.find(|key| key.fingerprint() == fingerprint).cloned()
    }
}

impl Keyring {
    /// Reads the key file, and makes it where the database `expects` none yet. Where it is not the one that is expected, and one beside
    /// it is, that one takes its place: the database was changed while this node was away, or came back from a backup.
    /// Whether the key fits then, [`Self::fingerprint`] tells.
    pub fn open(path: &Path, expected: Option<&str>) -> Result<Self> {
        let current = SecretKey::load_or_create(path, expected.is_none())?;
        let previous = SecretKey::find(&named(path, PREVIOUS)).unwrap_or_else(|error| {
            tracing::warn!(%error, "the key before cannot be read");
            None
        });
        let keys = Keys {
            current,
            next: None,
            previous,
        };
        let ring = Self(Arc::new(Inner {
            path: path.to_owned(),
            keys: RwLock::new(keys),
            seen: Mutex::default(),
            unsettled: Mutex::default(),
            turning: sync::Mutex::default(),
            files: Arc::default(),
        }));
        ring.watch();
        if let Some(expected) = expected {
            ring.follow(expected)?;
        }
        Ok(ring)
    }

    /// [`Self::open`] on a thread that may block.
    pub async fn load(path: PathBuf, expected: Option<String>) -> Result<Self> {
        let shown = path.clone();
        within(PATIENTLY, &shown, async {
            let opened = spawn_blocking(move || Self::open(&path, expected.as_deref()));
            opened.await.map_err(internal("reading the key file"))?
        })
        .await
    }

    /// Of the key that counts.
    pub fn fingerprint(&self) -> String {
        self.0.keys.read().current.fingerprint()
    }

    /// Of the key that waits to take its place.
    pub fn next_fingerprint(&self) -> Option<String> {
        let keys = self.0.keys.read();
        keys.next.as_ref().map(SecretKey::fingerprint)
    }

    /// Where the key that is to come belongs.
    pub fn next_path(&self) -> PathBuf {
        named(&self.0.path, NEXT)
    }

    /// Reads again what lies beside the key file.
    pub fn look(&self) -> Result<()> {
        let path = self.next_path();
        *self.0.seen.lock() = Some(Seen::of(&path));
        let next = SecretKey::find(&path)?;
        let mut keys = self.0.keys.write();
        let current = keys.current.fingerprint();
        keys.next = next.filter(|next| next.fingerprint() != current);
        Ok(())
    }

    /// The same where it has changed since. What is wrong with it is not worth a failure before it is needed, and is told once.
    pub(crate) fn watch(&self) {
        let next = self.next_path();
        let seen = Seen::of(&next);
        if self.0.seen.lock().as_ref() == Some(&seen) {
            return;
        }
        if let Err(error) = self.look() {
            tracing::warn!(
                %error,
                "the key that is to come cannot be read: give it the owner of the key file and mode 0600"
            );
        } else if seen != Seen::None {
            secret_key::tell_of_others(&next);
            if !key_files::have_one_owner(&next, &self.0.path) {
                tracing::warn!(
                    path = %next.display(),
                    "the key that is to come has another owner than the key file, and could not take its place: give it the same (chown)"
                );
            }
        }
    }

    /// The key that is to come, as its file says now; made unless it is there.
    pub(crate) fn prepare_next(&self) -> Result<SecretKey> {
        self.look()?;
        if self.next_fingerprint().is_none() {
            self.make_next()?;
        }
        let next = self.0.keys.read().next.clone();
        next.ok_or_else(|| {
            let (next, path) = (self.next_path(), &self.0.path);
            let (next, path) = (next.display(), path.display());
            Error::Precondition(if self.is_in_place() {
                format!("`{next}` holds the key that counts already: put another there, or remove it and one is made")
            } else {
                format!("`{next}` holds the key that counts, and `{path}` an older one: put it in the place of that one first")
            })
        })
    }

    fn is_in_place(&self) -> bool {
        key_files::is(&self.0.path, &self.fingerprint()).is_ok_and(|is| is)
    }

    /// Makes the key that is to come, unless it is there.
    pub fn make_next(&self) -> Result<()> {
        let path = self.next_path();
        secret_key::create(&path, Some(&self.0.path))
            .map_err(|error| secret_key::unreadable(&path, error))?;
        self.look()
    }

    /// Has the key count that the database was encrypted with; false when none of ours is it.
    pub fn follow(&self, expected: &str) -> Result<bool> {
        if !self.turn_to(expected) {
            let Some(found) = self.find_in_files(expected)? else {
                return Ok(false);
            };
            self.take(found);
        }
        self.settle();
        Ok(true)
    }

    /// Has the key with this fingerprint count; false when it is not in memory.
    pub(crate) fn turn_to(&self, expected: &str) -> bool {
        let mut keys = self.0.keys.write();
        let chosen = keys.find(expected);
        let is_known = chosen.is_some();
        if let Some(chosen) = chosen {
            self.turn(&mut keys, chosen);
        }
        is_known
    }

    /// Has this key count.
    pub(crate) fn take(&self, chosen: SecretKey) {
        self.turn(&mut self.0.keys.write(), chosen);
    }

    fn turn(&self, keys: &mut Keys, chosen: SecretKey) {
        let (before, after) = (keys.current.fingerprint(), chosen.fingerprint());
        if before == after {
            return;
        }
        keys.next = keys.next.take().filter(|next| next.fingerprint() != after);
        keys.previous = Some(std::mem::replace(&mut keys.current, chosen));
        self.0.unsettled.lock().get_or_insert(Unsettled {
            fingerprint: before,
            is_told: false,
        });
        // The same `FILE.next` may be one to come beside this key.
        *self.0.seen.lock() = None;
    }

    /// A key that has come into one of the files: nodes may share them, and then another has put it in its place already.
    pub(crate) fn find_in_files(&self, expected: &str) -> Result<Option<SecretKey>> {
        key_files::find(&self.0.path, expected)
    }

    /// Has the key file be the one of the key that counts, if another has come to count since it was. Tried again until it is.
    pub(crate) fn settle(&self) {
        let Some(mut before) = self.0.unsettled.lock().take() else {
            return;
        };
        let path = &self.0.path;
        let placed = key_files::put_in_place(path, &before.fingerprint, &self.fingerprint());
        let Err(error) = placed else {
            return;
        };
        if !before.is_told {
            tracing::warn!(
                %error,
                path = %path.display(),
                "the key has changed, and its file cannot be replaced from here (has `{NEXT}` the same owner?): put the one that ends in `{NEXT}` in its place",
            );
        }
        before.is_told = true;
        *self.0.unsettled.lock() = Some(before);
    }

    /// Works on the files on a thread that may block, one at a time: where they hang, no more than that one hangs with them.
    pub(crate) async fn on_files<T: Send + 'static>(
        &self,
        patience: Duration,
        work: impl FnOnce(&Self) -> T + Send + 'static,
    ) -> Result<T> {
        let ring = self.clone();
        within(patience, &self.0.path, async {
            let turn = self.0.files.clone().lock_owned().await;
            let worked = spawn_blocking(move || {
                let _turn = turn;
                work(&ring)
            });
            worked.await.map_err(internal("working on the key files"))
        })
        .await
    }

    /// To be held from before the database is asked which key counts, or is told, until that key counts here: an older answer must
    /// not come after a newer one.
    pub(crate) async fn turning(&self) -> sync::MutexGuard<'_, ()> {
        self.0.turning.lock().await
    }

    /// What the key before signed counts no more. Its file stays: backups of the database need it.
    pub fn forget_previous(&self) {
        self.0.keys.write().previous = None;
    }

    /// The key with this fingerprint, if it is one of ours.
    pub(crate) fn find(&self, fingerprint: &str) -> Option<SecretKey> {
        self.0.keys.read().find(fingerprint)
    }

    /// A key for one purpose of each of ours: the first makes marks, all of them check them, since other nodes may be ahead or
    /// behind by some seconds.
    pub fn derive(&self, label: &str) -> Vec<[u8; 32]> {
        let keys = self.0.keys.read();
        keys.all().map(|key| key.derive(label)).collect()
    }

    pub(crate) fn decrypt(&self, text: &str) -> Result<Vec<u8>> {
        let keys = self.0.keys.read().clone();
        let plain = keys.current.decrypt(text);
        if plain.is_ok() {
            return plain;
        }
        let mut others = keys.all().skip(1);
        let other = others.find_map(|key| key.decrypt(text).ok());
        other.map_or(plain, Ok)
    }
}

async fn within<T>(
    patience: Duration,
    path: &Path,
    work: impl Future<Output = Result<T>>,
) -> Result<T> {
    timeout(patience, work).await.unwrap_or_else(|_| {
        Err(Error::Unavailable(anyhow::anyhow!(
            "the file system of the key file `{}` does not answer",
            path.display()
        )))
    })
}

#[cfg(test)]
mod tests {
    use std::fs;

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
        assert!(ring.follow(&first).unwrap(), "nothing happened yet");
        assert_eq!(ring.fingerprint(), first);
        // Another node may be ahead.
        assert_eq!(ring.decrypt(&after).unwrap(), b"after");
        assert!(ring.follow(&second).unwrap());
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
                    scope.spawn(|| assert!(ring.follow(&second).unwrap()));
                }
            });
            assert_eq!(folder.names(), ["secretkey", "secretkey.previous"]);
            let late = Keyring::open(&folder.path(), Some(&second)).unwrap();
            assert_eq!(late.fingerprint(), second);
            assert_eq!(late.decrypt(&old).unwrap(), b"old");
            // One that was away while the files moved.
            assert!(ring.follow(&second).unwrap());
        }
    }

    #[test]
    fn a_key_that_is_none_of_ours_is_not_followed() {
        let (folder, ring, [first, _]) = changed();
        assert!(!ring.follow("another").unwrap());
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
        assert!(!ring.follow("another").unwrap());
        assert_eq!(ring.fingerprint(), first);
        let opened = Keyring::open(&folder.path(), Some(&first)).unwrap();
        assert_eq!(opened.fingerprint(), first);
    }

    #[test]
    fn many_who_follow_at_once_with_one_ring_keep_the_key_before() {
        for _ in 0..50 {
            let (_folder, ring, [first, second]) = changed();
            std::thread::scope(|scope| {
                for _ in 0..4 {
                    scope.spawn(|| assert!(ring.follow(&second).unwrap()));
                }
            });
            assert_eq!(ring.fingerprint(), second);
            assert!(ring.find(&first).is_some());
        }
    }

    #[test]
    fn what_is_to_come_stays_when_a_backup_brings_the_key_before_back() {
        let (folder, ring, [first, second]) = changed();
        ring.follow(&second).unwrap();
        ring.make_next().unwrap();
        let third = ring.next_fingerprint().unwrap();
        assert!(ring.follow(&first).unwrap());
        ring.watch();
        assert_eq!(ring.next_fingerprint(), Some(third));
        assert_eq!(
            folder.names(),
            ["secretkey", "secretkey.next", "secretkey.previous"]
        );
    }

    #[test]
    fn each_key_that_was_keeps_a_file_and_is_found_again() {
        let (folder, ring, [first, second]) = changed();
        ring.follow(&second).unwrap();
        ring.make_next().unwrap();
        let third = ring.next_fingerprint().unwrap();
        ring.follow(&third).unwrap();
        let oldest = format!("secretkey.previous.{}", &first[..8]);
        assert_eq!(
            folder.names(),
            ["secretkey", "secretkey.previous", oldest.as_str()]
        );
        let mut beside = key_files::beside(&folder.path());
        beside.sort();
        let mut kept = [first.clone(), second];
        kept.sort();
        assert_eq!(beside, kept);
        let back = Keyring::open(&folder.path(), Some(&first)).unwrap();
        assert_eq!(back.fingerprint(), first);
        assert!(ring.follow(&third).unwrap(), "of whatever file");
    }

    #[test]
    fn the_next_key_has_the_owner_of_the_key() {
        use std::os::unix::fs::{MetadataExt, chown};
        let folder = Folder(tempfile::tempdir().unwrap());
        let ring = Keyring::open(&folder.path(), None).unwrap();
        if chown(folder.path(), Some(12_345), Some(12_346)).is_err() {
            testkit::left_out("owners", "only root can give a file away");
            return;
        }
        ring.make_next().unwrap();
        let made = fs::metadata(ring.next_path()).unwrap();
        assert_eq!((made.uid(), made.gid()), (12_345, 12_346));
    }

    /// A pipe keeps whoever opens it waiting, as a file does on a file system whose server is gone.
    #[tokio::test]
    async fn files_that_hang_hold_nobody_up_and_are_not_lost() {
        let (_folder, ring, [first, second]) = changed();
        let pipe = ring.next_path();
        let key = fs::read(&pipe).unwrap();
        fs::remove_file(&pipe).unwrap();
        let made = std::process::Command::new("mkfifo").arg(&pipe).status();
        assert!(made.unwrap().success());
        let hung = ring.on_files(SOON, Keyring::watch).await;
        assert!(matches!(hung, Err(Error::Unavailable(_))), "{hung:?}");
        assert!(ring.turn_to(&second), "memory has it");
        let settled = ring.on_files(PATIENTLY, Keyring::settle);
        let opened = spawn_blocking(move || {
            let mut writer = fs::File::options().write(true).open(&pipe)?;
            let aside = named(&pipe, ".aside");
            fs::write(&aside, &key)?;
            fs::rename(aside, &pipe)?;
            std::io::Write::write_all(&mut writer, &key)
        });
        let (settled, opened) = tokio::join!(settled, opened);
        settled.unwrap();
        opened.unwrap().unwrap();
        assert_eq!(ring.fingerprint(), second);
        assert!(ring.find(&first).is_some());
    }
}
