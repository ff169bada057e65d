//! What a Docker registry writes beside its bytes: which repository holds which layer and manifest, and what its tags stand
//! for. Read only, and only when its tree is taken over; nothing here is ever written or believed afterwards.
//!
//! ```text
//! docker/registry/v2/repositories/<name>/_layers/<alg>/<hex>/link
//! docker/registry/v2/repositories/<name>/_manifests/revisions/<alg>/<hex>/link
//! docker/registry/v2/repositories/<name>/_manifests/tags/<tag>/current/link     its text is the manifest's digest
//! docker/registry/v2/repositories/<name>/_manifests/tags/<tag>/index/…          what the tag stood for before
//! docker/registry/v2/repositories/<name>/_uploads/<id>/data
//! ```

use std::time::SystemTime;

use oci::digest::Digest;

pub(crate) const REPOSITORIES: &str = "docker/registry/v2/repositories/";
/// The text of a link is a digest.
pub(crate) const LONGEST_LINK: u64 = 256;

/// Something that a repository of the tree holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Held {
    /// As it was named there.
    pub repository: String,
    pub what: What,
    pub modified: SystemTime,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum What {
    Layer(Digest),
    Manifest(Digest),
    /// What it stands for, [`crate::Store::tag_in_tree`] reads.
    Tag(String),
    /// An upload that did not end, with its bytes so far.
    Upload {
        bytes: u64,
    },
}

/// Some of it. What one repository holds comes in a row: layers, then manifests, then tags, then uploads.
#[derive(Clone, Debug, Default)]
pub struct HeldBatch {
    pub held: Vec<Held>,
    /// Names that do not belong there, as paths below the store's root.
    pub strange: Vec<String>,
    /// What the disk does not show, with its words.
    pub unreadable: Vec<String>,
}

impl HeldBatch {
    pub(crate) fn len(&self) -> usize {
        self.held.len() + self.strange.len() + self.unreadable.len()
    }
}

/// What a path below [`REPOSITORIES`] speaks of.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Told<'a> {
    Held(&'a str, What),
    /// Part of the layout, and nothing to tell.
    Nothing,
    Strange,
}

/// Reads the path of a file. `size` is that of the file.
pub(crate) fn read(path: &str, size: u64) -> Told<'_> {
    // No part of a repository's name begins with an underscore.
    let Some((name, own)) = path.split_once("/_") else {
        return Told::Strange;
    };
    let parts: Vec<&str> = own.split('/').collect();
    let what = match parts.as_slice() {
        ["layers", algorithm, hex, "link"] => digest(algorithm, hex).map(What::Layer),
        ["manifests", "revisions", algorithm, hex, "link"] => {
            digest(algorithm, hex).map(What::Manifest)
        }
        ["manifests", "tags", tag, "current", "link"] => Some(What::Tag((*tag).to_owned())),
        ["uploads", _, "data"] => Some(What::Upload { bytes: size }),
        ["manifests", "revisions", _, _, "signatures", ..]
        | ["manifests", "tags", _, "index", ..]
        | ["uploads", ..] => return Told::Nothing,
        _ => None,
    };
    what.map_or(Told::Strange, |what| Told::Held(name, what))
}

pub(crate) fn digest(algorithm: &str, hex: &str) -> Option<Digest> {
    Digest::from_hex(algorithm.parse().ok()?, hex).ok()
}

/// Where the text of a tag lies, below the root. None for a name that no registry gave.
pub(crate) fn tag_link(repository: &str, tag: &str) -> Option<String> {
    let is_plain = |text: &str| {
        let mut parts = text.split('/');
        parts.all(|part| !part.is_empty() && !part.starts_with('.') && !part.contains('\0'))
    };
    if !is_plain(repository) || !is_plain(tag) || tag.contains('/') {
        return None;
    }
    Some(format!(
        "{REPOSITORIES}{repository}/_manifests/tags/{tag}/current/link"
    ))
}

/// The digest that a link's text says.
pub(crate) fn link_text(text: &[u8]) -> Option<Digest> {
    std::str::from_utf8(text).ok()?.trim().parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_says_what_a_repository_holds() {
        let hex = "ab".repeat(32);
        let digest = digest("sha256", &hex).unwrap();
        let held = |what| Told::Held("team/app", what);
        for (path, told) in [
            (
                format!("team/app/_layers/sha256/{hex}/link"),
                held(What::Layer(digest)),
            ),
            (
                format!("team/app/_manifests/revisions/sha256/{hex}/link"),
                held(What::Manifest(digest)),
            ),
            (
                "team/app/_manifests/tags/v1.0/current/link".to_owned(),
                held(What::Tag("v1.0".to_owned())),
            ),
            (
                "team/app/_uploads/1-2/data".to_owned(),
                held(What::Upload { bytes: 7 }),
            ),
            (
                "team/app/_uploads/1-2/hashstates/sha256/0".to_owned(),
                Told::Nothing,
            ),
            (
                format!("team/app/_manifests/tags/v1/index/sha256/{hex}/link"),
                Told::Nothing,
            ),
            (
                format!("team/app/_manifests/revisions/sha256/{hex}/signatures/sha256/{hex}/link"),
                Told::Nothing,
            ),
            (
                format!("team/app/_layers/sha256/{}/link", &hex[2..]),
                Told::Strange,
            ),
            ("team/app/readme".to_owned(), Told::Strange),
            ("team/app/_other/x".to_owned(), Told::Strange),
        ] {
            assert_eq!(read(&path, 7), told, "{path}");
        }
    }

    #[test]
    fn only_names_that_a_registry_gives_become_paths() {
        assert!(tag_link("a/b", "v1").is_some());
        for (repository, tag) in [
            ("../x", "v1"),
            ("a", ".."),
            ("a", "b/c"),
            ("", "v1"),
            ("a//b", "v"),
        ] {
            assert_eq!(tag_link(repository, tag), None, "{repository} {tag}");
        }
        assert!(link_text(format!("sha256:{}\n", "ab".repeat(32)).as_bytes()).is_some());
        assert_eq!(link_text(b"sha256:x"), None);
    }
}
