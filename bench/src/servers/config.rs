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
        }
        Kind::Distribution | Kind::DockerRegistry => {
            command.arg("serve").arg(write(
                directory,
                "config.yml",
                &distribution(directory, address),
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

/// Docker's registry syncs what it commits without being asked. The cache is the one that its image turns on.
fn distribution(directory: &Path, address: SocketAddr) -> String {
    format!(
        "version: 0.1
log: {{level: error, accesslog: {{disabled: true}}}}
storage:
  filesystem: {{rootdirectory: {}}}
  cache: {{blobdescriptor: inmemory}}
  delete: {{enabled: true}}
http:
  addr: {address}
  relativeurls: true
  secret: bench
",
        directory.join("data").display()
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
