//! `[storage.swift]`: who asks OpenStack Swift, and for what.

use blob::objects::config::swift::{self, AuthVersion, Interface, KeyPlace, Name};
use serde::Deserialize;

use super::{ConfigError, values::Secret};

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Swift {
    /// Keystone's address, or TempAuth's; `OS_AUTH_URL` without it.
    pub auth_url: Option<String>,
    /// By default the address tells.
    pub auth_version: Option<Version>,
    pub username: Option<String>,
    pub user_id: Option<String>,
    pub user_domain: Option<String>,
    pub user_domain_id: Option<String>,
    pub password: Option<Secret>,
    pub project: Option<String>,
    pub project_id: Option<String>,
    pub project_domain: Option<String>,
    pub project_domain_id: Option<String>,
    pub trust_id: Option<String>,
    pub application_credential: Option<String>,
    pub application_credential_id: Option<String>,
    pub application_credential_secret: Option<Secret>,
    /// Which address of the catalog is called.
    pub interface: Option<Face>,
    /// Signs the addresses that clients are sent to.
    pub temp_url_key: Option<Secret>,
    /// Whose key it is made at each start; without it somebody has set it.
    pub set_temp_url_key: Option<Place>,
}

#[derive(Clone, Copy, Debug, Deserialize, PartialEq, Eq)]
pub enum Version {
    #[serde(rename = "1")]
    One,
    #[serde(rename = "2")]
    Two,
    #[serde(rename = "3")]
    Three,
}

#[derive(Clone, Copy, Debug, Deserialize, PartialEq, Eq)]
#[serde(rename_all = "lowercase")]
pub enum Face {
    Public,
    Internal,
    Admin,
}

#[derive(Clone, Copy, Debug, Deserialize, PartialEq, Eq)]
#[serde(rename_all = "lowercase")]
pub enum Place {
    Account,
    Container,
}

impl Swift {
    /// The first key that is set.
    pub(super) fn first_set(&self) -> Option<&'static str> {
        let keys = [
            ("auth_url", self.auth_url.is_some()),
            ("auth_version", self.auth_version.is_some()),
            ("username", self.username.is_some()),
            ("user_id", self.user_id.is_some()),
            ("user_domain", self.user_domain.is_some()),
            ("user_domain_id", self.user_domain_id.is_some()),
            ("password", self.password.is_some()),
            ("project", self.project.is_some()),
            ("project_id", self.project_id.is_some()),
            ("project_domain", self.project_domain.is_some()),
            ("project_domain_id", self.project_domain_id.is_some()),
            ("trust_id", self.trust_id.is_some()),
            (
                "application_credential",
                self.application_credential.is_some(),
            ),
            (
                "application_credential_id",
                self.application_credential_id.is_some(),
            ),
            (
                "application_credential_secret",
                self.application_credential_secret.is_some(),
            ),
            ("interface", self.interface.is_some()),
            ("temp_url_key", self.temp_url_key.is_some()),
            ("set_temp_url_key", self.set_temp_url_key.is_some()),
        ];
        let mut set = keys.into_iter().filter(|(_, is_set)| *is_set);
        set.next().map(|(key, _)| key)
    }

    /// Keys that go together.
    pub(super) fn check(&self, redirect: bool) -> Result<(), ConfigError> {
        let refuse = |text: &str| Err(ConfigError::new(text.to_owned()));
        for (name, id, key) in [
            (
                &self.username,
                &self.user_id,
                "username` and `storage.swift.user_id",
            ),
            (
                &self.user_domain,
                &self.user_domain_id,
                "user_domain` and `storage.swift.user_domain_id",
            ),
            (
                &self.project,
                &self.project_id,
                "project` and `storage.swift.project_id",
            ),
            (
                &self.project_domain,
                &self.project_domain_id,
                "project_domain` and `storage.swift.project_domain_id",
            ),
            (
                &self.application_credential,
                &self.application_credential_id,
                "application_credential` and `storage.swift.application_credential_id",
            ),
        ] {
            if name.is_some() && id.is_some() {
                return refuse(&format!(
                    "`storage.swift.{key}` name the same: give one of them"
                ));
            }
        }
        let is_url = |url: &String| {
            let uri = url.parse::<http::Uri>().ok();
            uri.is_some_and(|uri| {
                matches!(uri.scheme_str(), Some("http" | "https")) && uri.host().is_some()
            })
        };
        if self
            .auth_url
            .as_ref()
            .is_some_and(|url| !is_url(url) || url.contains('@'))
        {
            return refuse(
                "`storage.swift.auth_url` is no `https://HOST:PORT/PATH`, such as `https://keystone.example.com:5000/v3`",
            );
        }
        self.check_who()?;
        if redirect && self.temp_url_key.is_none() {
            return refuse(
                "`storage.redirect` needs `storage.swift.temp_url_key`, with which addresses are signed",
            );
        }
        if !redirect && (self.temp_url_key.is_some() || self.set_temp_url_key.is_some()) {
            return refuse(
                "`storage.swift.temp_url_key` and `storage.swift.set_temp_url_key` need `storage.redirect = true`",
            );
        }
        Ok(())
    }

    fn check_who(&self) -> Result<(), ConfigError> {
        let refuse = |text: &str| Err(ConfigError::new(text.to_owned()));
        let user = self.username.is_some() || self.user_id.is_some();
        let credential =
            self.application_credential.is_some() || self.application_credential_id.is_some();
        let scope = self.project.is_some() || self.project_id.is_some();
        if credential != self.application_credential_secret.is_some() {
            return refuse(
                "`storage.swift.application_credential_id` (or `application_credential`) and `storage.swift.application_credential_secret` go together",
            );
        }
        if credential {
            if self.application_credential.is_some() && !user {
                return refuse(
                    "`storage.swift.application_credential` is a name, which needs whose it is: give `storage.swift.username` too, or `application_credential_id`",
                );
            }
            if self.password.is_some() || scope || self.trust_id.is_some() {
                return refuse(
                    "an application credential has a secret and a project of its own: remove `storage.swift.password`, `project` and `trust_id`",
                );
            }
            if matches!(self.auth_version, Some(Version::One | Version::Two)) {
                return refuse(
                    "application credentials need Keystone v3: remove `storage.swift.auth_version`",
                );
            }
            return Ok(());
        }
        if user != self.password.is_some() {
            return refuse(
                "`storage.swift.username` (or `user_id`) and `storage.swift.password` go together: give both, or none to take them from OS_USERNAME and OS_PASSWORD",
            );
        }
        if !user
            && (scope
                || self.trust_id.is_some()
                || self.user_domain.is_some()
                || self.user_domain_id.is_some())
        {
            return refuse(
                "`storage.swift.project`, `trust_id` and the domains belong to a user: give `storage.swift.username` and `storage.swift.password`, or take all of it from the environment",
            );
        }
        if scope && self.trust_id.is_some() {
            return refuse(
                "`storage.swift.trust_id` is for a project already: remove `storage.swift.project`",
            );
        }
        Ok(())
    }

    /// As the store takes it.
    pub(super) fn store(&self) -> swift::Config {
        let named = |id: &Option<String>, name: &Option<String>| {
            let id = id.clone().map(Name::Id);
            id.or_else(|| name.clone().map(Name::Name))
        };
        let secret = |secret: &Option<Secret>| {
            let secret = secret.as_ref();
            secret.map(|secret| swift::Secret(secret.expose().to_owned()))
        };
        swift::Config {
            auth_url: self.auth_url.clone(),
            auth_version: self.auth_version.map(|version| match version {
                Version::One => AuthVersion::V1,
                Version::Two => AuthVersion::KeystoneV2,
                Version::Three => AuthVersion::KeystoneV3,
            }),
            user: named(&self.user_id, &self.username),
            password: secret(&self.password),
            user_domain: named(&self.user_domain_id, &self.user_domain),
            project: named(&self.project_id, &self.project),
            project_domain: named(&self.project_domain_id, &self.project_domain),
            trust_id: self.trust_id.clone(),
            application_credential: named(
                &self.application_credential_id,
                &self.application_credential,
            ),
            application_credential_secret: secret(&self.application_credential_secret),
            interface: self.interface.map(|face| match face {
                Face::Public => Interface::Public,
                Face::Internal => Interface::Internal,
                Face::Admin => Interface::Admin,
            }),
            temp_url_key: secret(&self.temp_url_key),
            set_temp_url_key: self.set_temp_url_key.map(|place| match place {
                Place::Account => KeyPlace::Account,
                Place::Container => KeyPlace::Container,
            }),
        }
    }
}
