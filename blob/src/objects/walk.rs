//! Going through all keys below a prefix, page by page, in their order.

use std::sync::Arc;

use super::{Objects, bucket::Object};
use crate::Result;

pub(super) struct Walk {
    objects: Arc<Objects>,
    prefix: &'static str,
    at: At,
}

enum At {
    Begin,
    Page(String),
    End,
}

impl Walk {
    pub fn new(objects: Arc<Objects>, prefix: &'static str) -> Self {
        Self {
            objects,
            prefix,
            at: At::Begin,
        }
    }

    /// The next page; `None` at the end. After an error the same page is asked for again.
    pub async fn next(&mut self) -> Result<Option<Vec<Object>>> {
        let token = match &self.at {
            At::Begin => None,
            At::Page(token) => Some(token.as_str()),
            At::End => return Ok(None),
        };
        let page = self.objects.bucket.list(self.prefix, token).await?;
        self.at = page.next.map_or(At::End, At::Page);
        Ok(Some(page.found))
    }
}
