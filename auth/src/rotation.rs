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

use crate::{Auth, Keyring, SecretKey};

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
    /// its fingerprint. Refused with the names of the nodes that have another or none, and with what to do.
    pub async fn rotate_secret_key(&self) -> Result<String> {
        let keys = &self.0.keys;
        keys.look()?;
        if keys.next_fingerprint().is_none() {
            keys.make_next()?;
        }
        let wanted = keys.next_fingerprint().ok_or_else(|| {
            Error::Precondition(format!(
                "`{}` holds the key that counts already: put another there, or remove it and one is made",
                keys.next_path().display()
            ))
        })?;
        let (ring, new, db) = (keys.clone(), wanted.clone(), self.1.clone());
        let rotated = self.1.write(move |tx| {
            let (ring, new, db) = (ring.clone(), new.clone(), db.clone());
            Box::pin(async move {
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
                let secret = ring.find(&new).ok_or_else(|| {
                    Error::Internal(anyhow::anyhow!("the key that is to come went away"))
                })?;
                encrypt_anew(tx, &ring, &secret, now).await?;
                facts::set(tx, facts::KEY_FINGERPRINT, &new).await?;
                facts::set(tx, facts::KEY_CHANGED_AT, &now.0.to_string()).await?;
                let payload = serde_json::json!({ "fingerprint": new });
                changes::append(tx, Kind::KeyRotated, NAME, None, &payload, now).await
            })
        });
        rotated.await?;
        keys.follow(&wanted);
        Ok(wanted)
    }

    /// Follows what another node did to the key file. What the key before signed counts for `kept` after the change.
    pub async fn follow_secret_key(&self, kept: Duration) -> Result<Followed> {
        let keys = &self.0.keys;
        let (expected, changed_at) = read(&self.1).await?;
        let Some(expected) = expected else {
            return Ok(Followed::Ours);
        };
        if !keys.follow(&expected) {
            return Ok(Followed::Lost);
        }
        if let Err(error) = keys.look() {
            tracing::debug!(%error, "the key that is to come cannot be read");
        }
        if changed_at.is_none_or(|at| self.now().since(at) > kept) {
            keys.forget_previous();
        }
        Ok(Followed::Ours)
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
        "the new key is not yet on node {}: copy `{}` there, beside the key file, under the same name and with mode 0600, and ask again some seconds later",
        named.join(", "),
        keys.next_path().display()
    )))
}

async fn encrypt_anew(tx: &mut Tx, old: &Keyring, new: &SecretKey, now: Timestamp) -> Result<()> {
    for (id, private) in keys::privates(tx).await? {
        let private = new.encrypt(&old.decrypt(&private)?);
        keys::set_private(tx, &id, &private).await?;
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
