//! What artifacts are beside their manifests. A push tells it of what it brings; what was taken over from an older release, or
//! rebuilt, is described later.

use model::{
    Result,
    id::{ArtifactId, RepositoryId},
};
use oci::digest::Digest;

use crate::{Conn, Tx};

/// An artifact that nothing is known of beside its manifest.
#[derive(Debug, Clone)]
pub struct Undescribed {
    pub id: ArtifactId,
    pub repository: RepositoryId,
    pub digest: Digest,
}

/// In the order in which they came, after `after`.
pub async fn list_undescribed(
    conn: &mut Conn,
    after: ArtifactId,
    limit: i64,
) -> Result<Vec<Undescribed>> {
    conn.rows(
        "SELECT id, repository_id, digest
           FROM artifacts
          WHERE kind IS NULL AND id > $1
          ORDER BY id
          LIMIT $2",
        &[after.into(), limit.into()],
        |row| {
            Ok(Undescribed {
                id: ArtifactId(row.int(0)?),
                repository: RepositoryId(row.int(1)?),
                digest: row.parsed(2)?,
            })
        },
    )
    .await
}

/// What is known of an artifact beside its manifest, as `registry::describe` finds it out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Description {
    pub kind: String,
    /// A JSON object.
    pub extra_attrs: Option<String>,
    pub icon: Option<String>,
    pub accessory: Option<String>,
    /// The digest of what it is an accessory of.
    pub accessory_of: Option<String>,
}

/// Describes an artifact, unless a push has done so meanwhile. What it is attached to stays as its push has said; as what is set.
pub async fn set(tx: &mut Tx, id: ArtifactId, known: &Description) -> Result<()> {
    tx.execute(
        "UPDATE artifacts SET
             kind        = $2,
             extra_attrs = $3,
             icon        = $4,
             accessory   = CASE WHEN accessory_of IS NULL THEN accessory ELSE COALESCE($5, accessory) END
          WHERE id = $1 AND kind IS NULL",
        &[
            id.into(),
            (&known.kind).into(),
            (&known.extra_attrs).into(),
            (&known.icon).into(),
            (&known.accessory).into(),
        ],
    )
    .await
    .map(|_| ())
}
