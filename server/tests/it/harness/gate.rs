//! A way to a server that can be closed: then it is as if nobody listened there.

use std::net::SocketAddr;

use tokio::{
    net::{TcpListener, TcpStream},
    sync::watch,
    task::JoinSet,
};

/// Closed for good when it is dropped.
pub struct Gate {
    pub address: SocketAddr,
    open: watch::Sender<bool>,
    _tasks: JoinSet<()>,
}

impl Gate {
    /// Open, on the way to `to`.
    pub async fn to(to: SocketAddr) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let address = listener.local_addr().expect("an address");
        let (open, state) = watch::channel(true);
        let mut tasks = JoinSet::new();
        tasks.spawn(pass(Some(listener), address, to, state));
        Self {
            address,
            open,
            _tasks: tasks,
        }
    }

    /// Ends what runs through it, and refuses what comes.
    pub fn close(&self) {
        self.open.send_replace(false);
    }

    pub fn open(&self) {
        self.open.send_replace(true);
    }
}

async fn pass(
    mut listener: Option<TcpListener>,
    address: SocketAddr,
    to: SocketAddr,
    mut state: watch::Receiver<bool>,
) {
    loop {
        let listening = match listener.take() {
            Some(listening) => listening,
            None => TcpListener::bind(address).await.expect("the port is ours"),
        };
        let mut connections = JoinSet::new();
        loop {
            tokio::select! {
                accepted = listening.accept() => {
                    let Ok((mut from, _)) = accepted else { continue };
                    connections.spawn(async move {
                        if let Ok(mut there) = TcpStream::connect(to).await {
                            let _ = tokio::io::copy_bidirectional(&mut from, &mut there).await;
                        }
                    });
                }
                closed = state.wait_for(|open| !open) => {
                    if closed.is_err() {
                        return;
                    }
                    break;
                }
            }
        }
        drop((listening, connections));
        if state.wait_for(|open| *open).await.is_err() {
            return;
        }
    }
}
