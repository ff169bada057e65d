//! The paths of `/v2`, read once into a value: guard and dispatch are matches on it.
//!
//! Paths are split from the right, since a repository's own name may contain `manifests`, `blobs` or `tags/list`.
//! They come as sent: a name never needs escaping, so none is undone there; a digest's colon often is escaped.

use thiserror::Error;

use crate::digest::{Digest, DigestError};
use crate::error::ErrorCode;
use crate::name::{NameError, NameRef, RepoName, TagError};
use crate::query::escape;
use crate::reference::{Reference, ReferenceError, ReferenceRef};

/// What a request under `/v2` is about. `HEAD` of what is not content counts as `GET`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Route<'a> {
    Ping,
    Catalog,
    Tags {
        name: NameRef<'a>,
    },
    Manifest {
        name: NameRef<'a>,
        reference: ReferenceRef<'a>,
        verb: ManifestVerb,
    },
    Blob {
        name: NameRef<'a>,
        digest: Digest,
        verb: BlobVerb,
    },
    UploadStart {
        name: NameRef<'a>,
    },
    /// The id is the server's own text, not judged here.
    Upload {
        name: NameRef<'a>,
        id: &'a str,
        verb: UploadVerb,
    },
    Referrers {
        name: NameRef<'a>,
        digest: Digest,
    },
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ManifestVerb {
    Get,
    Head,
    Put,
    Delete,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BlobVerb {
    Get,
    Head,
    Delete,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum UploadVerb {
    /// `GET`: how much has arrived.
    Status,
    /// `PATCH`: more bytes.
    Append,
    /// `PUT`: the last bytes, if any, and the digest.
    Finish,
    /// `DELETE`.
    Cancel,
}

impl<'a> Route<'a> {
    /// The repository it is about.
    pub fn name(&self) -> Option<NameRef<'a>> {
        match *self {
            Self::Ping | Self::Catalog => None,
            Self::Tags { name }
            | Self::Manifest { name, .. }
            | Self::Blob { name, .. }
            | Self::UploadStart { name }
            | Self::Upload { name, .. }
            | Self::Referrers { name, .. } => Some(name),
        }
    }
}

/// Why a request has no route. The name is there when it was valid, so that a challenge can be written first.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum RouteError<'a> {
    #[error("there is nothing at this path")]
    NotFound,
    #[error("this method is not supported here: use {allow}")]
    MethodNotAllowed {
        allow: &'static str,
        name: Option<NameRef<'a>>,
    },
    #[error(transparent)]
    BadName(NameError),
    #[error("{error}")]
    BadDigest {
        name: NameRef<'a>,
        error: DigestError,
    },
    #[error("{error}")]
    BadReference { name: NameRef<'a>, error: TagError },
}

impl<'a> RouteError<'a> {
    /// The spec's code for it.
    pub const fn code(&self) -> ErrorCode {
        match self {
            Self::NotFound => ErrorCode::NameUnknown,
            Self::MethodNotAllowed { .. } => ErrorCode::Unsupported,
            Self::BadName(_) => ErrorCode::NameInvalid,
            Self::BadDigest { .. } => ErrorCode::DigestInvalid,
            // The spec has no code for a bad tag: TAG_INVALID belongs to schema 1.
            Self::BadReference { .. } => ErrorCode::ManifestInvalid,
        }
    }

    /// The repository it is about, when that much was valid.
    pub const fn name(&self) -> Option<NameRef<'a>> {
        match *self {
            Self::NotFound | Self::BadName(_) => None,
            Self::MethodNotAllowed { name, .. } => name,
            Self::BadDigest { name, .. } | Self::BadReference { name, .. } => Some(name),
        }
    }
}

/// Reads method and path (without its query, escapes as sent).
pub fn parse<'a>(method: &str, path: &'a str) -> Result<Route<'a>, RouteError<'a>> {
    let rest = path.strip_prefix("/v2").ok_or(RouteError::NotFound)?;
    match rest {
        "" | "/" => read_only(method, None).map(|()| Route::Ping),
        "/_catalog" => read_only(method, None).map(|()| Route::Catalog),
        _ => in_repository(method, rest.strip_prefix('/').ok_or(RouteError::NotFound)?),
    }
}

/// Reads `<name>/<what>/<which>`.
fn in_repository<'a>(method: &str, path: &'a str) -> Result<Route<'a>, RouteError<'a>> {
    let (front, last) = path.rsplit_once('/').ok_or(RouteError::NotFound)?;
    let (front, what) = front.rsplit_once('/').ok_or(RouteError::NotFound)?;
    match what {
        "manifests" => manifest(method, name(front)?, last),
        "blobs" if last == "uploads" => upload_start(method, name(front)?),
        "blobs" => blob(method, name(front)?, last),
        "uploads" => match front.rsplit_once('/') {
            Some((front, "blobs")) if last.is_empty() => upload_start(method, name(front)?),
            Some((front, "blobs")) => upload(method, name(front)?, last),
            _ => Err(RouteError::NotFound),
        },
        "tags" if last == "list" => {
            let name = name(front)?;
            read_only(method, Some(name)).map(|()| Route::Tags { name })
        }
        "referrers" => {
            let name = name(front)?;
            read_only(method, Some(name))?;
            Ok(Route::Referrers {
                name,
                digest: digest(name, last)?,
            })
        }
        _ => Err(RouteError::NotFound),
    }
}

fn manifest<'a>(
    method: &str,
    name: NameRef<'a>,
    last: &'a str,
) -> Result<Route<'a>, RouteError<'a>> {
    let verb = match method {
        "GET" => ManifestVerb::Get,
        "HEAD" => ManifestVerb::Head,
        "PUT" => ManifestVerb::Put,
        "DELETE" => ManifestVerb::Delete,
        _ => return Err(not_allowed("GET, HEAD, PUT, DELETE", Some(name))),
    };
    let reference = match Reference::parse(last) {
        Ok(reference) => reference,
        // Escapes are for the colon; a tag has nothing to escape.
        Err(_) if unescaped(last).contains(':') => Reference::Digest(digest(name, last)?),
        Err(ReferenceError::Digest(error)) => return Err(RouteError::BadDigest { name, error }),
        Err(ReferenceError::Tag(error)) => return Err(RouteError::BadReference { name, error }),
    };
    Ok(Route::Manifest {
        name,
        reference,
        verb,
    })
}

fn blob<'a>(method: &str, name: NameRef<'a>, last: &'a str) -> Result<Route<'a>, RouteError<'a>> {
    let verb = match method {
        "GET" => BlobVerb::Get,
        "HEAD" => BlobVerb::Head,
        "DELETE" => BlobVerb::Delete,
        _ => return Err(not_allowed("GET, HEAD, DELETE", Some(name))),
    };
    Ok(Route::Blob {
        name,
        digest: digest(name, last)?,
        verb,
    })
}

fn upload_start<'a>(method: &str, name: NameRef<'a>) -> Result<Route<'a>, RouteError<'a>> {
    match method {
        "POST" => Ok(Route::UploadStart { name }),
        _ => Err(not_allowed("POST", Some(name))),
    }
}

fn upload<'a>(method: &str, name: NameRef<'a>, id: &'a str) -> Result<Route<'a>, RouteError<'a>> {
    let verb = match method {
        "GET" | "HEAD" => UploadVerb::Status,
        "PATCH" => UploadVerb::Append,
        "PUT" => UploadVerb::Finish,
        "DELETE" => UploadVerb::Cancel,
        _ => return Err(not_allowed("GET, HEAD, PATCH, PUT, DELETE", Some(name))),
    };
    Ok(Route::Upload { name, id, verb })
}

fn read_only<'a>(method: &str, name: Option<NameRef<'a>>) -> Result<(), RouteError<'a>> {
    match method {
        "GET" | "HEAD" => Ok(()),
        _ => Err(not_allowed("GET, HEAD", name)),
    }
}

fn not_allowed<'a>(allow: &'static str, name: Option<NameRef<'a>>) -> RouteError<'a> {
    RouteError::MethodNotAllowed { allow, name }
}

fn name(text: &str) -> Result<NameRef<'_>, RouteError<'_>> {
    RepoName::parse(text).map_err(RouteError::BadName)
}

/// A digest, as it is or escaped: `sha256%3A…` is what many URL libraries make of it.
fn digest<'a>(name: NameRef<'a>, text: &str) -> Result<Digest, RouteError<'a>> {
    let digest = if text.contains('%') {
        Digest::parse(&unescaped(text))
    } else {
        Digest::parse(text)
    };
    digest.map_err(|error| RouteError::BadDigest { name, error })
}

/// Undoes escapes of one segment. What would be a slash stays escaped: it never separates segments.
fn unescaped(segment: &str) -> String {
    let mut plain = String::with_capacity(segment.len());
    let mut rest = segment;
    while let Some(first) = rest.chars().next() {
        match escape(rest.as_bytes()) {
            Some(byte) if byte.is_ascii_graphic() && byte != b'/' => {
                plain.push(char::from(byte));
                rest = &rest[3..];
            }
            _ => {
                plain.push(first);
                rest = &rest[first.len_utf8()..];
            }
        }
    }
    plain
}

#[cfg(test)]
mod tests;
