//! `seawall robot`: accounts of programs, each with a list of what it may do.

use std::str::FromStr;

use anyhow::Result;
use clap::Subcommand;
use model::{
    name::{ProjectName, RobotName},
    permission::{Action, Resource},
    robot::{self, FullName},
};

use super::{
    Place, all, on_registry, password_from_stdin,
    screen::{self, say, table},
};
use crate::{
    config::values::parse_duration,
    control::{
        Session,
        answer::{Credential, Robot},
        request::{NewRobot, Password, Reach, Request, Right},
    },
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
    /// Create a robot and print its full name and secret, once
    ///
    /// With --project it belongs to that project and works there alone. Otherwise it is a robot of the system, with
    /// permissions in the projects that --on names, or everywhere.
    #[command(verbatim_doc_comment)]
    Create(Create),
    /// List all robots, or those of a project
    List {
        #[arg(long, value_name = "PROJECT")]
        project: Option<String>,
    },
    /// Refuse a robot until it is enabled again
    Disable {
        /// Such as `library+ci` or `ci`; `robot$` may stand before it
        #[arg(value_parser = parse_name)]
        name: FullName,
    },
    /// Take a disabled robot back
    Enable {
        #[arg(value_parser = parse_name)]
        name: FullName,
    },
    /// Give a robot a new secret; the old one ends at once
    RefreshSecret {
        #[arg(value_parser = parse_name)]
        name: FullName,
        /// Read the secret from the first line of standard input
        #[arg(long)]
        secret_stdin: bool,
    },
    /// Delete a robot
    Delete {
        #[arg(value_parser = parse_name)]
        name: FullName,
    },
}

#[derive(clap::Args)]
struct Create {
    /// The robot's own name, without `robot$` and project
    name: RobotName,
    /// The project that it belongs to
    #[arg(long, value_name = "PROJECT")]
    project: Option<ProjectName>,
    /// May pull
    #[arg(long)]
    pull: bool,
    /// May push, and pull
    #[arg(long)]
    push: bool,
    /// May do this in its projects, such as `tag:delete`; may be repeated
    #[arg(long, value_name = "RESOURCE:ACTION")]
    permission: Vec<Right>,
    /// May do this on the whole system, such as `catalog:read`; may be repeated
    #[arg(long, value_name = "RESOURCE:ACTION", conflicts_with = "project")]
    system_permission: Vec<Right>,
    /// Works in these projects
    #[arg(long, value_name = "PROJECT", num_args = 1.., conflicts_with = "project")]
    on: Vec<ProjectName>,
    /// Works in every project, also in those to come
    #[arg(long, conflicts_with_all = ["project", "on"])]
    everywhere: bool,
    /// Ends after this time, such as `30d`; `never` for one that does not
    #[arg(long, value_name = "TIME", default_value = "30d")]
    expires: Lifetime,
    /// What it is for
    #[arg(long, value_name = "TEXT")]
    description: Option<String>,
}

/// Seconds; none for ever.
#[derive(Clone, Copy)]
struct Lifetime(Option<u64>);

impl FromStr for Lifetime {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if text == "never" {
            return Ok(Self(None));
        }
        let seconds = parse_duration(text)
            .map(|time| time.as_secs())
            .filter(|seconds| *seconds > 0);
        let seconds = seconds.ok_or("use a time such as `30d`, `12h`, or `never`")?;
        Ok(Self(Some(seconds)))
    }
}

/// A robot's full name, with or without the prefix: a shell takes `$` for its own.
fn parse_name(text: &str) -> Result<FullName, String> {
    let rest = text.strip_prefix(robot::NAME_PREFIX).unwrap_or(text);
    robot::parse_full_name("", rest)
        .ok_or_else(|| format!("`{text}` is no robot's name such as `library+ci` or `ci`"))
}

pub fn run(args: Args) -> Result<()> {
    let Args { place, command } = args;
    let secret = match &command {
        Command::RefreshSecret {
            secret_stdin: true, ..
        } => Some(password_from_stdin()?),
        _ => None,
    };
    on_registry(&place, async |session| {
        carry_out(session, command, secret, place.json).await
    })
}

async fn carry_out(
    session: &Session,
    command: Command,
    secret: Option<Password>,
    json: bool,
) -> Result<()> {
    match command {
        Command::Create(create) => {
            let made: Credential = session
                .ask(Request::RobotCreate(create.into_request()))
                .await?;
            show_secret(&made, "created", json);
        }
        Command::List { project } => return list(session, project.as_deref(), json).await,
        Command::Disable { name } => {
            let request = Request::RobotSetDisabled {
                robot: name.clone(),
                disabled: true,
            };
            let () = session.ask(request).await?;
            done(&name, "is disabled", json);
        }
        Command::Enable { name } => {
            let request = Request::RobotSetDisabled {
                robot: name.clone(),
                disabled: false,
            };
            let () = session.ask(request).await?;
            done(&name, "is enabled", json);
        }
        Command::RefreshSecret {
            name,
            secret_stdin: _,
        } => {
            let made: Credential = session
                .ask(Request::RobotRefreshSecret {
                    robot: name,
                    secret,
                })
                .await?;
            show_secret(&made, "has a new secret", json);
        }
        Command::Delete { name } => {
            let () = session
                .ask(Request::RobotDelete {
                    robot: name.clone(),
                })
                .await?;
            done(&name, "deleted", json);
        }
    }
    Ok(())
}

impl Create {
    fn into_request(self) -> NewRobot {
        let image = |action| Right {
            resource: Resource::Repository,
            action,
        };
        let mut rights = self.permission;
        if self.pull || self.push {
            rights.push(image(Action::Pull));
        }
        if self.push {
            rights.push(image(Action::Push));
        }
        NewRobot {
            name: self.name,
            description: self.description,
            project: self.project,
            rights,
            system_rights: self.system_permission,
            reach: if self.everywhere {
                Reach::Everywhere
            } else {
                Reach::Projects(self.on)
            },
            expires_in: self.expires.0,
        }
    }
}

async fn list(session: &Session, project: Option<&str>, json: bool) -> Result<()> {
    let mut robots = all(session, |last: Option<&Robot>| Request::RobotList {
        after: last.map_or(0, |robot| robot.id),
    })
    .await?;
    robots.retain(|robot| project.is_none() || robot.project.as_deref() == project);
    if json {
        screen::json(&robots);
        return Ok(());
    }
    let rows: Vec<_> = robots
        .iter()
        .map(|robot| {
            [
                robot.name.clone(),
                robot.state.clone(),
                robot
                    .expires_at
                    .as_deref()
                    .map_or_else(|| "never".to_owned(), screen::time),
                permissions(robot),
            ]
        })
        .collect();
    table(
        ["NAME", "STATE", "EXPIRES", "PERMISSIONS"],
        &rows,
        "there are no robots",
    );
    Ok(())
}

/// `library: repository:pull, repository:push; system: catalog:read`
fn permissions(robot: &Robot) -> String {
    let mut text = String::new();
    let mut scope = None;
    for permission in &robot.permissions {
        if scope == Some(&permission.scope) {
            text.push_str(", ");
        } else {
            text.push_str(if scope.is_some() { "; " } else { "" });
            text.push_str(&permission.scope);
            text.push_str(": ");
            scope = Some(&permission.scope);
        }
        text.push_str(&permission.resource);
        text.push(':');
        text.push_str(&permission.action);
    }
    text
}

fn show_secret(made: &Credential, what: &str, json: bool) {
    if json {
        return screen::json(made);
    }
    say(&format!("robot {} {what}", made.name));
    if let Some(secret) = &made.secret {
        say(&format!("secret: {secret}"));
        say("It is not shown again.");
    }
    match &made.expires_at {
        Some(end) => say(&format!("It expires {}.", screen::time(end))),
        None => say("It never expires."),
    }
}

fn done(name: &FullName, what: &str, json: bool) {
    let project = name.project.as_ref().map(ProjectName::as_str);
    let name = robot::full_name(robot::NAME_PREFIX, project, name.name.as_str());
    screen::done("robot", &name, what, json);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn robots_are_named_with_and_without_their_prefix() {
        for text in ["robot$library+ci", "library+ci"] {
            let name = parse_name(text).expect("a name");
            assert_eq!(
                name.project.as_ref().map(ProjectName::as_str),
                Some("library")
            );
            assert_eq!(name.name.as_str(), "ci");
        }
        assert_eq!(parse_name("ci").expect("a name").project, None);
        for text in ["", "a+b+c", "A", "robot$"] {
            assert!(parse_name(text).is_err(), "{text}");
        }
    }

    #[test]
    fn a_lifetime_is_a_time_or_for_ever() {
        let seconds = |text: &str| text.parse::<Lifetime>().map(|lifetime| lifetime.0);
        assert_eq!(seconds("30d"), Ok(Some(30 * 24 * 3600)));
        assert_eq!(seconds("never"), Ok(None));
        for text in ["0", "", "soon", "500ms", "-1"] {
            assert!(seconds(text).is_err(), "{text}");
        }
    }
}
