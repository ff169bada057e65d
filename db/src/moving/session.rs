//! A connection of the mover's own, with transactions that are as long as he needs them.

use std::time::Duration;

use model::Result;

use crate::{
    Conn, Db, Opened,
    conn::{Driver, Stage},
    postgres::Client,
    sqlite,
};

/// How long another writer of a SQLite file is waited for.
const BUSY: Duration = Duration::from_secs(10);
const UNLIMITED: &str =
    "SET LOCAL statement_timeout = 0; SET LOCAL idle_in_transaction_session_timeout = 0";

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Access {
    Read,
    /// Without foreign keys on SQLite; on PostgreSQL they are taken away, see `copy.rs`.
    Write,
    /// With them.
    Seal,
}

pub(super) struct Session {
    pub conn: Conn,
}

impl Session {
    pub async fn open(db: &Db, access: Access) -> Result<Self> {
        let mut conn = match &*db.0.engine.load_full() {
            Opened::Sqlite(sqlite) => {
                let how = match access {
                    Access::Read => sqlite::Access::Read,
                    Access::Write | Access::Seal => sqlite::Access::Write,
                };
                Conn::new(Driver::Sqlite(sqlite::connect(sqlite.path(), how, BUSY)?))
            }
            Opened::Postgres(postgres) => {
                let mut conn = postgres.alone().await?;
                if let Driver::Postgres(Client::Own(own)) = &mut conn.driver {
                    own.keep_apart();
                }
                conn
            }
        };
        if access == Access::Write && !conn.locks_rows() {
            conn.batch("PRAGMA foreign_keys = OFF").await?;
        }
        Ok(Self { conn })
    }

    /// From now on the connection sees one state of the database, until `end`.
    pub async fn begin_snapshot(&mut self) -> Result<()> {
        self.clear().await;
        if self.conn.locks_rows() {
            let begin = format!("BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY; {UNLIMITED}");
            self.conn.batch(&begin).await?;
        } else {
            self.conn.batch("BEGIN").await?;
        }
        self.conn.stage = Stage::Transaction;
        Ok(())
    }

    pub async fn begin(&mut self) -> Result<()> {
        self.clear().await;
        if self.conn.locks_rows() {
            self.conn.batch(&format!("BEGIN; {UNLIMITED}")).await?;
        } else {
            self.conn.batch("BEGIN IMMEDIATE").await?;
        }
        self.conn.stage = Stage::Transaction;
        Ok(())
    }

    pub async fn end(&mut self) -> Result<()> {
        self.conn.batch("COMMIT").await?;
        self.conn.stage = Stage::Alone;
        Ok(())
    }

    /// What failed before was left open.
    async fn clear(&mut self) {
        if self.conn.stage != Stage::Alone {
            self.conn.stage = Stage::Alone;
            let _ = self.conn.batch("ROLLBACK").await; // SQLite may have rolled back by itself
        }
    }
}
