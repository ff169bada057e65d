//! What lies in a store, whoever knows of it.

use std::time::SystemTime;

use oci::digest::Digest;

/// One piece of stored content.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Found {
    pub digest: Digest,
    pub location: String,
    pub size: u64,
    pub modified: SystemTime,
}

#[derive(Clone, Debug, Default)]
pub struct Batch {
    pub found: Vec<Found>,
    /// Names below the blob tree that are not ours, as paths below the store's root.
    pub strange: Vec<String>,
    /// What the disk does not show, with its words: content beneath may exist all the same.
    pub unreadable: Vec<String>,
}

impl Batch {
    pub(crate) fn len(&self) -> usize {
        self.found.len() + self.strange.len() + self.unreadable.len()
    }
}

/// An upload's file as it lies in the store, with or without anybody who knows of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unfinished {
    pub key: String,
    pub size: u64,
    /// By the clock of whoever keeps the file system.
    pub modified: SystemTime,
    /// Whether this process works on it: then it is nobody's leftover, however old.
    pub is_busy: bool,
}
