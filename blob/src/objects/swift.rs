//! OpenStack Swift in its own interface, and what speaks it (Ceph's gateway). Keys are whole: with the bucket's prefix.
//!
//! Swift is consistent in the end only: a list may lag behind, and an object that was replaced a moment ago may be seen as it was.
//! So no name is given twice but where the bytes are the same, lists are asked for what others left alone, and what decides over
//! deletes is asked of every copy (`X-Newest`).

mod client;
pub mod config;
mod contents;
mod delete;
mod info;
mod keystone;
mod large;
mod login;
mod report;
mod session;
mod temp_url;
#[cfg(test)]
mod tests;
pub(crate) mod words;

use std::{sync::Arc, time::Duration};

use http::Method;
use object_store::client::HttpConnector;

use self::{
    client::{Call, Client, To},
    info::Info,
    keystone::Choice,
    login::{Login, Said},
    session::Session,
    temp_url::Signer,
};
use super::{
    config::{Config, Redirect},
    keys,
    wire::Wire,
};
use crate::{Error, Result};

pub(crate) struct Swift {
    client: Arc<Client>,
    info: Info,
    /// Empty, or with a slash at its end.
    prefix: String,
    signer: Option<Signer>,
}

impl Swift {
    /// Gets a token, and asks what the store can do and whether the container is there.
    pub(crate) async fn open(config: &Config) -> Result<Self> {
        let said = Said(&config.environment);
        let login = Login::find(&config.swift, &said)?;
        let choice = Choice {
            interface: login::interface(&config.swift, &said)?,
            region: config.region.clone().or_else(|| login::region(&said)),
        };
        let wire = Wire::new(config.outbound.clone());
        let wire = wire.connect(&object_store::ClientOptions::default());
        let wire = wire.map_err(|error| unusable(config, &error.to_string()))?;
        let session = Session::new(wire.clone(), login, choice, config.endpoint.clone());
        let client = Client {
            wire,
            session,
            container: config.bucket.clone(),
            root: config.root(),
        };
        let granted = client.granted().await?;
        let info = Info::ask(&client, &granted.storage).await?;
        let info = info.ok_or_else(|| unusable(config, "it knows no static large objects (the middleware `slo` is missing): nothing larger than a part could be stored"))?;
        let swift = Self {
            signer: signer(config, &info)?,
            client: Arc::new(client),
            info,
            prefix: config.below(),
        };
        let looked = Call::new("look at", Method::HEAD, To::Container);
        match swift.client.send(&looked).await {
            Err(Error::NotFound) => return Err(swift.client.no_container()),
            looked => looked?,
        };
        if let (Some(signer), Some(place)) = (&swift.signer, config.swift.set_temp_url_key) {
            temp_url::set_key(&swift.client, place, &signer.key).await?;
        }
        Ok(swift)
    }

    /// A key without the prefix.
    fn below<'a>(&self, key: &'a str) -> &'a str {
        key.strip_prefix(&self.prefix).unwrap_or(key)
    }

    /// Whether it may be a static large object: an upload's own, or a content that came from another store.
    fn may_be_large(&self, key: &str) -> bool {
        let key = self.below(key);
        keys::owner(key).is_some() || keys::is_below_digest(key)
    }

    pub(crate) fn signs(&self) -> bool {
        self.signer.is_some()
    }

    pub(crate) async fn sign(&self, key: &str, lasts: Duration) -> Result<Option<String>> {
        match &self.signer {
            Some(signer) => signer.sign(&self.client, key, lasts).await.map(Some),
            None => Ok(None),
        }
    }
}

fn unusable(config: &Config, why: &str) -> Error {
    Error::Unusable {
        root: config.root(),
        why: why.to_owned(),
    }
}

fn signer(config: &Config, info: &Info) -> Result<Option<Signer>> {
    let Redirect::To(endpoint) = &config.redirect else {
        return Ok(None);
    };
    let key = config.swift.temp_url_key.clone();
    let key = key.ok_or_else(|| {
        unusable(
            config,
            "clients can be sent there only with `storage.swift.temp_url_key`",
        )
    })?;
    let digest = info
        .digest
        .ok_or_else(|| temp_url::unknown(&config.root()))?;
    Ok(Some(Signer {
        key,
        digest,
        endpoint: endpoint.clone(),
    }))
}
