//! Google Cloud Storage, by its XML interface: that of S3, but for who signs and how.

mod calls;
mod credentials;

use std::sync::Arc;

use object_store::{
    gcp::{GcpCredentialProvider, GcpSigningCredentialProvider, GoogleCloudStorageBuilder},
    signer::Signer,
};

use super::{
    config::{Config, Redirect},
    exchange::{PATIENT, QUICK},
    library::{self, Lacking, Library, unusable},
    patient::Patient,
    s3,
    send::{Sender, Signs},
    wire::Wire,
};
use crate::{Error, Result};
pub(crate) use calls::Calls;

const ENDPOINT: &str = "https://storage.googleapis.com";

pub(crate) fn open(config: &Config) -> Result<Library> {
    let wire = Wire::new(config.outbound.clone());
    let endpoint = config.endpoint.as_deref().unwrap_or(ENDPOINT);
    let builder = |endpoint, patience| {
        GoogleCloudStorageBuilder::new()
            .with_bucket_name(&config.bucket)
            .with_base_url(endpoint)
            .with_http_connector(wire.clone())
            .with_retry(library::retry(patience))
    };
    let first = credentials::lay_into(builder(endpoint, QUICK), config)?.build();
    let first = first.map_err(|error| unusable(&error))?;
    // One for all, so that they are renewed once.
    let shared: GcpCredentialProvider = Arc::new(Patient::new(first.credentials().clone()));
    let signing: GcpSigningCredentialProvider =
        Arc::new(Patient::new(first.signing_credentials().clone()));
    let client = |endpoint, patience| {
        let built = builder(endpoint, patience)
            .with_credentials(shared.clone())
            .with_signing_credentials(signing.clone())
            .build();
        built.map_err(|error| unusable(&error))
    };
    let signer = match &config.redirect {
        Redirect::Never => None,
        Redirect::To(None) if !credentials::is_anonymous(config) => {
            // The host is signed too, and the crate knows no other.
            Some(Arc::new(client(ENDPOINT, QUICK)?) as Arc<dyn Signer>)
        }
        Redirect::To(None) => {
            return Err(refused(
                "without credentials nothing can be signed for clients",
            ));
        }
        Redirect::To(Some(_)) => {
            return Err(refused("Google signs for storage.googleapis.com alone"));
        }
    };
    let sender = Sender {
        wire: library::http(&wire)?,
        signs: Signs::Google(shared.clone()),
        url: format!("{endpoint}/{}", config.bucket),
        patience: PATIENT,
    };
    Ok(Library {
        root: config.root(),
        writes: Arc::new(client(endpoint, PATIENT)?),
        reads: Arc::new(client(endpoint, QUICK)?),
        lacking: Lacking::Google(Calls {
            xml: s3::Calls { sender },
            class: config.storage_class.clone(),
        }),
        signer,
        storage_class: config.storage_class.clone(),
    })
}

fn refused(why: &str) -> Error {
    Error::Unusable {
        root: "storage.redirect".to_owned(),
        why: why.to_owned(),
    }
}
