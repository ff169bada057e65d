//! A writing transaction, the same for both engines.

use std::{mem, ops, sync::Arc};

use model::{Result, actor::Actor, time::Timestamp};

use crate::{
    Conn, Shared, conn::Stage, counters::Pending, failover::Acknowledged, generations::Touch,
    value::Value,
};

/// A writing transaction. It reads as a `Conn` does; what it makes out of date it says with [`Tx::touch`].
pub struct Tx {
    pub(crate) conn: Conn,
    shared: Shared,
    actor: Arc<Actor>,
    now: Option<Timestamp>,
    touched: Vec<Touch>,
    wakes_jobs: bool,
    /// Told of once they are committed, where a commit may be lost afterwards.
    changes: Vec<Acknowledged>,
    pub(crate) pending: Pending,
}

impl Tx {
    pub(crate) fn new(conn: Conn, shared: Shared) -> Self {
        Self {
            conn,
            actor: shared.system.clone(),
            shared,
            now: None,
            touched: Vec::new(),
            wakes_jobs: false,
            changes: Vec::new(),
            pending: Pending::default(),
        }
    }

    /// A transaction begins; `now` when the database has told its time already.
    pub(crate) fn begin(&mut self, actor: Option<&Arc<Actor>>, now: Option<Timestamp>) {
        self.conn.stage = Stage::Transaction;
        self.actor = actor.unwrap_or(&self.shared.system).clone();
        self.now = now;
        self.pending = Pending::default();
    }

    /// Runs a statement that gives no rows; answers how many rows it changed.
    pub async fn execute(&mut self, sql: &'static str, params: &[Value<'_>]) -> Result<u64> {
        self.conn.execute(sql, params).await
    }

    /// The time as the database tells it: the machine's on SQLite, the server's on PostgreSQL. One value for the whole
    /// transaction: having waited for a lock, it is early rather than late, and nothing is judged expired too soon.
    pub async fn now(&mut self) -> Result<Timestamp> {
        if let Some(now) = self.now {
            return Ok(now);
        }
        let clock = self.shared.clock.clone();
        let now = self.conn.now(&clock).await?;
        self.now = Some(now);
        Ok(now)
    }

    /// The next reading of the hybrid logical clock.
    pub fn tick(&mut self, now: Timestamp) -> i64 {
        self.shared.hlc.next(now)
    }

    /// The next reading of the hybrid logical clock, greater than `seen`.
    pub fn tick_after(&mut self, seen: i64, now: Timestamp) -> i64 {
        self.shared.hlc.witness(seen);
        self.shared.hlc.next(now)
    }

    /// The name of the node that writes.
    pub fn node(&self) -> Arc<str> {
        self.shared.node.clone()
    }

    /// Who writes: the audit names him.
    pub fn actor(&self) -> Arc<Actor> {
        self.actor.clone()
    }

    /// What the configuration says of a setting, which then counts before what the database keeps.
    pub(crate) fn pinned(&self, setting: &str) -> Option<&str> {
        self.shared.pinned.values.get(setting).map(String::as_str)
    }

    /// Says what this transaction makes out of date, once it is committed.
    pub fn touch(&mut self, touch: Touch) {
        if !self.touched.contains(&touch) {
            self.touched.push(touch);
        }
    }

    /// Says that a job was enqueued, so that a runner looks once this is committed.
    pub fn wake_jobs(&mut self) {
        self.wakes_jobs = true;
    }

    /// A change was written whose loss somebody will want to hear of.
    pub(crate) fn note(&mut self, change: impl FnOnce() -> Acknowledged) {
        if self.locks_rows() {
            self.changes.push(change());
        }
    }

    /// The COMMIT was answered.
    pub(crate) fn acknowledge(&mut self) {
        self.shared.journal.keep(self.changes.drain(..));
    }

    pub(crate) fn wakes_jobs(&self) -> bool {
        self.wakes_jobs
    }

    /// After COMMIT, and before anybody is answered. Also when it is not known whether the COMMIT happened: what was
    /// remembered is then merely read again.
    pub(crate) fn announce(&mut self) {
        for touch in self.touched.drain(..) {
            self.shared.generations.touch(touch);
        }
        if mem::take(&mut self.wakes_jobs) {
            self.shared.job_waiting.notify_one();
        }
    }
}

impl ops::Deref for Tx {
    type Target = Conn;
    fn deref(&self) -> &Conn {
        &self.conn
    }
}

impl ops::DerefMut for Tx {
    fn deref_mut(&mut self) -> &mut Conn {
        &mut self.conn
    }
}
