//! The step between "all bytes are in the store" and "they are content": where they lie, and the mark that says so.

use std::sync::Arc;

use bytes::Bytes;
use oci::digest::Digest;

use super::{Objects, keys, keys::Location};
use crate::Result;

/// A whole upload, checked, and where it lies.
pub(crate) struct Staged {
    objects: Arc<Objects>,
    pub(crate) digest: Digest,
    pub(crate) size: u64,
    /// Of content that is stored with one call.
    frames: Vec<Bytes>,
    /// Its location, when it is an object of the upload's own.
    own: Option<String>,
    /// Whether the upload has other objects than its content.
    pub(crate) leaves: bool,
}

impl Staged {
    pub(crate) fn new(
        objects: Arc<Objects>,
        digest: Digest,
        size: u64,
        frames: Vec<Bytes>,
    ) -> Self {
        Self {
            objects,
            digest,
            size,
            frames,
            own: None,
            leaves: false,
        }
    }

    /// Of an upload that ended as this object of its own, whose commit is tried again.
    pub(crate) fn again(objects: Arc<Objects>, digest: Digest, size: u64, own: &str) -> Self {
        Self {
            own: Some(own.to_owned()),
            leaves: true,
            ..Self::new(objects, digest, size, Vec::new())
        }
    }

    /// Where the bytes are, whatever place their digest has.
    pub(crate) fn own_location(&self) -> Option<&str> {
        self.own.as_deref()
    }

    /// Puts the bytes at `location`, unless they have one of their own.
    pub(crate) async fn publish(&self, location: &str) -> Result<()> {
        if self.own.is_some() {
            return Ok(());
        }
        let object = Location::parse(location)?.object(&self.digest);
        self.objects.bucket.put(&object, self.frames.clone()).await
    }

    /// The bytes stay in the object that the upload made. The mark tells whoever has lost the database.
    pub(crate) async fn keep_own(&mut self, location: String) -> Result<()> {
        let mark = format!("{}{location}", keys::dir(&self.digest));
        self.objects.bucket.put(&mark, Vec::new()).await?;
        self.own = Some(location);
        Ok(())
    }
}
