//! New people: made by an administrator, or by themselves where that is allowed, and then from a page alone.

use db::users::{self, NewUser};
use model::{
    Error as Cause,
    name::{UserName, check_password},
    permission::{Action, Resource},
    settings::AuthMode,
};
use schemars::JsonSchema;
use serde::Deserialize;

use super::{NOT_IN_NAMES, UserProfile, check_text, checked_profile, denied, invalid};
use crate::{
    cookies, csrf,
    harbor::{
        answer::Created,
        call::Call,
        error::{Error, Result},
        input::Json,
    },
};

/// Longer ones are refused by Harbor's generated server.
const LONGEST: usize = 255;

#[derive(Deserialize, JsonSchema)]
pub(in crate::harbor) struct UserCreationReq {
    #[serde(default)]
    #[schemars(length(max = 255))]
    username: String,
    #[serde(default)]
    #[schemars(length(max = 255))]
    email: String,
    #[serde(default)]
    realname: String,
    #[serde(default)]
    password: String,
    #[serde(default)]
    comment: String,
}

pub(in crate::harbor) async fn create(
    call: Call,
    Json(told): Json<UserCreationReq>,
) -> Result<Created> {
    for (what, text) in [("username", &told.username), ("email", &told.email)] {
        if text.chars().count() > LONGEST {
            return Err(Error::Unprocessable(format!(
                "{what} in body should be at most {LONGEST} chars long"
            )));
        }
    }
    let by_himself = require_creatable(&call).await?;
    check_password(&told.password)?;
    let profile = checked_profile(UserProfile {
        email: told.email,
        realname: told.realname,
        comment: told.comment,
    })?;
    let name = checked_name(&told.username)?;
    if by_himself {
        call.count("register").await?;
    }
    let new = NewUser {
        name,
        email: profile.email,
        realname: profile.realname,
        comment: profile.comment,
        password: Some(call.app().auth.hash_password(told.password).await?),
        admin: false,
    };
    let id = call
        .db()
        .write(move |tx| {
            let new = new.clone();
            Box::pin(async move {
                let now = tx.now().await?;
                users::insert(tx, &new, now).await
            })
        })
        .await?;
    Ok(Created(id.to_string()))
}

/// Whether somebody without the right registers himself. A program cannot: what a page sends, it has its token for.
async fn require_creatable(call: &Call) -> Result<bool> {
    let settings = call.settings().await?;
    if settings.auth_mode() != AuthMode::Database {
        return Err(denied(&format!(
            "creating local user is not allowed under auth mode: {}",
            settings.auth_mode().as_str()
        )));
    }
    let refused = match call.require_on_system(Resource::User, Action::Create).await {
        Ok(()) => return Ok(false),
        Err(refused @ Error::House(Cause::Denied(_) | Cause::Unauthenticated)) => refused,
        Err(failed) => return Err(failed),
    };
    if !settings.self_registration() {
        return Err(refused);
    }
    // A request with a session's cookie was checked already.
    let with_session = cookies::find(&call.ask().head.headers, cookies::SESSION).is_some();
    if with_session || csrf::proves(call.ask()) {
        return Ok(true);
    }
    Err(denied("self-registration cannot be triggered via API"))
}

fn checked_name(told: &str) -> Result<UserName> {
    check_text("username", told, 1, LONGEST)?;
    if told.contains(|c| NOT_IN_NAMES.contains(c)) {
        return Err(invalid("username contains illegal characters"));
    }
    Ok(told.parse::<UserName>()?)
}
