//! What manifests and tags bring along from the registry whose tree was taken over.

use model::{
    Result,
    id::{ArtifactId, RepositoryId},
    time::Timestamp,
};
use oci::{digest::Digest, name::Tag};

use crate::{Conn, Tx, blobs::json_list, dialect::with_list};

/// When a manifest was pushed there. `made_at` is when its row was made here: a later push counts more.
pub async fn set_manifest_time(
    tx: &mut Tx,
    artifact: ArtifactId,
    pushed_at: Timestamp,
    made_at: Timestamp,
) -> Result<()> {
    tx.execute(
        "UPDATE artifacts SET pushed_at = $2 WHERE id = $1 AND pushed_at = $3",
        &[artifact.into(), pushed_at.into(), made_at.into()],
    )
    .await
    .map(|_| ())
}

/// The same of a tag, unless it has been there before `made_at`.
pub async fn set_tag_time(
    tx: &mut Tx,
    repository: RepositoryId,
    tag: &Tag,
    pushed_at: Timestamp,
    made_at: Timestamp,
) -> Result<()> {
    tx.execute(
        "UPDATE tags SET pushed_at = $3 WHERE repository_id = $1 AND name = $2 AND pushed_at = $4",
        &[
            repository.into(),
            tag.as_str().into(),
            pushed_at.into(),
            made_at.into(),
        ],
    )
    .await
    .map(|_| ())
}

/// Those of these tags that the repository has, and what they stand for.
pub async fn tags(
    conn: &mut Conn,
    repository: RepositoryId,
    names: &[String],
) -> Result<Vec<(String, Digest)>> {
    let list = json_list(names);
    let sql = with_list!(
        conn,
        "SELECT name, digest FROM tags WHERE repository_id = $1 AND name IN",
        "$2",
        "ORDER BY name",
        ""
    );
    conn.rows(sql, &[repository.into(), (&list).into()], |row| {
        Ok((row.text(0)?, row.parsed(1)?))
    })
    .await
}
