//! Rounds bring over what changed since the one before. All of a round's rows are deleted in the target before they are written
//! anew, in one transaction and as one state of the source has them: whatever else is there is equal, so nothing collides.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::{Duration, Instant},
};

use model::{Result, id::BlobId};

use super::{
    Moving,
    copy::is_done,
    schema::Table,
    session::{Access, Session},
};
use crate::{Conn, Db, Tx, dialect::with_numbers};

/// Rows of the log that are read at once.
const PAGE: i64 = 5000;
/// Keys that one statement names.
const KEYS: usize = 500;

/// What a round has done.
#[derive(Debug, Clone, Default)]
pub struct Round {
    /// Rows of tables that had changed.
    pub rows: u64,
    /// Those among them that are contents.
    pub contents: Vec<BlobId>,
    pub took: Duration,
}

/// What the log says up to one state of the source.
#[derive(Default)]
pub(super) struct Log {
    /// Keys by table, each a JSON array.
    keys: BTreeMap<String, BTreeSet<String>>,
    ids: Vec<i64>,
}

impl Log {
    pub(super) async fn read(conn: &mut Conn) -> Result<Self> {
        let (mut log, mut after) = (Self::default(), 0);
        loop {
            let page = conn
                .rows(
                    "SELECT id, tbl, key FROM moved_rows WHERE id > $1 ORDER BY id LIMIT $2",
                    &[after.into(), PAGE.into()],
                    |row| Ok((row.int(0)?, row.text(1)?, row.text(2)?)),
                )
                .await?;
            let Some((last, ..)) = page.last() else {
                return Ok(log);
            };
            after = *last;
            for (id, table, key) in page {
                log.ids.push(id);
                log.keys.entry(table).or_default().insert(key);
            }
        }
    }

    pub(super) fn contents(&self) -> Vec<BlobId> {
        let keys = self.keys.get("blobs").into_iter().flatten();
        keys.filter_map(|key| serde_json::from_str::<[i64; 1]>(key).ok())
            .map(|[id]| BlobId(id))
            .collect()
    }

    fn is_empty(&self) -> bool {
        self.ids.is_empty()
    }

    /// Takes what was brought over out of the log: these rows alone, since others have lower numbers and come later.
    pub(super) async fn forget(self, db: &Db) -> Result<()> {
        for ids in self.ids.chunks(PAGE as usize) {
            let list = list_of(ids);
            db.write(move |tx| {
                let list = list.clone();
                Box::pin(async move { delete(tx, &list).await })
            })
            .await?;
        }
        Ok(())
    }
}

fn list_of(ids: &[i64]) -> String {
    serde_json::Value::from(ids).to_string()
}

async fn delete(tx: &mut Tx, list: &str) -> Result<()> {
    let sql = with_numbers!(tx, "DELETE FROM moved_rows WHERE id IN", "$1", "");
    tx.execute(sql, &[list.into()]).await.map(|_| ())
}

/// As a round does it, where the database stays and its contents go.
pub(super) async fn changed_contents(db: &Db, is_last: bool) -> Result<Vec<BlobId>> {
    let mut from = Session::open(db, Access::Read).await?;
    from.begin_snapshot().await?;
    let log = Log::read(&mut from.conn).await?;
    from.end().await?;
    let contents = log.contents();
    if !is_last {
        log.forget(db).await?;
    }
    Ok(contents)
}

impl Moving {
    /// Brings over what changed since the last round.
    pub async fn catch_up(&mut self) -> Result<Round> {
        let began = Instant::now();
        let log = self.bring().await?;
        let round = log.told(began);
        log.forget(&self.source).await?;
        Ok(round)
    }

    /// The same without touching the source, which nobody writes any more.
    pub(super) async fn catch_up_last(&mut self) -> Result<Round> {
        let began = Instant::now();
        Ok(self.bring().await?.told(began))
    }

    async fn bring(&mut self) -> Result<Log> {
        self.from.begin_snapshot().await?;
        let log = Log::read(&mut self.from.conn).await?;
        if !log.is_empty() {
            self.to.begin().await?;
            self.write(&log).await?;
            self.to.end().await?;
        }
        self.from.end().await?;
        Ok(log)
    }

    async fn write(&mut self, log: &Log) -> Result<()> {
        // A table whose turn has not come yet is read later than this.
        let mut tables: Vec<(&Table, Vec<String>)> = Vec::new();
        for (name, keys) in &log.keys {
            let table = self.tables.iter().find(|table| table.name == *name);
            let Some(table) = table else { continue };
            if is_done(&mut self.to.conn, table).await? {
                let keys: Vec<&String> = keys.iter().collect();
                tables.push((table, keys.chunks(KEYS).map(array_of).collect()));
            }
        }
        for (table, chunks) in &tables {
            for keys in chunks {
                table.delete_keys(&mut self.to.conn, keys).await?;
            }
        }
        for (table, chunks) in &tables {
            for keys in chunks {
                let rows = table.with_keys(&mut self.from.conn, keys).await?;
                table.insert(&mut self.to.conn, &rows, false).await?;
            }
        }
        Ok(())
    }
}

impl Log {
    fn told(&self, began: Instant) -> Round {
        Round {
            rows: self.keys.values().map(|keys| keys.len() as u64).sum(),
            contents: self.contents(),
            took: began.elapsed(),
        }
    }
}

/// Keys, each a JSON array, as one.
fn array_of(keys: &[&String]) -> String {
    let keys: Vec<&str> = keys.iter().map(|key| key.as_str()).collect();
    format!("[{}]", keys.join(","))
}
