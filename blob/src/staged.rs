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

    /// Where the bytes are once they were published at `location`.
    pub fn location<'a>(&'a self, location: &'a str) -> &'a str {
        match &self.kind {
            Kind::Files(_) => location,
            Kind::Objects(staged) => staged.own_location().unwrap_or(location),
        }
    }
}
