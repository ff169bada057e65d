//! The audit: who did what, for people. What changes something stands here because it stands in `changes`; what does not
//! (somebody signs in, or fails to; pulls, many at a time) is told here by itself.

pub mod list;

use std::{net::IpAddr, sync::Arc};

use model::{Result, actor::Actor, audit::Event, id::ProjectId, time::Timestamp};
use serde_json::json;

use crate::{
    Conn, Tx,
    blobs::json_numbers,
    counters::Counter,
    cursors::Cursor,
    dialect::{settled, with_numbers},
    value::{Row, Value},
};

/// One row: an event type that is switched off leaves none. $11, $12 and $18 are what the configuration pins, else none. What is
/// kept for forwarding alone is so only while somebody is there to be forwarded to.
macro_rules! insert_audit {
    () => {
        "INSERT INTO audit (at, project_id, actor, address, event, operation, resource_type, resource, description, succeeded, forward_only)
         SELECT $1, $2, $3, $4, $5, $6, $7, $8, $9, $10,
                COALESCE($11, (SELECT value FROM settings WHERE name = 'skip_audit_log_database'), '') = 'true'
                AND COALESCE($18, (SELECT value FROM settings WHERE name = 'audit_log_forward_endpoint'), '') <> ''
           FROM (SELECT ',' || REPLACE(COALESCE($12, (SELECT value FROM settings WHERE name = 'disabled_audit_log_event_types'), ''), ' ', '') || ',' AS list) AS off
          WHERE REPLACE(off.list, ',' || $5 || ',', '') = off.list"
    };
}
pub(crate) use insert_audit;

/// What a row says beside its event.
pub(crate) struct Told {
    pub actor: Arc<Actor>,
    pub address: Option<String>,
    pub description: String,
    pub pinned: Pins,
}

/// What the configuration pins of the settings that decide about a row.
pub(crate) struct Pins {
    pub skip: Option<String>,
    pub off: Option<String>,
    pub endpoint: Option<String>,
}

impl Pins {
    fn of(tx: &Tx) -> Self {
        let pinned = |name| tx.pinned(name).map(str::to_owned);
        Self {
            skip: pinned("skip_audit_log_database"),
            off: pinned("disabled_audit_log_event_types"),
            endpoint: pinned("audit_log_forward_endpoint"),
        }
    }
}

impl Told {
    pub fn of(tx: &Tx, event: Event, resource: &str, description: Option<&str>) -> Self {
        let actor = tx.actor();
        Self {
            address: actor.address.map(|address| address.to_string()),
            actor,
            description: description.map_or_else(|| event.describe(resource), str::to_owned),
            pinned: Pins::of(tx),
        }
    }
}

/// Something that changed nothing.
#[derive(Debug, Clone)]
pub struct New {
    pub at: Timestamp,
    pub project: Option<ProjectId>,
    pub actor: String,
    pub address: Option<IpAddr>,
    pub event: Event,
    pub resource: String,
    /// What the event says of itself when none.
    pub description: Option<String>,
    pub succeeded: bool,
}

pub async fn append(tx: &mut Tx, new: &New) -> Result<()> {
    append_all(tx, std::slice::from_ref(new)).await
}

/// As [`append`], for many in one statement.
pub async fn append_all(tx: &mut Tx, all: &[New]) -> Result<()> {
    let rows: Vec<_> = all
        .iter()
        .map(|new| {
            let description = new.description.clone();
            json!({
                "at": new.at.0,
                "project_id": new.project.map(|project| project.0),
                "actor": new.actor,
                "address": new.address.map(|address| address.to_string()),
                "event": new.event.as_str(),
                "operation": new.event.operation(),
                "resource_type": new.event.resource_type(),
                "resource": new.resource,
                "description": description.unwrap_or_else(|| new.event.describe(&new.resource)),
                "succeeded": new.succeeded,
            })
        })
        .collect();
    let rows = serde_json::Value::from(rows).to_string();
    let pinned = Pins::of(tx);
    let sql = if tx.locks_rows() {
        "WITH e AS (SELECT * FROM json_to_recordset(CAST($1 AS JSON))
                     AS e(at BIGINT, project_id BIGINT, actor TEXT, address TEXT, event TEXT, operation TEXT,
                          resource_type TEXT, resource TEXT, description TEXT, succeeded BOOLEAN))
         INSERT INTO audit (at, project_id, actor, address, event, operation, resource_type, resource, description, succeeded, forward_only)
         SELECT e.at, e.project_id, e.actor, e.address, e.event, e.operation, e.resource_type, e.resource, e.description, e.succeeded,
                COALESCE($2, (SELECT value FROM settings WHERE name = 'skip_audit_log_database'), '') = 'true'
                AND COALESCE($4, (SELECT value FROM settings WHERE name = 'audit_log_forward_endpoint'), '') <> ''
           FROM e,
                (SELECT ',' || REPLACE(COALESCE($3, (SELECT value FROM settings WHERE name = 'disabled_audit_log_event_types'), ''), ' ', '') || ',' AS list) AS off
          WHERE REPLACE(off.list, ',' || e.event || ',', '') = off.list
         RETURNING project_id, forward_only"
    } else {
        "INSERT INTO audit (at, project_id, actor, address, event, operation, resource_type, resource, description, succeeded, forward_only)
         SELECT told.value ->> 'at', told.value ->> 'project_id', told.value ->> 'actor', told.value ->> 'address', told.value ->> 'event', told.value ->> 'operation',
                told.value ->> 'resource_type', told.value ->> 'resource', told.value ->> 'description', told.value ->> 'succeeded',
                COALESCE($2, (SELECT value FROM settings WHERE name = 'skip_audit_log_database'), '') = 'true'
                AND COALESCE($4, (SELECT value FROM settings WHERE name = 'audit_log_forward_endpoint'), '') <> ''
           FROM json_each($1) AS told,
                (SELECT ',' || REPLACE(COALESCE($3, (SELECT value FROM settings WHERE name = 'disabled_audit_log_event_types'), ''), ' ', '') || ',' AS list) AS off
          WHERE REPLACE(off.list, ',' || (told.value ->> 'event') || ',', '') = off.list
         RETURNING project_id, forward_only"
    };
    let values = &[
        (&rows).into(),
        (&pinned.skip).into(),
        (&pinned.off).into(),
        (&pinned.endpoint).into(),
    ];
    let written = tx.rows(sql, values, Written::read).await?;
    count(tx, &written, 1);
    Ok(())
}

/// What the totals must know of a row.
pub(crate) struct Written {
    project: Option<ProjectId>,
    forward_only: bool,
}

impl Written {
    /// Of `project_id, forward_only`.
    pub(crate) fn read(row: &Row<'_>) -> Result<Self> {
        Ok(Self {
            project: row.opt_int(0)?.map(ProjectId),
            forward_only: row.bool(1)?,
        })
    }
}

/// So many more of these rows: lists tell how long they are by counters.
pub(crate) fn count(tx: &mut Tx, rows: &[Written], each: i64) {
    for row in rows.iter().filter(|row| !row.forward_only) {
        tx.count(Counter::Audit(None), each);
        if row.project.is_some() {
            tx.count(Counter::Audit(row.project), each);
        }
    }
}

/// A row as it was written.
#[derive(Debug, Clone)]
pub struct Entry {
    pub cursor: Cursor,
    pub at: Timestamp,
    pub project: Option<ProjectId>,
    pub actor: String,
    pub address: Option<String>,
    pub event: String,
    pub operation: String,
    pub resource_type: String,
    pub resource: String,
    pub description: Option<String>,
    pub succeeded: bool,
    /// It is not shown, and goes once it was forwarded.
    pub forward_only: bool,
}

fn read(row: &Row<'_>) -> Result<Entry> {
    Ok(Entry {
        cursor: Cursor {
            tx: row.int(0)?,
            id: row.int(1)?,
        },
        at: row.time(2)?,
        project: row.opt_int(3)?.map(ProjectId),
        actor: row.text(4)?,
        address: row.opt_text(5)?,
        event: row.text(6)?,
        operation: row.text(7)?,
        resource_type: row.text(8)?,
        resource: row.text(9)?,
        description: row.opt_text(10)?,
        succeeded: row.bool(11)?,
        forward_only: row.bool(12)?,
    })
}

/// What follows a place, in the order in which everybody reads it.
pub async fn after(conn: &mut Conn, cursor: Cursor, limit: i64) -> Result<Vec<Entry>> {
    let sql = settled!(
        conn,
        "SELECT tx, id, at, project_id, actor, address, event, operation, resource_type, resource, description, succeeded, forward_only
           FROM audit
          WHERE (tx, id) > ($1, $2)",
        "ORDER BY tx, id LIMIT $3"
    );
    conn.rows(
        sql,
        &[cursor.tx.into(), cursor.id.into(), limit.into()],
        read,
    )
    .await
}

/// The place after all that is settled, where a reader begins that wants nothing of the past.
pub async fn end(conn: &mut Conn) -> Result<Cursor> {
    let sql = settled!(
        conn,
        "SELECT tx, id FROM audit WHERE tx >= 0",
        "ORDER BY tx DESC, id DESC LIMIT 1"
    );
    let last = conn.row(sql, &[], |row| {
        Ok(Cursor {
            tx: row.int(0)?,
            id: row.int(1)?,
        })
    });
    Ok(last.await?.unwrap_or_default())
}

/// Forgets those of these rows that were kept for forwarding alone.
pub async fn forget_forwarded(tx: &mut Tx, ids: &[i64]) -> Result<u64> {
    let list = json_numbers(ids.iter().copied());
    let sql = with_numbers!(
        tx,
        "DELETE FROM audit WHERE forward_only AND id IN",
        "$1",
        ""
    );
    tx.execute(sql, &[(&list).into()]).await
}

/// Whether rows are kept that are to be forwarded and then to go.
pub async fn has_unsent(conn: &mut Conn) -> Result<bool> {
    conn.exists(
        "SELECT id FROM audit WHERE forward_only ORDER BY id LIMIT 1",
        &[],
    )
    .await
}

/// Shows up to `limit` rows that were kept for forwarding alone, since nobody is there any more to be forwarded to; answers how
/// many they were.
pub async fn show_unsent(tx: &mut Tx, limit: i64) -> Result<u64> {
    let shown = tx
        .rows(
            "UPDATE audit SET forward_only = FALSE
              WHERE forward_only AND id IN (SELECT id FROM audit WHERE forward_only ORDER BY id LIMIT $1)
             RETURNING project_id, forward_only",
            &[limit.into()],
            Written::read,
        )
        .await?;
    count(tx, &shown, 1);
    Ok(shown.len() as u64)
}

/// What should go.
#[derive(Debug, Clone)]
pub struct Purge {
    pub before: Timestamp,
    /// Those of these types alone; all when empty.
    pub events: Vec<Event>,
    /// A reader that stands here has still to read what follows.
    pub read_until: Option<Cursor>,
    /// Counts and deletes nothing.
    pub dry_run: bool,
}

/// One batch: how many went, and where the next one begins.
#[derive(Debug, Clone, Copy)]
pub struct Purged {
    pub gone: u64,
    pub next: Option<(Timestamp, i64)>,
}

/// Looks at up to `limit` rows, the oldest first, and drops those that should go. Begin with the next batch at what the one
/// before says.
pub async fn trim(
    tx: &mut Tx,
    purge: &Purge,
    begin: (Timestamp, i64),
    limit: i64,
) -> Result<Purged> {
    let rows = tx
        .rows(
            "SELECT at, id, tx, event FROM audit WHERE (at, id) > ($1, $2) AND at < $3 ORDER BY at, id LIMIT $4",
            &[begin.0.into(), begin.1.into(), purge.before.into(), limit.into()],
            |row| {
                let cursor = Cursor { tx: row.int(2)?, id: row.int(1)? };
                Ok((row.time(0)?, cursor, row.text(3)?))
            },
        )
        .await?;
    let is_full = rows.len() as i64 == limit;
    let next = rows.last().filter(|_| is_full);
    let next = next.map(|(at, cursor, _)| (*at, cursor.id));
    let going: Vec<i64> = rows
        .iter()
        .filter(|(_, cursor, event)| {
            let is_read = purge.read_until.is_none_or(|until| *cursor <= until);
            let is_meant =
                purge.events.is_empty() || purge.events.iter().any(|one| one.as_str() == event);
            is_read && is_meant
        })
        .map(|(_, cursor, _)| cursor.id)
        .collect();
    let gone = going.len() as u64;
    if gone > 0 && !purge.dry_run {
        let list = json_numbers(going);
        let sql = with_numbers!(
            tx,
            "DELETE FROM audit WHERE id IN",
            "$1",
            "RETURNING project_id, forward_only"
        );
        let gone = tx.rows(sql, &[(&list).into()], Written::read).await?;
        count(tx, &gone, -1);
    }
    Ok(Purged { gone, next })
}

/// A name that goes.
#[derive(Debug, Clone)]
pub struct Rename {
    pub from: String,
    pub to: String,
    /// Only where somebody failed to sign in under it: what people type there may be another's name elsewhere.
    pub of_failed_logins: bool,
    /// Rows that are younger speak of somebody else.
    pub until: Timestamp,
}

impl Rename {
    fn values(&self, after: i64, last: i64) -> [Value<'_>; 5] {
        [
            (&self.from).into(),
            (&self.to).into(),
            after.into(),
            last.into(),
            self.until.into(),
        ]
    }
}

/// One batch: how many rows were changed, and after which the next one begins.
#[derive(Debug, Clone, Copy)]
pub struct Renamed {
    pub changed: u64,
    pub next: Option<i64>,
}

/// Looks at up to `limit` rows after one, and puts another name where a user's stands: as who did it, as whom it was done to,
/// and as a member of a project.
pub async fn rename(tx: &mut Tx, rename: &Rename, after: i64, limit: i64) -> Result<Renamed> {
    let ids = tx
        .rows(
            "SELECT id FROM audit WHERE id > $1 ORDER BY id LIMIT $2",
            &[after.into(), limit.into()],
            |row| row.int(0),
        )
        .await?;
    let Some(&last) = ids.last() else {
        return Ok(Renamed {
            changed: 0,
            next: None,
        });
    };
    if rename.of_failed_logins {
        let sql = "UPDATE audit SET actor = $2, resource = $2, description = operation || ' ' || resource_type || ': ' || $2
                    WHERE id > $3 AND id <= $4 AND at <= $5 AND event = 'login_user' AND NOT succeeded AND actor = $1";
        let changed = tx.execute(sql, &rename.values(after, last)).await?;
        return Ok(Renamed {
            changed,
            next: (ids.len() as i64 == limit).then_some(last),
        });
    }
    let mut changed = 0;
    for sql in [
        "UPDATE audit SET actor = $2
          WHERE id > $3 AND id <= $4 AND at <= $5 AND actor = $1",
        "UPDATE audit SET resource = $2, description = operation || ' ' || resource_type || ': ' || $2
          WHERE id > $3 AND id <= $4 AND at <= $5 AND resource_type = 'user' AND resource = $1",
        "UPDATE audit SET
             resource    = SUBSTR(resource, 1, LENGTH(resource) - LENGTH($1)) || $2,
             description = operation || ' ' || resource_type || ': ' || SUBSTR(resource, 1, LENGTH(resource) - LENGTH($1)) || $2
          WHERE id > $3 AND id <= $4 AND at <= $5 AND resource_type = 'member'
            AND SUBSTR(resource, LENGTH(resource) - LENGTH($1)) = '/' || $1",
    ] {
        changed += tx.execute(sql, &rename.values(after, last)).await?;
    }
    Ok(Renamed {
        changed,
        next: (ids.len() as i64 == limit).then_some(last),
    })
}
