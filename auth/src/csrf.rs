//! The proof that a request comes from our own page and not from another site that uses its visitor's cookies: the double submit of
//! Harbor (gorilla/csrf). A cookie that other sites cannot read holds 32 random bytes; the page sends them back in a header, masked
//! anew each time. The cookie carries our mark, made with a key that all nodes derive from the key file, so none can be planted.

use aws_lc_rs::{constant_time, hmac};
use base64::{
    Engine,
    engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD},
};
use model::Result;

use crate::{Auth, random};

const LENGTH: usize = 32;
/// Longer texts are none of ours.
const LONGEST: usize = 200;

/// What one browser's cookie holds.
#[derive(Clone, Copy)]
pub struct CsrfSecret([u8; LENGTH]);

impl Auth {
    pub fn new_csrf_secret(&self) -> Result<CsrfSecret> {
        Ok(CsrfSecret(random::bytes()?))
    }

    /// What a cookie holds that we made.
    pub fn csrf_secret(&self, cookie: &str) -> Option<CsrfSecret> {
        if cookie.len() > LONGEST {
            return None;
        }
        let bytes = URL_SAFE_NO_PAD.decode(cookie).ok()?;
        let (secret, mark) = bytes.split_first_chunk::<LENGTH>()?;
        let mut keys = self.csrf_keys();
        let is_ours = keys.any(|key| hmac::verify(&key, secret, mark).is_ok());
        is_ours.then_some(CsrfSecret(*secret))
    }

    /// The cookie's value.
    pub fn csrf_cookie(&self, secret: &CsrfSecret) -> String {
        let mut keys = self.csrf_keys();
        let key = keys.next().expect("there is always a key");
        let mut bytes = secret.0.to_vec();
        bytes.extend_from_slice(hmac::sign(&key, &secret.0).as_ref());
        URL_SAFE_NO_PAD.encode(bytes)
    }

    /// The first makes marks, all of them check them.
    fn csrf_keys(&self) -> impl Iterator<Item = hmac::Key> {
        let keys = self.0.keys.derive("csrf").into_iter();
        keys.map(|key| hmac::Key::new(hmac::HMAC_SHA256, &key))
    }
}

impl CsrfSecret {
    /// A token for the page. Each is another text, so that compressed answers tell nothing of it.
    pub fn token(&self) -> Result<String> {
        let pad = random::bytes::<LENGTH>()?;
        let mut token = pad.to_vec();
        token.extend(self.0.iter().zip(pad).map(|(byte, pad)| byte ^ pad));
        Ok(STANDARD.encode(token))
    }

    /// Whether a token was made of this. Takes as long for a wrong one.
    pub fn fits(&self, token: &str) -> bool {
        let Some(token) = Some(token)
            .filter(|token| token.len() <= LONGEST)
            .and_then(|token| STANDARD.decode(token).ok())
            .filter(|token| token.len() == 2 * LENGTH)
        else {
            return false;
        };
        let (pad, masked) = token.split_at(LENGTH);
        let bytes: Vec<u8> = masked
            .iter()
            .zip(pad)
            .map(|(byte, pad)| byte ^ pad)
            .collect();
        constant_time::verify_slices_are_equal(&bytes, &self.0).is_ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_fits_the_secret_that_it_was_made_of_alone() {
        let [mine, other] = [1, 2].map(|byte| CsrfSecret([byte; LENGTH]));
        let (token, again) = (mine.token().unwrap(), mine.token().unwrap());
        assert_ne!(token, again);
        assert!(mine.fits(&token) && mine.fits(&again));
        assert!(!other.fits(&token));
        for hostile in ["", "x", "====", &"A".repeat(88), &"A".repeat(100_000)] {
            assert!(!mine.fits(hostile), "{hostile:.20}");
        }
    }
}
