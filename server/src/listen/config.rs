//! What can be configured about listening: `[[listen]]` and `[tls]`, and the bounds that other sections hold.
//!
//! `check` holds the rules between keys; a key's own form is refused while it is read.

use std::{
    collections::BTreeMap,
    fmt,
    net::{Ipv6Addr, SocketAddr},
    path::PathBuf,
    str::FromStr,
    time::Duration,
};

use ipnet::IpNet;
use serde::{Deserialize, Deserializer, de};

use crate::config::values::duration;

/// All that the accept side needs.
#[derive(Clone, Debug)]
pub struct Config {
    pub listeners: Vec<ListenerConfig>,
    pub tls: TlsConfig,
    /// Networks whose `X-Forwarded-*`, `Forwarded` and PROXY protocol are believed.
    pub trusted_proxies: Vec<IpNet>,
    pub limits: Limits,
    pub drain: Drain,
}

/// One `[[listen]]`.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ListenerConfig {
    pub address: Address,
    #[serde(default)]
    pub tls: bool,
    /// Answers every request with the same address on https.
    #[serde(default)]
    pub redirect: Option<Redirect>,
    /// The port to redirect to; without it that of the first listener with TLS.
    #[serde(default)]
    pub redirect_port: Option<u16>,
    #[serde(default)]
    pub only: Option<Only>,
    /// `[::]` takes IPv4 too unless this is set, or another listener has the port on `0.0.0.0`.
    #[serde(default)]
    pub ipv6_only: bool,
    #[serde(default)]
    pub proxy_protocol: ProxyProtocol,
    /// Overrides `tls.client_certificates` here.
    #[serde(default)]
    pub client_certificates: Option<ClientCertificates>,
}

/// `[tls]`
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct TlsConfig {
    /// The first is the one for clients that name no host, or one that no certificate has.
    pub certificates: Vec<CertificateFiles>,
    /// PEM file of the authority that signed them, for clients to download; without it the end of the first chain, when that is
    /// an authority.
    pub ca_file: Option<PathBuf>,
    pub min_version: MinVersion,
    pub client_certificates: ClientCertificates,
    /// PEM file of the authorities whose client certificates are taken.
    pub client_ca: Option<PathBuf>,
    /// Revocation lists, PEM or DER. With one given, the issuer of every client certificate must have one.
    pub client_crl: Vec<PathBuf>,
    pub client_map: ClientMap,
}

/// A certificate chain and its key, in PEM.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CertificateFiles {
    pub certificate: PathBuf,
    /// Without it the key stands in the certificate's file.
    #[serde(default)]
    pub key: Option<PathBuf>,
}

/// Which part of a client certificate names the user or robot.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct ClientMap {
    pub from: NameSource,
    /// Taken off the end, such as `@example.com`. A name without it is nobody's.
    pub strip_suffix: Option<String>,
    /// From the whole subject (`CN=ci,O=example`), or from what `from` gives, to a user or robot.
    pub names: BTreeMap<String, String>,
}

/// Bounds on connections. Every time-out is on silence, save for the handshakes and the head of a request.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Above it new connections wait in the kernel's queue.
    pub max_connections: usize,
    pub max_header_bytes: usize,
    pub header_timeout: Duration,
    /// How long a connection is kept without a request.
    pub idle_timeout: Duration,
    /// How long a client may take nothing of an answer.
    pub write_timeout: Duration,
    /// How long it may go on sending the body of a request that was answered before its end.
    pub linger: Duration,
    pub tls_timeout: Duration,
    pub proxy_timeout: Duration,
}

/// `[drain]`: how a server stops.
#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Drain {
    /// How long the listeners stay open after the signal.
    #[serde(deserialize_with = "duration")]
    pub delay: Duration,
    /// How long running requests get after that.
    #[serde(deserialize_with = "duration")]
    pub timeout: Duration,
}

/// `0.0.0.0:8080`, `[::]:8080`, `[::1]:443`
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Address(pub SocketAddr);

#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Redirect {
    Https,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Only {
    /// Health and metrics alone.
    Metrics,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ProxyProtocol {
    #[default]
    Off,
    /// A trusted proxy may speak it.
    Accept,
    /// Only trusted proxies that speak it may connect.
    Require,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ClientCertificates {
    #[default]
    Off,
    Optional,
    Required,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
pub enum MinVersion {
    #[default]
    #[serde(rename = "1.2")]
    Tls12,
    #[serde(rename = "1.3")]
    Tls13,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum NameSource {
    #[default]
    Cn,
    Subject,
    SanDns,
    SanEmail,
    SanUri,
}

impl Config {
    /// The rules between keys.
    pub fn check(&self) -> anyhow::Result<()> {
        self.listeners
            .iter()
            .try_for_each(|listener| listener.check(self))
    }

    /// What was configured of TLS and changes nothing. Somebody who demands certificates must not serve everybody instead.
    pub fn without_effect(&self) -> Option<String> {
        let secure: Vec<_> = self.listeners.iter().filter(|one| one.tls).collect();
        let tls = &self.tls;
        if secure.is_empty() {
            let set = if tls.client_certificates != ClientCertificates::Off {
                "tls.client_certificates"
            } else if !tls.certificates.is_empty() {
                "tls.certificates"
            } else {
                return None;
            };
            return Some(format!(
                "`{set}` is set, but no listener has `tls = true`, so everything would be plain HTTP: add it to a `[[listen]]`"
            ));
        }
        let asks = |one: &&ListenerConfig| one.client_certificates(tls) != ClientCertificates::Off;
        if secure.iter().any(asks) {
            return None;
        }
        let set = if tls.client_ca.is_some() {
            "tls.client_ca"
        } else if !tls.client_crl.is_empty() {
            "tls.client_crl"
        } else {
            return None;
        };
        Some(format!(
            "`{set}` is set, but no listener asks for client certificates: set `tls.client_certificates` to `optional` or `required`"
        ))
    }
}

impl ListenerConfig {
    /// A plain listener on this address.
    pub fn plain(address: SocketAddr) -> Self {
        Self {
            address: Address(address),
            tls: false,
            redirect: None,
            redirect_port: None,
            only: None,
            ipv6_only: false,
            proxy_protocol: ProxyProtocol::Off,
            client_certificates: None,
        }
    }

    pub(super) fn client_certificates(&self, tls: &TlsConfig) -> ClientCertificates {
        self.client_certificates.unwrap_or(tls.client_certificates)
    }

    fn check(&self, config: &Config) -> anyhow::Result<()> {
        let address = self.address;
        anyhow::ensure!(
            !self.tls || !config.tls.certificates.is_empty(),
            "the listener `{address}` has `tls = true`, but there is no certificate: add `[[tls.certificates]]` with `certificate` and `key`"
        );
        anyhow::ensure!(
            self.redirect.is_none() || !self.tls,
            "the listener `{address}` has both `tls` and `redirect`: what redirects to https is plain itself"
        );
        anyhow::ensure!(
            self.redirect.is_none()
                || self.redirect_port.is_some()
                || config.listeners.iter().any(|other| other.tls),
            "the listener `{address}` redirects to https, but no listener has `tls = true`: add one, or name the port with `redirect_port`"
        );
        anyhow::ensure!(
            self.redirect.is_some() || self.redirect_port.is_none(),
            "the listener `{address}` has `redirect_port` without `redirect = \"https\"`"
        );
        anyhow::ensure!(
            self.proxy_protocol == ProxyProtocol::Off || !config.trusted_proxies.is_empty(),
            "the listener `{address}` takes the PROXY protocol, but `trusted_proxies` is empty: name the proxies' addresses"
        );
        anyhow::ensure!(
            !self.tls
                || self.client_certificates(&config.tls) == ClientCertificates::Off
                || config.tls.client_ca.is_some(),
            "the listener `{address}` asks for client certificates, but `tls.client_ca` does not name the authority that issues them"
        );
        anyhow::ensure!(
            self.tls || self.client_certificates.is_none(),
            "the listener `{address}` has `client_certificates` without `tls = true`"
        );
        Ok(())
    }
}

impl Default for Config {
    fn default() -> Self {
        Self {
            listeners: vec![ListenerConfig::default()],
            tls: TlsConfig::default(),
            trusted_proxies: Vec::new(),
            limits: Limits::default(),
            drain: Drain::default(),
        }
    }
}

/// Plain HTTP on every address of the machine.
impl Default for ListenerConfig {
    fn default() -> Self {
        Self::plain(SocketAddr::from((Ipv6Addr::UNSPECIFIED, 8080)))
    }
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            max_connections: 10_000,
            max_header_bytes: 64 * 1024,
            header_timeout: Duration::from_secs(10),
            idle_timeout: Duration::from_secs(75),
            write_timeout: Duration::from_mins(1),
            linger: Duration::from_secs(5),
            tls_timeout: Duration::from_secs(10),
            proxy_timeout: Duration::from_secs(5),
        }
    }
}

impl Default for Drain {
    fn default() -> Self {
        Self {
            delay: Duration::ZERO,
            timeout: Duration::from_secs(30),
        }
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl FromStr for Address {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        text.parse().map(Self).map_err(|_| {
            format!("`{text}` is not an address with a port, such as `0.0.0.0:8080`, `127.0.0.1:8080` or `[::]:8080`")
        })
    }
}

impl<'de> Deserialize<'de> for Address {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        text.parse().map_err(de::Error::custom)
    }
}

#[cfg(test)]
mod tests;
