//! What a page does for a person who is not signed in yet: signs him in and out, asks whether a name is taken, and helps him who
//! forgot his password. Harbor's `/c` (the mails are those of its releases up to 2.0).

use std::time::Duration;

use auth::{Subject, attempts};
use db::{audit, jobs, password_resets, users};
use http::StatusCode;
use model::{
    Error as Cause, What,
    audit::Event,
    job::{Job, Letter},
    name::{check_password, is_email},
    settings::AuthMode,
};
use schemars::JsonSchema;
use serde::Deserialize;

use super::{
    answer::{Done, Kept},
    call::Call,
    error::{Error, Result},
    input::{Form, Json, Query},
};
use crate::cookies;

/// Of a name that nobody has; the audit keeps no more of it.
const LONGEST_NAME: usize = 255;

#[derive(Deserialize, JsonSchema)]
pub(super) struct LoginForm {
    /// A user's name or e-mail address.
    #[serde(default)]
    principal: String,
    #[serde(default)]
    password: String,
}

#[derive(Deserialize, JsonSchema)]
pub(super) struct ExistsForm {
    /// `username` or `email`.
    #[serde(default)]
    target: String,
    #[serde(default)]
    value: String,
}

#[derive(Deserialize, JsonSchema)]
pub(super) struct EmailQuery {
    #[serde(default)]
    email: String,
}

#[derive(Deserialize, JsonSchema)]
pub(super) struct ResetForm {
    /// What the mail's link says.
    #[serde(default)]
    reset_uuid: String,
    #[serde(default)]
    password: String,
}

/// Robots have no sessions.
pub(super) async fn login(call: Call, Form(told): Form<LoginForm>) -> Result<Kept> {
    let (ask, auth) = (call.ask(), &call.app().auth);
    // Nobody's password, so nobody tries one: nothing to tell of.
    if told.principal.is_empty() || told.password.is_empty() {
        return Err(Error::Bare(StatusCode::UNAUTHORIZED));
    }
    let proved = auth
        .basic(&told.principal, &told.password, ask.client())
        .await?;
    let Some(Subject::User(user)) = proved.map(|caller| caller.subject) else {
        tell_failure(&call, &told.principal).await?;
        return Err(Error::Bare(StatusCode::UNAUTHORIZED));
    };
    let old = cookies::find(&ask.head.headers, cookies::SESSION);
    let audited = event(&call, Event::LoginUser, &user.name, true);
    let session = auth.begin_session(&user, old, audited).await?;
    Ok(Kept(cookies::session(
        &session.cookie,
        session.life,
        ask.is_https(),
    )))
}

pub(super) async fn log_out(call: Call) -> Result<Kept> {
    let (ask, auth) = (call.ask(), &call.app().auth);
    if let Some(cookie) = cookies::find(&ask.head.headers, cookies::SESSION) {
        let ended = auth.session(cookie, false, call.now()).await?;
        let audited = ended.map(|ended| event(&call, Event::LogoutUser, ended.caller.name(), true));
        auth.end_session(cookie, audited).await?;
    }
    Ok(Kept(cookies::session("", Duration::ZERO, ask.is_https())))
}

/// Under the name that was typed, as Harbor does; so many from one address and no more, since each is a row.
async fn tell_failure(call: &Call, principal: &str) -> Result<()> {
    let name: String = principal
        .chars()
        .filter(|c| !c.is_control())
        .take(LONGEST_NAME)
        .collect();
    let audited = event(call, Event::LoginUser, &name, false);
    let (from, db) = (call.ask().client(), call.app().registry.db());
    let written = db.write(move |tx| {
        let audited = audited.clone();
        Box::pin(async move {
            let now = tx.now().await?;
            attempts::ask(tx, "login", from, now).await?;
            audit::append(tx, &audited).await
        })
    });
    Ok(written.await?)
}

fn event(call: &Call, event: Event, name: &str, succeeded: bool) -> audit::New {
    audit::New {
        at: call.now(),
        project: None,
        actor: name.to_owned(),
        address: call.ask().client(),
        event,
        resource: name.to_owned(),
        description: None,
        succeeded,
    }
}

pub(super) async fn user_exists(call: Call, Form(told): Form<ExistsForm>) -> Result<Json<bool>> {
    if !call.caller.is_admin() {
        if !call.settings().await?.self_registration() {
            return Err(Cause::Precondition(
                "self registration deactivated, only sysadmin can check user existence".to_owned(),
            )
            .into());
        }
        call.count("exists").await?;
    }
    let mut reader = call.reader().await?;
    let found = match told.target.as_str() {
        "username" => users::find_name(&mut reader, &told.value).await?,
        "email" => users::find_email(&mut reader, &told.value).await?,
        _ => {
            return Err(
                Cause::invalid(What::Request, "target must be `username` or `email`").into(),
            );
        }
    };
    Ok(Json(found.is_some()))
}

/// The answer is the same whether somebody has the address or not, and so is what it costs: one write.
pub(super) async fn send_email(call: Call, Query(told): Query<EmailQuery>) -> Result<Done> {
    if !is_email(&told.email) {
        return Err(Cause::invalid(What::Request, "invalid email").into());
    }
    let db = call.app().registry.db();
    let settings = call.settings().await?;
    if settings.mail().is_none() {
        return Err(Cause::Precondition(
            "this registry sends no mail: ask its administrator for a new password".to_owned(),
        )
        .into());
    }
    let all_are_ours = settings.auth_mode() == AuthMode::Database;
    let (from, email) = (call.ask().client(), told.email);
    db.write(move |tx| {
        let email = email.clone();
        Box::pin(async move {
            let now = tx.now().await?;
            attempts::ask(tx, "mail", from, now).await?;
            let user = users::find_email(tx, &email).await?;
            let user = user.filter(|user| {
                user.password.is_some() && (all_are_ours || user.id == users::FIRST)
            });
            if let Some(user) = user
                && attempts::may_write_to(tx, user.id, now).await?
            {
                let job = Job::Mail {
                    user: user.id,
                    letter: Letter::PasswordReset,
                };
                jobs::enqueue(tx, &job, now, now).await?;
            }
            Ok(())
        })
    })
    .await?;
    Ok(Done)
}

/// What the mail says is used up by a password that is taken, not by one that is refused.
pub(super) async fn reset(call: Call, Form(told): Form<ResetForm>) -> Result<Done> {
    let invalid = |why: &str| Error::from(Cause::invalid(What::Request, why));
    if told.reset_uuid.is_empty() {
        return Err(invalid("Reset uuid is blank."));
    }
    let id = auth::reset::id(&told.reset_uuid);
    let unknown = "User does not exist";
    let found = password_resets::find(&mut *call.reader().await?, &id, call.now()).await?;
    if found.is_none() {
        return Err(invalid(unknown));
    }
    if told.password.is_empty() {
        return Err(invalid("password_is_required"));
    }
    check_password(&told.password)?;
    let hash = call.app().auth.hash_password(told.password).await?;
    let db = call.db();
    let reset = db.write(move |tx| {
        let (id, hash) = (id.clone(), hash.clone());
        Box::pin(async move {
            let now = tx.now().await?;
            let Some(user) = password_resets::take(tx, &id, now).await? else {
                return Ok(false);
            };
            let user = users::get(tx, user).await?;
            users::set_password(tx, &user, &hash, now).await?;
            Ok(true)
        })
    });
    if !reset.await? {
        return Err(invalid(unknown));
    }
    Ok(Done)
}

/// Harbor's way for those who want the name `admin` for somebody else; it knows one other name.
pub(super) async fn rename_admin(call: Call) -> Result<Kept> {
    let is_first = matches!(&call.caller.subject, Subject::User(user) if user.id == users::FIRST);
    if !is_first {
        return Err(if call.caller.is_authenticated() {
            Cause::Denied(call.caller.name().to_owned()).into()
        } else {
            Cause::Unauthenticated.into()
        });
    }
    let name: model::name::UserName = "admin@harbor.local".parse()?;
    call.db()
        .write(move |tx| {
            let name = name.clone();
            Box::pin(async move {
                let user = users::get(tx, users::FIRST).await?;
                if user.name == name.as_str() {
                    return Ok(());
                }
                let now = tx.now().await?;
                users::rename(tx, &user, &name, now).await
            })
        })
        .await?;
    let secure = call.ask().is_https();
    Ok(Kept(cookies::session("", Duration::ZERO, secure)))
}
