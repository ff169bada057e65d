//! What a manifest is attached to: by its `subject`, or by the tag that cosign gives a signature.

use oci::{
    Digest, Manifest, Tag,
    media_type::{DOCKER_CONFIG, OCI_CONFIG},
};

const COSIGN_LAYER: &str = "application/vnd.dev.cosign.simplesigning.v1+json";
const COSIGN_SIGNATURE: &str = "application/vnd.dev.cosign.artifact.sig.v1+json";
const SIGSTORE_BUNDLE: &str = "application/vnd.dev.sigstore.bundle.v0.3+json";
const NOTATION_SIGNATURE: &str = "application/vnd.cncf.notary.signature";
const NYDUS_BOOTSTRAP: &str = "containerd.io/snapshot/nydus-bootstrap";

/// What an accessory is to its subject.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Accessory {
    CosignSignature,
    NotationSignature,
    Sbom,
    /// An image laid out anew by nydus, for quicker starts.
    Nydus,
    /// Any other that names a subject.
    Subject,
}

impl Accessory {
    pub const ALL: [Self; 5] = [
        Self::CosignSignature,
        Self::NotationSignature,
        Self::Sbom,
        Self::Nydus,
        Self::Subject,
    ];

    /// As Harbor's API and the database spell it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::CosignSignature => "signature.cosign",
            Self::NotationSignature => "signature.notation",
            Self::Sbom => "sbom.harbor",
            Self::Nydus => "accelerator.nydus",
            Self::Subject => "subject.accessory",
        }
    }

    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|known| known.as_str() == text)
    }
}

/// What the manifest is attached to, and as what. Its own word goes before what a tag says.
pub fn attached(manifest: &Manifest, tags: &[Tag]) -> Option<(Accessory, Digest)> {
    if let Some(subject) = &manifest.subject {
        return Some((of_subject(manifest), subject.digest));
    }
    let mut layers = manifest.layers.iter();
    if !layers.any(|layer| layer.media_type == COSIGN_LAYER) {
        return None;
    }
    let signed = tags.iter().find_map(|tag| signed_by_tag(tag.as_str()))?;
    Some((Accessory::CosignSignature, signed))
}

fn of_subject(manifest: &Manifest) -> Accessory {
    match manifest.artifact_type() {
        Some(COSIGN_SIGNATURE | SIGSTORE_BUNDLE) => Accessory::CosignSignature,
        Some(NOTATION_SIGNATURE) => Accessory::NotationSignature,
        Some(super::SBOM) => Accessory::Sbom,
        Some(OCI_CONFIG | DOCKER_CONFIG) if is_nydus(manifest) => Accessory::Nydus,
        _ => Accessory::Subject,
    }
}

fn is_nydus(manifest: &Manifest) -> bool {
    let last = manifest.layers.last();
    last.is_some_and(|layer| layer.annotations.contains_key(NYDUS_BOOTSTRAP))
}

/// The digest in `sha256-HEX.sig`.
fn signed_by_tag(tag: &str) -> Option<Digest> {
    let hex = tag.strip_prefix("sha256-")?.strip_suffix(".sig")?;
    Digest::parse(&format!("sha256:{hex}")).ok()
}
