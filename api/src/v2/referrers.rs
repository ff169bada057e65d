//! `GET /v2/<name>/referrers/<digest>`: what refers to a manifest, which itself need not be here (yet).

use std::collections::BTreeMap;

use db::artifacts::{self, Referrer};
use http::{HeaderValue, Response, header};
use model::{
    Result,
    id::{ArtifactId, RepositoryId},
};
use oci::{digest::Digest, media_type::OCI_INDEX, name::NameRef, query};
use serde::Serialize;

use super::text;
use crate::{body::Body, headers, request::Ask};

/// Referrers on one page.
const MOST: i64 = 1000;
/// Bytes of annotations after which a page ends.
const MOST_BYTES: usize = 4 << 20;
/// Referrers read at once: each may bring as much as a manifest can hold.
const STEP: i64 = 16;

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Index<'a> {
    schema_version: u8,
    media_type: &'static str,
    manifests: Vec<Descriptor<'a>>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Descriptor<'a> {
    media_type: &'a str,
    digest: Digest,
    size: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    artifact_type: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    annotations: Option<BTreeMap<String, String>>,
}

pub(super) async fn list(ask: &Ask, name: NameRef<'_>, subject: &Digest) -> Result<Response<Body>> {
    let artifact_type = query::first(ask.query(), "artifactType").filter(|kind| !kind.is_empty());
    // No media type holds a blank: it was an unescaped plus.
    let artifact_type = artifact_type.map(|kind| kind.replace(' ', "+"));
    let after = query::first(ask.query(), "last")
        .and_then(|last| last.parse().ok())
        .unwrap_or(0);
    let length = query::first(ask.query(), "n")
        .and_then(|n| n.parse::<i64>().ok())
        .unwrap_or(MOST)
        .clamp(1, MOST);
    let (found, more) = match ask.app.registry.find_repository(name).await? {
        None => (Vec::new(), false),
        Some(repository) => {
            let wanted = Wanted {
                repository,
                subject,
                artifact_type: artifact_type.as_deref(),
            };
            page(ask, &wanted, ArtifactId(after), length).await?
        }
    };
    let body = serde_json::to_vec(&Index {
        schema_version: 2,
        media_type: OCI_INDEX,
        manifests: found.iter().map(descriptor).collect(),
    })
    .map_err(model::error::internal("writing the referrers"))?;
    let mut response = Response::new(Body::whole(body));
    let answer = response.headers_mut();
    answer.insert(header::CONTENT_TYPE, HeaderValue::from_static(OCI_INDEX));
    if artifact_type.is_some() {
        answer.insert(
            headers::FILTERS_APPLIED,
            HeaderValue::from_static("artifactType"),
        );
    }
    if more && let Some(last) = found.last() {
        let kind = artifact_type
            .map(|kind| format!("&artifactType={}", query::encode(&kind)))
            .unwrap_or_default();
        answer.insert(
            header::LINK,
            text(&format!(
                "</v2/{name}/referrers/{subject}?n={length}&last={}{kind}>; rel=\"next\"",
                last.id
            )),
        );
    }
    Ok(response)
}

struct Wanted<'a> {
    repository: RepositoryId,
    subject: &'a Digest,
    artifact_type: Option<&'a str>,
}

/// A page of at most `length`, shorter where it would grow too long in bytes, and whether there is more.
async fn page(
    ask: &Ask,
    wanted: &Wanted<'_>,
    mut after: ArtifactId,
    length: i64,
) -> Result<(Vec<Referrer>, bool)> {
    let (mut found, mut bytes) = (Vec::new(), 0);
    let mut reader = ask.app.registry.db().reader().await?;
    loop {
        let step = artifacts::referrers(
            &mut reader,
            wanted.repository,
            wanted.subject,
            wanted.artifact_type,
            after,
            STEP,
        )
        .await?;
        let last = (step.len() as i64) < STEP;
        for referrer in step {
            bytes += referrer.annotations.as_ref().map_or(0, String::len);
            let is_full = found.len() as i64 == length || bytes > MOST_BYTES;
            // One alone is never too long, or there would be no way past it.
            if is_full && !found.is_empty() {
                return Ok((found, true));
            }
            after = referrer.id;
            found.push(referrer);
        }
        if last {
            return Ok((found, false));
        }
    }
}

fn descriptor(referrer: &Referrer) -> Descriptor<'_> {
    Descriptor {
        media_type: &referrer.media_type,
        digest: referrer.digest,
        size: referrer.size,
        artifact_type: referrer.artifact_type.as_deref(),
        annotations: referrer
            .annotations
            .as_deref()
            .and_then(|text| serde_json::from_str(text).ok()),
    }
}
