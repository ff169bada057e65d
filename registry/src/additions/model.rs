//! The files of a model as CNCF's model specification packs them: a layer each, named by an annotation.

use std::collections::BTreeMap;

use bytes::Bytes;
use model::{Error, Result, What};
use oci::{Descriptor, Manifest};
use serde::Serialize;

use super::archive;

/// A longer text is not shown; Harbor's bound.
pub(super) const MOST_TEXT: u64 = 4 << 20;
const MOST_FILES: usize = 10_000;
const DEEPEST: usize = 64;

const DOC_PACKED: &str = "application/vnd.cncf.model.doc.v1.tar";
const DOC: &str = "application/vnd.cncf.model.doc.v1.raw";
const PATH: &str = "org.cncf.model.filepath";

pub(super) fn readme(manifest: &Manifest) -> Option<&Descriptor> {
    doc(manifest, &["README.md", "README"])
}

pub(super) fn license(manifest: &Manifest) -> Option<&Descriptor> {
    doc(manifest, &["LICENSE", "LICENSE.txt"])
}

fn doc<'m>(manifest: &'m Manifest, paths: &[&str]) -> Option<&'m Descriptor> {
    let mut layers = manifest.layers.iter();
    layers.find(|layer| {
        let path = layer.annotations.get(PATH).map(String::as_str);
        [DOC, DOC_PACKED].contains(&layer.media_type.as_str())
            && path.is_some_and(|path| paths.contains(&path))
    })
}

/// The text in a layer's bytes.
pub(super) fn text(layer: &Descriptor, bytes: Bytes) -> Result<Bytes> {
    if layer.media_type == DOC {
        return Ok(bytes);
    }
    let mut text = None;
    archive::walk(&*bytes, MOST_TEXT + archive::HEADERS, |_, file| {
        text = Some(file.read(MOST_TEXT)?);
        Ok(archive::Next::Enough)
    })?;
    text.map(Bytes::from)
        .ok_or_else(|| Error::invalid(What::Manifest, "the layer is an archive without a file"))
}

enum Node {
    File(u64),
    Folder(BTreeMap<String, Node>),
}

/// As Harbor answers it: folders first.
#[derive(Serialize)]
struct Listed<'n> {
    name: &'n str,
    #[serde(rename = "type")]
    kind: &'static str,
    #[serde(skip_serializing_if = "is_zero")]
    size: u64,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    children: Vec<Listed<'n>>,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde asks for it")]
fn is_zero(size: &u64) -> bool {
    *size == 0
}

/// A JSON list of all files.
pub(super) fn files(manifest: &Manifest) -> Result<Vec<u8>> {
    let (mut root, mut nodes) = (BTreeMap::new(), 0);
    for layer in &manifest.layers {
        if let Some(path) = layer.annotations.get(PATH) {
            nodes += add(&mut root, path, layer.size);
        }
        if nodes > MOST_FILES {
            return Err(Error::TooLarge(format!(
                "the model has more than {MOST_FILES} files"
            )));
        }
    }
    Ok(serde_json::to_vec(&list(&root)).expect("names and numbers serialise"))
}

/// Answers how many nodes it took. A path that is too deep, or whose place is taken by something else, is passed over.
fn add(root: &mut BTreeMap<String, Node>, path: &str, size: u64) -> usize {
    let Some(names) = names(path).filter(|names| names.len() <= DEEPEST) else {
        return 0;
    };
    let (mut folder, mut made) = (root, 0);
    for (at, name) in names.iter().enumerate() {
        let is_file = at + 1 == names.len() && !path.ends_with('/');
        let node = folder.entry((*name).to_owned()).or_insert_with(|| {
            made += 1;
            if is_file {
                Node::File(size)
            } else {
                Node::Folder(BTreeMap::new())
            }
        });
        match node {
            Node::Folder(inner) => folder = inner,
            Node::File(_) => return made,
        }
    }
    made
}

/// The parts of a path that stays below its root.
fn names(path: &str) -> Option<Vec<&str>> {
    let mut names = Vec::new();
    for name in path.split('/') {
        match name {
            "" | "." => {}
            ".." => {
                names.pop()?;
            }
            name => names.push(name),
        }
    }
    Some(names)
}

fn list(folder: &BTreeMap<String, Node>) -> Vec<Listed<'_>> {
    let mut listed: Vec<_> = folder
        .iter()
        .map(|(name, node)| match node {
            Node::File(size) => Listed {
                name,
                kind: "file",
                size: *size,
                children: Vec::new(),
            },
            Node::Folder(inner) => Listed {
                name,
                kind: "directory",
                size: 0,
                children: list(inner),
            },
        })
        .collect();
    // Stable, so that each half stays in the order of names.
    listed.sort_by_key(|node| node.kind == "file");
    listed
}
