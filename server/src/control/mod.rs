//! The socket on which commands reach a running server: `DATA/seawall.sock`, for its owner alone.
//!
//! A command posts one [`Request`] as JSON and reads lines of JSON ([`Line`], or empty) until one says how it ended. Whoever may open
//! the socket is the operator of this machine and may do everything; nobody is asked for a password.

pub mod answer;
pub mod execute;
pub mod request;
pub mod session;

use std::{convert::Infallible, path::PathBuf, sync::Arc, time::Duration};

use anyhow::Result;
use auth::Auth;
use bytes::Bytes;
use db::users::Forget;
use futures_util::{future::BoxFuture, stream};
use http::{Method, Response, StatusCode, header};
use http_body_util::{BodyExt, Limited, StreamBody, combinators::UnsyncBoxBody};
use hyper::body::{Frame, Incoming};
use registry::Registry;
use serde_json::Value;
use tokio::{sync::mpsc, time::timeout};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

pub use self::{
    answer::{Line, Progress},
    execute::{House, Work},
    request::Request,
    session::Session,
};
use crate::{
    listen::{self, Drain, Stop, UnixSocket},
    moving::Mover,
};

/// A request is names, flags and a password.
const MAX_REQUEST: usize = 256 * 1024;
/// How often progress is sent.
const TELL: Duration = Duration::from_millis(200);
/// An empty line is sent after this silence: only what is written shows that the command has gone away.
const BEAT: Duration = Duration::from_secs(1);
/// How long answers may take to end when the server stops.
const DRAIN: Duration = Duration::from_secs(2);

type Body = UnsyncBoxBody<Bytes, Infallible>;

/// The open socket of a server.
pub struct Control {
    socket: UnixSocket,
    house: Arc<House>,
}

impl Control {
    /// Opens the socket; from now on commands wait until `serve` answers them.
    pub fn open(
        path: PathBuf,
        registry: Registry,
        auth: Auth,
        forget: Forget,
        mover: Arc<Mover>,
    ) -> Result<Self> {
        let socket = UnixSocket::open(path)?;
        let house = Arc::new(House {
            registry,
            auth,
            forget,
            runs_jobs: true,
            mover,
        });
        Ok(Self { socket, house })
    }

    /// Answers commands until `end`; work that is under way then is cancelled.
    pub async fn serve(self, end: CancellationToken) {
        let tasks = TaskTracker::new();
        let counter = Counter {
            house: self.house,
            tasks: tasks.clone(),
            end: end.clone(),
        };
        let stop = Stop {
            shutdown: end,
            cut: CancellationToken::new(),
        };
        let config = listen::Config {
            drain: Drain {
                delay: Duration::ZERO,
                timeout: DRAIN,
            },
            ..listen::Config::default()
        };
        self.socket.serve(counter, &config, stop).await;
        tasks.close();
        tasks.wait().await;
    }
}

/// Takes requests and has them executed.
#[derive(Clone)]
struct Counter {
    house: Arc<House>,
    tasks: TaskTracker,
    end: CancellationToken,
}

impl hyper::service::Service<hyper::Request<Incoming>> for Counter {
    type Response = Response<Body>;
    type Error = Infallible;
    type Future = BoxFuture<'static, Result<Response<Body>, Infallible>>;

    fn call(&self, request: hyper::Request<Incoming>) -> Self::Future {
        let counter = self.clone();
        Box::pin(async move { Ok(counter.answer(request).await) })
    }
}

impl Counter {
    async fn answer(self, request: hyper::Request<Incoming>) -> Response<Body> {
        if request.method() != Method::POST {
            return refuse(StatusCode::METHOD_NOT_ALLOWED, "post a request as JSON");
        }
        let Ok(body) = Limited::new(request.into_body(), MAX_REQUEST)
            .collect()
            .await
        else {
            return refuse(
                StatusCode::PAYLOAD_TOO_LARGE,
                "the request is cut short or too long",
            );
        };
        let request = match parse(&body.to_bytes()) {
            Ok(request) => request,
            Err(why) => return refuse(StatusCode::BAD_REQUEST, &why),
        };
        let (lines, receiver) = mpsc::channel(8);
        let cancel = self.end.child_token();
        // Dropped with the body: when the command has gone away, or everything was said.
        let gone = cancel.clone().drop_guard();
        self.tasks
            .spawn(carry_out(self.house.clone(), request, cancel, lines));
        let body = stream::unfold((receiver, gone), |(mut receiver, gone)| async move {
            let bytes = match timeout(BEAT, receiver.recv()).await {
                Ok(line) => encode(&line?),
                Err(_) => Bytes::from_static(b"\n"),
            };
            Some((Ok(Frame::data(bytes)), (receiver, gone)))
        });
        respond(StatusCode::OK, StreamBody::new(body).boxed_unsync())
    }
}

/// Reads a request. Its name alone goes to the log: there may be a password inside.
fn parse(body: &[u8]) -> Result<Request, String> {
    let unreadable = |error: serde_json::Error| {
        format!(
            "this server ({}) cannot read the command, which may be of another version: {error}",
            env!("CARGO_PKG_VERSION")
        )
    };
    let value: Value = serde_json::from_slice(body).map_err(unreadable)?;
    let name = value["command"].as_str().unwrap_or_default().to_owned();
    let request: Request = serde_json::from_value(value).map_err(unreadable)?;
    if request.is_look() {
        tracing::debug!(command = %name, "asked by a command");
    } else {
        tracing::info!(command = %name, "asked by a command");
    }
    Ok(request)
}

/// Executes the request, telling now and then how far it has come.
async fn carry_out(
    house: Arc<House>,
    request: Request,
    cancel: CancellationToken,
    lines: mpsc::Sender<Line>,
) {
    let (work, mut progress) = Work::new(cancel);
    let execution = execute::execute(&house, request, &work);
    tokio::pin!(execution);
    let mut tick = tokio::time::interval(TELL);
    let last = loop {
        tokio::select! {
            done = &mut execution => break match done {
                Ok(answer) => Line::Done(answer),
                Err(error) => Line::Error(error.to_string()),
            },
            _ = tick.tick() => {
                let news = progress.has_changed().unwrap_or(false).then(|| progress.borrow_and_update().clone()).flatten();
                if let Some(news) = news {
                    // A reader who is slow misses some; one who is gone has cancelled the work.
                    let _ = lines.try_send(Line::Progress(news));
                }
            }
        }
    };
    if let Line::Error(error) = &last {
        tracing::info!(%error, "a command was refused or failed");
    }
    let _ = lines.send(last).await;
}

fn encode(line: &Line) -> Bytes {
    let mut text = serde_json::to_vec(line).expect("a line is plain JSON");
    text.push(b'\n');
    text.into()
}

fn refuse(status: StatusCode, why: &str) -> Response<Body> {
    let line = encode(&Line::Error(why.to_owned()));
    respond(status, http_body_util::Full::new(line).boxed_unsync())
}

fn respond(status: StatusCode, body: Body) -> Response<Body> {
    Response::builder()
        .status(status)
        .header(header::CONTENT_TYPE, "application/x-ndjson")
        .body(body)
        .expect("a valid head")
}
