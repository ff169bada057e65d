//! Manifests: read once when they are pushed, for what they refer to. The bytes are stored as they came.
//!
//! A manifest must mean one thing to everybody: its type is agreed between header and body, a field given twice is
//! refused, and so is one that could be read as an image and as an index (CVE-2021-41190).

use std::collections::BTreeMap;

use serde::Deserialize;
use serde_json::value::RawValue;
use thiserror::Error;

use crate::descriptor::{self, Descriptor};
use crate::digest::Digest;
use crate::error::{ErrorCode, excerpt};
use crate::media_type::{self, OCI_INDEX, OCI_MANIFEST};

/// The largest manifest that is accepted. The spec asks for at least 4 megabytes.
pub const MAX_MANIFEST_BYTES: usize = 4 * 1024 * 1024;

/// The longest type of an artifact: by RFC 6838 a media type's two names have at most 127 characters each.
const MAX_TYPE: usize = 255;

/// How deep a manifest may nest: no reader of ours or of a client should need its stack for it.
const MAX_DEPTH: usize = 128;

/// What a manifest says, as far as a registry must know.
#[derive(Debug, Clone, PartialEq)]
pub struct Manifest {
    /// One of [`media_type::ACCEPTED`].
    pub media_type: &'static str,
    pub kind: Kind,
    pub artifact_type: Option<String>,
    /// Of an image; absent in some artifacts.
    pub config: Option<Descriptor>,
    /// Of an image.
    pub layers: Vec<Descriptor>,
    /// Of an index: all that it lists, see `children` and `blobs`.
    pub manifests: Vec<Descriptor>,
    /// The manifest that this one is attached to. It need not exist.
    pub subject: Option<Descriptor>,
    pub annotations: BTreeMap<String, String>,
}

/// What a manifest lists.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// A config and layers.
    Image,
    /// Other manifests.
    Index,
}

/// Why a manifest is refused.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum ManifestError {
    #[error("the manifest has {0} bytes: at most {MAX_MANIFEST_BYTES} are allowed")]
    TooLarge(usize),
    #[error(
        "Docker image manifest version 2, schema 1 is not supported: \
         push the image with a current client, which writes schema 2 or OCI manifests"
    )]
    Schema1,
    #[error("the manifest is not a sound JSON object: {0}")]
    Malformed(String),
    #[error("the manifest nests deeper than {MAX_DEPTH} levels")]
    TooDeep,
    #[error("`{field}` of the manifest {problem}")]
    Field { field: String, problem: String },
    #[error(
        "Content-Type `{content_type}` differs from the manifest's own `mediaType` `{media_type}`"
    )]
    Mismatch {
        content_type: String,
        media_type: String,
    },
    #[error(
        "`{0}` is not a manifest's media type: push an OCI image manifest or index, or Docker's schema 2"
    )]
    MediaType(String),
    #[error(
        "cannot tell what the manifest is: it has no `mediaType`, and neither `config`, `layers` nor `manifests`"
    )]
    Unknown,
    #[error("the manifest is ambiguous: `{0}` and `{1}` do not belong together")]
    Ambiguous(&'static str, &'static str),
    #[error("`{0}` does not belong into {1}")]
    Misplaced(&'static str, &'static str),
}

impl ManifestError {
    /// The spec's code for it.
    pub const fn code(&self) -> ErrorCode {
        match self {
            Self::TooLarge(_) => ErrorCode::SizeInvalid,
            Self::Schema1
            | Self::Malformed(_)
            | Self::TooDeep
            | Self::Field { .. }
            | Self::Mismatch { .. }
            | Self::MediaType(_)
            | Self::Unknown
            | Self::Ambiguous(..)
            | Self::Misplaced(..) => ErrorCode::ManifestInvalid,
        }
    }

    pub(crate) fn field(field: &str, problem: impl Into<String>) -> Self {
        Self::Field {
            field: field.to_owned(),
            problem: problem.into(),
        }
    }

    /// Says in which part of the manifest it happened.
    pub(crate) fn within(self, part: &str) -> Self {
        match self {
            Self::Field { field, problem } => Self::Field {
                field: format!("{part}.{field}"),
                problem,
            },
            Self::Malformed(problem) => Self::field(part, format!("is not valid: {problem}")),
            other => other,
        }
    }
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Body<'a> {
    #[serde(borrow, default, deserialize_with = "descriptor::present")]
    schema_version: Option<&'a RawValue>,
    #[serde(borrow, default, deserialize_with = "descriptor::present")]
    media_type: Option<&'a RawValue>,
    #[serde(borrow, default, deserialize_with = "descriptor::present")]
    artifact_type: Option<&'a RawValue>,
    #[serde(borrow, default, deserialize_with = "descriptor::present")]
    config: Option<&'a RawValue>,
    #[serde(borrow, default, deserialize_with = "descriptor::present")]
    layers: Option<&'a RawValue>,
    #[serde(borrow, default, deserialize_with = "descriptor::present")]
    manifests: Option<&'a RawValue>,
    #[serde(borrow, default, deserialize_with = "descriptor::present")]
    subject: Option<&'a RawValue>,
    #[serde(borrow, default, deserialize_with = "descriptor::present")]
    annotations: Option<&'a RawValue>,
}

impl Manifest {
    /// Reads a manifest that came with this `Content-Type`, if any.
    pub fn parse(bytes: &[u8], content_type: Option<&str>) -> Result<Self, ManifestError> {
        if bytes.len() > MAX_MANIFEST_BYTES {
            return Err(ManifestError::TooLarge(bytes.len()));
        }
        let declared = content_type.and_then(media_type::essence);
        if declared.is_some_and(media_type::is_schema1) {
            return Err(ManifestError::Schema1);
        }
        let malformed = |error: &dyn std::error::Error| ManifestError::Malformed(error.to_string());
        let text = std::str::from_utf8(bytes).map_err(|error| malformed(&error))?;
        if nests_deeper_than(MAX_DEPTH, text) {
            return Err(ManifestError::TooDeep);
        }
        let raw: &RawValue = serde_json::from_str(text).map_err(|error| malformed(&error))?;
        let body: Body<'_> = descriptor::object(raw)?;
        let media_type = body.media_type(declared)?;
        body.into_manifest(media_type)
    }

    /// All blobs that it names: config and layers, also those that [may be missing](Descriptor::may_be_missing). An index
    /// may list blobs too, as BuildKit's build cache does.
    pub fn blobs(&self) -> impl Iterator<Item = &Descriptor> {
        let listed = self.manifests.iter().filter(|entry| !is_child(entry));
        self.config.iter().chain(&self.layers).chain(listed)
    }

    /// The manifests that an index lists, which must be in the repository.
    pub fn children(&self) -> impl Iterator<Item = &Descriptor> {
        self.manifests.iter().filter(|entry| is_child(entry))
    }

    /// What it is, by the rule of the referrers API: its own `artifactType`, else an image's config type.
    pub fn artifact_type(&self) -> Option<&str> {
        let config = self
            .config
            .as_ref()
            .map(|config| config.media_type.as_str());
        self.artifact_type.as_deref().or(config)
    }

    /// How a list of referrers names this manifest.
    pub fn referrer_descriptor(&self, digest: Digest, size: u64) -> Descriptor {
        Descriptor {
            media_type: self.media_type.to_owned(),
            digest,
            size,
            artifact_type: self.artifact_type().map(str::to_owned),
            annotations: self.annotations.clone(),
            platform: None,
            urls: Vec::new(),
            data: None,
        }
    }
}

/// Whether this entry of an index is a manifest, by its type.
fn is_child(entry: &Descriptor) -> bool {
    media_type::accepted(&entry.media_type).is_some() || media_type::is_schema1(&entry.media_type)
}

impl Body<'_> {
    /// The manifest's type: what header and body agree on, else what its fields show.
    fn media_type(&self, declared: Option<&str>) -> Result<&'static str, ManifestError> {
        let stated = descriptor::text("mediaType", self.media_type)?;
        self.check_version(stated.as_deref())?;
        if let (Some(declared), Some(stated)) = (declared, &stated)
            && !declared.eq_ignore_ascii_case(stated)
        {
            return Err(ManifestError::Mismatch {
                content_type: excerpt(declared),
                media_type: excerpt(stated),
            });
        }
        match declared.or(stated.as_deref()) {
            Some(named) => {
                media_type::accepted(named).ok_or_else(|| ManifestError::MediaType(excerpt(named)))
            }
            None if given(self.manifests) => Ok(OCI_INDEX),
            None if given(self.config) || given(self.layers) => Ok(OCI_MANIFEST),
            None => Err(ManifestError::Unknown),
        }
    }

    fn check_version(&self, stated: Option<&str>) -> Result<(), ManifestError> {
        let version = descriptor::read("schemaVersion", "must be 2", self.schema_version)?;
        match version {
            Some(1_u64) => Err(ManifestError::Schema1),
            _ if stated.is_some_and(media_type::is_schema1) => Err(ManifestError::Schema1),
            Some(2) => Ok(()),
            Some(_) => Err(ManifestError::field("schemaVersion", "must be 2")),
            None => Err(descriptor::missing("schemaVersion")),
        }
    }

    fn into_manifest(self, media_type: &'static str) -> Result<Manifest, ManifestError> {
        let kind = if media_type::is_index(media_type) {
            Kind::Index
        } else {
            Kind::Image
        };
        let (has_config, has_layers) = (given(self.config), given(self.layers));
        match kind {
            _ if has_layers && given(self.manifests) => {
                return Err(ManifestError::Ambiguous("layers", "manifests"));
            }
            _ if has_config && given(self.manifests) => {
                return Err(ManifestError::Ambiguous("config", "manifests"));
            }
            Kind::Image if given(self.manifests) => {
                return Err(ManifestError::Misplaced("manifests", "an image manifest"));
            }
            Kind::Index if has_layers => {
                return Err(ManifestError::Misplaced("layers", "an index"));
            }
            Kind::Index if has_config => {
                return Err(ManifestError::Misplaced("config", "an index"));
            }
            Kind::Index if self.manifests.is_none() => {
                return Err(descriptor::missing("manifests"));
            }
            Kind::Index | Kind::Image => {}
        }
        let manifest = Manifest {
            media_type,
            kind,
            artifact_type: descriptor::text("artifactType", self.artifact_type)?,
            config: descriptor::one("config", self.config)?,
            layers: descriptor::list("layers", self.layers)?,
            manifests: descriptor::list("manifests", self.manifests)?,
            subject: descriptor::one("subject", self.subject)?,
            annotations: descriptor::annotations(self.annotations)?,
        };
        // An artifact says by its own type what it is; of everything else the config does.
        match manifest.artifact_type() {
            None if kind == Kind::Image => return Err(descriptor::missing("config")),
            Some(long) if long.len() > MAX_TYPE => {
                return Err(ManifestError::field(
                    "artifactType",
                    format!("is longer than the {MAX_TYPE} characters that a media type may have"),
                ));
            }
            _ => {}
        }
        Ok(manifest)
    }
}

/// Present and not null.
fn given(raw: Option<&RawValue>) -> bool {
    raw.is_some_and(|raw| raw.get() != "null")
}

/// Counts brackets outside strings. The JSON parser's own limit does not see what it skips.
fn nests_deeper_than(limit: usize, text: &str) -> bool {
    let (mut depth, mut in_string, mut escaped) = (0_usize, false, false);
    for byte in text.bytes() {
        match byte {
            _ if escaped => escaped = false,
            b'\\' if in_string => escaped = true,
            b'"' => in_string = !in_string,
            _ if in_string => {}
            b'[' | b'{' => depth += 1,
            b']' | b'}' => depth = depth.saturating_sub(1),
            _ => {}
        }
        if depth > limit {
            return true;
        }
    }
    false
}

#[cfg(test)]
mod tests;
