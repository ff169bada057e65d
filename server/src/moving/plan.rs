//! Where a move goes, and what stands against it.

use anyhow::{Context, Result, bail};
use blob::Store;
use db::{
    Db,
    moving::{self, Begun},
    nodes,
};
use model::id::new_uid;

use registry::moving::of_coming;

use super::{Mover, Record};
use crate::config::{Database, Storage};

/// Where to.
pub(super) struct Plan {
    pub record: Record,
    pub database: Option<Database>,
    pub storage: Option<Storage>,
    pub begun: Begun,
}

impl Plan {
    pub async fn make(mover: &Mover, record: Record) -> Result<Self> {
        let config = mover.config();
        let place = record.place(&config.server.data)?;
        let (database, storage) = (place.database, place.storage);
        if database
            .as_ref()
            .is_some_and(|to| to.url == config.database.url)
        {
            bail!("the database is there already");
        }
        if storage.is_some() && mover.registry.is_importing().await? {
            bail!(
                "an import is open, and what it has not read yet of the old registry's tree does not move: finish it first (`seawall import finish`)"
            );
        }
        let shown = (
            database.as_ref().map(|to| to.url.shown()),
            storage.as_ref().map(Storage::shown),
        );
        let db = mover.registry.db();
        let found = moving::begun(&mut *db.reader().await?).await?;
        let begun = match found {
            Some(found) if (&found.database, &found.storage) != (&shown.0, &shown.1) => {
                let places = [found.database, found.storage];
                let places: Vec<String> = places.into_iter().flatten().collect();
                bail!(
                    "a move to {} has begun: go on with that one, or end it with `seawall move --abort`",
                    places.join(" and ")
                )
            }
            Some(found) => found,
            None => Begun {
                id: new_uid(),
                database: shown.0,
                storage: shown.1,
            },
        };
        Ok(Self {
            record,
            database,
            storage,
            begun,
        })
    }
}

/// Other nodes would go on writing where the registry was.
pub(super) async fn expect_alone(db: &Db, serves: bool) -> Result<()> {
    if db.is_exclusive() {
        return Ok(());
    }
    let alive = nodes::alive(db).await?;
    let other = alive.iter().find(|node| !serves || node.name != db.node());
    match other {
        None => Ok(()),
        Some(node) => bail!(
            "the node `{}` on {} uses this database too: stop all nodes but one for the time of the move",
            node.name,
            node.host
        ),
    }
}

/// The store that a move goes to, with the mark of one that contents come into.
pub(super) async fn open_store(mover: &Mover, storage: &Storage, begun: &Begun) -> Result<Store> {
    let store = Store::open(storage.store(mover.outbound.clone()))
        .await
        .context("the store to move to cannot be used")?;
    let own = mover.registry.store_id();
    let coming = of_coming(&own);
    match store.identity().await? {
        None if store.is_empty().await? => store.adopt(&coming).await?,
        None => bail!(
            "the store to move to is not empty, and was not made by seawall: name an empty one"
        ),
        Some(found) if found == coming => {}
        Some(found) if found == own => bail!("the store to move to is the one in use"),
        // This move was interrupted at its end, and the database does not say that the contents are there.
        Some(found) if found == begun.id => store.change_identity(&found, &coming).await?,
        Some(found) => {
            bail!(
                "the store to move to has a mark already (`{found}`), of a registry or of another move: name an empty one"
            )
        }
    }
    Ok(store)
}
