//! `seawall move`: the database, the contents or both go elsewhere while the server runs. One move at a time, which goes on when the
//! command that asked for it has gone away.

mod course;
mod plan;
mod record;

use std::{borrow::Cow, fs::File, sync::Arc};

use anyhow::{Result, bail};
use blob::Store;
use db::{
    Db, facts, migrate,
    moving::{self, Target},
    store_id,
};
use model::Error;
use outbound::Outbound;
use parking_lot::Mutex;
use registry::{Registry, moving::of_moved};
use serde::{Deserialize, Serialize};
use tokio::sync::watch;
use tokio_util::{sync::CancellationToken, task::TaskTracker};

pub use self::record::{Record, apply, given};
use crate::{
    boot::{self, Opened},
    config::{Config, Database, DatabaseUrl, MovedTo, Storage},
};

/// What `--json` prints, too.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Status {
    /// `none`, `running`, `interrupted`, `done` or `failed`.
    pub state: String,
    /// Where to, as far as each goes.
    pub database: Option<String>,
    pub storage: Option<String>,
    /// For the person who waits.
    pub doing: String,
    pub done: u64,
    pub total: Option<u64>,
    pub error: Option<String>,
    pub report: Option<Report>,
}

/// What a move has done.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Report {
    pub rows: u64,
    pub contents: u64,
    pub bytes: u64,
    /// Contents that could not be read where they were.
    pub lost: u64,
    pub examples: Vec<String>,
    /// How long writers were held.
    pub pause_ms: u64,
    pub duration_ms: u64,
}

/// Moves this process's registry.
pub struct Mover {
    registry: Registry,
    outbound: Outbound,
    /// Whether requests and jobs go on beside it.
    serves: bool,
    config: Mutex<Config>,
    running: Mutex<Option<CancellationToken>>,
    status: watch::Sender<Status>,
    tasks: TaskTracker,
    end: CancellationToken,
    /// Of SQLite files beside which there is one.
    locks: Mutex<Vec<File>>,
    /// One at a time watches, or takes away what watched.
    turn: tokio::sync::Mutex<()>,
}

impl Mover {
    pub fn new(opened: &Opened, outbound: Outbound, serves: bool) -> Self {
        let none = Status {
            state: "none".to_owned(),
            ..Status::default()
        };
        Self {
            registry: opened.registry.clone(),
            outbound,
            serves,
            config: Mutex::new(opened.config.clone()),
            running: Mutex::default(),
            status: watch::Sender::new(none),
            tasks: TaskTracker::new(),
            end: CancellationToken::new(),
            locks: Mutex::default(),
            turn: tokio::sync::Mutex::default(),
        }
    }

    /// Tells what the operator should know of a move that was; marks what it has left and takes its triggers away, should the process
    /// have been killed before it could. What fails does not keep the rest from being done.
    async fn look_back(&self) {
        let config = self.config();
        let moved = &config.moved;
        if moved.is_known {
            tracing::info!(
                "`moved.toml` in the data directory says what the configuration does: it is not needed any more"
            );
        }
        if let Some(from) = &moved.from {
            tracing::warn!(
                configured = from.url.shown(),
                used = config.database.url.shown(),
                "the database was moved and the configuration does not say so yet: `moved.toml` in the data directory counts"
            );
        }
        let told = |what: &str, done: Result<()>| {
            if let Err(error) = done {
                let error = format!("{error:#}");
                tracing::warn!(
                    error,
                    "of an earlier move {what}; the next start tries again"
                );
            }
        };
        told("nothing is known", self.tell_interrupted().await);
        if let Some(left) = &moved.left {
            let marked = self.mark_store(left).await;
            told("the store that was left could not be marked", marked);
        }
        for from in [&moved.from, &moved.before].into_iter().flatten() {
            let marked = self.mark_database(&config, from).await;
            told("the database that was left could not be marked", marked);
        }
        let _turn = self.turn.lock().await;
        let unwatched = moving::unwatch(&self.registry.db().in_background()).await;
        told(
            "the triggers are still there",
            unwatched.map_err(Into::into),
        );
    }

    async fn mark_database(&self, config: &Config, from: &Database) -> Result<()> {
        if let DatabaseUrl::Sqlite(file) = &from.url
            && !file.exists()
        {
            return Ok(());
        }
        let was = Config {
            database: from.clone(),
            ..config.clone()
        };
        let was = boot::open_database(&was, self.outbound.trust()).await?;
        let sealed = course::seal_forgotten(was.clone(), config.database.url.shown()).await;
        was.close().await;
        Ok(sealed?)
    }

    async fn mark_store(&self, left: &Storage) -> Result<()> {
        if left
            .directory()
            .is_some_and(|directory| !directory.exists())
        {
            return Ok(());
        }
        let known = store_id::known(self.registry.db()).await?;
        let store = Store::open(left.store(self.outbound.clone())).await?;
        let found = store.identity().await?;
        if let Some(was) = known.left.filter(|was| found.as_ref() == Some(was)) {
            store.change_identity(&was, &of_moved(&was)).await?;
            tracing::info!(
                store = left.shown(),
                "marked as one whose contents have gone elsewhere"
            );
        }
        Ok(())
    }

    /// Until `end`: then a move that runs is interrupted, and waited for.
    pub async fn run(self: Arc<Self>, end: CancellationToken) {
        self.finish_validation();
        tokio::select! {
            () = self.look_back() => {}
            () = end.cancelled() => {}
        }
        end.cancelled().await;
        self.end.cancel();
        self.tasks.close();
        self.tasks.wait().await;
    }

    async fn tell_interrupted(&self) -> Result<()> {
        let begun = moving::begun(&mut *self.registry.db().reader().await?).await?;
        if let Some(begun) = begun {
            tracing::warn!(
                database = begun.database,
                storage = begun.storage,
                "a move was interrupted: give the same `seawall move` again, or `seawall move --abort`"
            );
        }
        Ok(())
    }

    /// What an earlier move has left to check.
    fn finish_validation(&self) {
        let db = self.registry.db().in_background();
        self.tasks.spawn(async move {
            if let Err(error) = course::validate(db).await {
                tracing::error!(%error, "the foreign keys of a moved database were not checked");
            }
        });
    }

    /// Begins in the background, or goes on. Refused while one runs.
    pub fn begin(self: &Arc<Self>, to: Record) -> model::Result<watch::Receiver<Status>> {
        let cancel = self.end.child_token();
        {
            let mut running = self.running.lock();
            if running.is_some() {
                return Err(Error::Precondition(
                    "a move is running: `seawall move --status` shows it".to_owned(),
                ));
            }
            *running = Some(cancel.clone());
        }
        self.status.send_replace(Status {
            state: "running".to_owned(),
            doing: "beginning".to_owned(),
            ..Status::default()
        });
        let (mover, seen) = (self.clone(), self.status.subscribe());
        self.tasks.spawn(async move {
            let ended = {
                let _turn = mover.turn.lock().await;
                course::run(&mover, to, &cancel).await
            };
            *mover.running.lock() = None;
            mover.status.send_modify(|status| match ended {
                Ok(report) => {
                    tracing::info!(
                        rows = report.rows,
                        contents = report.contents,
                        bytes = report.bytes,
                        lost = report.lost,
                        pause_ms = report.pause_ms,
                        "moved"
                    );
                    "done".clone_into(&mut status.state);
                    status.report = Some(report);
                }
                Err(error) => {
                    let error = format!("{error:#}");
                    tracing::error!(%error, "the move has not come to its end");
                    "failed".clone_into(&mut status.state);
                    status.error = Some(error);
                }
            });
        });
        Ok(seen)
    }

    /// As it is now.
    pub async fn status(&self) -> model::Result<Status> {
        let status = self.status.borrow().clone();
        if status.state == "running" || status.state == "done" {
            return Ok(status);
        }
        let begun = moving::begun(&mut *self.registry.db().reader().await?).await?;
        Ok(match begun {
            Some(begun) => Status {
                state: "interrupted".to_owned(),
                database: begun.database,
                storage: begun.storage,
                error: status.error,
                ..Status::default()
            },
            None => status,
        })
    }

    /// Ends a move, whether it runs or was interrupted. What was copied stays where it is, and is of no use.
    pub async fn abort(&self) -> model::Result<Status> {
        let cancel = self.running.lock().clone();
        if let Some(cancel) = cancel {
            cancel.cancel();
            let mut seen = self.status.subscribe();
            // The sender lives as long as this.
            let _ = seen.wait_for(|status| status.state != "running").await;
        }
        let _turn = self.turn.lock().await;
        let db = self.registry.db().in_background();
        let Some(begun) = course::abort(db).await? else {
            return Err(Error::Precondition(
                "no move has begun, or it has come to its end".to_owned(),
            ));
        };
        let status = Status {
            state: "none".to_owned(),
            database: begun.database,
            storage: begun.storage,
            ..Status::default()
        };
        self.status.send_replace(status.clone());
        Ok(status)
    }

    fn config(&self) -> Config {
        self.config.lock().clone()
    }

    fn show(&self, doing: &str, done: u64, total: Option<u64>) {
        self.status.send_modify(|status| {
            doing.clone_into(&mut status.doing);
            (status.done, status.total) = (done, total);
        });
    }
}

/// Refuses a database that has gone elsewhere, and one that a move into has not come to its end.
pub async fn refuse_moved(db: &Db) -> Result<()> {
    let version = migrate::status(db, migrate::ALL).await?.version;
    let conn = &mut *db.reader().await?;
    if moving::arriving(conn).await? == Some(Target::Unfinished) {
        bail!(
            "a move into this database has not come to its end: go on with it on the server that it comes from (`seawall move`)"
        );
    }
    if version == 0 {
        return Ok(());
    }
    if let Some(place) = moving::moved_to(conn).await? {
        bail!(
            "this database was moved to {place} and is not used any more: name that one (database.url). `seawall move` there brings it back, into a new place"
        );
    }
    Ok(())
}

/// The configuration with the contents where the database says they are; and whether a move brought them there.
pub async fn settled<'a>(config: &'a Config, db: &Db) -> Result<(Cow<'a, Config>, bool)> {
    if config.moved.storages.is_empty() {
        return Ok((Cow::Borrowed(config), false));
    }
    let moved = facts::find(&mut *db.reader().await?, moving::STORE_MOVED).await?;
    let mut places = config.moved.storages.iter();
    let Some(MovedTo { storage, left, .. }) = places.find(|to| moved.as_ref() == Some(&to.by))
    else {
        return Ok((Cow::Borrowed(config), false));
    };
    if storage.shown() != config.storage.shown() {
        tracing::warn!(
            configured = config.storage.shown(),
            used = storage.shown(),
            "the contents were moved and the configuration does not say so yet: `moved.toml` in the data directory counts"
        );
    }
    let mut before = places.map(|to| &to.storage).chain([&config.storage]);
    let left = before.find(|before| left.as_ref() == Some(&before.shown()));
    let left = left.cloned().map(Box::new);
    let mut config = config.clone();
    config.storage = storage.clone();
    config.moved.left = left;
    Ok((Cow::Owned(config), true))
}
