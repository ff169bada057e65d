//! The verbs of a registry's client, each checked: status, digest, length.

use std::net::SocketAddr;

use anyhow::{Context, ensure};
use base64::{Engine, engine::general_purpose::STANDARD};
use serde::Deserialize;

use crate::{
    content,
    http::{Body, Connection, Request, Response, head_of},
    servers::{Kind, Running},
};

pub const MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";

/// As docker sends it: some registries answer 404 to a client that does not name the type.
const ACCEPT: &str = "Accept: application/vnd.oci.image.manifest.v1+json, \
    application/vnd.oci.image.index.v1+json, application/vnd.docker.distribution.manifest.v2+json, \
    application/vnd.docker.distribution.manifest.list.v2+json\r\n";

/// How a blob of known digest is sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Flow {
    /// POST, then PUT with the bytes
    Put,
    /// POST, PATCH with the bytes, empty PUT: as docker does
    Patch,
}

/// A repository on a running server, with what a request to it needs.
pub struct Repository {
    address: SocketAddr,
    prefix: String,
    authorization: String,
}

impl Repository {
    /// On Seawall this gets a token for the repository.
    pub fn open(server: &Running, name: &str) -> anyhow::Result<Self> {
        let authorization = match server.kind {
            Kind::Seawall | Kind::SeawallPostgres => {
                format!("Authorization: Bearer {}\r\n", token(server, name)?)
            }
            Kind::Distribution | Kind::DockerRegistry | Kind::Zot | Kind::Angos | Kind::Nginx => {
                String::new()
            }
        };
        Ok(Self {
            address: server.address,
            prefix: format!("/v2/{name}"),
            authorization,
        })
    }

    /// On Seawall, with the administrator's password.
    pub fn as_admin(server: &Running, name: &str) -> Self {
        Self {
            address: server.address,
            prefix: format!("/v2/{name}"),
            authorization: as_admin(),
        }
    }

    pub fn connect(&self) -> anyhow::Result<Connection> {
        Connection::open(self.address)
    }

    pub fn has_blob(&self, connection: &mut Connection, digest: &str) -> anyhow::Result<bool> {
        let target = format!("{}/blobs/{digest}", self.prefix);
        let answer = self.call(connection, "HEAD", &target, "", Body::None)?;
        match answer.head.status {
            200 => Ok(true),
            404 => Ok(false),
            status => anyhow::bail!("HEAD {target}: status {status}"),
        }
    }

    pub fn push_blob(
        &self,
        connection: &mut Connection,
        body: Body<'_>,
        digest: &str,
        flow: Flow,
    ) -> anyhow::Result<()> {
        let target = format!("{}/blobs/uploads/", self.prefix);
        let begun = self.call(connection, "POST", &target, "", Body::None)?;
        let mut location = next_location(&begun, 202, "POST")?;
        let mut rest = body;
        if flow == Flow::Patch {
            let octets = "Content-Type: application/octet-stream\r\n";
            let patched = self.call(connection, "PATCH", &location, octets, body)?;
            location = next_location(&patched, 202, "PATCH")?;
            rest = Body::None;
        }
        let joint = if location.contains('?') { '&' } else { '?' };
        let target = format!("{location}{joint}digest={digest}");
        let done = self.call(
            connection,
            "PUT",
            &target,
            "Content-Type: application/octet-stream\r\n",
            rest,
        )?;
        expect(&done, 201, "PUT of a blob")?;
        expect_digest(&done, digest)
    }

    pub fn get_blob(&self, connection: &mut Connection, digest: &str) -> anyhow::Result<()> {
        let target = format!("{}/blobs/{digest}", self.prefix);
        let answer = self.call(connection, "GET", &target, "", Body::None)?;
        expect(&answer, 200, "GET of a blob")?;
        ensure!(
            content::digest(&answer.body) == digest,
            "GET {target} gave other bytes"
        );
        Ok(())
    }

    /// GETs a blob and throws its bytes away inside the kernel.
    pub fn discard_blob(
        &self,
        connection: &mut Connection,
        digest: &str,
        len: u64,
    ) -> anyhow::Result<()> {
        let target = format!("{}/blobs/{digest}", self.prefix);
        let request = Request {
            method: "GET",
            target: &target,
            headers: &self.authorization,
            body: Body::None,
        };
        let got = connection.discard(&request)?;
        ensure!(got == len, "GET {target}: {got} bytes instead of {len}");
        Ok(())
    }

    pub fn push_manifest(
        &self,
        connection: &mut Connection,
        reference: &str,
        bytes: &[u8],
        digest: &str,
    ) -> anyhow::Result<()> {
        let target = format!("{}/manifests/{reference}", self.prefix);
        let media_type = format!("Content-Type: {MANIFEST}\r\n");
        let answer = self.call(connection, "PUT", &target, &media_type, Body::Bytes(bytes))?;
        expect(&answer, 201, "PUT of a manifest")?;
        expect_digest(&answer, digest)
    }

    pub fn get_manifest(
        &self,
        connection: &mut Connection,
        reference: &str,
    ) -> anyhow::Result<Vec<u8>> {
        let target = format!("{}/manifests/{reference}", self.prefix);
        let answer = self.call(connection, "GET", &target, ACCEPT, Body::None)?;
        expect(&answer, 200, "GET of a manifest")?;
        Ok(answer.body)
    }

    /// The bytes of the request that `get_manifest` sends.
    pub fn manifest_request(&self, reference: &str) -> Vec<u8> {
        let target = format!("{}/manifests/{reference}", self.prefix);
        let headers = format!("{}{ACCEPT}", self.authorization);
        head_of(
            self.address,
            &Request {
                method: "GET",
                target: &target,
                headers: &headers,
                body: Body::None,
            },
        )
    }

    /// One page of tags after `last`, as the JSON that came.
    pub fn tags_page(
        &self,
        connection: &mut Connection,
        n: usize,
        last: Option<&str>,
    ) -> anyhow::Result<Vec<u8>> {
        let after = last.map(|last| format!("&last={last}")).unwrap_or_default();
        let target = format!("{}/tags/list?n={n}{after}", self.prefix);
        let answer = self.call(connection, "GET", &target, "", Body::None)?;
        expect(&answer, 200, "GET of a page of tags")?;
        Ok(answer.body)
    }

    fn call(
        &self,
        connection: &mut Connection,
        method: &str,
        target: &str,
        headers: &str,
        body: Body<'_>,
    ) -> anyhow::Result<Response> {
        let headers = format!("{}{headers}", self.authorization);
        connection.call(&Request {
            method,
            target,
            headers: &headers,
            body,
        })
    }
}

/// The administrator of a Seawall, who uses Harbor's API.
pub struct Admin {
    address: SocketAddr,
    headers: String,
}

impl Admin {
    pub fn of(server: &Running) -> Self {
        Self {
            address: server.address,
            headers: as_admin(),
        }
    }

    pub fn connect(&self) -> anyhow::Result<Connection> {
        Connection::open(self.address)
    }

    /// A list or a thing, as the JSON that came.
    pub fn get(&self, connection: &mut Connection, path: &str) -> anyhow::Result<Vec<u8>> {
        let answer = connection.call(&self.ask(path))?;
        expect(&answer, 200, path)?;
        Ok(answer.body)
    }

    /// How many rows a page has.
    pub fn rows(&self, connection: &mut Connection, path: &str) -> anyhow::Result<usize> {
        let page: serde_json::Value = serde_json::from_slice(&self.get(connection, path)?)?;
        let rows = page.as_array().or_else(|| page["repository"].as_array());
        Ok(rows.map_or(1, Vec::len))
    }

    pub fn create(
        &self,
        connection: &mut Connection,
        path: &str,
        body: &serde_json::Value,
    ) -> anyhow::Result<()> {
        let headers = format!("{}Content-Type: application/json\r\n", self.headers);
        let body = body.to_string();
        let answer = connection.call(&Request {
            method: "POST",
            target: path,
            headers: &headers,
            body: Body::Bytes(body.as_bytes()),
        })?;
        expect(&answer, 201, path)
    }

    /// The bytes of the request that `get` sends.
    pub fn request(&self, path: &str) -> Vec<u8> {
        head_of(self.address, &self.ask(path))
    }

    fn ask<'a>(&'a self, path: &'a str) -> Request<'a> {
        Request {
            method: "GET",
            target: path,
            headers: &self.headers,
            body: Body::None,
        }
    }
}

fn as_admin() -> String {
    let basic = STANDARD.encode(format!("admin:{}", crate::servers::PASSWORD));
    format!("Authorization: Basic {basic}\r\n")
}

/// The names in a page of tags.
pub fn tag_names(page: &[u8]) -> anyhow::Result<Vec<String>> {
    #[derive(Deserialize)]
    struct Page {
        tags: Vec<String>,
    }
    Ok(serde_json::from_slice::<Page>(page)
        .context("a page of tags")?
        .tags)
}

fn token(server: &Running, name: &str) -> anyhow::Result<String> {
    #[derive(Deserialize)]
    struct Token {
        token: String,
    }
    let target =
        format!("/service/token?service=harbor-registry&scope=repository:{name}:pull,push");
    let headers = as_admin();
    let request = Request {
        method: "GET",
        target: &target,
        headers: &headers,
        body: Body::None,
    };
    let answer = Connection::open(server.address)?.call(&request)?;
    expect(&answer, 200, "GET of a token")?;
    Ok(serde_json::from_slice::<Token>(&answer.body)?.token)
}

fn expect(answer: &Response, status: u16, what: &str) -> anyhow::Result<()> {
    let said = String::from_utf8_lossy(&answer.body[..answer.body.len().min(200)]).into_owned();
    ensure!(
        answer.head.status == status,
        "{what}: status {} instead of {status}: {said}",
        answer.head.status
    );
    Ok(())
}

fn expect_digest(answer: &Response, digest: &str) -> anyhow::Result<()> {
    match answer.head.digest.as_deref() {
        Some(other) if other != digest => {
            anyhow::bail!("the server stored `{other}` instead of `{digest}`")
        }
        _ => Ok(()),
    }
}

/// Path and query of the Location, which may come with scheme and host.
fn next_location(answer: &Response, status: u16, what: &str) -> anyhow::Result<String> {
    expect(answer, status, what)?;
    let location = answer
        .head
        .location
        .as_deref()
        .with_context(|| format!("{what} without Location"))?;
    Ok(path_of(location).to_owned())
}

fn path_of(location: &str) -> &str {
    match location.split_once("://") {
        Some((_, rest)) => rest.find('/').map_or("/", |at| &rest[at..]),
        None => location,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_location_is_taken_with_and_without_host() {
        for (location, path) in [
            (
                "/v2/a/blobs/uploads/1?_state=x",
                "/v2/a/blobs/uploads/1?_state=x",
            ),
            (
                "http://127.0.0.1:5000/v2/a/blobs/uploads/1",
                "/v2/a/blobs/uploads/1",
            ),
            ("https://registry", "/"),
        ] {
            assert_eq!(path_of(location), path);
        }
    }
}
