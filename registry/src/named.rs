//! What a manifest names, as far as its repository has it.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};

use db::{
    Tx,
    artifacts::{self, Child, NewArtifact},
    blobs::Blob,
    links,
};
use model::{
    Result,
    id::{ArtifactId, BlobId, RepositoryId},
};
use oci::{Descriptor, digest::Digest, manifest::Manifest};
use serde_json::{Map, Value, json};

use crate::describe::json::fit;

/// Bytes that are kept for lists of what a manifest says of itself, and of what an index says of its parts.
const MOST_SHOWN: usize = 64 << 10;

/// Contents and manifests that a manifest names and that its repository holds.
pub(crate) struct Named {
    contents: Vec<Blob>,
    children: Vec<(ArtifactId, Digest, u64)>,
}

impl Named {
    /// Hold the contents first.
    pub(crate) async fn find(
        tx: &mut Tx,
        repository: RepositoryId,
        manifest: &Manifest,
    ) -> Result<Self> {
        let contents: BTreeSet<Digest> = manifest.blobs().map(|named| named.digest).collect();
        let children: BTreeSet<Digest> = manifest.children().map(|child| child.digest).collect();
        Ok(Self {
            contents: match as_list(&contents) {
                None => Vec::new(),
                Some(wanted) => links::held(tx, repository, &wanted).await?,
            },
            children: match as_list(&children) {
                None => Vec::new(),
                Some(wanted) => artifacts::hold(tx, repository, &wanted).await?,
            },
        })
    }

    /// The first of what the manifest names that the repository must have and has not.
    pub(crate) fn missing(&self, manifest: &Manifest) -> Option<Digest> {
        self.all_missing(manifest).next()
    }

    /// How many of them there are.
    pub(crate) fn count_missing(&self, manifest: &Manifest) -> usize {
        self.all_missing(manifest).collect::<HashSet<_>>().len()
    }

    fn all_missing<'m>(&self, manifest: &'m Manifest) -> impl Iterator<Item = Digest> + 'm {
        let readable = self.contents.iter().filter(|blob| blob.state.is_readable());
        let contents: HashSet<Digest> = readable.map(|blob| blob.digest).collect();
        let children: HashSet<Digest> = self.children.iter().map(|child| child.1).collect();
        let layers = manifest
            .blobs()
            .filter(move |named| !named.may_be_missing() && !contents.contains(&named.digest));
        let manifests = manifest
            .children()
            .filter(move |child| !children.contains(&child.digest));
        layers.chain(manifests).map(|missing| missing.digest)
    }

    /// The manifests that an index names, each once: as it is told first.
    fn children(&self, manifest: &Manifest) -> Vec<Child> {
        let mut told: HashMap<Digest, &Descriptor> = HashMap::new();
        for child in manifest.children() {
            told.entry(child.digest).or_insert(child);
        }
        let (known, mut left) = (self.children.iter(), MOST_SHOWN);
        let shown = known.map(|(id, digest, _)| {
            let descriptor = told.get(digest).copied().and_then(descriptor);
            let descriptor = descriptor.filter(|text| text.len() <= left);
            left -= descriptor.as_ref().map_or(0, String::len);
            Child {
                id: *id,
                descriptor,
            }
        });
        shown.collect()
    }

    /// The row of the manifest, of which `own` is its bytes' row and length.
    pub(crate) fn artifact(
        &self,
        manifest: &Manifest,
        digest: &Digest,
        own: (BlobId, u64),
    ) -> NewArtifact {
        let annotations = annotations(manifest);
        let contents = self.contents.iter().map(|blob| blob.size);
        let sizes = contents.chain(self.children.iter().map(|child| child.2));
        NewArtifact {
            digest: *digest,
            blob: own.0,
            media_type: manifest.media_type.to_owned(),
            artifact_type: manifest.artifact_type().map(str::to_owned),
            config_media_type: manifest
                .config
                .as_ref()
                .map(|config| config.media_type.clone()),
            // An index of indexes of indexes can claim any sum.
            size: sizes.fold(own.1, u64::saturating_add).min(i64::MAX as u64),
            subject: manifest.subject.as_ref().map(|subject| subject.digest),
            annotations,
            blobs: self
                .contents
                .iter()
                .map(|blob| blob.id)
                .chain([own.0])
                .collect(),
            children: self.children(manifest),
            by_tag: false,
            attached: None,
            description: None,
        }
    }
}

/// As far as lists show them: the manifest has them all. Whoever asks for referrers gets all of theirs, which have a bound.
fn annotations(manifest: &Manifest) -> Option<String> {
    let told: &BTreeMap<String, String> = &manifest.annotations;
    let told = told
        .iter()
        .map(|(name, value)| (name.clone(), Value::from(value.as_str())));
    let mut shown: Map<String, Value> = told.collect();
    if manifest.subject.is_none() {
        fit(&mut shown, MOST_SHOWN);
    }
    (!shown.is_empty()).then(|| Value::from(shown).to_string())
}

/// What an index says of a child beside what the child says itself.
fn descriptor(child: &Descriptor) -> Option<String> {
    let mut told = Map::new();
    if let Some(platform) = &child.platform {
        told.insert("platform".to_owned(), platform.clone());
    }
    if !child.annotations.is_empty() {
        told.insert("annotations".to_owned(), json!(child.annotations));
    }
    if !child.urls.is_empty() {
        told.insert("urls".to_owned(), json!(child.urls));
    }
    (!told.is_empty()).then(|| Value::from(told).to_string())
}

fn as_list(wanted: &BTreeSet<Digest>) -> Option<Vec<Digest>> {
    (!wanted.is_empty()).then(|| wanted.iter().copied().collect())
}
