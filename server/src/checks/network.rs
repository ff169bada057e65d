//! Listen addresses and certificates.

use std::{
    net::{Ipv4Addr, Ipv6Addr, SocketAddr, TcpStream},
    time::Duration,
};

use model::time::Timestamp;

use super::Finding;
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
