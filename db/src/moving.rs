//! A database goes to another place, also to the other engine, while it is used. Triggers write down which rows change; the
//! tables are copied in batches; rounds bring what changed meanwhile; the last one runs while writers are held. Every
//! step may be interrupted: how far it has come stands in the target, what changed since in the source.

mod capture;
mod copy;
mod finish;
mod rounds;
mod schema;
mod session;
mod stored;

use std::{sync::Arc, time::Duration};

use futures_util::future::BoxFuture;
use model::{Error, Result, id::BlobId};
use serde::{Deserialize, Serialize};
use tokio::{
    sync::{OwnedRwLockReadGuard, OwnedRwLockWriteGuard},
    time::timeout,
};
use tokio_util::sync::CancellationToken;

use self::{
    schema::Table,
    session::{Access, Session},
};
use crate::{Config, Conn, Db, Inner, Opened, Tx, facts, migrate};

pub use self::{
    capture::unwatch,
    copy::target,
    finish::{
        Change, Finished, abort, change_store, has_changed_store, seal, seal_alone, validate,
    },
    rounds::Round,
    stored::{contents, contents_of, totals},
};

/// How long a writer waits for a move that comes to its end.
const HELD: Duration = Duration::from_secs(10);
/// How long that waits for transactions that run, while others wait behind it.
const GATE: Duration = Duration::from_secs(3);
/// The table in which a target says how far a move into it has come.
const STATE: &str = "moving_state";
/// The fact of a database that is being moved: a [`Begun`] as JSON.
pub const MOVING: &str = "moving";
/// The fact of a database that has gone elsewhere: where to, in words.
pub const MOVED_TO: &str = "moved_to";
/// The fact that says which move put the contents where they are: its id.
pub const STORE_MOVED: &str = "store.moved";

/// A move under way, as its source knows it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Begun {
    /// Another for each move.
    pub id: String,
    /// Where the database goes, without secrets; none when it stays.
    pub database: Option<String>,
    /// Where the contents go; none when they stay.
    pub storage: Option<String>,
}

/// How far the copy of the tables has come.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Progress {
    pub table: String,
    pub rows: u64,
    /// Rows of all tables, about.
    pub total: u64,
}

/// What a database has to say of itself to whoever wants to use it, or to move into it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Target {
    /// No row of ours.
    Empty,
    /// A move into it has not come to its end.
    Unfinished,
    /// A move has come to its end, but for what is checked afterwards.
    Complete,
    /// A database in use.
    InUse,
}

/// From one database into another. Its work blocks its thread where an engine is SQLite: run it on one of its own.
pub struct Moving {
    source: Db,
    target: Db,
    tables: Vec<Table>,
    from: Session,
    to: Session,
}

/// Writers are held as long as this is.
pub struct Held {
    _gate: OwnedRwLockWriteGuard<()>,
}

/// The connections that a database had before it was moved: whoever reads at that moment still does.
pub struct Former(Arc<Opened>);

impl Former {
    /// Waits for them, and lets go.
    pub async fn close(self) {
        self.0.close().await;
    }
}

/// The move that this database is the source of.
pub async fn begun(conn: &mut Conn) -> Result<Option<Begun>> {
    capture::find(conn).await
}

/// Where this database has gone; none when it is in use.
pub async fn moved_to(conn: &mut Conn) -> Result<Option<String>> {
    facts::find(conn, MOVED_TO).await
}

impl Moving {
    /// Begins, or goes on with what was begun from this source. The target has the source's schema, or none yet.
    pub async fn begin(source: &Db, target: &Db, begun: &Begun) -> Result<Self> {
        let version = migrate::current(&mut *source.reader().await?).await?;
        let found = migrate::status(target, migrate::ALL).await?.version;
        if found != 0 && found != version {
            return Err(Error::Precondition(format!(
                "the database to move to has schema version {found}, this one has {version}: name an empty database"
            )));
        }
        migrate::up(target, migrate::ALL).await?;
        let mut from = Session::open(source, Access::Read).await?;
        let mut to = Session::open(target, Access::Write).await?;
        let tables = schema::tables(&mut from.conn).await?;
        let theirs = schema::tables(&mut to.conn).await?;
        if let Some(what) = schema::difference(&tables, &theirs) {
            return Err(Error::Precondition(format!(
                "the database to move to has {what}: name an empty database"
            )));
        }
        copy::enter(&mut to, &tables, begun).await?;
        capture::begin(source, &tables, begun).await?;
        Ok(Self {
            source: source.clone(),
            target: target.clone(),
            tables,
            from,
            to,
        })
    }

    /// Copies every table that was not copied yet, and after each what changed in those before.
    pub async fn copy(
        &mut self,
        cancel: &CancellationToken,
        mut told: impl FnMut(Progress),
    ) -> Result<()> {
        let mut progress = Progress {
            table: String::new(),
            rows: 0,
            total: self.estimate().await?,
        };
        for index in 0..self.tables.len() {
            self.copy_table(index, cancel, &mut progress, &mut told)
                .await?;
            self.catch_up().await?;
        }
        self.analyze().await
    }

    /// Puts this database in the place of its source, for all who have a handle of that.
    pub fn switch(self, _held: &Held) -> Former {
        let (source, target) = (&self.source.0, &self.target.0);
        let before = source.engine.swap(target.engine.load_full());
        source.reach.set_away(false);
        source.shared.generations.touch_all();
        source.switched.send_modify(|count| *count += 1);
        Former(before)
    }
}

/// What a database has to say of a move into it; none where there was none, or where all of it is over. Costs one look.
pub async fn arriving(conn: &mut Conn) -> Result<Option<Target>> {
    copy::arriving(conn).await
}

/// Changes of contents are written down from now on: the database stays, its store is moved.
pub async fn watch_contents(db: &Db, begun: &Begun) -> Result<()> {
    let tables = schema::tables(&mut *db.reader().await?).await?;
    let blobs: Vec<Table> = tables
        .into_iter()
        .filter(|table| table.name == "blobs")
        .collect();
    capture::begin(db, &blobs, begun).await
}

/// Contents that changed since they were asked for last, where [`watch_contents`] was called.
pub async fn changed_contents(db: &Db) -> Result<Vec<BlobId>> {
    rounds::changed_contents(db, false).await
}

/// The same without touching the database, whose writers are held.
pub async fn changed_contents_last(db: &Db, _held: &Held) -> Result<Vec<BlobId>> {
    rounds::changed_contents(db, true).await
}

impl Db {
    /// Another database that takes the place of this one some day: what is remembered, and told, is shared.
    pub async fn open_beside(&self, config: &Config) -> Result<Self> {
        Self::open_with(config, self.0.shared.clone()).await
    }

    /// Waits for transactions that run, and holds the others until the answer is dropped, which should be soon.
    pub async fn hold_writes(&self) -> Result<Held> {
        let gate = timeout(GATE, self.0.gate.clone().write_owned()).await;
        gate.map(|gate| Held { _gate: gate }).map_err(|_| {
            Error::Unavailable(anyhow::anyhow!("transactions did not end within {GATE:?}"))
        })
    }

    /// How often this database has become another. What was read before, and says where something stands in a log, holds no more.
    pub fn moves(&self) -> u64 {
        *self.0.switched.borrow()
    }

    /// What is remembered of contents and where they are holds no more.
    pub fn forget_contents(&self) {
        self.0.shared.generations.touch_all();
    }
}

impl Inner {
    /// For one writing transaction.
    pub(crate) async fn enter(&self) -> Result<OwnedRwLockReadGuard<()>> {
        let entered = timeout(HELD, self.gate.clone().read_owned()).await;
        entered.map_err(|_| {
            Error::Unavailable(anyhow::anyhow!("the database is being moved elsewhere"))
        })
    }
}

/// A transaction's work, which counts as running until it is dropped: after its COMMIT, whoever waited for that.
pub(crate) fn held<T, F>(
    entered: OwnedRwLockReadGuard<()>,
    work: F,
) -> impl for<'t> Fn(&'t mut Tx) -> BoxFuture<'t, Result<T>> + Send + Sync + 'static
where
    T: Send + 'static,
    F: for<'t> Fn(&'t mut Tx) -> BoxFuture<'t, Result<T>> + Send + Sync + 'static,
{
    move |tx: &mut Tx| {
        let _entered = &entered;
        work(tx)
    }
}
