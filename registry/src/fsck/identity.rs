//! That the store is the one which belongs to this database: asked before anything that believes what the store says
//! is missing, since an empty mount point says so of everything.

use db::{Db, Tx, blobs, facts, nodes, store_id};
use model::{Error, Result, id::new_uid};

use crate::{Registry, moving::refuse_left, store_error};

impl Registry {
    /// An error unless the store carries the identity that the database knows.
    pub async fn check_store(&self) -> Result<()> {
        match self.identity_fault().await? {
            None => Ok(()),
            Some(why) => Err(Error::Unavailable(anyhow::anyhow!("{why}"))),
        }
    }

    /// What is wrong with the store's identity, if anything.
    pub(crate) async fn identity_fault(&self) -> Result<Option<String>> {
        let (mut expected, mut found) = self.identities().await?;
        if expected != found && found == Some(self.store_id()) {
            // A move is just ending, and the database says so in a moment: as who publishes, this waits for it.
            drop(self.publishing().await?);
            (expected, found) = self.identities().await?;
        }
        Ok(match (expected, found) {
            (Some(expected), Some(found)) if expected == found => None,
            (Some(expected), Some(found)) => Some(format!(
                "the store has identity `{found}`, the database belongs to `{expected}`"
            )),
            (Some(expected), None) => Some(format!(
                "the store has no identity, expected `{expected}`: is its file system mounted?"
            )),
            (None, _) => Some("the database does not know its store".to_owned()),
        })
    }

    /// The one that the database names, and the one that the store carries.
    async fn identities(&self) -> Result<(Option<String>, Option<String>)> {
        let expected = facts::find(&mut *self.db().reader().await?, facts::STORE_ID).await?;
        let found = self.store().identity().await.map_err(store_error)?;
        Ok((expected, found))
    }
}

/// Makes a database that has no contents, or some of this store, belong to it: the first step of a rebuild. The store's identity stays; the
/// tree of Docker's registry or of Harbor gets a new one. Answers the identity.
pub async fn adopt_store(db: &Db, store: &blob::Store) -> Result<String> {
    let found = store.identity().await.map_err(store_error)?;
    if let Some(found) = &found {
        refuse_left(found)?;
    } else if !store.holds_tree().await.map_err(store_error)? {
        return Err(Error::Precondition(
            "there is nothing in this store to bring back: is its file system mounted (storage.url)?".to_owned(),
        ));
    }
    let settled = db.write(move |tx| {
        let found = found.clone();
        Box::pin(async move {
            let known = store_id::lock(tx).await?;
            if found.is_some() && found == known.id {
                return Ok(known.id);
            }
            let is_free = match &found {
                Some(found) => known.id.is_none() || known.tried.contains(found),
                None => true,
            };
            if !is_free || blobs::any(tx).await? {
                return Err(Error::Precondition(format!(
                    "the database belongs to the store `{}`, and this one {}: see whether storage.url is right; a rebuild goes into a new database",
                    known.id.unwrap_or_default(),
                    found.map_or_else(
                        || "has no identity (is its file system mounted?)".to_owned(),
                        |found| format!("is `{found}`")
                    ),
                )));
            }
            expect_unserved(tx).await?;
            let id = found.unwrap_or_else(new_uid);
            store_id::set(tx, &id).await?;
            Ok(Some(id))
        })
    });
    let id = settled.await?.unwrap_or_default();
    store.adopt(&id).await.map_err(store_error)?;
    Ok(id)
}

/// No node serves from the store that the database is to leave: it would go on. Its process on SQLite is this one.
pub(crate) async fn expect_unserved(tx: &mut Tx) -> Result<()> {
    if !tx.locks_rows() {
        return Ok(());
    }
    let since = tx.now().await?.minus(nodes::SILENT);
    match nodes::seen_since(tx, since).await?.first() {
        None => Ok(()),
        Some(node) => Err(Error::Precondition(format!(
            "the node `{}` on {} serves this registry from another store: stop all nodes, and start them with this one afterwards (one that was killed is forgotten in {} s)",
            node.name,
            node.host,
            nodes::SILENT.as_secs()
        ))),
    }
}
