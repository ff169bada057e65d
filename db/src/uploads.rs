//! Uploads in progress. A row is made when bytes are to be counted. `epoch` rises whenever somebody takes the session, and
//! every write names the epoch it was given, so whoever lost the session cannot write to its row any more; his file is
//! another matter (`node`).

use model::{Result, time::Timestamp};
use oci::digest::Digest;

use crate::{Conn, Tx, value::Row};

#[derive(Debug, Clone)]
pub struct Upload {
    pub id: String,
    /// The repository's name; it need not exist yet.
    pub repository: String,
    /// The node that may still write to the file; empty when it has let go. Another one goes on in a file of its own.
    pub node: String,
    /// The name under which its bytes are in the store; empty for one that ended and left nothing there.
    pub file: String,
    pub epoch: i64,
    /// Bytes received and kept: what GET status reports.
    pub received: u64,
    /// Counts for bytes that were flushed before this row was committed.
    pub hash_state: Option<Vec<u8>>,
    /// The digest under which the upload was finished.
    pub finished: Option<Digest>,
    /// Ended by its client; the row stays a while as a sign, since a signed id alone would open it again.
    pub cancelled: bool,
    pub updated_at: Timestamp,
}

fn read(row: &Row<'_>) -> Result<Upload> {
    let finished = row.opt_text(6)?.map(|text| text.parse()).transpose();
    Ok(Upload {
        id: row.text(0)?,
        repository: row.text(1)?,
        node: row.text(2)?,
        epoch: row.int(3)?,
        received: row.int(4)?.unsigned_abs(),
        hash_state: row.opt_bytes(5)?,
        finished: finished.map_err(model::error::internal("reading a digest"))?,
        cancelled: row.bool(7)?,
        updated_at: row.time(8)?,
        file: row.text(9)?,
    })
}

pub async fn find(conn: &mut Conn, id: &str) -> Result<Option<Upload>> {
    conn.row(
        "SELECT id, repository, node, epoch, received, hash_state, finished, cancelled, updated_at, file FROM uploads WHERE id = $1",
        &[id.into()],
        read,
    )
    .await
}

/// The session whose bytes lie in this file: named as the session, or as it and a number.
pub async fn find_by_file(conn: &mut Conn, file: &str) -> Result<Option<Upload>> {
    let id = file.rsplit_once('-').map_or(file, |(id, _)| id);
    conn.row(
        "SELECT id, repository, node, epoch, received, hash_state, finished, cancelled, updated_at, file FROM uploads
          WHERE id IN ($1, $2) AND file = $1",
        &[file.into(), id.into()],
        read,
    )
    .await
}

/// Takes the session: from now on only writes with the epoch that is answered count. The row is made when there is none.
/// `None` when it is not as it was `seen` any more. A file that another node has not let go of stays that node's ([`change_file`]);
/// where there is none (`whole`) all of the session is taken.
pub async fn take(
    tx: &mut Tx,
    id: &str,
    repository: &str,
    seen: Option<&Upload>,
    whole: bool,
    now: Timestamp,
) -> Result<Option<i64>> {
    let node = tx.node();
    let Some(seen) = seen else {
        let made = tx
            .execute(
                "INSERT INTO uploads (id, repository, node, file, epoch, received, started_at, updated_at)
                 VALUES ($1, $2, $3, $1, 1, 0, $4, $4)
                 ON CONFLICT (id) DO NOTHING",
                &[id.into(), repository.into(), (&*node).into(), now.into()],
            )
            .await?;
        return Ok((made > 0).then_some(1));
    };
    let taken = tx
        .execute(
            "UPDATE uploads SET epoch = epoch + 1, node = CASE WHEN node = '' OR $6 THEN $3 ELSE node END, updated_at = $4
              WHERE id = $1 AND epoch = $2 AND received = $5 AND finished IS NULL AND NOT cancelled",
            &[
                id.into(),
                seen.epoch.into(),
                (&*node).into(),
                now.into(),
                (seen.received as i64).into(),
                whole.into(),
            ],
        )
        .await?;
    Ok((taken > 0).then_some(seen.epoch + 1))
}

/// The files of a node stay with a run of it that may still write to them: who goes on with their sessions does so in files of his own.
pub async fn leave_to(tx: &mut Tx, node: &str, run: &str) -> Result<()> {
    tx.execute(
        "UPDATE uploads SET node = node || '/' || $2 WHERE node = $1 AND finished IS NULL",
        &[node.into(), run.into()],
    )
    .await
    .map(|_| ())
}

/// The session goes on in a file of this node. False when somebody else has taken it.
pub async fn change_file(
    tx: &mut Tx,
    id: &str,
    epoch: i64,
    file: &str,
    hash_state: Option<&[u8]>,
    now: Timestamp,
) -> Result<bool> {
    let node = tx.node();
    let changed = tx
        .execute(
            "UPDATE uploads SET node = $3, file = $4, hash_state = $5, updated_at = $6
              WHERE id = $1 AND epoch = $2 AND finished IS NULL AND NOT cancelled",
            &[
                id.into(),
                epoch.into(),
                (&*node).into(),
                file.into(),
                hash_state.into(),
                now.into(),
            ],
        )
        .await?;
    Ok(changed > 0)
}

/// Notes how far the upload has come. False when somebody else has taken the session.
pub async fn advance(
    tx: &mut Tx,
    id: &str,
    epoch: i64,
    received: u64,
    hash_state: Option<&[u8]>,
    now: Timestamp,
) -> Result<bool> {
    let changed = tx
        .execute(
            "UPDATE uploads SET received = $3, hash_state = COALESCE($4, hash_state), updated_at = $5
              WHERE id = $1 AND epoch = $2 AND finished IS NULL AND NOT cancelled",
            &[id.into(), epoch.into(), (received as i64).into(), hash_state.into(), now.into()],
        )
        .await?;
    Ok(changed > 0)
}

/// As [`advance`], and lets go of the file: nothing of this node writes to it any more.
pub async fn put_aside(
    tx: &mut Tx,
    id: &str,
    epoch: i64,
    received: u64,
    hash_state: Option<&[u8]>,
    now: Timestamp,
) -> Result<bool> {
    let changed = tx
        .execute(
            "UPDATE uploads SET received = $3, hash_state = COALESCE($4, hash_state), node = '', updated_at = $5
              WHERE id = $1 AND epoch = $2 AND finished IS NULL AND NOT cancelled",
            &[id.into(), epoch.into(), (received as i64).into(), hash_state.into(), now.into()],
        )
        .await?;
    Ok(changed > 0)
}

/// Ends a session whose bytes were lost, unless somebody else has taken it.
pub async fn abandon(tx: &mut Tx, id: &str, epoch: i64, now: Timestamp) -> Result<bool> {
    let changed = tx
        .execute(
            "UPDATE uploads SET cancelled = TRUE, hash_state = NULL, updated_at = $3
              WHERE id = $1 AND epoch = $2 AND finished IS NULL AND NOT cancelled",
            &[id.into(), epoch.into(), now.into()],
        )
        .await?;
    Ok(changed > 0)
}

/// How an upload ended.
#[derive(Debug, Clone, Copy)]
pub struct End {
    /// Of whoever ends it; 0 for one that has no row yet.
    pub epoch: i64,
    pub received: u64,
    pub digest: Digest,
    /// Whether it has left anything under its name in the store; else its row has no `file` any more.
    pub leaves: bool,
}

/// Notes under which digest the upload was finished; the row stays a while, so that the same PUT is answered again. False when
/// somebody else has taken the session since, or ended it.
pub async fn finish(
    tx: &mut Tx,
    id: &str,
    repository: &str,
    end: &End,
    now: Timestamp,
) -> Result<bool> {
    let End {
        epoch,
        received,
        digest,
        leaves,
    } = *end;
    let (node, digest) = (tx.node(), digest.to_string());
    let changed = if epoch == 0 {
        tx.execute(
            "INSERT INTO uploads (id, repository, node, file, epoch, received, finished, started_at, updated_at)
             VALUES ($1, $2, $3, '', 1, $4, $5, $6, $6)
             ON CONFLICT (id) DO NOTHING",
            &[
                id.into(),
                repository.into(),
                (&*node).into(),
                (received as i64).into(),
                (&digest).into(),
                now.into(),
            ],
        )
        .await?
    } else {
        tx.execute(
            "UPDATE uploads SET received = $3, finished = $4, hash_state = NULL, updated_at = $5, file = CASE WHEN $6 THEN file ELSE '' END
              WHERE id = $1 AND epoch = $2 AND finished IS NULL AND NOT cancelled",
            &[
                id.into(),
                epoch.into(),
                (received as i64).into(),
                (&digest).into(),
                now.into(),
                leaves.into(),
            ],
        )
        .await?
    };
    Ok(changed > 0)
}

/// Ends a session for good and answers the name of its file. `None` when it had ended already.
pub async fn cancel(
    tx: &mut Tx,
    id: &str,
    repository: &str,
    now: Timestamp,
) -> Result<Option<String>> {
    let node = tx.node();
    tx.row(
        "INSERT INTO uploads (id, repository, node, file, epoch, received, cancelled, started_at, updated_at)
         VALUES ($1, $2, $3, $1, 1, 0, TRUE, $4, $4)
         ON CONFLICT (id) DO UPDATE SET cancelled = TRUE, epoch = uploads.epoch + 1, hash_state = NULL, updated_at = excluded.updated_at
          WHERE uploads.finished IS NULL AND NOT uploads.cancelled
         RETURNING file",
        &[id.into(), repository.into(), (&*node).into(), now.into()],
        |row| row.text(0),
    )
    .await
}

/// Sessions nobody has continued since `unfinished_before`, and finished ones from before `finished_before`. A cancelled
/// one counts as unfinished: its row stays as long as its id would open it again.
pub async fn expired(
    conn: &mut Conn,
    unfinished_before: Timestamp,
    finished_before: Timestamp,
    limit: i64,
) -> Result<Vec<Upload>> {
    conn.rows(
        "SELECT id, repository, node, epoch, received, hash_state, finished, cancelled, updated_at, file FROM uploads
          WHERE updated_at < $3
            AND updated_at < CASE WHEN finished IS NOT NULL THEN $2 ELSE $1 END
          ORDER BY updated_at, id
          LIMIT $4",
        &[
            unfinished_before.into(),
            finished_before.into(),
            unfinished_before.max(finished_before).into(),
            limit.into(),
        ],
        read,
    )
    .await
}

/// Ends a session that nobody has touched since its row was read, so that nobody goes on with it while its bytes go. Its time stays.
pub async fn end_expired(tx: &mut Tx, seen: &Upload) -> Result<bool> {
    let ended = tx
        .execute(
            "UPDATE uploads SET cancelled = TRUE
              WHERE id = $1 AND epoch = $2 AND updated_at = $3 AND finished IS NULL",
            &[(&seen.id).into(), seen.epoch.into(), seen.updated_at.into()],
        )
        .await?;
    Ok(ended > 0)
}

/// Forgets a session that nobody has touched since its row was read.
pub async fn expire(tx: &mut Tx, seen: &Upload) -> Result<bool> {
    let gone = tx
        .execute(
            "DELETE FROM uploads WHERE id = $1 AND epoch = $2 AND updated_at = $3",
            &[(&seen.id).into(), seen.epoch.into(), seen.updated_at.into()],
        )
        .await?;
    Ok(gone > 0)
}

/// All sessions in order of their ids, after `after`.
pub async fn list(conn: &mut Conn, after: &str, limit: i64) -> Result<Vec<Upload>> {
    conn.rows(
        "SELECT id, repository, node, epoch, received, hash_state, finished, cancelled, updated_at, file FROM uploads
          WHERE id > $1
          ORDER BY id
          LIMIT $2",
        &[after.into(), limit.into()],
        read,
    )
    .await
}
