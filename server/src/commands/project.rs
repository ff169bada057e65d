//! `seawall project`: projects, who sees them and who is a member.

use anyhow::Result;
use clap::Subcommand;
use db::quotas::UNLIMITED;
use indicatif::HumanBytes;
use model::{name::ProjectName, role::Role, settings::MOST_BYTES};

use super::{
    Place, all, on_registry,
    screen::{self, say, table, yes},
};
use crate::{
    boot::ADMIN,
    config::values::parse_size,
    control::{
        Session,
        answer::{Member, Project},
        request::Request,
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
    /// Create a project
    Create {
        name: ProjectName,
        /// Everybody may pull from it
        #[arg(long)]
        public: bool,
        /// The user who becomes its first administrator
        #[arg(long, value_name = "USER", default_value = ADMIN)]
        owner: String,
    },
    /// List all projects
    List,
    /// Delete a project that holds no repositories, with its members and robots
    Delete { name: String },
    /// Bring back the last project of this name that was deleted, with its members and robots; see `trash list`
    Restore { name: String },
    /// Let everybody pull from a project
    SetPublic { name: String },
    /// Let only members and robots pull from a project
    SetPrivate { name: String },
    /// Set how much a project may hold: a size such as 10GiB, or `unlimited`
    SetQuota {
        name: String,
        #[arg(value_parser = quota)]
        quota: i64,
    },
    /// Manage who is a member
    #[command(subcommand)]
    Member(MemberCommand),
}

#[derive(Subcommand)]
enum MemberCommand {
    /// Make a user a member, or give a member another role
    Set {
        project: String,
        user: String,
        /// project-admin, maintainer, developer, guest or limited-guest
        role: Role,
    },
    /// End a membership
    Remove { project: String, user: String },
    /// List a project's members
    List { project: String },
}

pub fn run(args: Args) -> Result<()> {
    let Args { place, command } = args;
    on_registry(&place, async |session| match command {
        Command::Member(command) => on_members(session, command, place.json).await,
        command => on_projects(session, command, place.json).await,
    })
}

async fn on_projects(session: &Session, command: Command, json: bool) -> Result<()> {
    let (request, name, what) = match command {
        Command::SetQuota { name, quota } => (
            Request::ProjectSetQuota {
                name: name.clone(),
                hard: quota,
            },
            name,
            "has a new quota",
        ),
        Command::Create {
            name,
            public,
            owner,
        } => {
            let what = if public {
                "created, public"
            } else {
                "created, private"
            };
            let request = Request::ProjectCreate {
                name: name.clone(),
                public,
                owner,
            };
            let _: i64 = session.ask(request).await?;
            screen::done("project", name.as_str(), what, json);
            return Ok(());
        }
        Command::List => return list(session, json).await,
        Command::Member(command) => return on_members(session, command, json).await,
        Command::Delete { name } => (
            Request::ProjectDelete { name: name.clone() },
            name,
            "deleted",
        ),
        Command::Restore { name } => (
            Request::ProjectRestore { name: name.clone() },
            name,
            "restored",
        ),
        Command::SetPublic { name } => (
            Request::ProjectSetPublic {
                name: name.clone(),
                public: true,
            },
            name,
            "is public: everybody may pull from it",
        ),
        Command::SetPrivate { name } => (
            Request::ProjectSetPublic {
                name: name.clone(),
                public: false,
            },
            name,
            "is private: members and robots may pull from it",
        ),
    };
    let () = session.ask(request).await?;
    screen::done("project", &name, what, json);
    Ok(())
}

async fn list(session: &Session, json: bool) -> Result<()> {
    let projects = all(session, |last: Option<&Project>| Request::ProjectList {
        after: last.map_or_else(String::new, |project| project.name.clone()),
    })
    .await?;
    if json {
        screen::json(&projects);
        return Ok(());
    }
    let rows: Vec<_> = projects
        .iter()
        .map(|project| {
            [
                project.name.clone(),
                yes(project.public),
                project.owner.clone().unwrap_or_default(),
                HumanBytes(project.used.unsigned_abs()).to_string(),
                match project.quota {
                    UNLIMITED => "unlimited".to_owned(),
                    quota => HumanBytes(quota.unsigned_abs()).to_string(),
                },
                screen::time(&project.created_at),
            ]
        })
        .collect();
    table(
        ["NAME", "PUBLIC", "OWNER", "USED", "QUOTA", "CREATED"],
        &rows,
        "there are no projects",
    );
    Ok(())
}

/// `10GiB`, or `unlimited`.
fn quota(text: &str) -> Result<i64, String> {
    if text == "unlimited" {
        return Ok(UNLIMITED);
    }
    parse_size(text)
        .and_then(|bytes| i64::try_from(bytes).ok())
        .filter(|bytes| (1..=MOST_BYTES).contains(bytes))
        .ok_or_else(|| "write a size such as `10GiB`, at most 1024TiB, or `unlimited`".to_owned())
}

async fn on_members(session: &Session, command: MemberCommand, json: bool) -> Result<()> {
    match command {
        MemberCommand::Set {
            project,
            user,
            role,
        } => {
            let request = Request::MemberSet {
                project: project.clone(),
                user: user.clone(),
                role,
            };
            let () = session.ask(request).await?;
            member_done(&project, &user, Some(role), json);
        }
        MemberCommand::Remove { project, user } => {
            let request = Request::MemberRemove {
                project: project.clone(),
                user: user.clone(),
            };
            let () = session.ask(request).await?;
            member_done(&project, &user, None, json);
        }
        MemberCommand::List { project } => {
            let members = all(session, |last: Option<&Member>| Request::MemberList {
                project: project.clone(),
                after: last.map_or_else(String::new, |member| member.user.clone()),
            })
            .await?;
            if json {
                screen::json(&members);
            } else {
                let rows: Vec<_> = members
                    .iter()
                    .map(|member| [member.user.clone(), member.role.clone()])
                    .collect();
                table(["USER", "ROLE"], &rows, "the project has no members");
            }
        }
    }
    Ok(())
}

fn member_done(project: &str, user: &str, role: Option<Role>, json: bool) {
    if json {
        let role = role.map(Role::as_str);
        screen::json(&serde_json::json!({ "project": project, "user": user, "role": role }));
    } else if let Some(role) = role {
        say(&format!("user {user} is {role} of project {project}"));
    } else {
        say(&format!(
            "user {user} is no member of project {project} any more"
        ));
    }
}
