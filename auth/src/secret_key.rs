//! The key file `secretkey`: the root of every secret at rest. The file's bytes are never used as they are; each purpose
//! has its own key, derived with HKDF-SHA-256 under a label.

use std::{
    fmt,
    fs::{self, File, OpenOptions},
    io::{self, Read, Write},
    os::unix::fs::{MetadataExt, OpenOptionsExt, fchown},
    path::{Path, PathBuf},
    sync::Arc,
};

use aws_lc_rs::{
    aead::{AES_256_GCM, Aad, NONCE_LEN, Nonce, RandomizedNonceKey},
    hkdf::{self, HKDF_SHA256, Prk},
};
use base64::{Engine, engine::general_purpose::STANDARD};
use model::{Error, Result, error::internal};

use crate::random;

/// A shorter file is no key: Harbor's has 16 characters.
const LEAST: usize = 16;
/// A longer file is not a key file but something else.
const MOST: u64 = 4096;
/// Says how a text was encrypted, so that another way can be told apart one day.
const FORMAT: &str = "aes256gcm-v1:";

/// The key file's content. A clone is the same key.
#[derive(Clone)]
pub struct SecretKey(Arc<Inner>);

struct Inner {
    root: Prk,
    seal: RandomizedNonceKey,
}

impl SecretKey {
    /// Reads the key file. Where it is missing and `may_create`, makes one: mode 0600, whole and durable before it has its
    /// name, and never over another's. Of several processes that start at once one makes it and all read the same.
    pub fn load_or_create(path: &Path, may_create: bool) -> Result<Self> {
        if let Some(key) = Self::find(path)? {
            tell_of_others(path);
            return Ok(key);
        }
        if !may_create {
            return Err(Error::Precondition(format!(
                "the key file `{}` is missing, and the database's secrets are encrypted with it: copy it from another node or from a backup",
                path.display()
            )));
        }
        create(path, None).map_err(|error| unreadable(path, error))?;
        Self::find(path)?.ok_or_else(|| unreadable(path, io::ErrorKind::NotFound.into()))
    }

    /// The key in this file; none where there is no such file.
    pub fn find(path: &Path) -> Result<Option<Self>> {
        match read(path) {
            Ok(content) => Self::from_content(path, &content).map(Some),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(unreadable(path, error)),
        }
    }

    /// Space around the key is no part of it: editors and secret stores add a line's end.
    fn from_content(path: &Path, content: &[u8]) -> Result<Self> {
        let key = content.trim_ascii();
        if key.len() < LEAST {
            return Err(Error::Precondition(format!(
                "the key file `{}` holds {} bytes, at least {LEAST} are needed: restore it from a backup, or remove it where nothing was encrypted with it yet",
                path.display(),
                key.len()
            )));
        }
        let root = hkdf::Salt::new(HKDF_SHA256, b"seawall").extract(key);
        let seal = RandomizedNonceKey::new(&AES_256_GCM, &expand(&root, "encrypt"))
            .map_err(internal("making the encryption key"))?;
        Ok(Self(Arc::new(Inner { root, seal })))
    }

    /// Tells whether two nodes have the same key, without revealing it.
    pub fn fingerprint(&self) -> String {
        hex::encode(&self.derive("fingerprint")[..16])
    }

    /// A key for one purpose. Other labels give keys that say nothing about this one.
    pub fn derive(&self, label: &str) -> [u8; 32] {
        expand(&self.0.root, label)
    }

    /// Text for a column: format, nonce, ciphertext and tag.
    pub fn encrypt(&self, plain: &[u8]) -> String {
        let mut sealed = plain.to_vec();
        let nonce = self
            .0
            .seal
            .seal_in_place_append_tag(Aad::from(FORMAT), &mut sealed)
            .expect("AES-GCM fails only for inputs of 64 GiB and more");
        let mut whole = nonce.as_ref().to_vec();
        whole.append(&mut sealed);
        format!("{FORMAT}{}", STANDARD.encode(whole))
    }

    /// Fails for what was encrypted with another key, and for what was changed since.
    pub fn decrypt(&self, text: &str) -> Result<Vec<u8>> {
        let encoded = text.strip_prefix(FORMAT).ok_or_else(|| {
            Error::Internal(anyhow::anyhow!(
                "a secret in the database has no format we know"
            ))
        })?;
        let mut whole = STANDARD
            .decode(encoded)
            .map_err(internal("a secret in the database is not base64"))?;
        let (nonce, sealed) = whole.split_first_chunk_mut::<NONCE_LEN>().ok_or_else(|| {
            Error::Internal(anyhow::anyhow!("a secret in the database is cut short"))
        })?;
        let plain = self
            .0
            .seal
            .open_in_place(
                Nonce::assume_unique_for_key(*nonce),
                Aad::from(FORMAT),
                sealed,
            )
            .map_err(|_| {
                Error::Internal(anyhow::anyhow!(
                    "a secret in the database was encrypted with another key file, or was changed"
                ))
            })?;
        Ok(plain.to_vec())
    }
}

impl fmt::Debug for SecretKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SecretKey(…)")
    }
}

fn expand(root: &Prk, label: &str) -> [u8; 32] {
    let mut key = [0; 32];
    root.expand(&[label.as_bytes()], HKDF_SHA256)
        .and_then(|okm| okm.fill(&mut key))
        .expect("32 bytes are one block of HKDF-SHA-256");
    key
}

pub(crate) fn unreadable(path: &Path, error: io::Error) -> Error {
    Error::Internal(anyhow::Error::new(error).context(format!("the key file `{}`", path.display())))
}

/// Warns where the file's mode lets others have the key.
pub(crate) fn tell_of_others(path: &Path) {
    let mode = fs::metadata(path).map_or(0o600, |metadata| metadata.mode());
    if mode & 0o077 != 0 {
        tracing::warn!(
            path = %path.display(),
            mode = format!("{:04o}", mode & 0o7777),
            "others than its owner can reach the key file: set its mode to 0600"
        );
    }
}

fn read(path: &Path) -> io::Result<Vec<u8>> {
    let mut content = Vec::new();
    File::open(path)?.take(MOST + 1).read_to_end(&mut content)?;
    if content.len() as u64 > MOST {
        return Err(io::Error::other(format!(
            "is longer than {MOST} bytes, so it is no key file"
        )));
    }
    Ok(content)
}

/// Written aside and linked to its name, which fails where the name is taken: nobody ever reads half a key, and the one
/// who comes second leaves the first one's alone. It has the owner of the file `like`, as far as we may give it away.
pub(crate) fn create(path: &Path, like: Option<&Path>) -> io::Result<()> {
    let random = || random::bytes::<32>().map_err(io::Error::other);
    let aside = PathBuf::from(format!(
        "{}.{}.new",
        path.display(),
        hex::encode(&random()?[..8])
    ));
    let linked = write_durably(&aside, &STANDARD.encode(random()?), like)
        .and_then(|()| fs::hard_link(&aside, path));
    let removed = fs::remove_file(&aside);
    match linked {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
        linked => linked.and(removed)?,
    }
    sync_folder(path)
}

/// Makes names durable that were given or taken in the file's folder.
pub(crate) fn sync_folder(path: &Path) -> io::Result<()> {
    File::open(folder(path))?.sync_all()
}

pub(crate) fn folder(path: &Path) -> &Path {
    path.parent()
        .filter(|parent| !parent.as_os_str().is_empty())
        .unwrap_or(Path::new("."))
}

fn write_durably(path: &Path, key: &str, like: Option<&Path>) -> io::Result<()> {
    let mut file = OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(path)?;
    writeln!(file, "{key}")?;
    if let Some(like) = like {
        give(&file, &fs::metadata(like)?)?;
    }
    file.sync_all()
}

/// A command that root runs makes files for the user that the service runs as.
fn give(file: &File, like: &fs::Metadata) -> io::Result<()> {
    let own = file.metadata()?;
    if (own.uid(), own.gid()) == (like.uid(), like.gid()) {
        return Ok(());
    }
    match fchown(file, Some(like.uid()), Some(like.gid())) {
        Err(error) if error.kind() == io::ErrorKind::PermissionDenied => Ok(()),
        given => given,
    }
}

#[cfg(test)]
mod tests {
    use std::{os::unix::fs::PermissionsExt, sync::Barrier};

    use super::*;

    fn key_of(content: &str) -> Result<SecretKey> {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("secretkey");
        fs::write(&path, content).unwrap();
        SecretKey::load_or_create(&path, false)
    }

    #[test]
    fn of_many_who_start_at_once_one_makes_the_file_and_all_have_its_key() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("secretkey");
        let start = Barrier::new(8);
        let fingerprints: Vec<String> = std::thread::scope(|scope| {
            let threads: Vec<_> = (0..8)
                .map(|_| {
                    scope.spawn(|| {
                        start.wait();
                        SecretKey::load_or_create(&path, true)
                            .unwrap()
                            .fingerprint()
                    })
                })
                .collect();
            threads
                .into_iter()
                .map(|thread| thread.join().unwrap())
                .collect()
        });
        assert!(
            fingerprints
                .iter()
                .all(|fingerprint| *fingerprint == fingerprints[0])
        );
        assert_eq!(
            fs::metadata(&path).unwrap().permissions().mode() & 0o7777,
            0o600
        );
        let names: Vec<_> = fs::read_dir(directory.path())
            .unwrap()
            .map(|entry| entry.unwrap().file_name())
            .collect();
        assert_eq!(names, ["secretkey"], "nothing is left beside it");
        assert_eq!(
            SecretKey::load_or_create(&path, false)
                .unwrap()
                .fingerprint(),
            fingerprints[0]
        );
    }

    #[test]
    fn a_missing_file_is_not_made_beside_a_database_that_had_one() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("secretkey");
        let error = SecretKey::load_or_create(&path, false).unwrap_err();
        assert!(matches!(error, Error::Precondition(_)), "{error}");
        assert!(!path.exists());
    }

    #[test]
    fn a_file_that_is_no_key_is_refused_and_left_as_it_is() {
        for content in [
            "",
            "fifteen bytes 5",
            "fifteen bytes 5\n\n\n",
            &"x".repeat(5000),
        ] {
            let directory = tempfile::tempdir().unwrap();
            let path = directory.path().join("secretkey");
            fs::write(&path, content).unwrap();
            assert!(SecretKey::load_or_create(&path, true).is_err(), "{content}");
            assert_eq!(fs::read_to_string(&path).unwrap(), content);
        }
    }

    #[test]
    fn a_lines_end_is_no_part_of_the_key() {
        let bare = key_of("0123456789abcdef").unwrap();
        assert_eq!(
            key_of("0123456789abcdef\r\n").unwrap().fingerprint(),
            bare.fingerprint()
        );
        assert_ne!(
            key_of("0123456789abcdeg").unwrap().fingerprint(),
            bare.fingerprint()
        );
    }

    #[test]
    fn what_was_encrypted_can_be_read_with_the_same_key_alone() {
        let (key, other) = (
            key_of("0123456789abcdef").unwrap(),
            key_of("0123456789abcdeg").unwrap(),
        );
        let text = key.encrypt(b"a secret");
        assert_eq!(key.decrypt(&text).unwrap(), b"a secret");
        assert_ne!(text, key.encrypt(b"a secret"), "each has its own nonce");
        assert!(other.decrypt(&text).is_err());
        let mut changed = text.clone().into_bytes();
        let last = changed.len() - 3;
        changed[last] = if changed[last] == b'A' { b'B' } else { b'A' };
        assert!(key.decrypt(std::str::from_utf8(&changed).unwrap()).is_err());
        for broken in [
            "",
            "aes256gcm-v1:",
            "aes256gcm-v1:AAAA",
            "aes256gcm-v1:!",
            "plain text",
        ] {
            assert!(key.decrypt(broken).is_err(), "{broken}");
        }
    }

    #[test]
    fn what_an_earlier_release_encrypted_stays_readable() {
        let key = key_of("0123456789abcdef").unwrap();
        // Made with Python's cryptography: HKDF-SHA-256 (salt `seawall`, the label as info) and AES-256-GCM.
        assert_eq!(key.fingerprint(), "535aae9bb371f9a4d74ed8437f9a2833");
        let text = "aes256gcm-v1:AAECAwQFBgcICQoLfMdJhFrOMUgPLDjM+8xFY9c0uJuu0rph";
        assert_eq!(key.decrypt(text).unwrap(), b"a secret");
    }

    #[test]
    fn each_label_has_a_key_of_its_own_and_none_is_shown() {
        let key = key_of("0123456789abcdef").unwrap();
        assert_eq!(key.derive("uploads"), key.derive("uploads"));
        assert_ne!(key.derive("uploads"), key.derive("sessions"));
        assert_eq!(format!("{key:?}"), "SecretKey(…)");
    }
}
