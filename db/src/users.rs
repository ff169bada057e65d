//! People. A deleted user's row stays, so that its number is never given again.

use std::time::Duration;

use model::{
    Error, Result, What,
    change::Kind,
    id::{UserId, new_uid},
    job::Job,
    name::UserName,
    time::Timestamp,
};
use serde_json::json;

use crate::{
    Conn, Tx, changes,
    dialect::{contains, locking},
    errors,
    generations::Touch,
    jobs, password_resets,
    query::{Field, Kind as Of, List, Within},
    sessions,
    value::Row,
};

/// The administrator that every registry has from its first start, as with Harbor.
pub const FIRST: UserId = UserId(1);

#[derive(Debug, Clone)]
pub struct User {
    pub id: UserId,
    pub uid: String,
    pub name: String,
    pub email: Option<String>,
    pub realname: Option<String>,
    pub comment: Option<String>,
    /// A PHC string, or Harbor's hash in our notation (see `auth::password`); none for people who sign in elsewhere.
    pub password: Option<String>,
    pub admin: bool,
    /// Raised by every change of name, password or rights, so that tokens, sessions and what was remembered about the user end.
    pub version: i64,
    pub created_at: Timestamp,
    pub updated_at: Timestamp,
}

#[derive(Debug, Clone)]
pub struct NewUser {
    pub name: UserName,
    pub email: Option<String>,
    pub realname: Option<String>,
    pub comment: Option<String>,
    pub password: Option<String>,
    pub admin: bool,
}

/// What people tell about themselves.
#[derive(Debug, Clone)]
pub struct Profile {
    pub email: Option<String>,
    pub realname: Option<String>,
    pub comment: Option<String>,
}

fn read(row: &Row<'_>) -> Result<User> {
    Ok(User {
        id: UserId(row.int(0)?),
        uid: row.text(1)?,
        name: row.text(2)?,
        email: row.opt_text(3)?,
        realname: row.opt_text(4)?,
        password: row.opt_text(5)?,
        admin: row.bool(6)?,
        version: row.int(7)?,
        created_at: row.time(8)?,
        comment: row.opt_text(9)?,
        updated_at: row.time(10)?,
    })
}

pub async fn find(conn: &mut Conn, id: UserId) -> Result<Option<User>> {
    conn.row(
        "SELECT id, uid, name, email, realname, password, admin, version, created_at, comment, updated_at FROM users WHERE id = $1 AND deleted_at IS NULL",
        &[id.into()],
        read,
    )
    .await
}

/// Whether anybody has an account beside the first administrator.
pub async fn is_somebody_beside_admin(conn: &mut Conn) -> Result<bool> {
    conn.exists(
        "SELECT 1 FROM users WHERE id > 1 AND deleted_at IS NULL LIMIT 1",
        &[],
    )
    .await
}

/// By user name, or else by e-mail address, as Harbor lets people sign in.
pub async fn find_login(conn: &mut Conn, login: &str) -> Result<Option<User>> {
    if login.contains('\0') {
        return Ok(None); // PostgreSQL would refuse to look for it
    }
    // Two queries: asked for either at once, SQLite reads all names.
    if let Some(user) = find_name(conn, login).await? {
        return Ok(Some(user));
    }
    conn.row(
        "SELECT id, uid, name, email, realname, password, admin, version, created_at, comment, updated_at FROM users WHERE email = $1 AND deleted_at IS NULL",
        &[login.into()],
        read,
    )
    .await
}

pub async fn find_name(conn: &mut Conn, name: &str) -> Result<Option<User>> {
    conn.row(
        "SELECT id, uid, name, email, realname, password, admin, version, created_at, comment, updated_at FROM users WHERE name = $1 AND deleted_at IS NULL",
        &[name.into()],
        read,
    )
    .await
}

pub async fn get_name(conn: &mut Conn, name: &str) -> Result<User> {
    find_name(conn, name)
        .await?
        .ok_or_else(|| Error::not_found(What::User, format!("user `{name}` not found")))
}

/// The administrator with the least number, who owns what no person owns.
pub async fn first_admin(conn: &mut Conn) -> Result<Option<UserId>> {
    conn.row(
        "SELECT id FROM users WHERE admin AND deleted_at IS NULL ORDER BY id LIMIT 1",
        &[],
        |row| Ok(UserId(row.int(0)?)),
    )
    .await
}

/// In order of names, after `after`.
pub async fn list(conn: &mut Conn, after: &str, limit: i64) -> Result<Vec<User>> {
    conn.rows(
        "SELECT id, uid, name, email, realname, password, admin, version, created_at, comment, updated_at FROM users
          WHERE deleted_at IS NULL AND name > $1
          ORDER BY name
          LIMIT $2",
        &[after.into(), limit.into()],
        read,
    )
    .await
}

/// Whether nobody is there yet. Then the first user is made in this transaction, and he and the first project are number 1,
/// whatever numbers earlier starts used up that came to nothing: PostgreSQL does not take those back.
pub async fn is_first(tx: &mut Tx) -> Result<bool> {
    if tx.locks_rows() {
        // Of several nodes that start at once one is first: the others wait here.
        tx.batch("LOCK TABLE users IN SHARE ROW EXCLUSIVE MODE")
            .await?;
    }
    if tx.exists("SELECT 1 FROM users LIMIT 1", &[]).await? {
        return Ok(false);
    }
    if tx.locks_rows() {
        tx.batch(
            "ALTER TABLE users ALTER COLUMN id RESTART WITH 1;
             ALTER TABLE projects ALTER COLUMN id RESTART WITH 1",
        )
        .await?;
    }
    Ok(true)
}

pub async fn insert(tx: &mut Tx, new: &NewUser, now: Timestamp) -> Result<UserId> {
    let uid = new_uid();
    // Versions begin with the time: a replica that takes over without the last commits gives their numbers again, and what was signed for
    // the user before must not hold for the next.
    let id = tx
        .row(
            "INSERT INTO users (uid, name, email, realname, password, admin, created_at, updated_at, comment, version)
             VALUES ($1, $2, $3, $4, $5, $6, $7, $7, $8, $7)
             ON CONFLICT DO NOTHING
             RETURNING id",
            &[
                (&uid).into(),
                new.name.as_str().into(),
                (&new.email).into(),
                (&new.realname).into(),
                (&new.password).into(),
                new.admin.into(),
                now.into(),
                (&new.comment).into(),
            ],
            |row| row.int(0),
        )
        .await?
        .ok_or_else(|| Error::Conflict(format!("a user with the name `{}` or its e-mail address already exists", new.name)))?;
    tx.touch(Touch::Rights);
    let payload = json!({ "uid": uid, "email": new.email, "admin": new.admin });
    let kind = Kind::UserCreated;
    changes::append(tx, kind, new.name.as_str(), None, &payload, now).await?;
    Ok(UserId(id))
}

/// Replaces the password hash. The user's version rises, so remembered checks of the old password end, tokens and sessions too.
pub async fn set_password(tx: &mut Tx, user: &User, password: &str, now: Timestamp) -> Result<()> {
    sessions::delete_of(tx, user.id).await?;
    password_resets::delete_of(tx, user.id).await?;
    update(
        tx,
        user,
        "UPDATE users SET password = $2, version = version + 1, updated_at = $3 WHERE id = $1 AND deleted_at IS NULL",
        password.into(),
        now,
    )
    .await
}

pub async fn set_admin(tx: &mut Tx, user: &User, admin: bool, now: Timestamp) -> Result<()> {
    update(
        tx,
        user,
        "UPDATE users SET admin = $2, version = version + 1, updated_at = $3 WHERE id = $1 AND deleted_at IS NULL",
        admin.into(),
        now,
    )
    .await
}

async fn update(
    tx: &mut Tx,
    user: &User,
    sql: &'static str,
    value: crate::value::Value<'_>,
    now: Timestamp,
) -> Result<()> {
    let updated = tx
        .execute(sql, &[user.id.into(), value, now.into()])
        .await?;
    if updated == 0 {
        return Err(not_found(&user.name));
    }
    told(tx, user, now).await
}

async fn told(tx: &mut Tx, user: &User, now: Timestamp) -> Result<()> {
    tx.touch(Touch::Rights);
    let payload = json!({ "uid": user.uid });
    changes::append(tx, Kind::UserUpdated, &user.name, None, &payload, now).await
}

/// What changes here proves nothing, so tokens and sessions go on.
pub async fn set_profile(
    tx: &mut Tx,
    user: &User,
    profile: &Profile,
    now: Timestamp,
) -> Result<()> {
    let updated = tx
        .execute(
            "UPDATE users SET email = $2, realname = $3, comment = $4, updated_at = $5 WHERE id = $1 AND deleted_at IS NULL",
            &[
                user.id.into(),
                (&profile.email).into(),
                (&profile.realname).into(),
                (&profile.comment).into(),
                now.into(),
            ],
        )
        .await
        .map_err(|error| taken(error, &user.name))?;
    if updated == 0 {
        return Err(not_found(&user.name));
    }
    told(tx, user, now).await
}

pub async fn rename(tx: &mut Tx, user: &User, name: &UserName, now: Timestamp) -> Result<()> {
    let sql = "UPDATE users SET name = $2, version = version + 1, updated_at = $3 WHERE id = $1 AND deleted_at IS NULL";
    update(tx, user, sql, name.as_str().into(), now)
        .await
        .map_err(|error| taken(error, name.as_str()))
}

/// Somebody else has the name or the e-mail address.
fn taken(error: Error, name: &str) -> Error {
    if errors::is_taken(&error) {
        return Error::Conflict(format!(
            "a user with the name `{name}` or its e-mail address already exists"
        ));
    }
    error
}

/// Makes sure that a user is there and stays until the transaction ends.
pub(crate) async fn hold(tx: &mut Tx, user: &User) -> Result<()> {
    let sql = locking!(
        tx,
        "SELECT 1 FROM users WHERE id = $1 AND deleted_at IS NULL",
        "FOR SHARE"
    );
    if tx.exists(sql, &[user.id.into()]).await? {
        return Ok(());
    }
    Err(not_found(&user.name))
}

/// What of a deleted user does not stay.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Forget {
    /// Name, e-mail address and real name in his row.
    pub account: bool,
    /// His name in the audit.
    pub audit: bool,
}

/// Beside [`delete`], in its transaction: a job puts a hash in the place of what does not stay.
pub async fn forget(tx: &mut Tx, user: &User, what: Forget, now: Timestamp) -> Result<()> {
    if what == Forget::default() {
        return Ok(());
    }
    let job = Job::ForgetUser {
        user: user.id.0,
        account: what.account,
        audit: what.audit,
    };
    jobs::enqueue(tx, &job, now.plus(TOLD_LATER), now)
        .await
        .map(|_| ())
}

/// What somebody did just before is told to the audit within this time.
const TOLD_LATER: Duration = Duration::from_secs(10);

/// What is left of somebody.
#[derive(Debug, Clone)]
pub struct Deleted {
    pub uid: String,
    pub name: String,
    pub email: Option<String>,
    pub deleted_at: Timestamp,
}

impl Deleted {
    /// No user's name has a `#` in it.
    pub fn is_forgotten(&self, id: UserId) -> bool {
        self.name.ends_with(&format!("#{}", id.0))
    }
}

pub async fn find_deleted(conn: &mut Conn, id: UserId) -> Result<Option<Deleted>> {
    conn.row(
        "SELECT uid, name, deleted_at, email FROM users WHERE id = $1 AND deleted_at IS NOT NULL",
        &[id.into()],
        |row| {
            Ok(Deleted {
                uid: row.text(0)?,
                name: row.text(1)?,
                deleted_at: row.time(2)?,
                email: row.opt_text(3)?,
            })
        },
    )
    .await
}

/// Whether somebody else, also one who was deleted, has this as his name or his address.
pub async fn is_anothers(conn: &mut Conn, name: &str, than: UserId) -> Result<bool> {
    conn.exists(
        "SELECT 1 FROM users WHERE id <> $2 AND (name = $1 OR email = $1) LIMIT 1",
        &[name.into(), than.into()],
    )
    .await
}

/// Puts a hash in the place of all that tells who a deleted user was, as Harbor writes it: `HASH#ID`.
pub async fn erase(tx: &mut Tx, id: UserId, hash: &str, now: Timestamp) -> Result<()> {
    let hash = format!("{hash}#{}", id.0);
    tx.execute(
        "UPDATE users SET
             name       = $2,
             email      = CASE WHEN email IS NULL THEN NULL ELSE $2 END,
             realname   = CASE WHEN realname IS NULL THEN NULL ELSE $2 END,
             comment    = NULL,
             version    = version + 1,
             updated_at = $3
          WHERE id = $1 AND deleted_at IS NOT NULL",
        &[id.into(), (&hash).into(), now.into()],
    )
    .await
    .map(|_| ())
}

fn not_found(name: &str) -> Error {
    Error::not_found(What::User, format!("user `{name}` not found"))
}

/// The name becomes free again; memberships end.
pub async fn delete(tx: &mut Tx, user: &User, now: Timestamp) -> Result<()> {
    // Whoever makes the user a member holds the row FOR SHARE: that is over now, or finds the user gone.
    let sql = locking!(
        tx,
        "SELECT 1 FROM users WHERE id = $1 AND deleted_at IS NULL",
        "FOR UPDATE"
    );
    if !tx.exists(sql, &[user.id.into()]).await? {
        return Err(not_found(&user.name));
    }
    tx.execute("DELETE FROM members WHERE user_id = $1", &[user.id.into()])
        .await?;
    tx.execute(
        "DELETE FROM group_users WHERE user_id = $1",
        &[user.id.into()],
    )
    .await?;
    sessions::delete_of(tx, user.id).await?;
    password_resets::delete_of(tx, user.id).await?;
    tx.execute(
        "UPDATE users SET deleted_at = $2, password = NULL, admin = FALSE, version = version + 1, updated_at = $2 WHERE id = $1",
        &[user.id.into(), now.into()],
    )
    .await?;
    tx.touch(Touch::Rights);
    changes::append(
        tx,
        Kind::UserDeleted,
        &user.name,
        None,
        &json!({ "uid": user.uid }),
        now,
    )
    .await
}

/// People as clients list them.
pub static LIST: List<User> = List {
    table: "users u",
    always: "u.deleted_at IS NULL",
    joins: "",
    columns: &[
        "u.id",
        "u.uid",
        "u.name",
        "u.email",
        "u.realname",
        "u.password",
        "u.admin",
        "u.version",
        "u.created_at",
        "u.comment",
        "u.updated_at",
    ],
    read,
    id: "u.id",
    fields: &[
        Field::new(&["user_id", "UserID", "id"], "u.id", Of::Number)
            .indexed()
            .unique(),
        Field::new(&["username", "Username"], "u.name", Of::Text)
            .indexed()
            .unique(),
        Field::new(&["email", "Email"], "u.email", Of::Text).nullable(),
        Field::new(
            &["username_or_email", "UsernameOrEmail"],
            "u.name",
            Of::Text,
        )
        .exact("(u.name = $1 OR u.email = $1)")
        .unsorted(),
        Field::new(&["realname", "Realname"], "u.realname", Of::Text).nullable(),
        Field::new(&["comment", "Comment"], "u.comment", Of::Text).nullable(),
        Field::new(&["sysadmin_flag", "SysAdminFlag"], "u.admin", Of::Bool),
        Field::new(&["creation_time", "CreationTime"], "u.created_at", Of::Time),
        Field::new(&["update_time", "UpdateTime"], "u.updated_at", Of::Time),
    ],
    order: &[("username", false)],
};

/// All but the first administrator, whom lists of people leave out as Harbor's do.
pub fn but_the_first() -> Within {
    Within::all().and("u.id > $1", [FIRST.0.into()])
}

/// Part of the name, whatever the size of its letters; the shortest names first: what fits best.
pub async fn search(conn: &mut Conn, name: &str, limit: i64) -> Result<Vec<(UserId, String)>> {
    conn.rows(
        "SELECT id, name FROM users
          WHERE deleted_at IS NULL AND LOWER(name) LIKE $1 ESCAPE '!'
          ORDER BY LENGTH(name), name
          LIMIT $2",
        &[(&contains(name)).into(), limit.into()],
        |row| Ok((UserId(row.int(0)?), row.text(1)?)),
    )
    .await
}

pub async fn count_like(conn: &mut Conn, name: &str) -> Result<i64> {
    let count = conn
        .row(
            "SELECT COUNT(*) FROM users WHERE deleted_at IS NULL AND LOWER(name) LIKE $1 ESCAPE '!'",
            &[(&contains(name)).into()],
            |row| row.int(0),
        )
        .await?;
    Ok(count.unwrap_or(0))
}

/// By e-mail address alone.
pub async fn find_email(conn: &mut Conn, email: &str) -> Result<Option<User>> {
    conn.row(
        "SELECT id, uid, name, email, realname, password, admin, version, created_at, comment, updated_at FROM users WHERE email = $1 AND deleted_at IS NULL",
        &[email.into()],
        read,
    )
    .await
}

pub async fn get(conn: &mut Conn, id: UserId) -> Result<User> {
    find(conn, id)
        .await?
        .ok_or_else(|| Error::not_found(What::User, format!("user {id} not found")))
}
