//! A replica of PostgreSQL that takes over without the last commits. What this node was told to be committed it remembers for an hour,
//! so that it can say by name what is lost.

use std::{
    collections::{HashSet, VecDeque},
    time::Duration,
};

use model::{Error, Result, change::Kind, time::Timestamp};
use parking_lot::Mutex;

use crate::{Conn, Db, changes};

/// For how long and how many changes are remembered; some megabytes at most.
const KEPT: Duration = Duration::from_hours(1);
const MOST: usize = 20_000;
/// Rows are not quite in the order of their times.
const SLACK: Duration = Duration::from_mins(5);
const PAGE: i64 = 1000;

/// A change whose commit was acknowledged.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Acknowledged {
    /// Unlike any other of this node.
    pub(crate) clock: i64,
    pub kind: Kind,
    /// As the change log names the thing.
    pub key: String,
    pub at: Timestamp,
}

/// The changes of this node, the oldest first.
#[derive(Default)]
pub(crate) struct Journal(Mutex<VecDeque<Acknowledged>>);

impl Journal {
    pub(crate) fn keep(&self, changes: impl IntoIterator<Item = Acknowledged>) {
        let mut all = self.0.lock();
        for change in changes {
            let oldest = change.at.minus(KEPT);
            while all.len() >= MOST || all.front().is_some_and(|first| first.at < oldest) {
                all.pop_front();
            }
            all.push_back(change);
        }
    }

    fn all(&self) -> Vec<Acknowledged> {
        self.0.lock().iter().cloned().collect()
    }

    fn forget(&self, lost: &HashSet<i64>) {
        self.0.lock().retain(|change| !lost.contains(&change.clock));
    }
}

impl Db {
    /// Which timeline PostgreSQL writes: another one after a replica was promoted. None where the server does not tell, and on SQLite.
    pub async fn timeline(&self) -> Result<Option<i64>> {
        if self.is_exclusive() {
            return Ok(None);
        }
        let mut reader = self.reader().await?;
        let name = timeline(&mut reader).await?;
        Ok(name.and_then(|name| i64::from_str_radix(&name, 16).ok()))
    }

    /// What this node was told to be committed within the last hour, as far as it remembers, and the database does not have. Each is
    /// told once.
    pub async fn lost_changes(&self) -> Result<Vec<Acknowledged>> {
        let known = self.journal().all();
        let Some(oldest) = known.iter().map(|change| change.at).min() else {
            return Ok(Vec::new());
        };
        let there = self.own_clocks_since(oldest.minus(SLACK)).await?;
        let is_lost = |change: &Acknowledged| !there.contains(&change.clock);
        let lost: Vec<_> = known.into_iter().filter(is_lost).collect();
        self.journal()
            .forget(&lost.iter().map(|change| change.clock).collect());
        Ok(lost)
    }

    async fn own_clocks_since(&self, oldest: Timestamp) -> Result<HashSet<i64>> {
        let (mut there, mut before) = (HashSet::new(), None);
        loop {
            let page = {
                let mut reader = self.reader().await?;
                changes::list(&mut reader, before, PAGE).await?
            };
            let own = page.iter().filter(|row| row.origin == self.node());
            there.extend(own.map(|row| row.clock));
            let is_last = page.iter().all(|row| row.at < oldest);
            match page.last() {
                Some(last) if !is_last => before = Some(last.id),
                _ => return Ok(there),
            }
        }
    }
}

/// The first eight digits of the name of the log's file.
async fn timeline(conn: &mut Conn) -> Result<Option<String>> {
    let sql = "SELECT SUBSTR(pg_walfile_name(pg_current_wal_lsn()), 1, 8)";
    match conn.row(sql, &[], |row| row.text(0)).await {
        // Some that speak PostgreSQL's protocol have no such log.
        Err(Error::Internal(_)) => Ok(None),
        told => told,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_older_than_an_hour_or_too_much_is_forgotten() {
        let journal = Journal::default();
        let change = |clock: i64, minutes: u64| Acknowledged {
            clock,
            kind: Kind::KeyRotated,
            key: "key".to_owned(),
            at: Timestamp(0).plus(Duration::from_mins(minutes)),
        };
        journal.keep([change(1, 0), change(2, 30), change(3, 61)]);
        let clocks = |journal: &Journal| -> Vec<i64> {
            journal.all().iter().map(|change| change.clock).collect()
        };
        assert_eq!(clocks(&journal), [2, 3]);
        journal.forget(&HashSet::from([2]));
        assert_eq!(clocks(&journal), [3]);
        journal.keep((0..MOST as i64 + 5).map(|clock| change(clock, 62)));
        assert_eq!(journal.all().len(), MOST);
    }
}
