//! What projects use when a content turns out to have another length.

use model::{
    Result,
    id::{BlobId, ProjectId},
};

use crate::{Tx, counters::Counter};

/// Before a row gets another length: the projects that use the content use more or less from now on.
pub(super) async fn count_resized(tx: &mut Tx, id: BlobId, size: u64) -> Result<()> {
    let before = tx
        .row(
            "SELECT size FROM blobs WHERE id = $1",
            &[id.into()],
            |row| row.int(0),
        )
        .await?;
    let Some(before) = before.filter(|before| *before != size as i64) else {
        return Ok(());
    };
    let projects = tx
        .rows(
            "SELECT DISTINCT r.project_id FROM repository_blobs l JOIN repositories r ON r.id = l.repository_id WHERE l.blob_id = $1 AND l.counted",
            &[id.into()],
            |row| Ok(ProjectId(row.int(0)?)),
        )
        .await?;
    for project in projects {
        tx.count(Counter::ProjectBytes(project), size as i64 - before);
    }
    Ok(())
}
