//! Robots, as the operator manages them. The rules are Harbor's: a project's robot has rights in its one project, a robot of
//! the system on the system, in named projects or in all; each right must be one that the catalogue offers there.

use std::time::Duration;

use db::{
    Conn, Tx, projects,
    robots::{self, Robot},
};
use model::{
    Error, Result, What,
    id::{ProjectId, RobotId},
    name::{ProjectName, check_password},
    robot::{self, FullName, Permission, Scope},
    time::Timestamp,
};

use super::House;
use crate::control::{
    answer,
    request::{NewRobot, PAGE, Password, Reach, Right},
};

pub(super) async fn create(house: &House, new: NewRobot) -> Result<answer::Credential> {
    check(&new)?;
    let secret = auth::robots::new_secret()?;
    let project = new.project.as_ref().map(ProjectName::as_str);
    let name = signs_in_as(house, project, new.name.as_str()).await?;
    let (new, hash) = (std::sync::Arc::new(new), secret.hash);
    let expires_at = house
        .db()
        .write(move |tx| {
            let (new, hash) = (new.clone(), hash.clone());
            Box::pin(async move { insert(tx, &new, hash).await })
        })
        .await?;
    Ok(answer::Credential {
        name,
        secret: Some(secret.text),
        expires_at: expires_at.map(Timestamp::rfc3339),
    })
}

/// What can be said without looking.
fn check(new: &NewRobot) -> Result<()> {
    let refuse = |why: &str| Err(Error::invalid(What::Robot, why));
    let reaches_none = matches!(&new.reach, Reach::Projects(named) if named.is_empty());
    if new.rights.is_empty() && new.system_rights.is_empty() {
        return refuse("a robot needs at least one permission");
    }
    if new.project.is_some() && !(reaches_none && new.system_rights.is_empty()) {
        return refuse("a project's robot has permissions in its own project alone");
    }
    if new.project.is_none() && !new.rights.is_empty() && reaches_none {
        return refuse(
            "name the projects in which the robot has these permissions, or say everywhere",
        );
    }
    if new.project.is_none() && new.rights.is_empty() && !reaches_none {
        return refuse("the robot has no permission for the projects that were named");
    }
    if new.expires_in == Some(0) {
        return refuse("a robot that expires at once is of no use");
    }
    Ok(())
}

async fn insert(tx: &mut Tx, new: &NewRobot, secret: String) -> Result<Option<Timestamp>> {
    let now = tx.now().await?;
    let mut project = None;
    let mut permissions = Vec::new();
    for right in &new.system_rights {
        permissions.push(granted(Scope::System, *right)?);
    }
    let scopes = if let Some(name) = &new.project {
        let id = projects::get_name(tx, name.as_str()).await?.id;
        project = Some(id);
        vec![Scope::Project(id)]
    } else {
        reached(tx, &new.reach).await?
    };
    for scope in scopes {
        for right in &new.rights {
            permissions.push(granted(scope, *right)?);
        }
    }
    let name = full_name(
        new.project.as_ref().map(ProjectName::as_str),
        new.name.as_str(),
    );
    let expires_at = new
        .expires_in
        .map(|seconds| now.plus(Duration::from_secs(seconds)));
    let robot = robots::NewRobot {
        project,
        name: new.name.clone(),
        description: new.description.clone(),
        secret,
        // A life that is no whole number of days counts as the days that it begins with.
        duration: new
            .expires_in
            .map_or(-1, |seconds| (seconds / 86_400).max(1) as i64),
        creator: robots::Creator::User(1),
        expires_at,
        permissions,
    };
    robots::insert(tx, &robot, &name, now).await?;
    Ok(expires_at)
}

fn granted(scope: Scope, right: Right) -> Result<Permission> {
    let permission = Permission {
        scope,
        resource: right.resource,
        action: right.action,
    };
    permission.check()?;
    Ok(permission)
}

async fn reached(tx: &mut Tx, reach: &Reach) -> Result<Vec<Scope>> {
    let named = match reach {
        Reach::Everywhere => return Ok(vec![Scope::EveryProject]),
        Reach::Projects(named) => named,
    };
    let mut scopes = Vec::with_capacity(named.len());
    for name in named {
        scopes.push(Scope::Project(
            projects::get_name(tx, name.as_str()).await?.id,
        ));
    }
    Ok(scopes)
}

pub(super) async fn list(house: &House, after: i64) -> Result<Vec<answer::Robot>> {
    let now = house.db().now().await?;
    let mut reader = house.db().reader().await?;
    let settings = house.db().settings().await?;
    let prefix = settings.robot_name_prefix();
    let mut shown = Vec::new();
    for row in robots::list(&mut reader, RobotId(after), PAGE).await? {
        let name = robot::full_name(prefix, row.project_name.as_deref(), &row.name);
        shown.push(show(&mut reader, row, name, now).await?);
    }
    Ok(shown)
}

async fn show(conn: &mut Conn, row: Robot, name: String, now: Timestamp) -> Result<answer::Robot> {
    let mut permissions = Vec::new();
    for permission in robots::permissions(conn, row.id).await? {
        permissions.push(answer::Permission {
            scope: match permission.scope {
                Scope::System => "system".to_owned(),
                Scope::EveryProject => "*".to_owned(),
                Scope::Project(id) => project_name(conn, id).await?,
            },
            resource: permission.resource.to_string(),
            action: permission.action.to_string(),
        });
    }
    let state = match row.expires_at {
        _ if row.disabled => "disabled",
        Some(end) if end <= now => "expired",
        _ => "enabled",
    };
    Ok(answer::Robot {
        id: row.id.0,
        name,
        project: row.project_name,
        state: state.to_owned(),
        expires_at: row.expires_at.map(Timestamp::rfc3339),
        created_at: row.created_at.rfc3339(),
        permissions,
    })
}

/// Permissions in a project go with it, so that it is there but for a moment.
async fn project_name(conn: &mut Conn, id: ProjectId) -> Result<String> {
    let project = projects::find(conn, id).await?;
    Ok(project.map_or_else(|| format!("project {id}"), |project| project.name))
}

pub(super) async fn set_disabled(house: &House, robot: FullName, disabled: bool) -> Result<()> {
    house
        .db()
        .write(move |tx| {
            let robot = robot.clone();
            Box::pin(async move {
                let (row, name) = get(tx, &robot).await?;
                if row.disabled == disabled {
                    return Ok(());
                }
                let now = tx.now().await?;
                robots::set_disabled(tx, &row, &name, disabled, now).await
            })
        })
        .await
}

pub(super) async fn refresh_secret(
    house: &House,
    robot: FullName,
    given: Option<Password>,
) -> Result<answer::Credential> {
    get(&mut *house.db().reader().await?, &robot).await?;
    let project = robot.project.as_ref().map(ProjectName::as_str);
    let name = signs_in_as(house, project, robot.name.as_str()).await?;
    let (hash, made_up) = if let Some(Password(secret)) = given {
        check_password(&secret)?;
        (house.auth.hash_password(secret).await?, None)
    } else {
        let secret = auth::robots::new_secret()?;
        (secret.hash, Some(secret.text))
    };
    let expires_at = house
        .db()
        .write(move |tx| {
            let (robot, hash) = (robot.clone(), hash.clone());
            Box::pin(async move {
                let (row, name) = get(tx, &robot).await?;
                let now = tx.now().await?;
                robots::set_secret(tx, &row, &name, &hash, now).await?;
                Ok(row.expires_at)
            })
        })
        .await?;
    Ok(answer::Credential {
        name,
        secret: made_up,
        expires_at: expires_at.map(Timestamp::rfc3339),
    })
}

pub(super) async fn delete(house: &House, robot: FullName) -> Result<()> {
    house
        .db()
        .write(move |tx| {
            let robot = robot.clone();
            Box::pin(async move {
                let (row, name) = get(tx, &robot).await?;
                let now = tx.now().await?;
                robots::delete(tx, &row, &name, now).await
            })
        })
        .await
}

/// A robot's full name as it signs in, with the prefix that the settings say.
async fn signs_in_as(house: &House, project: Option<&str>, name: &str) -> Result<String> {
    let settings = house.db().settings().await?;
    Ok(robot::full_name(
        settings.robot_name_prefix(),
        project,
        name,
    ))
}

/// The robot, and its name in the change log, which a changed prefix leaves alone.
async fn get(conn: &mut Conn, robot: &FullName) -> Result<(Robot, String)> {
    let project = robot.project.as_ref().map(ProjectName::as_str);
    let name = full_name(project, robot.name.as_str());
    let row = robots::find_name(conn, project, robot.name.as_str()).await?;
    let row = row.ok_or_else(|| {
        Error::not_found(
            What::Robot,
            format!("robot `{name}` not found: `seawall robot list` shows them"),
        )
    })?;
    Ok((row, name))
}

fn full_name(project: Option<&str>, name: &str) -> String {
    robot::full_name(robot::NAME_PREFIX, project, name)
}
