//! Azure Blob Storage: block blobs in a container. What the crate `object_store` calls an upload in parts is blocks that nobody
//! has committed yet; what that means stands in `azure/calls.rs`.

mod calls;
mod credentials;

use std::{sync::Arc, time::Duration};

use async_trait::async_trait;
use http::Method;
use object_store::{
    azure::{AzureCredentialProvider, MicrosoftAzureBuilder},
    path::Path,
    signer::Signer,
};
use url::Url;

use super::{
    config::{Config, Redirect},
    library::{self, Lacking, Library, PATIENT, QUICK, unusable},
    patient::Patient,
    send::{Sender, Signs},
    wire::Wire,
};
use crate::{Error, Result};
pub(crate) use calls::Calls;

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
    let reads = Arc::new(client(QUICK)?);
    let signer = match &config.redirect {
        Redirect::Never => None,
        Redirect::To(address) => {
            if credentials::is_sas(config) {
                return Err(Error::Unusable {
                    root: "storage.redirect".to_owned(),
                    why: "with a shared access signature nothing can be signed for clients: give the account's key or an identity, or no `storage.redirect`".to_owned(),
                });
            }
            let there = address
                .as_deref()
                .map(|address| public_url(config, account, address));
            Some(Arc::new(Elsewhere {
                signer: reads.clone(),
                here: url.clone(),
                there: there.unwrap_or_else(|| url.clone()),
            }) as Arc<dyn Signer>)
        }
    };
    let calls = Calls {
        sender: Sender {
            wire: library::http(&wire)?,
            signs: Signs::Azure {
                credentials: shared.clone(),
                account: account.to_owned(),
            },
            url: url.clone(),
            patience: PATIENT,
        },
        container: config.bucket.clone(),
        prefix: config.below(),
        tier: config.storage_class.clone(),
    };
    Ok(Library {
        root: config.root(),
        writes: Arc::new(client(PATIENT)?),
        reads,
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

/// Signs for an address under which clients know the account: what is signed is the resource, wherever it is asked for.
#[derive(Debug)]
struct Elsewhere<S> {
    signer: Arc<S>,
    here: String,
    there: String,
}

#[async_trait]
impl<S: Signer + std::fmt::Debug> Signer for Elsewhere<S> {
    async fn signed_url(
        &self,
        method: Method,
        path: &Path,
        lasts: Duration,
    ) -> object_store::Result<Url> {
        let url = self.signer.signed_url(method, path, lasts).await?;
        if self.here == self.there {
            return Ok(url);
        }
        let rest = url.as_str().strip_prefix(&self.here);
        let moved = rest.map(|rest| Url::parse(&format!("{}{rest}", self.there)));
        moved
            .transpose()
            .ok()
            .flatten()
            .ok_or_else(|| object_store::Error::Generic {
                store: "Azure",
                source: "the address for clients is none".into(),
            })
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
