//! Letters to people. What a letter says is made when it is sent, so that it holds from then on and nothing secret waits in the queue.

use auth::{Auth, reset};
use db::{
    password_resets,
    users::{self, User},
};
use model::{Error, Result, id::UserId, job::Letter, settings::Settings};
use outbound::{
    Trust,
    mail::{self, Fault, Security, Server},
};

use crate::{Context, Outcome};

/// What letters are written with.
#[derive(Clone)]
pub struct Post {
    pub auth: Auth,
    pub trust: Trust,
    /// Where the people are who read them; never what a request said, or a stranger could have links sent to a place of his own.
    pub external_url: Option<String>,
}

pub(crate) async fn run(
    cx: &Context,
    post: &Post,
    user: UserId,
    letter: Letter,
) -> Result<Outcome> {
    let settings = cx.db().settings().await?;
    let Some(server) = server(post, &settings)? else {
        return Ok(Outcome::GiveUp("no mail server is set up".to_owned()));
    };
    let Some(user) = users::find(&mut *cx.db().reader().await?, user).await? else {
        return Ok(Outcome::GiveUp("the user is gone".to_owned()));
    };
    let Some(to) = user.email.clone() else {
        return Ok(Outcome::GiveUp("the user has no address".to_owned()));
    };
    let (subject, text) = match letter {
        Letter::PasswordReset => (
            "A new password for the registry".to_owned(),
            password_reset(cx, post, &user).await?,
        ),
    };
    let letter = mail::Letter { to, subject, text };
    let sent = tokio::select! {
        sent = mail::send(&server, &letter, &post.trust) => sent,
        () = cx.cancel.cancelled() => return Ok(Outcome::Interrupted),
    };
    match sent {
        Ok(()) => Ok(Outcome::Done(format!("sent to `{}`", user.name))),
        Err(fault @ (Fault::Address(_) | Fault::Message(_))) => {
            Ok(Outcome::GiveUp(fault.to_string()))
        }
        Err(fault) => Err(Error::Unavailable(fault.into())),
    }
}

fn server(post: &Post, settings: &Settings) -> Result<Option<Server>> {
    let Some(mail) = settings.mail() else {
        return Ok(None);
    };
    Ok(Some(Server {
        host: mail.host.to_owned(),
        port: mail.port,
        username: mail.username.to_owned(),
        password: post
            .auth
            .password(settings, "email_password")?
            .unwrap_or_default(),
        identity: mail.identity.to_owned(),
        from: mail.from.to_owned(),
        security: if mail.tls {
            Security::Tls
        } else {
            Security::WhenOffered
        },
        insecure: mail.insecure,
    }))
}

async fn password_reset(cx: &Context, post: &Post, user: &User) -> Result<String> {
    let (token, user_id) = (reset::new_token()?, user.id);
    let id = reset::id(&token);
    let written = cx.db().write(move |tx| {
        let id = id.clone();
        Box::pin(async move {
            let now = tx.now().await?;
            password_resets::insert(tx, &id, user_id, now.plus(reset::LIFE), now).await
        })
    });
    written.await?;
    let minutes = reset::LIFE.as_secs() / 60;
    let how = match &post.external_url {
        Some(url) => format!(
            "Open this link within {minutes} minutes to set one:\n\n{}/reset_password?reset_uuid={token}\n",
            url.trim_end_matches('/')
        ),
        None => format!(
            "Open the registry's page /reset_password within {minutes} minutes and enter this code:\n\n{token}\n"
        ),
    };
    Ok(format!(
        "Hello {},\n\nsomebody asked for a new password for your account. {how}\nIf it was not you there is nothing to do: your password stays as it is.\n",
        user.name
    ))
}
