//! Who asks for tokens, and where: the configuration, and what it leaves out the environment of OpenStack's own programs.
//!
//! Whoever is named in the configuration is taken from it whole: a user here and a password of somebody else's in the environment
//! make no sense together. The address, the region and the interface are looked for one by one.

use super::config::{AuthVersion, Config, Interface, Name, Secret};
use crate::{Error, Result};

/// How to get a token.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Login {
    Ask {
        /// Without a slash at its end.
        url: String,
        version: AuthVersion,
        who: Who,
        /// What the token is for; of a user's default project, or of the credential's own, without one.
        scope: Scope,
    },
    /// A token that somebody else got; it is not renewed.
    Given { token: Secret, storage: String },
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Who {
    User {
        user: Name,
        domain: Name,
        password: Secret,
    },
    Credential {
        credential: Name,
        /// Of a credential that is named and not numbered.
        user: Option<(Name, Name)>,
        secret: Secret,
    },
    Token(Secret),
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Scope {
    None,
    Project { project: Name, domain: Name },
    Trust(String),
}

/// Variables of the environment.
pub(crate) struct Said<'a>(pub(crate) &'a [(String, String)]);

impl Said<'_> {
    fn one(&self, name: &str) -> Option<String> {
        let found = self.0.iter().find(|(known, _)| known == name);
        found.map(|(_, value)| value.clone())
    }

    /// The first that is set.
    fn any(&self, names: &[&str]) -> Option<String> {
        names.iter().find_map(|name| self.one(name))
    }

    fn named(&self, ids: &[&str], names: &[&str]) -> Option<Name> {
        let id = self.any(ids).map(Name::Id);
        id.or_else(|| self.any(names).map(Name::Name))
    }
}

fn unusable(why: &str) -> Error {
    Error::Unusable {
        root: "storage.swift".to_owned(),
        why: why.to_owned(),
    }
}

impl Login {
    pub(crate) fn find(config: &Config, said: &Said<'_>) -> Result<Self> {
        let is_configured = config.user.is_some() || config.application_credential.is_some();
        let token = said.any(&["OS_TOKEN", "OS_AUTH_TOKEN"]);
        let storage = said.one("OS_STORAGE_URL");
        if !is_configured && let (Some(token), Some(storage)) = (&token, storage) {
            return Ok(Self::Given {
                token: Secret(token.clone()),
                storage: storage.trim_end_matches('/').to_owned(),
            });
        }
        let url = config.auth_url.clone();
        let url = url.or_else(|| said.any(&["OS_AUTH_URL", "ST_AUTH"]));
        let url = url.ok_or_else(|| unusable("nothing says where tokens are to be had: give `storage.swift.auth_url`, or set OS_AUTH_URL"))?;
        let version = match config.auth_version {
            Some(version) => version,
            None => match said.any(&[
                "OS_IDENTITY_API_VERSION",
                "OS_AUTH_VERSION",
                "ST_AUTH_VERSION",
            ]) {
                Some(text) if config.auth_url.is_none() => version_named(&text)?,
                _ => version_of(&url),
            },
        };
        let of_environment;
        let identity = if is_configured {
            config
        } else {
            of_environment = identity_of(said);
            &of_environment
        };
        let who = match who(identity) {
            Some(who) => who,
            None => token.filter(|_| !is_configured).map_or_else(
                || Err(unusable("nothing says who asks for a token: give `storage.swift.username` and `storage.swift.password` or an application credential, or set OS_USERNAME and OS_PASSWORD or the like")),
                |token| Ok(Who::Token(Secret(token))),
            )?,
        };
        if version != AuthVersion::KeystoneV3 && !matches!(who, Who::User { .. }) {
            return Err(unusable(
                "application credentials and tokens need Keystone v3",
            ));
        }
        Ok(Self::Ask {
            scope: scope(identity, &who),
            url: url.trim_end_matches('/').to_owned(),
            version,
            who,
        })
    }
}

/// The identity that the environment tells of, as a configuration would.
fn identity_of(said: &Said<'_>) -> Config {
    let default = || {
        said.named(
            &["OS_DEFAULT_DOMAIN_ID"],
            &["OS_DEFAULT_DOMAIN_NAME", "OS_DEFAULT_DOMAIN"],
        )
    };
    let secret = |names: &[&str]| said.any(names).map(Secret);
    Config {
        user: said.named(&["OS_USER_ID", "OS_USERID"], &["OS_USERNAME", "ST_USER"]),
        password: secret(&["OS_PASSWORD", "ST_KEY"]),
        user_domain: said
            .named(&["OS_USER_DOMAIN_ID"], &["OS_USER_DOMAIN_NAME"])
            .or_else(default),
        project: said.named(
            &["OS_PROJECT_ID", "OS_TENANT_ID"],
            &["OS_PROJECT_NAME", "OS_TENANT_NAME"],
        ),
        project_domain: said
            .named(&["OS_PROJECT_DOMAIN_ID"], &["OS_PROJECT_DOMAIN_NAME"])
            .or_else(default),
        trust_id: said.one("OS_TRUST_ID"),
        application_credential: said.named(
            &["OS_APPLICATION_CREDENTIAL_ID"],
            &["OS_APPLICATION_CREDENTIAL_NAME"],
        ),
        application_credential_secret: secret(&["OS_APPLICATION_CREDENTIAL_SECRET"]),
        ..Config::default()
    }
}

fn domain(named: Option<&Name>) -> Name {
    named
        .cloned()
        .unwrap_or_else(|| Name::Id("default".to_owned()))
}

fn who(identity: &Config) -> Option<Who> {
    let user = identity.user.clone();
    let user_domain = domain(identity.user_domain.as_ref());
    let credential = identity.application_credential.clone();
    let secret = identity.application_credential_secret.clone();
    if let (Some(credential), Some(secret)) = (credential, secret) {
        return Some(Who::Credential {
            credential,
            user: user.map(|user| (user, user_domain)),
            secret,
        });
    }
    let (user, password) = (user?, identity.password.clone()?);
    Some(Who::User {
        user,
        domain: user_domain,
        password,
    })
}

fn scope(identity: &Config, who: &Who) -> Scope {
    // A credential is of one project.
    if matches!(who, Who::Credential { .. }) {
        return Scope::None;
    }
    if let Some(trust) = &identity.trust_id {
        return Scope::Trust(trust.clone());
    }
    let Some(project) = identity.project.clone() else {
        return Scope::None;
    };
    let named = identity.project_domain.as_ref();
    Scope::Project {
        project,
        domain: domain(named.or(identity.user_domain.as_ref())),
    }
}

fn version_named(text: &str) -> Result<AuthVersion> {
    match text.trim_start_matches('v').split('.').next() {
        Some("1") => Ok(AuthVersion::V1),
        Some("2") => Ok(AuthVersion::KeystoneV2),
        Some("3") => Ok(AuthVersion::KeystoneV3),
        _ => Err(unusable(
            "OS_IDENTITY_API_VERSION is none that is known: 1, 2 or 3",
        )),
    }
}

/// By the end of an address: Keystone v3 unless it says another.
fn version_of(url: &str) -> AuthVersion {
    let last = url.trim_end_matches('/').rsplit('/').next();
    match last {
        Some("v2.0" | "v2") => AuthVersion::KeystoneV2,
        Some("v1.0" | "v1" | "1.0" | "auth") => AuthVersion::V1,
        _ => AuthVersion::KeystoneV3,
    }
}

/// Which of the catalog's addresses is called.
pub(crate) fn interface(config: &Config, said: &Said<'_>) -> Result<Interface> {
    if let Some(interface) = config.interface {
        return Ok(interface);
    }
    let Some(text) = said.any(&["OS_INTERFACE", "OS_ENDPOINT_TYPE"]) else {
        return Ok(Interface::Public);
    };
    match text.trim_end_matches("URL") {
        "public" => Ok(Interface::Public),
        "internal" => Ok(Interface::Internal),
        "admin" => Ok(Interface::Admin),
        _ => Err(unusable(
            "OS_INTERFACE is none that is known: public, internal or admin",
        )),
    }
}

pub(crate) fn region(said: &Said<'_>) -> Option<String> {
    said.one("OS_REGION_NAME")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn said(variables: &[(&str, &str)]) -> Vec<(String, String)> {
        let owned = |(name, value): &(&str, &str)| ((*name).to_owned(), (*value).to_owned());
        variables.iter().map(owned).collect()
    }

    fn found(config: &Config, variables: &[(&str, &str)]) -> Result<Login> {
        Login::find(config, &Said(&said(variables)))
    }

    fn name(text: &str) -> Name {
        Name::Name(text.to_owned())
    }

    fn id(text: &str) -> Name {
        Name::Id(text.to_owned())
    }

    fn secret(text: &str) -> Secret {
        Secret(text.to_owned())
    }

    #[test]
    fn the_environment_of_a_cloud_is_read_as_its_own_programs_do() {
        let login = found(
            &Config::default(),
            &[
                ("OS_AUTH_URL", "https://keystone.lab/identity/v3/"),
                ("OS_USERNAME", "alice"),
                ("OS_PASSWORD", "geheim"),
                ("OS_USER_DOMAIN_NAME", "people"),
                ("OS_PROJECT_NAME", "shop"),
                ("OS_PROJECT_DOMAIN_ID", "d1"),
            ],
        );
        let expected = Login::Ask {
            url: "https://keystone.lab/identity/v3".to_owned(),
            version: AuthVersion::KeystoneV3,
            who: Who::User {
                user: name("alice"),
                domain: name("people"),
                password: secret("geheim"),
            },
            scope: Scope::Project {
                project: name("shop"),
                domain: id("d1"),
            },
        };
        assert_eq!(login.unwrap(), expected);
        let login = found(
            &Config::default(),
            &[
                ("OS_AUTH_URL", "https://keystone.lab"),
                ("OS_APPLICATION_CREDENTIAL_ID", "c1"),
                ("OS_APPLICATION_CREDENTIAL_SECRET", "geheim"),
                ("OS_PROJECT_ID", "is the credential's own"),
            ],
        );
        let Login::Ask { who, scope, .. } = login.unwrap() else {
            panic!("a question");
        };
        assert!(
            matches!(who, Who::Credential { credential, user: None, .. } if credential == id("c1"))
        );
        assert_eq!(scope, Scope::None);
        let login = found(
            &Config::default(),
            &[
                ("OS_TOKEN", "t"),
                ("OS_STORAGE_URL", "https://swift.lab/v1/AUTH_a/"),
            ],
        );
        let expected = Login::Given {
            token: secret("t"),
            storage: "https://swift.lab/v1/AUTH_a".to_owned(),
        };
        assert_eq!(login.unwrap(), expected);
    }

    #[test]
    fn who_is_configured_is_not_mixed_with_who_is_in_the_environment() {
        let mut config = Config {
            auth_url: Some("https://swift.lab/auth/v1.0".to_owned()),
            user: Some(name("test:tester")),
            password: Some(secret("testing")),
            ..Config::default()
        };
        let foreign = [
            ("OS_TOKEN", "t"),
            ("OS_STORAGE_URL", "https://elsewhere"),
            ("OS_IDENTITY_API_VERSION", "3"),
            ("OS_PROJECT_NAME", "foreign"),
            ("OS_PASSWORD", "foreign"),
        ];
        let Login::Ask {
            version,
            who,
            scope,
            ..
        } = found(&config, &foreign).unwrap()
        else {
            panic!("a question");
        };
        assert_eq!((version, scope), (AuthVersion::V1, Scope::None));
        assert!(matches!(who, Who::User { password, .. } if password == secret("testing")));
        config.password = None;
        assert!(found(&config, &foreign).is_err());
    }

    #[test]
    fn what_is_missing_is_named() {
        for (variables, word) in [
            (vec![], "auth_url"),
            (vec![("OS_AUTH_URL", "https://k")], "username"),
            (
                vec![("OS_AUTH_URL", "https://k/v2.0"), ("OS_TOKEN", "t")],
                "v3",
            ),
        ] {
            let refused = found(&Config::default(), &variables).unwrap_err();
            assert!(refused.to_string().contains(word), "{refused}");
        }
        for (url, version) in [
            ("https://k/v3", AuthVersion::KeystoneV3),
            ("https://k:5000", AuthVersion::KeystoneV3),
            ("https://k/v2.0/", AuthVersion::KeystoneV2),
            ("https://k/auth/1.0", AuthVersion::V1),
        ] {
            assert_eq!(version_of(url), version, "{url}");
        }
    }
}
