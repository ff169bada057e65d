//! `seawall health`: for checks of containers, keepalived and people. One line of reason; the exit code says it to scripts.

use std::{
    io::{Read, Write},
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpStream, ToSocketAddrs},
    path::PathBuf,
    process::ExitCode,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, anyhow, bail};

use crate::{
    config::{Config, Flags, Sources},
    listen::{ListenerConfig, Only, ProxyProtocol},
};

/// The longest answer that is read.
const LONGEST: usize = 64 << 10;

#[derive(clap::Args)]
pub struct Args {
    /// Host and port of the server, where it speaks plain HTTP [default: the listener for metrics of the configuration, or another
    /// plain one]
    #[arg(long, value_name = "HOST:PORT")]
    address: Option<String>,
    /// The configuration file [default: /etc/seawall/seawall.toml, if it exists]
    #[arg(long, value_name = "FILE", conflicts_with = "address")]
    config: Option<PathBuf>,
    /// Ask whether it may hold the virtual address
    #[arg(long)]
    vip: bool,
    /// Seconds to wait for the answer
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u64).range(1..=60))]
    timeout: u64,
}

pub fn run(args: &Args) -> ExitCode {
    match look(args) {
        Ok((ready, body)) => {
            super::screen::say(&body);
            ExitCode::from(u8::from(!ready))
        }
        Err(error) => {
            super::screen::complain(&error);
            ExitCode::from(2)
        }
    }
}

/// Whether it is ready, and what it says.
fn look(args: &Args) -> Result<(bool, String)> {
    let address = match &args.address {
        Some(address) => address.clone(),
        None => configured(args.config.clone())?.to_string(),
    };
    let deadline = Instant::now() + Duration::from_secs(args.timeout);
    let (status, body) =
        ask(&address, args.vip, deadline).with_context(|| format!("no answer from {address}"))?;
    match status {
        200 | 503 => Ok((status == 200, body)),
        _ => bail!(
            "{address} answers {status} instead of its health ({}): name a listener with plain HTTP (--address)",
            body.lines().next().unwrap_or_default()
        ),
    }
}

/// Where the configured server answers plain HTTP.
fn configured(file: Option<PathBuf>) -> Result<SocketAddr> {
    let flags = Flags {
        config: file,
        ..Flags::default()
    };
    let config = Sources::of_process(flags)
        .and_then(Config::load)
        .context("name the server with --address")?;
    plain(&config.listen).ok_or_else(|| {
        anyhow!(
            "no listener of the configuration speaks plain HTTP: add one for this machine (`[[listen]]`, address = \"127.0.0.1:9090\", only = \"metrics\")"
        )
    })
}

/// The listener to ask, as this machine reaches it. One for metrics has room when all connections are taken.
fn plain(listeners: &[ListenerConfig]) -> Option<SocketAddr> {
    let listener = listeners
        .iter()
        .filter(|one| !one.tls && one.redirect.is_none())
        .filter(|one| one.proxy_protocol != ProxyProtocol::Require)
        .min_by_key(|one| one.only != Some(Only::Metrics))?;
    let mut address = listener.address.0;
    if address.ip().is_unspecified() {
        address.set_ip(match address.ip() {
            IpAddr::V6(_) if listener.ipv6_only => Ipv6Addr::LOCALHOST.into(),
            _ => Ipv4Addr::LOCALHOST.into(),
        });
    }
    Some(address)
}

/// Status and body. Plain blocking calls: a check every second must cost next to nothing.
fn ask(name: &str, vip: bool, deadline: Instant) -> Result<(u16, String)> {
    let address = name
        .to_socket_addrs()?
        .next()
        .ok_or_else(|| anyhow!("the name has no address"))?;
    let mut connection = TcpStream::connect_timeout(&address, left(deadline)?)?;
    connection.set_write_timeout(Some(left(deadline)?))?;
    let path = if vip { "/readyz?role=vip" } else { "/readyz" };
    // At once: who refuses it may do so after its first bytes.
    let request = format!("GET {path} HTTP/1.1\r\nHost: {name}\r\nConnection: close\r\n\r\n");
    connection.write_all(request.as_bytes())?;
    let answer = read(&mut connection, deadline)?;
    let (head, body) = answer
        .split_once("\r\n\r\n")
        .ok_or_else(|| anyhow!("it does not speak HTTP"))?;
    let status = head
        .split(' ')
        .nth(1)
        .and_then(|status| status.parse().ok());
    let status = status.ok_or_else(|| anyhow!("it does not speak HTTP"))?;
    Ok((status, body.trim().to_owned()))
}

/// Everything up to the end, in the time that is left for all of it.
fn read(connection: &mut TcpStream, deadline: Instant) -> Result<String> {
    let (mut answer, mut piece) = (Vec::new(), [0; 4096]);
    while answer.len() < LONGEST {
        connection.set_read_timeout(Some(left(deadline)?))?;
        match connection.read(&mut piece)? {
            0 => break,
            count => answer.extend_from_slice(&piece[..count]),
        }
    }
    Ok(String::from_utf8_lossy(&answer).into_owned())
}

fn left(deadline: Instant) -> Result<Duration> {
    let left = deadline.saturating_duration_since(Instant::now());
    anyhow::ensure!(!left.is_zero(), "the time is over");
    Ok(left)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_listener_for_metrics_is_asked_and_else_a_plain_one() {
        for (listeners, asked) in [
            ("address = '[::]:8080'", Some("127.0.0.1:8080")),
            (
                "address = '[::]:8080'\nipv6_only = true",
                Some("[::1]:8080"),
            ),
            (
                "address = '0.0.0.0:80'\n[[listen]]\naddress = '192.0.2.1:9'\nonly = 'metrics'",
                Some("192.0.2.1:9"),
            ),
            (
                "address = '[::]:443'\ntls = true\n[[listen]]\naddress = '[::]:80'\nredirect = 'https'\n\
                 [[listen]]\naddress = '[::1]:81'",
                Some("[::1]:81"),
            ),
            ("address = '[::]:443'\ntls = true", None),
            ("address = '[::]:80'\nproxy_protocol = 'require'", None),
        ] {
            #[derive(serde::Deserialize)]
            struct File {
                listen: Vec<ListenerConfig>,
            }
            let file: File = toml::from_str(&format!("[[listen]]\n{listeners}")).expect(listeners);
            let found = plain(&file.listen).map(|address| address.to_string());
            assert_eq!(found.as_deref(), asked, "{listeners}");
        }
    }
}
