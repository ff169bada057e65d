//! Addresses under which clients may read a blob for a while (shared access signatures).
//!
//! Those of the crate `object_store` begin with the second that this machine's clock shows, and Azure refuses them for as long as
//! that is ahead of its own. Ours have an end alone. What is signed is the resource, so any name of the account will do.

use std::time::{Duration, SystemTime};

use async_trait::async_trait;
use aws_lc_rs::hmac;
use base64::{Engine, prelude::BASE64_STANDARD};
use http::Method;
use jiff::Timestamp;
use object_store::{path::Path, signer::Signer};
use serde::Deserialize;
use tokio::sync::Mutex;
use url::Url;

use crate::{
    Error, Result,
    objects::{
        send::{Call, Sender},
        xml::{self, Root},
    },
};

/// The version of the rules by which it is signed.
const VERSION: &str = "2023-11-03";
/// How long a key that Azure gave is asked for; it gives none for longer than a week.
const VALID: Duration = Duration::from_hours(24);
/// How much of that has to be left, so that nothing outlives the key that signed it.
const LEFT: Duration = Duration::from_hours(12);
/// With this much left it still signs for what lasts less, when no other can be had.
const LEAST: Duration = Duration::from_hours(1);
/// Azure's clock may be behind.
const SKEW: Duration = Duration::from_mins(15);

pub(super) struct Sas {
    pub(super) account: String,
    pub(super) container: String,
    /// The account's address as clients know it; no slash at the end.
    pub(super) there: String,
    pub(super) with: With,
}

/// What it is signed with.
pub(super) enum With {
    /// The account's own key.
    Key(Vec<u8>),
    /// One that Azure gives whoever has an identity.
    Delegated(Box<Delegated>),
}

/// Keys that Azure gives, asked for when the last one goes to its end.
pub(super) struct Delegated {
    pub(super) sender: Sender,
    pub(super) last: Mutex<Option<UserDelegationKey>>,
}

impl std::fmt::Debug for Sas {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Sas")
    }
}

#[async_trait]
impl Signer for Sas {
    /// For reading alone, whatever the method.
    async fn signed_url(
        &self,
        _: Method,
        path: &Path,
        lasts: Duration,
    ) -> object_store::Result<Url> {
        let signed = self.sign(path.as_ref(), now(), lasts).await;
        signed.map_err(|error| object_store::Error::Generic {
            store: "Azure",
            source: Box::new(error),
        })
    }
}

#[expect(
    clippy::disallowed_methods,
    reason = "the vendor judges by its own clock, which is ours but for their difference"
)]
fn now() -> SystemTime {
    SystemTime::now()
}

/// RFC 3339 in whole seconds.
fn written(time: SystemTime) -> String {
    let time = Timestamp::try_from(time).unwrap_or_default();
    time.strftime("%Y-%m-%dT%H:%M:%SZ").to_string()
}

impl Sas {
    async fn sign(&self, key: &str, now: SystemTime, lasts: Duration) -> Result<Url> {
        let invalid = || Error::Invalid(key.to_owned(), "key");
        let base = format!("{}/{}/{key}", self.there, self.container);
        let mut url: Url = base.parse().map_err(|_| invalid())?;
        let ends = written(now + lasts);
        let resource = format!("/blob/{}/{}/{key}", self.account, self.container);
        let mut query = vec![("sv", VERSION), ("sp", "r"), ("se", &ends), ("sr", "b")];
        let (secret, delegated) = match &self.with {
            With::Key(secret) => (secret.clone(), None),
            With::Delegated(delegated) => {
                let key = delegated.key(now).await?;
                (key.secret()?, Some(key))
            }
        };
        // What is signed, a line each: permissions, begin, end, resource; who may; addresses and protocol; version, kind of
        // resource, snapshot, encryption scope, and five headers that the answer could have.
        let mut lines = vec!["r", "", &ends, &resource];
        match &delegated {
            None => lines.push(""),
            Some(delegated) => {
                lines.extend(delegated.lines());
                query.extend(delegated.query());
            }
        }
        lines.extend(["", "", VERSION, "b", "", "", "", "", "", "", ""]);
        let signature = signature(&secret, &lines.join("\n"));
        url.query_pairs_mut()
            .extend_pairs(query)
            .append_pair("sig", &signature);
        Ok(url)
    }
}

fn signature(secret: &[u8], text: &str) -> String {
    let key = hmac::Key::new(hmac::HMAC_SHA256, secret);
    BASE64_STANDARD.encode(hmac::sign(&key, text.as_bytes()))
}

impl Delegated {
    async fn key(&self, now: SystemTime) -> Result<UserDelegationKey> {
        let mut last = self.last.lock().await;
        if let Some(key) = last.as_ref().filter(|key| key.has(LEFT, now)) {
            return Ok(key.clone());
        }
        match self.ask(now).await {
            Ok(key) => Ok(last.insert(key).clone()),
            Err(error) => match last.as_ref().filter(|key| key.has(LEAST, now)) {
                Some(key) => {
                    tracing::warn!(%error, "the key that signs for clients was not renewed; the old one is used on");
                    Ok(key.clone())
                }
                None => Err(error),
            },
        }
    }

    async fn ask(&self, now: SystemTime) -> Result<UserDelegationKey> {
        let (begins, ends) = (written(now - SKEW), written(now + VALID));
        let body = format!(
            "<?xml version=\"1.0\" encoding=\"utf-8\"?><KeyInfo><Start>{begins}</Start><Expiry>{ends}</Expiry></KeyInfo>"
        );
        let what = "get a key to sign with";
        let query = [("restype", "service"), ("comp", "userdelegationkey")];
        let answer = self.sender.send(Call {
            headers: &[("content-type", "application/xml")],
            body: body.into(),
            ..Call::new(what, Method::POST, "", &query)
        });
        xml::read(what, "", &answer.await?.body)
    }
}

#[derive(Clone, Deserialize)]
pub(super) struct UserDelegationKey {
    #[serde(rename = "SignedOid")]
    object: String,
    #[serde(rename = "SignedTid")]
    tenant: String,
    #[serde(rename = "SignedStart")]
    start: String,
    #[serde(rename = "SignedExpiry")]
    expiry: String,
    #[serde(rename = "SignedService")]
    service: String,
    #[serde(rename = "SignedVersion")]
    version: String,
    #[serde(rename = "Value")]
    secret: String,
}

impl Root for UserDelegationKey {
    const ROOT: &'static str = "UserDelegationKey";
}

impl UserDelegationKey {
    fn has(&self, left: Duration, now: SystemTime) -> bool {
        let end = self.expiry.parse::<Timestamp>().map(SystemTime::from);
        end.is_ok_and(|end| end > now + left)
    }

    fn secret(&self) -> Result<Vec<u8>> {
        let secret = BASE64_STANDARD.decode(&self.secret);
        secret.map_err(|_| Error::Invalid("what Azure gave".to_owned(), "key to sign with"))
    }

    /// Whose it is, and for nobody in particular.
    fn lines(&self) -> [&str; 9] {
        [
            &self.object,
            &self.tenant,
            &self.start,
            &self.expiry,
            &self.service,
            &self.version,
            "",
            "",
            "",
        ]
    }

    fn query(&self) -> [(&str, &str); 6] {
        [
            ("skoid", &self.object),
            ("sktid", &self.tenant),
            ("skt", &self.start),
            ("ske", &self.expiry),
            ("sks", &self.service),
            ("skv", &self.version),
        ]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn an_address_has_an_end_and_no_beginning() {
        let sas = Sas {
            account: "acc".to_owned(),
            container: "c".to_owned(),
            there: "https://cdn.lab".to_owned(),
            with: With::Key(b"key".to_vec()),
        };
        let begun = SystemTime::UNIX_EPOCH + Duration::from_secs(1_700_000_000);
        let url = sas
            .sign("a/b", begun, Duration::from_mins(20))
            .await
            .unwrap();
        let text = url.as_str();
        assert!(text.starts_with("https://cdn.lab/c/a/b?sv="), "{text}");
        let said: Vec<_> = url.query_pairs().into_owned().collect();
        let said = |name: &str| said.iter().find(|pair| pair.0 == name).map(|pair| &*pair.1);
        assert_eq!(said("se"), Some("2023-11-14T22:33:20Z"));
        assert_eq!((said("sp"), said("st")), (Some("r"), None));
        assert!(said("sig").is_some_and(|sig| sig.len() == 44));
    }
}
