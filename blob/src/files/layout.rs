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

use crate::files::{Error, Result};

const BLOBS: &str = "docker/registry/v2/blobs";
const MAX_KEY: usize = 64;

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

/// Keys are short and plain, so that a key is a file name on every file system.
pub(crate) fn is_key(key: &str) -> bool {
    (1..=MAX_KEY).contains(&key.len())
        && key
            .bytes()
            .all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-')
}

/// `data`, or `data.<n>` for bytes pushed while older ones of the same digest were going.
pub(crate) fn is_location(location: &str) -> bool {
    let Some(rest) = location.strip_prefix("data") else {
        return false;
    };
    rest.is_empty()
        || rest
            .strip_prefix('.')
            .is_some_and(|n| (1..=20).contains(&n.len()) && n.bytes().all(|b| b.is_ascii_digit()))
}

pub(crate) fn check_location(location: &str) -> Result<()> {
    if is_location(location) {
        return Ok(());
    }
    Err(Error::Invalid(location.to_owned(), "location"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_plain_names_become_file_names() {
        for (key, fine) in [
            ("a", true),
            ("0190-ab", true),
            ("", false),
            ("..", false),
            ("a/b", false),
            ("A", false),
            (&"a".repeat(65), false),
        ] {
            assert_eq!(is_key(key), fine, "{key}");
        }
        for (location, fine) in [
            ("data", true),
            ("data.1", true),
            ("data.120", true),
            ("data.", false),
            ("data.1.2", false),
            ("data1", false),
            ("../data", false),
            ("", false),
        ] {
            assert_eq!(is_location(location), fine, "{location}");
        }
    }
}
