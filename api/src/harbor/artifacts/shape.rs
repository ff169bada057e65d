//! An artifact as the API shows it. A page takes a fixed number of queries, whatever is on it: one for each kind of thing that
//! hangs on artifacts, for all of them at once.

use std::collections::{BTreeMap, HashMap};

use db::{
    Conn,
    artifacts::details::{self, Details},
    immutable::Rules,
    tags,
};
use model::{Result, id::ArtifactId, time::Timestamp};
use registry::{additions::Addition, describe::Accessory as Attached, icons};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::harbor::input::flag;

/// Harbor's word for a time that has not come.
const NEVER: &str = "0001-01-01T00:00:00.000Z";
const WASM: &str = "application/vnd.wasm.config.v1+json";
const CNAB: &str = "application/vnd.cnab.manifest.v1";

/// What of an artifact is told beside its row.
#[derive(Debug, Clone, Copy, Default, Deserialize, JsonSchema)]
pub(crate) struct Switches {
    /// True when absent.
    #[serde(default, deserialize_with = "flag")]
    pub(crate) with_tag: Option<bool>,
    #[serde(default, deserialize_with = "flag")]
    pub(crate) with_label: Option<bool>,
    /// No artifact has one before there are scanners.
    #[serde(default, deserialize_with = "flag")]
    #[expect(
        dead_code,
        reason = "told by the document; without scanners there is nothing to tell"
    )]
    pub(crate) with_scan_overview: Option<bool>,
    /// As `with_scan_overview`.
    #[serde(default, deserialize_with = "flag")]
    #[expect(
        dead_code,
        reason = "told by the document; without scanners there is nothing to tell"
    )]
    pub(crate) with_sbom_overview: Option<bool>,
    /// Whether each tag is immutable.
    #[serde(default, deserialize_with = "flag")]
    pub(crate) with_immutable_status: Option<bool>,
    /// True when absent.
    #[serde(default, deserialize_with = "flag")]
    pub(crate) with_accessory: Option<bool>,
    /// Signatures of the indexes that an unsigned artifact is part of.
    #[serde(default, deserialize_with = "flag")]
    pub(crate) with_inherited_accessory: Option<bool>,
}

#[derive(Serialize, JsonSchema)]
pub(crate) struct Artifact {
    id: i64,
    /// `IMAGE`, `CHART` …
    #[serde(rename = "type")]
    kind: String,
    /// That of the config; of an index its own.
    media_type: String,
    manifest_media_type: String,
    artifact_type: String,
    project_id: i64,
    repository_id: i64,
    repository_name: String,
    digest: String,
    size: i64,
    /// To be fetched from `/icons/{digest}`.
    icon: String,
    push_time: String,
    pull_time: String,
    #[serde(skip_serializing_if = "Map::is_empty")]
    extra_attrs: Map<String, Value>,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    annotations: BTreeMap<String, String>,
    references: Option<Vec<Reference>>,
    tags: Option<Vec<Tag>>,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    addition_links: BTreeMap<&'static str, AdditionLink>,
    labels: Option<Vec<Label>>,
    accessories: Option<Vec<Accessory>>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    inherited_accessories: Vec<Accessory>,
}

#[derive(Serialize, JsonSchema)]
pub(crate) struct Reference {
    parent_id: i64,
    child_id: i64,
    child_digest: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    platform: Option<Platform>,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    annotations: BTreeMap<String, String>,
    urls: Option<Vec<String>>,
}

/// What a child runs on; the odd names are Harbor's.
#[derive(Serialize, JsonSchema)]
pub(crate) struct Platform {
    architecture: String,
    os: String,
    #[serde(rename = "'os.version'", skip_serializing_if = "String::is_empty")]
    os_version: String,
    #[serde(rename = "'os.features'")]
    os_features: Option<Vec<String>>,
    #[serde(skip_serializing_if = "String::is_empty")]
    variant: String,
}

#[derive(Serialize, JsonSchema)]
pub(crate) struct Tag {
    id: i64,
    repository_id: i64,
    artifact_id: i64,
    name: String,
    push_time: String,
    pull_time: String,
    immutable: bool,
}

#[derive(Serialize, JsonSchema)]
pub(crate) struct AdditionLink {
    href: String,
    absolute: bool,
}

#[derive(Serialize, JsonSchema)]
pub(crate) struct Accessory {
    id: i64,
    artifact_id: i64,
    /// 0 while the subject has not been pushed.
    subject_artifact_id: i64,
    subject_artifact_digest: String,
    subject_artifact_repo: String,
    size: i64,
    digest: String,
    /// `signature.cosign`, `signature.notation`, `sbom.harbor`, `accelerator.nydus` or `subject.accessory`.
    #[serde(rename = "type")]
    kind: String,
    icon: String,
    creation_time: String,
}

#[derive(Serialize, JsonSchema)]
pub(crate) struct Label {
    id: i64,
    name: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    description: String,
    color: String,
    scope: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    project_id: Option<i64>,
    creation_time: String,
    update_time: String,
}

/// All that these rows tell, with what the switches ask for.
pub(crate) async fn show(
    conn: &mut Conn,
    rows: Vec<Details>,
    switches: Switches,
    rules: &Rules,
) -> Result<Vec<Artifact>> {
    let ids: Vec<ArtifactId> = rows.iter().map(|row| row.id).collect();
    let children = details::children(conn, &ids).await?;
    let mut references = grouped(
        children
            .into_iter()
            .map(|child| (child.parent, reference(child))),
    );
    let mut named = HashMap::new();
    if switches.with_tag.unwrap_or(true) {
        let all = tags::details::of_all(conn, &ids).await?;
        named = grouped(all.into_iter().map(|tag| (tag.artifact, tag)));
    }
    let mut labels = HashMap::new();
    if switches.with_label.unwrap_or(false) {
        let all = details::labels(conn, &ids).await?;
        labels = grouped(
            all.into_iter()
                .map(|label| (label.artifact, Label::from(label))),
        );
    }
    let mut attached = HashMap::new();
    let inherits = switches.with_inherited_accessory.unwrap_or(false);
    let with_accessory = switches.with_accessory.unwrap_or(true);
    if with_accessory || inherits {
        let all = details::accessories(conn, &ids).await?;
        let of_subject = all.into_iter().filter_map(|one| Some((one.subject?, one)));
        attached = grouped(of_subject);
    }
    let mut inherited = HashMap::new();
    if inherits {
        let unsigned: Vec<ArtifactId> = ids
            .iter()
            .filter(|id| {
                !attached
                    .get(*id)
                    .is_some_and(|all| all.iter().any(is_signature))
            })
            .copied()
            .collect();
        inherited = grouped(details::inherited(conn, &unsigned).await?.into_iter());
    }
    let shown = rows.into_iter().map(|row| {
        let id = row.id;
        let tags = named.remove(&id).map(|tags| {
            let shown = tags.into_iter().map(|tag| {
                let immutable = rules.hold(&row.repository_name, &tag.name);
                Tag::of(tag, immutable)
            });
            shown.collect()
        });
        let accessories = attached.remove(&id).filter(|_| with_accessory);
        let over = inherited.remove(&id).unwrap_or_default();
        Artifact {
            references: references.remove(&id),
            tags,
            labels: labels.remove(&id),
            accessories: accessories.map(|all| all.into_iter().map(Accessory::from).collect()),
            inherited_accessories: over.into_iter().map(Accessory::from).collect(),
            ..Artifact::from(row)
        }
    });
    Ok(shown.collect())
}

fn grouped<T>(all: impl Iterator<Item = (ArtifactId, T)>) -> HashMap<ArtifactId, Vec<T>> {
    let mut groups: HashMap<ArtifactId, Vec<T>> = HashMap::new();
    for (id, one) in all {
        groups.entry(id).or_default().push(one);
    }
    groups
}

fn is_signature(accessory: &details::Accessory) -> bool {
    accessory.kind.starts_with("signature.")
}

impl From<Details> for Artifact {
    fn from(row: Details) -> Self {
        let kind = row.kind.clone().unwrap_or_else(|| "UNKNOWN".to_owned());
        let icon = row.icon.clone();
        Self {
            id: row.id.0,
            media_type: media_type(&row, &kind).to_owned(),
            addition_links: addition_links(&row, &kind),
            icon: icon.unwrap_or_else(|| icons::of_kind(&kind).to_string()),
            kind,
            manifest_media_type: row.media_type,
            artifact_type: row.artifact_type.unwrap_or_default(),
            project_id: row.project.0,
            repository_id: row.repository.0,
            repository_name: row.repository_name,
            digest: row.digest.to_string(),
            size: row.size,
            push_time: row.pushed_at.rfc3339(),
            pull_time: told(row.pulled_at),
            extra_attrs: parsed(row.extra_attrs.as_deref()),
            annotations: parsed(row.annotations.as_deref()),
            references: None,
            tags: None,
            labels: None,
            accessories: None,
            inherited_accessories: Vec::new(),
        }
    }
}

impl Tag {
    pub(crate) fn of(row: tags::details::Details, immutable: bool) -> Self {
        Self {
            id: row.id.0,
            repository_id: row.repository.0,
            artifact_id: row.artifact.0,
            name: row.name,
            push_time: row.pushed_at.rfc3339(),
            pull_time: told(row.pulled_at),
            immutable,
        }
    }
}

impl From<details::Accessory> for Accessory {
    fn from(row: details::Accessory) -> Self {
        let drawn = Attached::parse(&row.kind).and_then(icons::of_accessory);
        let icon = row.icon.or_else(|| drawn.map(|digest| digest.to_string()));
        Self {
            id: row.id.0,
            artifact_id: row.id.0,
            subject_artifact_id: row.subject.map_or(0, |subject| subject.0),
            subject_artifact_digest: row.subject_digest,
            subject_artifact_repo: row.repository_name,
            size: row.size,
            digest: row.digest.to_string(),
            kind: row.kind,
            icon: icon.unwrap_or_default(),
            creation_time: row.pushed_at.rfc3339(),
        }
    }
}

impl From<details::Label> for Label {
    fn from(row: details::Label) -> Self {
        Self {
            id: row.id,
            name: row.name,
            description: row.description.unwrap_or_default(),
            color: row.color.unwrap_or_default(),
            scope: if row.project.is_some() { "p" } else { "g" },
            project_id: row.project.map(|project| project.0),
            creation_time: row.created_at.rfc3339(),
            update_time: row.updated_at.rfc3339(),
        }
    }
}

/// As Harbor tells it: of an index its own, of a module packed as an image the module's.
fn media_type<'r>(row: &'r Details, kind: &str) -> &'r str {
    match (kind, &row.config_media_type) {
        ("CNAB", None) => CNAB,
        ("WASM", Some(_)) => WASM,
        (_, config) => config.as_deref().unwrap_or(&row.media_type),
    }
}

fn addition_links(row: &Details, kind: &str) -> BTreeMap<&'static str, AdditionLink> {
    let is_index = row.config_media_type.is_none() && oci::media_type::is_index(&row.media_type);
    let (project, repository) = row.repository_name.split_once('/').unwrap_or_default();
    let repository = repository.replace('/', "%252F");
    let link = |addition: &Addition| {
        let (digest, name) = (&row.digest, addition.as_str());
        let href = format!(
            "/api/v2.0/projects/{project}/repositories/{repository}/artifacts/{digest}/additions/{name}"
        );
        let link = AdditionLink {
            href,
            absolute: false,
        };
        (name, link)
    };
    Addition::of(kind, is_index).iter().map(link).collect()
}

/// What an index says of a child, as it was kept from the index.
#[derive(Default, Deserialize)]
#[serde(default)]
struct Descriptor {
    platform: Option<KeptPlatform>,
    annotations: BTreeMap<String, String>,
    urls: Option<Vec<String>>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct KeptPlatform {
    architecture: String,
    os: String,
    #[serde(rename = "os.version")]
    os_version: String,
    #[serde(rename = "os.features")]
    os_features: Option<Vec<String>>,
    variant: String,
}

fn reference(child: details::Child) -> Reference {
    let kept: Descriptor = parsed(child.descriptor.as_deref());
    Reference {
        parent_id: child.parent.0,
        child_id: child.id.0,
        child_digest: child.digest,
        platform: kept.platform.map(|platform| Platform {
            architecture: platform.architecture,
            os: platform.os,
            os_version: platform.os_version,
            os_features: platform.os_features,
            variant: platform.variant,
        }),
        annotations: kept.annotations,
        urls: kept.urls,
    }
}

/// JSON that was kept; nothing when it is missing or was written by somebody else.
fn parsed<T: Default + for<'de> Deserialize<'de>>(text: Option<&str>) -> T {
    text.and_then(|text| serde_json::from_str(text).ok())
        .unwrap_or_default()
}

fn told(time: Option<Timestamp>) -> String {
    time.map_or_else(|| NEVER.to_owned(), Timestamp::rfc3339)
}
