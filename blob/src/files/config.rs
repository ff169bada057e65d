//! What the store on a file system can be told.

use std::path::PathBuf;

/// Where the bytes live and how they are treated.
#[derive(Clone, Debug)]
pub struct Config {
    /// The directory that holds `store-id`, `uploads/`, `quarantine/` and `docker/registry/v2/blobs/`.
    pub root: PathBuf,
    /// Bytes that uploads leave free, so that deletes and the database still have room. `None` is 5 % of the file
    /// system, at most 1 GiB.
    pub reserve: Option<u64>,
    /// Whether pulls may map files. `None` decides by the type of the file system: never on a network.
    pub mapped: Option<bool>,
}

impl Config {
    pub fn new(root: impl Into<PathBuf>) -> Self {
        Self {
            root: root.into(),
            reserve: None,
            mapped: None,
        }
    }
}
