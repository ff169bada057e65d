//! Members of a project: people, and groups of people.

use db::{
    Conn,
    members::{self, Candidate, Entity, Member},
    users,
};
use model::{
    Error as Cause, Result as House, What,
    id::{GroupId, MemberId, UserId},
    listing::Page,
    role::Role,
};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{
    answer::{Created, Done, Listed},
    call::Call,
    error::Result,
    input::{Json, Query},
    projects::gone,
};

/// Members that are answered at once where everything is asked for.
const MOST: i64 = 20_000;

#[derive(Serialize, JsonSchema)]
pub(super) struct ProjectMemberEntity {
    id: i64,
    project_id: i64,
    entity_name: String,
    role_name: &'static str,
    role_id: i64,
    entity_id: i64,
    /// `u` for a user, `g` for a group.
    entity_type: &'static str,
}

impl ProjectMemberEntity {
    fn of(member: Member, project_id: i64) -> Self {
        let (entity_id, entity_type) = match member.entity {
            Entity::User(id) => (id.0, "u"),
            Entity::Group(id) => (id.0, "g"),
        };
        Self {
            id: member.id.0,
            project_id,
            entity_name: member.name,
            role_name: member.role.as_str(),
            role_id: member.role.number(),
            entity_id,
            entity_type,
        }
    }
}

#[derive(Deserialize, JsonSchema)]
pub(super) struct ListMembers {
    /// The exact name of a user or group.
    entityname: Option<String>,
}

/// The total is of all members, whatever name is asked for, as with Harbor.
pub(super) async fn list(
    call: Call,
    Query(asked): Query<ListMembers>,
) -> Result<Listed<ProjectMemberEntity>> {
    let (before, count) = match call.wanted()?.page {
        Page::Rows { before, count } => (before, count),
        Page::All => (0, MOST),
    };
    let name = asked.entityname.unwrap_or_default();
    let mut reader = call.reader().await?;
    let id = call.project();
    let rows = members::page(&mut reader, id, &name, before, count).await?;
    Ok(Listed::whole(
        rows.into_iter()
            .map(|member| ProjectMemberEntity::of(member, id.0))
            .collect(),
        members::count(&mut reader, id).await?.values().sum(),
    ))
}

#[derive(Deserialize, JsonSchema)]
pub(super) struct ProjectMember {
    /// 1 project administrator, 2 developer, 3 guest, 4 maintainer, 5 limited guest.
    #[serde(default)]
    role_id: i64,
    #[serde(default)]
    member_user: UserEntity,
    #[serde(default)]
    member_group: MemberGroup,
}

#[derive(Clone, Default, Deserialize, JsonSchema)]
#[serde(default)]
pub(super) struct UserEntity {
    user_id: i64,
    username: String,
}

#[derive(Clone, Default, Deserialize, JsonSchema)]
#[serde(default)]
pub(super) struct MemberGroup {
    id: i64,
    group_name: String,
    group_type: i64,
    ldap_group_dn: String,
}

/// Who is meant is told by a user's number, or else a group's, a user's name, a group's name in the directory, a group's name.
pub(super) async fn create(
    call: Call,
    Json(asked): Json<Option<ProjectMember>>,
) -> Result<Created> {
    let Some(asked) = asked else {
        return invalid("the project member should provide");
    };
    let (user, group) = (asked.member_user, asked.member_group);
    let is_nobody = user.user_id <= 0
        && user.username.is_empty()
        && group.id <= 0
        && group.group_name.is_empty()
        && group.ldap_group_dn.is_empty();
    if is_nobody {
        return invalid("at least one of member_user or member_group must be provided");
    }
    let (project, role, now) = (call.project(), Role::from_number(asked.role_id), call.now());
    let id = call
        .db()
        .write(move |tx| {
            let (user, group) = (user.clone(), group.clone());
            Box::pin(async move {
                let project = db::projects::find(tx, project).await?.ok_or_else(gone)?;
                let meant = find(tx, &user, &group).await?;
                let Some(role) = role else {
                    members::refuse_known(tx, project.id, meant.entity()).await?;
                    return Err(no_role());
                };
                members::insert(tx, &project, meant.candidate(), role, now).await
            })
        })
        .await?;
    Ok(Created(id.to_string()))
}

fn invalid<T>(why: &str) -> Result<T> {
    Err(Cause::invalid(What::Member, why).into())
}

fn no_role() -> Cause {
    Cause::invalid(
        What::Member,
        "invalid role: must be one of the project roles 1 to 5",
    )
}

/// Whom a request means.
enum Meant {
    User(users::User),
    Group(GroupId, String),
}

impl Meant {
    fn entity(&self) -> Entity {
        match self {
            Self::User(user) => Entity::User(user.id),
            Self::Group(id, _) => Entity::Group(*id),
        }
    }

    fn candidate(&self) -> Candidate<'_> {
        match self {
            Self::User(user) => Candidate::User(user),
            Self::Group(id, name) => Candidate::Group { id: *id, name },
        }
    }
}

/// A number that nobody has is a mistake in the request, a name that nobody has is not found: so Harbor says it.
async fn find(conn: &mut Conn, user: &UserEntity, group: &MemberGroup) -> House<Meant> {
    if user.user_id > 0 {
        let found = users::find(conn, UserId(user.user_id)).await?;
        return found.map(Meant::User).ok_or_else(|| {
            Cause::invalid(What::Member, format!("User {} not found", user.user_id))
        });
    }
    if group.id <= 0 && !user.username.is_empty() {
        let found = users::find_name(conn, &user.username).await?;
        return found.map(Meant::User).ok_or_else(|| {
            Cause::not_found(What::User, format!("user {} is not found", user.username))
        });
    }
    let dn = group.ldap_group_dn.to_lowercase();
    let found =
        members::find_group(conn, group.id, &dn, &group.group_name, group.group_type).await?;
    found
        .map(|(id, name)| Meant::Group(id, name))
        .ok_or_else(|| {
            if group.id > 0 {
                return Cause::invalid(What::Member, format!("Group {} not found", group.id));
            }
            let name = [&group.ldap_group_dn, &group.group_name];
            let name = name.into_iter().find(|name| !name.is_empty());
            Cause::not_found(
                What::Member,
                format!(
                    "user group {} is not found",
                    name.map_or("", String::as_str)
                ),
            )
        })
}

pub(super) async fn get(call: Call) -> Result<Json<ProjectMemberEntity>> {
    let (project, id) = (call.project(), member_id(&call)?);
    let found = members::find(&mut *call.reader().await?, project, id).await?;
    let Some(member) = found else {
        let why =
            format!("the project member is not found with project id {project}, member id {id}");
        return Err(Cause::not_found(What::Member, why).into());
    };
    Ok(Json(ProjectMemberEntity::of(member, project.0)))
}

fn member_id(call: &Call) -> Result<MemberId> {
    match call.number("mid")? {
        0 => invalid("the member id can not be empty!"),
        id => Ok(MemberId(id)),
    }
}

#[derive(Deserialize, JsonSchema)]
pub(super) struct RoleRequest {
    #[serde(default)]
    role_id: i64,
}

/// Of a member who is not there nothing is changed, and nothing is said, as with Harbor.
pub(super) async fn update(call: Call, Json(asked): Json<Option<RoleRequest>>) -> Result<Done> {
    let Some(asked) = asked else {
        return invalid("role can not be empty");
    };
    let role = Role::from_number(asked.role_id).ok_or_else(no_role)?;
    let (project, id, now) = (call.project(), member_id(&call)?, call.now());
    call.db()
        .write(move |tx| {
            Box::pin(async move {
                let project = db::projects::find(tx, project).await?.ok_or_else(gone)?;
                match members::find(tx, project.id, id).await? {
                    Some(member) => members::set_role(tx, &project, &member, role, now).await,
                    None => Ok(()),
                }
            })
        })
        .await?;
    Ok(Done)
}

/// The same goes for a member who is not there.
pub(super) async fn delete(call: Call) -> Result<Done> {
    let (project, id, now) = (call.project(), member_id(&call)?, call.now());
    call.db()
        .write(move |tx| {
            Box::pin(async move {
                let project = db::projects::find(tx, project).await?.ok_or_else(gone)?;
                match members::find(tx, project.id, id).await? {
                    Some(member) => members::delete(tx, &project, &member, now).await,
                    None => Ok(()),
                }
            })
        })
        .await?;
    Ok(Done)
}
