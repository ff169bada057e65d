//! The key pairs that sign tokens (ES256), kept in the database and shared by all nodes, the private half encrypted with
//! the key file. The newest that is not retired signs; all of them verify.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use aws_lc_rs::{
    digest,
    encoding::AsDer,
    rand::SystemRandom,
    signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, KeyPair},
};
use base64::{
    Engine,
    engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD},
};
use db::{
    Db, changes, facts,
    keys::{self, Key},
};
use jsonwebtoken::DecodingKey;
use model::{Error, Result, change::Kind, error::internal, time::Timestamp};
use parking_lot::RwLock;
use serde::Serialize;

use crate::{Keyring, SecretKey, rotation};

const PURPOSE: &str = db::keys::TOKEN;
/// The fact that names the first key, so that only one of several nodes that start at once makes it.
const FIRST_KEY: &str = "token.key";
/// A token that names an unknown key makes the keys be read again, but not more often than this.
const RELOAD_EVERY: Duration = Duration::from_secs(5);

pub(crate) struct Signing {
    secrets: Keyring,
    keys: RwLock<Arc<Keys>>,
    reloaded: tokio::sync::Mutex<Option<Reload>>,
}

/// The last time that the keys were read again.
struct Reload {
    at: Instant,
    failed: bool,
}

struct Keys {
    pair: EcdsaKeyPair,
    /// The pair's name.
    signing: String,
    /// The encoded header of every token that the pair signs.
    header: String,
    verifying: Vec<(String, DecodingKey)>,
}

impl Signing {
    pub(crate) async fn open(db: &Db, secrets: Keyring) -> Result<Self> {
        let mut kept = keys::list(&mut *db.reader().await?, PURPOSE).await?;
        if kept.iter().all(|key| key.retired_at.is_some()) {
            kept = create(db, &secrets).await?;
        }
        let keys = RwLock::new(Arc::new(Keys::read(&secrets, &kept)?));
        Ok(Self {
            secrets,
            keys,
            reloaded: tokio::sync::Mutex::default(),
        })
    }

    /// The token's text: header, claims, signature.
    pub(crate) fn sign(&self, claims: &impl Serialize) -> Result<String> {
        let keys = self.keys.read().clone();
        let claims = serde_json::to_vec(claims).map_err(internal("writing a token's claims"))?;
        let mut token = format!("{}.{}", keys.header, URL_SAFE_NO_PAD.encode(claims));
        let signature = keys
            .pair
            .sign(&SystemRandom::new(), token.as_bytes())
            .map_err(internal("signing a token"))?;
        token.push('.');
        URL_SAFE_NO_PAD.encode_string(signature.as_ref(), &mut token);
        Ok(token)
    }

    /// The key that a token names; one that another node has just made is found too.
    pub(crate) async fn verifying(&self, db: &Db, kid: &str) -> Result<Option<DecodingKey>> {
        if let Some(key) = self.keys.read().find(kid) {
            return Ok(Some(key));
        }
        // Held while the keys are read, on purpose: whoever comes with the same new key waits for it instead of being refused.
        let mut reloaded = self.reloaded.lock().await;
        if let Some(last) = &*reloaded
            && last.at.elapsed() < RELOAD_EVERY
        {
            if last.failed {
                // A dead database is not waited for again for each stranger who makes a name up.
                return Err(Error::Unavailable(anyhow::anyhow!(
                    "the keys of tokens could not be read a moment ago"
                )));
            }
        } else {
            let read = self.reload(db).await;
            *reloaded = Some(Reload {
                at: Instant::now(),
                failed: read.is_err(),
            });
            read?;
        }
        Ok(self.keys.read().find(kid))
    }

    async fn reload(&self, db: &Db) -> Result<()> {
        self.refresh(db).await.map(|_| ())
    }

    /// Reads the keys again; answers whether one is gone that verified until now.
    pub(crate) async fn refresh(&self, db: &Db) -> Result<bool> {
        let kept = keys::list(&mut *db.reader().await?, PURPOSE).await?;
        let before = self.keys.read().clone();
        if before.stand_for(&kept) {
            return Ok(false);
        }
        let now = Keys::read(&self.secrets, &kept)?;
        let mut ids = before.verifying.iter().map(|(id, _)| id);
        let is_one_gone = ids.any(|id| now.find(id).is_none());
        *self.keys.write() = Arc::new(now);
        Ok(is_one_gone)
    }

    /// Another key signs from now on. Those before it still verify, or, with `revoke`, none of them. Answers its name.
    pub(crate) async fn rotate(&self, db: &Db, revoke: bool) -> Result<String> {
        let new = Pair::generate()?;
        let (id, secrets) = (new.id.clone(), self.secrets.clone());
        db.write(move |tx| {
            let (new, secrets) = (new.clone(), secrets.clone());
            Box::pin(async move {
                let new = new.sealed(&rotation::hold(tx, &secrets).await?);
                let now = tx.now().await?;
                keys::retire(tx, PURPOSE, now).await?;
                if revoke {
                    keys::forget_retired(tx, PURPOSE, Timestamp(i64::MAX)).await?;
                }
                keys::insert(tx, PURPOSE, &new, now).await?;
                let payload = serde_json::json!({ "id": new.id, "revoked": revoke });
                changes::append(tx, Kind::KeyRotated, PURPOSE, None, &payload, now).await
            })
        })
        .await?;
        self.refresh(db).await?;
        Ok(id)
    }
}

impl Keys {
    /// Whether these are the keys that the database keeps.
    fn stand_for(&self, kept: &[Key]) -> bool {
        let signing = kept.iter().find(|key| key.retired_at.is_none());
        signing.is_some_and(|key| key.id == self.signing)
            && kept.len() == self.verifying.len()
            && kept.iter().all(|key| self.find(&key.id).is_some())
    }

    fn read(secrets: &Keyring, kept: &[Key]) -> Result<Self> {
        let signing = kept
            .iter()
            .find(|key| key.retired_at.is_none())
            .ok_or_else(|| {
                Error::Internal(anyhow::anyhow!(
                    "the database holds no key to sign tokens with"
                ))
            })?;
        let pair = EcdsaKeyPair::from_pkcs8(
            &ECDSA_P256_SHA256_FIXED_SIGNING,
            &secrets.decrypt(&signing.private)?,
        )
        .map_err(internal("reading the key that signs tokens"))?;
        let header =
            serde_json::json!({ "alg": "ES256", "typ": "JWT", "kid": signing.id }).to_string();
        let verifying = kept.iter().map(|key| {
            let public = STANDARD
                .decode(&key.public)
                .map_err(internal("reading a key that verifies tokens"))?;
            Ok((key.id.clone(), DecodingKey::from_ec_der(&public)))
        });
        Ok(Self {
            pair,
            signing: signing.id.clone(),
            header: URL_SAFE_NO_PAD.encode(header),
            verifying: verifying.collect::<Result<_>>()?,
        })
    }

    fn find(&self, kid: &str) -> Option<DecodingKey> {
        self.verifying
            .iter()
            .find(|(id, _)| id == kid)
            .map(|(_, key)| key.clone())
    }
}

/// Makes a key unless another node was first; answers all that there are then.
async fn create(db: &Db, secrets: &Keyring) -> Result<Vec<Key>> {
    let (new, secrets) = (Pair::generate()?, secrets.clone());
    db.write(move |tx| {
        let (new, secrets) = (new.clone(), secrets.clone());
        Box::pin(async move {
            let new = new.sealed(&rotation::hold(tx, &secrets).await?);
            let now = tx.now().await?;
            let first = facts::settle(tx, FIRST_KEY, &new.id).await?;
            let kept = keys::list(tx, PURPOSE).await?;
            if first == new.id || kept.iter().all(|key| key.retired_at.is_some()) {
                keys::insert(tx, PURPOSE, &new, now).await?;
            }
            keys::list(tx, PURPOSE).await
        })
    })
    .await
}

/// A new pair, not yet encrypted.
#[derive(Clone)]
struct Pair {
    id: String,
    private: Arc<[u8]>,
    public: String,
}

impl Pair {
    fn generate() -> Result<Self> {
        const MAKING: &str = "making a key to sign tokens";
        let pair =
            EcdsaKeyPair::generate(&ECDSA_P256_SHA256_FIXED_SIGNING).map_err(internal(MAKING))?;
        let private = pair.to_pkcs8v1().map_err(internal(MAKING))?;
        let public = pair.public_key().as_der().map_err(internal(MAKING))?;
        Ok(Self {
            id: key_id(public.as_ref()),
            private: private.as_ref().into(),
            public: STANDARD.encode(public.as_ref()),
        })
    }

    /// As the database keeps it.
    fn sealed(&self, secret: &SecretKey) -> Key {
        Key {
            id: self.id.clone(),
            private: secret.encrypt(&self.private),
            public: self.public.clone(),
            retired_at: None,
        }
    }
}

/// The name of a key as Docker's libtrust makes it: the first 240 bits of the SHA-256 of the public key in DER, in base32,
/// 12 groups of 4.
fn key_id(public_der: &[u8]) -> String {
    const ALPHABET: &[u8; 32] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZ234567";
    let hash = digest::digest(&digest::SHA256, public_der);
    let mut id = String::with_capacity(59);
    for (index, five) in hash.as_ref()[..30].chunks_exact(5).enumerate() {
        let bits = five
            .iter()
            .fold(0u64, |bits, &byte| bits << 8 | u64::from(byte));
        for place in 0..8 {
            if place % 4 == 0 && (index, place) != (0, 0) {
                id.push(':');
            }
            id.push(char::from(
                ALPHABET[(bits >> (35 - 5 * place) & 31) as usize],
            ));
        }
    }
    id
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_keys_name_has_libtrusts_form() {
        let der: Vec<u8> = (0..91).collect();
        // Made with Python's hashlib and base64.
        assert_eq!(
            key_id(&der),
            "LDJJ:IWNS:CMFC:4FIS:KLKA:ROK6:NWWE:ETCW:IBRO:XEI4:Y5SE:BS4S"
        );
    }
}
