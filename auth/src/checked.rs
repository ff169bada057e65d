//! That a password was right, told to other nodes through Redis for a minute, so that a client whom a balancer sends from node to
//! node pays for one slow hash and not for one on each.

use aws_lc_rs::hmac;
use bytes::Bytes;
use cache::{Cache, Kind};

use crate::{Keyring, caller::Identity};

// Name and value are HMACs, under a key of the key file, of the row with its kept hash and of the password typed. Who writes
// there without the key can make no value for a name, learns no password and tries none; a value he saw and writes again later says
// what is still true. A changed password, row or user is another name, and the row is read for each request: nothing goes stale.
pub(crate) struct Checked {
    keys: Keyring,
    cache: Cache,
}

/// How the check of one password against one row is told.
pub(crate) struct Proof {
    name: String,
    value: hmac::Tag,
}

const NAME: u8 = 1;
const VALUE: u8 = 2;

impl Checked {
    pub(crate) fn new(keys: Keyring, cache: Cache) -> Self {
        Self { keys, cache }
    }

    /// None where nobody is told.
    pub(crate) fn proof(
        &self,
        identity: Identity,
        version: i64,
        kept: &str,
        password: &str,
    ) -> Option<Proof> {
        if !self.cache.is_configured() {
            return None;
        }
        let (kind, id) = match identity {
            Identity::Anonymous => return None,
            Identity::User(id) => (1, id.0),
            Identity::Robot(id) => (2, id.0),
        };
        // The one that counts now: after it was changed nobody who knew the one before makes values.
        let key = self.keys.derive("checked passwords").swap_remove(0);
        let key = hmac::Key::new(hmac::HMAC_SHA256, &key);
        let sign = |what| {
            let mut context = hmac::Context::with_key(&key);
            context.update(&[what, kind]);
            context.update(&id.to_be_bytes());
            context.update(&version.to_be_bytes());
            context.update(&(kept.len() as u64).to_be_bytes());
            context.update(kept.as_bytes());
            context.update(password.as_bytes());
            context.sign()
        };
        Some(Proof {
            name: hex::encode(sign(NAME)),
            value: sign(VALUE),
        })
    }

    /// Whether a node found this password right lately.
    pub(crate) async fn is_right(&self, proof: &Proof) -> bool {
        let Some(value) = self.cache.get(Kind::Check, &proof.name).await else {
            return false;
        };
        let is_ours =
            aws_lc_rs::constant_time::verify_slices_are_equal(&value, proof.value.as_ref()).is_ok();
        if !is_ours {
            self.cache.count_forged(Kind::Check);
        }
        is_ours
    }

    pub(crate) fn tell_right(&self, proof: &Proof) {
        let value = Bytes::copy_from_slice(proof.value.as_ref());
        self.cache.put(Kind::Check, &proof.name, value);
    }
}
