//! Taking connections: as many at once as there are slots, until the server stops; then the running ones end, or are cut.

use std::{future::Future, io, net::SocketAddr, sync::Arc, time::Duration};

use futures_util::FutureExt;
use tokio::{
    net::{TcpListener, TcpStream, UnixListener, UnixStream},
    sync::{OwnedSemaphorePermit, Semaphore},
    task::{JoinError, JoinSet},
    time::Instant,
};
use tokio_util::sync::CancellationToken;

/// How long to wait after an error that the next `accept` would meet too, such as too many open files.
const PAUSE: Duration = Duration::from_millis(100);
/// The least time between two warnings about the same shortage.
const QUIET: Duration = Duration::from_mins(1);

/// A socket that takes connections.
pub(super) trait Accept {
    type Socket: Send + 'static;

    fn accept_one(&self) -> impl Future<Output = io::Result<Self::Socket>> + Send;
}

impl Accept for TcpListener {
    type Socket = (TcpStream, SocketAddr);

    async fn accept_one(&self) -> io::Result<Self::Socket> {
        self.accept().await
    }
}

impl Accept for UnixListener {
    type Socket = UnixStream;

    async fn accept_one(&self) -> io::Result<UnixStream> {
        Ok(self.accept().await?.0)
    }
}

/// The two steps of stopping.
#[derive(Clone)]
pub(super) struct Ending {
    /// No new connections; the running ones end after their requests.
    pub(super) closing: CancellationToken,
    /// Whatever still runs is dropped.
    pub(super) cut: CancellationToken,
}

/// Serves what comes until `closing`, and waits for what is left until `cut`.
pub(super) async fn accept_all<L, F>(
    listener: L,
    slots: Arc<Semaphore>,
    ending: &Ending,
    serve: impl Fn(L::Socket) -> F,
) where
    L: Accept,
    F: Future<Output = ()> + Send + 'static,
{
    let mut connections = JoinSet::new();
    let spawn = |connections: &mut JoinSet<()>, slot: OwnedSemaphorePermit, socket| {
        let connection = serve(socket);
        let open = Open::new(slot);
        connections.spawn(async move {
            connection.await;
            drop(open);
        });
    };
    let mut warned = None;
    loop {
        let next = async {
            let slot = take_slot(&slots, &mut warned).await;
            listener.accept_one().await.map(|socket| (slot, socket))
        };
        tokio::select! {
            biased;
            () = ending.closing.cancelled() => break,
            Some(ended) = connections.join_next() => tell_panic(ended),
            accepted = next => match accepted {
                Ok((slot, socket)) => spawn(&mut connections, slot, socket),
                Err(error) => pause_after(&error, &mut warned).await,
            },
        }
    }
    // What the kernel took on our behalf would be reset when the listener closes.
    while let Ok(slot) = Arc::clone(&slots).try_acquire_owned() {
        match listener.accept_one().now_or_never() {
            Some(Ok(socket)) => spawn(&mut connections, slot, socket),
            Some(Err(_)) | None => break,
        }
    }
    drop(listener);
    let all = async {
        while let Some(ended) = connections.join_next().await {
            tell_panic(ended);
        }
    };
    if ending.cut.run_until_cancelled(all).await.is_none() {
        tracing::warn!(
            connections = connections.len(),
            "connections were cut, since the time to drain is over"
        );
        connections.shutdown().await;
    }
}

/// The right to one connection.
async fn take_slot(slots: &Arc<Semaphore>, warned: &mut Option<Instant>) -> OwnedSemaphorePermit {
    loop {
        if let Ok(slot) = Arc::clone(slots).try_acquire_owned() {
            return slot;
        }
        if is_due(warned) {
            tracing::warn!(
                "all connections that `limits.max_connections` allows are in use, new ones wait"
            );
        }
        // Only to wait: the permit goes back and is taken above.
        let _ = slots.acquire().await;
    }
}

/// A connection that counts as open for as long as this lives.
struct Open {
    _slot: OwnedSemaphorePermit,
}

impl Open {
    fn new(slot: OwnedSemaphorePermit) -> Self {
        metrics::gauge!("seawall_connections").increment(1.0);
        Self { _slot: slot }
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        metrics::gauge!("seawall_connections").decrement(1.0);
    }
}

fn is_due(warned: &mut Option<Instant>) -> bool {
    let due = warned.is_none_or(|last| last.elapsed() >= QUIET);
    if due {
        *warned = Some(Instant::now());
    }
    due
}

async fn pause_after(error: &io::Error, warned: &mut Option<Instant>) {
    match error.kind() {
        // That one client went away before its turn came.
        io::ErrorKind::ConnectionAborted
        | io::ErrorKind::ConnectionReset
        | io::ErrorKind::Interrupted => {}
        _ => {
            if is_due(warned) {
                tracing::warn!(%error, "cannot accept connections, trying on");
            }
            tokio::time::sleep(PAUSE).await;
        }
    }
}

fn tell_panic(ended: Result<(), JoinError>) {
    if let Err(error) = ended
        && error.is_panic()
    {
        tracing::error!(%error, "a request panicked, its connection is closed");
    }
}
