//! Tells everybody that this node runs jobs, and how many at once.

use std::time::Duration;

use db::{
    Db,
    jobs::queues::{self, Node},
};
use tokio_util::sync::CancellationToken;

/// How often it is told where nobody else asks: often enough not to be forgotten.
const SELDOM: Duration = Duration::from_hours(1);

/// Until `shutdown`.
pub(crate) async fn show(db: Db, workers: usize, lease: Duration, shutdown: CancellationToken) {
    let mut started_at = None;
    while !shutdown.is_cancelled() {
        let (name, host, pid) = (db.node().to_owned(), host(), i64::from(std::process::id()));
        let shown = db.write(move |tx| {
            let (name, host) = (name.clone(), host.clone());
            Box::pin(async move {
                let now = tx.now().await?;
                let node = Node {
                    name,
                    host,
                    pid,
                    workers: workers as i64,
                    started_at: started_at.unwrap_or(now),
                    seen_at: now,
                };
                queues::see(tx, &node).await?;
                Ok(node.started_at)
            })
        });
        match shown.await {
            Ok(since) => started_at = Some(since),
            Err(error) => {
                tracing::debug!(%error, "this node could not be shown among those that run jobs");
            }
        }
        let pause = if db.is_exclusive() { SELDOM } else { lease / 3 };
        tokio::select! {
            () = shutdown.cancelled() => {}
            () = tokio::time::sleep(pause) => {}
        }
    }
    let name = db.node().to_owned();
    let left = db.write(move |tx| {
        let name = name.clone();
        Box::pin(async move { queues::leave(tx, &name).await })
    });
    if let Err(error) = left.await {
        tracing::debug!(%error, "this node is shown for a while although it has stopped");
    }
}

fn host() -> String {
    rustix::system::uname()
        .nodename()
        .to_string_lossy()
        .into_owned()
}
