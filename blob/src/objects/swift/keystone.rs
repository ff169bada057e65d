//! Asking for a token: Keystone v3 and v2, and the v1 of TempAuth and Ceph's gateway; and which address of the catalog is Swift's.

use std::{collections::BTreeSet, time::Duration};

use http::Method;
use jiff::Timestamp;
use object_store::client::{HttpClient, HttpError};
use serde::{Deserialize, de::DeserializeOwned};
use serde_json::{Value, json};

use super::{
    super::exchange::{Question, ask_whole, said},
    config::{AuthVersion, Interface, Name, Secret},
    login::{Login, Scope, Who},
};

/// What stands in a catalog for Swift.
const KIND: &str = "object-store";

/// A token, and where it counts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Granted {
    pub(crate) token: Secret,
    /// The account's address, without a slash at its end.
    pub(crate) storage: String,
    /// The same as clients reach it.
    pub(crate) public: String,
    /// Where that is told.
    pub(crate) lasts: Option<Duration>,
}

/// Which of the catalog's addresses is wanted.
#[derive(Clone, Debug)]
pub(crate) struct Choice {
    pub(crate) interface: Interface,
    pub(crate) region: Option<String>,
}

pub(crate) async fn ask(
    wire: &HttpClient,
    login: &Login,
    choice: &Choice,
) -> Result<Granted, HttpError> {
    match login {
        Login::Given { token, storage } => Ok(Granted {
            token: token.clone(),
            storage: storage.clone(),
            public: storage.clone(),
            lasts: None,
        }),
        Login::Ask {
            url,
            version,
            who,
            scope,
        } => match version {
            AuthVersion::V1 => v1(wire, url, who).await,
            AuthVersion::KeystoneV2 => v2(wire, url, who, scope, choice).await,
            AuthVersion::KeystoneV3 => v3(wire, url, who, scope, choice).await,
        },
    }
}

fn name(name: &Name) -> &str {
    match name {
        Name::Name(text) | Name::Id(text) => text,
    }
}

async fn v1(wire: &HttpClient, url: &str, who: &Who) -> Result<Granted, HttpError> {
    let Who::User { user, password, .. } = who else {
        return Err(said("it takes a user alone"));
    };
    let question = Question::new(Method::GET, url.to_owned())
        .header("x-auth-user", name(user))
        .header("x-auth-key", &password.0);
    let answer = ask_whole(wire, question).await?;
    let storage = answer.header("x-storage-url").trim_end_matches('/');
    let token = answer.header("x-auth-token");
    if storage.is_empty() || token.is_empty() {
        return Err(said(
            "the answer names no token and no storage: correct storage.swift.auth_url",
        ));
    }
    let lasts = answer.header("x-auth-token-expires").parse().ok();
    Ok(Granted {
        token: Secret(token.to_owned()),
        storage: storage.to_owned(),
        public: storage.to_owned(),
        lasts: lasts.map(Duration::from_secs),
    })
}

fn post(url: String, body: &Value) -> Question {
    Question::new(Method::POST, url)
        .header("content-type", "application/json")
        .header("accept", "application/json")
        .body(body.to_string().into_bytes().into())
}

fn read<T: DeserializeOwned>(body: &[u8]) -> Result<T, HttpError> {
    serde_json::from_slice(body).map_err(|error| {
        said(format!(
            "the answer is none of Keystone's ({error}): correct storage.swift.auth_url"
        ))
    })
}

/// `{"name": …}` or `{"id": …}`.
fn by_name(named: &Name) -> Value {
    match named {
        Name::Name(text) => json!({ "name": text }),
        Name::Id(text) => json!({ "id": text }),
    }
}

/// The same of what is in a domain: an id stands alone.
fn within(named: &Name, domain: &Name) -> Value {
    let mut value = by_name(named);
    if matches!(named, Name::Name(_)) {
        value["domain"] = by_name(domain);
    }
    value
}

/// What Keystone v3 is asked.
fn question_v3(who: &Who, scope: &Scope) -> Value {
    let identity = match who {
        Who::User {
            user,
            domain,
            password,
        } => {
            let mut user = within(user, domain);
            user["password"] = json!(password.0);
            json!({ "methods": ["password"], "password": { "user": user } })
        }
        Who::Credential {
            credential,
            user,
            secret,
        } => {
            let mut asked = by_name(credential);
            asked["secret"] = json!(secret.0);
            if let (Name::Name(_), Some((user, domain))) = (credential, user) {
                asked["user"] = within(user, domain);
            }
            json!({ "methods": ["application_credential"], "application_credential": asked })
        }
        Who::Token(token) => json!({ "methods": ["token"], "token": { "id": token.0 } }),
    };
    let mut auth = json!({ "identity": identity });
    match scope {
        Scope::None => {}
        Scope::Project { project, domain } => {
            auth["scope"] = json!({ "project": within(project, domain) });
        }
        Scope::Trust(id) => auth["scope"] = json!({ "OS-TRUST:trust": { "id": id } }),
    }
    json!({ "auth": auth })
}

#[derive(Deserialize)]
struct AnswerV3 {
    token: TokenV3,
}

#[derive(Deserialize)]
struct TokenV3 {
    issued_at: Option<String>,
    expires_at: Option<String>,
    #[serde(default)]
    catalog: Vec<ServiceV3>,
}

#[derive(Deserialize)]
struct ServiceV3 {
    #[serde(rename = "type")]
    kind: String,
    #[serde(default)]
    endpoints: Vec<EndpointV3>,
}

#[derive(Deserialize)]
struct EndpointV3 {
    interface: String,
    region: Option<String>,
    region_id: Option<String>,
    url: String,
}

async fn v3(
    wire: &HttpClient,
    url: &str,
    who: &Who,
    scope: &Scope,
    choice: &Choice,
) -> Result<Granted, HttpError> {
    let base = match url.rsplit('/').next() {
        Some("v3") => url.to_owned(),
        _ => format!("{url}/v3"),
    };
    let question = post(format!("{base}/auth/tokens"), &question_v3(who, scope));
    let answer = ask_whole(wire, question).await?;
    let AnswerV3 { token } = read(&answer.body)?;
    let value = answer.header("x-subject-token");
    if value.is_empty() {
        return Err(said("the answer has no token in it"));
    }
    let services = token.catalog.into_iter();
    let endpoints = services
        .filter(|service| service.kind == KIND)
        .flat_map(|service| {
            service.endpoints.into_iter().map(|endpoint| Address {
                region: endpoint.region.or(endpoint.region_id),
                interface: endpoint.interface,
                url: endpoint.url,
            })
        });
    let endpoints: Vec<_> = endpoints.collect();
    Ok(Granted {
        token: Secret(value.to_owned()),
        storage: choose(&endpoints, choice, choice.interface)?,
        public: choose(&endpoints, choice, Interface::Public).unwrap_or_default(),
        lasts: lifetime(token.issued_at.as_deref(), token.expires_at.as_deref()),
    })
}

#[derive(Deserialize)]
struct AnswerV2 {
    access: AccessV2,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct AccessV2 {
    token: TokenV2,
    #[serde(default)]
    service_catalog: Vec<ServiceV2>,
}

#[derive(Deserialize)]
struct TokenV2 {
    id: String,
    issued_at: Option<String>,
    expires: Option<String>,
}

#[derive(Deserialize)]
struct ServiceV2 {
    #[serde(rename = "type")]
    kind: String,
    #[serde(default)]
    endpoints: Vec<EndpointV2>,
}

#[derive(Deserialize)]
struct EndpointV2 {
    region: Option<String>,
    #[serde(rename = "publicURL")]
    public_url: Option<String>,
    #[serde(rename = "internalURL")]
    internal_url: Option<String>,
    #[serde(rename = "adminURL")]
    admin_url: Option<String>,
}

async fn v2(
    wire: &HttpClient,
    url: &str,
    who: &Who,
    scope: &Scope,
    choice: &Choice,
) -> Result<Granted, HttpError> {
    let Who::User { user, password, .. } = who else {
        return Err(said("it takes a user alone"));
    };
    let mut auth = json!({
        "passwordCredentials": { "username": name(user), "password": password.0 }
    });
    match scope {
        Scope::Project {
            project: Name::Name(tenant),
            ..
        } => auth["tenantName"] = json!(tenant),
        Scope::Project {
            project: Name::Id(tenant),
            ..
        } => auth["tenantId"] = json!(tenant),
        Scope::None | Scope::Trust(_) => {}
    }
    let question = post(format!("{url}/tokens"), &json!({ "auth": auth }));
    let answer = ask_whole(wire, question).await?;
    let AnswerV2 { access } = read(&answer.body)?;
    let services = access.service_catalog.into_iter();
    let endpoints = services
        .filter(|service| service.kind == KIND)
        .flat_map(|service| {
            service.endpoints.into_iter().flat_map(|endpoint| {
                let all = [
                    ("public", endpoint.public_url),
                    ("internal", endpoint.internal_url),
                    ("admin", endpoint.admin_url),
                ];
                let region = endpoint.region;
                all.into_iter().filter_map(move |(interface, url)| {
                    Some(Address {
                        region: region.clone(),
                        interface: interface.to_owned(),
                        url: url?,
                    })
                })
            })
        });
    let endpoints: Vec<_> = endpoints.collect();
    let token = access.token;
    Ok(Granted {
        token: Secret(token.id),
        storage: choose(&endpoints, choice, choice.interface)?,
        public: choose(&endpoints, choice, Interface::Public).unwrap_or_default(),
        lasts: lifetime(token.issued_at.as_deref(), token.expires.as_deref()),
    })
}

/// One address of Swift in a catalog.
struct Address {
    region: Option<String>,
    interface: String,
    url: String,
}

/// The one address of this interface, in the region where one is named.
fn choose(found: &[Address], choice: &Choice, interface: Interface) -> Result<String, HttpError> {
    let wanted = match interface {
        Interface::Public => "public",
        Interface::Internal => "internal",
        Interface::Admin => "admin",
    };
    if found.is_empty() {
        return Err(said(
            "the catalog has no object-store: name the project, or ask whoever runs the cloud",
        ));
    }
    let fits = |address: &&Address| {
        let kind = address.interface.trim_end_matches("URL");
        let region = choice.region.as_ref();
        kind == wanted && region.is_none_or(|region| address.region.as_ref() == Some(region))
    };
    let fitting: Vec<_> = found.iter().filter(fits).collect();
    let regions: BTreeSet<_> = found
        .iter()
        .filter_map(|address| address.region.as_deref())
        .collect();
    let regions = regions.into_iter().collect::<Vec<_>>().join(", ");
    let Some(first) = fitting.first() else {
        return Err(said(format!(
            "the catalog has no {wanted} address of an object-store in that region (there are: {regions}): correct storage.region or storage.swift.interface"
        )));
    };
    if fitting.iter().any(|other| other.url != first.url) {
        return Err(said(format!(
            "the catalog has an object-store in several regions ({regions}): name one as storage.region"
        )));
    }
    Ok(first.url.trim_end_matches('/').to_owned())
}

/// From when it was made, by the same clock; else by this machine's.
fn lifetime(issued: Option<&str>, ends: Option<&str>) -> Option<Duration> {
    let ends: Timestamp = ends?.parse().ok()?;
    let issued: Option<Timestamp> = issued.and_then(|issued| issued.parse().ok());
    let begun = issued.unwrap_or_else(Timestamp::now);
    Some(Duration::try_from(ends.duration_since(begun)).unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn address(region: &str, interface: &str, url: &str) -> Address {
        Address {
            region: Some(region.to_owned()),
            interface: interface.to_owned(),
            url: url.to_owned(),
        }
    }

    fn choice(region: Option<&str>) -> Choice {
        Choice {
            interface: Interface::Internal,
            region: region.map(str::to_owned),
        }
    }

    #[test]
    fn the_address_is_of_the_interface_and_the_region_that_were_named() {
        let found = [
            address("one", "public", "https://one/v1/AUTH_a"),
            address("one", "internal", "http://one.lan/v1/AUTH_a/"),
            address("two", "internal", "http://two.lan/v1/AUTH_a"),
        ];
        let chosen = |region| choose(&found, &choice(region), Interface::Internal);
        assert_eq!(chosen(Some("one")).unwrap(), "http://one.lan/v1/AUTH_a");
        let several = chosen(None).unwrap_err();
        assert!(format!("{several:?}").contains("one, two"), "{several:?}");
        let nowhere = chosen(Some("three")).unwrap_err();
        assert!(format!("{nowhere:?}").contains("storage.region"));
        let public = choose(&found, &choice(None), Interface::Public).unwrap();
        assert_eq!(public, "https://one/v1/AUTH_a");
        assert!(choose(&[], &choice(None), Interface::Public).is_err());
    }

    #[test]
    fn a_question_says_who_asks_and_for_what() {
        let secret = || Secret("geheim".to_owned());
        let named = |text: &str| Name::Name(text.to_owned());
        let user = Who::User {
            user: named("alice"),
            domain: named("people"),
            password: secret(),
        };
        let scope = Scope::Project {
            project: Name::Id("p1".to_owned()),
            domain: named("ignored"),
        };
        let asked = question_v3(&user, &scope);
        assert_eq!(
            asked,
            json!({"auth": {
                "identity": {"methods": ["password"], "password": {"user":
                    {"name": "alice", "domain": {"name": "people"}, "password": "geheim"}}},
                "scope": {"project": {"id": "p1"}},
            }})
        );
        let credential = Who::Credential {
            credential: named("c"),
            user: Some((named("alice"), named("people"))),
            secret: secret(),
        };
        let asked = question_v3(&credential, &Scope::None);
        assert_eq!(
            asked["auth"],
            json!({"identity": {"methods": ["application_credential"], "application_credential":
                {"name": "c", "secret": "geheim", "user": {"name": "alice", "domain": {"name": "people"}}}}})
        );
        let trusted = question_v3(&user, &Scope::Trust("t".to_owned()));
        assert_eq!(
            trusted["auth"]["scope"],
            json!({"OS-TRUST:trust": {"id": "t"}})
        );
    }

    #[test]
    fn how_long_a_token_lasts_is_told_by_its_own_clock() {
        let lasts = lifetime(
            Some("2015-11-06T14:32:17.893797Z"),
            Some("2015-11-06T15:32:17.893797Z"),
        );
        assert_eq!(lasts, Some(Duration::from_hours(1)));
        assert_eq!(
            lifetime(None, Some("2015-11-06T15:32:17Z")),
            Some(Duration::ZERO)
        );
        assert_eq!(lifetime(None, None), None);
    }
}
