//! People: who there is, what they say about themselves, their passwords.

mod create;
mod permissions;

pub(super) use create::create;
pub(super) use permissions::permissions;

use auth::Subject;
use db::{
    query::Within,
    users::{self, FIRST, Profile, User},
};
use model::{
    Error as Cause, What,
    id::UserId,
    listing::Match,
    name::{check_password, is_email},
    permission::{Action, Resource},
    settings::AuthMode,
};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{
    answer::{Done, Listed},
    call::Call,
    error::Result,
    input::{Json, Query},
    page::Wanted,
};

/// What Harbor keeps out of people's names, since lists and shells read them.
const NOT_IN_NAMES: &str = ",\"~#%$";

#[derive(Serialize, JsonSchema)]
pub(super) struct UserResp {
    user_id: i64,
    username: String,
    email: String,
    realname: String,
    comment: String,
    sysadmin_flag: bool,
    /// Whether a group made him an administrator when he signed in.
    admin_role_in_auth: bool,
    creation_time: String,
    update_time: String,
}

impl From<User> for UserResp {
    fn from(user: User) -> Self {
        Self {
            user_id: user.id.0,
            username: user.name,
            email: user.email.unwrap_or_default(),
            realname: user.realname.unwrap_or_default(),
            comment: user.comment.unwrap_or_default(),
            sysadmin_flag: user.admin,
            admin_role_in_auth: false,
            creation_time: user.created_at.rfc3339(),
            update_time: user.updated_at.rfc3339(),
        }
    }
}

#[derive(Serialize, JsonSchema)]
pub(super) struct UserSearchRespItem {
    user_id: i64,
    username: String,
}

#[derive(Deserialize, JsonSchema)]
pub(super) struct UserProfile {
    #[serde(default)]
    email: String,
    #[serde(default)]
    realname: String,
    #[serde(default)]
    comment: String,
}

#[derive(Deserialize, JsonSchema)]
pub(super) struct PasswordReq {
    /// Needed of whoever changes his own.
    #[serde(default)]
    old_password: String,
    #[serde(default)]
    new_password: String,
}

#[derive(Deserialize, JsonSchema)]
pub(super) struct UserSysAdminFlag {
    #[serde(default)]
    sysadmin_flag: bool,
}

#[derive(Deserialize, JsonSchema)]
pub(super) struct OIDCCliSecretReq {
    #[expect(
        dead_code,
        reason = "told in the document; no session of OIDC has one yet"
    )]
    #[serde(default)]
    secret: String,
}

#[derive(Deserialize, JsonSchema)]
pub(super) struct ListQuery {
    /// Part of the name.
    #[serde(default)]
    username: String,
    /// Part of the e-mail address.
    #[serde(default)]
    email: String,
}

#[derive(Deserialize, JsonSchema)]
pub(super) struct SearchQuery {
    username: String,
}

/// Without the first administrator, unless he is asked for by his number.
pub(super) async fn list(call: Call, Query(asked): Query<ListQuery>) -> Result<Listed<UserResp>> {
    let Wanted { mut listing, page } = call.wanted()?;
    for (key, part) in [("username", asked.username), ("email", asked.email)] {
        if !part.is_empty() {
            listing.filters.insert(key.to_owned(), Match::Fuzzy(part));
        }
    }
    let by_number = ["user_id", "user_id__in", "UserID", "UserID__in"];
    let within = if by_number
        .iter()
        .any(|key| listing.filters.contains_key(*key))
    {
        Within::all()
    } else {
        users::but_the_first()
    };
    let selection = users::LIST.select(&listing, within)?;
    call.listed(selection, page, None, UserResp::from).await
}

/// Always the first rows, as with Harbor.
pub(super) async fn search(
    call: Call,
    Query(asked): Query<SearchQuery>,
) -> Result<Listed<UserSearchRespItem>> {
    let (_, limit) = call.rows()?;
    let mut reader = call.reader().await?;
    let total = users::count_like(&mut reader, &asked.username).await?;
    let rows = users::search(&mut reader, &asked.username, limit).await?;
    let item = |(id, username): (UserId, String)| UserSearchRespItem {
        user_id: id.0,
        username,
    };
    Ok(Listed::whole(rows.into_iter().map(item).collect(), total))
}

pub(super) async fn current(call: Call) -> Result<Json<UserResp>> {
    let Some(id) = own_id(&call) else {
        return Err(Cause::Precondition(
            "get current user not available for security context: robot".to_owned(),
        )
        .into());
    };
    let user = users::get(&mut *call.reader().await?, id).await?;
    Ok(Json(user.into()))
}

pub(super) async fn get(call: Call) -> Result<Json<UserResp>> {
    let id = id(&call)?;
    if own_id(&call) != Some(id) {
        call.require_on_system(Resource::User, Action::Read).await?;
    }
    let user = users::get(&mut *call.reader().await?, id).await?;
    Ok(Json(user.into()))
}

pub(super) async fn update(call: Call, Json(told): Json<UserProfile>) -> Result<Done> {
    let id = id(&call)?;
    require_modifiable(&call, id).await?;
    let profile = checked_profile(told)?;
    let spares_nobody = spares_nobody(&call, id);
    call.db()
        .write(move |tx| {
            let profile = profile.clone();
            Box::pin(async move {
                let user = users::get(tx, id).await?;
                spare(&user, spares_nobody)?;
                let now = tx.now().await?;
                users::set_profile(tx, &user, &profile, now).await
            })
        })
        .await?;
    Ok(Done)
}

pub(super) async fn set_password(call: Call, Json(told): Json<PasswordReq>) -> Result<Done> {
    let id = id(&call)?;
    require_modifiable(&call, id).await?;
    let auth = &call.app().auth;
    if own_id(&call) == Some(id) {
        let (name, from) = (call.caller.name().to_owned(), call.ask().client());
        let proved = auth.basic(&name, &told.old_password, from).await?;
        if proved.is_none() {
            return Err(denied("Current password is incorrect"));
        }
    }
    check_password(&told.new_password)?;
    let user = users::get(&mut *call.reader().await?, id).await?;
    let spares_nobody = spares_nobody(&call, id);
    spare(&user, spares_nobody)?;
    if let Some(old) = user.password
        && auth.is_password(old, told.new_password.clone()).await?
    {
        return Err(invalid("New password is identical to old password"));
    }
    let hash = auth.hash_password(told.new_password).await?;
    call.db()
        .write(move |tx| {
            let hash = hash.clone();
            Box::pin(async move {
                let user = users::get(tx, id).await?;
                spare(&user, spares_nobody)?;
                let now = tx.now().await?;
                users::set_password(tx, &user, &hash, now).await
            })
        })
        .await?;
    Ok(Done)
}

pub(super) async fn set_sysadmin(call: Call, Json(told): Json<UserSysAdminFlag>) -> Result<Done> {
    let (id, admin) = (id(&call)?, told.sysadmin_flag);
    if id == FIRST && !admin {
        return Err(denied(&format!(
            "User with ID {id} is the registry's own administrator and stays one"
        )));
    }
    // Nor does a robot make any.
    if admin && !call.caller.is_admin() {
        return Err(denied("only an administrator makes another one"));
    }
    let by_admin = call.caller.is_admin();
    call.db()
        .write(move |tx| {
            Box::pin(async move {
                let user = users::get(tx, id).await?;
                spare(&user, by_admin)?;
                if user.admin == admin {
                    return Ok(());
                }
                let now = tx.now().await?;
                users::set_admin(tx, &user, admin, now).await
            })
        })
        .await?;
    Ok(Done)
}

pub(super) async fn delete(call: Call) -> Result<Done> {
    let id = id(&call)?;
    if id == FIRST || own_id(&call) == Some(id) {
        return Err(denied(&format!("User with ID {id} cannot be deleted")));
    }
    let (forget, by_admin) = (call.app().config.forget, call.caller.is_admin());
    call.db()
        .write(move |tx| {
            Box::pin(async move {
                let user = users::get(tx, id).await?;
                spare(&user, by_admin)?;
                let now = tx.now().await?;
                users::delete(tx, &user, now).await?;
                users::forget(tx, &user, forget, now).await
            })
        })
        .await?;
    Ok(Done)
}

/// Nobody signs in by OIDC yet, so nobody has such a secret.
pub(super) async fn set_cli_secret(call: Call, _: Json<OIDCCliSecretReq>) -> Result<Done> {
    let settings = call.settings().await?;
    Err(Cause::Precondition(format!(
        "unable to update CLI secret under authmode: {}",
        settings.auth_mode().as_str()
    ))
    .into())
}

/// Where people are kept here each may change himself; where they are kept elsewhere only the first administrator is ours.
async fn require_modifiable(call: &Call, id: UserId) -> Result<()> {
    let settings = call.settings().await?;
    let is_ours = settings.auth_mode() == AuthMode::Database;
    if own_id(call) == Some(id) && is_ours {
        return Ok(());
    }
    if !is_ours && id != FIRST {
        return Err(denied(&format!("User with ID {id} can't be updated")));
    }
    call.require_on_system(Resource::User, Action::Update)
        .await?;
    Ok(())
}

/// Robots look after people, but not after administrators: whoever sets one's password or e-mail address would be him.
/// `spares_nobody` of an administrator, and of whoever changes himself.
fn spare(user: &User, spares_nobody: bool) -> Result<(), Cause> {
    if spares_nobody || !(user.admin || user.id == FIRST) {
        return Ok(());
    }
    Err(Cause::Denied(format!(
        "User with ID {} is an administrator: only another one may do this",
        user.id
    )))
}

fn spares_nobody(call: &Call, id: UserId) -> bool {
    call.caller.is_admin() || own_id(call) == Some(id)
}

fn checked_profile(told: UserProfile) -> Result<Profile> {
    if told.email.is_empty() {
        return Err(invalid("email can't be empty"));
    }
    if !is_email(&told.email) {
        return Err(invalid("email with illegal format"));
    }
    check_text("realname", &told.realname, 1, 255)?;
    if told.realname.contains(|c| NOT_IN_NAMES.contains(c)) {
        return Err(invalid("realname contains illegal characters"));
    }
    check_text("comment", &told.comment, 0, 30)?;
    Ok(Profile {
        email: Some(told.email),
        realname: Some(told.realname),
        comment: Some(told.comment).filter(|comment| !comment.is_empty()),
    })
}

fn check_text(what: &str, text: &str, least: usize, most: usize) -> Result<()> {
    if !(least..=most).contains(&text.chars().count()) {
        return Err(invalid(&format!("{what} with illegal length")));
    }
    if text.contains(char::is_control) {
        return Err(invalid(&format!("{what} contains illegal characters")));
    }
    Ok(())
}

fn id(call: &Call) -> Result<UserId> {
    Ok(UserId(call.number("user_id")?))
}

/// The number of the user who asks; none for robots and strangers.
fn own_id(call: &Call) -> Option<UserId> {
    match &call.caller.subject {
        Subject::User(user) => Some(user.id),
        Subject::Robot(_) | Subject::Anonymous => None,
    }
}

fn denied(why: &str) -> super::error::Error {
    Cause::Denied(why.to_owned()).into()
}

fn invalid(why: &str) -> super::error::Error {
    Cause::invalid(What::User, why).into()
}
