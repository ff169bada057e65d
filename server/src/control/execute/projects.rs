//! Projects and their members, as the operator manages them.

use db::{members, projects, quotas, trash, users};
use model::{Error, Result, What, id::ProjectId, name::ProjectName, role::Role};

use super::House;
use crate::control::{answer, request::PAGE};

/// The owner is the project's first administrator, as with Harbor.
pub(super) async fn create(
    house: &House,
    name: ProjectName,
    public: bool,
    owner: String,
) -> Result<ProjectId> {
    house
        .db()
        .write(move |tx| {
            let (name, owner) = (name.clone(), owner.clone());
            Box::pin(async move {
                let now = tx.now().await?;
                let owner = users::get_name(tx, &owner).await?;
                let new = projects::NewProject {
                    public,
                    ..projects::NewProject::named(name, owner.id)
                };
                projects::insert(tx, &new, now).await
            })
        })
        .await
}

pub(super) async fn list(house: &House, after: &str) -> Result<Vec<answer::Project>> {
    let mut reader = house.db().reader().await?;
    let mut shown = Vec::new();
    for project in projects::list(&mut reader, after, PAGE).await? {
        let owner = users::find(&mut reader, project.owner).await?;
        let (used, quota) = match quotas::find(&mut reader, project.id).await? {
            Some(quota) => (quota.used, quota.hard),
            None => (
                quotas::usage(&mut reader, project.id).await? as i64,
                quotas::UNLIMITED,
            ),
        };
        shown.push(answer::Project {
            id: project.id.0,
            name: project.name,
            public: project.public,
            owner: owner.map(|owner| owner.name),
            created_at: project.created_at.rfc3339(),
            used,
            quota,
        });
    }
    Ok(shown)
}

pub(super) async fn delete(house: &House, name: String) -> Result<()> {
    let project = projects::get_name(&mut *house.db().reader().await?, &name).await?;
    house.registry.delete_project(project.id).await
}

/// The last of this name that was deleted.
pub(super) async fn restore(house: &House, name: String) -> Result<()> {
    let found = trash::projects::find_name(&mut *house.db().reader().await?, &name).await?;
    let found = found.ok_or_else(|| trash::projects::not_found(&name))?;
    house.registry.restore_project(found.id).await
}

pub(super) async fn set_public(house: &House, name: String, public: bool) -> Result<()> {
    house
        .db()
        .write(move |tx| {
            let name = name.clone();
            Box::pin(async move {
                let project = projects::get_name(tx, &name).await?;
                if project.public == public {
                    return Ok(());
                }
                let now = tx.now().await?;
                projects::set_public(tx, &project, public, now).await
            })
        })
        .await
}

/// A project that was made while quotas were switched off has none.
pub(super) async fn set_quota(house: &House, name: String, hard: i64) -> Result<()> {
    house
        .db()
        .write(move |tx| {
            let name = name.clone();
            Box::pin(async move {
                let project = projects::get_name(tx, &name).await?;
                let now = tx.now().await?;
                let quota = quotas::find(tx, project.id).await?.ok_or_else(|| {
                    Error::not_found(What::Quota, format!("project `{name}` has no quota"))
                })?;
                quotas::set_hard(tx, &quota, hard, now).await
            })
        })
        .await
}

pub(super) async fn set_member(
    house: &House,
    project: String,
    user: String,
    role: Role,
) -> Result<()> {
    house
        .db()
        .write(move |tx| {
            let (project, user) = (project.clone(), user.clone());
            Box::pin(async move {
                let project = projects::get_name(tx, &project).await?;
                let user = users::get_name(tx, &user).await?;
                let now = tx.now().await?;
                members::set(tx, &project, &user, role, now).await
            })
        })
        .await
}

pub(super) async fn remove_member(house: &House, project: String, user: String) -> Result<()> {
    house
        .db()
        .write(move |tx| {
            let (project, user) = (project.clone(), user.clone());
            Box::pin(async move {
                let project = projects::get_name(tx, &project).await?;
                let user = users::get_name(tx, &user).await?;
                let now = tx.now().await?;
                members::remove(tx, &project, &user, now).await
            })
        })
        .await
}

pub(super) async fn members(
    house: &House,
    project: &str,
    after: &str,
) -> Result<Vec<answer::Member>> {
    let mut reader = house.db().reader().await?;
    let project = projects::get_name(&mut reader, project).await?;
    let rows = members::list(&mut reader, &project, after, PAGE).await?;
    let shown = rows.into_iter().map(|member| answer::Member {
        user: member.name,
        role: member.role.to_string(),
    });
    Ok(shown.collect())
}
