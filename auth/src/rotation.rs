//! Changing the key file under a running registry. All nodes have the key that is to come before it counts: then one transaction encrypts
//! anew what the database keeps, and says by a fact which key that was done with. Each node follows with its next sign of life.

use std::time::Duration;

use db::{Db, Tx, changes, facts, keys, nodes, settings};
use model::{
    Error, Result,
    change::Kind,
    settings::{ALL, Changes, Pinned},
    time::Timestamp,
};

use crate::{
    Auth, Keyring, SecretKey,
    keyring::{PATIENTLY, SOON},
};

/// Keys that are encrypted anew at once.
const PAGE: i64 = 500;
/// What the change log calls it.
const NAME: &str = "secretkey";

/// How a node stands to the key that the database was encrypted with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Followed {
    Ours,
    /// None of the node's files is that key: it can neither read secrets nor make any.
    Lost,
}

impl Auth {
    /// Has the key in `FILE.next` count from now on, made anew where there is none: encrypts with it what the database keeps. Answers
    /// its fingerprint. Refused with the names of the nodes that have another or none, and with what to do; and while what was signed
    /// with the key before this one still counts, unless it is to be `early`: a node keeps no third.
    pub async fn rotate_secret_key(&self, early: bool) -> Result<String> {
        let keys = &self.0.keys;
        // Held over commit and turn, on purpose: nobody here may go back to what the database said before.
        let turning = keys.turning().await;
        if !early {
            self.refuse_early().await?;
        }
        let secret = keys.on_files(PATIENTLY, Keyring::prepare_next).await??;
        let wanted = secret.fingerprint();
        let (ring, new, db) = (keys.clone(), secret.clone(), self.1.clone());
        let rotated = self.1.write(move |tx| {
            let (ring, secret, db) = (ring.clone(), new.clone(), db.clone());
            Box::pin(async move {
                let new = secret.fingerprint();
                let now = tx.now().await?;
                let before = facts::lock(tx, facts::KEY_FINGERPRINT).await?;
                if before.as_deref() != Some(&ring.fingerprint()) {
                    let why = "the key was changed a moment ago".to_owned();
                    return Err(Error::Conflict(why));
                }
                if !db.is_exclusive() {
                    let alive = nodes::seen_since(tx, now.minus(nodes::SILENT)).await?;
                    let others = alive.iter().filter(|node| node.name != db.node());
                    refuse_behind(others.filter(|node| node.next_key != new), &ring)?;
                }
                encrypt_anew(tx, &ring, &secret, now).await?;
                facts::set(tx, facts::KEY_FINGERPRINT, &new).await?;
                facts::set(tx, facts::KEY_CHANGED_AT, &now.0.to_string()).await?;
                let payload = serde_json::json!({ "fingerprint": new });
                changes::append(tx, Kind::KeyRotated, NAME, None, &payload, now).await
            })
        });
        rotated.await?;
        keys.take(secret);
        drop(turning);
        if let Err(error) = self.settle(PATIENTLY).await {
            tracing::warn!(%error, "the key has changed, and its file not yet");
        }
        Ok(wanted)
    }

    async fn refuse_early(&self) -> Result<()> {
        let (_, changed_at) = read(&self.1).await?;
        let Some(changed_at) = changed_at else {
            return Ok(());
        };
        let ends = changed_at.plus(self.0.config.key_kept);
        if self.1.now().await? >= ends {
            return Ok(());
        }
        Err(Error::Precondition(format!(
            "the key was changed at {} already, and uploads that began before go on by the key of then: change it again after {}, or with `--early`, and they have to begin anew",
            changed_at.rfc3339(),
            ends.rfc3339()
        )))
    }

    /// Follows what another node did to the key file. What the key before signed counts for [`crate::Config::key_kept`] after the change.
    pub async fn follow_secret_key(&self) -> Result<Followed> {
        let keys = &self.0.keys;
        // Held over answer and turn, on purpose: an older answer must not come after a newer one.
        let turning = keys.turning().await;
        let (expected, changed_at) = read(&self.1).await?;
        let Some(expected) = expected else {
            return Ok(Followed::Ours);
        };
        if !keys.turn_to(&expected) {
            let found = keys.on_files(SOON, move |ring| ring.find_in_files(&expected));
            let Some(found) = found.await?? else {
                return Ok(Followed::Lost);
            };
            keys.take(found);
        }
        drop(turning);
        if changed_at.is_none_or(|at| self.now().since(at) > self.0.config.key_kept) {
            keys.forget_previous();
        }
        self.settle(SOON).await?;
        Ok(Followed::Ours)
    }

    /// Has the files say what memory says, and looks at what came beside them.
    async fn settle(&self, patience: Duration) -> Result<()> {
        let settled = self.0.keys.on_files(patience, |ring| {
            ring.settle();
            ring.watch();
        });
        settled.await
    }

    /// The fingerprint of the key that this node has for the next change.
    pub fn next_secret_key(&self) -> Option<String> {
        self.0.keys.next_fingerprint()
    }

    /// Keys for one purpose: the first makes marks, all of them check them.
    pub fn derived_keys(&self, purpose: &str) -> Vec<[u8; 32]> {
        self.0.keys.derive(purpose)
    }
}

async fn read(db: &Db) -> Result<(Option<String>, Option<Timestamp>)> {
    let mut reader = db.reader().await?;
    let expected = facts::find(&mut reader, facts::KEY_FINGERPRINT).await?;
    let at = facts::find(&mut reader, facts::KEY_CHANGED_AT).await?;
    Ok((expected, at.and_then(|at| at.parse().ok()).map(Timestamp)))
}

/// The key that a transaction encrypts with: the database is not encrypted anew before its commit.
pub(crate) async fn hold(tx: &mut Tx, keys: &Keyring) -> Result<SecretKey> {
    let expected = facts::hold(tx, facts::KEY_FINGERPRINT).await?;
    // There is none before its first start is over.
    let expected = expected.unwrap_or_else(|| keys.fingerprint());
    keys.find(&expected).ok_or_else(|| {
        Error::Unavailable(anyhow::anyhow!(
            "the database is encrypted with a key that this node does not have"
        ))
    })
}

fn refuse_behind<'a>(behind: impl Iterator<Item = &'a nodes::Node>, keys: &Keyring) -> Result<()> {
    let named: Vec<_> = behind
        .map(|node| format!("`{}` on {}", node.name, node.host))
        .collect();
    if named.is_empty() {
        return Ok(());
    }
    Err(Error::Precondition(format!(
        "the new key is not yet on node {}: copy `{}` there, beside the key file, under the same name, with mode 0600 and the owner that the key file has, and ask again some seconds later",
        named.join(", "),
        keys.next_path().display()
    )))
}

async fn encrypt_anew(tx: &mut Tx, old: &Keyring, new: &SecretKey, now: Timestamp) -> Result<()> {
    let mut after = String::new();
    loop {
        let page = keys::privates(tx, &after, PAGE).await?;
        let Some((last, _)) = page.last() else { break };
        after.clone_from(last);
        for (id, private) in page {
            let private = new.encrypt(&old.decrypt(&private)?);
            keys::set_private(tx, &id, &private).await?;
        }
    }
    let kept = settings::load(tx, &Pinned::default()).await?;
    let mut changes = Changes::new();
    for setting in ALL.iter().filter(|setting| setting.is_password()) {
        let text = kept.text(setting);
        if !text.is_empty() {
            changes.insert(setting.name, new.encrypt(&old.decrypt(text)?));
        }
    }
    settings::set_all(tx, &changes, now).await
}
