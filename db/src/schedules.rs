//! What is enqueued by itself at times that people choose.

use model::{
    Error, Result,
    change::Kind as Change,
    cron::Cron,
    id::{ScheduleId, new_uid},
    job::Job,
    time::Timestamp,
};
use serde_json::json;

use crate::{
    Conn, Tx, changes,
    query::{Field, Kind, List},
    value::Row,
};

#[derive(Debug, Clone)]
pub struct Schedule {
    pub id: ScheduleId,
    /// The queue of what it enqueues, as Harbor names it.
    pub vendor: String,
    /// The policy that it belongs to; 0 for the system.
    pub subject: i64,
    pub cron: String,
    /// `Hourly`, `Daily`, `Weekly`, `Custom`, or nothing.
    pub cron_kind: String,
    /// JSON of the job.
    pub job: String,
    /// JSON of what its maker asked for, as he said it.
    pub params: String,
    pub next_at: Timestamp,
    pub created_at: Timestamp,
    pub updated_at: Timestamp,
}

fn read(row: &Row<'_>) -> Result<Schedule> {
    Ok(Schedule {
        id: ScheduleId(row.int(0)?),
        vendor: row.text(1)?,
        subject: row.int(2)?,
        cron: row.text(3)?,
        cron_kind: row.text(4)?,
        job: row.text(5)?,
        params: row.text(6)?,
        next_at: row.time(7)?,
        created_at: row.time(8)?,
        updated_at: row.time(9)?,
    })
}

/// Schedules as clients list them.
pub static LIST: List<Schedule> = List {
    table: "schedules s",
    always: "",
    joins: "",
    columns: &[
        "s.id",
        "s.vendor",
        "s.subject_id",
        "s.cron",
        "s.cron_kind",
        "s.job",
        "s.params",
        "s.next_at",
        "s.created_at",
        "s.updated_at",
    ],
    read,
    id: "s.id",
    fields: &[
        Field::new(&["id", "ID"], "s.id", Kind::Number)
            .indexed()
            .unique(),
        Field::new(&["vendor_type", "VendorType"], "s.vendor", Kind::Text).indexed(),
        Field::new(&["vendor_id", "VendorID"], "s.subject_id", Kind::Number),
        Field::new(&["update_time", "UpdateTime"], "s.updated_at", Kind::Time),
    ],
    order: &[("id", false)],
};

pub async fn find(conn: &mut Conn, vendor: &str, subject: i64) -> Result<Option<Schedule>> {
    conn.row(
        "SELECT id, vendor, subject_id, cron, cron_kind, job, params, next_at, created_at, updated_at
           FROM schedules WHERE vendor = $1 AND subject_id = $2",
        &[vendor.into(), subject.into()],
        read,
    )
    .await
}

/// What is to be enqueued, and when.
#[derive(Debug, Clone)]
pub struct New {
    pub cron: Cron,
    pub cron_kind: String,
    pub job: Job,
    pub params: serde_json::Value,
}

/// Sets the schedule of this job's queue and subject, in the place of one that is there.
pub async fn set(tx: &mut Tx, new: &New, now: Timestamp) -> Result<ScheduleId> {
    let (vendor, subject) = (new.job.kind().vendor(), new.job.subject());
    let job =
        serde_json::to_string(&new.job).map_err(model::error::internal("serialising a job"))?;
    let next = new.cron.next_after(now).ok_or_else(|| {
        Error::invalid(
            model::What::Schedule,
            format!("`{}` does not come any more", new.cron),
        )
    })?;
    let (uid, params) = (new_uid(), new.params.to_string());
    let id = tx
        .row(
            "INSERT INTO schedules (uid, vendor, subject_id, cron, cron_kind, job, params, next_at, created_at, updated_at)
             VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $9)
             ON CONFLICT (vendor, subject_id) DO UPDATE SET
                 cron = excluded.cron, cron_kind = excluded.cron_kind, job = excluded.job, params = excluded.params,
                 next_at = excluded.next_at, updated_at = excluded.updated_at
             RETURNING id",
            &[
                (&uid).into(),
                vendor.into(),
                subject.into(),
                new.cron.as_str().into(),
                (&new.cron_kind).into(),
                (&job).into(),
                (&params).into(),
                next.into(),
                now.into(),
            ],
            |row| Ok(ScheduleId(row.int(0)?)),
        )
        .await?
        .ok_or_else(|| Error::Internal(anyhow::anyhow!("an upsert gave no row")))?;
    let payload = json!({ "cron": new.cron.as_str(), "kind": new.cron_kind, "params": new.params });
    tell(tx, Change::ScheduleSet, vendor, subject, &payload, now).await?;
    tx.wake_jobs();
    Ok(id)
}

/// False when there was none.
pub async fn remove(tx: &mut Tx, vendor: &str, subject: i64, now: Timestamp) -> Result<bool> {
    let removed = tx
        .execute(
            "DELETE FROM schedules WHERE vendor = $1 AND subject_id = $2",
            &[vendor.into(), subject.into()],
        )
        .await?;
    if removed > 0 {
        tell(
            tx,
            Change::ScheduleRemoved,
            vendor,
            subject,
            &json!({}),
            now,
        )
        .await?;
    }
    Ok(removed > 0)
}

/// Whose schedule changed: policies tell of themselves.
async fn tell(
    tx: &mut Tx,
    kind: Change,
    vendor: &str,
    subject: i64,
    payload: &serde_json::Value,
    now: Timestamp,
) -> Result<()> {
    if subject != 0 {
        return Ok(());
    }
    changes::append(tx, kind, vendor, None, payload, now).await
}

/// Those that are due, the longest first.
pub async fn due(conn: &mut Conn, now: Timestamp, limit: i64) -> Result<Vec<Schedule>> {
    conn.rows(
        "SELECT id, vendor, subject_id, cron, cron_kind, job, params, next_at, created_at, updated_at
           FROM schedules WHERE next_at <= $1 ORDER BY next_at, id LIMIT $2",
        &[now.into(), limit.into()],
        read,
    )
    .await
}

/// When the next is due.
pub async fn next_due(conn: &mut Conn) -> Result<Option<Timestamp>> {
    let next = conn
        .row("SELECT MIN(next_at) FROM schedules", &[], |row| {
            row.opt_time(0)
        })
        .await?;
    Ok(next.flatten())
}

/// Notes when it is due again. False when somebody else has done so, or changed it.
pub async fn advance(tx: &mut Tx, schedule: &Schedule, next: Timestamp) -> Result<bool> {
    let moved = tx
        .execute(
            "UPDATE schedules SET next_at = $3 WHERE id = $1 AND next_at = $2",
            &[schedule.id.into(), schedule.next_at.into(), next.into()],
        )
        .await?;
    Ok(moved > 0)
}
