//! What artifacts are, for those that a push has not described: taken over from an older release, or rebuilt.

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

/// What was found out of an artifact.
#[derive(Debug, Clone)]
pub struct NewDescription {
    pub id: ArtifactId,
    pub kind: String,
    pub extra_attrs: Option<String>,
    pub icon: Option<String>,
    /// As what it is attached to the subject that its row names.
    pub accessory: Option<String>,
}

/// Keeps what was found out, unless a push has done so meanwhile.
pub async fn set(tx: &mut Tx, new: &NewDescription) -> Result<()> {
    tx.execute(
        "UPDATE artifacts SET
             kind        = $2,
             extra_attrs = $3,
             icon        = $4,
             accessory   = CASE WHEN accessory_of IS NULL THEN accessory ELSE COALESCE($5, accessory) END
          WHERE id = $1 AND kind IS NULL",
        &[
            new.id.into(),
            (&new.kind).into(),
            (&new.extra_attrs).into(),
            (&new.icon).into(),
            (&new.accessory).into(),
        ],
    )
    .await
    .map(|_| ())
}
