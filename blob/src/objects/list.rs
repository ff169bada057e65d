//! Walking over all stored content of a bucket: its digests' objects and marks.

use std::sync::Arc;

use super::{Objects, keys, keys::Location};
use crate::{Batch, Found, Result};

/// A walk under way.
pub(crate) struct Listing {
    objects: Arc<Objects>,
    at: At,
}

enum At {
    Begin,
    Page(String),
    End,
}

impl Listing {
    pub(crate) fn new(objects: Arc<Objects>) -> Self {
        Self {
            objects,
            at: At::Begin,
        }
    }

    /// The next batch in the order of digests; `None` at the end. An object of an upload's own is found by its mark, with the
    /// size that the mark tells.
    pub(crate) async fn next(&mut self) -> Result<Option<Batch>> {
        let token = match &self.at {
            At::Begin => None,
            At::Page(token) => Some(token.as_str()),
            At::End => return Ok(None),
        };
        let page = self.objects.bucket.list(keys::BLOBS, token).await?;
        self.at = page.next.map_or(At::End, At::Page);
        let mut batch = Batch::default();
        for object in page.found {
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
