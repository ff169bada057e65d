//! Syslog messages (RFC 5424) over a local socket, UDP, TCP with counted octets (RFC 6587), or TLS (RFC 5425).
//!
//! Everything here may block for a while: it is called from a thread of its own, and asks its caller between two waits whether
//! to go on.

mod connection;
mod endpoint;

#[cfg(test)]
mod tests;

use std::{fmt, io, path::PathBuf, process, str::FromStr};

use self::connection::Connection;
pub use self::endpoint::{EndpointFault, check_endpoint};
use crate::Trust;

/// How a collector is reached.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Address {
    /// A socket such as `/dev/log`, of datagrams or of a stream.
    Unix(PathBuf),
    /// `HOST:PORT`
    Udp(String),
    /// `HOST:PORT`
    Tcp(String),
    /// `HOST:PORT`
    Tls(String),
}

/// How bad it is, in syslog's numbers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Severity {
    Error = 3,
    Warning = 4,
    Info = 6,
    Debug = 7,
}

/// What kind of program speaks, in syslog's numbers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Facility {
    Daemon = 3,
    Audit = 13,
}

/// What stands before each message.
pub struct Header {
    facility: Facility,
    /// Host, program and process, with a blank before and after.
    origin: String,
}

/// The connection to a collector, made when it is needed.
pub struct Sender {
    address: Address,
    trust: Trust,
    connection: Option<Connection>,
}

impl Address {
    /// `HOST:PORT` as Harbor has it, which is TCP, or with `udp://`, `tcp://` or `tls://` before it.
    pub fn of_endpoint(text: &str) -> Option<Self> {
        let (scheme, peer) = text.split_once("://").unwrap_or(("tcp", text));
        let peer = peer.trim_end_matches('/');
        if !is_peer(peer) {
            return None;
        }
        let peer = peer.to_owned();
        match scheme {
            "udp" => Some(Self::Udp(peer)),
            "tcp" => Some(Self::Tcp(peer)),
            "tls" => Some(Self::Tls(peer)),
            _ => None,
        }
    }
}

/// `unix:PATH`, `udp:HOST:PORT`, `tcp:HOST:PORT`, `tls:HOST:PORT`
impl FromStr for Address {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        match text.split_once(':') {
            Some(("unix", path)) if !path.is_empty() => Ok(Self::Unix(PathBuf::from(path))),
            Some((scheme @ ("udp" | "tcp" | "tls"), peer)) => {
                Self::of_endpoint(&format!("{scheme}://{peer}")).ok_or(())
            }
            _ => Err(()),
        }
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unix(path) => write!(f, "unix:{}", path.display()),
            Self::Udp(peer) => write!(f, "udp://{peer}"),
            Self::Tcp(peer) => write!(f, "tcp://{peer}"),
            Self::Tls(peer) => write!(f, "tls://{peer}"),
        }
    }
}

/// `HOST:PORT`, where an IPv6 address stands in brackets.
fn is_peer(text: &str) -> bool {
    let Some((host, port)) = text.rsplit_once(':') else {
        return false;
    };
    let bracketed = host.starts_with('[') && host.ends_with(']');
    let is_plain = host
        .bytes()
        .all(|byte| byte.is_ascii_graphic() && !b"/?#@".contains(&byte));
    !host.is_empty()
        && is_plain
        && (bracketed || !host.contains(':'))
        && port.parse::<u16>().is_ok_and(|port| port > 0)
}

impl Header {
    /// For messages of `program` on this node.
    pub fn new(facility: Facility, host: &str, program: &str) -> Self {
        let host: String = host
            .chars()
            .filter(char::is_ascii_graphic)
            .take(255)
            .collect();
        let host = if host.is_empty() { "-" } else { &host };
        Self {
            facility,
            origin: format!(" {host} {program} {} ", process::id()),
        }
    }

    /// `time` as RFC 3339 has it; `kind` is the MSGID, `-` for none. The structured data follow, `-` when there are none, and
    /// after a blank the text.
    pub fn write(&self, line: &mut Vec<u8>, severity: Severity, time: &[u8], kind: &str) {
        let priority = self.facility as u8 * 8 + severity as u8;
        line.extend_from_slice(format!("<{priority}>1 ").as_bytes());
        line.extend_from_slice(time);
        line.extend_from_slice(self.origin.as_bytes());
        line.extend_from_slice(kind.as_bytes());
        line.push(b' ');
    }
}

/// Writes text on one line: messages may travel as lines.
pub fn write_text(line: &mut Vec<u8>, text: &str) {
    for letter in text.chars() {
        let letter = if letter.is_control() { ' ' } else { letter };
        line.extend_from_slice(letter.encode_utf8(&mut [0; 4]).as_bytes());
    }
}

/// Writes ` name="value"` into structured data, on one line too.
pub fn write_param(line: &mut Vec<u8>, name: &str, value: &str) {
    line.push(b' ');
    line.extend_from_slice(name.as_bytes());
    line.extend_from_slice(b"=\"");
    for letter in value.chars() {
        match letter {
            '"' | '\\' | ']' => {
                line.push(b'\\');
                line.push(letter as u8);
            }
            letter if letter.is_control() => line.push(b' '),
            letter => line.extend_from_slice(letter.encode_utf8(&mut [0; 4]).as_bytes()),
        }
    }
    line.push(b'"');
}

impl Sender {
    pub fn new(address: Address, trust: Trust) -> Self {
        Self {
            address,
            trust,
            connection: None,
        }
    }

    /// Sends messages, each with a line's end behind it, and takes away from `rest` what was handed over. After an error the
    /// message that was not sent whole is still there, and the next call connects anew. A wait ends when `stop` says so.
    pub fn send(&mut self, rest: &mut &[u8], stop: &dyn Fn() -> bool) -> io::Result<()> {
        let sent = self
            .connected()
            .and_then(|connection| connection.send(rest, stop));
        if sent.is_err() {
            self.connection = None;
        }
        sent
    }

    /// Connects, if that is not so.
    pub fn connect(&mut self) -> io::Result<()> {
        self.connected().map(drop)
    }

    pub fn is_connected(&self) -> bool {
        self.connection.is_some()
    }

    pub fn disconnect(&mut self) {
        self.connection = None;
    }

    /// Whether the collector has hung up. Without this look the first messages after its restart would go nowhere, unnoticed.
    pub fn was_closed(&mut self) -> bool {
        self.connection.as_mut().is_some_and(Connection::was_closed)
    }

    /// Whether the other machine has acknowledged everything; datagrams nobody acknowledges.
    pub fn is_acknowledged(&self) -> io::Result<bool> {
        self.connection
            .as_ref()
            .map_or(Ok(true), Connection::is_acknowledged)
    }

    /// Says good-bye. True when the collector answered that, so that it has read everything.
    pub fn close(&mut self, stop: &dyn Fn() -> bool) -> bool {
        self.connection
            .take()
            .is_none_or(|connection| connection.close(stop))
    }

    fn connected(&mut self) -> io::Result<&mut Connection> {
        match &mut self.connection {
            Some(connection) => Ok(connection),
            slot @ None => Ok(slot.insert(Connection::open(&self.address, &self.trust)?)),
        }
    }
}
