//! `seawall user`: people who sign in with a password of this registry.

use anyhow::Result;
use clap::{Subcommand, ValueEnum};
use model::name::UserName;

use super::{
    Place, all, on_registry, password_from_stdin,
    screen::{self, say, table, yes},
};
use crate::control::{
    Session,
    answer::{Credential, User},
    request::{NewUser, Password, Request},
};

#[derive(clap::Args)]
pub struct Args {
    #[command(flatten)]
    place: Place,
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Create a user; without --password-stdin a password is made up and printed once
    Create {
        /// What the user signs in with
        name: UserName,
        /// May sign in with this instead of the name
        #[arg(long, value_name = "ADDRESS")]
        email: Option<String>,
        /// The name that people know
        #[arg(long, value_name = "TEXT")]
        realname: Option<String>,
        /// Make an administrator of the whole registry
        #[arg(long)]
        admin: bool,
        /// Read the password from the first line of standard input
        #[arg(long)]
        password_stdin: bool,
    },
    /// List all users
    List,
    /// Delete a user; the next request with the old password or token is refused
    Delete { name: String },
    /// Make a user an administrator of the whole registry, or no longer
    SetAdmin { name: String, state: Switch },
    /// Give a user a new password, also `admin` when nobody knows the old one
    ResetPassword {
        name: String,
        /// Read the password from the first line of standard input
        #[arg(long)]
        password_stdin: bool,
    },
}

#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Switch {
    On,
    Off,
}

pub fn run(args: Args) -> Result<()> {
    let Args { place, command } = args;
    // Before the registry is opened, which others may be waiting for.
    let password = match &command {
        Command::Create {
            password_stdin: true,
            ..
        }
        | Command::ResetPassword {
            password_stdin: true,
            ..
        } => Some(password_from_stdin()?),
        _ => None,
    };
    on_registry(&place, async |session| {
        carry_out(session, command, password, place.json).await
    })
}

async fn carry_out(
    session: &Session,
    command: Command,
    password: Option<Password>,
    json: bool,
) -> Result<()> {
    match command {
        Command::Create {
            name,
            email,
            realname,
            admin,
            password_stdin: _,
        } => {
            let new = NewUser {
                name,
                email,
                realname,
                admin,
                password,
            };
            let made: Credential = session.ask(Request::UserCreate(new)).await?;
            show_password(&made, "created", json);
        }
        Command::List => {
            let users = all(session, |last: Option<&User>| Request::UserList {
                after: last.map_or_else(String::new, |user| user.name.clone()),
            })
            .await?;
            show_list(&users, json);
        }
        Command::Delete { name } => {
            let () = session
                .ask(Request::UserDelete { name: name.clone() })
                .await?;
            screen::done("user", &name, "deleted", json);
        }
        Command::SetAdmin { name, state } => {
            let admin = state == Switch::On;
            let () = session
                .ask(Request::UserSetAdmin {
                    name: name.clone(),
                    admin,
                })
                .await?;
            screen::done(
                "user",
                &name,
                if admin {
                    "is an administrator"
                } else {
                    "is no administrator"
                },
                json,
            );
        }
        Command::ResetPassword {
            name,
            password_stdin: _,
        } => {
            let made: Credential = session
                .ask(Request::UserResetPassword { name, password })
                .await?;
            show_password(&made, "has a new password", json);
        }
    }
    Ok(())
}

fn show_list(users: &[User], json: bool) {
    if json {
        return screen::json(&users);
    }
    let rows: Vec<_> = users
        .iter()
        .map(|user| {
            [
                user.name.clone(),
                user.email.clone().unwrap_or_default(),
                yes(user.admin),
                screen::time(&user.created_at),
                user.realname.clone().unwrap_or_default(),
            ]
        })
        .collect();
    table(
        ["NAME", "E-MAIL", "ADMIN", "CREATED", "REAL NAME"],
        &rows,
        "there are no users",
    );
}

fn show_password(made: &Credential, what: &str, json: bool) {
    if json {
        return screen::json(made);
    }
    say(&format!("user {} {what}", made.name));
    if let Some(password) = &made.secret {
        say(&format!("password: {password}"));
        say("It is not shown again.");
    }
}
