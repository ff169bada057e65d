//! What the system is: for everybody the little that a login page needs, for people who signed in the rest.

use bytes::Bytes;
use model::{
    Error as Cause, What,
    settings::{self, AuthMode, Settings},
};
use schemars::JsonSchema;
use serde::Serialize;

use super::{answer::Plain, call::Call, error::Result, input::Json};
use crate::body::Body;

/// The Harbor whose API this is, which clients read, and our own version as the eight hexadecimal digits where Harbor has its commit.
fn harbor_version() -> String {
    let number = |text: &str| text.parse::<u16>().unwrap_or_default();
    format!(
        "v2.16.0-{:02x}{:02x}{:04x}",
        number(env!("CARGO_PKG_VERSION_MAJOR")),
        number(env!("CARGO_PKG_VERSION_MINOR")),
        number(env!("CARGO_PKG_VERSION_PATCH")),
    )
}

/// Strangers see what a login page needs, people who signed in everything.
#[derive(Serialize, JsonSchema)]
pub(super) struct GeneralInfo {
    auth_mode: &'static str,
    /// The portal goes straight to this way of signing in.
    primary_auth_mode: bool,
    self_registration: bool,
    /// JSON, as the portal wrote it; empty without a banner.
    banner_message: String,
    /// Empty unless people sign in by OpenID Connect.
    oidc_provider_name: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    authproxy_settings: Option<AuthproxySetting>,
    #[serde(flatten)]
    inner: Option<Inner>,
}

// For people who signed in. (A comment of the document would take the place of the whole answer's.)
#[derive(Serialize, JsonSchema)]
struct Inner {
    current_time: String,
    /// What images' names begin with.
    registry_url: String,
    external_url: String,
    /// The Harbor whose API this is, and after the hyphen Seawall's version in hexadecimal digits.
    harbor_version: String,
    /// `everyone` or `adminonly`
    project_creation_restriction: &'static str,
    /// Whether `systeminfo/getcert` has something.
    has_ca_root: bool,
    registry_storage_provider_name: &'static str,
    read_only: bool,
    notification_enable: bool,
}

#[derive(Serialize, JsonSchema)]
struct AuthproxySetting {
    endpoint: String,
    /// Harbor's spelling.
    tokenreivew_endpoint: String,
    skip_search: bool,
    verify_cert: bool,
    server_certificate: String,
}

pub(super) async fn get(call: Call) -> Result<Json<GeneralInfo>> {
    let settings = call.settings().await?;
    let inner = if call.caller.is_authenticated() {
        Some(inner(&call, &settings).await)
    } else {
        None
    };
    let mode = settings.auth_mode();
    Ok(Json(GeneralInfo {
        auth_mode: mode.as_str(),
        primary_auth_mode: settings.primary_auth_mode(),
        self_registration: settings.self_registration(),
        banner_message: settings.banner_message().to_owned(),
        oidc_provider_name: match mode {
            AuthMode::Oidc => text(&settings, "oidc_name"),
            _ => String::new(),
        },
        authproxy_settings: (mode == AuthMode::Http).then(|| authproxy(&settings)),
        inner,
    }))
}

async fn inner(call: &Call, settings: &Settings) -> Inner {
    let url = call.ask().base_url().unwrap_or_default();
    let host = url.split_once("://").map_or(url.as_str(), |(_, host)| host);
    Inner {
        current_time: call.now().rfc3339(),
        registry_url: host.to_owned(),
        harbor_version: harbor_version(),
        project_creation_restriction: if settings.restricts_project_creation() {
            "adminonly"
        } else {
            "everyone"
        },
        has_ca_root: authority(call).await.is_some(),
        registry_storage_provider_name: "filesystem",
        read_only: settings.read_only(),
        notification_enable: settings.notification_enable(),
        external_url: url,
    }
}

fn authproxy(settings: &Settings) -> AuthproxySetting {
    let is = |name| text(settings, name) == "true";
    AuthproxySetting {
        endpoint: text(settings, "http_authproxy_endpoint"),
        tokenreivew_endpoint: text(settings, "http_authproxy_tokenreview_endpoint"),
        skip_search: is("http_authproxy_skip_search"),
        verify_cert: is("http_authproxy_verify_cert"),
        server_certificate: text(settings, "http_authproxy_server_certificate"),
    }
}

fn text(settings: &Settings, name: &str) -> String {
    settings::find(name).map_or_else(String::new, |setting| settings.text(setting).to_owned())
}

#[derive(Serialize, JsonSchema)]
pub(super) struct SystemInfo {
    /// One file system; none where contents lie in a bucket.
    storage: Vec<Storage>,
}

/// The file system that holds the store, in bytes.
#[derive(Serialize, JsonSchema)]
struct Storage {
    total: u64,
    /// What Seawall may still use.
    free: u64,
}

pub(super) async fn volumes(call: Call) -> Result<Json<SystemInfo>> {
    let space = call.app().registry.store().space();
    let space = space.map_err(registry::store_error)?;
    Ok(Json(SystemInfo {
        storage: space
            .map(|space| Storage {
                total: space.total,
                free: space.free,
            })
            .into_iter()
            .collect(),
    }))
}

/// The certificate of the authority that a client must trust to trust this server.
pub(super) async fn getcert(call: Call) -> Result<Plain> {
    let bytes = authority(&call).await.ok_or_else(|| {
        Cause::not_found(What::Request, "there is no root certificate to download")
    })?;
    Ok(Plain {
        media_type: "application/octet-stream",
        body: Body::whole(bytes),
        file_name: Some("ca.crt"),
    })
}

/// Read from its file at each request: it is small, asked for seldom, and may be exchanged.
async fn authority(call: &Call) -> Option<Bytes> {
    let read = call.app().authority.clone()?;
    tokio::task::spawn_blocking(move || read()).await.ok()?
}

#[cfg(test)]
mod tests {
    #[test]
    fn clients_can_read_the_version() {
        let version = super::harbor_version();
        let (harbor, ours) = version.split_once('-').expect("two parts");
        assert_eq!(harbor, "v2.16.0");
        assert_eq!(ours.len(), 8);
        assert!(ours.bytes().all(|digit| digit.is_ascii_hexdigit()));
    }
}
