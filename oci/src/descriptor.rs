//! Descriptors (image spec, descriptor.md), and how fields of a manifest are read so that an error names the field.
//!
//! Fields are taken as raw JSON first and then one by one: serde alone would say "invalid type at column 2041" to
//! somebody who has 40 layers.

use std::collections::BTreeMap;

use serde::{Deserialize, Deserializer, Serialize};
use serde_json::Value;
use serde_json::value::RawValue;

use crate::digest::Digest;
use crate::manifest::ManifestError;
use crate::media_type;

/// Names content: what it is, its digest and its size.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Descriptor {
    pub media_type: String,
    pub digest: Digest,
    /// In bytes; fits into an `i64`.
    pub size: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub artifact_type: Option<String>,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub annotations: BTreeMap<String, String>,
    /// An object, otherwise as it came: nothing here decides by it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub platform: Option<Value>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub urls: Vec<String>,
    /// The content itself in base64, unchecked: clients verify it against the digest.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub data: Option<String>,
}

impl Descriptor {
    /// Whether a repository may lack it: layers of non-distributable type need not be pushed.
    pub fn may_be_missing(&self) -> bool {
        media_type::is_non_distributable(&self.media_type)
    }

    pub(crate) fn read(raw: &RawValue) -> Result<Self, ManifestError> {
        let fields: Fields<'_> = object(raw)?;
        let media_type =
            text("mediaType", fields.media_type)?.ok_or_else(|| missing("mediaType"))?;
        let digest = text("digest", fields.digest)?.ok_or_else(|| missing("digest"))?;
        Ok(Self {
            media_type,
            digest: Digest::parse(&digest).map_err(|error| {
                ManifestError::field("digest", format!("is not valid: {error}"))
            })?,
            size: size(fields.size)?,
            artifact_type: text("artifactType", fields.artifact_type)?,
            annotations: annotations(fields.annotations)?,
            platform: platform(fields.platform)?,
            urls: read("urls", "must be a list of strings", fields.urls)?.unwrap_or_default(),
            data: text("data", fields.data)?,
        })
    }
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Fields<'a> {
    #[serde(borrow, default, deserialize_with = "present")]
    media_type: Option<&'a RawValue>,
    #[serde(borrow, default, deserialize_with = "present")]
    digest: Option<&'a RawValue>,
    #[serde(borrow, default, deserialize_with = "present")]
    size: Option<&'a RawValue>,
    #[serde(borrow, default, deserialize_with = "present")]
    artifact_type: Option<&'a RawValue>,
    #[serde(borrow, default, deserialize_with = "present")]
    annotations: Option<&'a RawValue>,
    #[serde(borrow, default, deserialize_with = "present")]
    platform: Option<&'a RawValue>,
    #[serde(borrow, default, deserialize_with = "present")]
    urls: Option<&'a RawValue>,
    #[serde(borrow, default, deserialize_with = "present")]
    data: Option<&'a RawValue>,
}

/// Keeps a `null`, which serde would turn into an absent field: Go writes an empty list so.
pub(crate) fn present<'de, D: Deserializer<'de>>(
    deserializer: D,
) -> Result<Option<&'de RawValue>, D::Error> {
    <&RawValue>::deserialize(deserializer).map(Some)
}

/// An object's fields. Its kind is looked at first, since serde reads a struct from a list too.
pub(crate) fn object<'a, T: Deserialize<'a>>(raw: &'a RawValue) -> Result<T, ManifestError> {
    if !raw.get().starts_with('{') {
        return Err(ManifestError::Malformed("it must be an object".to_owned()));
    }
    // Its syntax is known to be sound, so what is left to go wrong is a field given twice.
    serde_json::from_str(raw.get()).map_err(|error| ManifestError::Malformed(error.to_string()))
}

/// A field of a type; `None` when it is absent or null.
pub(crate) fn read<'a, T: Deserialize<'a>>(
    field: &str,
    expected: &str,
    raw: Option<&'a RawValue>,
) -> Result<Option<T>, ManifestError> {
    match raw {
        Some(raw) if raw.get() != "null" => serde_json::from_str(raw.get())
            .map(Some)
            .map_err(|_| ManifestError::field(field, expected)),
        _ => Ok(None),
    }
}

/// A text; `None` when it is absent, null or empty.
pub(crate) fn text(field: &str, raw: Option<&RawValue>) -> Result<Option<String>, ManifestError> {
    let text: Option<String> = read(field, "must be a string", raw)?;
    Ok(text.filter(|text| !text.is_empty()))
}

pub(crate) fn annotations(
    raw: Option<&RawValue>,
) -> Result<BTreeMap<String, String>, ManifestError> {
    Ok(read(
        "annotations",
        "must be an object whose values are strings",
        raw,
    )?
    .unwrap_or_default())
}

/// A list of descriptors; empty when it is null.
pub(crate) fn list(field: &str, raw: Option<&RawValue>) -> Result<Vec<Descriptor>, ManifestError> {
    let entries: Vec<&RawValue> =
        read(field, "must be a list of descriptors", raw)?.unwrap_or_default();
    let descriptor = |(index, entry)| {
        Descriptor::read(entry).map_err(|error| error.within(&format!("{field}[{index}]")))
    };
    entries.into_iter().enumerate().map(descriptor).collect()
}

/// One descriptor; `None` when it is absent or null.
pub(crate) fn one(
    field: &str,
    raw: Option<&RawValue>,
) -> Result<Option<Descriptor>, ManifestError> {
    match raw {
        Some(raw) if raw.get() != "null" => Descriptor::read(raw)
            .map(Some)
            .map_err(|error| error.within(field)),
        _ => Ok(None),
    }
}

pub(crate) fn missing(field: &str) -> ManifestError {
    ManifestError::field(field, "is missing")
}

fn size(raw: Option<&RawValue>) -> Result<u64, ManifestError> {
    let size: Option<i64> = read("size", "must be a whole number of bytes below 2^63", raw)?;
    let size = size.ok_or_else(|| missing("size"))?;
    u64::try_from(size).map_err(|_| ManifestError::field("size", "must not be negative"))
}

fn platform(raw: Option<&RawValue>) -> Result<Option<Value>, ManifestError> {
    let platform: Option<Value> = read("platform", "must be an object", raw)?;
    match platform {
        Some(other) if !other.is_object() => {
            Err(ManifestError::field("platform", "must be an object"))
        }
        platform => Ok(platform),
    }
}
