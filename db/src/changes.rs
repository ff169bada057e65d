//! The change log: what happened, in order, written in the transaction that made it happen, and with it what the audit tells
//! people. One statement on PostgreSQL, where each is a round trip.

use model::{Result, audit::Event, change::Kind, id::ProjectId, time::Timestamp};
use serde_json::Value as Json;

use crate::{
    Conn, Tx, audit, cursors::Cursor, dialect::settled, failover::Acknowledged, value::Row,
};

/// One row of the log.
#[derive(Debug, Clone)]
pub struct Change {
    pub cursor: Cursor,
    pub id: i64,
    pub origin: String,
    pub clock: i64,
    pub kind: String,
    /// Names the thing in words that mean the same on every node.
    pub key: String,
    pub payload: String,
    pub at: Timestamp,
}

/// A change, and what the audit says of it when that is not what its kind says.
pub(crate) struct New<'a> {
    pub kind: Kind,
    pub key: &'a str,
    pub project: Option<ProjectId>,
    pub payload: &'a Json,
    /// The reading that the changed row itself carries.
    pub clock: Option<i64>,
    /// None when something else tells of it.
    pub event: Option<Event>,
    pub resource: &'a str,
    pub description: Option<&'a str>,
}

impl<'a> New<'a> {
    pub fn of(kind: Kind, key: &'a str, project: Option<ProjectId>, payload: &'a Json) -> Self {
        Self {
            kind,
            key,
            project,
            payload,
            clock: None,
            event: Some(kind.audit()),
            resource: key,
            description: None,
        }
    }
}

/// Tells of a change, to those who follow and in the audit: `project` is the one it belongs to, in whose audit it stands.
pub async fn append(
    tx: &mut Tx,
    kind: Kind,
    key: &str,
    project: Option<ProjectId>,
    payload: &Json,
    now: Timestamp,
) -> Result<()> {
    append_new(tx, &New::of(kind, key, project, payload), now).await
}

macro_rules! insert_change {
    () => {
        "INSERT INTO changes (origin, clock, kind, key, payload, at) VALUES ($13, $14, $15, $16, $17, $1)"
    };
}

pub(crate) async fn append_new(tx: &mut Tx, new: &New<'_>, now: Timestamp) -> Result<()> {
    let clock = new.clock.unwrap_or_else(|| tx.tick(now));
    let (origin, payload) = (tx.node(), new.payload.to_string());
    tx.note(|| Acknowledged {
        clock,
        kind: new.kind,
        key: new.key.to_owned(),
        at: now,
    });
    let event = new.event.unwrap_or(new.kind.audit());
    let told = audit::Told::of(tx, event, new.resource, new.description);
    let values = [
        now.into(),
        new.project.into(),
        told.actor.name.as_str().into(),
        (&told.address).into(),
        event.as_str().into(),
        event.operation().into(),
        event.resource_type().into(),
        new.resource.into(),
        told.description.as_str().into(),
        true.into(),
        (&told.pinned.skip).into(),
        (&told.pinned.off).into(),
        (&*origin).into(),
        clock.into(),
        new.kind.as_str().into(),
        new.key.into(),
        (&payload).into(),
        (&told.pinned.endpoint).into(),
    ];
    let written = match (new.event, tx.locks_rows()) {
        (None, _) => {
            tx.execute(insert_change!(), &values).await?;
            return Ok(());
        }
        (Some(_), true) => {
            let sql = concat!(
                "WITH change AS (",
                insert_change!(),
                ") ",
                audit::insert_audit!(),
                " RETURNING project_id, forward_only"
            );
            tx.rows(sql, &values, audit::Written::read).await?
        }
        (Some(_), false) => {
            tx.execute(insert_change!(), &values).await?;
            let sql = concat!(
                audit::insert_audit!(),
                " RETURNING project_id, forward_only"
            );
            tx.rows(sql, &values, audit::Written::read).await?
        }
    };
    audit::count(tx, &written, 1);
    Ok(())
}

fn read(row: &Row<'_>) -> Result<Change> {
    let id = row.int(0)?;
    Ok(Change {
        cursor: Cursor {
            tx: row.int(7)?,
            id,
        },
        id,
        origin: row.text(1)?,
        clock: row.int(2)?,
        kind: row.text(3)?,
        key: row.text(4)?,
        payload: row.text(5)?,
        at: row.time(6)?,
    })
}

/// What follows a place, in the order in which everybody reads it.
pub async fn after(conn: &mut Conn, cursor: Cursor, limit: i64) -> Result<Vec<Change>> {
    let sql = settled!(
        conn,
        "SELECT id, origin, clock, kind, key, payload, at, tx FROM changes WHERE (tx, id) > ($1, $2)",
        "ORDER BY tx, id LIMIT $3"
    );
    conn.rows(
        sql,
        &[cursor.tx.into(), cursor.id.into(), limit.into()],
        read,
    )
    .await
}

/// The newest rows first; `before` pages back.
pub async fn list(conn: &mut Conn, before: Option<i64>, limit: i64) -> Result<Vec<Change>> {
    conn.rows(
        "SELECT id, origin, clock, kind, key, payload, at, tx FROM changes WHERE id < $1 ORDER BY id DESC LIMIT $2",
        &[before.unwrap_or(i64::MAX).into(), limit.into()],
        read,
    )
    .await
}

/// The greatest clock reading of the last changes, so that a restarted node goes on from there.
pub(crate) async fn newest_clock(conn: &mut Conn) -> Result<i64> {
    let newest = conn
        .row("SELECT COALESCE(MAX(clock), 0) FROM (SELECT clock FROM changes ORDER BY id DESC LIMIT 1000) AS last", &[], |row| row.int(0))
        .await?;
    Ok(newest.unwrap_or(0))
}

/// Drops up to `limit` rows older than `before`; answers how many went.
pub async fn trim(tx: &mut Tx, before: Timestamp, limit: i64) -> Result<u64> {
    tx.execute(
        "DELETE FROM changes WHERE id IN (SELECT id FROM changes WHERE at < $1 ORDER BY at LIMIT $2)",
        &[before.into(), limit.into()],
    )
    .await
}
