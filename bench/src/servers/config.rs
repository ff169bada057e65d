//! The least configuration of each server: the file system of its directory, plain HTTP on loopback, no access
//! log, every acknowledged write on disk where there is a switch for it. The peers run without authentication,
//! as their published figures do; Seawall asks for a Bearer token.

use std::{
    fs,
    net::SocketAddr,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::Context;
use serde_json::json;
use testkit::S3;

use super::{Kind, Server};
use crate::{POSTGRES, content::digest};

/// The admin's password of a Seawall that lives for one run on loopback.
pub const PASSWORD: &str = "Bench-12345";

/// Where nginx finds the files that it serves.
pub fn nginx_root(directory: &Path) -> PathBuf {
    directory.join("html")
}

/// The command that runs the server in the foreground on `directory`.
pub(super) fn command(
    server: &Server,
    directory: &Path,
    address: SocketAddr,
) -> anyhow::Result<Command> {
    let mut command = Command::new(&server.program);
    command.current_dir(directory);
    match server.kind {
        Kind::Seawall | Kind::SeawallPostgres => {
            command
                .arg("serve")
                .arg("--data")
                .arg(directory.join("data"));
            command.args(["--listen", &address.to_string()]);
            command.env("SEAWALL_ADMIN_PASSWORD", PASSWORD);
            command.env("SEAWALL_LOG__ACCESS", "false");
            if server.kind == Kind::SeawallPostgres {
                command.env("SEAWALL_DATABASE__URL", database(directory)?);
            }
            if let Some(s3) = &server.s3 {
                let bucket = bucket(directory, s3)?;
                command.env("SEAWALL_STORAGE__URL", format!("s3://{bucket}/registry"));
                command.env("SEAWALL_STORAGE__ENDPOINT", &s3.endpoint);
                command.env("SEAWALL_STORAGE__ACCESS_KEY", &s3.id);
                command.env("SEAWALL_STORAGE__SECRET_KEY", &s3.secret);
            }
        }
        Kind::Distribution | Kind::DockerRegistry => {
            let storage = match &server.s3 {
                Some(s3) => in_bucket(&bucket(directory, s3)?, s3),
                None => format!(
                    "filesystem: {{rootdirectory: {}}}",
                    directory.join("data").display()
                ),
            };
            command.arg("serve").arg(write(
                directory,
                "config.yml",
                &distribution(&storage, address),
            )?);
            // Version 3 would send traces to a collector that is not there.
            command.env("OTEL_TRACES_EXPORTER", "none");
        }
        Kind::Zot => {
            command
                .arg("serve")
                .arg(write(directory, "config.json", &zot(directory, address))?);
        }
        Kind::Angos => {
            command
                .arg("-c")
                .arg(write(directory, "config.toml", &angos(directory, address))?)
                .arg("server");
            command.env("RUST_LOG", "error");
        }
        Kind::Nginx => {
            let root = nginx_root(directory);
            fs::create_dir_all(&root)?;
            write(&root, "ready", "ready\n")?;
            command.arg("-p").arg(directory).arg("-c").arg(write(
                directory,
                "nginx.conf",
                &nginx(&root, address),
            )?);
            command.arg("-e").arg(directory.join("error.log"));
        }
    }
    Ok(command)
}

/// A database of the directory's own, made anew when the directory is new.
fn database(directory: &Path) -> anyhow::Result<String> {
    let url = std::env::var(POSTGRES)?;
    let (server, _) = url
        .rsplit_once('/')
        .context("a URL of PostgreSQL ends in a database")?;
    let name = format!(
        "bench_{}",
        digest(directory.as_os_str().as_encoded_bytes())
            .get(7..23)
            .unwrap_or("kept")
    );
    if !directory.join("data").exists() {
        for statement in ["DROP DATABASE IF EXISTS", "CREATE DATABASE"] {
            let done = Command::new("psql")
                .args([url.as_str(), "-qc", &format!("{statement} {name}")])
                .status()
                .context("psql")?;
            anyhow::ensure!(done.success(), "psql: {statement} {name}: {done}");
        }
    }
    Ok(format!("{server}/{name}"))
}

/// A bucket of the directory's own, made anew when the directory is new.
fn bucket(directory: &Path, s3: &S3) -> anyhow::Result<String> {
    let known = directory.join("bucket");
    if let Ok(name) = fs::read_to_string(&known) {
        return Ok(name);
    }
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    let name = runtime.block_on(s3.fresh_bucket());
    fs::write(known, &name)?;
    Ok(name)
}

/// Clients are not sent to the bucket, as Seawall does not by default either. Debian's version 2 takes a host without its scheme.
fn in_bucket(bucket: &str, s3: &S3) -> String {
    let S3 {
        endpoint,
        id,
        secret,
    } = s3;
    format!(
        "s3: {{region: us-east-1, regionendpoint: '{endpoint}', accesskey: {id}, secretkey: {secret}, bucket: {bucket}, forcepathstyle: true, secure: false}}
  redirect: {{disable: true}}"
    )
}

/// Docker's registry syncs what it commits without being asked. The cache is the one that its image turns on.
fn distribution(storage: &str, address: SocketAddr) -> String {
    format!(
        "version: 0.1
log: {{level: error, accesslog: {{disabled: true}}}}
storage:
  {storage}
  cache: {{blobdescriptor: inmemory}}
  delete: {{enabled: true}}
http:
  addr: {address}
  relativeurls: true
  secret: bench
"
    )
}

fn zot(directory: &Path, address: SocketAddr) -> String {
    json!({
        "distSpecVersion": "1.1.1",
        "storage": {"rootDirectory": directory.join("data"), "gc": false, "dedupe": true, "commit": true},
        "http": {"address": address.ip().to_string(), "port": address.port().to_string()},
        "log": {"level": "error"},
    })
    .to_string()
}

/// `sync_to_disk` covers its small records; there is no switch that makes the layers durable.
fn angos(directory: &Path, address: SocketAddr) -> String {
    format!(
        "[server]
bind_address = \"{}\"
port = {}

[blob_store.fs]
root_dir = \"{}\"
sync_to_disk = true

[global.access_policy]
default_allow = true

[repository.\"library\"]
",
        address.ip(),
        address.port(),
        directory.join("data").display()
    )
}

fn nginx(root: &Path, address: SocketAddr) -> String {
    // As root its workers would become a user who may not read our directory.
    let user = if rustix::process::geteuid().is_root() {
        "user root;"
    } else {
        ""
    };
    format!(
        "daemon off; {user} worker_processes auto; pid nginx.pid; error_log error.log;
events {{ worker_connections 512; }}
http {{
  access_log off; sendfile on; tcp_nopush on; keepalive_requests 10000000;
  client_body_temp_path t1; proxy_temp_path t2; fastcgi_temp_path t3; uwsgi_temp_path t4; scgi_temp_path t5;
  server {{ listen {address}; location / {{ root {}; }} }}
}}
",
        root.display()
    )
}

fn write(directory: &Path, name: &str, text: &str) -> anyhow::Result<PathBuf> {
    let path = directory.join(name);
    fs::write(&path, text)?;
    Ok(path)
}
