//! The end of a transaction that counted: which contents a project began or ceased to use, whether its quota allows it, and
//! the sums. Rows are locked in one order: quotas, contents of projects, counters, each by number.

use model::Result;
use serde_json::json;

use super::{Counter, Pending};
use crate::{Tx, blobs::json_numbers, dialect::with_numbers, quotas};

/// What PostgreSQL is sent together with the COMMIT: the contents of projects that are in use, the bytes that this adds, and
/// the sums of everything. $1: [project, content, delta], $2: [name, id, delta], $3: the slot.
pub(crate) const FLUSH: &str = "
WITH wanted AS (
    SELECT CAST(e ->> 0 AS BIGINT) AS project_id, CAST(e ->> 1 AS BIGINT) AS blob_id, CAST(e ->> 2 AS BIGINT) AS delta
      FROM json_array_elements(CAST($1 AS JSON)) AS e
), moved AS (
    INSERT INTO project_blobs (project_id, blob_id, links)
    SELECT project_id, blob_id, delta FROM wanted ORDER BY project_id, blob_id
    ON CONFLICT (project_id, blob_id) DO UPDATE SET links = project_blobs.links + excluded.links
    RETURNING project_id, blob_id, links
), sums AS (
    SELECT e ->> 0 AS name, CAST(e ->> 1 AS BIGINT) AS id, CAST(e ->> 2 AS BIGINT) AS n
      FROM json_array_elements(CAST($2 AS JSON)) AS e
     UNION ALL
    SELECT 'project.bytes', m.project_id, b.size
      FROM moved m
      JOIN wanted w ON w.project_id = m.project_id AND w.blob_id = m.blob_id
      JOIN blobs b ON b.id = m.blob_id
     WHERE m.links > 0 AND m.links - w.delta <= 0
)
INSERT INTO counters (name, id, slot, n)
SELECT name, id, $3, SUM(n) FROM sums GROUP BY name, id HAVING SUM(n) <> 0 ORDER BY name COLLATE \"C\", id
ON CONFLICT (name, id, slot) DO UPDATE SET n = counters.n + excluded.n";

/// The values of [`FLUSH`].
pub(crate) struct Flush {
    pub links: String,
    pub sums: String,
}

/// Writes what the transaction counted. On PostgreSQL the last statement is answered instead, to go with the COMMIT.
pub(crate) async fn settle(tx: &mut Tx) -> Result<Option<Flush>> {
    let mut pending = std::mem::take(&mut tx.pending);
    if pending.is_empty() {
        return Ok(None);
    }
    pending.links.retain(|_, delta| *delta != 0);
    pending.charged.retain(|_, bytes| *bytes != 0);
    drop_counters(tx, &mut pending).await?;
    let only_adds = pending.links.values().all(|delta| *delta > 0);
    if !(tx.locks_rows() && only_adds && is_unlimited(&pending)) {
        apply(tx, &mut pending).await?;
    }
    for (project, bytes) in std::mem::take(&mut pending.charged) {
        *pending.sums.entry((Counter::BYTES, project)).or_default() += bytes;
    }
    pending.sums.retain(|_, n| *n != 0);
    if pending.sums.is_empty() && pending.links.is_empty() {
        return Ok(None);
    }
    if tx.locks_rows() {
        return Ok(Some(flush(&pending)));
    }
    let sums = flush(&pending).sums;
    tx.execute(
        "INSERT INTO counters (name, id, slot, n)
         SELECT sum.value ->> 0, sum.value ->> 1, 0, sum.value ->> 2 FROM json_each($1) AS sum WHERE TRUE
         ON CONFLICT (name, id, slot) DO UPDATE SET n = n + excluded.n",
        &[(&sums).into()],
    )
    .await?;
    Ok(None)
}

fn flush(pending: &Pending) -> Flush {
    let links = pending.links.iter();
    let links = links.map(|((project, blob), delta)| json!([project, blob, delta]));
    let sums = pending.sums.iter();
    let sums = sums.map(|((name, id), n)| json!([name, id, n]));
    Flush {
        links: links.collect::<serde_json::Value>().to_string(),
        sums: sums.collect::<serde_json::Value>().to_string(),
    }
}

/// Whether no quota can be reached, as far as it was read beside something else.
fn is_unlimited(pending: &Pending) -> bool {
    let charged = pending.charged.iter().filter(|(_, bytes)| **bytes > 0);
    let charged = charged.map(|(project, _)| project);
    let mut all = charged.chain(pending.links.keys().map(|(project, _)| project));
    all.all(|project| pending.limits.get(project) == Some(&-1))
}

/// Writes which contents projects use, and checks the quotas of those that use more.
async fn apply(tx: &mut Tx, pending: &mut Pending) -> Result<()> {
    let limits = lock_limits(tx, pending).await?;
    let moved = move_links(tx, pending).await?;
    let mut is_unused = Vec::new();
    for moved in &moved {
        let before = moved.links - pending.links[&(moved.project, moved.blob)];
        let bytes = match (before > 0, moved.links > 0) {
            (false, true) => moved.size,
            (true, false) => -moved.size,
            _ => 0,
        };
        *pending.charged.entry(moved.project).or_default() += bytes;
        if moved.links <= 0 {
            is_unused.push((moved.project, moved.blob));
        }
    }
    pending.links.clear();
    forget_unused(tx, &is_unused).await?;
    for (project, bytes) in &pending.charged {
        if let Some(hard) = limits.iter().find(|(id, _)| id == project)
            && *bytes > 0
        {
            quotas::check_locked(tx, *project, hard.1, *bytes).await?;
        }
    }
    Ok(())
}

/// The limits of the projects that may come to use more, locked until the end: each sees what the one before has added.
async fn lock_limits(tx: &mut Tx, pending: &Pending) -> Result<Vec<(i64, i64)>> {
    let links = pending.links.iter().filter(|(_, delta)| **delta > 0);
    let charged = pending.charged.iter().filter(|(_, bytes)| **bytes > 0);
    let mut growing: Vec<i64> = links
        .map(|((project, _), _)| *project)
        .chain(charged.map(|(project, _)| *project))
        .filter(|project| pending.limits.get(project) != Some(&-1))
        .collect();
    growing.sort_unstable();
    growing.dedup();
    if growing.is_empty() {
        return Ok(Vec::new());
    }
    let list = json_numbers(growing);
    let sql = with_numbers!(
        tx,
        "SELECT project_id, hard FROM quotas
          WHERE hard >= 0
            AND COALESCE($2, (SELECT value FROM settings WHERE name = 'quota_per_project_enable'), 'true') <> 'false'
            AND project_id IN",
        "$1",
        "ORDER BY project_id",
        "FOR UPDATE OF quotas"
    );
    let pinned = tx.pinned("quota_per_project_enable").map(str::to_owned);
    tx.rows(sql, &[(&list).into(), (&pinned).into()], |row| {
        Ok((row.int(0)?, row.int(1)?))
    })
    .await
}

struct Moved {
    project: i64,
    blob: i64,
    links: i64,
    size: i64,
}

async fn move_links(tx: &mut Tx, pending: &Pending) -> Result<Vec<Moved>> {
    if pending.links.is_empty() {
        return Ok(Vec::new());
    }
    let list = flush(pending).links;
    let sql = if tx.locks_rows() {
        "WITH wanted AS (SELECT CAST(e ->> 0 AS BIGINT) AS project_id, CAST(e ->> 1 AS BIGINT) AS blob_id, CAST(e ->> 2 AS BIGINT) AS delta
                           FROM json_array_elements(CAST($1 AS JSON)) AS e)
         INSERT INTO project_blobs (project_id, blob_id, links)
         SELECT project_id, blob_id, delta FROM wanted ORDER BY project_id, blob_id
         ON CONFLICT (project_id, blob_id) DO UPDATE SET links = project_blobs.links + excluded.links
         RETURNING project_id, blob_id, links, (SELECT b.size FROM blobs b WHERE b.id = project_blobs.blob_id)"
    } else {
        "INSERT INTO project_blobs (project_id, blob_id, links)
         SELECT link.value ->> 0, link.value ->> 1, link.value ->> 2 FROM json_each($1) AS link WHERE TRUE
         ON CONFLICT (project_id, blob_id) DO UPDATE SET links = links + excluded.links
         RETURNING project_id, blob_id, links, (SELECT b.size FROM blobs b WHERE b.id = project_blobs.blob_id)"
    };
    tx.rows(sql, &[(&list).into()], |row| {
        Ok(Moved {
            project: row.int(0)?,
            blob: row.int(1)?,
            links: row.int(2)?,
            size: row.opt_int(3)?.unwrap_or(0),
        })
    })
    .await
}

/// By project, each list of contents.
async fn forget_unused(tx: &mut Tx, unused: &[(i64, i64)]) -> Result<()> {
    for of_project in unused.chunk_by(|one, other| one.0 == other.0) {
        let list = json_numbers(of_project.iter().map(|(_, blob)| *blob));
        let sql = with_numbers!(
            tx,
            "DELETE FROM project_blobs WHERE project_id = $2 AND links <= 0 AND blob_id IN",
            "$1",
            ""
        );
        tx.execute(sql, &[(&list).into(), of_project[0].0.into()])
            .await?;
    }
    Ok(())
}

/// Ends counters whose project or repository has gone; nothing is added to them.
async fn drop_counters(tx: &mut Tx, pending: &mut Pending) -> Result<()> {
    for (name, id) in std::mem::take(&mut pending.dropped) {
        pending.sums.remove(&(name, id));
        tx.execute(
            "DELETE FROM counters WHERE name = $1 AND id = $2",
            &[name.into(), id.into()],
        )
        .await?;
    }
    Ok(())
}
