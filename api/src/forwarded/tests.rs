use http::HeaderValue;

use super::*;
use crate::connection::{Facts, TlsPeer};

const PROXIES: [&str; 2] = ["10.0.0.0/8", "fd00::/8"];
/// A client that is no proxy, and one that is.
const CLIENT: &str = "203.0.113.9";
const PROXY: &str = "10.0.0.1";

fn connection(remote: &str, tls: bool) -> Connection {
    let proxies: TrustedProxies = PROXIES
        .iter()
        .map(|net| net.parse().expect("network"))
        .collect();
    let remote: IpAddr = remote.parse().expect("address");
    Connection::new(Facts {
        remote: Some(SocketAddr::new(remote, 40_000)),
        local: None,
        tls: tls.then_some(TlsPeer {
            server_name: None,
            client: None,
        }),
        trusted: proxies.contain(remote),
        metrics_only: false,
        plain_http1: true,
        proxies,
    })
}

/// Headers from a text such as `host: a | x-forwarded-for: 1.2.3.4`.
fn headers(text: &str) -> HeaderMap {
    let mut map = HeaderMap::new();
    for line in text.split(" | ").filter(|line| !line.is_empty()) {
        let (name, value) = line.split_once(": ").expect("a header line");
        let name: HeaderName = name.parse().expect("name");
        map.append(name, HeaderValue::from_str(value).expect("value"));
    }
    map
}

/// The last column: the client that is found.
const CLIENTS: &[(&str, &str, &str)] = &[
    // No proxy, or one that is not trusted: the headers are the client's own words.
    (CLIENT, "", CLIENT),
    (CLIENT, "x-forwarded-for: 1.1.1.1", CLIENT),
    (CLIENT, "forwarded: for=1.1.1.1", CLIENT),
    // A trusted one.
    (PROXY, "", PROXY),
    ("::ffff:10.0.0.1", "x-forwarded-for: 1.1.1.1", "1.1.1.1"),
    (PROXY, "x-forwarded-for: 1.1.1.1", "1.1.1.1"),
    ("fd00::1", "x-forwarded-for: 2001:db8::5", "2001:db8::5"),
    // What stands left of the first untrusted address was written by the client.
    (PROXY, "x-forwarded-for: 6.6.6.6, 1.1.1.1", "1.1.1.1"),
    (
        PROXY,
        "x-forwarded-for: 6.6.6.6, 1.1.1.1, 10.0.0.2",
        "1.1.1.1",
    ),
    (
        PROXY,
        "x-forwarded-for: 6.6.6.6 | x-forwarded-for: 1.1.1.1",
        "1.1.1.1",
    ),
    // All trusted: the outermost.
    (PROXY, "x-forwarded-for: 10.0.0.3, 10.0.0.2", "10.0.0.3"),
    // Bad values end the walk.
    (PROXY, "x-forwarded-for: nonsense", PROXY),
    (
        PROXY,
        "x-forwarded-for: 6.6.6.6, nonsense, 10.0.0.2",
        "10.0.0.2",
    ),
    (PROXY, "x-forwarded-for: ,,", PROXY),
    // With ports, brackets and quotes.
    (PROXY, "x-forwarded-for: 1.1.1.1:5000", "1.1.1.1"),
    (PROXY, "x-forwarded-for: [2001:db8::5]:5000", "2001:db8::5"),
    (PROXY, "x-forwarded-for: ::ffff:1.1.1.1", "1.1.1.1"),
    // RFC 7239.
    (PROXY, "forwarded: for=1.1.1.1", "1.1.1.1"),
    (
        PROXY,
        "forwarded: For=\"[2001:db8:cafe::17]:4711\"",
        "2001:db8:cafe::17",
    ),
    (
        PROXY,
        "forwarded: for=6.6.6.6, for=1.1.1.1;proto=https, for=10.0.0.2",
        "1.1.1.1",
    ),
    (PROXY, "forwarded: for=1.1.1.1, for=_hidden", PROXY),
    (PROXY, "forwarded: for=unknown", PROXY),
    (
        PROXY,
        "forwarded: host=\"a,b;for=6.6.6.6\";for=1.1.1.1",
        "1.1.1.1",
    ),
    // The family that proxies write wins over one that may have passed through them.
    (
        PROXY,
        "forwarded: for=6.6.6.6 | x-forwarded-for: 1.1.1.1",
        "1.1.1.1",
    ),
];

#[test]
fn the_client_is_found_from_right_to_left_through_trusted_proxies() {
    for (remote, text, expected) in CLIENTS {
        let (connection, headers) = (connection(remote, false), headers(text));
        let expected: IpAddr = expected.parse().expect("address");
        assert_eq!(
            client(&connection, &headers),
            Some(expected),
            "{remote} {text}"
        );
        let whole = origin(&connection, &Uri::from_static("/v2/"), &headers);
        assert_eq!(whole.client, Some(expected), "{remote} {text}");
    }
}

/// The last column: the URL that the client used.
const URLS: &[(&str, &str, &str)] = &[
    (CLIENT, "host: reg.example:8080", "http://reg.example:8080"),
    (CLIENT, "host: Reg.Example", "http://reg.example"),
    (CLIENT, "host: reg.example:80", "http://reg.example"),
    (CLIENT, "host: reg.example:443", "http://reg.example:443"),
    (CLIENT, "host: [::1]:8080", "http://[::1]:8080"),
    (CLIENT, "", "none"),
    // Not trusted: nothing of it counts.
    (
        CLIENT,
        "host: a | x-forwarded-proto: https | x-forwarded-host: evil.example",
        "http://a",
    ),
    (PROXY, "host: a | x-forwarded-proto: https", "https://a"),
    (PROXY, "host: a | x-forwarded-proto: gopher", "http://a"),
    (
        PROXY,
        "host: inner:8080 | x-forwarded-host: reg.example:8443 | x-forwarded-proto: https",
        "https://reg.example:8443",
    ),
    // The port beside a host that has none; the other scheme's default is the proxy's own.
    (
        PROXY,
        "host: a | x-forwarded-proto: https | x-forwarded-port: 8443",
        "https://a:8443",
    ),
    (
        PROXY,
        "host: a | x-forwarded-proto: https | x-forwarded-port: 80",
        "https://a",
    ),
    (
        PROXY,
        "host: a | x-forwarded-proto: https | x-forwarded-port: +8443",
        "https://a",
    ),
    (
        PROXY,
        "host: a:5000 | x-forwarded-proto: https | x-forwarded-port: 8443",
        "https://a:5000",
    ),
    // As many entries as addresses: the outermost trusted proxy's.
    (
        PROXY,
        "host: a | x-forwarded-for: 1.1.1.1, 10.0.0.2 | x-forwarded-proto: https, http",
        "https://a",
    ),
    (
        PROXY,
        "host: a | x-forwarded-for: 6.6.6.6, 1.1.1.1 | x-forwarded-proto: http, https",
        "https://a",
    ),
    // A client that wrote its own entry first does not choose the host.
    (
        PROXY,
        "host: a | x-forwarded-for: 1.1.1.1 | x-forwarded-host: evil.example, b",
        "http://b",
    ),
    (
        PROXY,
        "host: a | forwarded: for=1.1.1.1;proto=https;host=\"b:8443\"",
        "https://b:8443",
    ),
    (
        PROXY,
        "host: a | forwarded: for=6.6.6.6;host=evil.example, for=1.1.1.1;host=b",
        "http://b",
    ),
    // What would end the realm's quotes is no host.
    (PROXY, "host: a | x-forwarded-host: b\",x=\"c", "http://a"),
    (CLIENT, "host: a\"b", "none"),
];

#[test]
fn the_base_url_is_the_one_the_client_used() {
    for (remote, text, expected) in URLS {
        let found = origin(
            &connection(remote, false),
            &Uri::from_static("/v2/"),
            &headers(text),
        );
        assert_eq!(
            found.base_url().as_deref().unwrap_or("none"),
            *expected,
            "{remote} {text}"
        );
    }
}

#[test]
fn over_tls_the_scheme_is_https_unless_a_trusted_proxy_says_otherwise() {
    for (remote, text, expected) in [
        (CLIENT, "host: a:443", "https://a"),
        (CLIENT, "host: a | x-forwarded-proto: http", "https://a"),
        (PROXY, "host: a", "https://a"),
        (PROXY, "host: a | x-forwarded-proto: http", "http://a"),
    ] {
        let found = origin(
            &connection(remote, true),
            &Uri::from_static("/v2/"),
            &headers(text),
        );
        assert_eq!(
            found.base_url().as_deref(),
            Some(expected),
            "{remote} {text}"
        );
    }
}

#[test]
fn the_host_of_the_request_line_wins() {
    let uri = Uri::from_static("https://reg.example:8443/v2/");
    let found = origin(&connection(CLIENT, true), &uri, &headers("host: other"));
    assert_eq!(
        found.base_url().as_deref(),
        Some("https://reg.example:8443")
    );
}

#[test]
fn only_hosts_with_clean_syntax_are_taken() {
    for good in [
        "a",
        "a.b",
        "a.b.",
        "a_b-c.example:1",
        "127.0.0.1:65535",
        "[::1]",
        "[2001:db8::1]:80",
        "a:",
    ] {
        assert!(Host::parse(good).is_some(), "{good}");
    }
    let bad = "|:80|.|..|.a|a..b|a..|a b|a/b|a\"|a@b|a:0|a:65536|a:8o|a:+80|a:80:80|[::1|[::g]|[::1]x|::1|a%20|é|a\\b|a,b|[::1]80";
    let long = "a".repeat(256);
    for bad in bad.split('|').chain([long.as_str()]) {
        assert!(Host::parse(bad).is_none(), "{bad}");
    }
}
