//! Listen addresses and certificates; whom the server believes when it calls, and the way out.

use std::{
    net::{Ipv4Addr, Ipv6Addr, SocketAddr, TcpStream, ToSocketAddrs},
    time::Duration,
};

use model::time::Timestamp;
use outbound::{Proxy, Trust, proxy::ProxyUrl};

use super::Finding;
use crate::config::Redis;
use crate::listen::{self, Left, ListenerConfig, ProxyProtocol, Tls, TlsConfig};

const PATIENCE: Duration = Duration::from_secs(2);

/// Whether the addresses are free, or, beside a running server, whether it answers there. Needs a tokio runtime.
pub fn addresses(config: &listen::Config, is_running: bool) -> Vec<Finding> {
    let listeners = config.listeners.iter();
    listeners
        .map(|listener| {
            if is_running {
                answers(listener)
            } else {
                is_free(listener)
            }
        })
        .collect()
}

fn is_free(listener: &ListenerConfig) -> Finding {
    let part = "listen";
    let alone = listen::Config {
        listeners: vec![ListenerConfig {
            tls: false,
            redirect: None,
            client_certificates: None,
            proxy_protocol: ProxyProtocol::Off,
            ..listener.clone()
        }],
        ..listen::Config::default()
    };
    match listen::open(alone) {
        Ok(_) => Finding::ok(part, format!("`{}` is free", listener.address)),
        Err(error) => Finding::error(part, &error),
    }
}

fn answers(listener: &ListenerConfig) -> Finding {
    let part = "listen";
    let address = listener.address.0;
    let reached = reachable(address)
        .into_iter()
        .any(|address| TcpStream::connect_timeout(&address, PATIENCE).is_ok());
    if reached {
        return Finding::ok(part, format!("`{address}` takes connections"));
    }
    Finding::warning(
        part,
        format!("a server runs, but nobody takes connections at `{address}`"),
        "does the server have another configuration? Give this command the same --config and --listen",
    )
}

/// Where this machine reaches a listener; all addresses are reached through loopback.
fn reachable(address: SocketAddr) -> Vec<SocketAddr> {
    if !address.ip().is_unspecified() {
        return vec![address];
    }
    let on = |ip| SocketAddr::new(ip, address.port());
    vec![
        on(Ipv4Addr::LOCALHOST.into()),
        on(Ipv6Addr::LOCALHOST.into()),
    ]
}

/// Whether the certificates can be used, and for how long.
pub fn certificates(config: &TlsConfig, now: Timestamp) -> Vec<Finding> {
    let part = "certificate";
    if config.certificates.is_empty() {
        return Vec::new();
    }
    let tls = match Tls::load(config) {
        Ok(tls) => tls,
        Err(error) => {
            let advice = "correct [tls], or the files that it names";
            return vec![Finding::failed(part, format!("{error:#}"), advice)];
        }
    };
    let expiry = tls.expiry();
    expiry
        .iter()
        .map(|expiry| {
            let end = Timestamp(expiry.not_after.saturating_mul(1_000_000)).rfc3339();
            let (name, end) = (&expiry.name, &end[..10]);
            let advice = "put a new one in its place; the server takes it without a restart";
            match expiry.left(now.seconds()) {
                Left::None => Finding::failed(part, format!("`{name}` has ended {end}"), advice),
                Left::Few(days) => {
                    Finding::warning(part, format!("`{name}` ends {end}, in {days} days"), advice)
                }
                Left::Many(days) => {
                    Finding::ok(part, format!("`{name}` ends {end}, in {days} days"))
                }
            }
        })
        .collect()
}

/// The authorities that count, one finding for each place that they come from.
pub fn authorities(trust: &Trust) -> Vec<Finding> {
    let part = "trust";
    let sources = trust.sources();
    let alone = sources.len() == 1;
    sources
        .into_iter()
        .map(|source| match (source.file, source.fault) {
            (None, None) => Finding::ok(
                part,
                format!("{} authorities of the system", source.count),
            ),
            (None, Some(fault)) => Finding::warning(
                part,
                format!("the system has no certificate authorities: {fault}"),
                if alone {
                    "install them (package ca-certificates), or name a file in trust.ca_files"
                } else {
                    "install them (package ca-certificates), unless those of trust.ca_files suffice"
                },
            ),
            (Some(file), None) => Finding::ok(
                part,
                format!("{} authorities in `{}`", source.count, file.display()),
            ),
            (Some(file), Some(fault)) => Finding::failed(
                part,
                format!("`{}` cannot be used: {fault}", file.display()),
                "put certificates in PEM there, or correct trust.ca_files; the server goes on with what it read last",
            ),
        })
        .collect()
}

/// Whether the proxies take connections.
pub fn proxies(proxy: &Proxy) -> Vec<Finding> {
    let part = "proxy";
    let used: Vec<&ProxyUrl> = [&proxy.http, &proxy.https].into_iter().flatten().collect();
    let mut findings = Vec::new();
    for (index, url) in used.iter().enumerate() {
        if used[..index].contains(url) {
            continue;
        }
        findings.push(match reaches(&url.peer()) {
            Ok(()) => Finding::ok(part, format!("`{url}` takes connections")),
            Err(error) => Finding::warning(
                part,
                format!("`{url}` takes no connections: {error}"),
                "correct [proxy], or HTTP_PROXY and HTTPS_PROXY where it is left open",
            ),
        });
    }
    findings
}

/// Whether Redis does what the server asks of it. The server goes on without.
pub async fn redis(config: &Redis, trust: &Trust) -> Option<Finding> {
    let part = "redis";
    let config = config.cache(trust)?;
    let place = &config.place;
    Some(match cache::look(&config).await {
        Ok(seen) => match seen.refused {
            None => {
                let millis = seen.took.as_secs_f64() * 1000.0;
                Finding::ok(part, format!("{place} answers in {millis:.1} ms"))
            }
            Some(why) => Finding::warning(
                part,
                format!("{place} answers, but keeps nothing new: {why}"),
                "give it room (maxmemory with maxmemory-policy allkeys-lru), and its user the commands that docs/redis.md lists",
            ),
        },
        Err(why) => Finding::warning(
            part,
            format!("{place} is of no use: {why}"),
            "see whether it runs, and [redis]; until then requests go on without it",
        ),
    })
}

fn reaches(peer: &str) -> std::io::Result<()> {
    let mut last = std::io::ErrorKind::AddrNotAvailable.into();
    for address in peer.to_socket_addrs()? {
        match TcpStream::connect_timeout(&address, PATIENCE) {
            Ok(_) => return Ok(()),
            Err(error) => last = error,
        }
    }
    Err(last)
}
