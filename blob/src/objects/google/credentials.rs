//! Where credentials for Google come from: `storage.credentials`, the file that `GOOGLE_APPLICATION_CREDENTIALS` names, the one
//! that `gcloud auth application-default login` writes, else the machine (metadata server, workload identity of a cluster).

use std::{fs, sync::Arc};

use object_store::{
    StaticCredentialProvider,
    gcp::{GcpCredential, GcpSigningCredential, GoogleCloudStorageBuilder},
};
use serde::Deserialize;

use crate::{
    Error, Result,
    objects::config::{ANONYMOUS, Config},
};

const VARIABLE: &str = "GOOGLE_APPLICATION_CREDENTIALS";
/// Below the home directory.
const LOGGED_IN: &str = ".config/gcloud/application_default_credentials.json";

pub(super) fn is_anonymous(config: &Config) -> bool {
    config.credentials.as_deref() == Some(ANONYMOUS)
}

/// Tells a builder where credentials are.
pub(super) fn lay_into(
    builder: GoogleCloudStorageBuilder,
    config: &Config,
) -> Result<GoogleCloudStorageBuilder> {
    let said = |variable: &str| {
        let mut environment = config.environment.iter();
        let found = environment.find(|(name, _)| name == variable);
        found.map(|(_, value)| value.as_str())
    };
    match config.credentials.as_deref() {
        Some(ANONYMOUS) => Ok(nobody(builder)),
        Some(json) if json.trim_start().starts_with('{') => {
            match kind("storage.credentials", json)? {
                Kind::ServiceAccount => Ok(builder.with_service_account_key(json)),
                Kind::AuthorizedUser => Err(refused(
                    "storage.credentials",
                    "of a user they have to stand in a file: name that",
                )),
            }
        }
        Some(file) => from_file(builder, file),
        None => match (said(VARIABLE), said("HOME")) {
            (Some(file), _) => from_file(builder, file),
            (None, Some(home)) => {
                let file = format!("{}/{LOGGED_IN}", home.trim_end_matches('/'));
                if fs::exists(&file).unwrap_or(false) {
                    return from_file(builder, &file);
                }
                Ok(builder)
            }
            (None, None) => Ok(builder),
        },
    }
}

fn from_file(builder: GoogleCloudStorageBuilder, file: &str) -> Result<GoogleCloudStorageBuilder> {
    let text = fs::read_to_string(file).map_err(|error| refused(file, &error.to_string()))?;
    kind(file, &text)?;
    Ok(builder.with_application_credentials(file))
}

/// Nobody asks an emulator who it is.
fn nobody(builder: GoogleCloudStorageBuilder) -> GoogleCloudStorageBuilder {
    let credential = GcpCredential {
        bearer: ANONYMOUS.to_owned(),
    };
    let signing = GcpSigningCredential {
        email: String::new(),
        private_key: None,
    };
    builder
        .with_credentials(Arc::new(StaticCredentialProvider::new(credential)))
        .with_signing_credentials(Arc::new(StaticCredentialProvider::new(signing)))
}

#[derive(Debug, PartialEq, Eq)]
enum Kind {
    ServiceAccount,
    AuthorizedUser,
}

/// Whose they are. The crate would say of others no more than what it misses in them.
fn kind(place: &str, json: &str) -> Result<Kind> {
    #[derive(Deserialize)]
    struct Told {
        #[serde(rename = "type")]
        kind: String,
    }
    let told: Told =
        serde_json::from_str(json).map_err(|error| refused(place, &error.to_string()))?;
    match told.kind.as_str() {
        "service_account" => Ok(Kind::ServiceAccount),
        "authorized_user" => Ok(Kind::AuthorizedUser),
        other => Err(refused(
            place,
            &format!(
                "credentials of type `{other}` are not supported: use a service account's key, a user's, or the machine's own identity"
            ),
        )),
    }
}

fn refused(place: &str, why: &str) -> Error {
    Error::Unusable {
        root: place.to_owned(),
        why: why.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_no_key_is_refused_without_a_word_of_it() {
        assert_eq!(
            kind("x", r#"{"type": "service_account", "private_key": "k"}"#).unwrap(),
            Kind::ServiceAccount
        );
        for (json, words) in [
            (
                r#"{"type": "external_account", "x": "geheim"}"#,
                "external_account",
            ),
            (r#"{"private_key": "geheim"}"#, "missing field `type`"),
            ("geheim", "expected value"),
        ] {
            let told = kind("storage.credentials", json).unwrap_err().to_string();
            assert!(told.contains(words), "{told}");
            assert!(!told.contains("geheim"), "{told}");
        }
    }
}
