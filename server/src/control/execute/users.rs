//! People, as the operator manages them.

use db::users::{self, FIRST, User};
use model::{Error, Result, What};

use super::{House, choose_password};
use crate::control::{
    answer,
    request::{NewUser, PAGE, Password},
};

pub(super) async fn create(house: &House, new: NewUser) -> Result<answer::Credential> {
    let email = new.email.filter(|email| !email.is_empty());
    if let Some(email) = &email {
        check_email(email)?;
    }
    let password = choose_password(house, new.password).await?;
    let user = users::NewUser {
        name: new.name,
        email,
        realname: new.realname.filter(|name| !name.is_empty()),
        comment: None,
        password: Some(password.hash),
        admin: new.admin,
    };
    let name = user.name.to_string();
    house
        .db()
        .write(move |tx| {
            let user = user.clone();
            Box::pin(async move {
                let now = tx.now().await?;
                users::insert(tx, &user, now).await
            })
        })
        .await?;
    Ok(answer::Credential {
        name,
        secret: password.made_up,
        expires_at: None,
    })
}

fn check_email(email: &str) -> Result<()> {
    let fits = email.len() <= 255
        && email
            .split_once('@')
            .is_some_and(|(name, host)| !name.is_empty() && !host.is_empty())
        && !email.chars().any(|c| c.is_control() || c.is_whitespace());
    if fits {
        return Ok(());
    }
    Err(Error::invalid(
        What::User,
        format!("`{}` is not an e-mail address", email.escape_debug()),
    ))
}

pub(super) async fn list(house: &House, after: &str) -> Result<Vec<answer::User>> {
    let rows = users::list(&mut *house.db().reader().await?, after, PAGE).await?;
    Ok(rows.into_iter().map(shown).collect())
}

fn shown(user: User) -> answer::User {
    answer::User {
        name: user.name,
        email: user.email,
        realname: user.realname,
        admin: user.admin,
        created_at: user.created_at.rfc3339(),
    }
}

pub(super) async fn delete(house: &House, name: String) -> Result<()> {
    let forget = house.forget;
    house
        .db()
        .write(move |tx| {
            let name = name.clone();
            Box::pin(async move {
                let user = users::get_name(tx, &name).await?;
                if user.id == FIRST {
                    return Err(Error::Precondition(format!(
                        "`{name}` is the registry's own administrator and cannot be deleted"
                    )));
                }
                let now = tx.now().await?;
                users::delete(tx, &user, now).await?;
                users::forget(tx, &user, forget, now).await
            })
        })
        .await
}

pub(super) async fn set_admin(house: &House, name: String, admin: bool) -> Result<()> {
    house
        .db()
        .write(move |tx| {
            let name = name.clone();
            Box::pin(async move {
                let user = users::get_name(tx, &name).await?;
                if user.id == FIRST && !admin {
                    return Err(Error::Precondition(format!(
                        "`{name}` is the registry's own administrator and stays one"
                    )));
                }
                if user.admin == admin {
                    return Ok(());
                }
                let now = tx.now().await?;
                users::set_admin(tx, &user, admin, now).await
            })
        })
        .await
}

pub(super) async fn reset_password(
    house: &House,
    name: String,
    password: Option<Password>,
) -> Result<answer::Credential> {
    // Before the password is hashed, so that a wrong name is said at once.
    users::get_name(&mut *house.db().reader().await?, &name).await?;
    let password = choose_password(house, password).await?;
    let (user, hash) = (name.clone(), password.hash);
    house
        .db()
        .write(move |tx| {
            let (name, hash) = (user.clone(), hash.clone());
            Box::pin(async move {
                let user = users::get_name(tx, &name).await?;
                let now = tx.now().await?;
                users::set_password(tx, &user, &hash, now).await
            })
        })
        .await?;
    Ok(answer::Credential {
        name,
        secret: password.made_up,
        expires_at: None,
    })
}
