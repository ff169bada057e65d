//! Lines as syslog messages (RFC 5424), over a local socket, UDP, or TCP with counted octets (RFC 6587).
//!
//! Everything here may block or fail for long: it runs on the sink's own thread, which tries again with growing pauses while the
//! bounded queue fills.

use std::{
    io,
    net::{TcpStream, ToSocketAddrs, UdpSocket},
    os::{
        fd::AsFd,
        unix::net::{UnixDatagram, UnixStream},
    },
    process,
    time::{Duration, Instant},
};

use model::time::Timestamp;
use rustix::net::{RecvFlags, recv};

use super::{
    line::rfc3339,
    sink::{Severity, Shared, count_lines},
    target::SyslogAddress,
};

/// The facility `daemon`.
const FACILITY: u8 = 3;

const CONNECT_TIMEOUT: Duration = Duration::from_secs(2);

/// One blocked write; between two the thread looks whether the process stops.
const WRITE_TIMEOUT: Duration = Duration::from_millis(500);

/// A server that takes nothing for so long is called anew.
const STUCK_AFTER: Duration = Duration::from_secs(30);

const FIRST_PAUSE: Duration = Duration::from_millis(250);

const LONGEST_PAUSE: Duration = Duration::from_secs(15);

/// What stands before each message.
pub(super) struct Header {
    /// Host, program and process, with a blank before and after.
    origin: String,
}

impl Header {
    pub(super) fn new(host: &str) -> Self {
        let host: String = host
            .chars()
            .filter(char::is_ascii_graphic)
            .take(255)
            .collect();
        let host = if host.is_empty() { "-" } else { &host };
        Self {
            origin: format!(" {host} seawall {} - - ", process::id()),
        }
    }

    pub(super) fn write(&self, line: &mut Vec<u8>, severity: Severity, now: Timestamp) {
        let priority = FACILITY * 8 + severity as u8;
        line.extend_from_slice(&[
            b'<',
            b'0' + priority / 10,
            b'0' + priority % 10,
            b'>',
            b'1',
            b' ',
        ]);
        line.extend_from_slice(&rfc3339(now));
        line.extend_from_slice(self.origin.as_bytes());
    }
}

/// The connection to a syslog server, made when it is needed.
pub(super) struct Syslog {
    address: SyslogAddress,
    connection: Option<Connection>,
}

enum Connection {
    Datagrams(UnixDatagram),
    Stream(UnixStream),
    Udp(UdpSocket),
    Tcp(TcpStream),
}

impl Syslog {
    pub(super) fn new(address: SyslogAddress) -> Self {
        Self {
            address,
            connection: None,
        }
    }

    /// Sends whole lines, trying again until they are sent or the process stops. Returns how many lines were lost.
    pub(super) fn write(&mut self, lines: &[u8], shared: &Shared) -> u64 {
        let mut rest = lines;
        let mut pause = FIRST_PAUSE;
        if self.connection.as_ref().is_some_and(Connection::is_closed) {
            self.connection = None;
        }
        while !rest.is_empty() {
            let before = rest.len();
            let failed = match self.connected() {
                Ok(connection) => connection.send(&mut rest, shared).is_err(),
                Err(_) => true,
            };
            if failed {
                self.connection = None;
                if shared.gave_up() {
                    return count_lines(rest);
                }
                pause = if rest.len() < before {
                    FIRST_PAUSE
                } else {
                    (pause * 2).min(LONGEST_PAUSE)
                };
                shared.pause(pause);
            }
        }
        0
    }

    fn connected(&mut self) -> io::Result<&mut Connection> {
        match &mut self.connection {
            Some(connection) => Ok(connection),
            slot @ None => Ok(slot.insert(Connection::open(&self.address)?)),
        }
    }
}

impl Connection {
    fn open(address: &SyslogAddress) -> io::Result<Self> {
        match address {
            SyslogAddress::Unix(path) => {
                let datagrams = UnixDatagram::unbound()?;
                if datagrams.connect(path).is_ok() {
                    datagrams.set_write_timeout(Some(WRITE_TIMEOUT))?;
                    return Ok(Self::Datagrams(datagrams));
                }
                let stream = UnixStream::connect(path)?;
                stream.set_write_timeout(Some(WRITE_TIMEOUT))?;
                Ok(Self::Stream(stream))
            }
            SyslogAddress::Udp(peer) => each_address(peer, |peer| {
                let any = if peer.is_ipv4() {
                    "0.0.0.0:0"
                } else {
                    "[::]:0"
                };
                let socket = UdpSocket::bind(any)?;
                socket.connect(peer)?;
                Ok(Self::Udp(socket))
            }),
            SyslogAddress::Tcp(peer) => each_address(peer, |peer| {
                let stream = TcpStream::connect_timeout(&peer, CONNECT_TIMEOUT)?;
                stream.set_write_timeout(Some(WRITE_TIMEOUT))?;
                Ok(Self::Tcp(stream))
            }),
        }
    }

    /// Whether the server has hung up. Without this look the first lines after its restart would go nowhere, unnoticed.
    fn is_closed(&self) -> bool {
        let at_end = |socket: &dyn AsFd| {
            let mut byte = [0_u8; 1];
            let seen = recv(
                socket.as_fd(),
                &mut byte,
                RecvFlags::PEEK | RecvFlags::DONTWAIT,
            );
            matches!(seen, Ok((_, 0)) | Err(rustix::io::Errno::CONNRESET))
        };
        match self {
            Self::Stream(stream) => at_end(stream),
            Self::Tcp(stream) => at_end(stream),
            Self::Datagrams(_) | Self::Udp(_) => false,
        }
    }

    /// Sends lines from the front of `rest` and takes away what was sent. After an error the line that was not sent whole is still there.
    fn send(&mut self, rest: &mut &[u8], shared: &Shared) -> io::Result<()> {
        while let Some(end) = rest.iter().position(|&byte| byte == b'\n') {
            let message = &rest[..end];
            match self {
                Self::Datagrams(socket) => patiently(shared, || socket.send(message))
                    .map(drop)
                    .or_else(too_long)?,
                Self::Udp(socket) => {
                    // The first error may speak of an earlier message; the second speaks of this one.
                    let sent = socket.send(message).or_else(|_| socket.send(message));
                    sent.map(drop).or_else(too_long)?;
                }
                Self::Stream(stream) => send_all(shared, stream, &rest[..=end])?,
                Self::Tcp(stream) => {
                    let mut frame = format!("{} ", message.len()).into_bytes();
                    frame.extend_from_slice(message);
                    send_all(shared, stream, &frame)?;
                }
            }
            *rest = &rest[end + 1..];
        }
        Ok(())
    }
}

/// A message that this socket can never send is given up; waiting would hold up all others.
fn too_long(error: io::Error) -> io::Result<()> {
    let never = error.raw_os_error() == Some(rustix::io::Errno::MSGSIZE.raw_os_error());
    if never { Ok(()) } else { Err(error) }
}

/// The first of a name's addresses that works.
fn each_address<T>(
    peer: &str,
    open: impl Fn(std::net::SocketAddr) -> io::Result<T>,
) -> io::Result<T> {
    let mut last = io::ErrorKind::AddrNotAvailable.into();
    for address in peer.to_socket_addrs()? {
        match open(address) {
            Ok(connection) => return Ok(connection),
            Err(error) => last = error,
        }
    }
    Err(last)
}

fn send_all(shared: &Shared, stream: &mut impl io::Write, bytes: &[u8]) -> io::Result<()> {
    let mut rest = bytes;
    while !rest.is_empty() {
        match patiently(shared, || stream.write(rest))? {
            0 => return Err(io::ErrorKind::WriteZero.into()),
            sent => rest = &rest[sent..],
        }
    }
    Ok(())
}

/// Repeats a write that met a full socket, until the server seems dead or the process stops.
fn patiently(shared: &Shared, mut write: impl FnMut() -> io::Result<usize>) -> io::Result<usize> {
    let start = Instant::now();
    loop {
        match write() {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error)
                if matches!(
                    error.kind(),
                    io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut
                ) =>
            {
                if shared.gave_up() || start.elapsed() >= STUCK_AFTER {
                    return Err(error);
                }
            }
            result => return result,
        }
    }
}
