//! Upload sessions: their signed ids, and who in this process writes to which.
//!
//! An id names the node, algorithm and expiry and carries a seal over them, the repository and the caller; so opening a
//! session writes nothing, and a stranger's or a guessed id is unknown here. What makes a session exist is its first byte.

use std::{collections::HashMap, sync::Arc, time::Duration};

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use blob::Saved;
use hmac::{Hmac, KeyInit, Mac};
use model::{Error, Result, What, time::Timestamp};
use oci::{
    digest::{Algorithm, Digest},
    name::NameRef,
};
use parking_lot::{Mutex, RwLock};
use quick_cache::sync::Cache;
use sha2::Sha256;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio_util::sync::CancellationToken;

/// Bytes of an id: version, algorithm, expiry (seconds, big endian), node, key, seal.
const LENGTH: usize = 1 + 1 + 4 + 8 + 16 + 16;
const VERSION: u8 = 1;
/// States kept for sessions that wait for their next chunk.
const PARKED: usize = 4096;
/// How long a new writer waits for the one it has cut off.
const PATIENCE: Duration = Duration::from_secs(20);

/// A session as its id tells it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Session {
    /// The name of its row and of its file: 32 hexadecimal digits.
    pub key: String,
    pub algorithm: Algorithm,
    /// When the id ends, unless bytes came lately.
    pub expires: Timestamp,
}

/// What this process knows of its sessions.
pub(crate) struct Sessions {
    /// The first seals, all of them are believed.
    seals: RwLock<Arc<[Hmac<Sha256>]>>,
    /// Writers at work, by key.
    writers: Mutex<HashMap<String, Writing>>,
    /// With the epoch of the row they belong to.
    parked: Cache<String, (i64, Arc<Saved>)>,
    /// What uploads were found to be, from then until their commit: a commit that failed is repeated from here.
    checked: Cache<String, Checked>,
}

/// What an upload was found to be.
#[derive(Debug, Clone)]
pub(crate) struct Checked {
    digest: Digest,
    pub(crate) size: u64,
    /// The object of its own that it is in a bucket.
    pub(crate) own: Option<String>,
}

impl Checked {
    /// Of bytes that lie under their digest.
    pub(crate) fn new(digest: Digest, size: u64) -> Self {
        Self {
            digest,
            size,
            own: None,
        }
    }
}

struct Writing {
    cut: CancellationToken,
    turn: Arc<Semaphore>,
    /// Who holds the turn or waits for it.
    users: usize,
}

/// The right to write to a session, until dropped. Whoever comes next cuts it.
pub(crate) struct Turn<'a> {
    place: InLine<'a>,
    _permit: OwnedSemaphorePermit,
}

/// One who writes or waits to; the last to leave takes the entry along.
struct InLine<'a> {
    sessions: &'a Sessions,
    key: String,
    cut: CancellationToken,
}

impl Sessions {
    /// As [`Self::seal_with`] has it.
    pub(crate) fn new(keys: &[[u8; 32]]) -> Self {
        Self {
            seals: RwLock::new(seals(keys)),
            writers: Mutex::default(),
            parked: Cache::new(PARKED),
            checked: Cache::new(PARKED),
        }
    }

    /// Ids are sealed with the first of these keys from now on, and believed with any of them.
    pub(crate) fn seal_with(&self, keys: &[[u8; 32]]) {
        *self.seals.write() = seals(keys);
    }

    /// Makes a new id.
    pub(crate) fn sign(
        &self,
        node: &str,
        name: NameRef<'_>,
        caller: &str,
        algorithm: Algorithm,
        expires: Timestamp,
    ) -> String {
        let mut id = Vec::with_capacity(LENGTH);
        id.push(VERSION);
        id.push(match algorithm {
            Algorithm::Sha256 => 1,
            Algorithm::Sha512 => 2,
        });
        id.extend_from_slice(
            &u32::try_from(expires.seconds())
                .unwrap_or(u32::MAX)
                .to_be_bytes(),
        );
        id.extend_from_slice(&self.mac(&[b"node", node.as_bytes()])[..8]);
        id.extend_from_slice(uuid::Uuid::new_v4().as_bytes());
        let seal = self.mac(&[&id, name.as_str().as_bytes(), caller.as_bytes()]);
        id.extend_from_slice(&seal[..16]);
        URL_SAFE_NO_PAD.encode(id)
    }

    /// Reads an id back. What was not signed for this repository and caller is unknown; whether it has expired, its row
    /// has a say in.
    pub(crate) fn verify(&self, id: &str, name: NameRef<'_>, caller: &str) -> Result<Session> {
        let unknown = || {
            Error::not_found(
                What::Upload,
                "no such upload: it has expired, was cancelled, or belongs to somebody else",
            )
        };
        let bytes = URL_SAFE_NO_PAD
            .decode(id)
            .ok()
            .filter(|bytes| bytes.len() == LENGTH)
            .ok_or_else(unknown)?;
        let (told, seal) = bytes.split_at(LENGTH - 16);
        let parts = [told, name.as_str().as_bytes(), caller.as_bytes()];
        let seals = self.seals.read().clone();
        let is_ours = seals.iter().cloned().any(|mut mac| {
            feed(&mut mac, &parts);
            mac.verify_truncated_left(seal).is_ok()
        });
        if !is_ours {
            return Err(unknown());
        }
        let algorithm = match (told[0], told[1]) {
            (VERSION, 1) => Algorithm::Sha256,
            (VERSION, 2) => Algorithm::Sha512,
            _ => return Err(unknown()),
        };
        let expires = u32::from_be_bytes([told[2], told[3], told[4], told[5]]);
        Ok(Session {
            key: hex(&told[14..30]),
            algorithm,
            expires: Timestamp(i64::from(expires) * 1_000_000),
        })
    }

    fn mac(&self, parts: &[&[u8]]) -> [u8; 32] {
        let mut mac = self.seals.read()[0].clone();
        feed(&mut mac, parts);
        mac.finalize().into_bytes().into()
    }

    /// Takes the session within this process: a writer at work is cut off first, and what it received is kept.
    pub(crate) async fn enter(&self, key: &str) -> Result<Turn<'_>> {
        let cut = CancellationToken::new();
        let turn = {
            let mut writers = self.writers.lock();
            let writing = writers.entry(key.to_owned()).or_insert_with(|| Writing {
                cut: CancellationToken::new(),
                turn: Arc::new(Semaphore::new(1)),
                users: 0,
            });
            writing.cut.cancel();
            writing.cut = cut.clone();
            writing.users += 1;
            writing.turn.clone()
        };
        let place = InLine {
            sessions: self,
            key: key.to_owned(),
            cut,
        };
        let permit = tokio::time::timeout(PATIENCE, turn.acquire_owned())
            .await
            .map_err(|_| {
                Error::Unavailable(anyhow::anyhow!(
                    "an earlier writer of upload `{key}` does not let go"
                ))
            })?
            .map_err(model::error::internal("waiting for an upload"))?;
        Ok(Turn {
            place,
            _permit: permit,
        })
    }

    /// Remembers how far the upload has come, for the next chunk in this process.
    pub(crate) fn park(&self, key: &str, epoch: i64, saved: Saved) {
        self.parked.insert(key.to_owned(), (epoch, Arc::new(saved)));
    }

    /// What was parked for exactly these bytes: nobody had the session in between, and it stands where it stood.
    pub(crate) fn unpark(&self, key: &str, epoch: i64, at: u64) -> Option<Arc<Saved>> {
        self.parked
            .remove(key)
            .filter(|(_, (then, saved))| *then == epoch && saved.offset() == at)
            .map(|(_, (_, saved))| saved)
    }

    /// The upload's bytes are these, and its commit is about to be tried.
    pub(crate) fn keep_checked(&self, key: &str, digest: Digest, size: u64, own: Option<String>) {
        let checked = Checked { digest, size, own };
        self.checked.insert(key.to_owned(), checked);
    }

    /// What this upload is, if it was found to be this content and its commit did not succeed.
    pub(crate) fn checked(&self, key: &str, digest: &Digest) -> Option<Checked> {
        let checked = self.checked.get(key)?;
        (checked.digest == *digest).then_some(checked)
    }

    pub(crate) fn forget_checked(&self, key: &str) {
        self.checked.remove(key);
    }
}

impl Turn<'_> {
    /// Ends when somebody else takes the session.
    pub(crate) async fn cut(&self) {
        self.place.cut.cancelled().await;
    }
}

impl Drop for InLine<'_> {
    fn drop(&mut self) {
        let mut writers = self.sessions.writers.lock();
        if let Some(writing) = writers.get_mut(&self.key) {
            writing.users -= 1;
            if writing.users == 0 {
                writers.remove(&self.key);
            }
        }
    }
}

fn seals(keys: &[[u8; 32]]) -> Arc<[Hmac<Sha256>]> {
    let seal = |key: &[u8; 32]| Hmac::new_from_slice(key).expect("HMAC takes keys of any length");
    keys.iter().map(seal).collect()
}

/// Each part with its length before it, so that no two lists of parts look the same.
fn feed(mac: &mut Hmac<Sha256>, parts: &[&[u8]]) {
    for part in parts {
        mac.update(&(part.len() as u64).to_be_bytes());
        mac.update(part);
    }
}

fn hex(bytes: &[u8]) -> String {
    use std::fmt::Write;
    bytes
        .iter()
        .fold(String::with_capacity(bytes.len() * 2), |mut text, byte| {
            let _ = write!(text, "{byte:02x}");
            text
        })
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Timestamp = Timestamp(1_700_000_000_000_000);

    fn name(text: &str) -> NameRef<'_> {
        NameRef::parse(text).expect("a repository's name")
    }

    #[test]
    fn an_id_is_known_only_to_its_repository_and_caller() {
        let sessions = Sessions::new(&[[1; 32]]);
        let expires = NOW.plus(Duration::from_mins(1));
        let id = sessions.sign(
            "n1",
            name("library/a"),
            "user:1",
            Algorithm::Sha512,
            expires,
        );
        let session = sessions
            .verify(&id, name("library/a"), "user:1")
            .expect("signed");
        assert_eq!(
            (session.algorithm, session.key.len(), session.expires),
            (Algorithm::Sha512, 32, expires)
        );
        assert!(sessions.verify(&id, name("library/b"), "user:1").is_err());
        assert!(sessions.verify(&id, name("library/a"), "user:2").is_err());
        assert!(
            Sessions::new(&[[2; 32]])
                .verify(&id, name("library/a"), "user:1")
                .is_err()
        );
        let mut forged = id.into_bytes();
        forged[3] ^= 1;
        assert!(
            sessions
                .verify(
                    std::str::from_utf8(&forged).expect("ascii"),
                    name("library/a"),
                    "user:1",
                )
                .is_err()
        );
        for hostile in ["", "x", "../../etc/passwd", &"A".repeat(10_000)] {
            assert!(
                sessions
                    .verify(hostile, name("library/a"), "user:1")
                    .is_err()
            );
        }
    }

    #[tokio::test]
    async fn a_second_writer_cuts_the_first_and_waits_for_it() {
        let sessions = Sessions::new(&[[1; 32]]);
        let first = sessions.enter("k").await.expect("free");
        let (left, ()) = tokio::join!(
            async {
                first.cut().await;
                drop(first);
                true
            },
            async {
                let second = sessions.enter("k").await.expect("after the first");
                assert!(!second.place.cut.is_cancelled());
            }
        );
        assert!(left);
        assert!(sessions.writers.lock().is_empty());
    }

    #[tokio::test]
    async fn one_who_gives_up_waiting_leaves_nothing_behind() {
        let sessions = Sessions::new(&[[1; 32]]);
        let first = sessions.enter("k").await.expect("free");
        {
            let mut waiting = std::pin::pin!(sessions.enter("k"));
            assert!(futures_util::poll!(&mut waiting).is_pending());
        }
        first.cut().await;
        assert_eq!(sessions.writers.lock().len(), 1);
        drop(first);
        assert!(sessions.writers.lock().is_empty());
    }

    #[test]
    fn a_hash_state_counts_only_where_it_was_parked() {
        let sessions = Sessions::new(&[[1; 32]]);
        let state = Saved::Hash(blob::HashState {
            algorithm: Algorithm::Sha256,
            offset: 7,
            bytes: Vec::new(),
        });
        for (epoch, at, counts) in [(3, 7, true), (4, 7, false), (3, 8, false)] {
            sessions.park("k", 3, state.clone());
            assert_eq!(sessions.unpark("k", epoch, at).is_some(), counts);
        }
    }
}
