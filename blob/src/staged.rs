//! A whole upload on its way to being content.

use oci::digest::Digest;

use crate::{Result, files, objects};

/// A whole upload, checked and durable. Dropped before it was published it stays an upload.
pub struct Staged {
    pub digest: Digest,
    pub size: u64,
    kind: Kind,
}

enum Kind {
    Files(Box<files::Staged>),
    Objects(Box<objects::Staged>),
}

impl From<files::Staged> for Staged {
    fn from(staged: files::Staged) -> Self {
        Self {
            digest: staged.digest,
            size: staged.size,
            kind: Kind::Files(Box::new(staged)),
        }
    }
}

impl From<objects::Staged> for Staged {
    fn from(staged: objects::Staged) -> Self {
        Self {
            digest: staged.digest,
            size: staged.size,
            kind: Kind::Objects(Box::new(staged)),
        }
    }
}

impl Staged {
    /// Puts the bytes at `location`, over whatever lies there, and returns when they are durable there. May be called again, also
    /// with another location, and after `Withdrawn` should be. Bytes that have a place of their own stay there.
    pub async fn publish(&self, location: &str) -> Result<()> {
        match &self.kind {
            Kind::Files(staged) => staged.publish(location).await,
            Kind::Objects(staged) => staged.publish(location).await,
        }
    }

    /// The object of a bucket that the upload itself made, if that is where the bytes are.
    pub fn own_location(&self) -> Option<&str> {
        match &self.kind {
            Kind::Files(_) => None,
            Kind::Objects(staged) => staged.own_location(),
        }
    }

    /// Whether the upload has left anything in the store beside its content, for a sweep to take away.
    pub fn leaves(&self) -> bool {
        match &self.kind {
            Kind::Files(_) => false,
            Kind::Objects(staged) => staged.leaves,
        }
    }

    /// Where the bytes are once they were published at `location`.
    pub fn location<'a>(&'a self, location: &'a str) -> &'a str {
        self.own_location().unwrap_or(location)
    }
}
