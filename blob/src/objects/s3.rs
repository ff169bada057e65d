//! S3 and what speaks it: two clients of the crate `object_store`, one that is patient and one that is not, and our own calls.

mod calls;
mod credentials;

use std::{sync::Arc, time::Duration};

use object_store::{
    aws::{AmazonS3Builder, AmazonS3ConfigKey, AwsCredentialProvider},
    signer::Signer,
};

use super::{
    config::{Config, Encryption, Redirect},
    exchange::{PATIENT, QUICK},
    library::{self, Lacking, Library, unusable},
    patient::Patient,
    send::{Sender, Signs},
    wire::Wire,
};
use crate::Result;
pub(crate) use calls::Calls;

const REGION: &str = "us-east-1";

pub(crate) fn open(config: &Config) -> Result<Library> {
    let wire = Wire::new(config.outbound.clone());
    let endpoint = config.endpoint.as_deref();
    let first = credentials::lay_into(builder(config, &wire, endpoint, QUICK)?, config)?;
    let first = first.build().map_err(|error| unusable(&error))?;
    // One for all, so that they are renewed once.
    let shared: AwsCredentialProvider = Arc::new(Patient::new(first.credentials().clone()));
    let client = |endpoint, patience| {
        let builder = builder(config, &wire, endpoint, patience)?;
        let built = builder.with_credentials(shared.clone()).build();
        built.map_err(|error| unusable(&error))
    };
    let signer = match &config.redirect {
        Redirect::Never => None,
        Redirect::To(address) => {
            let address = address.as_deref().or(endpoint);
            Some(Arc::new(client(address, QUICK)?) as Arc<dyn Signer>)
        }
    };
    let sender = Sender {
        wire: library::http(&wire)?,
        signs: Signs::Aws {
            credentials: shared.clone(),
            region: region(config).to_owned(),
            bodies: !is_tls(config),
        },
        url: bucket_url(config, endpoint),
        patience: PATIENT,
    };
    Ok(Library {
        root: config.root(),
        writes: Arc::new(client(endpoint, PATIENT)?),
        reads: Arc::new(client(endpoint, QUICK)?),
        lacking: Lacking::S3(Calls { sender }),
        signer,
        storage_class: config.storage_class.clone(),
    })
}

fn builder(
    config: &Config,
    wire: &Wire,
    endpoint: Option<&str>,
    patience: Duration,
) -> Result<AmazonS3Builder> {
    let mut builder = AmazonS3Builder::new()
        .with_bucket_name(&config.bucket)
        .with_region(region(config))
        .with_http_connector(wire.clone())
        .with_retry(library::retry(patience))
        .with_allow_http(true)
        // Over TLS nobody changes the bytes on their way, and every byte would be hashed twice.
        .with_unsigned_payload(is_tls(config))
        .with_virtual_hosted_style_request(!is_path_style(config));
    if let Some(endpoint) = endpoint {
        builder = if is_path_style(config) {
            builder.with_endpoint(endpoint)
        } else {
            // The crate wants the bucket in it.
            builder.with_endpoint(bucket_url(config, Some(endpoint)))
        };
    }
    match &config.encryption {
        None => {}
        Some(Encryption::Own) => {
            let key = "aws_server_side_encryption".parse::<AmazonS3ConfigKey>();
            builder = builder.with_config(key.map_err(|e| unusable(&e))?, "AES256");
        }
        Some(Encryption::Kms(Some(key))) => builder = builder.with_sse_kms_encryption(key),
        Some(Encryption::Kms(None)) => {
            let key = "aws_server_side_encryption".parse::<AmazonS3ConfigKey>();
            builder = builder.with_config(key.map_err(|e| unusable(&e))?, "aws:kms");
        }
    }
    Ok(builder)
}

fn region(config: &Config) -> &str {
    config.region.as_deref().unwrap_or(REGION)
}

fn is_tls(config: &Config) -> bool {
    let endpoint = config.endpoint.as_deref();
    endpoint.is_none_or(|endpoint| endpoint.starts_with("https://"))
}

fn is_path_style(config: &Config) -> bool {
    config.path_style.unwrap_or(config.endpoint.is_some())
}

/// Scheme, host, and the bucket in the one or behind the other; no slash at the end.
fn bucket_url(config: &Config, endpoint: Option<&str>) -> String {
    let regional = format!("https://s3.{}.amazonaws.com", region(config));
    let endpoint = endpoint.unwrap_or(&regional).trim_end_matches('/');
    if is_path_style(config) {
        return format!("{endpoint}/{}", config.bucket);
    }
    match endpoint.split_once("://") {
        Some((scheme, host)) => format!("{scheme}://{}.{host}", config.bucket),
        None => format!("https://{}.{endpoint}", config.bucket),
    }
}
