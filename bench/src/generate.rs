//! A registry's worth of small things, made through its API as clients would: projects with repositories, each with
//! artifacts of many tags.

use std::{
    sync::atomic::{AtomicUsize, Ordering},
    time::{Duration, Instant},
};

use serde_json::json;

use crate::{
    content::digest,
    http::Body,
    load::in_parallel,
    registry::{Admin, Flow, MANIFEST, Repository},
    servers::Running,
};

const CLIENTS: usize = 16;

/// How much is made: repositories are spread evenly over the projects.
#[derive(Clone, Copy)]
pub struct Amount {
    pub projects: usize,
    pub repositories: usize,
    /// Artifacts of a repository.
    pub artifacts: usize,
    /// Tags of an artifact; at most 64 are set by one push.
    pub tags: usize,
}

impl Amount {
    pub fn project(n: usize) -> String {
        format!("team-{n:04}")
    }

    /// The full name of repository `n`.
    pub fn repository(&self, n: usize) -> String {
        format!("{}/app-{:05}", Self::project(n % self.projects), n)
    }

    /// The tags of an artifact.
    pub fn tag_names(&self, artifact: usize) -> Vec<String> {
        (0..self.tags)
            .map(|tag| format!("v{artifact}.{tag}"))
            .collect()
    }
}

/// Makes all of it; answers how long it took.
pub fn generate(server: &Running, amount: &Amount) -> anyhow::Result<Duration> {
    let (began, admin) = (Instant::now(), Admin::of(server));
    let mut connection = admin.connect()?;
    for n in 0..amount.projects {
        let body = json!({ "project_name": Amount::project(n), "metadata": { "public": "false" } });
        admin.create(&mut connection, "/api/v2.0/projects", &body)?;
    }
    let next = AtomicUsize::new(0);
    let connections = (0..CLIENTS)
        .map(|_| admin.connect())
        .collect::<Result<_, _>>()?;
    in_parallel(connections, |_, connection, _| {
        loop {
            let n = next.fetch_add(1, Ordering::Relaxed);
            if n >= amount.repositories {
                return Ok(());
            }
            let repository = Repository::as_admin(server, &amount.repository(n));
            let config =
                json!({ "architecture": "amd64", "os": "linux", "created": "2026-01-01T00:00:00Z",
                "config": { "Env": [format!("N={n}")], "Cmd": ["/bin/sh"] } })
                .to_string();
            let config_digest = digest(config.as_bytes());
            repository.push_blob(
                connection,
                Body::Bytes(config.as_bytes()),
                &config_digest,
                Flow::Put,
            )?;
            for artifact in 0..amount.artifacts {
                let manifest = json!({
                    "schemaVersion": 2,
                    "mediaType": MANIFEST,
                    "config": { "mediaType": "application/vnd.oci.image.config.v1+json", "digest": config_digest, "size": config.len() },
                    "layers": [],
                    "annotations": { "org.opencontainers.image.version": format!("{n}.{artifact}") },
                })
                .to_string();
                let manifest_digest = digest(manifest.as_bytes());
                let tags: Vec<String> = amount
                    .tag_names(artifact)
                    .iter()
                    .map(|tag| format!("tag={tag}"))
                    .collect();
                let reference = format!("{manifest_digest}?{}", tags.join("&"));
                repository.push_manifest(
                    connection,
                    &reference,
                    manifest.as_bytes(),
                    &manifest_digest,
                )?;
            }
        }
    })?;
    Ok(began.elapsed())
}
