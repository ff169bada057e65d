//! Contents that artifacts show as their icons.

use model::Result;
use oci::digest::Digest;

use crate::{
    Conn,
    blobs::{self, Blob},
};

/// The content that some artifact names as its icon, as that artifact's repository holds it.
pub async fn find(conn: &mut Conn, digest: &Digest) -> Result<Option<Blob>> {
    let digest = digest.to_string();
    conn.row(
        "SELECT b.id, b.digest, b.generation, b.size, b.location, b.state
           FROM artifacts a
           JOIN blobs b ON b.digest = a.icon
           JOIN repository_blobs l ON l.repository_id = a.repository_id AND l.blob_id = b.id
          WHERE a.icon = $1 AND b.state <> 2
          LIMIT 1",
        &[(&digest).into()],
        blobs::read,
    )
    .await
}
