//! Artifacts as people see them in lists: the row with all it tells, and what hangs on the rows of a page, each kind of it in one
//! query for the whole page.

use model::{
    Error, Result, What,
    id::{ArtifactId, ProjectId, RepositoryId},
    time::Timestamp,
};
use oci::digest::Digest;

use crate::{
    Conn,
    blobs::json_numbers,
    dialect::with_numbers,
    query::{Field, Kind, List, Within},
    value::Row,
};

/// Children, labels and accessories of one page that are told at most, of each.
const MOST: i64 = 200_000;

/// An artifact with all that its row says.
#[derive(Debug, Clone)]
pub struct Details {
    pub id: ArtifactId,
    pub project: ProjectId,
    pub repository: RepositoryId,
    /// With its project's name.
    pub repository_name: String,
    pub digest: Digest,
    /// The manifest's own.
    pub media_type: String,
    pub artifact_type: Option<String>,
    /// None of an index.
    pub config_media_type: Option<String>,
    pub size: i64,
    /// A JSON object of texts.
    pub annotations: Option<String>,
    pub pushed_at: Timestamp,
    pub pulled_at: Option<Timestamp>,
    pub kind: Option<String>,
    /// A JSON object.
    pub extra_attrs: Option<String>,
    pub icon: Option<String>,
    /// What it is to its subject, when it is an accessory.
    pub accessory: Option<String>,
}

const COLUMNS: &[&str] = &[
    "a.id",
    "r.project_id",
    "a.repository_id",
    "r.name",
    "a.digest",
    "a.media_type",
    "a.artifact_type",
    "a.config_media_type",
    "a.size",
    "a.annotations",
    "a.pushed_at",
    "a.pulled_at",
    "a.kind",
    "a.extra_attrs",
    "a.icon",
    "a.accessory",
];

fn read(row: &Row<'_>) -> Result<Details> {
    Ok(Details {
        id: ArtifactId(row.int(0)?),
        project: ProjectId(row.int(1)?),
        repository: RepositoryId(row.int(2)?),
        repository_name: row.text(3)?,
        digest: row.parsed(4)?,
        media_type: row.text(5)?,
        artifact_type: row.opt_text(6)?,
        config_media_type: row.opt_text(7)?,
        size: row.int(8)?,
        annotations: row.opt_text(9)?,
        pushed_at: row.time(10)?,
        pulled_at: row.opt_time(11)?,
        kind: row.opt_text(12)?,
        extra_attrs: row.opt_text(13)?,
        icon: row.opt_text(14)?,
        accessory: row.opt_text(15)?,
    })
}

/// What lists show: no accessories, and parts of an index only when they are tagged.
pub static LISTED: List<Details> = list("a.listed", &FIELDS);

/// Parts of indexes too; no index has these in order of time.
pub static ALL: List<Details> = list("a.accessory_of IS NULL", &UNORDERED);

static FIELDS: [Field; 14] = fields(true);
static UNORDERED: [Field; 14] = fields(false);

const fn list(always: &'static str, fields: &'static [Field]) -> List<Details> {
    List {
        table: "artifacts a",
        always,
        joins: " JOIN repositories r ON r.id = a.repository_id",
        columns: COLUMNS,
        read,
        id: "a.id",
        fields,
        order: &[("push_time", true)],
    }
}

const fn fields(by_time: bool) -> [Field; 14] {
    let pushed = Field::new(&["push_time", "PushTime"], "a.pushed_at", Kind::Time);
    [
        Field::new(&["id", "ID"], "a.id", Kind::Number).unique(),
        Field::new(&["type", "Type"], "a.kind", Kind::Text).nullable(),
        Field::new(
            &["media_type", "MediaType"],
            "COALESCE(a.config_media_type, a.media_type)",
            Kind::Text,
        ),
        Field::new(
            &["manifest_media_type", "ManifestMediaType"],
            "a.media_type",
            Kind::Text,
        ),
        Field::new(
            &["artifact_type", "ArtifactType"],
            "a.artifact_type",
            Kind::Text,
        )
        .nullable(),
        Field::new(&["project_id", "ProjectID"], "a.project_id", Kind::Number),
        Field::new(
            &["repository_id", "RepositoryID"],
            "a.repository_id",
            Kind::Number,
        ),
        Field::new(
            &["repository_name", "RepositoryName"],
            "(SELECT n.name FROM repositories n WHERE n.id = a.repository_id)",
            Kind::Text,
        )
        .exact("a.repository_id = (SELECT n.id FROM repositories n WHERE n.name = $1)")
        .unsorted(),
        Field::new(&["digest", "Digest"], "a.digest", Kind::Text),
        Field::new(&["size", "Size"], "a.size", Kind::Number),
        Field::new(&["icon", "Icon"], "a.icon", Kind::Text).nullable(),
        if by_time { pushed.indexed() } else { pushed },
        Field::new(&["pull_time", "PullTime"], "a.pulled_at", Kind::Time).nullable(),
        Field::new(&["extra_attrs", "ExtraAttrs"], "a.extra_attrs", Kind::Text)
            .nullable()
            .unsorted(),
    ]
}

/// Which artifacts of a place by their tags.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Tagged<'a> {
    With,
    Without,
    As(&'a str),
    /// Whatever is around it; letters count as they are written.
    Containing(&'a str),
}

pub fn of_repository(repository: RepositoryId) -> Within {
    Within::all().and("a.repository_id = $1", [repository.0.into()])
}

pub fn of_project(project: ProjectId) -> Within {
    Within::all().and("a.project_id = $1", [project.0.into()])
}

/// Those of a repository that are tagged so.
pub fn tagged_in_repository(repository: RepositoryId, tagged: Tagged<'_>) -> Within {
    let within = of_repository(repository);
    match tagged {
        Tagged::With => within.and(WITH_TAGS, []),
        Tagged::Without => within.and(WITHOUT_TAGS, []),
        Tagged::As(name) => within.and(
            "a.id IN (SELECT t.artifact_id FROM tags t WHERE t.repository_id = $1 AND t.name = $2)",
            [repository.0.into(), name.into()],
        ),
        // Of both engines' LIKE only one knows capitals.
        Tagged::Containing(part) => within.and(
            "a.id IN (SELECT t.artifact_id FROM tags t WHERE t.repository_id = $1 AND REPLACE(t.name, $2, '') <> t.name)",
            [repository.0.into(), part.into()],
        ),
    }
}

/// Those of a project that are tagged so.
pub fn tagged_in_project(project: ProjectId, tagged: Tagged<'_>) -> Within {
    let within = of_project(project);
    match tagged {
        Tagged::With => within.and(WITH_TAGS, []),
        Tagged::Without => within.and(WITHOUT_TAGS, []),
        Tagged::As(name) => within.and(
            "a.id IN (SELECT t.artifact_id FROM repositories n JOIN tags t ON t.repository_id = n.id WHERE n.project_id = $1 AND t.name = $2)",
            [project.0.into(), name.into()],
        ),
        Tagged::Containing(part) => within.and(
            "a.id IN (SELECT t.artifact_id FROM repositories n JOIN tags t ON t.repository_id = n.id
                       WHERE n.project_id = $1 AND REPLACE(t.name, $2, '') <> t.name)",
            [project.0.into(), part.into()],
        ),
    }
}

const WITH_TAGS: &str = "EXISTS (SELECT 1 FROM tags t WHERE t.artifact_id = a.id)";
const WITHOUT_TAGS: &str = "NOT EXISTS (SELECT 1 FROM tags t WHERE t.artifact_id = a.id)";

/// Those with this label.
pub fn labelled(within: Within, label: i64) -> Within {
    within.and(
        "a.id IN (SELECT l.artifact_id FROM artifact_labels l WHERE l.label_id = $1)",
        [label.into()],
    )
}

/// Of each repository of the project the one that was pushed last among those with this type of artifact: found once for each
/// repository, not for each artifact.
pub fn latest_with_artifact_type(project: ProjectId, artifact_type: &str) -> Within {
    Within::all().and(
        "a.id IN (SELECT (SELECT x.id FROM artifacts x
                           WHERE x.listed AND x.repository_id = n.id AND x.artifact_type = $2
                           ORDER BY x.pushed_at DESC, x.id DESC
                           LIMIT 1)
                    FROM repositories n
                   WHERE n.project_id = $1)",
        [project.0.into(), artifact_type.into()],
    )
}

/// As [`latest_with_artifact_type`], by the media type that the API tells.
pub fn latest_with_media_type(project: ProjectId, media_type: &str) -> Within {
    Within::all().and(
        "a.id IN (SELECT (SELECT x.id FROM artifacts x
                           WHERE x.listed AND x.repository_id = n.id AND COALESCE(x.config_media_type, x.media_type) = $2
                           ORDER BY x.pushed_at DESC, x.id DESC
                           LIMIT 1)
                    FROM repositories n
                   WHERE n.project_id = $1)",
        [project.0.into(), media_type.into()],
    )
}

pub async fn find(
    conn: &mut Conn,
    repository: RepositoryId,
    digest: &Digest,
) -> Result<Option<Details>> {
    let digest = digest.to_string();
    conn.row(
        "SELECT a.id, r.project_id, a.repository_id, r.name, a.digest, a.media_type, a.artifact_type, a.config_media_type,
                a.size, a.annotations, a.pushed_at, a.pulled_at, a.kind, a.extra_attrs, a.icon, a.accessory
           FROM artifacts a
           JOIN repositories r ON r.id = a.repository_id
           WHERE a.repository_id = $1 AND a.digest = $2",
        &[repository.into(), (&digest).into()],
        read,
    )
    .await
}

pub async fn find_tagged(
    conn: &mut Conn,
    repository: RepositoryId,
    tag: &str,
) -> Result<Option<Details>> {
    conn.row(
        "SELECT a.id, r.project_id, a.repository_id, r.name, a.digest, a.media_type, a.artifact_type, a.config_media_type,
                a.size, a.annotations, a.pushed_at, a.pulled_at, a.kind, a.extra_attrs, a.icon, a.accessory
           FROM tags t
           JOIN artifacts a ON a.id = t.artifact_id
           JOIN repositories r ON r.id = a.repository_id
           WHERE t.repository_id = $1 AND t.name = $2",
        &[repository.into(), tag.into()],
        read,
    )
    .await
}

/// A manifest that an index names.
#[derive(Debug, Clone)]
pub struct Child {
    pub parent: ArtifactId,
    pub id: ArtifactId,
    pub digest: String,
    /// JSON of what the index says of it beside its digest.
    pub descriptor: Option<String>,
}

/// What the indexes among these artifacts name.
pub async fn children(conn: &mut Conn, artifacts: &[ArtifactId]) -> Result<Vec<Child>> {
    let list = numbers(artifacts);
    let sql = with_numbers!(
        conn,
        "SELECT c.parent_id, c.child_id, a.digest, c.descriptor
           FROM artifact_children c
           JOIN artifacts a ON a.id = c.child_id
          WHERE c.parent_id IN",
        "$1",
        "ORDER BY c.parent_id, c.child_id LIMIT $2"
    );
    let values = &[(&list).into(), (MOST + 1).into()];
    let rows = conn.rows(sql, values, |row| {
        Ok(Child {
            parent: ArtifactId(row.int(0)?),
            id: ArtifactId(row.int(1)?),
            digest: row.text(2)?,
            descriptor: row.opt_text(3)?,
        })
    });
    all(rows.await?)
}

/// A label on an artifact.
#[derive(Debug, Clone)]
pub struct Label {
    pub artifact: ArtifactId,
    pub id: i64,
    /// None of a label of the whole system.
    pub project: Option<ProjectId>,
    pub name: String,
    pub description: Option<String>,
    pub color: Option<String>,
    pub created_at: Timestamp,
    pub updated_at: Timestamp,
}

/// The labels of these artifacts, in the order in which they were put on.
pub async fn labels(conn: &mut Conn, artifacts: &[ArtifactId]) -> Result<Vec<Label>> {
    let list = numbers(artifacts);
    let sql = with_numbers!(
        conn,
        "SELECT l.artifact_id, n.id, n.project_id, n.name, n.description, n.color, n.created_at, n.updated_at
           FROM artifact_labels l
           JOIN labels n ON n.id = l.label_id
          WHERE l.artifact_id IN",
        "$1",
        "ORDER BY l.artifact_id, l.added_at, l.label_id LIMIT $2"
    );
    let values = &[(&list).into(), (MOST + 1).into()];
    let rows = conn.rows(sql, values, |row| {
        Ok(Label {
            artifact: ArtifactId(row.int(0)?),
            id: row.int(1)?,
            project: row.opt_int(2)?.map(ProjectId),
            name: row.text(3)?,
            description: row.opt_text(4)?,
            color: row.opt_text(5)?,
            created_at: row.time(6)?,
            updated_at: row.time(7)?,
        })
    });
    all(rows.await?)
}

/// An artifact that is attached to another.
#[derive(Debug, Clone)]
pub struct Accessory {
    pub id: ArtifactId,
    pub repository_name: String,
    pub digest: Digest,
    pub size: i64,
    pub kind: String,
    pub icon: Option<String>,
    pub pushed_at: Timestamp,
    /// None while the subject has not been pushed.
    pub subject: Option<ArtifactId>,
    pub subject_digest: String,
}

fn read_accessory(row: &Row<'_>) -> Result<Accessory> {
    Ok(Accessory {
        id: ArtifactId(row.int(0)?),
        repository_name: row.text(1)?,
        digest: row.parsed(2)?,
        size: row.int(3)?,
        kind: row.text(4)?,
        icon: row.opt_text(5)?,
        pushed_at: row.time(6)?,
        subject: row.opt_int(7)?.map(ArtifactId),
        subject_digest: row.text(8)?,
    })
}

/// The accessories of one artifact, to be filtered and paged.
pub static ACCESSORIES: List<Accessory> = List {
    table: "artifacts a",
    always: "a.accessory_of IS NOT NULL",
    joins: " JOIN repositories r ON r.id = a.repository_id
             LEFT JOIN artifacts s ON s.repository_id = a.repository_id AND s.digest = a.accessory_of",
    columns: &[
        "a.id",
        "r.name",
        "a.digest",
        "a.size",
        "COALESCE(a.accessory, 'subject.accessory')",
        "a.icon",
        "a.pushed_at",
        "s.id",
        "a.accessory_of",
    ],
    read: read_accessory,
    id: "a.id",
    fields: &[
        Field::new(&["id", "ID", "artifact_id", "ArtifactID"], "a.id", Kind::Number)
            .indexed()
            .unique(),
        Field::new(&["digest", "Digest"], "a.digest", Kind::Text),
        Field::new(&["type", "Type"], "a.accessory", Kind::Text).nullable(),
        Field::new(&["size", "Size"], "a.size", Kind::Number),
        Field::new(&["icon", "Icon"], "a.icon", Kind::Text).nullable(),
        Field::new(
            &["creation_time", "CreationTime", "creat_time"],
            "a.pushed_at",
            Kind::Time,
        ),
    ],
    order: &[("id", false)],
};

/// What is attached to the manifest with this digest.
pub fn attached_to(repository: RepositoryId, subject: &Digest) -> Within {
    Within::all().and(
        "a.repository_id = $1 AND a.accessory_of = $2",
        [repository.0.into(), subject.to_string().as_str().into()],
    )
}

/// The accessories of these artifacts, in the order in which they came.
pub async fn accessories(conn: &mut Conn, subjects: &[ArtifactId]) -> Result<Vec<Accessory>> {
    let list = numbers(subjects);
    let sql = with_numbers!(
        conn,
        "SELECT a.id, r.name, a.digest, a.size, COALESCE(a.accessory, 'subject.accessory'), a.icon, a.pushed_at, s.id, a.accessory_of
           FROM artifacts s
           JOIN artifacts a ON a.repository_id = s.repository_id AND a.accessory_of = s.digest
           JOIN repositories r ON r.id = a.repository_id
          WHERE s.id IN",
        "$1",
        "ORDER BY s.id, a.id LIMIT $2"
    );
    let values = &[(&list).into(), (MOST + 1).into()];
    let rows = conn.rows(sql, values, read_accessory);
    all(rows.await?)
}

/// Signatures of the indexes that name these artifacts, each with the artifact that it covers so.
pub async fn inherited(
    conn: &mut Conn,
    artifacts: &[ArtifactId],
) -> Result<Vec<(ArtifactId, Accessory)>> {
    let list = numbers(artifacts);
    let sql = with_numbers!(
        conn,
        "SELECT a.id, r.name, a.digest, a.size, a.accessory, a.icon, a.pushed_at, s.id, a.accessory_of, c.child_id
           FROM artifact_children c
           JOIN artifacts s ON s.id = c.parent_id
           JOIN artifacts a ON a.repository_id = s.repository_id AND a.accessory_of = s.digest
           JOIN repositories r ON r.id = a.repository_id
          WHERE a.accessory IN ('signature.cosign', 'signature.notation') AND c.child_id IN",
        "$1",
        "ORDER BY c.child_id, s.id, a.id LIMIT $2"
    );
    let values = &[(&list).into(), (MOST + 1).into()];
    let rows = conn.rows(sql, values, |row| {
        Ok((ArtifactId(row.int(9)?), read_accessory(row)?))
    });
    all(rows.await?)
}

/// Whether an artifact is signed, and whether it is a signature itself.
#[derive(Debug, Clone, Copy, Default)]
pub struct Signed {
    pub is_signature: bool,
    pub by_cosign: bool,
    pub by_notation: bool,
}

pub async fn signed(conn: &mut Conn, artifact: ArtifactId) -> Result<Signed> {
    let found = conn
        .row(
            "SELECT a.accessory,
                    EXISTS (SELECT 1 FROM artifacts s
                             WHERE s.repository_id = a.repository_id AND s.accessory_of = a.digest AND s.accessory = 'signature.cosign'),
                    EXISTS (SELECT 1 FROM artifacts s
                             WHERE s.repository_id = a.repository_id AND s.accessory_of = a.digest AND s.accessory = 'signature.notation')
               FROM artifacts a
              WHERE a.id = $1",
            &[artifact.into()],
            |row| {
                let own = row.opt_text(0)?;
                Ok(Signed {
                    is_signature: own.is_some_and(|own| own.starts_with("signature.")),
                    by_cosign: row.bool(1)?,
                    by_notation: row.bool(2)?,
                })
            },
        )
        .await?;
    Ok(found.unwrap_or_default())
}

/// What hangs on the artifacts of one page is told whole or not at all: what is left out would look as if it were not there.
fn all<T>(rows: Vec<T>) -> Result<Vec<T>> {
    if rows.len() as i64 <= MOST {
        return Ok(rows);
    }
    Err(Error::invalid(
        What::Query,
        "too much hangs on these artifacts to be told at once: ask for fewer by `page_size`",
    ))
}

fn numbers(artifacts: &[ArtifactId]) -> String {
    json_numbers(artifacts.iter().map(|id| id.0))
}
