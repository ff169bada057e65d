//! That the store is the one which belongs to this database: asked before anything that believes what the store says
//! is missing, since an empty mount point says so of everything.

use db::{Db, facts};
use model::{Error, Result};

use crate::{Registry, moving::refuse_left, store_error};

impl Registry {
    /// An error unless the store carries the identity that the database knows.
    pub(crate) async fn check_store(&self) -> Result<()> {
        match self.identity_fault().await? {
            None => Ok(()),
            Some(why) => Err(Error::Unavailable(anyhow::anyhow!("{why}"))),
        }
    }

    /// What is wrong with the store's identity, if anything.
    pub(crate) async fn identity_fault(&self) -> Result<Option<String>> {
        let expected = facts::find(&mut *self.db().reader().await?, facts::STORE_ID).await?;
        let found = self.store().identity().await.map_err(store_error)?;
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
}

/// Makes a database that knows no store yet belong to this one, whose identity stays: the first step of a rebuild. A store
/// without one (a directory of Docker's registry or of Harbor) gets one. Answers the identity.
pub async fn adopt_store(db: &Db, store: &blob::Store) -> Result<String> {
    let found = store.identity().await.map_err(store_error)?;
    if let Some(found) = &found {
        refuse_left(found)?;
    }
    let identity = found.clone().unwrap_or_else(model::id::new_uid);
    if found.is_none() {
        store.adopt(&identity).await.map_err(store_error)?;
    }
    let wanted = identity.clone();
    let settled = db
        .write(move |tx| {
            let wanted = wanted.clone();
            Box::pin(async move { facts::settle(tx, facts::STORE_ID, &wanted).await })
        })
        .await?;
    if settled != identity {
        return Err(Error::Precondition(format!(
            "the database belongs to the store `{settled}`, this store is `{identity}`: rebuild into an empty database"
        )));
    }
    Ok(identity)
}
