//! What an artifact brings to read beside its manifest.

use std::collections::BTreeMap;

use blob::ReadMode;
use bytes::Bytes;
use model::{Error as Cause, What};
use oci::{Reference, ReferenceRef};
use registry::additions::{Addition, Shown};

use super::{find, missing};
use crate::{
    admission::Room,
    body::Body,
    harbor::{
        answer::Plain,
        call::Call,
        error::{Error, Result},
        input::Json,
    },
};

pub(crate) async fn get(call: Call) -> Result<Plain> {
    let told = call.param("addition");
    let addition = Addition::parse(told).ok_or_else(|| {
        let shown: String = told.chars().take(100).collect();
        let all = Addition::ALL.map(Addition::as_str).join(" ");
        Error::Unprocessable(format!(
            "addition in path should be one of [{all} vulnerabilities]: {shown}"
        ))
    })?;
    let row = find(&call).await?;
    let manifest = manifest(&call, &row.digest).await?;
    let registry = &call.app().registry;
    let shown = registry
        .addition(row.repository, &manifest, addition)
        .await?;
    // Whoever takes it slowly takes room.
    let room = call.app().admission.enter(Room::Download)?;
    let (media_type, body) = match shown {
        Shown::Read(content) => (content.content_type, Body::held(content.bytes, room)),
        Shown::Stored {
            content_type,
            reader,
            size,
        } => {
            let stream = reader.stream(0..size, ReadMode::Copied);
            (content_type, Body::streamed(stream, size, room))
        }
    };
    Ok(Plain {
        media_type,
        body,
        file_name: None,
    })
}

/// Nothing has been scanned: there are no scanners yet.
pub(crate) async fn vulnerabilities(call: Call) -> Result<Json<BTreeMap<String, String>>> {
    find(&call).await?;
    Ok(Json(BTreeMap::new()))
}

async fn manifest(call: &Call, digest: &oci::Digest) -> Result<Bytes, Cause> {
    let name = call
        .repository()
        .map_err(|_| Cause::invalid(What::Repository, "no repository"))?;
    let reference = ReferenceRef::Digest(*digest);
    let found = call
        .app()
        .registry
        .find_manifest(name.borrowed(), &reference);
    let found = found.await?;
    found
        .map(|manifest| manifest.bytes.clone())
        .ok_or_else(|| missing(&name, &Reference::Digest(*digest)))
}
