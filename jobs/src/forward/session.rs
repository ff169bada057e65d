//! What was sent over one connection, and how much of it counts as read. What is in doubt when the connection ends is sent again.

use std::{
    collections::VecDeque,
    io,
    time::{Duration, Instant as Deadline},
};

use db::{
    Db,
    audit::{self, Entry},
    cursors::Cursor,
};
use model::{Result, time::Timestamp};
use outbound::{
    Trust,
    syslog::{Address, Header, Sender},
};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::{Config, keep, message};

/// Rows that are read and sent at once.
const BATCH: i64 = 500;
/// Batches on their way; more wait until these count as read.
const WINDOW: usize = 20;
/// How often it is looked what counts as read.
const TICK: Duration = Duration::from_millis(200);
/// The first pause after a failure; the next is twice as long.
const FIRST_PAUSE: Duration = Duration::from_millis(500);
/// A collector that takes nothing for so long is called anew.
const STUCK_AFTER: Duration = Duration::from_secs(15);
/// How long a batch may be written: the lease must be renewed meanwhile.
const WRITING: Duration = Duration::from_secs(8);

pub(super) struct Session {
    pub(super) address: Address,
    header: Header,
    config: Config,
    shutdown: CancellationToken,
    /// Away while a thread writes with it.
    sender: Option<Sender>,
    trust: Trust,
    /// How often the database had become another when its place in the log was read.
    pub(super) moves: u64,
    sent: Cursor,
    /// As far as the cursor's row says.
    kept: Cursor,
    flight: VecDeque<Batch>,
    failures: u32,
}

/// Rows that were sent and do not count as read yet.
struct Batch {
    end: Cursor,
    rows: u64,
    /// Those that are kept for forwarding alone.
    passing: Vec<i64>,
    oldest: Timestamp,
    sent_at: Instant,
    acknowledged_at: Option<Instant>,
}

impl Session {
    pub(super) fn new(
        address: Address,
        trust: &Trust,
        config: &Config,
        shutdown: CancellationToken,
        db: &Db,
        kept: Cursor,
    ) -> Self {
        Self {
            header: message::header(db.node()),
            sender: None,
            address,
            config: config.clone(),
            shutdown,
            trust: trust.clone(),
            moves: db.moves(),
            sent: kept,
            kept,
            flight: VecDeque::new(),
            failures: 0,
        }
    }

    /// Sends what is new and keeps what counts as read; answers how long until the next look.
    pub(super) async fn round(&mut self, db: &Db, leads_until: Instant) -> Result<Duration> {
        if let Err(error) = self.settle(db).await? {
            return Ok(self.broken(&error));
        }
        let mut rows = Vec::new();
        if self.flight.len() < WINDOW {
            rows = audit::after(&mut *db.reader().await?, self.sent, BATCH).await?;
        }
        self.tell_lag(db, rows.first());
        let is_full = rows.len() as i64 == BATCH;
        if let Some(last) = rows.last() {
            let end = last.cursor;
            let asked = Instant::now();
            let limit = (asked + WRITING).min(leads_until);
            if let Err(error) = self.write(&rows, limit).await {
                return Ok(self.broken(&error));
            }
            self.sent = end;
            self.flight.push_back(Batch::of(&rows, end));
        }
        Ok(match self.flight.len() {
            0 => self.config.poll,
            _ if is_full && self.flight.len() < WINDOW => Duration::ZERO,
            _ => TICK.min(self.config.poll),
        })
    }

    /// At the end of the process: what the collector answers to a good-bye, it has read.
    pub(super) async fn end(&mut self, db: &Db) -> Result<()> {
        let Some(mut sender) = self.sender.take() else {
            return Ok(());
        };
        let closing = tokio::task::spawn_blocking(move || sender.close(&|| false));
        if closing.await.unwrap_or(false) {
            self.keep_first(db, self.flight.len()).await?;
        }
        Ok(())
    }

    /// Moves the cursor over what counts as read. The inner error is the connection's.
    async fn settle(&mut self, db: &Db) -> Result<io::Result<()>> {
        let Some(sender) = &mut self.sender else {
            return Ok(Ok(()));
        };
        if sender.was_closed() {
            if self.flight.is_empty() {
                // It may: there is nothing to say. The next message connects anew.
                self.sender = None;
                return Ok(Ok(()));
            }
            return Ok(Err(io::Error::other("the collector hung up")));
        }
        let (now, at_once) = (Instant::now(), matches!(self.address, Address::Udp(_)));
        match sender.is_acknowledged() {
            Ok(true) => {
                for batch in &mut self.flight {
                    batch.acknowledged_at.get_or_insert(now);
                }
            }
            Ok(false) => {
                let stuck = self.flight.iter().any(|batch| batch.is_stuck(now));
                if stuck {
                    return Ok(Err(io::ErrorKind::TimedOut.into()));
                }
            }
            Err(error) => return Ok(Err(error)),
        }
        let settle = self.config.settle;
        let counts = |batch: &&Batch| {
            at_once
                || batch
                    .acknowledged_at
                    .is_some_and(|at| now.duration_since(at) >= settle)
        };
        let count = self.flight.iter().take_while(counts).count();
        self.keep_first(db, count).await?;
        Ok(Ok(()))
    }

    async fn keep_first(&mut self, db: &Db, count: usize) -> Result<()> {
        let Some(last) = count.checked_sub(1).and_then(|last| self.flight.get(last)) else {
            return Ok(());
        };
        let end = last.end;
        let read = || self.flight.iter().take(count);
        let passing = read().flat_map(|batch| batch.passing.iter().copied());
        keep(db, self.moves, self.config.lease, end, passing.collect()).await?;
        let rows: u64 = read().map(|batch| batch.rows).sum();
        metrics::counter!("seawall_audit_forwarded_total").increment(rows);
        self.flight.drain(..count);
        self.kept = end;
        if self.failures > 0 {
            tracing::info!(endpoint = %self.address, "the audit is forwarded again");
            self.failures = 0;
        }
        Ok(())
    }

    /// Writes on a thread that may wait.
    async fn write(&mut self, rows: &[Entry], limit: Instant) -> io::Result<()> {
        let mut lines = Vec::with_capacity(rows.len() * 400);
        for entry in rows {
            message::write(&self.header, &mut lines, entry);
        }
        let mut sender = self
            .sender
            .take()
            .unwrap_or_else(|| Sender::new(self.address.clone(), self.trust.clone()));
        let (shutdown, limit) = (self.shutdown.clone(), Deadline::from(limit));
        let writing = tokio::task::spawn_blocking(move || {
            let stop = || shutdown.is_cancelled() || Deadline::now() >= limit;
            let sent = sender.send(&mut lines.as_slice(), &stop);
            (sender, sent)
        });
        // A name that is looked up for minutes must not hold up the end of the process.
        let written = tokio::select! {
            written = writing => written,
            () = self.shutdown.cancelled() => return Err(io::ErrorKind::Interrupted.into()),
        };
        let (sender, sent) = written.map_err(io::Error::other)?;
        self.sender = Some(sender);
        sent
    }

    /// What is in doubt will be sent again. Answers how long to wait before that.
    fn broken(&mut self, error: &io::Error) -> Duration {
        self.sender = None;
        self.flight.clear();
        self.sent = self.kept;
        if self.shutdown.is_cancelled() {
            return Duration::ZERO;
        }
        if self.failures == 0 {
            tracing::warn!(endpoint = %self.address, %error, "the audit cannot be forwarded; trying again");
        }
        self.failures += 1;
        FIRST_PAUSE
            .saturating_mul(1 << (self.failures - 1).min(10))
            .min(self.config.longest_pause)
    }

    /// How old the oldest row is that does not count as read.
    fn tell_lag(&self, db: &Db, first: Option<&Entry>) {
        let oldest = self.flight.front().map(|batch| batch.oldest);
        let oldest = oldest.or(first.map(|entry| entry.at));
        let lag = oldest.map_or(Duration::ZERO, |at| db.clock().now().since(at));
        metrics::gauge!("seawall_audit_forward_lag_seconds").set(lag.as_secs_f64());
    }
}

impl Batch {
    fn of(rows: &[Entry], end: Cursor) -> Self {
        Self {
            end,
            rows: rows.len() as u64,
            passing: rows
                .iter()
                .filter(|entry| entry.forward_only)
                .map(|entry| entry.cursor.id)
                .collect(),
            oldest: rows.first().map_or(Timestamp(0), |entry| entry.at),
            sent_at: Instant::now(),
            acknowledged_at: None,
        }
    }

    fn is_stuck(&self, now: Instant) -> bool {
        self.acknowledged_at.is_none() && now.duration_since(self.sent_at) > STUCK_AFTER
    }
}
