//! Groups of people. Who is in one, another system says when he signs in; as members of projects they have a role.

use model::{
    Error, Result, What,
    change::Kind,
    id::{GroupId, new_uid},
    time::Timestamp,
};
use serde_json::json;

use crate::{
    Conn, Tx, changes,
    dialect::{contains, locking},
    errors,
    generations::Touch,
    value::Row,
};

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Group {
    pub id: GroupId,
    pub uid: String,
    /// Unique over all kinds.
    pub name: String,
    pub kind: GroupKind,
    /// The distinguished name in the directory, in small letters; only where the kind is LDAP.
    pub ldap_dn: Option<String>,
}

/// Which system says who is in it. The numbers are Harbor's.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum GroupKind {
    Ldap = 1,
    Http = 2,
    Oidc = 3,
}

impl GroupKind {
    pub fn number(self) -> i64 {
        self as i64
    }

    pub fn from_number(number: i64) -> Option<Self> {
        [Self::Ldap, Self::Http, Self::Oidc]
            .into_iter()
            .find(|kind| kind.number() == number)
    }
}

/// Which groups a list is about.
#[derive(Debug, Clone, Copy, Default)]
pub struct Filter<'a> {
    /// Part of the name, whatever the size of its letters.
    pub name: &'a str,
    pub kind: Option<GroupKind>,
    pub ldap_dn: Option<&'a str>,
}

fn read(row: &Row<'_>) -> Result<Group> {
    let kind = row.int(3)?;
    Ok(Group {
        id: GroupId(row.int(0)?),
        uid: row.text(1)?,
        name: row.text(2)?,
        kind: GroupKind::from_number(kind).ok_or_else(|| {
            Error::Internal(anyhow::anyhow!(
                "unknown kind of group {kind} in the database"
            ))
        })?,
        ldap_dn: row.opt_text(4)?,
    })
}

pub async fn find(conn: &mut Conn, id: GroupId) -> Result<Option<Group>> {
    conn.row(
        "SELECT id, uid, name, kind, ldap_dn FROM user_groups WHERE id = $1",
        &[id.into()],
        read,
    )
    .await
}

pub async fn get(conn: &mut Conn, id: GroupId) -> Result<Group> {
    find(conn, id).await?.ok_or_else(|| not_found(id))
}

/// In order of names.
pub async fn list(
    conn: &mut Conn,
    filter: Filter<'_>,
    offset: i64,
    limit: i64,
) -> Result<Vec<Group>> {
    let pattern = contains(filter.name);
    conn.rows(
        "SELECT id, uid, name, kind, ldap_dn FROM user_groups
          WHERE LOWER(name) LIKE $1 ESCAPE '!'
            AND ($2 = 0 OR kind = $2)
            AND (CAST($3 AS TEXT) IS NULL OR ldap_dn = $3)
          ORDER BY name
          LIMIT $4 OFFSET $5",
        &[
            (&pattern).into(),
            filter.kind.map_or(0, GroupKind::number).into(),
            filter.ldap_dn.into(),
            limit.into(),
            offset.into(),
        ],
        read,
    )
    .await
}

/// The shortest names first: what fits best.
pub async fn search(conn: &mut Conn, name: &str, limit: i64) -> Result<Vec<Group>> {
    conn.rows(
        "SELECT id, uid, name, kind, ldap_dn FROM user_groups
          WHERE LOWER(name) LIKE $1 ESCAPE '!'
          ORDER BY LENGTH(name), name
          LIMIT $2",
        &[(&contains(name)).into(), limit.into()],
        read,
    )
    .await
}

pub async fn count(conn: &mut Conn, filter: Filter<'_>) -> Result<i64> {
    let count = conn
        .row(
            "SELECT COUNT(*) FROM user_groups
              WHERE LOWER(name) LIKE $1 ESCAPE '!'
                AND ($2 = 0 OR kind = $2)
                AND (CAST($3 AS TEXT) IS NULL OR ldap_dn = $3)",
            &[
                (&contains(filter.name)).into(),
                filter.kind.map_or(0, GroupKind::number).into(),
                filter.ldap_dn.into(),
            ],
            |row| row.int(0),
        )
        .await?;
    Ok(count.unwrap_or(0))
}

pub async fn insert(
    tx: &mut Tx,
    name: &str,
    kind: GroupKind,
    ldap_dn: Option<&str>,
    now: Timestamp,
) -> Result<GroupId> {
    let uid = new_uid();
    let id = tx
        .row(
            "INSERT INTO user_groups (uid, name, kind, ldap_dn, created_at, updated_at)
             VALUES ($1, $2, $3, $4, $5, $5)
             ON CONFLICT DO NOTHING
             RETURNING id",
            &[
                (&uid).into(),
                name.into(),
                kind.number().into(),
                ldap_dn.into(),
                now.into(),
            ],
            |row| row.int(0),
        )
        .await?
        .ok_or_else(|| taken(name))?;
    let payload = json!({ "uid": uid, "kind": kind.number(), "ldap_dn": ldap_dn });
    changes::append(tx, Kind::GroupCreated, name, None, &payload, now).await?;
    Ok(GroupId(id))
}

pub async fn rename(tx: &mut Tx, group: &Group, name: &str, now: Timestamp) -> Result<()> {
    let renamed = tx
        .execute(
            "UPDATE user_groups SET name = $2, updated_at = $3 WHERE id = $1",
            &[group.id.into(), name.into(), now.into()],
        )
        .await
        .map_err(|error| {
            if errors::is_taken(&error) {
                return taken(name);
            }
            error
        })?;
    if renamed == 0 {
        return Err(not_found(group.id));
    }
    let payload = json!({ "uid": group.uid, "name": name });
    changes::append(tx, Kind::GroupUpdated, &group.name, None, &payload, now).await
}

/// Its memberships end with it.
pub async fn delete(tx: &mut Tx, group: &Group, now: Timestamp) -> Result<()> {
    // Whoever makes the group a member holds the row FOR SHARE: that is over now, or finds the group gone.
    let sql = locking!(tx, "SELECT 1 FROM user_groups WHERE id = $1", "FOR UPDATE");
    if !tx.exists(sql, &[group.id.into()]).await? {
        return Err(not_found(group.id));
    }
    tx.execute(
        "DELETE FROM members WHERE group_id = $1",
        &[group.id.into()],
    )
    .await?;
    tx.execute("DELETE FROM user_groups WHERE id = $1", &[group.id.into()])
        .await?;
    tx.touch(Touch::Rights);
    let payload = json!({ "uid": group.uid });
    changes::append(tx, Kind::GroupDeleted, &group.name, None, &payload, now).await
}

fn taken(name: &str) -> Error {
    Error::Conflict(format!(
        "a user group with the name `{name}` already exists"
    ))
}

fn not_found(id: GroupId) -> Error {
    Error::not_found(
        What::Group,
        format!("the user group with id {id} is not found"),
    )
}
