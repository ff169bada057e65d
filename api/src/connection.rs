//! What the accept side knows of a connection. The listener puts one `Connection` into the extensions of each request;
//! what a proxy says about the client in headers is not in here, see `forwarded.rs`.

use std::{
    net::{IpAddr, SocketAddr},
    ops::Deref,
    sync::Arc,
};

use ipnet::IpNet;

/// The facts of one connection, shared by all its requests. Cloning costs one counter.
#[derive(Clone, Debug)]
pub struct Connection(Arc<Facts>);

/// The fields of a [`Connection`].
#[derive(Clone, Debug)]
pub struct Facts {
    /// The other end, after the PROXY protocol where a trusted proxy spoke it. None on the unix socket, whose caller owns the
    /// data directory.
    pub remote: Option<SocketAddr>,
    /// The address that was connected to, after the PROXY protocol too.
    pub local: Option<SocketAddr>,
    pub tls: Option<TlsPeer>,
    /// `remote` is a trusted proxy, so that its `X-Forwarded-*` and `Forwarded` headers may be believed. It is judged after the
    /// PROXY protocol: behind a proxy that forwards plain TCP the headers are the client's own words.
    pub trusted: bool,
    /// The listener serves health and metrics alone.
    pub metrics_only: bool,
    /// Bytes of a mapped file may be handed over as they are: nothing between here and the socket copies them.
    pub plain_http1: bool,
    pub proxies: TrustedProxies,
}

/// What the TLS handshake told.
#[derive(Clone, Debug)]
pub struct TlsPeer {
    /// The host name that the client asked for (SNI).
    pub server_name: Option<String>,
    pub client: Option<ClientCertificate>,
}

/// A client certificate that was verified against `tls.client_ca` and the revocation lists.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClientCertificate {
    pub der: Vec<u8>,
    /// The whole subject as RFC 4514 writes it: `CN=ci,O=example`.
    pub subject: String,
    /// The user or robot that `tls.client_map` makes of it; whether there is one is the caller's to ask.
    pub name: Option<String>,
}

/// The networks whose word about a client counts.
#[derive(Clone, Debug, Default)]
pub struct TrustedProxies(Arc<[IpNet]>);

impl Connection {
    pub fn new(facts: Facts) -> Self {
        Self(Arc::new(facts))
    }

    /// The user or robot that the client's certificate stands for.
    pub fn certified_name(&self) -> Option<&str> {
        self.tls.as_ref()?.client.as_ref()?.name.as_deref()
    }
}

impl Deref for Connection {
    type Target = Facts;

    fn deref(&self) -> &Facts {
        &self.0
    }
}

impl TrustedProxies {
    pub fn contain(&self, address: IpAddr) -> bool {
        let address = address.to_canonical();
        self.0.iter().any(|network| network.contains(&address))
    }
}

impl FromIterator<IpNet> for TrustedProxies {
    fn from_iter<I: IntoIterator<Item = IpNet>>(networks: I) -> Self {
        Self(networks.into_iter().collect())
    }
}
