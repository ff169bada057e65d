//! The audit on its way to a site's own collector, as syslog messages, in order, each at least once. It is no job: it runs beside
//! them for as long as the server, on one node at a time, and a cursor says how far the collector is known to have everything.
//! A collector that was away for an hour, or a week, gets what it missed.

mod message;
mod session;

#[cfg(test)]
mod tests;

use std::time::Duration;

use db::{
    Db, audit,
    cursors::{self, Cursor},
    leases,
};
use model::{Error, Result};
use outbound::{Trust, syslog::Address};
use tokio::time::Instant;
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use self::session::Session;

/// Rows that are shown again in one transaction.
const SHOWN_AT_ONCE: i64 = 1000;
/// The name of the cursor, and of the lease of whoever moves it.
pub(crate) const NAME: &str = "audit-forward";

#[derive(Debug, Clone)]
pub struct Config {
    /// How often settings and new rows are looked for.
    pub poll: Duration,
    pub lease: Duration,
    /// How long a connection must live on after its other end has acknowledged a message, before that counts as read: a
    /// collector that dies with messages in its buffers resets the connection.
    pub settle: Duration,
    /// The longest pause after failures.
    pub longest_pause: Duration,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            poll: Duration::from_secs(1),
            lease: Duration::from_secs(30),
            settle: Duration::from_secs(2),
            longest_pause: Duration::from_secs(30),
        }
    }
}

pub struct Forwarder {
    db: Db,
    trust: Trust,
    config: Config,
    shutdown: CancellationToken,
    session: Option<Session>,
    /// Until when this node leads without asking again.
    leads_until: Option<Instant>,
    /// Where the audit ended when nobody wanted it yet: there begins what whoever wants it then gets.
    seen: Option<Cursor>,
    /// How often the database had become another when these places were read.
    moves: u64,
    is_failing: bool,
}

impl Forwarder {
    /// Runs until `shutdown`; the task is owned by the tracker.
    pub fn start(db: &Db, trust: &Trust, tracker: &TaskTracker, shutdown: CancellationToken) {
        tracker.spawn(Self::new(db, trust, Config::default(), shutdown).run());
    }

    fn new(db: &Db, trust: &Trust, config: Config, shutdown: CancellationToken) -> Self {
        // Shown from the start: an alert on a figure that does not exist yet never fires.
        metrics::counter!("seawall_audit_forwarded_total").increment(0);
        Self {
            db: db.in_background(),
            trust: trust.clone(),
            config,
            shutdown,
            session: None,
            leads_until: None,
            seen: None,
            moves: db.moves(),
            is_failing: false,
        }
    }

    async fn run(mut self) {
        let shutdown = self.shutdown.clone();
        while !shutdown.is_cancelled() {
            let pause = match self.round().await {
                Ok(pause) => {
                    self.is_failing = false;
                    pause
                }
                Err(error) => {
                    if !self.is_failing {
                        tracing::warn!(%error, "the audit cannot be read to be forwarded; trying again");
                    }
                    self.is_failing = true;
                    self.session = None;
                    self.config.poll * 2
                }
            };
            tokio::select! {
                () = shutdown.cancelled() => {}
                () = tokio::time::sleep(pause) => {}
            }
        }
        if let Err(error) = self.end().await {
            tracing::debug!(%error, "the last messages of the audit will be sent again");
        }
    }

    /// One look; answers how long until the next.
    async fn round(&mut self) -> Result<Duration> {
        let moves = self.db.moves();
        if moves != self.moves {
            // Places in the log are others there.
            (self.moves, self.session, self.seen) = (moves, None, None);
        }
        let settings = self.db.settings().await?;
        let wanted = settings
            .audit_log_forward_endpoint()
            .and_then(Address::of_endpoint);
        let Some(address) = wanted else {
            self.idle().await?;
            return Ok(self.config.poll);
        };
        if !self.leads().await? {
            self.session = None;
            return Ok(self.config.poll);
        }
        if self
            .session
            .as_ref()
            .is_none_or(|session| session.address != address)
        {
            self.session = Some(self.begin(address).await?);
        }
        let until = self.leads_until.unwrap_or_else(Instant::now);
        let session = self.session.as_mut().expect("made above");
        session.round(&self.db, until).await
    }

    /// Nobody wants the audit. Whoever wants it later gets what happens from now on.
    async fn idle(&mut self) -> Result<()> {
        self.session = None;
        let (end, kept) = {
            let mut reader = self.db.reader().await?;
            let end = audit::end(&mut reader).await?;
            (end, cursors::find(&mut reader, NAME).await?)
        };
        self.seen = Some(end);
        // Under the lease: another node may have seen already that somebody wants it again.
        if kept.is_some() && self.leads().await? {
            let forget = self
                .db
                .write(|tx| Box::pin(async move { cursors::delete(tx, NAME).await }));
            forget.await?;
        }
        if self.has_unsent().await? {
            self.show_unsent().await?;
        }
        if self.leads_until.is_some() {
            self.release().await?;
        }
        Ok(())
    }

    async fn has_unsent(&self) -> Result<bool> {
        audit::has_unsent(&mut *self.db.reader().await?).await
    }

    /// What was to be forwarded and then go is shown like everything else: or it would be lost.
    async fn show_unsent(&mut self) -> Result<()> {
        while self.leads().await? && !self.shutdown.is_cancelled() {
            let shown = self
                .db
                .write(|tx| Box::pin(async move { audit::show_unsent(tx, SHOWN_AT_ONCE).await }));
            if shown.await? < SHOWN_AT_ONCE as u64 {
                break;
            }
        }
        Ok(())
    }

    async fn begin(&self, address: Address) -> Result<Session> {
        let (seen, moves, db) = (self.seen, self.moves, self.db.clone());
        let kept = self
            .db
            .write(move |tx| {
                let is_moved = db.moves() != moves;
                Box::pin(async move {
                    if is_moved {
                        return Err(moved());
                    }
                    if let Some(kept) = cursors::find(tx, NAME).await? {
                        return Ok(kept);
                    }
                    let begin = match seen {
                        Some(seen) => seen,
                        None => audit::end(tx).await?,
                    };
                    let now = tx.now().await?;
                    cursors::set(tx, NAME, begin, now).await?;
                    Ok(begin)
                })
            })
            .await?;
        tracing::info!(endpoint = %address, "the audit is forwarded");
        let mut session = Session::new(
            address,
            &self.trust,
            &self.config,
            self.shutdown.clone(),
            &self.db,
            kept,
        );
        session.moves = moves;
        Ok(session)
    }

    /// Where no other process writes the database there is nobody to agree with.
    async fn leads(&mut self) -> Result<bool> {
        let asked = Instant::now();
        let length = self.config.lease;
        let renews = |until: Instant| until.saturating_duration_since(asked) < length * 2 / 3;
        if !self.leads_until.is_none_or(renews) {
            return Ok(true);
        }
        let held = self.db.is_exclusive() || hold(&self.db, length).await?;
        self.leads_until = held.then_some(asked + length);
        Ok(held)
    }

    async fn release(&mut self) -> Result<()> {
        self.leads_until = None;
        if self.db.is_exclusive() {
            return Ok(());
        }
        let node = self.db.node().to_owned();
        self.db
            .write(move |tx| {
                let node = node.clone();
                Box::pin(async move { leases::release(tx, NAME, &node).await })
            })
            .await
    }

    /// Says good-bye, so that what the collector has read is not sent again, and lets another node go on.
    async fn end(&mut self) -> Result<()> {
        if let Some(session) = &mut self.session {
            session.end(&self.db).await?;
        }
        if self.leads_until.is_some() {
            self.release().await?;
        }
        Ok(())
    }
}

async fn hold(db: &Db, length: Duration) -> Result<bool> {
    let node = db.node().to_owned();
    db.write(move |tx| {
        let node = node.clone();
        Box::pin(async move { leases::hold(tx, NAME, &node, length).await })
    })
    .await
}

/// Moves the cursor, when this node still leads, and forgets rows that were kept for this alone.
async fn keep(db: &Db, moves: u64, length: Duration, end: Cursor, gone: Vec<i64>) -> Result<()> {
    let (node, is_shared, handle) = (db.node().to_owned(), !db.is_exclusive(), db.clone());
    db.write(move |tx| {
        let (node, gone) = (node.clone(), gone.clone());
        let is_moved = handle.moves() != moves;
        Box::pin(async move {
            if is_moved {
                return Err(moved());
            }
            if is_shared && !leases::hold(tx, NAME, &node, length).await? {
                return Err(Error::Unavailable(anyhow::anyhow!(
                    "another node forwards the audit now"
                )));
            }
            let now = tx.now().await?;
            cursors::set(tx, NAME, end, now).await?;
            if !gone.is_empty() {
                audit::forget_forwarded(tx, &gone).await?;
            }
            Ok(())
        })
    })
    .await
}

/// What was sent last is sent again.
fn moved() -> Error {
    Error::Unavailable(anyhow::anyhow!(
        "the database was moved while the audit was forwarded"
    ))
}
