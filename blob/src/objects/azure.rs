//! Azure Blob Storage: block blobs in a container. What the crate `object_store` calls an upload in parts is blocks that nobody
//! has committed yet; what that means stands in `azure/calls.rs`.

mod calls;
mod credentials;
mod sas;

use std::sync::Arc;

use base64::{Engine, prelude::BASE64_STANDARD};
use object_store::{
    azure::{AzureCredentialProvider, MicrosoftAzureBuilder},
    signer::Signer,
};
use tokio::sync::Mutex;

use super::{
    config::{Config, Redirect},
    exchange::{PATIENT, QUICK},
    library::{self, Lacking, Library, unusable},
    patient::Patient,
    send::{Sender, Signs},
    wire::Wire,
};
use crate::{Error, Result};
pub(crate) use calls::Calls;
use credentials::Told;
use sas::{Delegated, Sas, With};

pub(crate) fn open(config: &Config) -> Result<Library> {
    let wire = Wire::new(config.outbound.clone());
    let account = credentials::account(config)?;
    let url = account_url(config, account);
    let builder = |patience| {
        MicrosoftAzureBuilder::new()
            .with_account(account)
            .with_container_name(&config.bucket)
            .with_endpoint(url.clone())
            .with_http_connector(wire.clone())
            .with_retry(library::retry(patience))
            .with_allow_http(true)
    };
    let first = credentials::lay_into(builder(QUICK), config).build();
    let first = first.map_err(|error| unusable(&error))?;
    // One for all, so that they are renewed once.
    let shared: AzureCredentialProvider = Arc::new(Patient::new(first.credentials().clone()));
    let client = |patience| {
        let built = builder(patience).with_credentials(shared.clone()).build();
        built.map_err(|error| unusable(&error))
    };
    let sender = || -> Result<Sender> {
        Ok(Sender {
            wire: library::http(&wire)?,
            signs: Signs::Azure {
                credentials: shared.clone(),
                account: account.to_owned(),
            },
            url: url.clone(),
            patience: PATIENT,
        })
    };
    let signer = match &config.redirect {
        Redirect::Never => None,
        Redirect::To(address) => {
            let there = address.as_deref();
            let there = there.map(|address| public_url(config, account, address));
            Some(Arc::new(Sas {
                account: account.to_owned(),
                container: config.bucket.clone(),
                there: there.unwrap_or_else(|| url.clone()),
                with: signs_with(config, sender()?)?,
            }) as Arc<dyn Signer>)
        }
    };
    let calls = Calls {
        sender: sender()?,
        container: config.bucket.clone(),
        prefix: config.below(),
        tier: config.storage_class.clone(),
        is_single: matches!(credentials::told(config), Told::Signature),
    };
    Ok(Library {
        root: config.root(),
        writes: Arc::new(client(PATIENT)?),
        reads: Arc::new(client(QUICK)?),
        lacking: Lacking::Azure(calls),
        signer,
        storage_class: config.storage_class.clone(),
    })
}

/// Where the account is: scheme, host, and the account in the one or behind the other; no slash at the end.
fn account_url(config: &Config, account: &str) -> String {
    let Some(endpoint) = config.endpoint.as_deref() else {
        return format!("https://{account}.blob.core.windows.net");
    };
    match endpoint.split_once("://") {
        Some((scheme, host)) if !is_path_style(config, account) && !has_account(host, account) => {
            format!("{scheme}://{account}.{host}")
        }
        _ => public_url(config, account, endpoint),
    }
}

/// The same at an address that is already the account's, unless accounts stand in paths.
fn public_url(config: &Config, account: &str, address: &str) -> String {
    if is_path_style(config, account) {
        format!("{address}/{account}")
    } else {
        address.to_owned()
    }
}

fn is_path_style(config: &Config, account: &str) -> bool {
    let Some((_, host)) = config.endpoint.as_deref().and_then(|e| e.split_once("://")) else {
        return false;
    };
    config.path_style.unwrap_or(!has_account(host, account))
}

fn has_account(host: &str, account: &str) -> bool {
    let rest = host.strip_prefix(account);
    rest.is_some_and(|rest| rest.starts_with('.'))
}

/// With what addresses for clients are signed.
fn signs_with(config: &Config, sender: Sender) -> Result<With> {
    let refused = |why: &str| Error::Unusable {
        root: "storage.redirect".to_owned(),
        why: why.to_owned(),
    };
    match credentials::told(config) {
        Told::Key(key) => {
            let key = BASE64_STANDARD.decode(key);
            Ok(With::Key(
                key.map_err(|_| refused("the account's key is not Base64"))?,
            ))
        }
        Told::Signature => Err(refused(
            "with a shared access signature nothing can be signed for clients: give the account's key or an identity, or no `storage.redirect`",
        )),
        Told::Identity => Ok(With::Delegated(Box::new(Delegated {
            sender: Sender {
                patience: QUICK,
                ..sender
            },
            last: Mutex::new(None),
        }))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::objects::config::Vendor;

    fn url(endpoint: Option<&str>, path_style: Option<bool>) -> String {
        let outbound =
            outbound::Outbound::new(outbound::Trust::new(&[]), outbound::Proxy::default());
        let config = Config {
            endpoint: endpoint.map(str::to_owned),
            path_style,
            ..Config::new(Vendor::Azure, "container".to_owned(), outbound)
        };
        account_url(&config, "acc")
    }

    #[test]
    fn the_account_stands_where_the_endpoint_has_it() {
        for (endpoint, path_style, expected) in [
            (None, None, "https://acc.blob.core.windows.net"),
            (
                Some("https://acc.blob.core.chinacloudapi.cn"),
                None,
                "https://acc.blob.core.chinacloudapi.cn",
            ),
            (
                Some("https://blob.core.chinacloudapi.cn"),
                Some(false),
                "https://acc.blob.core.chinacloudapi.cn",
            ),
            (
                Some("http://127.0.0.1:10000"),
                None,
                "http://127.0.0.1:10000/acc",
            ),
            (Some("https://acc.lab"), Some(true), "https://acc.lab/acc"),
        ] {
            assert_eq!(url(endpoint, path_style), expected);
        }
    }
}
