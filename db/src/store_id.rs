//! Which store is this database's: the fact [`facts::STORE_ID`], and how it comes to be. From a start it names a store that is marked with
//! it; an import or a rebuild writes it a moment before. Whoever marks a store says first with what, in the fact `store.tried`, so that a
//! kill leaves no mark that nobody knows; and never uses the same twice, so that no two stores have it.

use std::time::Duration;

use model::{Error, Result, id::new_uid};

use crate::{Conn, Db, Tx, facts, leases};

/// What the one node holds that marks a store, and for how long: longer than a store that is away is waited for.
const LEASE: &str = "store";
const MARKING: Duration = Duration::from_mins(2);
/// Who holds the lease for one transaction.
const PASSING: &str = "passing";
/// Identities that a store was or may have been marked with before anything was pushed, separated by spaces: the newest of them.
const TRIED: &str = "store.tried";
const KEPT: usize = 1000;

/// The store that contents were moved from last.
const LEFT: &str = "store.left";

/// What a database knows of its store.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Known {
    /// The store that is its.
    pub id: Option<String>,
    /// Stores that were or may have been marked for it. As long as there is no content, one of them is as good as another.
    pub tried: Vec<String>,
    /// The store that its contents were moved from last.
    pub left: Option<String>,
}

/// Who marks the store of a new database.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Turn {
    /// This run, with this identity; or a store that has one of those that were `tried` stays as it is.
    Ours { id: String, tried: Vec<String> },
    /// Another run, which may have been killed at it.
    Anothers,
    /// Nobody any more: this is the store's identity.
    Over(String),
}

pub async fn known(db: &Db) -> Result<Known> {
    let mut reader = db.reader().await?;
    let tried = read_tried(facts::find(&mut reader, TRIED).await?);
    let left = facts::find(&mut reader, LEFT).await?;
    let id = facts::find(&mut reader, facts::STORE_ID).await?;
    Ok(Known { id, tried, left })
}

fn read_tried(found: Option<String>) -> Vec<String> {
    let found = found.unwrap_or_default();
    found.split_whitespace().map(str::to_owned).collect()
}

/// Adds one to those that were tried; answers which there were before.
async fn note_tried(tx: &mut Tx, id: &str) -> Result<Vec<String>> {
    let before = read_tried(facts::lock(tx, TRIED).await?);
    let mut all: Vec<&str> = before.iter().map(String::as_str).collect();
    all.retain(|one| *one != id);
    all.push(id);
    let newest = &all[all.len().saturating_sub(KEPT)..];
    facts::set(tx, TRIED, &newest.join(" ")).await?;
    Ok(before)
}

/// Asks for the turn to mark a store. Where it `may_leave` the store that there is, for another one, also then: the one process of
/// a database, before the first content.
pub async fn take_turn(db: &Db, run: &str, may_leave: bool) -> Result<Turn> {
    let run = run.to_owned();
    let turn = db.write(move |tx| {
        let run = run.clone();
        Box::pin(async move {
            if tx.locks_rows() && !leases::hold(tx, LEASE, &run, MARKING).await? {
                return Ok(Turn::Anothers);
            }
            if let Some(id) = facts::find(tx, facts::STORE_ID).await?
                && !may_leave
            {
                leases::release(tx, LEASE, &run).await?;
                return Ok(Turn::Over(id));
            }
            let id = new_uid();
            let tried = note_tried(tx, &id).await?;
            Ok(Turn::Ours { id, tried })
        })
    });
    turn.await
}

/// Nothing came of a turn.
pub async fn give_back(db: &Db, run: &str) -> Result<()> {
    let run = run.to_owned();
    let given = db.write(move |tx| {
        let run = run.clone();
        Box::pin(async move { leases::release(tx, LEASE, &run).await })
    });
    given.await
}

/// A store is marked with this. False where the turn has gone to another run meanwhile, which has marked another.
pub async fn finish(db: &Db, run: &str, id: &str) -> Result<bool> {
    let (run, id) = (run.to_owned(), id.to_owned());
    let is_ours = db.write(move |tx| {
        let (run, id) = (run.clone(), id.clone());
        Box::pin(async move {
            if !tx.locks_rows() {
                set(tx, &id).await?;
                return Ok(true);
            }
            let is_held = leases::hold(tx, LEASE, &run, MARKING).await?;
            let known = facts::find(tx, facts::STORE_ID).await?;
            if is_held && known.is_none() {
                set(tx, &id).await?;
            }
            leases::release(tx, LEASE, &run).await?;
            // The one who had the turn next may have found this very mark.
            Ok(known.map_or(is_held, |known| known == id))
        })
    });
    is_ours.await
}

/// For who gives the database a store in one transaction, by [`set`]: what it knows, which stays so until the end. Refused while a start
/// marks one.
pub async fn lock(tx: &mut Tx) -> Result<Known> {
    if tx.locks_rows() {
        if !leases::hold(tx, LEASE, PASSING, MARKING).await? {
            return Err(Error::Precondition(
                "a node starts for the first time, and marks a store for this database: stop it, and try again in two minutes".to_owned(),
            ));
        }
        // Whoever asks for it waits for the end of this transaction all the same.
        leases::release(tx, LEASE, PASSING).await?;
    }
    let id = facts::lock(tx, facts::STORE_ID).await?;
    let tried = read_tried(facts::lock(tx, TRIED).await?);
    let left = facts::find(tx, LEFT).await?;
    Ok(Known { id, tried, left })
}

/// From now on this is the database's store. The one before is known still.
pub async fn set(tx: &mut Tx, id: &str) -> Result<()> {
    if let Some(before) = facts::find(tx, facts::STORE_ID).await? {
        note_tried(tx, &before).await?;
    }
    note_tried(tx, id).await?;
    facts::set(tx, facts::STORE_ID, id).await
}

/// The same at the end of a move, once or again.
pub(crate) async fn replace(conn: &mut Conn, id: &str) -> Result<()> {
    let left = facts::find(conn, facts::STORE_ID).await?;
    if let Some(left) = left.filter(|left| left != id) {
        facts::set(conn, LEFT, &left).await?;
    }
    facts::set(conn, facts::STORE_ID, id).await
}
