//! Where a request truly comes from and which address the client used, behind any number of trusted proxies. Pure functions over
//! the connection and the headers.
//!
//! `X-Forwarded-For` and `Forwarded` (RFC 7239) are read from right to left: the last entry was written by the proxy that is
//! connected, each further one counts only while the address named by the one before is a trusted proxy too. When both families
//! are there, `X-Forwarded-*` wins, as the one that proxies really write; a proxy must overwrite what it does not append to.

use std::{
    fmt,
    net::{IpAddr, Ipv6Addr, SocketAddr},
};

use http::{HeaderMap, HeaderName, Uri, header};

use crate::connection::{Connection, TrustedProxies};

/// The request as the client made it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Origin {
    /// None on the unix socket.
    pub client: Option<IpAddr>,
    pub scheme: Scheme,
    /// None when the client sent no usable host.
    pub host: Option<Host>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scheme {
    Http,
    Https,
}

/// A host whose syntax was checked, so that it may be repeated in a header or a link: letters, digits, `.`, `-` and `_`, or an
/// IPv6 address in brackets. In lower case.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Host {
    pub name: String,
    pub port: Option<u16>,
}

/// The client's own address, for the access log and for limits. Costs nothing when no trusted proxy is in between.
pub fn client(connection: &Connection, headers: &HeaderMap) -> Option<IpAddr> {
    let remote = connection.remote?.ip().to_canonical();
    if !connection.trusted {
        return Some(remote);
    }
    Some(
        Claims::read(headers)
            .judge(&connection.proxies, remote)
            .client,
    )
}

/// All that is known of the request's origin.
pub fn origin(connection: &Connection, uri: &Uri, headers: &HeaderMap) -> Origin {
    let asked = asked_host(uri, headers);
    let seen = if connection.tls.is_some() {
        Scheme::Https
    } else {
        Scheme::Http
    };
    let remote = connection.remote.map(|remote| remote.ip().to_canonical());
    let (Some(remote), true) = (remote, connection.trusted) else {
        return Origin {
            client: remote,
            scheme: seen,
            host: asked,
        };
    };
    let told = Claims::read(headers).judge(&connection.proxies, remote);
    let scheme = told.scheme.unwrap_or(seen);
    let mut host = told.host.or(asked);
    if let (Some(host), Some(port)) = (host.as_mut().filter(|host| host.port.is_none()), told.port)
    {
        // A port that is the other scheme's default comes from a proxy that tells its own, not the client's.
        if port != scheme.other().default_port() {
            host.port = Some(port);
        }
    }
    Origin {
        client: Some(told.client),
        scheme,
        host,
    }
}

impl Origin {
    /// `https://registry.example.com:8443`, without a port that the scheme implies.
    pub fn base_url(&self) -> Option<String> {
        let host = self.host.as_ref()?;
        Some(match host.port {
            Some(port) if port != self.scheme.default_port() => {
                format!("{}://{}:{port}", self.scheme.as_str(), host.name)
            }
            _ => format!("{}://{}", self.scheme.as_str(), host.name),
        })
    }
}

impl Scheme {
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Http => "http",
            Self::Https => "https",
        }
    }

    pub fn default_port(self) -> u16 {
        match self {
            Self::Http => 80,
            Self::Https => 443,
        }
    }

    fn other(self) -> Self {
        match self {
            Self::Http => Self::Https,
            Self::Https => Self::Http,
        }
    }

    fn parse(text: &str) -> Option<Self> {
        if text.eq_ignore_ascii_case("https") || text.eq_ignore_ascii_case("wss") {
            Some(Self::Https)
        } else if text.eq_ignore_ascii_case("http") || text.eq_ignore_ascii_case("ws") {
            Some(Self::Http)
        } else {
            None
        }
    }
}

impl Host {
    /// Reads `name`, `name:port`, `[v6]` or `[v6]:port`.
    pub fn parse(text: &str) -> Option<Self> {
        if text.len() > 255 + ":65535".len() {
            return None;
        }
        let (name, port) = if let Some(rest) = text.strip_prefix('[') {
            let (address, rest) = rest.split_once(']')?;
            let address: Ipv6Addr = address.parse().ok()?;
            (format!("[{address}]"), rest)
        } else {
            let (name, port) = text.split_at(text.find(':').unwrap_or(text.len()));
            if !is_name(name) {
                return None;
            }
            (name.to_ascii_lowercase(), port)
        };
        // RFC 3986 allows the colon without a number.
        let port = match port {
            "" | ":" => None,
            _ => Some(parse_port(port.strip_prefix(':')?)?),
        };
        Some(Self { name, port })
    }
}

impl fmt::Display for Host {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.name)?;
        self.port.map_or(Ok(()), |port| write!(f, ":{port}"))
    }
}

fn parse_port(digits: &str) -> Option<u16> {
    // `parse` alone would take a sign.
    let clean = digits.bytes().all(|b| b.is_ascii_digit());
    digits.parse().ok().filter(|port| clean && *port != 0)
}

fn is_name(name: &str) -> bool {
    name.len() <= 255
        && name.split('.').enumerate().all(|(i, label)| {
            // One dot at the end is the root of the DNS.
            (!label.is_empty() || (i > 0 && name.ends_with('.') && !name.ends_with("..")))
                && label
                    .bytes()
                    .all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_')
        })
        && !name.contains("..")
}

/// The host of the request line (HTTP/2 and absolute form), else of the `Host` header.
fn asked_host(uri: &Uri, headers: &HeaderMap) -> Option<Host> {
    match uri.authority() {
        Some(authority) => Host::parse(authority.as_str()),
        None => Host::parse(headers.get(header::HOST)?.to_str().ok()?),
    }
}

/// What the headers claim, one entry a proxy, the nearest last.
struct Claims<'a> {
    hops: Vec<Hop<'a>>,
    port: Option<u16>,
}

#[derive(Clone, Copy, Default)]
struct Hop<'a> {
    address: Option<IpAddr>,
    scheme: Option<Scheme>,
    host: Option<&'a str>,
}

/// What remains of the claims when only trusted proxies' words count.
struct Told {
    client: IpAddr,
    scheme: Option<Scheme>,
    host: Option<Host>,
    port: Option<u16>,
}

const X_FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");
const X_FORWARDED_PROTO: HeaderName = HeaderName::from_static("x-forwarded-proto");
const X_FORWARDED_HOST: HeaderName = HeaderName::from_static("x-forwarded-host");
const X_FORWARDED_PORT: HeaderName = HeaderName::from_static("x-forwarded-port");

impl<'a> Claims<'a> {
    fn read(headers: &'a HeaderMap) -> Self {
        let addresses = list(headers, &X_FORWARDED_FOR);
        let schemes = list(headers, &X_FORWARDED_PROTO);
        let hosts = list(headers, &X_FORWARDED_HOST);
        if addresses.is_empty() && schemes.is_empty() && hosts.is_empty() {
            return Self::read_rfc_7239(headers);
        }
        let count = addresses.len().max(1);
        let hops = (0..count)
            .map(|i| Hop {
                address: addresses.get(i).and_then(|text| parse_address(text)),
                scheme: entry(&schemes, i, count).and_then(Scheme::parse),
                host: entry(&hosts, i, count),
            })
            .collect();
        let port = list(headers, &X_FORWARDED_PORT)
            .last()
            .and_then(|port| parse_port(port));
        Self { hops, port }
    }

    fn read_rfc_7239(headers: &'a HeaderMap) -> Self {
        let mut hops = Vec::new();
        for value in headers.get_all(header::FORWARDED) {
            let Ok(value) = value.to_str() else { continue };
            for element in split_unquoted(value, b',') {
                hops.push(parse_element(element));
            }
        }
        Self { hops, port: None }
    }

    fn judge(&self, proxies: &TrustedProxies, remote: IpAddr) -> Told {
        let mut client = remote;
        let mut believed = self.hops.len();
        while believed > 0 && proxies.contain(client) {
            believed -= 1;
            match self.hops[believed].address {
                Some(address) => client = address,
                None => break,
            }
        }
        let believed = &self.hops[believed..];
        Told {
            client,
            // The outermost trusted proxy is the one the client spoke to.
            scheme: believed.iter().find_map(|hop| hop.scheme),
            host: believed
                .iter()
                .find_map(|hop| hop.host)
                .and_then(Host::parse),
            port: self.port,
        }
    }
}

/// The entry of a list beside `X-Forwarded-For`. Only a list of the same length tells which proxy wrote which; else the last one
/// is the only one that the nearest proxy surely let pass.
fn entry<'a>(list: &[&'a str], i: usize, count: usize) -> Option<&'a str> {
    if list.len() == count {
        list.get(i).copied()
    } else {
        list.last().copied()
    }
}

/// The entries of a header that may stand several times and hold several, in order.
fn list<'a>(headers: &'a HeaderMap, name: &HeaderName) -> Vec<&'a str> {
    headers
        .get_all(name)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
        .map(str::trim)
        .filter(|entry| !entry.is_empty())
        .collect()
}

/// One element of `Forwarded`: `for=192.0.2.60;proto=http;by=203.0.113.43;host="example.com"`.
fn parse_element(element: &str) -> Hop<'_> {
    let mut hop = Hop::default();
    for pair in split_unquoted(element, b';') {
        let Some((name, value)) = pair.split_once('=') else {
            continue;
        };
        let value = value.trim();
        // None of the values that matter here can hold an escaped character.
        let value = value
            .strip_prefix('"')
            .and_then(|value| value.strip_suffix('"'))
            .unwrap_or(value);
        match name.trim().to_ascii_lowercase().as_str() {
            "for" => hop.address = parse_address(value),
            "proto" => hop.scheme = Scheme::parse(value),
            "host" => hop.host = Some(value),
            _ => {}
        }
    }
    hop
}

/// Splits at a separator outside quotes; empty parts are left out.
fn split_unquoted(text: &str, separator: u8) -> impl Iterator<Item = &str> {
    let mut parts = Vec::new();
    let (mut start, mut quoted, mut escaped) = (0, false, false);
    for (i, byte) in text.bytes().enumerate() {
        match byte {
            _ if escaped => escaped = false,
            b'\\' if quoted => escaped = true,
            b'"' => quoted = !quoted,
            _ if byte == separator && !quoted => {
                parts.push(&text[start..i]);
                start = i + 1;
            }
            _ => {}
        }
    }
    parts.push(&text[start..]);
    parts
        .into_iter()
        .map(str::trim)
        .filter(|part| !part.is_empty())
}

/// An address with or without port, IPv6 with or without brackets. `unknown` and hidden names (`_gazonk`) are none.
fn parse_address(text: &str) -> Option<IpAddr> {
    let text = text.trim_matches('"');
    let address = text
        .parse()
        .ok()
        .or_else(|| {
            text.parse::<SocketAddr>()
                .ok()
                .map(|with_port| with_port.ip())
        })
        .or_else(|| {
            text.strip_prefix('[')?
                .strip_suffix(']')?
                .parse::<Ipv6Addr>()
                .ok()
                .map(IpAddr::V6)
        })?;
    Some(address.to_canonical())
}

#[cfg(test)]
mod tests;
