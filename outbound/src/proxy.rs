//! The way out: which proxy, if any, a call goes through. The rules of `no_proxy` are those that Go's programs follow, Harbor
//! among them, so that a site's old value means the same here.

#[cfg(test)]
mod tests;

use std::{fmt, net::IpAddr, str::FromStr};

use ipnet::IpNet;
use reqwest::Url;

/// `[proxy]`
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Proxy {
    /// For `http://` addresses.
    pub http: Option<ProxyUrl>,
    /// For `https://` addresses.
    pub https: Option<ProxyUrl>,
    /// Who is called directly all the same.
    pub direct: NoProxy,
}

/// Where a proxy is, with its password. Shown without it.
#[derive(Clone, PartialEq, Eq)]
pub struct ProxyUrl(Url);

/// `NO_PROXY`, read.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct NoProxy(Vec<Entry>);

#[derive(Clone, Debug, PartialEq, Eq)]
struct Entry {
    hosts: Hosts,
    /// Any port without it.
    port: Option<u16>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Hosts {
    All,
    Network(IpNet),
    /// A name, and all names below it.
    Domain(String),
    /// The names below one (`.example.com`).
    Below(String),
}

impl Proxy {
    /// The proxy for an address; none where it is called directly. This machine is never asked through a proxy.
    pub fn for_url(&self, url: &Url) -> Option<&ProxyUrl> {
        let proxy = match url.scheme() {
            "https" => self.https.as_ref(),
            "http" => self.http.as_ref(),
            _ => None,
        }?;
        let host = url.host_str()?;
        let port = url.port_or_known_default()?;
        (!is_this_machine(host) && !tells_of_this_machine(host) && !self.direct.holds(host, port))
            .then_some(proxy)
    }
}

impl ProxyUrl {
    /// With name and password, for the one place that needs them.
    pub fn expose(&self) -> &Url {
        &self.0
    }

    /// `HOST:PORT`, to try whether anybody is there.
    pub fn peer(&self) -> String {
        let port = self.0.port_or_known_default().unwrap_or(80);
        format!("{}:{port}", self.0.host_str().unwrap_or_default())
    }
}

/// `http://[USER:PASSWORD@]HOST[:PORT]`, `https://` likewise, or `HOST:PORT` alone.
impl FromStr for ProxyUrl {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        let text = text.trim();
        let url = if text.contains("://") {
            Url::parse(text)
        } else {
            Url::parse(&format!("http://{text}"))
        }
        .map_err(|_| ())?;
        let is_bare = matches!(url.path(), "" | "/") && url.query().is_none();
        (matches!(url.scheme(), "http" | "https") && url.has_host() && is_bare)
            .then_some(Self(url))
            .ok_or(())
    }
}

impl fmt::Display for ProxyUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let secret = if self.0.username().is_empty() && self.0.password().is_none() {
            ""
        } else {
            "***@"
        };
        write!(f, "{}://{secret}{}", self.0.scheme(), self.peer())
    }
}

impl fmt::Debug for ProxyUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl NoProxy {
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    fn holds(&self, host: &str, port: u16) -> bool {
        let host = plain(host);
        self.0
            .iter()
            .any(|entry| entry.port.is_none_or(|wanted| wanted == port) && entry.hosts.hold(&host))
    }
}

/// Entries with commas between them: `*`, a host with what lies below it, `.host` for that alone, an address, a network; each may
/// name a port.
impl FromStr for NoProxy {
    type Err = String;

    /// The error is the entry that cannot be read.
    fn from_str(text: &str) -> Result<Self, String> {
        text.split([',', ' ', '\t', '\n'])
            .filter(|entry| !entry.is_empty())
            .map(|entry| Entry::parse(entry).ok_or_else(|| entry.to_owned()))
            .collect::<Result<_, _>>()
            .map(Self)
    }
}

impl Entry {
    fn parse(text: &str) -> Option<Self> {
        let any = |hosts| Some(Self { hosts, port: None });
        if let Some(network) = network(text) {
            return any(Hosts::Network(network));
        }
        let (host, port) = match text.rsplit_once(':') {
            Some((host, port)) => (host, Some(port.parse().ok()?)),
            None => (text, None),
        };
        Some(Self {
            hosts: Hosts::parse(host)?,
            port,
        })
    }
}

impl Hosts {
    fn parse(text: &str) -> Option<Self> {
        if text == "*" {
            return Some(Self::All);
        }
        if let Some(network) = network(text) {
            return Some(Self::Network(network));
        }
        let name = text.strip_prefix('*').unwrap_or(text);
        let (below, name) = match name.strip_prefix('.') {
            Some(name) => (true, name),
            None if name.len() < text.len() => return None,
            None => (false, name),
        };
        let name = plain(name);
        let is_name = !name.is_empty()
            && name
                .bytes()
                .all(|byte| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte) || byte >= 0x80);
        is_name.then_some(if below {
            Self::Below(name)
        } else {
            Self::Domain(name)
        })
    }

    fn hold(&self, host: &str) -> bool {
        let is_below = |name: &str| {
            host.strip_suffix(name)
                .is_some_and(|head| head.ends_with('.'))
        };
        match self {
            Self::All => true,
            Self::Network(network) => host
                .parse::<IpAddr>()
                .is_ok_and(|address| network.contains(&address)),
            Self::Domain(name) => host == name || is_below(name),
            Self::Below(name) => is_below(name),
        }
    }
}

/// A network or an address, which may stand in brackets.
fn network(text: &str) -> Option<IpNet> {
    let inner = text
        .strip_prefix('[')
        .and_then(|text| text.strip_suffix(']'))
        .unwrap_or(text);
    inner
        .parse()
        .ok()
        .or_else(|| inner.parse::<IpAddr>().ok().map(IpNet::from))
}

/// As hosts are compared: without brackets, without the dot at the end, in small letters.
fn plain(host: &str) -> String {
    host.trim_matches(['[', ']'])
        .trim_end_matches('.')
        .to_ascii_lowercase()
}

/// Where clouds tell a machine who it is and what it may do: addresses that mean another machine behind a proxy.
const TELLERS: &[&str] = &[
    "169.254.169.254",
    "169.254.170.2",
    "169.254.170.23",
    "fd00:ec2::254",
    "fd00:ec2::23",
    "metadata.google.internal",
];

fn tells_of_this_machine(host: &str) -> bool {
    TELLERS.contains(&plain(host).as_str())
}

fn is_this_machine(host: &str) -> bool {
    let host = plain(host);
    host == "localhost"
        || host
            .parse::<IpAddr>()
            .is_ok_and(|address| address.is_loopback())
}
