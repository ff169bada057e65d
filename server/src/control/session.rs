//! A command's way to the registry: over the socket of the server that runs on the data directory, or, when none runs, with
//! the directory's lock in its own hands.

use std::{
    io,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use anyhow::{Context, Result, anyhow, bail};
use bytes::Bytes;
use http::header;
use http_body_util::{BodyExt, Full};
use hyper::{body::Incoming, client::conn::http1};
use hyper_util::rt::TokioIo;
use serde::de::DeserializeOwned;
use serde_json::Value;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::{House, Line, Progress, Request, Work, execute::execute};
use crate::{
    boot::{self, DataDir, InUse, Opened},
    config::Config,
    listen,
    moving::Mover,
};

/// How long a command waits for another one that has the lock, or for a server that is still starting.
const PATIENCE: Duration = Duration::from_secs(10);
const LOOK_AGAIN: Duration = Duration::from_millis(50);

/// A way to the registry.
pub enum Session {
    Server(PathBuf),
    Own(Box<Own>),
}

/// A registry that this command opened itself.
pub struct Own {
    house: House,
    /// Holds the lock of the data directory.
    _data: DataDir,
}

impl Session {
    /// Finds the running server, or opens what it left.
    pub async fn open(config: &Config) -> Result<Self> {
        let opened = Self::open_by(config, async || boot::open_made(config).await).await?;
        Ok(opened.0)
    }

    /// As [`Session::open`], to take over a tree: with no server running it makes a registry for it where there is none. Also
    /// the administrator's password, when it was made up.
    pub async fn open_to_import(config: &Config) -> Result<(Self, Option<String>)> {
        Self::open_by(config, async || boot::open_to_import(config).await).await
    }

    async fn open_by(
        config: &Config,
        open: impl AsyncFn() -> Result<Opened>,
    ) -> Result<(Self, Option<String>)> {
        let socket = DataDir::socket(&config.server.data);
        let deadline = Instant::now() + PATIENCE;
        loop {
            if answers(&socket).await? {
                return Ok((Self::Server(socket), None));
            }
            match open().await {
                Ok(mut opened) => {
                    let new_password = opened.new_password.take();
                    return Ok((Self::own(opened), new_password));
                }
                Err(error) if error.is::<InUse>() && Instant::now() < deadline => {
                    tokio::time::sleep(LOOK_AGAIN).await;
                }
                Err(error) if error.is::<InUse>() => {
                    return Err(
                        error.context(format!("nobody answers at `{}` although", socket.display()))
                    );
                }
                Err(error) => return Err(error),
            }
        }
    }

    /// Whether a server runs on the data directory.
    pub async fn is_served(config: &Config) -> Result<bool> {
        answers(&DataDir::socket(&config.server.data)).await
    }

    fn own(opened: Opened) -> Self {
        let mover = Arc::new(Mover::new(&opened, opened.config.outbound(), false));
        let house = House {
            mover,
            registry: opened.registry,
            auth: opened.auth,
            forget: opened.forget,
            runs_jobs: false,
        };
        Self::Own(Box::new(Own {
            house,
            _data: opened.data,
        }))
    }

    /// Has a request executed.
    pub async fn ask<T: DeserializeOwned>(&self, request: Request) -> Result<T> {
        self.follow(request, |_| {}).await
    }

    /// The same for long work, with a view of how far it has come.
    pub async fn follow<T: DeserializeOwned>(
        &self,
        request: Request,
        show: impl FnMut(Progress),
    ) -> Result<T> {
        let answer = match self {
            Self::Server(socket) => ask_server(socket, &request, show).await?,
            Self::Own(own) => carry_out(&own.house, request, show).await?,
        };
        serde_json::from_value(answer)
            .context("the answer is not as expected: is the server of another version?")
    }

    /// Waits until what was written is where it belongs.
    pub async fn close(self) {
        if let Self::Own(own) = self {
            own.house.registry.db().close().await;
        }
    }
}

/// Whether a server listens. A socket that a killed server left behind refuses connections.
async fn answers(socket: &Path) -> Result<bool> {
    match listen::connect_unix(socket).await {
        Ok(_) => Ok(true),
        Err(error)
            if matches!(
                error.kind(),
                io::ErrorKind::NotFound | io::ErrorKind::ConnectionRefused
            ) =>
        {
            Ok(false)
        }
        Err(error) if error.kind() == io::ErrorKind::PermissionDenied => bail!(
            "the server's socket `{}` is not open to this user: run the command as the user whom the server runs as",
            socket.display()
        ),
        Err(error) => {
            Err(anyhow!(error)
                .context(format!("cannot reach the server at `{}`", socket.display())))
        }
    }
}

async fn carry_out(
    house: &House,
    request: Request,
    mut show: impl FnMut(Progress),
) -> Result<Value> {
    let (work, mut progress) = Work::new(CancellationToken::new());
    let execution = execute(house, request, &work);
    tokio::pin!(execution);
    loop {
        tokio::select! {
            done = &mut execution => return Ok(done?),
            Ok(()) = progress.changed() => {
                let news = progress.borrow_and_update().clone();
                if let Some(news) = news {
                    show(news);
                }
            }
        }
    }
}

async fn ask_server(socket: &Path, request: &Request, show: impl FnMut(Progress)) -> Result<Value> {
    let failed = || format!("cannot reach the server at `{}`", socket.display());
    let stream = listen::connect_unix(socket).await.with_context(failed)?;
    let (mut sender, connection) = http1::handshake(TokioIo::new(stream))
        .await
        .with_context(failed)?;
    let exchange = async {
        let body = serde_json::to_vec(request)?;
        let request = hyper::Request::post("/")
            .header(header::HOST, "localhost")
            .header(header::CONTENT_TYPE, "application/json")
            .body(Full::new(Bytes::from(body)))?;
        let answer = sender.send_request(request).await.with_context(failed)?;
        read(answer.into_body(), show).await
    };
    // The exchange hears of the connection's end by itself, after everything that came before it.
    let connection = async {
        let _ = connection.await;
        std::future::pending::<()>().await;
    };
    tokio::select! {
        answer = exchange => answer,
        () = connection => unreachable!("pending for ever"),
    }
}

async fn read(mut body: Incoming, mut show: impl FnMut(Progress)) -> Result<Value> {
    const ENDED: &str = "the server ended before it answered; what it had begun may be done";
    let mut text = Vec::new();
    while let Some(frame) = body.frame().await {
        let Ok(data) = frame.context(ENDED)?.into_data() else {
            continue;
        };
        text.extend_from_slice(&data);
        while let Some(end) = text.iter().position(|&byte| byte == b'\n') {
            let line: Vec<u8> = text.drain(..=end).collect();
            if line == b"\n" {
                continue;
            }
            match serde_json::from_slice(&line).context("the server does not speak as expected")? {
                Line::Progress(progress) => show(progress),
                Line::Done(answer) => return Ok(answer),
                Line::Error(error) => bail!(error),
            }
        }
    }
    bail!(ENDED)
}
