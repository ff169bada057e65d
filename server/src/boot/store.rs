//! The store, and that it is the one of this database.

use std::time::Duration;

use anyhow::{Error, Result, anyhow, bail};
use blob::Store;
use db::{Db, Tx, facts, leases};
use outbound::Outbound;
use registry::moving::{of_coming, of_moved};
use tokio::time::sleep;

use super::who_runs;
use crate::config::Config;

/// What the one node holds that marks the store, and for how long: longer than a store that is away is waited for.
const LEASE: &str = "store";
const MARKING: Duration = Duration::from_mins(2);
/// How often the others look whether it has.
const LOOK_AGAIN: Duration = Duration::from_millis(200);
/// How often before a store is refused that is not empty and has no mark.
const LOOKS: usize = 10;

/// The store of a database that may have contents: then its directory is not made beneath a mount point that nothing is mounted on.
pub(super) async fn open_known_store(
    config: &Config,
    db: &Db,
    outbound: &Outbound,
) -> Result<Store> {
    if let Some(directory) = config.storage.directory()
        && !directory.exists()
        && has_contents(db).await?
    {
        bail!(
            "the store `{}` is not there: is its file system mounted? Nothing is written until it is",
            directory.display()
        );
    }
    open_store(config, outbound).await
}

pub(super) async fn has_contents(db: &Db) -> Result<bool> {
    let first = db::blobs::list(&mut *db.reader().await?, model::id::BlobId(0), 1).await?;
    Ok(!first.is_empty())
}

pub async fn open_store(config: &Config, outbound: &Outbound) -> Result<Store> {
    Ok(Store::open(config.storage.store(outbound.clone())).await?)
}

/// A store belongs to one database: a fresh database puts its mark into an empty store, and no other store is ever used. Answers the
/// mark, which is the store's identity.
pub(super) async fn settle_identity(
    config: &Config,
    db: &Db,
    store: &Store,
    is_moved: bool,
) -> Result<String> {
    // The mark first: who puts one there has told the database before.
    let found = store.identity().await?;
    let expected = store_id(db).await?;
    match (expected, found) {
        (Some(expected), Some(found)) if expected == found => {
            note_made(db, &expected).await?;
            Ok(expected)
        }
        // A move ended between its last two steps; that the database names this store was looked at before.
        (Some(expected), Some(found)) if found == of_coming(&expected) && is_moved => {
            store.change_identity(&found, &expected).await?;
            Ok(expected)
        }
        (Some(expected), Some(found)) if found == of_moved(&expected) => bail!(
            "the contents of this store were moved elsewhere: storage.url should say where to (DATA/moved.toml has it)"
        ),
        (Some(expected), Some(found)) => {
            bail!(
                "the store has the identity `{found}`, the database belongs to `{expected}`{}: correct storage.url or database.url",
                used_by(db).await
            )
        }
        (None, Some(found)) => bail!(
            "the store belongs to another database (`{found}`): correct database.url, or, if that database is lost, bring its contents back with `seawall fsck --rebuild`"
        ),
        // With content in the database it would be a store gone missing.
        (_, None) if store.is_empty().await? && !has_contents(db).await? => {
            mark(config, db, store).await
        }
        (expected, None) => {
            if will_be_marked(db, store).await? {
                return Box::pin(settle_identity(config, db, store, is_moved)).await;
            }
            Err(why_unmarked(config, db, store, expected.is_some()).await?)
        }
    }
}

async fn store_id(db: &Db) -> Result<Option<String>> {
    Ok(facts::find(&mut *db.reader().await?, facts::STORE_ID).await?)
}

/// Who marks the store of a new database.
enum Turn {
    /// This process: with this identity, which the database has from now on in place of the one `before`. Each turn has another, so that what
    /// one that was killed has left in a store of its own is not taken for the registry's.
    Ours { id: String, before: Option<String> },
    /// Another process, which may have been killed at it.
    Anothers,
    /// Nobody any more: there is one.
    Over,
}

/// Marks an empty store as the one of this database. Where several nodes may do so, because a share is not mounted or a bucket is misspelt, one
/// does, once, and the others find its mark in their stores or are refused: while there is no content nothing else tells that there is a
/// store already.
async fn mark(config: &Config, db: &Db, store: &Store) -> Result<String> {
    if db.is_exclusive() {
        // No other process can have another one. Before the first content it may be changed.
        let id = model::id::new_uid();
        let settled = db.write(move |tx| {
            let id = id.clone();
            Box::pin(async move { facts::settle(tx, facts::STORE_ID, &id).await })
        });
        let id = settled.await?;
        store.adopt(&id).await?;
        note_made(db, &id).await?;
        return Ok(id);
    }
    let run = model::id::new_uid();
    let mut is_told = false;
    loop {
        let turn = take_turn(db, &run).await?;
        if let Turn::Ours { id, before } = turn {
            return mark_with(db, store, &run, id, before).await;
        }
        // Whoever had the turn has told the database before he marked anything.
        if let Some(found) = store.identity().await?
            && store_id(db).await?.as_ref() == Some(&found)
        {
            return Ok(found);
        }
        if matches!(turn, Turn::Over) {
            bail!(
                "the store `{}` is empty, and this database has another one{}: {} To begin with this one use `seawall move`; if the other one is gone and nothing was pushed yet, begin with a new database",
                config.storage.shown(),
                used_by(db).await,
                look_whether(store),
            );
        }
        if !is_told {
            tracing::info!(
                "waiting for another start, which marks its store: for two minutes if it was killed"
            );
            is_told = true;
        }
        sleep(LOOK_AGAIN).await;
    }
}

/// In our turn.
async fn mark_with(
    db: &Db,
    store: &Store,
    run: &str,
    id: String,
    before: Option<String>,
) -> Result<String> {
    let adopted = store.adopt(&id).await;
    let id = match adopted {
        Ok(()) => id,
        Err(error) => match store.identity().await {
            Ok(Some(found)) if found == id => id,
            // In this very store, by the one whose turn it was before.
            Ok(Some(found)) if Some(&found) == before.as_ref() => found,
            _ => {
                // Who mends it and starts again shall not wait for the end of this turn.
                if let Err(error) = give_back(db, run).await {
                    tracing::warn!(%error, "the turn to mark the store was not given back: it ends in two minutes");
                }
                return Err(error.into());
            }
        },
    };
    if finish_turn(db, run, &id).await? {
        return Ok(id);
    }
    bail!("another node has marked a store for this database meanwhile: start again");
}

async fn take_turn(db: &Db, run: &str) -> Result<Turn> {
    let run = run.to_owned();
    let turn = db.write(move |tx| {
        let (run, id) = (run.clone(), model::id::new_uid());
        Box::pin(async move {
            if !leases::hold(tx, LEASE, &run, MARKING).await? {
                return Ok(Turn::Anothers);
            }
            // After the lease, which whoever marked the store gave back as he noted it.
            let before = facts::lock(tx, facts::STORE_ID).await?;
            if is_made(tx).await? {
                leases::release(tx, LEASE, &run).await?;
                return Ok(Turn::Over);
            }
            facts::set(tx, facts::STORE_ID, &id).await?;
            Ok(Turn::Ours { id, before })
        })
    });
    Ok(turn.await?)
}

async fn give_back(db: &Db, run: &str) -> Result<()> {
    let run = run.to_owned();
    let given = db.write(move |tx| {
        let run = run.clone();
        Box::pin(async move { leases::release(tx, LEASE, &run).await })
    });
    Ok(given.await?)
}

/// The store is marked with this. False where the turn has gone to another process meanwhile.
async fn finish_turn(db: &Db, run: &str, id: &str) -> Result<bool> {
    let (run, id) = (run.to_owned(), id.to_owned());
    let is_ours = db.write(move |tx| {
        let (run, id) = (run.clone(), id.clone());
        Box::pin(async move {
            let is_ours = leases::hold(tx, LEASE, &run, MARKING).await? && !is_made(tx).await?;
            if is_ours {
                facts::set(tx, facts::STORE_ID, &id).await?;
                facts::set(tx, facts::STORE_MADE, "yes").await?;
            }
            leases::release(tx, LEASE, &run).await?;
            Ok(is_ours)
        })
    });
    Ok(is_ours.await?)
}

async fn is_made(tx: &mut Tx) -> model::Result<bool> {
    Ok(facts::find(tx, facts::STORE_MADE).await?.is_some()
        || !db::blobs::list(tx, model::id::BlobId(0), 1)
            .await?
            .is_empty())
}

/// Notes that the store with this mark is the one, whoever marked it: an import, a move, a start that was killed then.
async fn note_made(db: &Db, id: &str) -> Result<()> {
    let known = facts::find(&mut *db.reader().await?, facts::STORE_MADE).await?;
    if known.is_some() {
        return Ok(());
    }
    let id = id.to_owned();
    let noted = db.write(move |tx| {
        let id = id.clone();
        Box::pin(async move {
            let is_still = facts::lock(tx, facts::STORE_ID).await?.as_ref() == Some(&id);
            if is_still {
                facts::set(tx, facts::STORE_MADE, "yes").await?;
            }
            Ok(is_still)
        })
    });
    if noted.await? {
        return Ok(());
    }
    bail!("another node marks a store for this database: start again");
}

/// Whether another node is just marking this store: its first files are there a moment before.
async fn will_be_marked(db: &Db, store: &Store) -> Result<bool> {
    if db.is_exclusive() {
        return Ok(false);
    }
    for _ in 0..LOOKS {
        if store.identity().await?.is_some() {
            return Ok(true);
        }
        sleep(LOOK_AGAIN).await;
    }
    Ok(false)
}

/// Why a store without a mark is not used, by a database that has an identity or none.
async fn why_unmarked(config: &Config, db: &Db, store: &Store, has_id: bool) -> Result<Error> {
    if !has_contents(db).await? && store.holds_tree().await? {
        return Ok(anyhow!(FOREIGN_TREE));
    }
    if !has_id {
        return Ok(anyhow!(
            "the store is not empty and was not made by seawall: choose an empty directory (storage.url)"
        ));
    }
    Ok(anyhow!(
        "the store `{}` is not the one of this database{}, or it has lost its identity: {} Nothing is written into it until it is",
        config.storage.shown(),
        used_by(db).await,
        look_whether(store),
    ))
}

/// ` (used by node `a` on host-a)`; nothing when none is known to run.
async fn used_by(db: &Db) -> String {
    let named = who_runs(db).await;
    named.map_or_else(String::new, |named| format!(" (used by {named})"))
}

fn look_whether(store: &Store) -> &'static str {
    if store.bucket().is_some() {
        "is it the right bucket and prefix (storage.url)?"
    } else {
        "is its file system mounted (storage.url)?"
    }
}

/// Said of a tree that is nobody's, to a registry without contents.
const FOREIGN_TREE: &str = "the store holds the tree of another registry, Docker's or Harbor's: stop that one and take it over with `seawall import blobs` (docs/migrate.md), or choose an empty directory (storage.url)";
