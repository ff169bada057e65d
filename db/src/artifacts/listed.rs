//! Which artifacts lists show: all but accessories, and manifests that are part of an index and have no tag. It is kept in the
//! row, and counted, so that a list costs what it shows.

use model::{Result, id::ArtifactId};

use crate::{
    Tx, blobs::json_numbers, counters::Counter, dialect::with_numbers, repositories::Repository,
};

/// Says anew whether lists show these, after what that depends on has changed.
pub(crate) async fn relist(
    tx: &mut Tx,
    repository: &Repository,
    artifacts: &[ArtifactId],
) -> Result<()> {
    let list = json_numbers(artifacts.iter().map(|id| id.0));
    // Only the rows that change are locked: others may tag them meanwhile.
    let sql = with_numbers!(
        tx,
        "UPDATE artifacts SET listed = NOT listed
          WHERE listed <> (accessory IS NULL
                           AND (EXISTS (SELECT 1 FROM tags t WHERE t.artifact_id = artifacts.id)
                                OR NOT EXISTS (SELECT 1 FROM artifact_children c WHERE c.child_id = artifacts.id)))
            AND id IN",
        "$1",
        "RETURNING listed"
    );
    let changed = tx.rows(sql, &[(&list).into()], |row| row.bool(0)).await?;
    for is_listed in changed {
        count(tx, repository, if is_listed { 1 } else { -1 });
    }
    Ok(())
}

/// So many more that lists show.
pub(super) fn count(tx: &mut Tx, repository: &Repository, delta: i64) {
    tx.count(Counter::RepositoryArtifacts(repository.id), delta);
    tx.count(Counter::ProjectArtifacts(repository.project), delta);
}
