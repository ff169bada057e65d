//! Hearing from other nodes that a job waits: LISTEN on a connection of its own. Behind a pgbouncer in transaction mode nothing that
//! others say is ever heard, and nothing says so; so it counts only once a word that we said on another connection has come.

use std::{
    sync::atomic::{AtomicBool, Ordering},
    time::Duration,
};

use model::{Result, id::new_uid};
use tokio::sync::{Notify, mpsc};

use super::{address::Address, line::Line};

/// Said in a transaction it is heard when that commits.
pub(super) const TELL: &str = "NOTIFY seawall_jobs";
const LISTEN: &str = "LISTEN seawall_jobs";
/// A word of our own, with a number that nobody else says.
const ECHO_OF: &str = "SELECT pg_notify('seawall_jobs', $1)";
/// How long a word of our own may take to come back.
const ECHO: Duration = Duration::from_secs(5);
/// How often it is tried again, and how often it is made sure that somebody is still there.
const AGAIN: Duration = Duration::from_secs(10);
const SURE: Duration = Duration::from_mins(1);

/// `address` is where sessions are kept, `others` where everybody else tells.
pub(super) async fn hear(
    address: &Address,
    others: &Address,
    patience: Duration,
    waiting: &Notify,
    hears: &AtomicBool,
) {
    loop {
        if let Err(error) = listen(address, others, patience, waiting, hears).await {
            tracing::debug!(%error, "other nodes are not heard; their jobs are looked for now and then");
        }
        hears.store(false, Ordering::Relaxed);
        tokio::time::sleep(AGAIN).await;
    }
}

async fn listen(
    address: &Address,
    others: &Address,
    patience: Duration,
    waiting: &Notify,
    hears: &AtomicBool,
) -> Result<()> {
    let (told, mut news) = mpsc::channel(16);
    let line = address.connect_with(Some(told)).await?;
    say(&line, patience, LISTEN).await?;
    while echo(others, &mut news).await? {
        hears.store(true, Ordering::Relaxed);
        // Also for what was told before we listened.
        waiting.notify_one();
        let sure = tokio::time::sleep(SURE);
        tokio::pin!(sure);
        loop {
            tokio::select! {
                heard = news.recv() => match heard {
                    Some(_) => waiting.notify_one(),
                    None => return Ok(()), // the connection has ended
                },
                () = &mut sure => break,
            }
        }
    }
    Ok(())
}

/// Whether a word that is said on another connection comes.
async fn echo(address: &Address, news: &mut mpsc::Receiver<String>) -> Result<bool> {
    let word = new_uid();
    let other = address.connect().await?;
    other.execute(ECHO_OF, &[(&word).into()]).await?;
    let heard = async {
        while let Some(said) = news.recv().await {
            if said == word {
                return true;
            }
        }
        false
    };
    Ok(tokio::time::timeout(ECHO, heard).await.unwrap_or(false))
}

async fn say(line: &Line, patience: Duration, sql: &str) -> Result<()> {
    tokio::time::timeout(patience, line.batch(sql))
        .await
        .map_err(|_| super::no_answer(patience))?
}
