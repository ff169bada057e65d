//! A server on ports of its own choice, with a handler that tells what it sees.

use std::{convert::Infallible, net::SocketAddr, pin::Pin, sync::Arc};

use api::{
    access::AccessLog,
    connection::{Connection, Facts, TrustedProxies},
};
use futures_util::stream;
use http_body_util::{BodyExt, Full, StreamBody, combinators::UnsyncBoxBody};
use hyper::{
    Request, Response, StatusCode,
    body::{Bytes, Frame, Incoming},
    service::Service,
};
use tokio::{io::DuplexStream, sync::Notify, task::JoinSet};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use crate::listen::{
    self, Config, ListenerConfig, Stop, Tls,
    accept::Ending,
    activity::Activity,
    connection::{Certified, Shared, serve_http},
    stream::Stream,
};

pub(super) struct Server {
    pub(super) addresses: Vec<SocketAddr>,
    pub(super) stop: Stop,
    pub(super) tls: Option<Arc<Tls>>,
    pub(super) handler: TellTale,
    task: JoinSet<()>,
}

impl Server {
    pub(super) fn start(config: Config) -> Self {
        Self::start_telling(config, None)
    }

    /// One with an access log.
    pub(super) fn start_telling(config: Config, access: Option<AccessLog>) -> Self {
        let mut listeners = listen::open(config).expect("the listeners open");
        listeners.tell(access);
        let stop = Stop {
            shutdown: CancellationToken::new(),
            cut: CancellationToken::new(),
        };
        let handler = TellTale::default();
        let mut server = Self {
            addresses: listeners
                .bound()
                .iter()
                .map(|bound| bound.address)
                .collect(),
            stop: stop.clone(),
            tls: listeners.tls().cloned(),
            handler: handler.clone(),
            task: JoinSet::new(),
        };
        server.task.spawn(listeners.serve(handler, stop));
        server
    }

    /// One plain listener on loopback.
    pub(super) fn plain() -> Self {
        Self::start(config([listener()]))
    }

    pub(super) fn address(&self) -> SocketAddr {
        self.addresses[0]
    }

    /// Waits until `serve` has returned.
    pub(super) async fn stopped(mut self) {
        self.task
            .join_next()
            .await
            .expect("one task")
            .expect("no panic");
    }
}

/// A connection without a kernel in between, so that a paused clock cannot jump while bytes are on their way.
pub(super) struct InMemory {
    pub(super) client: DuplexStream,
    pub(super) handler: TellTale,
    /// Ends with this.
    _task: JoinSet<()>,
}

impl InMemory {
    pub(super) fn connect(http2: bool) -> Self {
        Self::connect_as(http2, None)
    }

    /// A client that is known by a certificate.
    pub(super) fn connect_as(http2: bool, certified: Option<Certified>) -> Self {
        let config = Config::default();
        let (client, server) = tokio::io::duplex(64 << 10);
        let handler = TellTale::default();
        let (ending, streams) = (Ending::new(), TaskTracker::new());
        let shared = Shared::new(handler.clone(), &config, &ending, &streams);
        let activity = Arc::new(Activity::new());
        let facts = Facts {
            remote: None,
            local: None,
            tls: None,
            trusted: false,
            metrics_only: false,
            plain_http1: !http2,
            proxies: TrustedProxies::default(),
        };
        let stream = Stream::new(server, Arc::clone(&activity), &config.limits);
        let mut task = JoinSet::new();
        task.spawn(async move {
            // The client's end of it is what the tests look at.
            let _ = serve_http(&shared, stream, facts, activity, http2, None, certified).await;
        });
        Self {
            client,
            handler,
            _task: task,
        }
    }
}

pub(super) fn listener() -> ListenerConfig {
    ListenerConfig::plain(SocketAddr::from(([127, 0, 0, 1], 0)))
}

pub(super) fn config(listeners: impl Into<Vec<ListenerConfig>>) -> Config {
    Config {
        listeners: listeners.into(),
        ..Config::default()
    }
}

/// `/` tells the connection; `/refuse` answers before the body, `/length` after it; `/wait` answers when it is released, with the
/// head at once and the body then; `/bytes` is long, and so is `/pieces`, which comes in pieces.
#[derive(Clone, Default)]
pub(super) struct TellTale {
    pub(super) entered: Arc<Notify>,
    pub(super) release: Arc<Notify>,
}

pub(super) const BYTES: usize = 64 << 20;
const PIECES: usize = 256;

type Body = UnsyncBoxBody<Bytes, Infallible>;

impl Service<Request<Incoming>> for TellTale {
    type Response = Response<Body>;
    type Error = Infallible;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, Infallible>> + Send>>;

    fn call(&self, request: Request<Incoming>) -> Self::Future {
        let this = self.clone();
        Box::pin(async move { Ok(this.answer(request).await) })
    }
}

impl TellTale {
    async fn answer(&self, request: Request<Incoming>) -> Response<Body> {
        match request.uri().path() {
            "/refuse" => {
                let mut answer = Response::new(whole("no rights"));
                *answer.status_mut() = StatusCode::FORBIDDEN;
                answer
            }
            "/length" => {
                let body = request.into_body().collect().await;
                let length = body.map(|body| body.to_bytes().len());
                Response::new(whole(format!("{length:?}")))
            }
            "/wait" => {
                self.entered.notify_one();
                self.release.notified().await;
                Response::new(whole("waited"))
            }
            "/bytes" => Response::new(whole(vec![b'x'; BYTES])),
            "/pieces" => {
                let piece = Bytes::from(vec![b'x'; BYTES / PIECES]);
                let pieces = (0..PIECES).map(move |_| Ok(Frame::data(piece.clone())));
                Response::new(StreamBody::new(stream::iter(pieces)).boxed_unsync())
            }
            _ => Response::new(whole(tell(&request))),
        }
    }
}

fn whole(bytes: impl Into<Bytes>) -> Body {
    Full::new(bytes.into()).boxed_unsync()
}

fn tell(request: &Request<Incoming>) -> String {
    let connection = request
        .extensions()
        .get::<Connection>()
        .expect("beside each request");
    let remote = connection.remote.map(|remote| remote.ip().to_string());
    let tls = connection.tls.as_ref();
    let client = tls.and_then(|tls| tls.client.as_ref());
    format!(
        "version={:?} remote={} trusted={} metrics_only={} plain_http1={} sni={} subject={} name={}",
        request.version(),
        remote.as_deref().unwrap_or("-"),
        connection.trusted,
        connection.metrics_only,
        connection.plain_http1,
        tls.and_then(|tls| tls.server_name.as_deref())
            .unwrap_or("-"),
        client.map_or("-", |client| &client.subject),
        connection.certified_name().unwrap_or("-"),
    )
}
