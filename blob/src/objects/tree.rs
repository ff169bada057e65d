//! Walking over the repositories of a Docker registry's bucket: page after page of the keys below them.

use std::sync::Arc;

use oci::digest::Digest;

use super::{Objects, keys, walk::Walk};
use crate::{
    Error, Result,
    tree::{self, Held, HeldBatch, LONGEST_LINK, REPOSITORIES, Told},
};

/// A walk under way.
pub(crate) struct TreeWalk {
    keys: Walk,
}

impl TreeWalk {
    pub(crate) fn new(objects: Arc<Objects>) -> Self {
        Self {
            keys: Walk::new(objects, REPOSITORIES),
        }
    }

    /// The next batch; `None` at the end. In the order of keys, in which what a repository holds is one row.
    pub(crate) async fn next(&mut self) -> Result<Option<HeldBatch>> {
        let Some(page) = self.keys.next().await? else {
            return Ok(None);
        };
        let mut batch = HeldBatch::default();
        for object in page {
            let path = object.key.strip_prefix(REPOSITORIES).unwrap_or_default();
            match tree::read(path, object.size) {
                Told::Held(repository, what) => batch.held.push(Held {
                    repository: repository.to_owned(),
                    what,
                    modified: object.modified,
                }),
                // Some tools make an object for a directory.
                Told::Strange if object.key.ends_with('/') && object.size == 0 => {}
                Told::Strange => batch.strange.push(object.key),
                Told::Nothing => {}
            }
        }
        Ok(Some(batch))
    }
}

impl Objects {
    pub(crate) async fn holds_tree(&self) -> Result<bool> {
        let page = self.bucket.list(keys::BLOBS, None).await?;
        Ok(!page.found.is_empty())
    }

    pub(crate) async fn tag_in_tree(&self, repository: &str, tag: &str) -> Result<Option<Digest>> {
        let Some(link) = tree::tag_link(repository, tag) else {
            return Ok(None);
        };
        match self.bucket.read(&link, LONGEST_LINK).await {
            Ok(text) => Ok(text.and_then(|text| tree::link_text(&text))),
            Err(Error::TooLarge { .. }) => Ok(None),
            Err(error) => Err(error),
        }
    }
}
