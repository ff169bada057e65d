//! One connection from its first byte to its last: PROXY header, TLS handshake, HTTP/1 or HTTP/2, and its end.

use std::{
    convert::Infallible, future::Future, io, net::SocketAddr, pin::Pin, pin::pin, sync::Arc,
    time::Duration,
};

use api::connection::{Connection, Facts, TlsPeer, TrustedProxies};
use hyper::{
    Request, Response,
    body::Incoming,
    rt::Executor,
    server::conn::{http1, http2},
    service::Service,
};
use hyper_util::rt::{TokioIo, TokioTimer};
use rustls::ServerConnection;
use rustls_pki_types::UnixTime;
use tokio::{
    io::{AsyncRead, AsyncWrite, AsyncWriteExt},
    net::{TcpStream, UnixStream},
    time::{Instant, sleep_until, timeout},
};
use tokio_rustls::TlsAcceptor;
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use super::{
    activity::{Activity, Verdict},
    answering::{Answer, Handler, Requests},
    client_cert,
    config::{ClientMap, Limits, ListenerConfig, Only, ProxyProtocol},
    proxy_protocol,
    redirect::Redirects,
    stream::Stream,
    tls::Tls,
};

const HTTP2_PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
/// How long a connection that is ending may take after its last request, with the client still there.
const FAREWELL: Duration = Duration::from_secs(6);
/// How long a connection that was just accepted gets for its first request when the server stops.
const FIRST_REQUEST: Duration = Duration::from_secs(1);
/// What one connection reads ahead at most: a thousand uploads have a buffer each.
const READ_BUFFER: usize = 128 << 10;
const FOR_EVER: Duration = Duration::from_hours(365 * 24);

/// What all connections of a listener share.
pub(super) struct Shared<S> {
    pub(super) service: S,
    pub(super) protocols: Protocols,
    pub(super) limits: Limits,
    pub(super) proxies: TrustedProxies,
    /// Cancelled when connections shall end after their running requests.
    pub(super) closing: CancellationToken,
}

/// What the connections of one TCP listener share besides.
pub(super) struct Door<S> {
    pub(super) shared: Arc<Shared<S>>,
    pub(super) config: ListenerConfig,
    pub(super) tls: Option<Arc<Tls>>,
    pub(super) redirects: Option<Redirects>,
}

/// hyper's settings, and what its streams run in.
pub(super) struct Protocols {
    http1: http1::Builder,
    max_header_bytes: usize,
    streams: TaskTracker,
}

/// Runs the streams of one HTTP/2 connection. They end with it.
#[derive(Clone)]
pub(super) struct Streams {
    tasks: TaskTracker,
    activity: Arc<Activity>,
}

impl<F> Executor<F> for Streams
where
    F: Future<Output: Send> + Send + 'static,
{
    /// hyper calls the service and has its answer run, and then takes up the next request: so this is the one that began last.
    fn execute(&self, stream: F) {
        let task = self.tasks.spawn(stream);
        self.activity.runs_in(task.abort_handle());
    }
}

impl Protocols {
    pub(super) fn new(limits: &Limits, streams: TaskTracker) -> Self {
        let mut http1 = http1::Builder::new();
        http1
            .half_close(true)
            .max_header_size(limits.max_header_bytes)
            .max_buf_size(READ_BUFFER.max(limits.max_header_bytes + (8 << 10)))
            // See `activity.rs`.
            .header_read_timeout(None);
        Self {
            http1,
            max_header_bytes: limits.max_header_bytes,
            streams,
        }
    }

    /// Each connection has its own, since its streams are told apart by what runs them.
    fn http2(&self, activity: &Arc<Activity>) -> http2::Builder<Streams> {
        let mut http2 = http2::Builder::new(Streams {
            tasks: self.streams.clone(),
            activity: Arc::clone(activity),
        });
        http2
            .timer(TokioTimer::new())
            .adaptive_window(false)
            .initial_stream_window_size(1 << 20)
            .initial_connection_window_size(8 << 20)
            .max_frame_size(64 << 10)
            .max_concurrent_streams(250)
            .max_header_list_size(self.max_header_bytes as u32)
            .keep_alive_interval(Duration::from_secs(20))
            .keep_alive_timeout(Duration::from_secs(20));
        http2
    }
}

/// A client that is known by its certificate, which is verified once: the connection ends when that may have become wrong.
pub(super) struct Certified {
    /// Cancelled when other authorities or revocation lists were loaded.
    pub(super) replaced: CancellationToken,
    /// The end of the certificate itself.
    pub(super) expires: Instant,
}

/// Serves a TCP connection to its end. What goes wrong is the client's affair, so it is told at debug level only.
pub(super) async fn serve_tcp<S, B>(door: Arc<Door<S>>, socket: TcpStream, peer: SocketAddr)
where
    S: Handler<B>,
    B: Answer,
{
    if let Err(error) = serve_door(&door, socket, peer).await {
        tracing::debug!(client.address = %peer.ip(), error = format!("{error:#}"), "connection ended");
    }
}

async fn serve_door<S, B>(door: &Door<S>, socket: TcpStream, peer: SocketAddr) -> anyhow::Result<()>
where
    S: Handler<B>,
    B: Answer,
{
    let (shared, limits) = (&door.shared, &door.shared.limits);
    socket.set_nodelay(true)?;
    let mut remote = canonical(peer);
    let mut local = canonical(socket.local_addr()?);
    let activity = Arc::new(Activity::new());
    let mut stream = Stream::new(socket, Arc::clone(&activity), limits);

    if let Some(ends) = proxied_ends(door, &mut stream, remote).await? {
        (remote, local) = (ends.client, ends.server);
    }
    let mut facts = Facts {
        remote: Some(remote),
        local: Some(local),
        tls: None,
        trusted: shared.proxies.contain(remote.ip()),
        metrics_only: door.config.only == Some(Only::Metrics),
        plain_http1: false,
        proxies: shared.proxies.clone(),
    };
    let Some(tls) = &door.tls else {
        let http2 = timeout(limits.header_timeout, speaks_http2(&mut stream)).await??;
        facts.plain_http1 = !http2;
        let redirects = door.redirects.clone();
        return Ok(serve_http(shared, stream, facts, activity, http2, redirects, None).await?);
    };
    let (config, replaced) = tls.server_config(door.config.client_certificates(tls.config()));
    let handshake = async {
        if speaks_plain_http(&mut stream).await? {
            return refuse_plain_http(stream).await;
        }
        match TlsAcceptor::from(config)
            .accept(stream)
            .into_fallible()
            .await
        {
            Ok(stream) => Ok(stream),
            Err((error, stream)) => {
                stream.turn_away().await;
                Err(error)
            }
        }
    };
    let stream = timeout(limits.tls_timeout, handshake).await??;
    let session = stream.get_ref().1;
    let http2 = session.alpn_protocol() == Some(b"h2");
    let certified = expiry(session).map(|expires| Certified { replaced, expires });
    facts.tls = Some(tls_peer(session, &tls.config().client_map));
    Ok(serve_http(shared, stream, facts, activity, http2, None, certified).await?)
}

/// Serves a connection on the unix socket, whose other end is on this machine and may do everything.
pub(super) async fn serve_unix<S, B>(shared: Arc<Shared<S>>, socket: UnixStream)
where
    S: Handler<B>,
    B: Answer,
{
    let activity = Arc::new(Activity::new());
    let facts = Facts {
        remote: None,
        local: None,
        tls: None,
        trusted: false,
        metrics_only: false,
        plain_http1: true,
        proxies: shared.proxies.clone(),
    };
    let stream = Stream::new(socket, Arc::clone(&activity), &shared.limits);
    if let Err(error) = serve_http(&shared, stream, facts, activity, false, None, None).await {
        tracing::debug!(%error, "connection on the unix socket ended");
    }
}

async fn proxied_ends<S>(
    door: &Door<S>,
    stream: &mut Stream<TcpStream>,
    remote: SocketAddr,
) -> io::Result<Option<proxy_protocol::Ends>> {
    let required = match door.config.proxy_protocol {
        ProxyProtocol::Off => return Ok(None),
        ProxyProtocol::Accept => false,
        ProxyProtocol::Require => true,
    };
    if !door.shared.proxies.contain(remote.ip()) {
        return if required {
            Err(io::Error::other("only trusted proxies may connect here"))
        } else {
            Ok(None)
        };
    }
    timeout(
        door.shared.limits.proxy_timeout,
        proxy_protocol::read(stream, required),
    )
    .await?
}

/// HTTP/2 without TLS is known by its first bytes alone.
async fn speaks_http2(stream: &mut Stream<TcpStream>) -> io::Result<bool> {
    loop {
        let ahead = stream.ahead();
        let common = ahead.len().min(HTTP2_PREFACE.len());
        if ahead[..common] != HTTP2_PREFACE[..common] {
            return Ok(false);
        }
        if common == HTTP2_PREFACE.len() {
            return Ok(true);
        }
        if !stream.read_ahead().await? {
            return Ok(false);
        }
    }
}

/// A TLS handshake never begins with a letter, a request always does.
async fn speaks_plain_http(stream: &mut Stream<TcpStream>) -> io::Result<bool> {
    if stream.ahead().is_empty() {
        stream.read_ahead().await?;
    }
    Ok(stream.ahead().first().is_some_and(u8::is_ascii_uppercase))
}

async fn refuse_plain_http<T>(mut stream: Stream<TcpStream>) -> io::Result<T> {
    const ANSWER: &[u8] =
        b"HTTP/1.0 400 Bad Request\r\ncontent-type: text/plain\r\nconnection: close\r\n\r\n\
        this port speaks https\n";
    stream.write_all(ANSWER).await?;
    stream.turn_away().await;
    Err(io::Error::other("plain HTTP on a port with TLS"))
}

fn tls_peer(session: &ServerConnection, map: &ClientMap) -> TlsPeer {
    let leaf = session.peer_certificates().and_then(|chain| chain.first());
    TlsPeer {
        server_name: session.server_name().map(str::to_owned),
        client: leaf.and_then(|leaf| client_cert::read(leaf, map)),
    }
}

/// When the certificate of the client ends; none without one.
fn expiry(session: &ServerConnection) -> Option<Instant> {
    let leaf = session.peer_certificates()?.first()?;
    let left = client_cert::not_after(leaf)? - UnixTime::now().as_secs() as i64;
    // A certificate may be for ever; a connection is not.
    let left = Duration::from_secs(u64::try_from(left).unwrap_or(0)).min(FOR_EVER);
    Some(Instant::now() + left)
}

/// IPv4 clients of a socket that takes both families come as `::ffff:192.0.2.1`.
fn canonical(address: SocketAddr) -> SocketAddr {
    SocketAddr::new(address.ip().to_canonical(), address.port())
}

/// Serves HTTP on what is left of a connection after PROXY header and TLS.
pub(super) async fn serve_http<S, B, T>(
    shared: &Shared<S>,
    stream: T,
    facts: Facts,
    activity: Arc<Activity>,
    http2: bool,
    redirects: Option<Redirects>,
    certified: Option<Certified>,
) -> hyper::Result<()>
where
    S: Service<
            Request<Incoming>,
            Response = Response<B>,
            Error = Infallible,
            Future: Send + 'static,
        > + Clone,
    B: Answer,
    T: AsyncRead + AsyncWrite + Unpin + 'static,
{
    let service = Requests {
        inner: shared.service.clone(),
        connection: Connection::new(facts),
        activity: Arc::clone(&activity),
        redirects,
    };
    let io = TokioIo::new(stream);
    let watch = Watch {
        activity: &activity,
        limits: &shared.limits,
        closing: &shared.closing.child_token(),
        certified: certified.as_ref(),
    };
    activity.begin(!http2);
    if http2 {
        let http2 = shared.protocols.http2(&activity);
        let connection = pin!(http2.serve_connection(io, service));
        watch
            .drive(connection, http2::Connection::graceful_shutdown)
            .await
    } else {
        let connection = pin!(shared.protocols.http1.serve_connection(io, service));
        watch
            .drive(connection, http1::Connection::graceful_shutdown)
            .await
    }
}

/// What a connection is held against while it runs.
struct Watch<'a> {
    activity: &'a Activity,
    limits: &'a Limits,
    closing: &'a CancellationToken,
    certified: Option<&'a Certified>,
}

enum Phase {
    Serving,
    /// The server stops, and the first request is still awaited.
    AwaitingFirst,
    /// It was told to end after its running requests.
    Leaving,
}

impl Watch<'_> {
    async fn drive<C>(
        &self,
        mut connection: Pin<&mut C>,
        leave: fn(Pin<&mut C>),
    ) -> hyper::Result<()>
    where
        C: Future<Output = hyper::Result<()>>,
    {
        let mut phase = Phase::Serving;
        let mut closing = pin!(self.closing.cancelled());
        let mut uncertified = pin!(self.uncertified());
        let mut timer = pin!(sleep_until(Instant::now() + self.limits.header_timeout));
        loop {
            tokio::select! {
                biased;
                ended = &mut connection => return ended,
                () = &mut closing, if matches!(phase, Phase::Serving) => {
                    phase = if self.activity.touched() {
                        leave(connection.as_mut());
                        Phase::Leaving
                    } else {
                        Phase::AwaitingFirst
                    };
                    let grace = if matches!(phase, Phase::Leaving) { FAREWELL } else { FIRST_REQUEST };
                    timer.as_mut().reset(Instant::now() + grace);
                }
                () = &mut uncertified, if matches!(phase, Phase::Serving) => {
                    leave(connection.as_mut());
                    phase = Phase::Leaving;
                    timer.as_mut().reset(Instant::now() + FAREWELL);
                }
                () = &mut timer => {
                    let next = match phase {
                        Phase::Serving => match self.activity.verdict(self.limits) {
                            Verdict::Wait(until) => Some(until),
                            Verdict::Late => return Ok(()),
                            Verdict::Idle => None,
                        },
                        Phase::AwaitingFirst => None,
                        Phase::Leaving if self.activity.quiet_for(FAREWELL) => return Ok(()),
                        Phase::Leaving => {
                            self.activity.cut_stalled(self.limits.write_timeout);
                            Some(Instant::now() + FAREWELL)
                        }
                    };
                    if next.is_none() {
                        leave(connection.as_mut());
                        phase = Phase::Leaving;
                    }
                    timer.as_mut().reset(next.unwrap_or_else(|| Instant::now() + FAREWELL));
                }
            }
        }
    }

    /// When the client's certificate would have to be verified again. Never for a client without one.
    async fn uncertified(&self) {
        let Some(certified) = self.certified else {
            return std::future::pending().await;
        };
        tokio::select! {
            () = certified.replaced.cancelled() => {}
            () = sleep_until(certified.expires) => {}
        }
    }
}
