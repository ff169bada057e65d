//! One connection to a collector.

use std::{
    io::{self, Read, Write},
    net::{Shutdown, SocketAddr, TcpStream, ToSocketAddrs, UdpSocket},
    os::{
        fd::{AsFd, BorrowedFd},
        unix::net::{UnixDatagram, UnixStream},
    },
    time::{Duration, Instant},
};

use rustix::net::{RecvFlags, recv};
use rustls::{ClientConnection, StreamOwned};
use rustls_pki_types::ServerName;

use super::Address;
use crate::Trust;

const CONNECT_TIMEOUT: Duration = Duration::from_secs(2);
const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(5);
/// One blocked write or read; between two the caller is asked whether to go on.
const WAIT: Duration = Duration::from_millis(500);
/// A collector that takes nothing for so long is called anew.
const STUCK_AFTER: Duration = Duration::from_secs(30);
/// How long the answer to a good-bye may take.
const GOODBYE: Duration = Duration::from_secs(1);

type TlsStream = StreamOwned<ClientConnection, TcpStream>;

pub(super) enum Connection {
    Datagrams(UnixDatagram),
    Stream(UnixStream),
    Udp(UdpSocket),
    Tcp(TcpStream),
    Tls(Box<TlsStream>),
}

impl Connection {
    pub(super) fn open(address: &Address, trust: &Trust) -> io::Result<Self> {
        match address {
            Address::Unix(path) => {
                let datagrams = UnixDatagram::unbound()?;
                if datagrams.connect(path).is_ok() {
                    datagrams.set_write_timeout(Some(WAIT))?;
                    return Ok(Self::Datagrams(datagrams));
                }
                let stream = UnixStream::connect(path)?;
                stream.set_write_timeout(Some(WAIT))?;
                Ok(Self::Stream(stream))
            }
            Address::Udp(peer) => each_address(peer, |peer| {
                let any = if peer.is_ipv4() {
                    "0.0.0.0:0"
                } else {
                    "[::]:0"
                };
                let socket = UdpSocket::bind(any)?;
                socket.connect(peer)?;
                Ok(Self::Udp(socket))
            }),
            Address::Tcp(peer) => each_address(peer, tcp).map(Self::Tcp),
            Address::Tls(peer) => tls(peer, trust).map(|stream| Self::Tls(Box::new(stream))),
        }
    }

    pub(super) fn was_closed(&mut self) -> bool {
        match self {
            Self::Stream(stream) => is_at_end(stream.as_fd()),
            Self::Tcp(stream) => is_at_end(stream.as_fd()),
            Self::Tls(stream) => is_at_end_of_tls(stream),
            Self::Datagrams(_) | Self::Udp(_) => false,
        }
    }

    pub(super) fn is_acknowledged(&self) -> io::Result<bool> {
        match self {
            Self::Tcp(stream) => unacknowledged(stream.as_fd()).map(|bytes| bytes == 0),
            Self::Tls(stream) => unacknowledged(stream.sock.as_fd()).map(|bytes| bytes == 0),
            Self::Stream(_) | Self::Datagrams(_) | Self::Udp(_) => Ok(true),
        }
    }

    /// Sends lines from the front of `rest` and takes away what was sent. After an error the line that was not sent whole is still there.
    pub(super) fn send(&mut self, rest: &mut &[u8], stop: &dyn Fn() -> bool) -> io::Result<()> {
        while let Some(end) = rest.iter().position(|&byte| byte == b'\n') {
            let message = &rest[..end];
            match self {
                Self::Datagrams(socket) => patiently(stop, || socket.send(message))
                    .map(drop)
                    .or_else(too_long)?,
                Self::Udp(socket) => {
                    // The first error may speak of an earlier message; the second speaks of this one.
                    let sent = socket.send(message).or_else(|_| socket.send(message));
                    sent.map(drop).or_else(too_long)?;
                }
                Self::Stream(stream) => send_all(stop, stream, &rest[..=end])?,
                Self::Tcp(stream) => send_all(stop, stream, &counted(message))?,
                Self::Tls(stream) => {
                    send_all(stop, stream, &counted(message))?;
                    patiently(stop, || stream.flush())?;
                }
            }
            *rest = &rest[end + 1..];
        }
        Ok(())
    }

    /// True when the other side has read to the end and says so: one that died, or closed without reading, resets.
    pub(super) fn close(mut self, stop: &dyn Fn() -> bool) -> bool {
        let begun = Instant::now();
        let said = match &mut self {
            Self::Tcp(stream) => stream.shutdown(Shutdown::Write),
            Self::Tls(stream) => {
                stream.conn.send_close_notify();
                patiently(stop, || stream.flush())
                    .and_then(|()| stream.sock.shutdown(Shutdown::Write))
            }
            Self::Stream(_) | Self::Datagrams(_) | Self::Udp(_) => return true,
        };
        let socket = match &self {
            Self::Tcp(stream) => stream,
            Self::Tls(stream) => &stream.sock,
            Self::Stream(_) | Self::Datagrams(_) | Self::Udp(_) => return true,
        };
        if said.is_err() || socket.set_read_timeout(Some(WAIT / 5)).is_err() {
            return false;
        }
        let (mut socket, mut bytes) = (socket, [0; 4096]);
        while begun.elapsed() < GOODBYE && !stop() {
            match socket.read(&mut bytes) {
                Ok(0) => return true,
                Ok(_) => {}
                Err(error) if is_wait(&error) => {}
                Err(_) => return false,
            }
        }
        false
    }
}

fn tcp(peer: SocketAddr) -> io::Result<TcpStream> {
    let stream = TcpStream::connect_timeout(&peer, CONNECT_TIMEOUT)?;
    stream.set_write_timeout(Some(WAIT))?;
    Ok(stream)
}

fn tls(peer: &str, trust: &Trust) -> io::Result<TlsStream> {
    let host = peer.rsplit_once(':').map_or(peer, |(host, _)| host);
    let name = ServerName::try_from(host.trim_matches(['[', ']']).to_owned())
        .map_err(|error| io::Error::new(io::ErrorKind::InvalidInput, error))?;
    let connection =
        ClientConnection::new(trust.roots().tls.clone(), name).map_err(io::Error::other)?;
    let mut stream = StreamOwned::new(connection, each_address(peer, tcp)?);
    stream.sock.set_read_timeout(Some(WAIT))?;
    let begun = Instant::now();
    while stream.conn.is_handshaking() {
        match stream.conn.complete_io(&mut stream.sock) {
            Err(error) if !is_wait(&error) || begun.elapsed() > HANDSHAKE_TIMEOUT => {
                return Err(error);
            }
            Ok(_) | Err(_) => {}
        }
    }
    Ok(stream)
}

/// What a collector says is of no interest, and is read away: only its end is.
fn is_at_end(socket: BorrowedFd<'_>) -> bool {
    for _ in 0..16 {
        let mut bytes = [0_u8; 4096];
        match recv(socket, &mut bytes, RecvFlags::DONTWAIT) {
            Ok((_, 0)) | Err(rustix::io::Errno::CONNRESET | rustix::io::Errno::PIPE) => {
                return true;
            }
            Ok(_) => {}
            Err(_) => return false,
        }
    }
    false
}

/// Session tickets come in without being asked for, so that bytes to read do not mean that the connection stands.
fn is_at_end_of_tls(stream: &mut TlsStream) -> bool {
    for _ in 0..16 {
        let mut byte = [0_u8; 1];
        match recv(
            stream.sock.as_fd(),
            &mut byte,
            RecvFlags::PEEK | RecvFlags::DONTWAIT,
        ) {
            Ok((_, 0)) | Err(rustix::io::Errno::CONNRESET | rustix::io::Errno::PIPE) => {
                return true;
            }
            Err(_) => return false,
            Ok(_) => {}
        }
        if stream.conn.read_tls(&mut stream.sock).is_err() {
            return true;
        }
        match stream.conn.process_new_packets() {
            Ok(state) if !state.peer_has_closed() => {
                let mut said = vec![0; state.plaintext_bytes_to_read()];
                let _ = stream.conn.reader().read(&mut said);
            }
            Ok(_) | Err(_) => return true,
        }
    }
    false
}

/// Bytes that the kernel has taken and the other machine has not acknowledged.
#[expect(
    unsafe_code,
    reason = "no safe call asks for it, and without it what lay in a dead connection's buffer would count as sent"
)]
fn unacknowledged(socket: BorrowedFd<'_>) -> io::Result<libc::c_int> {
    use rustix::ioctl::{Getter, Opcode, ioctl};
    // SAFETY: this request writes one `int`, and takes nothing (tcp(7), SIOCOUTQ).
    let count = unsafe {
        ioctl(
            socket,
            Getter::<{ libc::TIOCOUTQ as Opcode }, libc::c_int>::new(),
        )
    };
    Ok(count?)
}

/// A message with its length before it.
fn counted(message: &[u8]) -> Vec<u8> {
    let mut frame = format!("{} ", message.len()).into_bytes();
    frame.extend_from_slice(message);
    frame
}

/// A message that this socket can never send is given up; waiting would hold up all others.
fn too_long(error: io::Error) -> io::Result<()> {
    let never = error.raw_os_error() == Some(rustix::io::Errno::MSGSIZE.raw_os_error());
    if never { Ok(()) } else { Err(error) }
}

/// The first of a name's addresses that works.
fn each_address<T>(peer: &str, open: impl Fn(SocketAddr) -> io::Result<T>) -> io::Result<T> {
    let mut last = io::ErrorKind::AddrNotAvailable.into();
    for address in peer.to_socket_addrs()? {
        match open(address) {
            Ok(connection) => return Ok(connection),
            Err(error) => last = error,
        }
    }
    Err(last)
}

fn send_all(stop: &dyn Fn() -> bool, stream: &mut impl Write, bytes: &[u8]) -> io::Result<()> {
    let mut rest = bytes;
    while !rest.is_empty() {
        match patiently(stop, || stream.write(rest))? {
            0 => return Err(io::ErrorKind::WriteZero.into()),
            sent => rest = &rest[sent..],
        }
    }
    Ok(())
}

/// Repeats a write that met a full socket, until the collector seems dead or the caller has no more time.
fn patiently<T>(
    stop: &dyn Fn() -> bool,
    mut write: impl FnMut() -> io::Result<T>,
) -> io::Result<T> {
    let start = Instant::now();
    loop {
        match write() {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) if is_wait(&error) => {
                if stop() || start.elapsed() >= STUCK_AFTER {
                    return Err(error);
                }
            }
            result => return result,
        }
    }
}

fn is_wait(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut | io::ErrorKind::Interrupted
    )
}
