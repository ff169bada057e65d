//! Groups of people.

use db::user_groups::{self, Filter, Group, GroupKind};
use model::{Error as Cause, What, id::GroupId, settings::AuthMode};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{
    answer::{Created, Done, Listed},
    call::Call,
    error::{Error, Result},
    input::{Json, Query},
};

/// Names longer than this fit no column of Harbor's.
const LONGEST_NAME: usize = 255;

#[derive(Serialize, JsonSchema)]
pub(super) struct UserGroup {
    #[serde(skip_serializing_if = "Option::is_none")]
    id: Option<i64>,
    group_name: String,
    /// 1 for a group of LDAP, 2 of an authentication proxy, 3 of OIDC.
    group_type: i64,
    #[serde(skip_serializing_if = "Option::is_none")]
    ldap_group_dn: Option<String>,
}

impl From<Group> for UserGroup {
    fn from(group: Group) -> Self {
        Self {
            id: Some(group.id.0),
            group_name: group.name,
            group_type: group.kind.number(),
            ldap_group_dn: group.ldap_dn,
        }
    }
}

#[derive(Deserialize, JsonSchema)]
pub(super) struct UserGroupReq {
    #[serde(default)]
    group_name: String,
    /// 1 for a group of LDAP, 2 of an authentication proxy, 3 of OIDC.
    #[serde(default)]
    group_type: i64,
    #[expect(dead_code, reason = "told in the document; no directory is asked yet")]
    #[serde(default)]
    ldap_group_dn: String,
}

#[derive(Deserialize, JsonSchema)]
pub(super) struct ListQuery {
    #[serde(default)]
    group_name: String,
    #[serde(default)]
    ldap_group_dn: String,
}

#[derive(Deserialize, JsonSchema)]
pub(super) struct SearchQuery {
    groupname: String,
}

pub(super) async fn list(call: Call, Query(asked): Query<ListQuery>) -> Result<Listed<UserGroup>> {
    let settings = call.settings().await?;
    let mode = settings.auth_mode();
    let dn = asked.ldap_group_dn.trim().to_lowercase();
    let filter = Filter {
        name: &asked.group_name,
        kind: match mode {
            AuthMode::Ldap => Some(GroupKind::Ldap),
            AuthMode::Http => Some(GroupKind::Http),
            AuthMode::Database | AuthMode::Oidc | AuthMode::Uaa => None,
        },
        ldap_dn: Some(dn.as_str()).filter(|dn| mode == AuthMode::Ldap && !dn.is_empty()),
    };
    let (offset, limit) = call.rows()?;
    let mut reader = call.reader().await?;
    let total = user_groups::count(&mut reader, filter).await?;
    let rows = user_groups::list(&mut reader, filter, offset, limit).await?;
    Ok(Listed::whole(
        rows.into_iter().map(UserGroup::from).collect(),
        total,
    ))
}

/// Always the first rows, as with Harbor.
pub(super) async fn search(
    call: Call,
    Query(asked): Query<SearchQuery>,
) -> Result<Listed<UserGroup>> {
    if asked.groupname.is_empty() {
        return Err(invalid("need to provide groupname to search user group"));
    }
    let (_, limit) = call.rows()?;
    let mut reader = call.reader().await?;
    let filter = Filter {
        name: &asked.groupname,
        ..Filter::default()
    };
    let total = user_groups::count(&mut reader, filter).await?;
    let rows = user_groups::search(&mut reader, &asked.groupname, limit).await?;
    let shown = rows.into_iter().map(|group| UserGroup {
        ldap_group_dn: None,
        ..group.into()
    });
    Ok(Listed::whole(shown.collect(), total))
}

pub(super) async fn create(call: Call, Json(new): Json<Option<UserGroupReq>>) -> Result<Created> {
    let new = named(new)?;
    let kind = match GroupKind::from_number(new.group_type) {
        Some(GroupKind::Ldap) => {
            return Err(invalid(
                "a group of LDAP must be found in the directory first, and no directory is set up here",
            ));
        }
        Some(kind) => kind,
        None => {
            return Err(invalid(
                "invalid group_type: use 1 for a group of LDAP, 2 of an authentication proxy, 3 of OIDC",
            ));
        }
    };
    let name = new.group_name;
    let id = call
        .db()
        .write(move |tx| {
            let name = name.clone();
            Box::pin(async move {
                let now = tx.now().await?;
                user_groups::insert(tx, &name, kind, None, now).await
            })
        })
        .await?;
    Ok(Created(id.to_string()))
}

/// Without its number, as with Harbor.
pub(super) async fn get(call: Call) -> Result<Json<UserGroup>> {
    let group = user_groups::get(&mut *call.reader().await?, id(&call)?).await?;
    Ok(Json(UserGroup {
        id: None,
        ..group.into()
    }))
}

/// Only the name can be changed.
pub(super) async fn update(call: Call, Json(change): Json<Option<UserGroupReq>>) -> Result<Done> {
    let (id, name) = (id(&call)?, named(change)?.group_name);
    call.db()
        .write(move |tx| {
            let name = name.clone();
            Box::pin(async move {
                let group = user_groups::get(tx, id).await?;
                let now = tx.now().await?;
                user_groups::rename(tx, &group, &name, now).await
            })
        })
        .await?;
    Ok(Done)
}

/// One that is not there is as one that was deleted, as with Harbor.
pub(super) async fn delete(call: Call) -> Result<Done> {
    let id = id(&call)?;
    call.db()
        .write(move |tx| {
            Box::pin(async move {
                let Some(group) = user_groups::find(tx, id).await? else {
                    return Ok(());
                };
                let now = tx.now().await?;
                user_groups::delete(tx, &group, now).await
            })
        })
        .await?;
    Ok(Done)
}

fn id(call: &Call) -> Result<GroupId> {
    let id = call.number("group_id")?;
    if id <= 0 {
        return Err(invalid("the group id should be provided"));
    }
    Ok(GroupId(id))
}

/// Harbor answers one without a name with a body of no bytes; ours says what is missing.
fn named(told: Option<UserGroupReq>) -> Result<UserGroupReq> {
    let told = told
        .filter(|told| !told.group_name.is_empty())
        .ok_or_else(|| invalid("group_name must not be empty"))?;
    if told.group_name.chars().count() > LONGEST_NAME {
        return Err(invalid("group_name with illegal length"));
    }
    Ok(told)
}

fn invalid(why: &str) -> Error {
    Cause::invalid(What::Group, why).into()
}
