//! The course of a move: what is copied while everything goes on, and the end, while writers are held.

use std::{
    path::Path,
    sync::Arc,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, bail};
use blob::Store;
use db::{
    Db, facts,
    moving::{self, Change, Moving, Progress},
    store_id,
};
use model::{Error, id::BlobId};
use registry::moving::{Carrier, of_coming, of_moved};
use tokio::{
    runtime::Handle,
    task::spawn_blocking,
    time::{sleep, timeout},
};
use tokio_util::sync::CancellationToken;

use super::{
    Mover, Record, Report,
    plan::{Plan, expect_alone, open_store},
};
use crate::{
    boot::{self, DataDir},
    config::{Config, Database, DatabaseUrl},
};

/// Contents between two looks at what changed meanwhile.
const PAGE: i64 = 50;
/// Rounds before the end is tried whatever is left.
const ROUNDS: usize = 30;
/// A round that took no longer, and brought no more, is near enough.
const NEAR: Duration = Duration::from_millis(500);
const NEAR_ROWS: u64 = 1000;
/// Until the database is asked again whether a move has happened.
const ASK_AGAIN: Duration = Duration::from_secs(1);
/// How long is carried while writers wait.
const LAST_CARRY: Duration = Duration::from_secs(5);
/// What is carried while writers wait.
const LAST_BYTES: u64 = 64 << 20;
/// How often the end is tried.
const ATTEMPTS: usize = 20;
/// Before the end is tried again.
const LATER: Duration = Duration::from_secs(5);
/// How long a read that learned where a content is just before finds it there.
const FORMER: Duration = Duration::from_mins(1);

/// What is carried.
struct Course<'a> {
    mover: &'a Mover,
    cancel: &'a CancellationToken,
    plan: Plan,
    db: Db,
    tables: Option<Moving>,
    carrier: Option<Carrier>,
    rows: u64,
    /// The store that contents were carried from.
    before: Store,
}

/// Moves, or goes on.
pub(super) async fn run(mover: &Mover, to: Record, cancel: &CancellationToken) -> Result<Report> {
    let start = Instant::now();
    let plan = Plan::make(mover, to).await?;
    mover.status.send_modify(|status| {
        status.database.clone_from(&plan.begun.database);
        status.storage.clone_from(&plan.begun.storage);
    });
    let mut course = Course::begin(mover, plan, cancel).await?;
    course.copy_rows().await?;
    course.copy_contents().await?;
    for _ in 0..ATTEMPTS {
        course.come_near().await?;
        if let Some(pause) = course.end().await? {
            let mut report = course.tidy().await;
            report.pause_ms = pause.as_millis() as u64;
            report.duration_ms = start.elapsed().as_millis() as u64;
            return Ok(report);
        }
    }
    bail!("no quiet moment was found for the end: give the same command again when less is pushed")
}

/// Gives up what has begun.
pub(super) async fn abort(db: Db) -> model::Result<Option<moving::Begun>> {
    apart(move |handle| handle.block_on(moving::abort(&db))).await
}

/// Checks what an earlier move has left to check.
pub(super) async fn validate(db: Db) -> model::Result<()> {
    apart(move |handle| handle.block_on(moving::validate(&db))).await
}

/// Marks a database whose move had come to its end when its process was killed.
pub(super) async fn seal_forgotten(db: Db, place: String) -> model::Result<()> {
    apart(move |handle| {
        handle.block_on(async {
            let begun = moving::begun(&mut *db.reader().await?).await?;
            if begun.is_some_and(|begun| begun.database.as_ref() == Some(&place)) {
                moving::seal_alone(&db, &place).await?;
            }
            Ok(())
        })
    })
    .await
}

/// Work that blocks its thread where SQLite is in it.
async fn apart<T: Send + 'static>(
    work: impl FnOnce(&Handle) -> model::Result<T> + Send + 'static,
) -> model::Result<T> {
    let handle = Handle::current();
    spawn_blocking(move || work(&handle))
        .await
        .unwrap_or_else(|error| {
            Err(Error::Internal(anyhow::anyhow!(
                "a move ended in a panic: {error}"
            )))
        })
}

/// Somebody took too long to let go: the others are not held up for him.
async fn later<T>(why: &Error) -> Result<Option<T>> {
    tracing::info!(%why, "the end of the move is tried again");
    sleep(LATER).await;
    Ok(None)
}

/// Whether the contents have moved is not known, and this process will not learn it: the next start asks.
#[derive(Debug, thiserror::Error)]
#[error(
    "the server stops before the database says whether the contents have moved: the next start asks it"
)]
struct Unknown;

/// Asks until the database says it: to go on in the wrong place would lose what is pushed there.
async fn has_store_moved(mover: &Mover, db: &Db, id: &str) -> Result<bool, Unknown> {
    while !mover.end.is_cancelled() {
        let (db, id) = (db.clone(), id.to_owned());
        let moved = apart(move |handle| handle.block_on(moving::has_changed_store(&db, &id)));
        match moved.await {
            Ok(moved) => return Ok(moved),
            Err(error) => {
                tracing::warn!(%error, "whether the contents have moved the database does not say");
            }
        }
        tokio::select! {
            () = sleep(ASK_AGAIN) => {}
            () = mover.end.cancelled() => {}
        }
    }
    Err(Unknown)
}

async fn record_in_force(db: &Db, data: &Path) -> Result<Option<Record>> {
    let Some(record) = Record::find(data)? else {
        return Ok(None);
    };
    let moved = facts::find(&mut *db.reader().await?, moving::STORE_MOVED).await?;
    Ok(Some(record.in_force(moved.as_deref())))
}

fn with_database(config: &Config, database: &Database) -> Config {
    Config {
        database: database.clone(),
        ..config.clone()
    }
}

/// The store that contents came from says so to who opens it.
async fn mark_left(db: &Db, store: &Store) -> Result<()> {
    if let Some(left) = store_id::known(db).await?.left {
        store.change_identity(&left, &of_moved(&left)).await?;
    }
    Ok(())
}

impl<'a> Course<'a> {
    async fn begin(mover: &'a Mover, plan: Plan, cancel: &'a CancellationToken) -> Result<Self> {
        let db = mover.registry.db().in_background();
        expect_alone(&db, mover.serves).await?;
        let carrier = match &plan.storage {
            Some(storage) => Some(Carrier::new(
                &mover.registry.in_background(),
                open_store(mover, storage, &plan.begun).await?,
            )),
            None => None,
        };
        let (source, begun) = (db.clone(), plan.begun.clone());
        let tables = match &plan.database {
            None => {
                apart(move |handle| handle.block_on(moving::watch_contents(&source, &begun)))
                    .await?;
                None
            }
            Some(database) => {
                let config = mover.config();
                if let DatabaseUrl::Sqlite(file) = &database.url {
                    let lock = DataDir::lock_database(&config.server.data, file)?;
                    mover.locks.lock().extend(lock);
                }
                let there = with_database(&config, database);
                let there = boot::database_config(&there, mover.outbound.trust())?;
                let there = db
                    .open_beside(&there)
                    .await
                    .context("the database to move to cannot be used")?;
                let begin =
                    move |handle: &Handle| handle.block_on(Moving::begin(&source, &there, &begun));
                Some(apart(begin).await?)
            }
        };
        Ok(Self {
            mover,
            cancel,
            plan,
            db,
            tables,
            carrier,
            rows: 0,
            before: mover.registry.store().as_it_is(),
        })
    }

    fn check(&self) -> Result<()> {
        if self.cancel.is_cancelled() {
            bail!("the move was interrupted: the same command goes on with it");
        }
        Ok(())
    }

    async fn copy_rows(&mut self) -> Result<()> {
        let Some(mut tables) = self.tables.take() else {
            return Ok(());
        };
        let (cancel, status) = (self.cancel.clone(), self.mover.status.clone());
        let copied = apart(move |handle| {
            let mut rows = 0;
            let told = |progress: Progress| {
                rows = progress.rows;
                status.send_modify(|status| {
                    status.doing = format!("rows of `{}`", progress.table);
                    status.done = progress.rows;
                    status.total = Some(progress.total.max(progress.rows));
                });
            };
            handle.block_on(tables.copy(&cancel, told))?;
            Ok((tables, rows))
        });
        let (tables, rows) = copied.await?;
        (self.tables, self.rows) = (Some(tables), rows);
        self.check()
    }

    async fn copy_contents(&mut self) -> Result<()> {
        if self.carrier.is_none() {
            return Ok(());
        }
        let (contents, bytes) = moving::totals(&mut *self.db.reader().await?).await?;
        let (mut after, mut done, mut seen) = (BlobId(0), 0, 0);
        loop {
            self.check()?;
            let page = moving::contents(&mut *self.db.reader().await?, after, PAGE).await?;
            let Some(last) = page.last() else {
                return Ok(());
            };
            after = last.id;
            self.mover.show(
                &format!("contents: {seen} of {contents}, bytes"),
                done,
                Some(bytes.max(done)),
            );
            seen += page.len();
            done += page.iter().map(|content| content.size).sum::<u64>();
            let carrier = self.carrier.as_mut().expect("looked at above");
            carrier.carry(page).await?;
            // What the triggers write down is not to grow for as long as this takes.
            let (_, changed) = self.round().await?;
            self.carry(&changed).await?;
        }
    }

    /// One round; how many rows, and the contents that changed.
    async fn round(&mut self) -> Result<(u64, Vec<BlobId>)> {
        let Some(mut tables) = self.tables.take() else {
            let db = self.db.clone();
            let changed = move |handle: &Handle| handle.block_on(moving::changed_contents(&db));
            let changed = apart(changed).await?;
            return Ok((changed.len() as u64, changed));
        };
        let caught = apart(move |handle| {
            let round = handle.block_on(tables.catch_up())?;
            Ok((tables, round))
        });
        let (tables, round) = caught.await?;
        self.tables = Some(tables);
        Ok((round.rows, round.contents))
    }

    async fn carry(&mut self, changed: &[BlobId]) -> Result<u64> {
        let Some(carrier) = &mut self.carrier else {
            return Ok(0);
        };
        let contents = moving::contents_of(&mut *self.db.reader().await?, changed).await?;
        let contents = carrier.left(contents);
        let bytes = contents.iter().map(|content| content.size).sum();
        carrier.carry(contents).await?;
        Ok(bytes)
    }

    /// Rounds until one brings next to nothing.
    async fn come_near(&mut self) -> Result<()> {
        for round in 0..ROUNDS {
            self.check()?;
            self.mover
                .show("what changed meanwhile", round as u64, None);
            let began = Instant::now();
            let (rows, changed) = self.round().await?;
            self.carry(&changed).await?;
            if rows <= NEAR_ROWS && began.elapsed() <= NEAR {
                break;
            }
        }
        let Some(mut tables) = self.tables.take() else {
            return Ok(());
        };
        let checked = apart(move |handle| {
            handle.block_on(tables.check())?;
            Ok(tables)
        });
        self.tables = Some(checked.await?);
        Ok(())
    }

    /// The end, while writers are held; none when too much is left to carry. Answers how long they were.
    async fn end(&mut self) -> Result<Option<Duration>> {
        expect_alone(&self.db, self.mover.serves).await?;
        let missing = self.carrier.as_ref().map(Carrier::missing);
        self.carry(&missing.unwrap_or_default()).await?;
        self.mover.show("the last round", 0, None);
        let began = Instant::now();
        // Who publishes has a transaction before him, so first these.
        let still = match &self.carrier {
            Some(_) => match self.mover.registry.hold_publishing().await {
                Ok(still) => Some(still),
                Err(error) => return later(&error).await,
            },
            None => None,
        };
        let held = match self.db.hold_writes().await {
            Ok(held) => Arc::new(held),
            Err(error) => {
                drop(still);
                return later(&error).await;
            }
        };
        let changed = self.last_round(&held).await?;
        let is_whole = match timeout(LAST_CARRY, self.carry_last(&changed)).await {
            Ok(carried) => carried?,
            Err(_) => false,
        };
        if !is_whole {
            self.reopen().await?;
            drop((held, still));
            self.carry(&changed).await?;
            return Ok(None);
        }
        let data = self.mover.config().server.data;
        let former = record_in_force(&self.db, &data).await?;
        let switched = match self.write_record(&data, former.as_ref()) {
            Ok(()) => self.switch(&held).await,
            Err(error) => Err(error),
        };
        if let Err(error) = switched {
            if error.is::<Unknown>() {
                // Nothing is written any more, neither here nor there.
                std::mem::forget((held, still));
                return Err(error);
            }
            // Nobody has used the new place, and writers go on in the old one: so must the next start.
            let advice = match (&self.plan.database, &former) {
                (None, _) => {
                    "`moved.toml` could not be written; where the contents are the database says, so nothing is to be done"
                }
                (_, None) => {
                    "`moved.toml` names a place that is not in use: stop the server, delete the file, start it again"
                }
                (_, Some(_)) => {
                    "`moved.toml` may name a place that is not in use: stop the server, have the file say what stands under `before` in it, start it again"
                }
            };
            self.take_back(&data, former).context(advice)?;
            return Err(error);
        }
        drop((held, still));
        Ok(Some(began.elapsed()))
    }

    /// What changed since the last round, and what a push has brought back: that is no loss, and its row need not have changed. False when
    /// that is too much while writers wait.
    async fn carry_last(&mut self, changed: &[BlobId]) -> Result<bool> {
        let Some(carrier) = &mut self.carrier else {
            return Ok(true);
        };
        let reader = &mut *self.db.reader().await?;
        let missing = moving::contents_of(reader, &carrier.missing()).await?;
        let mut left = carrier.healed(missing).await?;
        left.extend(carrier.left(moving::contents_of(reader, changed).await?));
        let bytes: u64 = left.iter().map(|content| content.size).sum();
        if bytes > LAST_BYTES {
            return Ok(false);
        }
        carrier.carry(left).await?;
        Ok(true)
    }

    async fn last_round(&mut self, held: &Arc<moving::Held>) -> Result<Vec<BlobId>> {
        let held = held.clone();
        let Some(mut tables) = self.tables.take() else {
            let db = self.db.clone();
            let changed =
                move |handle: &Handle| handle.block_on(moving::changed_contents_last(&db, &held));
            return Ok(apart(changed).await?);
        };
        let change = match &self.carrier {
            Some(_) => Change::Store(self.plan.begun.id.clone()),
            None => Change::Nothing,
        };
        let finished = apart(move |handle| {
            let finished = handle.block_on(tables.finish(&held, &change))?;
            Ok((tables, finished))
        });
        let (tables, finished) = finished.await?;
        self.tables = Some(tables);
        self.rows = finished.rows.values().map(|rows| rows.unsigned_abs()).sum();
        Ok(finished.round.contents)
    }

    async fn reopen(&mut self) -> Result<()> {
        let Some(mut tables) = self.tables.take() else {
            return Ok(());
        };
        let reopened = apart(move |handle| {
            handle.block_on(tables.reopen())?;
            Ok(tables)
        });
        self.tables = Some(reopened.await?);
        Ok(())
    }

    /// From here on the next start finds the new place: whole, and nothing was written to the old one since.
    fn write_record(&self, data: &Path, former: Option<&Record>) -> Result<()> {
        let mut record = former.cloned().unwrap_or_default();
        if let Some(database) = &self.plan.record.database {
            record.database = Some(database.clone());
        }
        if let Some(storage) = &self.plan.record.storage {
            record.storage = Some(storage.clone());
            record.contents_moved_by = Some(self.plan.begun.id.clone());
            record.contents_left = Some(self.mover.config().storage.shown());
        }
        record.before = former.cloned().map(Box::new);
        record.write(data)
    }

    /// The database is where it was. Where the contents are it says itself, and the next attempt finds here whose the store is.
    fn take_back(&self, data: &Path, former: Option<Record>) -> Result<()> {
        if self.plan.storage.is_none() {
            return Record::put_back(former, data);
        }
        let mut record = Record::find(data)?.unwrap_or_default();
        record.database = former.and_then(|former| former.database);
        record.write(data)
    }

    async fn switch(&mut self, held: &Arc<moving::Held>) -> Result<()> {
        let registry = &self.mover.registry;
        let (store, own, new) = (registry.store(), registry.store_id(), &self.plan.begun.id);
        if let Some(carrier) = &self.carrier {
            let to = carrier.to();
            to.change_identity(&of_coming(&own), new).await?;
            store.become_other(to);
            registry.set_store_id(new);
        }
        if let Some(tables) = self.tables.take() {
            // An old database that could not be marked is not used all the same: the record counts.
            let (db, held) = (self.db.clone(), held.clone());
            let place = self.plan.begun.database.clone().unwrap_or_default();
            let sealed = {
                let (db, held) = (db.clone(), held.clone());
                apart(move |handle| handle.block_on(moving::seal(&db, &place, &held))).await
            };
            if let Err(error) = sealed {
                tracing::error!(%error, "the database that was moved could not be marked as such: delete it");
            }
            let former = tables.switch(&held);
            self.mover.tasks.spawn(former.close());
            return Ok(());
        }
        let (db, held) = (self.db.clone(), held.clone());
        let id = self.plan.begun.id.clone();
        let node = self.mover.serves.then(|| self.db.node().to_owned());
        let changed = apart(move |handle| {
            handle.block_on(moving::change_store(&db, &id, node.as_deref(), &held))
        });
        let changed = match changed.await {
            // A COMMIT without an answer may have happened or not.
            Err(error) if !has_store_moved(self.mover, &self.db, &self.plan.begun.id).await? => {
                Err(error)
            }
            _ => Ok(()),
        };
        if let Err(error) = changed {
            store.become_other(&self.before);
            registry.set_store_id(&own);
            if let Some(carrier) = &self.carrier {
                carrier.to().change_identity(new, &of_coming(&own)).await?;
            }
            return Err(error.into());
        }
        self.db.forget_contents();
        Ok(())
    }

    /// What is left to do while everything goes on in the new place.
    async fn tidy(&mut self) -> Report {
        let mover = self.mover;
        {
            let mut config = mover.config.lock();
            if let Some(database) = &self.plan.database {
                config.database = database.clone();
            }
            if let Some(storage) = &self.plan.storage {
                config.storage = storage.clone();
            }
        }
        let mut report = Report {
            rows: self.rows,
            ..Report::default()
        };
        if let Some(carrier) = &self.carrier {
            let carried = carrier.carried();
            (report.contents, report.bytes) = (carried.contents, carried.bytes);
            (report.lost, report.examples) = (carried.lost, carried.examples);
            if let Err(error) = mark_left(&self.db, &self.before).await {
                tracing::warn!(%error, "the store that contents were moved from could not be marked as such");
            }
            let (store, end) = (mover.registry.store().clone(), mover.end.clone());
            mover.tasks.spawn(async move {
                tokio::select! {
                    () = sleep(FORMER) => {}
                    () = end.cancelled() => {}
                }
                store.forget_former();
            });
        }
        if let Err(error) = moving::unwatch(&self.db).await {
            tracing::warn!(%error, "the triggers of the move are still there; the next start takes them away");
        }
        mover.show("checking foreign keys", 0, None);
        if let Err(error) = validate(self.db.clone()).await {
            tracing::error!(%error, "the foreign keys of the moved database were not checked; the next start tries again");
        }
        report
    }
}
