//! The least HTTP/1.1 client that a benchmark needs: one blocking connection, kept alive, a request written in
//! one piece, large answers thrown away inside the kernel.

use std::{
    io::{Read, Write},
    net::{SocketAddr, TcpStream},
    time::Duration,
};

use anyhow::{Context, bail, ensure};
use rustix::net::{RecvFlags, recv};

use crate::content::{Content, Pool};

/// A server that is silent for so long has failed its measure.
const PATIENCE: Duration = Duration::from_mins(2);
const HEAD_LIMIT: usize = 64 << 10;
const BODY_LIMIT: u64 = 16 << 20;
const DISCARD: usize = 1 << 20;

pub struct Request<'a> {
    pub method: &'a str,
    pub target: &'a str,
    /// Header lines, each with its CRLF.
    pub headers: &'a str,
    pub body: Body<'a>,
}

#[derive(Clone, Copy)]
pub enum Body<'a> {
    None,
    Bytes(&'a [u8]),
    Large(&'a Pool, &'a Content),
}

impl Body<'_> {
    fn len(&self) -> u64 {
        match self {
            Body::None => 0,
            Body::Bytes(bytes) => bytes.len() as u64,
            Body::Large(_, content) => content.len,
        }
    }
}

/// The parts of an answer's head that the measures look at.
#[derive(Debug, Default, PartialEq)]
pub struct Head {
    pub status: u16,
    pub length: Option<u64>,
    pub location: Option<String>,
    pub digest: Option<String>,
    chunked: bool,
    close: bool,
}

pub struct Response {
    pub head: Head,
    pub body: Vec<u8>,
}

pub struct Connection {
    address: SocketAddr,
    stream: TcpStream,
    /// Bytes read and not yet used.
    ahead: Vec<u8>,
    /// Never written: the kernel wants an address although it throws the bytes away.
    nowhere: Box<[u8]>,
    closed: bool,
}

impl Connection {
    pub fn open(address: SocketAddr) -> anyhow::Result<Self> {
        Ok(Self {
            address,
            stream: connect(address)?,
            ahead: Vec::with_capacity(HEAD_LIMIT),
            nowhere: vec![0; DISCARD].into_boxed_slice(),
            closed: false,
        })
    }

    /// Sends a request and reads the whole answer.
    pub fn call(&mut self, request: &Request<'_>) -> anyhow::Result<Response> {
        let head = self.exchange(request)?;
        let body = if has_no_body(request.method, &head) {
            Vec::new()
        } else if head.chunked {
            self.read_chunked()?
        } else {
            let length = head.length.with_context(|| {
                format!(
                    "{} {}: {} without Content-Length",
                    request.method, request.target, head.status
                )
            })?;
            self.read_body(length)?
        };
        self.closed = head.close;
        Ok(Response { head, body })
    }

    /// Sends a GET and throws the body away; returns its length, which is the announced one.
    pub fn discard(&mut self, request: &Request<'_>) -> anyhow::Result<u64> {
        let head = self.exchange(request)?;
        ensure!(
            head.status == 200,
            "{} {}: status {}",
            request.method,
            request.target,
            head.status
        );
        let length = head.length.context("an answer without Content-Length")?;
        let ahead = (self.ahead.len() as u64).min(length) as usize;
        self.ahead.drain(..ahead);
        let mut left = length - ahead as u64;
        while left > 0 {
            let most = (self.nowhere.len() as u64).min(left) as usize;
            // On TCP MSG_TRUNC drops the bytes instead of copying them; MSG_WAITALL keeps this thread asleep
            // until there is enough to drop.
            let flags = RecvFlags::TRUNC | RecvFlags::WAITALL;
            match recv(&self.stream, &mut self.nowhere[..most], flags) {
                Ok((_, 0)) => bail!("the answer ended {left} bytes early"),
                Ok((_, n)) => left -= n as u64,
                Err(rustix::io::Errno::INTR) => {}
                Err(e) => return Err(e).context("reading the answer"),
            }
        }
        self.closed = head.close;
        Ok(length)
    }

    fn exchange(&mut self, request: &Request<'_>) -> anyhow::Result<Head> {
        if self.closed {
            self.stream = connect(self.address)?;
            self.ahead.clear();
            self.closed = false;
        }
        let sent = self.send(request);
        // A server that refuses early closes while we still send: its answer says more than our EPIPE.
        match self.read_head() {
            Ok(head) if sent.is_ok() => Ok(head),
            Ok(head) => bail!(
                "{} {}: refused with {}",
                request.method,
                request.target,
                head.status
            ),
            Err(e) => {
                sent.with_context(|| format!("sending {} {}", request.method, request.target))?;
                Err(e).with_context(|| format!("{} {}", request.method, request.target))
            }
        }
    }

    fn send(&mut self, request: &Request<'_>) -> anyhow::Result<()> {
        let mut bytes = head_of(self.address, request);
        match request.body {
            Body::None => Ok(self.stream.write_all(&bytes)?),
            Body::Bytes(body) => {
                bytes.extend_from_slice(body);
                Ok(self.stream.write_all(&bytes)?)
            }
            Body::Large(pool, content) => {
                self.stream.write_all(&bytes)?;
                pool.send(content, &self.stream)
            }
        }
    }

    fn read_head(&mut self) -> anyhow::Result<Head> {
        loop {
            if let Some((head, used)) = parse_head(&self.ahead)? {
                self.ahead.drain(..used);
                if head.status >= 200 {
                    return Ok(head);
                }
                continue;
            }
            ensure!(
                self.ahead.len() < HEAD_LIMIT,
                "an answer's head over 64 KiB"
            );
            self.read_more()?;
        }
    }

    fn read_body(&mut self, length: u64) -> anyhow::Result<Vec<u8>> {
        ensure!(
            length <= BODY_LIMIT,
            "an answer of {length} bytes where a small one was due"
        );
        while (self.ahead.len() as u64) < length {
            self.read_more()?;
        }
        Ok(self.ahead.drain(..length as usize).collect())
    }

    fn read_chunked(&mut self) -> anyhow::Result<Vec<u8>> {
        let mut body = Vec::new();
        loop {
            let line = self.read_line()?;
            let size = line.split(';').next().unwrap_or_default().trim();
            let size =
                u64::from_str_radix(size, 16).with_context(|| format!("chunk size `{size}`"))?;
            ensure!(
                body.len() as u64 + size <= BODY_LIMIT,
                "a chunked answer over 16 MiB"
            );
            body.extend(self.read_body(size)?);
            self.read_line()?;
            if size == 0 {
                return Ok(body);
            }
        }
    }

    fn read_line(&mut self) -> anyhow::Result<String> {
        loop {
            if let Some(end) = find(&self.ahead, b"\r\n") {
                let line: Vec<u8> = self.ahead.drain(..end + 2).collect();
                return Ok(String::from_utf8_lossy(&line[..end]).into_owned());
            }
            self.read_more()?;
        }
    }

    fn read_more(&mut self) -> anyhow::Result<()> {
        let used = self.ahead.len();
        self.ahead.resize(used + (16 << 10), 0);
        let read = self.stream.read(&mut self.ahead[used..]);
        self.ahead
            .truncate(used + read.as_ref().copied().unwrap_or(0));
        match read {
            Ok(0) => bail!("the server closed the connection"),
            Ok(_) => Ok(()),
            Err(e) if e.kind() == std::io::ErrorKind::Interrupted => Ok(()),
            Err(e) => Err(e).context("reading the answer"),
        }
    }
}

/// The bytes of a request's head.
pub fn head_of(address: SocketAddr, request: &Request<'_>) -> Vec<u8> {
    let length = match (request.method, request.body.len()) {
        ("GET" | "HEAD", 0) => String::new(),
        (_, n) => format!("Content-Length: {n}\r\n"),
    };
    format!(
        "{} {} HTTP/1.1\r\nHost: {address}\r\nUser-Agent: bench\r\n{}{length}\r\n",
        request.method, request.target, request.headers
    )
    .into_bytes()
}

/// The first head in `bytes` and its length; `None` while it is not complete.
pub fn parse_head(bytes: &[u8]) -> anyhow::Result<Option<(Head, usize)>> {
    let Some(end) = find(bytes, b"\r\n\r\n") else {
        return Ok(None);
    };
    let text = std::str::from_utf8(&bytes[..end]).context("an answer's head that is no text")?;
    let mut lines = text.split("\r\n");
    let first = lines.next().unwrap_or_default();
    let status = first
        .strip_prefix("HTTP/1.1 ")
        .and_then(|rest| rest.get(..3))
        .and_then(|code| code.parse().ok())
        .with_context(|| format!("not an HTTP/1.1 status line: `{first}`"))?;
    let mut head = Head {
        status,
        ..Head::default()
    };
    for (name, value) in lines.filter_map(|line| line.split_once(':')) {
        let value = value.trim();
        if name.eq_ignore_ascii_case("content-length") {
            head.length = Some(
                value
                    .parse()
                    .with_context(|| format!("Content-Length `{value}`"))?,
            );
        } else if name.eq_ignore_ascii_case("location") {
            head.location = Some(value.to_owned());
        } else if name.eq_ignore_ascii_case("docker-content-digest") {
            head.digest = Some(value.to_owned());
        } else if name.eq_ignore_ascii_case("transfer-encoding") {
            head.chunked = value.eq_ignore_ascii_case("chunked");
        } else if name.eq_ignore_ascii_case("connection") {
            head.close = value.eq_ignore_ascii_case("close");
        }
    }
    Ok(Some((head, end + 4)))
}

fn find(bytes: &[u8], what: &[u8]) -> Option<usize> {
    bytes.windows(what.len()).position(|window| window == what)
}

fn has_no_body(method: &str, head: &Head) -> bool {
    method == "HEAD"
        || matches!(head.status, 204 | 304)
        || (head.length.is_none() && !head.chunked && method != "GET")
}

fn connect(address: SocketAddr) -> anyhow::Result<TcpStream> {
    let stream = TcpStream::connect_timeout(&address, PATIENCE)
        .with_context(|| format!("connecting to {address}"))?;
    stream.set_nodelay(true)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.set_write_timeout(Some(PATIENCE))?;
    Ok(stream)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn heads_are_read_as_servers_write_them() {
        let text = |text: &str| Some(text.to_owned());
        let table = [
            (
                "HTTP/1.1 200 OK\r\ncontent-length:5\r\nDocker-Content-Digest: sha256:ab\r\n\r\nhello",
                Head {
                    status: 200,
                    length: Some(5),
                    digest: text("sha256:ab"),
                    ..Head::default()
                },
                "hello",
            ),
            (
                "HTTP/1.1 202 Accepted\r\nLocation: /v2/a/blobs/uploads/1?_state=x\r\nConnection: close\r\n\r\n",
                Head {
                    status: 202,
                    location: text("/v2/a/blobs/uploads/1?_state=x"),
                    close: true,
                    ..Head::default()
                },
                "",
            ),
            (
                "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc",
                Head {
                    status: 200,
                    chunked: true,
                    ..Head::default()
                },
                "3\r\nabc",
            ),
        ];
        for (bytes, expected, rest) in table {
            let (head, used) = parse_head(bytes.as_bytes()).unwrap().unwrap();
            assert_eq!((head, &bytes[used..]), (expected, rest), "{bytes}");
        }
        assert!(
            parse_head(b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n")
                .unwrap()
                .is_none()
        );
        assert!(parse_head(b"SSH-2.0-x\r\n\r\n").is_err());
    }

    #[test]
    fn bodies_with_length_in_chunks_and_thrown_away_keep_the_connection_in_step() {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let server = std::thread::spawn(move || {
            let (mut stream, _) = listener.accept().unwrap();
            let mut answers = vec![
                b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n2;x=y\r\nde\r\n0\r\n\r\n".to_vec(),
                b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nfgh".to_vec(),
            ];
            let mut large = b"HTTP/1.1 200 OK\r\nContent-Length: 3000000\r\n\r\n".to_vec();
            large.resize(large.len() + 3_000_000, 7);
            answers.insert(1, large);
            for answer in answers {
                let mut request = [0; 1024];
                assert!(stream.read(&mut request).unwrap() > 0);
                stream.write_all(&answer).unwrap();
            }
        });
        let mut connection = Connection::open(address).unwrap();
        let get = Request {
            method: "GET",
            target: "/",
            headers: "",
            body: Body::None,
        };
        assert_eq!(connection.call(&get).unwrap().body, b"abcde");
        assert_eq!(connection.discard(&get).unwrap(), 3_000_000);
        assert_eq!(connection.call(&get).unwrap().body, b"fgh");
        server.join().unwrap();
    }
}
