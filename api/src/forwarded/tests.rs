use http::HeaderValue;

use super::*;
use crate::connection::{Facts, TlsPeer};

const PROXIES: [&str; 2] = ["10.0.0.0/8", "fd00::/8"];

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

/// Headers from lines such as `x-forwarded-for: 1.2.3.4`.
fn headers(lines: &[&str]) -> HeaderMap {
    let mut map = HeaderMap::new();
    for line in lines {
        let (name, value) = line.split_once(": ").expect("a header line");
        map.append(
            name.parse::<HeaderName>().expect("name"),
            HeaderValue::from_str(value).expect("value"),
        );
    }
    map
}

#[test]
fn the_client_is_found_from_right_to_left_through_trusted_proxies() {
    let cases: &[(&str, &[&str], &str)] = &[
        // No proxy, or one that is not trusted: the headers are the client's own words.
        ("203.0.113.9", &[], "203.0.113.9"),
        ("203.0.113.9", &["x-forwarded-for: 1.1.1.1"], "203.0.113.9"),
        ("203.0.113.9", &["forwarded: for=1.1.1.1"], "203.0.113.9"),
        // A trusted one.
        ("10.0.0.1", &[], "10.0.0.1"),
        ("::ffff:10.0.0.1", &["x-forwarded-for: 1.1.1.1"], "1.1.1.1"),
        ("10.0.0.1", &["x-forwarded-for: 1.1.1.1"], "1.1.1.1"),
        ("fd00::1", &["x-forwarded-for: 2001:db8::5"], "2001:db8::5"),
        // What stands left of the first untrusted address was written by the client.
        (
            "10.0.0.1",
            &["x-forwarded-for: 6.6.6.6, 1.1.1.1"],
            "1.1.1.1",
        ),
        (
            "10.0.0.1",
            &["x-forwarded-for: 6.6.6.6, 1.1.1.1, 10.0.0.2"],
            "1.1.1.1",
        ),
        (
            "10.0.0.1",
            &["x-forwarded-for: 6.6.6.6", "x-forwarded-for: 1.1.1.1"],
            "1.1.1.1",
        ),
        // All trusted: the outermost.
        (
            "10.0.0.1",
            &["x-forwarded-for: 10.0.0.3, 10.0.0.2"],
            "10.0.0.3",
        ),
        // Bad values end the walk.
        ("10.0.0.1", &["x-forwarded-for: nonsense"], "10.0.0.1"),
        (
            "10.0.0.1",
            &["x-forwarded-for: 6.6.6.6, nonsense, 10.0.0.2"],
            "10.0.0.2",
        ),
        ("10.0.0.1", &["x-forwarded-for: ,,"], "10.0.0.1"),
        // With ports, brackets and quotes.
        ("10.0.0.1", &["x-forwarded-for: 1.1.1.1:5000"], "1.1.1.1"),
        (
            "10.0.0.1",
            &["x-forwarded-for: [2001:db8::5]:5000"],
            "2001:db8::5",
        ),
        ("10.0.0.1", &["x-forwarded-for: ::ffff:1.1.1.1"], "1.1.1.1"),
        // RFC 7239.
        ("10.0.0.1", &["forwarded: for=1.1.1.1"], "1.1.1.1"),
        (
            "10.0.0.1",
            &["forwarded: For=\"[2001:db8:cafe::17]:4711\""],
            "2001:db8:cafe::17",
        ),
        (
            "10.0.0.1",
            &["forwarded: for=6.6.6.6, for=1.1.1.1;proto=https, for=10.0.0.2"],
            "1.1.1.1",
        ),
        (
            "10.0.0.1",
            &["forwarded: for=1.1.1.1, for=_hidden"],
            "10.0.0.1",
        ),
        ("10.0.0.1", &["forwarded: for=unknown"], "10.0.0.1"),
        (
            "10.0.0.1",
            &["forwarded: host=\"a,b;for=6.6.6.6\";for=1.1.1.1"],
            "1.1.1.1",
        ),
        // The family that proxies write wins over one that may have passed through them.
        (
            "10.0.0.1",
            &["forwarded: for=6.6.6.6", "x-forwarded-for: 1.1.1.1"],
            "1.1.1.1",
        ),
    ];
    for (remote, lines, expected) in cases {
        let found = client(&connection(remote, false), &headers(lines));
        assert_eq!(
            found,
            Some(expected.parse().expect("address")),
            "{remote} {lines:?}"
        );
        let found = origin(
            &connection(remote, false),
            &Uri::from_static("/v2/"),
            &headers(lines),
        );
        assert_eq!(
            found.client,
            Some(expected.parse().expect("address")),
            "{remote} {lines:?}"
        );
    }
}

#[test]
fn the_base_url_is_the_one_the_client_used() {
    let cases: &[(&str, bool, &[&str], Option<&str>)] = &[
        (
            "203.0.113.9",
            false,
            &["host: reg.example:8080"],
            Some("http://reg.example:8080"),
        ),
        (
            "203.0.113.9",
            true,
            &["host: Reg.Example"],
            Some("https://reg.example"),
        ),
        (
            "203.0.113.9",
            true,
            &["host: reg.example:443"],
            Some("https://reg.example"),
        ),
        (
            "203.0.113.9",
            false,
            &["host: [::1]:8080"],
            Some("http://[::1]:8080"),
        ),
        ("203.0.113.9", false, &[], None),
        // Not trusted: nothing of it counts.
        (
            "203.0.113.9",
            false,
            &[
                "host: reg.example",
                "x-forwarded-proto: https",
                "x-forwarded-host: evil.example",
            ],
            Some("http://reg.example"),
        ),
        (
            "10.0.0.1",
            false,
            &["host: reg.example", "x-forwarded-proto: https"],
            Some("https://reg.example"),
        ),
        (
            "10.0.0.1",
            false,
            &["host: reg.example", "x-forwarded-proto: gopher"],
            Some("http://reg.example"),
        ),
        (
            "10.0.0.1",
            false,
            &[
                "host: inner:8080",
                "x-forwarded-host: reg.example:8443",
                "x-forwarded-proto: https",
            ],
            Some("https://reg.example:8443"),
        ),
        // The port beside a host that has none; the other scheme's default is the proxy's own.
        (
            "10.0.0.1",
            false,
            &[
                "host: reg.example",
                "x-forwarded-proto: https",
                "x-forwarded-port: 8443",
            ],
            Some("https://reg.example:8443"),
        ),
        (
            "10.0.0.1",
            false,
            &[
                "host: reg.example",
                "x-forwarded-proto: https",
                "x-forwarded-port: 80",
            ],
            Some("https://reg.example"),
        ),
        (
            "10.0.0.1",
            false,
            &["host: reg.example:5000", "x-forwarded-port: 8443"],
            Some("http://reg.example:5000"),
        ),
        // As many entries as addresses: the outermost trusted proxy's.
        (
            "10.0.0.1",
            false,
            &[
                "host: a",
                "x-forwarded-for: 1.1.1.1, 10.0.0.2",
                "x-forwarded-proto: https, http",
            ],
            Some("https://a"),
        ),
        (
            "10.0.0.1",
            false,
            &[
                "host: a",
                "x-forwarded-for: 6.6.6.6, 1.1.1.1",
                "x-forwarded-proto: http, https",
            ],
            Some("https://a"),
        ),
        // A client that wrote its own entry first does not choose the host.
        (
            "10.0.0.1",
            false,
            &[
                "host: a",
                "x-forwarded-for: 1.1.1.1",
                "x-forwarded-host: evil.example, reg.example",
            ],
            Some("http://reg.example"),
        ),
        (
            "10.0.0.1",
            false,
            &[
                "host: a",
                "forwarded: for=1.1.1.1;proto=https;host=\"reg.example:8443\"",
            ],
            Some("https://reg.example:8443"),
        ),
        (
            "10.0.0.1",
            false,
            &[
                "host: a",
                "forwarded: for=6.6.6.6;host=evil.example, for=1.1.1.1;host=reg.example",
            ],
            Some("http://reg.example"),
        ),
        // What would end the realm's quotes is no host.
        (
            "10.0.0.1",
            false,
            &["host: a", "x-forwarded-host: a\",x=\"b"],
            Some("http://a"),
        ),
        ("203.0.113.9", false, &["host: a\"b"], None),
    ];
    for (remote, tls, lines, expected) in cases {
        let found = origin(
            &connection(remote, *tls),
            &Uri::from_static("/v2/"),
            &headers(lines),
        );
        assert_eq!(
            found.base_url().as_deref(),
            *expected,
            "{remote} {tls} {lines:?}"
        );
    }
}

#[test]
fn the_host_of_the_request_line_wins() {
    let uri = Uri::from_static("https://reg.example:8443/v2/");
    let found = origin(
        &connection("203.0.113.9", true),
        &uri,
        &headers(&["host: other"]),
    );
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
    let long = "a".repeat(256);
    for bad in [
        "", ":80", ".", "..", ".a", "a..b", "a..", "a b", "a/b", "a\"", "a@b", "a:0", "a:65536",
        "a:8o", "a:+80", "a:80:80", "[::1", "[::g]", "[::1]x", "::1", "a%20", "é", "a\\b", "a,b",
        "[::1]80", &long,
    ] {
        assert!(Host::parse(bad).is_none(), "{bad}");
    }
}
