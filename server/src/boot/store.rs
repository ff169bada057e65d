//! The store, and that it is the one of this database.

use std::time::Duration;

use anyhow::{Error, Result, anyhow, bail};
use blob::Store;
use db::{
    Db, blobs,
    store_id::{self, Turn},
};
use model::id::new_uid;
use outbound::Outbound;
use registry::moving::{of_coming, of_moved, refuse_left};
use tokio::time::sleep;

use super::who_runs;
use crate::config::Config;

/// Between two looks whether another node has marked the store.
const LOOK_AGAIN: Duration = Duration::from_millis(200);
/// How often before a store is refused that has no mark, or not the right one.
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

pub async fn open_store(config: &Config, outbound: &Outbound) -> Result<Store> {
    Ok(Store::open(config.storage.store(outbound.clone())).await?)
}

/// What is known of a start.
#[derive(Clone, Copy)]
pub(super) struct Start {
    /// The database names this store as the one to which a move went.
    pub is_moved: bool,
    /// The store that the database has may be left for another one, as long as nothing was pushed.
    pub may_leave: bool,
}

/// A store belongs to one database: a fresh database puts its mark into an empty store, and no other store is ever used. Answers the
/// mark, which is the store's identity.
pub(super) async fn settle_identity(
    config: &Config,
    db: &Db,
    store: &Store,
    start: Start,
) -> Result<String> {
    let (mut looks, mut is_told) = (0, false);
    loop {
        // The mark first: who puts one there has told the database before.
        let found = store.identity().await?;
        let known = store_id::known(db).await?;
        match (known.id, found) {
            (Some(expected), Some(found)) if expected == found => return Ok(expected),
            // A move ended between its last two steps; that the database names this store was looked at before.
            (Some(expected), Some(found))
                if start.is_moved
                    && known.left.as_deref().map(of_coming).as_ref() == Some(&found) =>
            {
                store.change_identity(&found, &expected).await?;
                return Ok(expected);
            }
            // With content in the database it would be a store gone missing, or one that was left.
            (_, found)
                if may_be_marked(store, &known.tried, found.as_deref()).await?
                    && !has_contents(db).await? =>
            {
                if let Some(id) = mark(config, db, store, start.may_leave).await? {
                    return Ok(id);
                }
                if !is_told {
                    tracing::info!(
                        "waiting for another start, which marks its store: for two minutes if it was stopped in the middle of that"
                    );
                    is_told = true;
                }
                sleep(LOOK_AGAIN).await;
            }
            (expected, Some(found)) => {
                if known.left.as_ref() == Some(&found) {
                    refuse_left(&of_moved(&found))?;
                }
                if expected.as_deref().map(of_moved).as_ref() == Some(&found) {
                    bail!(
                        "this store says that its contents were moved elsewhere, and the database knows nothing of that: it is from before the move (a backup, or a replica that lacks the last commits), see docs/move.md"
                    );
                }
                refuse_left(&found)?;
                return Err(why_anothers(db, expected.as_deref(), &found).await);
            }
            // Another node may be just marking it: its first files are there a moment before.
            (_, None) if looks < LOOKS && !db.is_exclusive() => {
                looks += 1;
                sleep(LOOK_AGAIN).await;
            }
            (expected, None) => {
                return Err(why_unmarked(config, db, store, expected.is_some()).await?);
            }
        }
    }
}

pub(super) async fn has_contents(db: &Db) -> Result<bool> {
    Ok(blobs::any(&mut *db.reader().await?).await?)
}

/// Whether a start may have this store before there is any content: it is empty, or has a mark that came to nothing.
async fn may_be_marked(store: &Store, tried: &[String], found: Option<&str>) -> Result<bool> {
    match found {
        Some(found) => Ok(tried.iter().any(|tried| tried == found)),
        None => Ok(store.is_empty().await?),
    }
}

/// Marks an empty store as the one of this database; none while another start has the turn to. Where several nodes may do so, because a share
/// is not mounted or a bucket is misspelt, one does, once, and the others find its mark in their stores or are refused: while there is no
/// content nothing else tells that there is a store already.
async fn mark(config: &Config, db: &Db, store: &Store, may_leave: bool) -> Result<Option<String>> {
    let run = new_uid();
    match store_id::take_turn(db, &run, may_leave).await? {
        Turn::Ours { id, tried } => Ok(Some(mark_with(db, store, &run, &id, &tried).await?)),
        Turn::Over(id) => Ok(Some(find_marked(config, db, store, id).await?)),
        Turn::Anothers => Ok(None),
    }
}

/// In our turn.
async fn mark_with(
    db: &Db,
    store: &Store,
    run: &str,
    new: &str,
    tried: &[String],
) -> Result<String> {
    let id = match adopt(store, new, tried).await {
        Ok(id) => id,
        Err(error) => {
            // Who mends it and starts again shall not wait for the end of this turn.
            if let Err(error) = store_id::give_back(db, run).await {
                tracing::warn!(%error, "the turn to mark the store was not given back: it ends in two minutes");
            }
            return Err(error);
        }
    };
    if store_id::finish(db, run, &id).await? {
        return Ok(id);
    }
    bail!("another node marks a store for this database meanwhile: start again");
}

/// Marks the store as `new`, or finds that a turn before has marked this very one.
async fn adopt(store: &Store, new: &str, tried: &[String]) -> Result<String> {
    let Err(refused) = store.adopt(new).await else {
        return Ok(new.to_owned());
    };
    match store.identity().await {
        Ok(Some(found)) if tried.contains(&found) => Ok(found),
        _ => Err(refused.into()),
    }
}

/// The database has a store: this one, which another start has marked meanwhile, or another.
async fn find_marked(config: &Config, db: &Db, store: &Store, id: String) -> Result<String> {
    if db.is_exclusive() {
        bail!(
            "the store `{}` is not the one of this database: give the configuration that the server has (--config, storage.url)",
            config.storage.shown()
        );
    }
    for _ in 0..LOOKS {
        // Reading the directory, a network file system notices what has come.
        store.is_empty().await?;
        if store.identity().await?.as_ref() == Some(&id) {
            return Ok(id);
        }
        sleep(LOOK_AGAIN).await;
    }
    bail!(
        "the store `{}` has no contents, and this database has another one{}: {} To begin with this one use `seawall move`; if the other one is gone and nothing was pushed yet, begin with a new database",
        config.storage.shown(),
        used_by(db).await,
        look_whether(store),
    )
}

/// Why a store with a mark is not used that is not this database's.
async fn why_anothers(db: &Db, expected: Option<&str>, found: &str) -> Error {
    match expected {
        Some(expected) => anyhow!(
            "the store has the identity `{found}`, the database belongs to `{expected}`{}: correct storage.url or database.url",
            used_by(db).await
        ),
        None => anyhow!(
            "the store belongs to another database (`{found}`): correct database.url, or, if that database is lost, bring its contents back with `seawall fsck --rebuild`"
        ),
    }
}

/// Why a store without a mark is not used, by a database that has an identity or none.
async fn why_unmarked(config: &Config, db: &Db, store: &Store, has_id: bool) -> Result<Error> {
    if !has_contents(db).await? && store.holds_tree().await? {
        return Ok(anyhow!(FOREIGN_TREE));
    }
    if !has_id {
        return Ok(anyhow!(
            "the store is not empty and was not made by seawall: choose an empty directory or prefix (storage.url)"
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
const FOREIGN_TREE: &str = "the store holds the tree of another registry, Docker's or Harbor's: stop that one and take it over with `seawall import blobs` (docs/migrate.md), or choose an empty directory or prefix (storage.url)";
