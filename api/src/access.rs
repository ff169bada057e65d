//! What is known of one request when its answer has ended, and the id under which both sides speak of it.
//!
//! The record borrows: it is built, handed to the log and gone, so that logging a request allocates nothing. Its fields appear
//! under the same names in the access log (docs/logs.md) and stay as they are.

use std::{fmt, net::IpAddr, sync::Arc, time::Duration};

use http::HeaderValue;
use model::time::Timestamp;

/// Takes the record of each finished request. It formats into memory and never waits for the log's target.
pub type AccessLog = Arc<dyn Fn(&AccessRecord<'_>) + Send + Sync>;

/// One request and its answer.
#[derive(Clone, Copy, Debug)]
pub struct AccessRecord<'a> {
    /// When the request's head was read.
    pub time: Timestamp,
    pub request_id: &'a str,
    /// The client's own address, behind trusted proxies too; none on a unix socket.
    pub client: Option<IpAddr>,
    /// The name of the user or robot; none for an anonymous request.
    pub identity: Option<&'a str>,
    pub method: &'a str,
    /// The host the client asked for.
    pub host: Option<&'a str>,
    /// The path without its query, which may hold secrets.
    pub path: &'a str,
    /// The kind of request, such as `blob.get`; a fixed and small set, also used as a label of metrics.
    pub route: &'static str,
    pub project: Option<&'a str>,
    /// The full name, project included.
    pub repository: Option<&'a str>,
    /// What the request is about: named by it, or found behind its tag.
    pub digest: Option<&'a str>,
    /// The tag, where the request's path names one.
    pub reference: Option<&'a str>,
    /// 499 when the client went away before there was an answer.
    pub status: u16,
    /// Bytes of the request's body that were read.
    pub bytes_in: u64,
    /// Bytes of the answer's body that were sent.
    pub bytes_out: u64,
    /// From the request's head to the last byte of the answer.
    pub duration: Duration,
    /// `HTTP/1.1` or `HTTP/2`.
    pub protocol: &'a str,
    pub user_agent: Option<&'a str>,
    /// The connection ended before the answer did.
    pub aborted: bool,
}

/// The id of a request: the client's own (`X-Request-Id`) where it is usable, else 32 random hexadecimal digits. Kept as the
/// header that every answer carries; its text is visible ASCII.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RequestId(HeaderValue);

impl RequestId {
    /// Longer ids are replaced: they would stand in every log line.
    pub const MAX_LEN: usize = 128;

    /// Takes over what the client sent when it is 1 to 128 visible ASCII characters, else makes a new one.
    pub fn from_header(sent: Option<&HeaderValue>) -> Self {
        let usable = |id: &&HeaderValue| {
            (1..=Self::MAX_LEN).contains(&id.len())
                && id.as_bytes().iter().all(u8::is_ascii_graphic)
        };
        sent.filter(usable).cloned().map_or_else(Self::random, Self)
    }

    /// Makes a new id. The generator is the thread's own: no lock, no system call.
    pub fn random() -> Self {
        const DIGITS: &[u8; 16] = b"0123456789abcdef";
        let mut text = [0; 32];
        let mut bits: u128 = rand::random();
        for digit in &mut text {
            *digit = DIGITS[(bits & 15) as usize];
            bits >>= 4;
        }
        Self(HeaderValue::from_bytes(&text).expect("hexadecimal digits fit a header"))
    }

    pub fn as_str(&self) -> &str {
        self.0.to_str().expect("only visible ASCII is taken over")
    }

    pub fn header(&self) -> HeaderValue {
        self.0.clone()
    }
}

impl fmt::Display for RequestId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_of_visible_ascii_is_kept() {
        let longest = [b'x'; 128];
        for sent in [&b"a"[..], b"01J-abc/{}!~", &longest] {
            let sent = HeaderValue::from_bytes(sent).expect("a header");
            assert_eq!(RequestId::from_header(Some(&sent)).header(), sent);
        }
    }

    #[test]
    fn any_other_id_is_replaced() {
        let too_long = [b'x'; 129];
        for sent in [
            None,
            Some(&b""[..]),
            Some(b"two words"),
            Some(b"a\ttab"),
            Some("é".as_bytes()),
            Some(&too_long),
        ] {
            let sent = sent.map(|sent| HeaderValue::from_bytes(sent).expect("a header"));
            let id = RequestId::from_header(sent.as_ref());
            assert_ne!(sent, Some(id.header()));
            assert_eq!(id.as_str().len(), 32);
            assert!(id.as_str().bytes().all(|b| b.is_ascii_hexdigit()));
        }
    }

    #[test]
    fn new_ids_differ() {
        assert_ne!(RequestId::random(), RequestId::random());
    }
}
