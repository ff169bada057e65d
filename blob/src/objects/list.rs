//! Walking over all stored content of a bucket: its digests' objects and marks.

use std::sync::Arc;

use super::{
    Objects,
    keys::{self, Location},
    walk::Walk,
};
use crate::{Batch, Found, Result};

/// A walk under way.
pub(crate) struct Listing {
    keys: Walk,
}

impl Listing {
    pub(crate) fn new(objects: Arc<Objects>) -> Self {
        Self {
            keys: Walk::new(objects, keys::BLOBS),
        }
    }

    /// The next batch in the order of digests; `None` at the end. An object of an upload's own is found by its mark, with the
    /// size that the mark tells.
    pub(crate) async fn next(&mut self) -> Result<Option<Batch>> {
        let Some(page) = self.keys.next().await? else {
            return Ok(None);
        };
        let mut batch = Batch::default();
        for object in page {
            let Some((digest, location)) = keys::content(&object.key) else {
                batch.strange.push(object.key);
                continue;
            };
            let size = match Location::parse(location) {
                Ok(Location::Own { size, .. }) => size,
                _ => object.size,
            };
            batch.found.push(Found {
                digest,
                location: location.to_owned(),
                size,
                modified: object.modified,
            });
        }
        Ok(Some(batch))
    }
}
