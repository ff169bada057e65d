//! Tags of a repository, and the catalog: sorted by byte, a page at a time, each found by the last name of the one before.

use http::{Response, header};
use model::{Error, Result, What};
use oci::{name::NameRef, query};
use serde::Serialize;

use super::{json, text};
use crate::{body::Body, request::Ask};

/// The page of a client that asks for none, and the longest one.
const MOST: i64 = 10_000;

#[derive(Serialize)]
struct Tags<'a> {
    name: &'a str,
    tags: Vec<String>,
}

#[derive(Serialize)]
struct Catalog {
    repositories: Vec<String>,
}

pub(super) async fn tags(ask: &Ask, name: NameRef<'_>) -> Result<Response<Body>> {
    let page = Page::of(ask.query())?;
    let unknown = || Error::not_found(What::Repository, format!("repository {name} not found"));
    let repository = ask
        .app
        .registry
        .find_repository(name)
        .await?
        .ok_or_else(unknown)?;
    let mut tags = db::tags::list(
        &mut *ask.app.registry.db().reader().await?,
        repository,
        &page.last,
        page.length + 1,
    )
    .await?;
    let more = page.cut(&mut tags);
    let link = more.then(|| page.link(&format!("/v2/{name}/tags/list"), &tags));
    answer(
        &Tags {
            name: name.as_str(),
            tags,
        },
        link.as_deref(),
    )
}

pub(super) async fn catalog(ask: &Ask) -> Result<Response<Body>> {
    let page = Page::of(ask.query())?;
    let mut repositories = db::repositories::catalog(
        &mut *ask.app.registry.db().reader().await?,
        &page.last,
        page.length + 1,
    )
    .await?;
    let more = page.cut(&mut repositories);
    let link = more.then(|| page.link("/v2/_catalog", &repositories));
    answer(&Catalog { repositories }, link.as_deref())
}

fn answer(body: &impl Serialize, link: Option<&str>) -> Result<Response<Body>> {
    let body = serde_json::to_vec(body).map_err(model::error::internal("writing a list"))?;
    let mut response = json(body);
    if let Some(link) = link {
        response.headers_mut().insert(header::LINK, text(link));
    }
    Ok(response)
}

struct Page {
    length: i64,
    last: String,
}

impl Page {
    fn of(asked: &str) -> Result<Self> {
        let length = match query::first(asked, "n") {
            None => MOST,
            Some(n) => n
                .parse::<u64>()
                .map_err(|_| Error::invalid(What::Query, "the N must be a positive int type"))?
                .min(MOST as u64) as i64,
        };
        let last = query::first(asked, "last").unwrap_or_default().into_owned();
        Ok(Self { length, last })
    }

    /// Takes away what belongs to the next page; true when there is one.
    fn cut(&self, names: &mut Vec<String>) -> bool {
        let more = names.len() as i64 > self.length && self.length > 0;
        names.truncate(self.length as usize);
        more
    }

    fn link(&self, path: &str, names: &[String]) -> String {
        let last = names.last().map(String::as_str).unwrap_or_default();
        format!(
            "<{path}?last={}&n={}>; rel=\"next\"",
            query::encode(last),
            self.length
        )
    }
}
