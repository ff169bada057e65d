//! Addresses under which anybody may read one object for a while: the middleware TempURL.

use std::time::{Duration, SystemTime};

use aws_lc_rs::hmac;
use http::Method;

use super::{
    client::{Call, Client, To, encoded},
    config::{KeyPlace, Secret},
    session::at,
};
use crate::{Error, Result};

/// With what addresses are signed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Digest {
    Sha1,
    Sha256,
    Sha512,
}

pub(crate) struct Signer {
    pub(crate) key: Secret,
    pub(crate) digest: Digest,
    /// Scheme, host and port under which clients reach the store; as the catalog says without it.
    pub(crate) endpoint: Option<String>,
}

impl Signer {
    #[expect(
        clippy::disallowed_methods,
        reason = "such an address ends at a time of the clocks on walls"
    )]
    pub(crate) async fn sign(&self, client: &Client, key: &str, lasts: Duration) -> Result<String> {
        let shown = client.shown(To::Object(key));
        let granted = client.session.granted().await;
        let granted = granted.map_err(|e| super::super::fault::fault("sign", &shown, &e))?;
        let public = match granted.public.as_str() {
            "" => &granted.storage,
            public => public,
        };
        let public = match &self.endpoint {
            Some(endpoint) => at(public, endpoint),
            None => Ok(public.to_owned()),
        };
        let public = public.map_err(|e| super::super::fault::fault("sign", &shown, &e))?;
        let ends = SystemTime::now() + lasts;
        let ends = ends.duration_since(SystemTime::UNIX_EPOCH);
        let ends = ends.unwrap_or_default().as_secs();
        Ok(self.address(&public, &client.container, key, ends))
    }

    fn address(&self, public: &str, container: &str, key: &str, ends: u64) -> String {
        let path = public
            .split_once("://")
            .and_then(|(_, rest)| rest.split_once('/'));
        let path = path.map_or("", |(_, path)| path);
        // As the middleware sees it: decoded.
        let signed = format!("GET\n{ends}\n/{path}/{container}/{key}");
        let algorithm = match self.digest {
            Digest::Sha1 => hmac::HMAC_SHA1_FOR_LEGACY_USE_ONLY,
            Digest::Sha256 => hmac::HMAC_SHA256,
            Digest::Sha512 => hmac::HMAC_SHA512,
        };
        let hmac_key = hmac::Key::new(algorithm, self.key.0.as_bytes());
        let signature = hex::encode(hmac::sign(&hmac_key, signed.as_bytes()).as_ref());
        let (container, key) = (encoded(container), encoded(key));
        format!("{public}/{container}/{key}?temp_url_sig={signature}&temp_url_expires={ends}")
    }
}

/// Lays the key where the store looks for it, unless it lies there.
pub(crate) async fn set_key(client: &Client, place: KeyPlace, key: &Secret) -> Result<()> {
    let (to, first, second) = match place {
        KeyPlace::Account => (
            To::Account,
            "x-account-meta-temp-url-key",
            "x-account-meta-temp-url-key-2",
        ),
        KeyPlace::Container => (
            To::Container,
            "x-container-meta-temp-url-key",
            "x-container-meta-temp-url-key-2",
        ),
    };
    let looked = client.send(&Call::new("look at", Method::HEAD, to)).await?;
    if [first, second]
        .into_iter()
        .any(|name| looked.header(name) == key.0)
    {
        return Ok(());
    }
    let call = Call::new("set the key for temporary addresses of", Method::POST, to);
    client.send(&call.header(first, &key.0)).await.map(drop)
}

/// A store without that middleware.
pub(crate) fn unknown(root: &str) -> Error {
    Error::Unusable {
        root: root.to_owned(),
        why: "it signs no addresses for clients (the middleware `tempurl` is missing): set `storage.redirect = false`".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_signed_as_the_middleware_checks_it() {
        // As Python's `hmac` has them, with which the middleware compares.
        for (digest, signature) in [
            (Digest::Sha1, "74ebea273e917cc4304eaff1885d56c688285463"),
            (
                Digest::Sha256,
                "14514e93aea1cf3d5932b790e00cb0c7fcc0f16fab80f72131456d99cfb3b599",
            ),
        ] {
            let signer = Signer {
                key: Secret("geheim".to_owned()),
                digest,
                endpoint: None,
            };
            let address = signer.address("https://s.lab/v1/AUTH_a", "c", "o/p", 1_400_000_000);
            let expected = format!(
                "https://s.lab/v1/AUTH_a/c/o/p?temp_url_sig={signature}&temp_url_expires=1400000000"
            );
            assert_eq!(address, expected);
        }
    }
}
