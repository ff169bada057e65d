//! The PROXY protocol, versions 1 and 2 (haproxy's doc/proxy-protocol.txt): one header before anything else on a connection, in
//! which a proxy names the client. Whoever may connect could claim anything, so only trusted proxies are asked for it.

use std::{
    io,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
};

use tokio::io::{AsyncRead, AsyncWrite};

use super::stream::Stream;

const V1_SIGNATURE: &[u8] = b"PROXY ";
const V2_SIGNATURE: &[u8] = b"\r\n\r\n\0\r\nQUIT\n";
/// The longest line of version 1, with its end (section 2.1).
const V1_MAX: usize = 107;
const V2_FIXED: usize = 16;
/// Addresses take 216 bytes at most; the rest is left for extensions, which are skipped.
const V2_MAX: usize = V2_FIXED + 4096;

/// The ends of the proxied connection, as the proxy saw them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ends {
    pub client: SocketAddr,
    pub server: SocketAddr,
}

/// What stands at the beginning of a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Start {
    /// More bytes are needed to tell.
    Incomplete,
    /// Something else than the PROXY protocol.
    Absent,
    Header {
        /// Bytes that belong to the header.
        length: usize,
        /// None when the proxy speaks for itself (a health check) or does not know.
        ends: Option<Ends>,
    },
}

/// A header that breaks the protocol's rules.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("malformed PROXY protocol header: {0}")]
pub struct Malformed(&'static str);

/// Takes the header off the stream. None when the proxy names nobody, or when there is no header and none is `required`.
pub(super) async fn read<S>(stream: &mut Stream<S>, required: bool) -> io::Result<Option<Ends>>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    loop {
        match parse(stream.ahead()).map_err(io::Error::other)? {
            Start::Header { length, ends } => {
                stream.consume(length);
                return Ok(ends);
            }
            Start::Absent if required => return Err(io::Error::other(Malformed("it is missing"))),
            Start::Absent => return Ok(None),
            Start::Incomplete => {
                if !stream.read_ahead().await? {
                    return Err(io::ErrorKind::UnexpectedEof.into());
                }
            }
        }
    }
}

/// Reads a header from the first bytes of a connection. `Incomplete` is answered for at most 4112 bytes.
pub fn parse(bytes: &[u8]) -> Result<Start, Malformed> {
    if begins(bytes, V2_SIGNATURE) {
        parse_v2(bytes)
    } else if begins(bytes, V1_SIGNATURE) {
        parse_v1(bytes)
    } else {
        Ok(Start::Absent)
    }
}

/// As far as the bytes go, they are the signature.
fn begins(bytes: &[u8], signature: &[u8]) -> bool {
    let common = bytes.len().min(signature.len());
    bytes[..common] == signature[..common]
}

fn parse_v1(bytes: &[u8]) -> Result<Start, Malformed> {
    let window = &bytes[..bytes.len().min(V1_MAX)];
    let Some(end) = window.windows(2).position(|pair| pair == b"\r\n") else {
        return if bytes.len() < V1_MAX {
            Ok(Start::Incomplete)
        } else {
            Err(Malformed("the line has no end"))
        };
    };
    let line = str::from_utf8(&window[..end]).map_err(|_| Malformed("the line is not text"))?;
    let words: Vec<&str> = line.split(' ').collect();
    let ends = match words.as_slice() {
        ["PROXY", "UNKNOWN", ..] => None,
        ["PROXY", "TCP4", client, server, from, to] => Some(Ends {
            client: SocketAddr::new(v4(client)?, port(from)?),
            server: SocketAddr::new(v4(server)?, port(to)?),
        }),
        ["PROXY", "TCP6", client, server, from, to] => Some(Ends {
            client: SocketAddr::new(v6(client)?, port(from)?),
            server: SocketAddr::new(v6(server)?, port(to)?),
        }),
        _ => return Err(Malformed("the line has other words than it should")),
    };
    Ok(Start::Header {
        length: end + 2,
        ends,
    })
}

fn v4(text: &str) -> Result<IpAddr, Malformed> {
    let address: Ipv4Addr = text.parse().map_err(|_| Malformed("no IPv4 address"))?;
    Ok(address.into())
}

fn v6(text: &str) -> Result<IpAddr, Malformed> {
    let address: Ipv6Addr = text.parse().map_err(|_| Malformed("no IPv6 address"))?;
    Ok(IpAddr::V6(address).to_canonical())
}

fn port(text: &str) -> Result<u16, Malformed> {
    let clean = text.bytes().all(|b| b.is_ascii_digit()) && (text == "0" || !text.starts_with('0'));
    text.parse()
        .ok()
        .filter(|_| clean)
        .ok_or(Malformed("no port"))
}

fn parse_v2(bytes: &[u8]) -> Result<Start, Malformed> {
    let Some(fixed) = bytes.first_chunk::<V2_FIXED>() else {
        return Ok(Start::Incomplete);
    };
    let [.., version_and_command, family, high, low] = *fixed;
    let length = V2_FIXED + usize::from(u16::from_be_bytes([high, low]));
    let local = match version_and_command {
        0x20 => true,
        0x21 => false,
        _ => return Err(Malformed("unknown version or command")),
    };
    if length > V2_MAX {
        return Err(Malformed("longer than 4096 bytes"));
    }
    let Some(rest) = bytes.get(V2_FIXED..length) else {
        return Ok(Start::Incomplete);
    };
    // A proxy that speaks for itself may put anything after the fixed part.
    let ends = if local { None } else { v2_ends(family, rest)? };
    Ok(Start::Header { length, ends })
}

fn v2_ends(family: u8, rest: &[u8]) -> Result<Option<Ends>, Malformed> {
    const SHORT: Malformed = Malformed("too short for its addresses");
    let (ends, extensions) = match family {
        0x00 => return Ok(None),
        0x11 => {
            let (a, extensions) = rest.split_first_chunk::<12>().ok_or(SHORT)?;
            let ends = Ends {
                client: SocketAddr::from((
                    [a[0], a[1], a[2], a[3]],
                    u16::from_be_bytes([a[8], a[9]]),
                )),
                server: SocketAddr::from((
                    [a[4], a[5], a[6], a[7]],
                    u16::from_be_bytes([a[10], a[11]]),
                )),
            };
            (Some(ends), extensions)
        }
        0x21 => {
            let (a, extensions) = rest.split_first_chunk::<36>().ok_or(SHORT)?;
            let address = |at: usize| {
                let octets: [u8; 16] = a[at..at + 16].try_into().expect("16 of 36 bytes");
                IpAddr::from(octets).to_canonical()
            };
            let ends = Ends {
                client: SocketAddr::new(address(0), u16::from_be_bytes([a[32], a[33]])),
                server: SocketAddr::new(address(16), u16::from_be_bytes([a[34], a[35]])),
            };
            (Some(ends), extensions)
        }
        // A unix socket on the proxy's machine has no address that would mean anything here.
        0x31 => (None, rest.get(216..).ok_or(SHORT)?),
        _ => return Err(Malformed("neither TCP nor a unix stream")),
    };
    skip_extensions(extensions)?;
    Ok(ends)
}

/// Each is a type, a length and so many bytes; together they fill the header.
fn skip_extensions(mut rest: &[u8]) -> Result<(), Malformed> {
    while let [_kind, high, low, value @ ..] = rest {
        let length = usize::from(u16::from_be_bytes([*high, *low]));
        rest = value
            .get(length..)
            .ok_or(Malformed("an extension is cut off"))?;
    }
    if rest.is_empty() {
        Ok(())
    } else {
        Err(Malformed("an extension is cut off"))
    }
}

#[cfg(test)]
mod tests;
