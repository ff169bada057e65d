//! Query strings: pairs out of `a=b&c=d`, and the escaping that a `Link` header needs.
//!
//! Reading is lenient, as clients are: a broken escape stands for itself and a `+` is a blank. A value that must be
//! right (a digest, a name) is judged by its own type afterwards. Trap: an unescaped `application/x+json` arrives
//! with a blank.

use std::borrow::Cow;

/// The pairs of a query string, in order, decoded. A key without `=` has an empty value.
pub fn pairs(query: &str) -> impl Iterator<Item = (Cow<'_, str>, Cow<'_, str>)> {
    query
        .split('&')
        .filter(|pair| !pair.is_empty())
        .map(|pair| {
            let (key, value) = pair.split_once('=').unwrap_or((pair, ""));
            (decode(key), decode(value))
        })
}

/// The first value of a key.
pub fn first<'a>(query: &'a str, key: &str) -> Option<Cow<'a, str>> {
    all(query, key).next()
}

/// Every value of a key that may be repeated.
pub fn all<'a>(query: &'a str, key: &str) -> impl Iterator<Item = Cow<'a, str>> {
    pairs(query)
        .filter(move |(found, _)| found == key)
        .map(|(_, value)| value)
}

/// Undoes the escaping of one key or value.
pub fn decode(text: &str) -> Cow<'_, str> {
    if !text.bytes().any(|byte| matches!(byte, b'%' | b'+')) {
        return Cow::Borrowed(text);
    }
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let [byte, tail @ ..] = rest {
        let (decoded, next) = match (byte, escape(rest)) {
            (_, Some(decoded)) => (decoded, &rest[3..]),
            (b'+', None) => (b' ', tail),
            (byte, None) => (*byte, tail),
        };
        bytes.push(decoded);
        rest = next;
    }
    Cow::Owned(
        String::from_utf8(bytes)
            .unwrap_or_else(|error| String::from_utf8_lossy(error.as_bytes()).into_owned()),
    )
}

/// The byte that a leading `%xx` stands for.
pub(crate) fn escape(bytes: &[u8]) -> Option<u8> {
    let [b'%', high, low, ..] = bytes else {
        return None;
    };
    let digit = |byte: u8| char::from(byte).to_digit(16);
    Some((digit(*high)? << 4 | digit(*low)?) as u8)
}

/// Escapes a text so that it can stand as a value in a query: all but RFC 3986's unreserved characters.
pub fn encode(text: &str) -> Cow<'_, str> {
    let unreserved =
        |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_' | b'~');
    if text.bytes().all(unreserved) {
        return Cow::Borrowed(text);
    }
    let mut encoded = String::with_capacity(text.len() * 3);
    for byte in text.bytes() {
        if unreserved(byte) {
            encoded.push(char::from(byte));
        } else {
            const DIGITS: &[u8; 16] = b"0123456789ABCDEF";
            encoded.push('%');
            encoded.push(char::from(DIGITS[usize::from(byte >> 4)]));
            encoded.push(char::from(DIGITS[usize::from(byte & 15)]));
        }
    }
    Cow::Owned(encoded)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pairs_come_out_decoded_and_in_order() {
        for (query, expected) in [
            ("", &[] as &[(&str, &str)]),
            ("n=5&last=v1", &[("n", "5"), ("last", "v1")]),
            (
                "tag=a&tag=b&tag=",
                &[("tag", "a"), ("tag", "b"), ("tag", "")],
            ),
            ("digest=sha256%3Aab", &[("digest", "sha256:ab")]),
            ("from=lib%2fx", &[("from", "lib/x")]),
            ("&&a&=b&c=d=e", &[("a", ""), ("", "b"), ("c", "d=e")]),
            ("a=b+c%20d%2Be", &[("a", "b c d+e")]),
            (
                "a=%&b=%4&c=%zz&d=%%41",
                &[("a", "%"), ("b", "%4"), ("c", "%zz"), ("d", "%A")],
            ),
            ("a=%ff&b=%c3%a4", &[("a", "\u{fffd}"), ("b", "ä")]),
        ] {
            let found: Vec<_> = pairs(query).collect();
            let found: Vec<_> = found
                .iter()
                .map(|(key, value)| (key.as_ref(), value.as_ref()))
                .collect();
            assert_eq!(found, expected, "`{query}`");
        }
    }

    #[test]
    fn a_key_is_found_once_or_often() {
        assert_eq!(first("tag=a&tag=b", "tag").as_deref(), Some("a"));
        assert_eq!(first("tag=a", "n"), None);
        assert_eq!(
            all("tag=a&n=1&tag=b", "tag").collect::<Vec<_>>(),
            ["a", "b"]
        );
    }

    #[test]
    fn encoding_is_undone_by_decoding() {
        for (text, encoded) in [
            ("v1.0-rc_1~", "v1.0-rc_1~"),
            ("lib/x", "lib%2Fx"),
            ("a b+c&d=ä", "a%20b%2Bc%26d%3D%C3%A4"),
        ] {
            assert_eq!(encode(text), encoded);
            assert_eq!(decode(encoded), text);
        }
    }
}
