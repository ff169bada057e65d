//! What an artifact is: its kind, what its config tells of it, its icon, and what it is attached to. Pure functions of the
//! manifest and the bytes of its config; a config that makes no sense is no error, it only tells nothing.

mod accessory;
mod image;
pub(crate) mod json;
mod read;

use std::borrow::Cow;

use db::described::Description;
use oci::{
    Descriptor, Digest, Manifest, Tag,
    manifest::Kind as Form,
    media_type::{DOCKER_CONFIG, OCI_CONFIG},
};
use serde_json::{Map, Value};

pub use accessory::Accessory;
pub(crate) use accessory::attached;
use json::Members;

/// A larger config is not looked into.
pub const MOST_CONFIG: u64 = 4 << 20;
/// Bytes of `extra_attrs` that are kept: a page of a list holds a hundred of them.
const MOST_ATTRS: usize = 64 << 10;
/// A larger layer is no icon.
pub const MOST_ICON: u64 = 1 << 20;
/// As long as a media type may be.
const LONGEST_NAME: usize = 255;

const CHART: &str = "application/vnd.cncf.helm.config.v1+json";
const CNAB: &str = "application/vnd.cnab.manifest.v1";
const WASM: &str = "application/vnd.wasm.config.v1+json";
pub(crate) const SBOM: &str = "application/vnd.goharbor.harbor.sbom.v1";
const CNAI: &str = "application/vnd.cncf.model.manifest.v1+json";

/// Where an index says what it is; older than its own `artifactType`.
const TYPE_OF_INDEX: &str = "org.opencontainers.artifactType";
/// What marks a CNAB's manifest that has its config.
const CNAB_PART: &str = "io.cnab.manifest.type";
/// Two ways to say that an image is a WASM module.
const WASM_MARKS: [(&str, &str); 2] = [
    ("module.wasm.image/variant", "compat"),
    ("run.oci.handler", "wasm"),
];
/// On the config: names of members, separated by commas, that are not shown.
const SKIP_LIST: &str = "io.goharbor.artifact.v1alpha1.skip-list";
/// On the layer that is the artifact's icon.
const ICON: &str = "io.goharbor.artifact.v1alpha1.icon";

/// What kind of artifact a manifest is, in Harbor's words.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Kind {
    Image,
    Chart,
    Cnab,
    Wasm,
    Sbom,
    /// A model as CNCF's model specification packs it.
    Cnai,
    /// By its config's type: `application/vnd.VENDOR.NAME.config.VERSION+json`.
    Named(String),
    Unknown,
}

/// What is known of an artifact beside its manifest.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Described {
    pub kind: Kind,
    /// A JSON object; none when there is nothing to tell.
    pub extra_attrs: Option<String>,
    /// The layer that claims to be its icon, of bearable size; whether it is an image is for who reads it to say.
    pub icon: Option<Digest>,
    pub accessory: Option<Accessory>,
    /// The manifest that it is an accessory of, which need not exist.
    pub accessory_of: Option<Digest>,
}

impl From<Described> for Description {
    fn from(described: Described) -> Self {
        let text = |digest: Digest| digest.to_string();
        Self {
            kind: described.kind.as_str().to_owned(),
            extra_attrs: described.extra_attrs,
            icon: described.icon.map(text),
            accessory: described.accessory.map(|one| one.as_str().to_owned()),
            accessory_of: described.accessory_of.map(text),
        }
    }
}

/// Where the config of an artifact is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ConfigSource {
    Own(Digest, u64),
    /// In this manifest of the index.
    Child(Digest),
    /// It has none, or none that says anything.
    Nowhere,
}

impl Kind {
    pub fn of(manifest: &Manifest) -> Self {
        match deciding_type(manifest) {
            OCI_CONFIG | DOCKER_CONFIG => Self::Image,
            CHART => Self::Chart,
            CNAB => Self::Cnab,
            WASM => Self::Wasm,
            SBOM => Self::Sbom,
            CNAI => Self::Cnai,
            plain if oci::media_type::is_index(plain) => Self::Image,
            _ => name_in(media_type(manifest)).map_or(Self::Unknown, Self::Named),
        }
    }

    pub fn as_str(&self) -> &str {
        match self {
            Self::Image => "IMAGE",
            Self::Chart => "CHART",
            Self::Cnab => "CNAB",
            Self::Wasm => "WASM",
            Self::Sbom => "SBOM",
            Self::Cnai => "CNAI",
            Self::Named(name) => name,
            Self::Unknown => "UNKNOWN",
        }
    }
}

impl ConfigSource {
    pub fn of(kind: &Kind, manifest: &Manifest) -> Self {
        match kind {
            Kind::Unknown => Self::Nowhere,
            Kind::Wasm if !is_marked_wasm(manifest) => Self::Nowhere,
            Kind::Cnab => manifest
                .children()
                .filter(|child| annotation(child, CNAB_PART) == Some("config"))
                .last()
                .map_or(Self::Nowhere, |child| Self::Child(child.digest)),
            _ => Self::own(manifest),
        }
    }

    /// The config that the manifest names.
    pub fn own(manifest: &Manifest) -> Self {
        match &manifest.config {
            Some(config) if (1..=MOST_CONFIG).contains(&config.size) => {
                Self::Own(config.digest, config.size)
            }
            _ => Self::Nowhere,
        }
    }
}

/// What a manifest with these tags is. `config` holds the bytes of its [`ConfigSource`], as far as they could be read.
pub fn describe(manifest: &Manifest, tags: &[Tag], config: Option<&[u8]>) -> Described {
    let kind = Kind::of(manifest);
    let attached = accessory::attached(manifest, tags);
    let is_custom = matches!(kind, Kind::Named(_) | Kind::Unknown);
    Described {
        extra_attrs: extra_attrs(&kind, manifest, config),
        icon: is_custom.then(|| icon_layer(manifest)).flatten(),
        accessory: attached.map(|(accessory, _)| accessory),
        accessory_of: attached.map(|(_, subject)| subject),
        kind,
    }
}

/// What Harbor's API calls the media type of an artifact: that of its config, of an index its own.
pub fn media_type(manifest: &Manifest) -> &str {
    if manifest.kind == Form::Index {
        return stated(manifest, TYPE_OF_INDEX).unwrap_or(manifest.media_type);
    }
    if is_marked_wasm(manifest) {
        return WASM;
    }
    let config = manifest.config.as_ref();
    config.map_or("", |config| &config.media_type)
}

/// The manifest's own `artifactType`, else its media type.
fn deciding_type(manifest: &Manifest) -> &str {
    match &manifest.artifact_type {
        Some(own) => own,
        None => media_type(manifest),
    }
}

fn is_marked_wasm(manifest: &Manifest) -> bool {
    let has = |(name, value): (&str, &str)| stated(manifest, name) == Some(value);
    manifest.kind == Form::Image && WASM_MARKS.into_iter().any(has)
}

fn stated<'m>(manifest: &'m Manifest, name: &str) -> Option<&'m str> {
    let value = manifest.annotations.get(name)?;
    (!value.is_empty()).then_some(value)
}

fn annotation<'d>(descriptor: &'d Descriptor, name: &str) -> Option<&'d str> {
    descriptor.annotations.get(name).map(String::as_str)
}

/// The name in `application/vnd.VENDOR.NAME.config.VERSION+json`, in capitals.
fn name_in(media_type: &str) -> Option<String> {
    let rest = media_type
        .strip_prefix("application/vnd.")?
        .strip_suffix("+json")?;
    let (_vendor, rest) = rest.split_once('.')?;
    let (rest, _version) = rest.rsplit_once('.')?;
    let name = rest.strip_suffix(".config")?;
    let is_sound = !name.is_empty() && !name.contains(char::is_control);
    let name = name.to_uppercase();
    (is_sound && name.len() <= LONGEST_NAME).then_some(name)
}

fn extra_attrs(kind: &Kind, manifest: &Manifest, config: Option<&[u8]>) -> Option<String> {
    let text = config.and_then(|bytes| std::str::from_utf8(bytes).ok());
    let members = text.and_then(Members::read);
    let mut attrs = match kind {
        Kind::Image => image::attrs(&members?),
        Kind::Wasm if is_marked_wasm(manifest) => {
            let mut attrs = image::attrs(&members?);
            attrs.insert(
                "manifest.config.mediaType".to_owned(),
                manifest.config.as_ref()?.media_type.clone().into(),
            );
            attrs
        }
        Kind::Wasm => module_attrs(manifest),
        Kind::Chart | Kind::Cnab | Kind::Sbom | Kind::Cnai => members?.all(MOST_ATTRS),
        Kind::Named(_) => members?.without(&skipped(manifest)).all(MOST_ATTRS),
        Kind::Unknown => return None,
    };
    json::fit(&mut attrs, MOST_ATTRS);
    (!attrs.is_empty()).then(|| Value::Object(attrs).to_string())
}

/// A WASM module that was pushed as such has nothing in its config.
fn module_attrs(manifest: &Manifest) -> Map<String, Value> {
    let mut attrs = Map::new();
    attrs.insert("manifest.config.mediaType".to_owned(), WASM.into());
    if let Some(layer) = manifest.layers.first() {
        let title = annotation(layer, "org.opencontainers.image.title").unwrap_or_default();
        attrs.insert(
            "manifest.layers.mediaType".to_owned(),
            layer.media_type.clone().into(),
        );
        attrs.insert("org.opencontainers.image.title".to_owned(), title.into());
    }
    attrs
}

fn skipped(manifest: &Manifest) -> Vec<Cow<'_, str>> {
    let config = manifest.config.as_ref();
    let list = config.and_then(|config| annotation(config, SKIP_LIST));
    let names = list.into_iter().flat_map(|list| list.split(','));
    names.map(Cow::Borrowed).collect()
}

/// The first layer that says so; a larger one is none, and no other takes its place.
fn icon_layer(manifest: &Manifest) -> Option<Digest> {
    let mut layers = manifest.layers.iter();
    let icon = layers.find(|layer| annotation(layer, ICON).is_some())?;
    (icon.size <= MOST_ICON).then_some(icon.digest)
}

#[cfg(test)]
mod push_tests;
#[cfg(test)]
mod tests;
