use proptest::prelude::*;

use super::*;

fn ends(client: &str, server: &str) -> Ends {
    Ends {
        client: client.parse().expect("address"),
        server: server.parse().expect("address"),
    }
}

fn v2(version_and_command: u8, family: u8, rest: &[u8]) -> Vec<u8> {
    let mut bytes = V2_SIGNATURE.to_vec();
    bytes.extend([version_and_command, family]);
    bytes.extend((rest.len() as u16).to_be_bytes());
    bytes.extend(rest);
    bytes
}

const V4: &[u8] = &[192, 0, 2, 1, 198, 51, 100, 2, 0xdc, 0x04, 0x01, 0xbb];

#[test]
fn version_1_lines() {
    let cases: &[(&str, Option<Ends>)] = &[
        (
            "PROXY TCP4 192.0.2.1 198.51.100.2 56324 443\r\n",
            Some(ends("192.0.2.1:56324", "198.51.100.2:443")),
        ),
        (
            "PROXY TCP6 2001:db8::1 2001:db8::2 1 65535\r\n",
            Some(ends("[2001:db8::1]:1", "[2001:db8::2]:65535")),
        ),
        (
            "PROXY TCP6 ::ffff:192.0.2.1 ::ffff:198.51.100.2 1 2\r\n",
            Some(ends("192.0.2.1:1", "198.51.100.2:2")),
        ),
        ("PROXY UNKNOWN\r\n", None),
        ("PROXY UNKNOWN ffff:: ffff:: 65535 65535\r\n", None),
    ];
    for (line, expected) in cases {
        let with_rest = format!("{line}GET / HTTP/1.1\r\n");
        let found = parse(with_rest.as_bytes());
        assert_eq!(
            found,
            Ok(Start::Header {
                length: line.len(),
                ends: *expected
            }),
            "{line}"
        );
    }
}

#[test]
fn malformed_lines_are_refused() {
    for line in [
        "PROXY TCP4 192.0.2.1 198.51.100.2 56324\r\n",
        "PROXY TCP4 192.0.2.1 198.51.100.2 56324 443 9\r\n",
        "PROXY TCP4 192.0.2.1  198.51.100.2 56324 443\r\n",
        "PROXY TCP4 192.0.2.256 198.51.100.2 56324 443\r\n",
        "PROXY TCP4 2001:db8::1 2001:db8::2 1 2\r\n",
        "PROXY TCP6 192.0.2.1 198.51.100.2 1 2\r\n",
        "PROXY TCP4 192.0.2.1 198.51.100.2 65536 443\r\n",
        "PROXY TCP4 192.0.2.1 198.51.100.2 +1 443\r\n",
        "PROXY TCP4 192.0.2.1 198.51.100.2 01 443\r\n",
        "PROXY TCP4 192.0.2.1 198.51.100.2 1 443\n\r\n",
        "PROXY UDP4 192.0.2.1 198.51.100.2 1 443\r\n",
        "PROXY  TCP4 192.0.2.1 198.51.100.2 1 443\r\n",
        "PROXY \r\n",
        "PROXY unknown\r\n",
    ] {
        assert!(parse(line.as_bytes()).is_err(), "{line:?}");
    }
    let endless = format!("PROXY UNKNOWN {}", "x".repeat(200));
    assert!(parse(endless.as_bytes()).is_err());
}

#[test]
fn version_2_headers() {
    let mut v6 = vec![];
    v6.extend("2001:db8::1".parse::<Ipv6Addr>().expect("v6").octets());
    v6.extend("2001:db8::2".parse::<Ipv6Addr>().expect("v6").octets());
    v6.extend([0, 1, 0, 2]);
    let with_extensions = [V4, &[0x04, 0, 2, 9, 9], &[0x20, 0, 0]].concat();
    let cases = [
        (
            v2(0x21, 0x11, V4),
            Some(ends("192.0.2.1:56324", "198.51.100.2:443")),
        ),
        (
            v2(0x21, 0x11, &with_extensions),
            Some(ends("192.0.2.1:56324", "198.51.100.2:443")),
        ),
        (
            v2(0x21, 0x21, &v6),
            Some(ends("[2001:db8::1]:1", "[2001:db8::2]:2")),
        ),
        (v2(0x21, 0x31, &[0; 216]), None),
        (v2(0x21, 0x00, b"whatever"), None),
        (v2(0x20, 0x00, &[]), None),
        (v2(0x20, 0x11, &[1, 2, 3]), None),
    ];
    for (header, expected) in cases {
        let with_rest = [&header[..], b"\x16\x03\x01"].concat();
        let found = parse(&with_rest);
        assert_eq!(
            found,
            Ok(Start::Header {
                length: header.len(),
                ends: expected
            }),
            "{header:?}"
        );
    }
}

#[test]
fn malformed_version_2_headers_are_refused() {
    let cut_extension = [V4, &[0x04, 0, 3, 9, 9]].concat();
    let half_extension = [V4, &[0x04, 0]].concat();
    for header in [
        v2(0x11, 0x11, V4),
        v2(0x22, 0x11, V4),
        v2(0x21, 0x12, V4),
        v2(0x21, 0x41, V4),
        v2(0x21, 0x11, &V4[..11]),
        v2(0x21, 0x21, V4),
        v2(0x21, 0x31, &[0; 215]),
        v2(0x21, 0x11, &cut_extension),
        v2(0x21, 0x11, &half_extension),
        v2(0x21, 0x00, &vec![0; 4097]),
    ] {
        assert!(parse(&header).is_err(), "{header:?}");
    }
}

#[test]
fn other_protocols_are_told_apart_at_the_first_byte_that_differs() {
    for other in [
        "GET / HTTP/1.1\r\n",
        "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
        "PROPFIND /",
        "\x16\x03\x01",
        "\r\nGET",
    ] {
        assert_eq!(parse(other.as_bytes()), Ok(Start::Absent), "{other:?}");
    }
    for unclear in ["", "P", "PRO", "\r\n", "\r\n\r\n"] {
        assert_eq!(
            parse(unclear.as_bytes()),
            Ok(Start::Incomplete),
            "{unclear:?}"
        );
    }
}

proptest! {
    /// No input panics, and whoever sends without end is refused before 5,000 bytes.
    #[test]
    fn any_bytes_are_judged(start in 0..3_usize, rest in prop::collection::vec(any::<u8>(), 0..5000)) {
        let signature: &[u8] = [&b""[..], V1_SIGNATURE, V2_SIGNATURE][start];
        let bytes = [signature, &rest].concat();
        match parse(&bytes) {
            Ok(Start::Incomplete) => prop_assert!(bytes.len() < V2_MAX),
            Ok(Start::Header { length, .. }) => prop_assert!(length <= bytes.len() && length <= V2_MAX),
            Ok(Start::Absent) | Err(Malformed(_)) => {}
        }
    }

    /// A header that comes byte by byte is `Incomplete` until its last byte, and then what it is as a whole.
    #[test]
    fn a_header_may_come_in_pieces(
        client in any::<SocketAddr>(), to in any::<u16>(), extension in prop::collection::vec(any::<u8>(), 0..300), old in any::<bool>(),
    ) {
        let client = SocketAddr::new(client.ip().to_canonical(), client.port());
        let server = SocketAddr::new(client.ip(), to);
        let header = if old { write_v1(client, server) } else { write_v2(client, server, &extension) };
        for cut in 0..header.len() {
            prop_assert_eq!(parse(&header[..cut]), Ok(Start::Incomplete));
        }
        let expected = Start::Header { length: header.len(), ends: Some(Ends { client, server }) };
        prop_assert_eq!(parse(&header), Ok(expected));
    }
}

fn write_v1(client: SocketAddr, server: SocketAddr) -> Vec<u8> {
    let family = if client.is_ipv4() { "TCP4" } else { "TCP6" };
    let (from, to) = (client.port(), server.port());
    format!(
        "PROXY {family} {} {} {from} {to}\r\n",
        client.ip(),
        server.ip()
    )
    .into_bytes()
}

fn write_v2(client: SocketAddr, server: SocketAddr, extension: &[u8]) -> Vec<u8> {
    let mut rest = Vec::new();
    for address in [client.ip(), server.ip()] {
        match address {
            IpAddr::V4(address) => rest.extend(address.octets()),
            IpAddr::V6(address) => rest.extend(address.octets()),
        }
    }
    rest.extend(client.port().to_be_bytes());
    rest.extend(server.port().to_be_bytes());
    rest.push(0xe0);
    rest.extend((extension.len() as u16).to_be_bytes());
    rest.extend(extension);
    v2(0x21, if client.is_ipv4() { 0x11 } else { 0x21 }, &rest)
}
