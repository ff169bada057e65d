//! Robots' secrets. One that we made has 190 random bits: nobody guesses it, so a fast salted hash is enough and a CI job's
//! login costs no CPU. One that a person chose is hashed like a password.

use aws_lc_rs::{constant_time, digest};
use model::{Result, name::check_password};

use crate::random;

const LENGTH: usize = 32;

/// Begins the stored form: `secret-sha256:<salt>:<hex>`.
pub(crate) const NOTATION: &str = "secret-sha256:";

/// A fresh secret, to be shown once, and what is kept of it.
pub struct NewSecret {
    pub text: String,
    pub hash: String,
}

/// 32 letters and digits that satisfy the password rule, as Harbor makes them.
pub fn new_secret() -> Result<NewSecret> {
    let text = loop {
        let text = random::text(LENGTH)?;
        if check_password(&text).is_ok() {
            break text;
        }
    };
    let salt = random::text(16)?;
    let hash = format!("{NOTATION}{salt}:{}", hex::encode(digest_of(&salt, &text)));
    Ok(NewSecret { text, hash })
}

/// `kept` is the stored form without its beginning.
pub(crate) fn is_secret(kept: &str, secret: &str) -> bool {
    let Some((salt, hex)) = kept.split_once(':') else {
        return false;
    };
    let Ok(digest) = hex::decode(hex) else {
        return false;
    };
    constant_time::verify_slices_are_equal(digest_of(salt, secret).as_ref(), &digest).is_ok()
}

fn digest_of(salt: &str, secret: &str) -> digest::Digest {
    let mut context = digest::Context::new(&digest::SHA256);
    for part in [salt.as_bytes(), b":", secret.as_bytes()] {
        context.update(part);
    }
    context.finish()
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;
    use crate::password::{Verdict, verify};

    #[test]
    fn a_new_secret_is_long_varied_and_its_own() {
        let secrets: Vec<NewSecret> = (0..50).map(|_| new_secret().unwrap()).collect();
        for secret in &secrets {
            assert_eq!(secret.text.len(), 32);
            assert!(secret.text.bytes().all(|byte| byte.is_ascii_alphanumeric()));
            check_password(&secret.text).unwrap();
            assert!(!secret.hash.contains(&secret.text));
            assert_eq!(verify(&secret.hash, &secret.text), Verdict::Good);
            assert_eq!(
                verify(&secret.hash, &secret.text.to_lowercase()),
                Verdict::Wrong
            );
        }
        assert_eq!(
            secrets
                .iter()
                .map(|secret| &secret.text)
                .collect::<HashSet<_>>()
                .len(),
            50
        );
        let letters: HashSet<u8> = secrets
            .iter()
            .flat_map(|secret| secret.text.bytes())
            .collect();
        assert_eq!(letters.len(), 62, "1600 draws show every letter and digit");
    }

    #[test]
    fn the_stored_form_stays_readable() {
        // SHA-256 of `saltSALTsalt0123:Abc…`, made with Python's hashlib.
        let hash = "secret-sha256:saltSALTsalt0123:fcda5435523c62eddcd028392de62a9f045e5e5717e9899799e9ab62403a3ee6";
        assert_eq!(
            verify(hash, "Abcdefghijklmnopqrstuvwxyz012345"),
            Verdict::Good
        );
        assert_eq!(
            verify(hash, "Abcdefghijklmnopqrstuvwxyz012346"),
            Verdict::Wrong
        );
    }
}
