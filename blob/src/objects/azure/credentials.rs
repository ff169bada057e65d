//! Where credentials for Azure come from when the configuration names none: the variables of Azure's own programs (account key,
//! shared access signature, service principal, workload identity), else the machine's managed identity.

use std::collections::HashMap;

use object_store::azure::{AzureConfigKey, MicrosoftAzureBuilder};

use crate::{Error, Result, objects::config::Config};

/// Variables, and what the crate calls what they say. In the order in which they count.
const VARIABLES: &[(&str, AzureConfigKey)] = &[
    ("AZURE_STORAGE_ACCOUNT_KEY", AzureConfigKey::AccessKey),
    ("AZURE_STORAGE_KEY", AzureConfigKey::AccessKey),
    (SAS, AzureConfigKey::SasKey),
    ("AZURE_CLIENT_ID", AzureConfigKey::ClientId),
    ("AZURE_CLIENT_SECRET", AzureConfigKey::ClientSecret),
    ("AZURE_TENANT_ID", AzureConfigKey::AuthorityId),
    ("AZURE_AUTHORITY_HOST", AzureConfigKey::AuthorityHost),
    (
        "AZURE_FEDERATED_TOKEN_FILE",
        AzureConfigKey::FederatedTokenFile,
    ),
    ("IDENTITY_ENDPOINT", AzureConfigKey::MsiEndpoint),
];
const SAS: &str = "AZURE_STORAGE_SAS_TOKEN";

/// Who has the container.
pub(super) fn account(config: &Config) -> Result<&str> {
    let said = said(config);
    let names = ["AZURE_STORAGE_ACCOUNT_NAME", "AZURE_STORAGE_ACCOUNT"];
    let named = config.account.as_deref();
    let named = named.or_else(|| names.iter().find_map(|name| said.get(name).copied()));
    named.ok_or_else(|| Error::Unusable {
        root: "storage.access_key".to_owned(),
        why: "it should name the storage account, or AZURE_STORAGE_ACCOUNT_NAME".to_owned(),
    })
}

/// Tells a builder where credentials are.
pub(super) fn lay_into(
    mut builder: MicrosoftAzureBuilder,
    config: &Config,
) -> MicrosoftAzureBuilder {
    if let Some(keys) = &config.keys {
        let key = if is_signature(&keys.secret) {
            AzureConfigKey::SasKey
        } else {
            AzureConfigKey::AccessKey
        };
        return builder.with_config(key, &keys.secret);
    }
    let said = said(config);
    let mut told: Vec<AzureConfigKey> = Vec::new();
    for (variable, key) in VARIABLES {
        if let Some(value) = said.get(variable)
            && !told.contains(key)
        {
            told.push(*key);
            builder = builder.with_config(*key, *value);
        }
    }
    builder
}

/// What lets us in.
pub(super) enum Told<'a> {
    /// The account's key.
    Key(&'a str),
    /// A shared access signature.
    Signature,
    /// What somebody is or the machine is.
    Identity,
}

pub(super) fn told(config: &Config) -> Told<'_> {
    if let Some(keys) = &config.keys {
        if is_signature(&keys.secret) {
            return Told::Signature;
        }
        return Told::Key(&keys.secret);
    }
    let said = said(config);
    let keys = ["AZURE_STORAGE_ACCOUNT_KEY", "AZURE_STORAGE_KEY"];
    if let Some(key) = keys.iter().find_map(|name| said.get(name)) {
        return Told::Key(key);
    }
    let is_said = |name: &str| said.contains_key(name);
    let is_somebody = is_said("AZURE_CLIENT_ID")
        && is_said("AZURE_TENANT_ID")
        && (is_said("AZURE_FEDERATED_TOKEN_FILE") || is_said("AZURE_CLIENT_SECRET"));
    if is_said(SAS) && !is_somebody {
        return Told::Signature;
    }
    Told::Identity
}

/// An account's key is Base64, a shared access signature a query.
fn is_signature(secret: &str) -> bool {
    secret.contains("sig=")
}

fn said(config: &Config) -> HashMap<&str, &str> {
    let said = config.environment.iter();
    said.map(|(name, value)| (name.as_str(), value.as_str()))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::objects::config::{Keys, Vendor};

    fn config(environment: &[(&str, &str)]) -> Config {
        let outbound =
            outbound::Outbound::new(outbound::Trust::new(&[]), outbound::Proxy::default());
        let pairs = environment.iter();
        Config {
            environment: pairs
                .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
                .collect(),
            ..Config::new(Vendor::Azure, "container".to_owned(), outbound)
        }
    }

    fn laid(config: &Config, key: AzureConfigKey) -> Option<String> {
        let builder = lay_into(MicrosoftAzureBuilder::new(), config);
        builder.get_config_value(&key)
    }

    #[test]
    fn the_configuration_goes_before_the_environment() {
        let mut config = config(&[
            ("AZURE_STORAGE_ACCOUNT_NAME", "theirs"),
            ("AZURE_STORAGE_KEY", "dGhlaXJz"),
        ]);
        assert_eq!(account(&config).unwrap(), "theirs");
        let key = laid(&config, AzureConfigKey::AccessKey);
        assert_eq!(key.as_deref(), Some("dGhlaXJz"));
        config.account = Some("ours".to_owned());
        config.keys = Some(Keys {
            id: "ours".to_owned(),
            secret: "?sv=2023-11-03&sig=abc%3D".to_owned(),
            session_token: None,
        });
        assert_eq!(account(&config).unwrap(), "ours");
        assert_eq!(laid(&config, AzureConfigKey::AccessKey), None);
        assert!(laid(&config, AzureConfigKey::SasKey).is_some());
        assert!(matches!(told(&config), Told::Signature));
    }

    #[test]
    fn a_signature_of_the_environment_counts_where_nothing_stronger_is_said() {
        let sas = (SAS, "sv=1&sig=x");
        assert!(matches!(told(&config(&[sas])), Told::Signature));
        let key = ("AZURE_STORAGE_KEY", "eA==");
        assert!(matches!(told(&config(&[sas, key])), Told::Key("eA==")));
        let client = ("AZURE_CLIENT_ID", "c");
        assert!(matches!(told(&config(&[sas, client])), Told::Signature));
        let (tenant, secret) = (("AZURE_TENANT_ID", "t"), ("AZURE_CLIENT_SECRET", "s"));
        let somebody = config(&[sas, client, tenant, secret]);
        assert!(matches!(told(&somebody), Told::Identity));
        assert!(matches!(told(&config(&[])), Told::Identity));
        assert!(account(&config(&[sas])).is_err());
    }
}
