//! What jobs tell while they run: bounded rows that any node can read.

use model::{Result, id::JobId, time::Timestamp};

use crate::{Conn, Tx};

/// Rows that a job's log may have; whoever writes them counts.
pub const MAX_LOG_LINES: i64 = 10_000;
/// Bytes of a row, which may hold several lines; what is longer is cut.
pub const MAX_LOG_LINE: usize = 4096;

/// One line of a job's log, or several that were told at once.
#[derive(Debug, Clone)]
pub struct LogLine {
    pub id: i64,
    pub at: Timestamp,
    pub text: String,
}

/// Adds lines to a job's log. False when the job belongs to another attempt now.
pub async fn log(
    tx: &mut Tx,
    id: JobId,
    attempt: i64,
    lines: &[impl AsRef<str> + Sync],
) -> Result<bool> {
    let now = tx.now().await?;
    for line in lines {
        let line = line.as_ref();
        let line = &line[..line.floor_char_boundary(MAX_LOG_LINE)];
        let written = tx
            .execute(
                "INSERT INTO job_logs (job_id, attempt, at, line)
                 SELECT $1, $2, $3, $4 WHERE EXISTS (SELECT 1 FROM jobs WHERE id = $1 AND attempt = $2 AND state = 'running')",
                &[id.into(), attempt.into(), now.into(), line.into()],
            )
            .await?;
        if written == 0 {
            return Ok(false);
        }
    }
    Ok(true)
}

/// How many rows a job's log has.
pub async fn count_logs(conn: &mut Conn, id: JobId) -> Result<i64> {
    let count = conn
        .row(
            "SELECT COUNT(*) FROM job_logs WHERE job_id = $1",
            &[id.into()],
            |row| row.int(0),
        )
        .await?;
    Ok(count.unwrap_or(0))
}

/// Lines of a job's log after the one with number `after`.
pub async fn logs(conn: &mut Conn, id: JobId, after: i64, limit: i64) -> Result<Vec<LogLine>> {
    conn.rows(
        "SELECT id, at, line FROM job_logs WHERE job_id = $1 AND id > $2 ORDER BY id LIMIT $3",
        &[id.into(), after.into(), limit.into()],
        |row| {
            Ok(LogLine {
                id: row.int(0)?,
                at: row.time(1)?,
                text: row.text(2)?,
            })
        },
    )
    .await
}
