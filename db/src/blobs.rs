//! Content by digest: where its bytes are and whether it is alive. Its life is live → condemned → deleting; the first
//! step back is a push or a mount, the last one is final, and a push after it makes a new generation with a new location.

pub mod adopted;
pub mod holders;
mod new;
mod resized;
pub mod tombstones;

use model::{Error, Result, id::BlobId, time::Timestamp};
use oci::digest::Digest;

use crate::{
    Conn, Tx,
    dialect::{locking, with_list, with_numbers},
    generations::Touch,
    value::Row,
};
pub use new::insert;
use resized::count_resized;

/// Where a content stands in its life.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum State {
    Live,
    /// Nothing names it; a push or a mount takes it back.
    Condemned,
    /// Final: its bytes go. Nobody sees it any more.
    Deleting,
    /// Its bytes are missing or damaged; the next push heals it.
    Lost,
    /// Live, but its bytes were found bad and are being read once more: a push that writes them meanwhile makes it live
    /// again, and that is how the verdict learns of it.
    Suspect,
    /// Taken in as it lay in the store: its bytes are read before they are served for the first time.
    Adopted,
}

impl State {
    fn number(self) -> i64 {
        match self {
            Self::Live => 0,
            Self::Condemned => 1,
            Self::Deleting => 2,
            Self::Lost => 3,
            Self::Suspect => 4,
            Self::Adopted => 5,
        }
    }

    pub(crate) fn from_number(number: i64) -> Result<Self> {
        [
            Self::Live,
            Self::Condemned,
            Self::Deleting,
            Self::Lost,
            Self::Suspect,
            Self::Adopted,
        ]
        .into_iter()
        .find(|state| state.number() == number)
        .ok_or_else(|| Error::Internal(anyhow::anyhow!("unknown blob state {number}")))
    }

    /// Whether a pull may read it; what is adopted only with its digest compared.
    pub fn is_readable(self) -> bool {
        matches!(
            self,
            Self::Live | Self::Suspect | Self::Condemned | Self::Adopted
        )
    }
}

/// How rows are held until the transaction ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Lock {
    /// Against whoever condemns or claims; many may add references at once.
    Share,
    /// Against everybody: the row itself is about to change.
    Exclusive,
}

#[derive(Debug, Clone)]
pub struct Blob {
    pub id: BlobId,
    pub digest: Digest,
    pub generation: i64,
    pub size: u64,
    /// As the store understands it.
    pub location: String,
    pub state: State,
}

pub(crate) fn read(row: &Row<'_>) -> Result<Blob> {
    Ok(Blob {
        id: BlobId(row.int(0)?),
        digest: row.parsed(1)?,
        generation: row.int(2)?,
        size: row.int(3)?.unsigned_abs(),
        location: row.text(4)?,
        state: State::from_number(row.int(5)?)?,
    })
}

/// The newest generation of a content, whatever its state.
pub async fn newest(conn: &mut Conn, digest: &Digest) -> Result<Option<Blob>> {
    let digest = digest.to_string();
    conn.row(
        "SELECT id, digest, generation, size, location, state FROM blobs WHERE digest = $1 ORDER BY generation DESC LIMIT 1",
        &[(&digest).into()],
        read,
    )
    .await
}

/// The same, locked against the collector until the transaction ends.
pub async fn lock_newest(tx: &mut Tx, digest: &Digest) -> Result<Option<Blob>> {
    let digest = digest.to_string();
    let sql = locking!(
        tx,
        "SELECT id, digest, generation, size, location, state FROM blobs WHERE digest = $1 ORDER BY generation DESC LIMIT 1",
        "FOR UPDATE"
    );
    tx.row(sql, &[(&digest).into()], read).await
}

/// Its bytes have just been written: whatever was wrong with it is over. Hold it exclusively.
pub async fn set_written(
    tx: &mut Tx,
    id: BlobId,
    size: u64,
    location: &str,
    now: Timestamp,
) -> Result<()> {
    count_resized(tx, id, size).await?;
    tx.execute(
        "UPDATE blobs SET
             state      = 0,
             state_at   = CASE WHEN state_at >= $2 THEN state_at + 1 ELSE $2 END,
             checked_at = $2,
             size       = $3,
             location   = $4
          WHERE id = $1 AND state <> 2",
        &[id.into(), now.into(), (size as i64).into(), location.into()],
    )
    .await?;
    tx.touch(Touch::Blobs);
    Ok(())
}

/// Takes a condemned content back: it is named again. One whose bytes nobody has read is adopted, as it was. Hold it exclusively.
pub async fn revive(tx: &mut Tx, id: BlobId, now: Timestamp) -> Result<()> {
    tx.execute(
        "UPDATE blobs SET state = CASE WHEN checked_at = 0 THEN 5 ELSE 0 END, state_at = $2 WHERE id = $1 AND state = 1",
        &[id.into(), now.into()],
    )
    .await
    .map(|_| ())
}

/// A suspicion: since when the row has it. A push that writes the bytes ends it, and a later one is another, so that whoever
/// judges by bytes that he read before the push is told so.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Suspicion(Timestamp);

/// Its bytes were found bad: from now on a push that writes them shows in the row, and the scrub looks at it first. Two who
/// suspect it at once share the suspicion. One that is condemned is on its way out and stays so, and one that is adopted is not served
/// before it was read, which is as good as suspect. `None` when the row is not any more as it was read.
pub async fn set_suspect(tx: &mut Tx, blob: &Blob, now: Timestamp) -> Result<Option<Suspicion>> {
    tx.row(
        "UPDATE blobs SET
             state      = CASE WHEN state = 5 THEN 5 ELSE 4 END,
             state_at   = CASE WHEN state IN (4, 5) THEN state_at WHEN state_at >= $2 THEN state_at + 1 ELSE $2 END,
             checked_at = 0
          WHERE id = $1 AND state IN (0, 4, 5) AND location = $3
         RETURNING state_at",
        &[blob.id.into(), now.into(), (&blob.location).into()],
        |row| Ok(Suspicion(row.time(0)?)),
    )
    .await
}

/// Its bytes turned out to be good after all, or for the first time.
pub async fn clear_suspect(tx: &mut Tx, id: BlobId, size: u64, now: Timestamp) -> Result<()> {
    count_resized(tx, id, size).await?;
    tx.execute(
        "UPDATE blobs SET state = 0, state_at = $2, checked_at = $2, size = $3 WHERE id = $1 AND state IN (4, 5)",
        &[id.into(), now.into(), (size as i64).into()],
    )
    .await?;
    tx.touch(Touch::Blobs);
    Ok(())
}

/// The bytes of a suspect are missing or unreadable; they may come back where they were. False when a push was faster.
pub async fn mark_lost(
    tx: &mut Tx,
    id: BlobId,
    suspicion: Suspicion,
    now: Timestamp,
) -> Result<bool> {
    let changed = tx
        .execute(
            "UPDATE blobs SET state = 3, state_at = $2 WHERE id = $1 AND state IN (4, 5) AND state_at = $3",
            &[id.into(), now.into(), suspicion.0.into()],
        )
        .await?;
    if changed > 0 {
        tx.touch(Touch::Blobs);
    }
    Ok(changed > 0)
}

/// The bytes of a suspect are damaged: whoever pushes it next stores under a new location, so that the old bytes can be
/// set aside without hitting a push that is under way. `None` when a push was faster.
pub async fn mark_damaged(
    tx: &mut Tx,
    blob: &Blob,
    suspicion: Suspicion,
    now: Timestamp,
) -> Result<Option<Blob>> {
    let moved = tx
        .row(
            "UPDATE blobs SET state = 3, state_at = $2, generation = generation + 1, location = $5
              WHERE id = $1 AND state IN (4, 5) AND generation = $3 AND location = $4 AND state_at = $6
             RETURNING id, digest, generation, size, location, state",
            &[
                blob.id.into(),
                now.into(),
                blob.generation.into(),
                (&blob.location).into(),
                (&location_of(blob.generation + 1)).into(),
                suspicion.0.into(),
            ],
            read,
        )
        .await?;
    if moved.is_some() {
        tx.touch(Touch::Blobs);
    }
    Ok(moved)
}

/// The bytes of a lost content were read where its row says and are good: it is served again. False when a push or another
/// verdict was faster.
pub async fn unmark_lost(tx: &mut Tx, lost: &Blob, now: Timestamp) -> Result<bool> {
    let changed = tx
        .execute(
            "UPDATE blobs SET state = 0, state_at = $2, checked_at = $2 WHERE id = $1 AND state = 3 AND generation = $3 AND location = $4",
            &[lost.id.into(), now.into(), lost.generation.into(), (&lost.location).into()],
        )
        .await?;
    if changed > 0 {
        tx.touch(Touch::Blobs);
    }
    Ok(changed > 0)
}

/// Where the bytes of a generation lie.
pub fn location_of(generation: i64) -> String {
    if generation == 0 {
        "data".to_owned()
    } else {
        format!("data.{generation}")
    }
}

/// The generation whose bytes lie there.
pub fn generation_of(location: &str) -> i64 {
    location
        .strip_prefix("data.")
        .and_then(|number| number.parse().ok())
        .unwrap_or(0)
}

/// Condemns a content that no repository holds any more. Lock it first; this asks again.
pub async fn condemn_if_unheld(tx: &mut Tx, id: BlobId, now: Timestamp) -> Result<bool> {
    let condemned = condemn_unheld(tx, &[id], now).await?;
    Ok(!condemned.is_empty())
}

/// As [`condemn_if_unheld`], for many; answers those that were condemned.
pub async fn condemn_unheld(tx: &mut Tx, ids: &[BlobId], now: Timestamp) -> Result<Vec<BlobId>> {
    let list = json_numbers(ids.iter().map(|id| id.0));
    let sql = with_numbers!(
        tx,
        "UPDATE blobs SET state = 1, state_at = $2
          WHERE +state IN (0, 3, 4, 5) AND NOT EXISTS (SELECT 1 FROM repository_blobs l WHERE l.blob_id = blobs.id)
            AND NOT EXISTS (SELECT 1 FROM trash_blobs t WHERE t.blob_id = blobs.id) AND id IN",
        "$1",
        "RETURNING id"
    );
    tx.rows(sql, &[(&list).into(), now.into()], |row| {
        Ok(BlobId(row.int(0)?))
    })
    .await
}

/// Contents in a state other than live whose bytes are there as far as is known, after `after`, in order of numbers.
pub async fn in_state(
    conn: &mut Conn,
    state: State,
    after: BlobId,
    limit: i64,
) -> Result<Vec<Blob>> {
    conn.rows(
        // `state <> 0` says what SQLite wants to hear before it uses the partial index, `freed_at` what PostgreSQL does before it takes
        // the order from there.
        "SELECT id, digest, generation, size, location, state FROM blobs
          WHERE state = $1 AND state <> 0 AND freed_at IS NULL AND id > $2
          ORDER BY freed_at, id
          LIMIT $3",
        &[state.number().into(), after.into(), limit.into()],
        read,
    )
    .await
}

/// Holds contents in the order of their digests, so that two who hold the same never wait for each other.
pub async fn hold(tx: &mut Tx, digests: &[Digest], lock: Lock) -> Result<()> {
    if !tx.locks_rows() {
        return Ok(());
    }
    let list = json_list(digests);
    let sql = match lock {
        Lock::Share => with_list!(
            tx,
            "SELECT id FROM blobs WHERE state <> 2 AND digest IN",
            "$1",
            "ORDER BY digest",
            "FOR SHARE"
        ),
        Lock::Exclusive => with_list!(
            tx,
            "SELECT id FROM blobs WHERE state <> 2 AND digest IN",
            "$1",
            "ORDER BY digest",
            "FOR UPDATE"
        ),
    };
    tx.rows(sql, &[(&list).into()], |_| Ok(()))
        .await
        .map(|_| ())
}

/// The same contents exclusively, read anew under the lock.
pub async fn lock(tx: &mut Tx, digests: &[Digest]) -> Result<Vec<Blob>> {
    let list = json_list(digests);
    let sql = with_list!(
        tx,
        "SELECT id, digest, generation, size, location, state FROM blobs WHERE digest IN",
        "$1",
        "AND state <> 2 ORDER BY digest",
        "FOR UPDATE"
    );
    tx.rows(sql, &[(&list).into()], read).await
}

/// The final step: from now on nobody sees these contents, and their bytes may go. Lock them first; this asks again and
/// answers those it took. One that a repository holds after all is live again.
pub async fn claim_unheld(tx: &mut Tx, ids: &[BlobId], now: Timestamp) -> Result<Vec<BlobId>> {
    let list = json_numbers(ids.iter().map(|id| id.0));
    let sql = with_numbers!(
        tx,
        "UPDATE blobs SET state = 2, state_at = $2
          WHERE +state = 1 AND NOT EXISTS (SELECT 1 FROM repository_blobs l WHERE l.blob_id = blobs.id)
            AND NOT EXISTS (SELECT 1 FROM trash_blobs t WHERE t.blob_id = blobs.id) AND id IN",
        "$1",
        "RETURNING id"
    );
    let claimed = tx
        .rows(sql, &[(&list).into(), now.into()], |row| {
            Ok(BlobId(row.int(0)?))
        })
        .await?;
    if claimed.len() < ids.len() {
        let sql = with_numbers!(
            tx,
            "UPDATE blobs SET state = CASE WHEN checked_at = 0 THEN 5 ELSE 0 END, state_at = $2 WHERE +state = 1 AND id IN",
            "$1",
            ""
        );
        tx.execute(sql, &[(&list).into(), now.into()]).await?;
    }
    // Nothing to touch: no repository held them, so nobody remembers them.
    Ok(claimed)
}

/// Contents claimed until `before` whose bytes have not gone yet, after `after`, in order of numbers.
pub async fn claimed(
    conn: &mut Conn,
    before: Timestamp,
    after: BlobId,
    limit: i64,
) -> Result<Vec<Blob>> {
    conn.rows(
        "SELECT id, digest, generation, size, location, state FROM blobs
          WHERE state = 2 AND state <> 0 AND freed_at IS NULL AND id > $1 AND state_at <= $2
          ORDER BY freed_at, id
          LIMIT $3",
        &[after.into(), before.into(), limit.into()],
        read,
    )
    .await
}

/// Their bytes have gone; the rows stay as tombstones.
pub async fn set_freed(tx: &mut Tx, ids: &[BlobId], now: Timestamp) -> Result<()> {
    let list = json_numbers(ids.iter().map(|id| id.0));
    let sql = with_numbers!(
        tx,
        // `+state`: else the index of all that is not live is read for each of them.
        "UPDATE blobs SET freed_at = $2 WHERE +state = 2 AND id IN",
        "$1",
        ""
    );
    tx.execute(sql, &[(&list).into(), now.into()])
        .await
        .map(|_| ())
}

/// Live contents that were not read again since `before`, the longest first.
pub async fn unchecked(conn: &mut Conn, before: Timestamp, limit: i64) -> Result<Vec<Blob>> {
    conn.rows(
        "SELECT id, digest, generation, size, location, state FROM blobs
          WHERE state IN (0, 4) AND checked_at < $1
          ORDER BY checked_at, id
          LIMIT $2",
        &[before.into(), limit.into()],
        read,
    )
    .await
}

/// Their bytes were read and found good, which ends a suspicion too, and makes what was adopted like all others.
pub async fn set_checked(tx: &mut Tx, ids: &[BlobId], now: Timestamp) -> Result<()> {
    let list = json_numbers(ids.iter().map(|id| id.0));
    let sql = with_numbers!(
        tx,
        "UPDATE blobs SET checked_at = $2, state = CASE WHEN state IN (4, 5) THEN 0 ELSE state END WHERE id IN",
        "$1",
        ""
    );
    tx.execute(sql, &[(&list).into(), now.into()])
        .await
        .map(|_| ())
}

/// All contents in order of numbers, after `after`, for comparing with the store.
pub async fn list(conn: &mut Conn, after: BlobId, limit: i64) -> Result<Vec<Blob>> {
    conn.rows(
        "SELECT id, digest, generation, size, location, state FROM blobs WHERE id > $1 ORDER BY id LIMIT $2",
        &[after.into(), limit.into()],
        read,
    )
    .await
}

/// Whether there is any content, going or not.
pub async fn any(conn: &mut Conn) -> Result<bool> {
    conn.exists("SELECT 1 FROM blobs WHERE id > 0 LIMIT 1", &[])
        .await
}

/// All generations of these contents, tombstones too.
pub async fn find_all(conn: &mut Conn, digests: &[Digest]) -> Result<Vec<Blob>> {
    let list = json_list(digests);
    let sql = with_list!(
        conn,
        "SELECT id, digest, generation, size, location, state FROM blobs WHERE digest IN",
        "$1",
        "ORDER BY digest, generation",
        ""
    );
    conn.rows(sql, &[(&list).into()], read).await
}

/// Those of these locations at which some content lies, going or not. Not for `data`, which every digest has.
pub async fn known_locations(conn: &mut Conn, locations: &[String]) -> Result<Vec<String>> {
    let list =
        serde_json::to_string(locations).map_err(model::error::internal("writing a list"))?;
    let sql = with_list!(
        conn,
        "SELECT DISTINCT location FROM blobs WHERE location <> 'data' AND location IN",
        "$1",
        "ORDER BY location",
        ""
    );
    conn.rows(sql, &[(&list).into()], |row| row.text(0)).await
}

/// Of the contents with numbers over `after` up to `last`, those that no repository holds although they are not condemned.
pub async fn unheld(conn: &mut Conn, after: BlobId, last: BlobId) -> Result<Vec<Blob>> {
    conn.rows(
        "SELECT id, digest, generation, size, location, state FROM blobs
          WHERE id > $1 AND id <= $2 AND state IN (0, 3, 4, 5)
            AND NOT EXISTS (SELECT 1 FROM repository_blobs l WHERE l.blob_id = blobs.id)
            AND NOT EXISTS (SELECT 1 FROM trash_blobs t WHERE t.blob_id = blobs.id)
          ORDER BY id",
        &[after.into(), last.into()],
        read,
    )
    .await
}

/// The length that its bytes really have.
pub async fn set_size(tx: &mut Tx, id: BlobId, size: u64) -> Result<()> {
    count_resized(tx, id, size).await?;
    tx.execute(
        "UPDATE blobs SET size = $2 WHERE id = $1",
        &[id.into(), (size as i64).into()],
    )
    .await?;
    tx.touch(Touch::Blobs);
    Ok(())
}

/// Takes bytes that no row knows, as if they had been claimed: whoever pushes the content from now on stores elsewhere, and
/// the collector may delete them. `None` when a row stands for them after all.
pub async fn claim_stray(
    tx: &mut Tx,
    digest: &Digest,
    location: &str,
    size: u64,
    now: Timestamp,
) -> Result<Option<Blob>> {
    lock_newest(tx, digest).await?;
    let known = find_all(tx, &[*digest]).await?;
    if known.iter().any(|blob| blob.location == location) {
        return Ok(None);
    }
    // The newest generation decides where a push stores, so a living one must stay the newest.
    let own = generation_of(location);
    let newest = known.last();
    let is_free = known.iter().all(|blob| blob.generation != own);
    let is_in_order =
        newest.is_none_or(|newest| newest.state == State::Deleting || own < newest.generation);
    let generation = if is_free && is_in_order {
        own
    } else {
        known.first().map_or(0, |first| first.generation.min(0)) - 1
    };
    let text = digest.to_string();
    tx.row(
        "INSERT INTO blobs (digest, generation, size, location, state, state_at, checked_at, created_at)
         VALUES ($1, $2, $3, $4, 2, $5, $5, $5)
         ON CONFLICT DO NOTHING
         RETURNING id, digest, generation, size, location, state",
        &[(&text).into(), generation.into(), (size as i64).into(), location.into(), now.into()],
        read,
    )
    .await
}

/// Number and bytes of the contents in each state. Reads all of them: for reports that a person asks for.
pub async fn totals(conn: &mut Conn) -> Result<Vec<(State, u64, u64)>> {
    conn.rows(
        "SELECT state, COUNT(*), CAST(COALESCE(SUM(size), 0) AS BIGINT) FROM blobs WHERE freed_at IS NULL GROUP BY state ORDER BY state",
        &[],
        |row| Ok((State::from_number(row.int(0)?)?, row.int(1)?.unsigned_abs(), row.int(2)?.unsigned_abs())),
    )
    .await
}

/// A JSON array of strings, as the list queries take it.
pub(crate) fn json_list(items: &[impl ToString]) -> String {
    let texts: Vec<String> = items.iter().map(ToString::to_string).collect();
    serde_json::Value::from(texts).to_string()
}

/// The same of numbers.
pub(crate) fn json_numbers(ids: impl IntoIterator<Item = i64>) -> String {
    serde_json::Value::from_iter(ids).to_string()
}
