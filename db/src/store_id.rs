//! Which store is this database's: the fact [`facts::STORE_ID`], and how it comes to be. It names a store that is marked with it, but for an
//! import, which writes it a moment before. Who marks a new store says first with what, in the fact `store.tried`, so that a kill leaves
//! no mark that nobody knows; and never uses the same twice, so that no two stores have it.

use std::time::Duration;

use model::{Error, Result, id::new_uid};

use crate::{Conn, Db, Tx, facts, leases};

/// What the one node holds that marks a store, and for how long: longer than a store that is away is waited for.
const LEASE: &str = "store";
const MARKING: Duration = Duration::from_mins(2);
/// Who holds the lease for one transaction.
const PASSING: &str = "passing";
/// Identities that a store was or may have been marked with before anything was pushed, separated by spaces.
const TRIED: &str = "store.tried";

/// What a database knows of its store.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Known {
    /// The store that is its.
    pub id: Option<String>,
    /// Stores that may become it: marked by a start that did not come to its end, or, by the one process of an SQLite file, left for another.
    pub tried: Vec<String>,
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
    // In this order: with the one the others are forgotten.
    let tried = tried(&mut reader).await?;
    let id = facts::find(&mut reader, facts::STORE_ID).await?;
    Ok(Known { id, tried })
}

async fn tried(conn: &mut Conn) -> Result<Vec<String>> {
    let found = facts::find(conn, TRIED).await?.unwrap_or_default();
    Ok(found.split_whitespace().map(str::to_owned).collect())
}

async fn note_tried(tx: &mut Tx, all: &[String]) -> Result<()> {
    if all.is_empty() {
        return facts::delete(tx, TRIED).await;
    }
    facts::set(tx, TRIED, &all.join(" ")).await
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
            let (id, tried) = (new_uid(), tried(tx).await?);
            note_tried(tx, &[tried.as_slice(), std::slice::from_ref(&id)].concat()).await?;
            Ok(Turn::Ours { id, tried })
        })
    });
    turn.await
}

/// Nothing came of a turn. Its identity is forgotten where it is sure to be `unused`.
pub async fn give_back(db: &Db, run: &str, unused: Option<&str>) -> Result<()> {
    let (run, unused) = (run.to_owned(), unused.map(str::to_owned));
    let given = db.write(move |tx| {
        let (run, unused) = (run.clone(), unused.clone());
        Box::pin(async move {
            if let Some(unused) = unused {
                let mut left = tried(tx).await?;
                left.retain(|one| *one != unused);
                note_tried(tx, &left).await?;
            }
            leases::release(tx, LEASE, &run).await
        })
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
                leave_for(tx, &id).await?;
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

/// The one process of a database takes this store. The one that it had before may be gone back to.
async fn leave_for(tx: &mut Tx, id: &str) -> Result<()> {
    let mut all = tried(tx).await?;
    if let Some(before) = facts::find(tx, facts::STORE_ID).await?
        && !all.contains(&before)
    {
        all.push(before);
        note_tried(tx, &all).await?;
    }
    facts::set(tx, facts::STORE_ID, id).await
}

/// For who gives the database a store in one transaction, by [`set`]: the one that it has, which stays until the end. Refused while a start
/// marks one.
pub async fn hold(tx: &mut Tx) -> Result<Option<String>> {
    if tx.locks_rows() {
        if !leases::hold(tx, LEASE, PASSING, MARKING).await? {
            return Err(Error::Precondition(
                "a node starts for the first time, and marks a store for this database: stop it; if it was killed, try again in two minutes".to_owned(),
            ));
        }
        // Whoever asks for it waits for the end of this transaction all the same.
        leases::release(tx, LEASE, PASSING).await?;
    }
    facts::lock(tx, facts::STORE_ID).await
}

/// From now on this is the database's store.
pub async fn set(tx: &mut Tx, id: &str) -> Result<()> {
    facts::set(tx, facts::STORE_ID, id).await?;
    facts::delete(tx, TRIED).await
}
