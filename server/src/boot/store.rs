//! The store, and that it is the one of this database.

use std::time::{Duration, Instant};

use anyhow::{Result, bail};
use blob::Store;
use db::{Db, facts};
use outbound::Outbound;
use registry::moving::{of_coming, of_moved};
use tokio::time::sleep;

use super::who_runs;
use crate::config::Config;

/// How long a node that has begun to make the store may need for it.
const MAKING: Duration = Duration::from_secs(10);
const LOOK_AGAIN: Duration = Duration::from_millis(200);

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

/// A store belongs to one database: a fresh database puts its mark into an empty store, and no other store is ever used.
pub(super) async fn settle_identity(
    config: &Config,
    db: &Db,
    store: &Store,
    is_moved: bool,
) -> Result<String> {
    let expected = store_id(db).await?;
    let found = store.identity().await?;
    let shown = config.storage.shown();
    match (expected, found) {
        (Some(expected), Some(found)) if expected == found => Ok(expected),
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
                which_uses(db).await
            )
        }
        // With content in the database it would be a store gone missing.
        (_, None) if store.is_empty().await? && !has_contents(db).await? => {
            make(db, store, &shown).await
        }
        (Some(_), None) if is_foreign_tree(db, store).await? => bail!(FOREIGN_TREE),
        (Some(_), None) => bail!(
            "the store `{}` is not the one of this database{}, or it has lost its identity: {} Nothing is written into it until it is",
            shown,
            which_uses(db).await,
            is_it_right(store),
        ),
        (None, Some(found)) => bail!(
            "the store belongs to another database (`{found}`): correct database.url, or, if that database is lost, bring its contents back with `seawall fsck --rebuild`"
        ),
        (None, None) if store.holds_tree().await? => bail!(FOREIGN_TREE),
        (None, None) => bail!(
            "the store is not empty and was not made by seawall: choose an empty directory (storage.url)"
        ),
    }
}

/// Makes an empty store the one of this database, which has no contents yet. Of several nodes that start with stores of their own,
/// because a share is not mounted or a bucket is misspelt, one does and the others are refused. Each time the identity is a new one, so that
/// no two stores have the same.
async fn make(db: &Db, store: &Store, shown: &str) -> Result<String> {
    let begun = Instant::now();
    loop {
        let (known, found) = (store_id(db).await?, store.identity().await?);
        match (known, found) {
            (Some(known), Some(found)) if known == found => return Ok(known),
            (_, Some(found)) => {
                bail!("the store `{shown}` belongs to another database (`{found}`)")
            }
            (known, None) => {
                if let Some(named) = who_runs(db).await {
                    bail!(
                        "the store `{shown}` is empty, and {named} uses another one for this database: {}",
                        is_it_right(store)
                    );
                }
                let Some(id) = claim(db, known, begun.elapsed() > MAKING).await? else {
                    sleep(LOOK_AGAIN).await;
                    continue;
                };
                store.adopt(&id).await?;
                if store_id(db).await?.as_ref() != Some(&id) {
                    bail!("another node has made a store for this database meanwhile: start again");
                }
                return Ok(id);
            }
        }
    }
}

async fn store_id(db: &Db) -> Result<Option<String>> {
    Ok(facts::find(&mut *db.reader().await?, facts::STORE_ID).await?)
}

/// The identity of the store that this node may make now. None where another node is at it, unless that `takes_long`: it was killed then.
async fn claim(db: &Db, known: Option<String>, takes_long: bool) -> Result<Option<String>> {
    let (own, is_alone) = (db.node().to_owned(), db.is_exclusive());
    let claimed = db.write(move |tx| {
        let (known, own, id) = (known.clone(), own.clone(), model::id::new_uid());
        Box::pin(async move {
            let found = facts::hold(tx, facts::STORE_ID).await?;
            if found != known {
                return Ok(None);
            }
            if found.is_none() {
                if facts::settle(tx, facts::STORE_ID, &id).await? != id {
                    return Ok(None);
                }
            } else {
                let maker = facts::find(tx, facts::STORE_MADE_BY).await?;
                if !(is_alone || takes_long || maker.as_ref() == Some(&own)) {
                    return Ok(None);
                }
                facts::set(tx, facts::STORE_ID, &id).await?;
            }
            facts::set(tx, facts::STORE_MADE_BY, &own).await?;
            Ok(Some(id))
        })
    });
    Ok(claimed.await?)
}

/// `, which node `a` on host-a uses`; nothing when none runs.
async fn which_uses(db: &Db) -> String {
    let named = who_runs(db).await;
    named.map_or_else(String::new, |named| format!(", which {named} uses"))
}

fn is_it_right(store: &Store) -> &'static str {
    if store.bucket().is_some() {
        "is it the right bucket and prefix (storage.url)?"
    } else {
        "is its file system mounted (storage.url)?"
    }
}

/// Said of a tree that is nobody's, to a registry without contents.
const FOREIGN_TREE: &str = "the store holds the tree of another registry, Docker's or Harbor's: stop that one and take it over with `seawall import blobs` (docs/migrate.md), or choose an empty directory (storage.url)";

/// A tree without an identity, and a database that has no contents it could have lost.
async fn is_foreign_tree(db: &Db, store: &Store) -> Result<bool> {
    Ok(!has_contents(db).await? && store.holds_tree().await?)
}
