//! The files of a Helm chart that people read before they install it.

use std::io::Read;

use flate2::read::MultiGzDecoder;
use model::{Error, Result, What};
use oci::{Descriptor, Manifest};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::archive::{self, Next};

const CONTENT: &str = "application/vnd.cncf.helm.chart.content.v1.tar+gzip";
/// A larger chart is not looked into.
pub(super) const MOST_PACKED: u64 = 64 << 20;
/// Helm's own bounds for what a chart unpacks to.
const MOST_UNPACKED: u64 = 100 << 20;
const MOST_FILE: u64 = 5 << 20;
/// Of what is read as YAML.
const MOST_YAML: u64 = 1 << 20;

/// The layer with the chart's files; a chart may have its signature in another.
pub(super) fn layer(manifest: &Manifest) -> Option<&Descriptor> {
    let config = manifest.config.as_ref().map(|config| config.digest);
    let mut layers = manifest.layers.iter();
    let mut others = layers.clone().filter(|layer| Some(layer.digest) != config);
    layers
        .find(|layer| layer.media_type == CONTENT)
        .or_else(|| others.next())
}

/// Empty when the chart has none, as with Harbor.
pub(super) fn values(packed: impl Read) -> Result<Vec<u8>> {
    file(packed, "values.yaml")
}

pub(super) fn readme(packed: impl Read) -> Result<Vec<u8>> {
    file(packed, "readme.md")
}

/// A file beside `Chart.yaml`, whatever the case of its name.
fn file(packed: impl Read, wanted: &str) -> Result<Vec<u8>> {
    let mut found = Vec::new();
    walk(packed, |name, file| {
        if !name.eq_ignore_ascii_case(wanted) {
            return Ok(Next::More);
        }
        found = file.read(MOST_FILE)?;
        Ok(Next::Enough)
    })?;
    Ok(found)
}

#[derive(Deserialize, Default)]
#[serde(default)]
struct Chart {
    #[serde(rename = "apiVersion")]
    api_version: String,
    dependencies: Option<Vec<Dependency>>,
}

/// As Helm's Chart.yaml has it; what is not given is left out, but for the first and third.
#[derive(Serialize, Deserialize, Default)]
#[serde(default, rename_all = "kebab-case")]
struct Dependency {
    name: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    version: String,
    repository: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    condition: String,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    tags: Vec<String>,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    enabled: bool,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    import_values: Vec<Value>,
    #[serde(skip_serializing_if = "String::is_empty")]
    alias: String,
}

/// A JSON list: what the chart needs by its `Chart.yaml`; charts of Helm 2 have it in `requirements.yaml`.
pub(super) fn dependencies(packed: impl Read) -> Result<Vec<u8>> {
    let (mut chart, mut requirements) = (None, None);
    walk(packed, |name, file| {
        match name {
            "Chart.yaml" => chart = Some(file.read(MOST_YAML)?),
            name if name.eq_ignore_ascii_case("requirements.yaml") => {
                requirements = Some(file.read(MOST_YAML)?);
            }
            _ => {}
        }
        let is_enough = chart.is_some() && requirements.is_some();
        Ok(if is_enough { Next::Enough } else { Next::More })
    })?;
    let own: Chart = yaml("Chart.yaml", &chart.unwrap_or_default())?;
    let listed = match (&*own.api_version, requirements) {
        ("v1", Some(requirements)) => {
            yaml::<Chart>("requirements.yaml", &requirements)?.dependencies
        }
        ("v1", None) => None,
        _ => own.dependencies,
    };
    Ok(serde_json::to_vec(&listed.unwrap_or_default()).expect("texts serialise"))
}

fn walk(
    packed: impl Read,
    mut visit: impl FnMut(&str, archive::File<'_>) -> std::io::Result<Next>,
) -> Result<()> {
    let unpacked = MultiGzDecoder::new(packed);
    archive::walk(unpacked, MOST_UNPACKED, |path, file| {
        match name_in_chart(path) {
            Some(name) => visit(name, file),
            None => Ok(Next::More),
        }
    })
}

/// The path of a file below the chart's own folder, which is named as the chart.
fn name_in_chart(path: &[u8]) -> Option<&str> {
    let path = std::str::from_utf8(path).ok()?;
    let path = path.strip_prefix("./").unwrap_or(path);
    path.split_once('/').map(|(_, name)| name)
}

fn yaml<T: for<'a> Deserialize<'a> + Default>(name: &str, text: &[u8]) -> Result<T> {
    if text.iter().all(u8::is_ascii_whitespace) {
        return Ok(T::default());
    }
    // A few aliases are somebody's convenience, many are a bomb.
    let options = serde_saphyr::options! {
        budget: serde_saphyr::budget! {
            max_events: 200_000,
            max_nodes: 100_000,
            max_aliases: 100,
            max_anchors: 100,
            max_recorded_anchor_events: 10_000,
            max_recorded_anchor_bytes: 1 << 20,
            max_depth: 32,
            max_documents: 1,
            max_merge_keys: 100,
        },
        with_snippet: false,
    };
    serde_saphyr::from_slice_with_options(text, options).map_err(|error| {
        Error::invalid(
            What::Manifest,
            format!("the chart's {name} is not as Helm writes it: {error}"),
        )
    })
}
