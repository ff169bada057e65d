//! The accept side: listeners, TLS, the PROXY protocol, and connections from their first byte to their last.
//!
//! `open` binds and reads certificates, so that what is wrong is said at start; `Listeners::serve` runs until the server has
//! stopped. Ours rather than `axum::serve`, which has no time-outs and knows one plain listener. A request's way: `accept` →
//! `connection` → `answering` → the handler.

mod accept;
mod activity;
mod answering;
mod authority;
mod bind;
mod certificates;
mod client_cert;
mod config;
mod connection;
mod proxy_protocol;
mod redirect;
mod stream;
mod tls;

use std::{path::PathBuf, sync::Arc, time::Duration};

use api::access::AccessLog;
use futures_util::future::join_all;
use tokio::{net::UnixListener, sync::Semaphore, time::timeout};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use self::{
    accept::{Ending, accept_all},
    connection::{Door, Protocols, Shared},
    redirect::Redirects,
};
pub use self::{
    answering::{Answer, Handler},
    authority::authority,
    bind::{Bound, connect_unix},
    certificates::Left,
    config::{Config, Drain, Limits, ListenerConfig, Only, ProxyProtocol, TlsConfig},
    tls::Tls,
};

/// Connections to a listener for metrics alone have slots of their own: a full server can still be asked how it is.
const METRICS_CONNECTIONS: usize = 256;
/// How long the streams of dropped HTTP/2 connections get to notice.
const STREAMS_END: Duration = Duration::from_secs(2);

/// Open listeners, and their certificates.
pub struct Listeners {
    bound: Vec<Bound>,
    tls: Option<Arc<Tls>>,
    config: Config,
    access: Option<AccessLog>,
}

/// How the server is told to stop.
#[derive(Clone, Debug)]
pub struct Stop {
    /// Begins the drain.
    pub shutdown: CancellationToken,
    /// Ends it at once.
    pub cut: CancellationToken,
}

/// Opens all listeners and reads the certificates. Needs a tokio runtime, and blocks for the files.
pub fn open(config: Config) -> anyhow::Result<Listeners> {
    bind::raise_file_limit();
    let bound = bind::bind_all(&config)?;
    let tls = if config.tls.certificates.is_empty() {
        None
    } else {
        Some(Tls::load(&config.tls)?)
    };
    Ok(Listeners {
        bound,
        tls,
        config,
        access: None,
    })
}

impl Listeners {
    /// The listeners in the order of the configuration, with the addresses they really have.
    pub fn bound(&self) -> &[Bound] {
        &self.bound
    }

    /// For reloading on demand, and for the metric of their ends.
    pub fn tls(&self) -> Option<&Arc<Tls>> {
        self.tls.as_ref()
    }

    /// Where requests are told of that never reach the handler, since they are redirected.
    pub fn tell(&mut self, access: Option<AccessLog>) {
        self.access = access;
    }

    /// Serves until the drain after `stop.shutdown` is over, which is at the latest `drain.delay` and `drain.timeout` later.
    pub async fn serve<S, B>(self, service: S, stop: Stop)
    where
        S: Handler<B>,
        B: Answer,
    {
        let ending = Ending::new();
        let streams = TaskTracker::new();
        let shared = Arc::new(Shared::new(service, &self.config, &ending, &streams));
        let slots = Arc::new(Semaphore::new(self.config.limits.max_connections));
        let metrics_slots = Arc::new(Semaphore::new(METRICS_CONNECTIONS));
        let https_port = self
            .bound
            .iter()
            .find(|bound| bound.config.tls)
            .map(|bound| bound.address.port());

        let loops = self.bound.into_iter().map(|bound| {
            let metrics_only = bound.config.only == Some(Only::Metrics);
            let slots = Arc::clone(if metrics_only { &metrics_slots } else { &slots });
            let door = Arc::new(Door {
                shared: Arc::clone(&shared),
                tls: self.tls.clone().filter(|_| bound.config.tls),
                redirects: bound
                    .config
                    .redirect
                    .and(bound.config.redirect_port.or(https_port))
                    .map(|port| Redirects {
                        port,
                        access: self.access.clone(),
                    }),
                config: bound.config,
            });
            let serve =
                move |(socket, peer)| connection::serve_tcp(Arc::clone(&door), socket, peer);
            accept_all(bound.socket, slots, &ending, serve)
        });
        let loops = join_all(loops);
        let watch = async {
            if let Some(tls) = &self.tls {
                Arc::clone(tls).watch(stop.shutdown.clone()).await;
            }
            std::future::pending::<()>().await;
        };
        tokio::select! {
            _ = loops => {}
            () = ending.conduct(&stop, self.config.drain) => {}
            () = watch => {}
        }
        end_streams(streams).await;
    }
}

/// A unix socket on which a server is administered. Removed when it is dropped.
pub struct UnixSocket {
    listener: UnixListener,
    path: OwnedPath,
}

impl UnixSocket {
    /// Opens it with mode 0600. A socket left behind by a process that died is replaced.
    pub fn open(path: PathBuf) -> anyhow::Result<Self> {
        let listener = bind::bind_unix(&path)?;
        Ok(Self {
            listener,
            path: OwnedPath(path),
        })
    }

    /// Serves HTTP/1 on it, as `Listeners::serve` does.
    pub async fn serve<S, B>(self, service: S, config: &Config, stop: Stop)
    where
        S: Handler<B>,
        B: Answer,
    {
        let Self { listener, path } = self;
        let ending = Ending::new();
        let streams = TaskTracker::new();
        let shared = Arc::new(Shared::new(service, config, &ending, &streams));
        let slots = Arc::new(Semaphore::new(METRICS_CONNECTIONS));
        let serve = move |socket| connection::serve_unix(Arc::clone(&shared), socket);
        tokio::select! {
            () = accept_all(listener, slots, &ending, serve) => {}
            () = ending.conduct(&stop, config.drain) => {}
        }
        drop(path);
    }
}

struct OwnedPath(PathBuf);

impl Drop for OwnedPath {
    fn drop(&mut self) {
        if let Err(error) = std::fs::remove_file(&self.0) {
            tracing::debug!(%error, path = %self.0.display(), "the unix socket could not be removed");
        }
    }
}

impl<S> Shared<S> {
    fn new(service: S, config: &Config, ending: &Ending, streams: &TaskTracker) -> Self {
        Self {
            service,
            protocols: Protocols::new(&config.limits, streams.clone()),
            limits: config.limits,
            proxies: config.trusted_proxies.iter().copied().collect(),
            closing: ending.closing.clone(),
        }
    }
}

impl Ending {
    fn new() -> Self {
        Self {
            closing: CancellationToken::new(),
            cut: CancellationToken::new(),
        }
    }

    /// Turns the signals and times of a stop into its two steps. Never ends: the loops do, when their connections have.
    async fn conduct(&self, stop: &Stop, drain: Drain) {
        stop.shutdown.cancelled().await;
        for (wait, step) in [(drain.delay, &self.closing), (drain.timeout, &self.cut)] {
            stop.cut.run_until_cancelled(tokio::time::sleep(wait)).await;
            step.cancel();
        }
        std::future::pending::<()>().await;
    }
}

async fn end_streams(streams: TaskTracker) {
    streams.close();
    if timeout(STREAMS_END, streams.wait()).await.is_err() {
        tracing::warn!(
            streams = streams.len(),
            "requests on HTTP/2 did not end with their connections"
        );
    }
}

#[cfg(test)]
mod tests;
