//! Tags of an artifact.

use db::{immutable, tags::details};
use model::{Error as Cause, What};
use oci::name::Tag;
use schemars::JsonSchema;
use serde::Deserialize;

use super::{find, shape::Tag as Shown};
use crate::harbor::{
    answer::{Bare, Done, Listed},
    call::Call,
    error::Result,
    input::{Json, Query, flag},
    page::Wanted,
};

#[derive(Deserialize, JsonSchema)]
pub(crate) struct Status {
    /// Whether each tag is immutable.
    #[serde(default, deserialize_with = "flag")]
    with_immutable_status: Option<bool>,
}

pub(crate) async fn list(call: Call, Query(status): Query<Status>) -> Result<Listed<Shown>> {
    let row = find(&call).await?;
    let Wanted { listing, page } = call.wanted()?;
    let selection = details::LIST.select(&listing, details::of(row.id))?;
    let rules = if status.with_immutable_status.unwrap_or(false) {
        immutable::rules(&mut *call.reader().await?, call.project()).await?
    } else {
        immutable::Rules::default()
    };
    let shown = move |tag: details::Details| {
        let immutable = rules.hold(&row.repository_name, &tag.name);
        Shown::of(tag, immutable)
    };
    call.listed(selection, page, None, shown).await
}

#[derive(Deserialize, JsonSchema)]
#[schemars(rename = "TagReq")]
pub(crate) struct NewTag {
    #[serde(default)]
    name: String,
}

/// A tag that the repository has is never moved this way.
pub(crate) async fn create(call: Call, Json(asked): Json<NewTag>) -> Result<Bare> {
    let row = find(&call).await?;
    let tag = parse(&asked.name)?;
    let name = call.repository()?;
    call.registry().create_tag(&name, &row.digest, &tag).await?;
    Ok(Bare)
}

pub(crate) async fn delete(call: Call) -> Result<Done> {
    let row = find(&call).await?;
    let told = call.param("tag_name");
    let tag = parse(told).map_err(|_| {
        let shown: String = told.chars().take(150).collect();
        Cause::not_found(What::Tag, format!("tag {shown} not found"))
    })?;
    let name = call.repository()?;
    call.registry().remove_tag(&name, &row.digest, &tag).await?;
    Ok(Done)
}

fn parse(name: &str) -> std::result::Result<Tag, Cause> {
    Tag::parse(name).map(Tag::owned).map_err(|_| {
        let shown: String = name.chars().take(150).collect();
        Cause::invalid(What::Tag, format!("invalid tag name: {shown}"))
    })
}
