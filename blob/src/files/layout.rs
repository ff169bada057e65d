//! Where things lie under the root, and which names are ours.
//!
//! ```text
//! ROOT/store-id                                                  which database this store belongs to
//! ROOT/docker/registry/v2/blobs/<alg>/<2 hex>/<hex>/<location>   content; location is `data`, `data.1`, …
//! ROOT/uploads/<key>                                             uploads, and content on its way to its place
//! ROOT/quarantine/<alg>-<hex>-<location>                         damaged content, kept for a person to look at
//! ```
//! The blob tree is the distribution registry's own, so that its data directory is adopted as it is; uploads lie on
//! the same file system, so that a rename publishes them.

use std::path::{Path, PathBuf};

use oci::digest::{Algorithm, Digest};

use crate::{
    Error, Result,
    names::{check_location, is_key},
};

const BLOBS: &str = "docker/registry/v2/blobs";

#[derive(Debug)]
pub(crate) struct Layout {
    pub(crate) root: PathBuf,
}

impl Layout {
    pub(crate) fn identity(&self) -> PathBuf {
        self.root.join("store-id")
    }

    pub(crate) fn uploads(&self) -> PathBuf {
        self.root.join("uploads")
    }

    pub(crate) fn quarantine(&self) -> PathBuf {
        self.root.join("quarantine")
    }

    pub(crate) fn blobs(&self) -> PathBuf {
        self.root.join(BLOBS)
    }

    /// The directories that stand as long as the store does, outermost first.
    pub(crate) fn skeleton(&self) -> Vec<PathBuf> {
        let mut dirs = vec![self.uploads(), self.quarantine()];
        let mut dir = self.root.clone();
        for part in BLOBS.split('/') {
            dir.push(part);
            dirs.push(dir.clone());
        }
        dirs
    }

    pub(crate) fn upload(&self, key: &str) -> Result<PathBuf> {
        if !is_key(key) {
            return Err(Error::Invalid(key.to_owned(), "upload key"));
        }
        Ok(self.root.join("uploads").join(key))
    }

    pub(crate) fn algorithm(&self, algorithm: Algorithm) -> PathBuf {
        self.root.join(format!("{BLOBS}/{algorithm}"))
    }

    /// The directory of one digest, which holds its locations.
    pub(crate) fn dir(&self, digest: &Digest) -> PathBuf {
        let (algorithm, hex) = (digest.algorithm(), digest.hex());
        self.root
            .join(format!("{BLOBS}/{algorithm}/{}/{hex}", &hex[..2]))
    }

    pub(crate) fn blob(&self, digest: &Digest, location: &str) -> Result<PathBuf> {
        check_location(location)?;
        let mut path = self.dir(digest);
        path.push(location);
        Ok(path)
    }

    pub(crate) fn quarantined(&self, digest: &Digest, location: &str) -> PathBuf {
        let (algorithm, hex) = (digest.algorithm(), digest.hex());
        self.root
            .join(format!("quarantine/{algorithm}-{hex}-{location}"))
    }

    /// A path as a person finds it in a report: below the root.
    pub(crate) fn shown(&self, path: &Path) -> String {
        path.strip_prefix(&self.root)
            .unwrap_or(path)
            .display()
            .to_string()
    }
}
