//! HTTP clients: over the proxy where there is one, believing whom the trust store believes, with an end to every wait.

use std::{sync::Arc, time::Duration};

use parking_lot::Mutex;
use reqwest::{Client, Url, redirect};

use crate::{Proxy, Trust, trust::Roots};

/// How long a call may take and how far it may be sent on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    pub connect: Duration,
    /// The longest silence of the other side.
    pub silence: Duration,
    /// For the whole call, where that is known.
    pub whole: Option<Duration>,
    /// How many redirects are followed; with 0 the caller gets the redirect.
    pub redirects: usize,
    /// Not HTTP/2: large transfers to object stores are slower over one connection.
    pub http1_only: bool,
}

impl Limits {
    /// A question with a short answer. Redirects are shown to the caller: what was asked for may not be what is answered.
    pub const QUESTION: Self = Self {
        connect: Duration::from_secs(10),
        silence: Duration::from_secs(30),
        whole: Some(Duration::from_mins(1)),
        redirects: 0,
        http1_only: false,
    };
    /// Contents of any size: registries send on to their stores.
    pub const TRANSFER: Self = Self {
        connect: Duration::from_secs(10),
        silence: Duration::from_mins(1),
        whole: None,
        redirects: 5,
        http1_only: false,
    };
    /// Calls to an object store, which are signed for one address.
    pub const STORE: Self = Self {
        connect: Duration::from_secs(5),
        silence: Duration::from_mins(1),
        whole: None,
        redirects: 0,
        http1_only: true,
    };
}

/// What makes clients. A clone is another handle on the same.
#[derive(Clone)]
pub struct Outbound {
    trust: Trust,
    proxy: Arc<Proxy>,
    /// Those of the newest authorities; clients keep connections, so each is made once.
    clients: Arc<Mutex<Made>>,
}

#[derive(Default)]
struct Made {
    version: u64,
    clients: Vec<(Limits, Client)>,
}

impl Outbound {
    pub fn new(trust: Trust, proxy: Proxy) -> Self {
        Self {
            trust,
            proxy: Arc::new(proxy),
            clients: Arc::default(),
        }
    }

    pub fn trust(&self) -> &Trust {
        &self.trust
    }

    pub fn proxy(&self) -> &Proxy {
        &self.proxy
    }

    /// A client for calls of this kind. To be asked for at each use: it is made anew when the authorities changed.
    pub async fn client(&self, limits: Limits) -> reqwest::Result<Client> {
        self.trust.roots_soon().await;
        let mut made = self.clients.lock();
        let roots = self.trust.known();
        if made.version < roots.version {
            *made = Made {
                version: roots.version,
                clients: Vec::new(),
            };
        }
        if let Some((_, client)) = made.clients.iter().find(|(known, _)| *known == limits) {
            return Ok(client.clone());
        }
        let client = self.build(limits, &roots)?;
        made.clients.push((limits, client.clone()));
        Ok(client)
    }

    fn build(&self, limits: Limits, roots: &Roots) -> reqwest::Result<Client> {
        let mut tls = (*roots.tls).clone();
        tls.alpn_protocols = if limits.http1_only {
            vec![b"http/1.1".to_vec()]
        } else {
            vec![b"h2".to_vec(), b"http/1.1".to_vec()]
        };
        let proxy = self.proxy.clone();
        let way = move |url: &Url| proxy.for_url(url).map(|proxy| proxy.expose().clone());
        let mut client = Client::builder()
            .user_agent(concat!("Seawall/", env!("CARGO_PKG_VERSION")))
            .tls_backend_preconfigured(tls)
            .proxy(reqwest::Proxy::custom(way))
            .redirect(match limits.redirects {
                0 => redirect::Policy::none(),
                most => redirect::Policy::limited(most),
            })
            .connect_timeout(limits.connect)
            .read_timeout(limits.silence)
            .pool_idle_timeout(limits.silence);
        if let Some(whole) = limits.whole {
            client = client.timeout(whole);
        }
        client.build()
    }
}
