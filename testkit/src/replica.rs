//! A streaming replica of a PostgreSQL server of the test's own.

use std::{
    path::{Path, PathBuf},
    process::Command,
    time::{Duration, Instant},
};

use crate::{
    postgres::{Private, Server},
    process::{Companion, free_port, scratch_directory, unprivileged},
};

/// A server that has not come so far by then never will.
const PATIENCE: Duration = Duration::from_mins(1);

/// Ends with the test.
pub struct Replica {
    server: Server,
    port: u16,
    _running: Companion,
    _dir: tempfile::TempDir,
}

impl Private {
    /// Starts a replica that follows this server. A synchronous one has each commit before it is acknowledged.
    pub fn replica(&self, is_synchronous: bool) -> Replica {
        let dir = scratch_directory().expect("a directory");
        let data = dir.path().join("data");
        let copied = as_server(&newest("pg_basebackup"))
            .args(["-d", &self.server.url, "-R", "-X", "stream", "-c", "fast"])
            .args(["--no-sync", "-D"])
            .arg(&data)
            .output()
            .expect("pg_basebackup runs");
        assert!(
            copied.status.success(),
            "{}",
            String::from_utf8_lossy(&copied.stderr)
        );
        let port = free_port().expect("a port");
        let program = as_server(&newest("postgres"));
        let mut arguments: Vec<_> = program.get_args().map(ToOwned::to_owned).collect();
        let sockets = format!("unix_socket_directories={}", dir.path().display());
        arguments.extend(["-D".into(), data.into()]);
        arguments.extend(["-p".into(), port.to_string().into()]);
        arguments.extend(["-c".into(), sockets.into()]);
        let log = dir.path().join("log");
        let program = Path::new(program.get_program()).to_owned();
        let running = Companion::start(&program, arguments, &log).expect("postgres starts");
        let replica = Replica {
            server: Server {
                url: format!("postgres://postgres@127.0.0.1:{port}/postgres"),
            },
            port,
            _running: running,
            _dir: dir,
        };
        if is_synchronous {
            self.server.run(
                &self.server.url,
                "ALTER SYSTEM SET synchronous_standby_names = '*'",
            );
            self.server.run(&self.server.url, "SELECT pg_reload_conf()");
        }
        let wanted = if is_synchronous { "sync" } else { "async" };
        let state = "SELECT sync_state FROM pg_stat_replication WHERE state = 'streaming' LIMIT 1";
        until_it_says(&self.server, state, wanted);
        replica
    }
}

impl Replica {
    pub fn port(&self) -> u16 {
        self.port
    }

    /// Waits until it has all that was committed.
    pub fn catch_up(&self, primary: &Private) {
        let server = &primary.server;
        let position = server.run(&server.url, "SELECT pg_current_wal_lsn()");
        let position = position.expect("a position");
        let sql = format!("SELECT pg_last_wal_replay_lsn() >= '{position}'::PG_LSN");
        until_it_says(&self.server, &sql, "t");
    }

    /// From now on it hears nothing of the primary, which does not mind.
    pub fn cut_off(&self) {
        let own = &self.server;
        own.run(&own.url, "ALTER SYSTEM SET primary_conninfo = ''");
        own.run(&own.url, "SELECT pg_reload_conf()");
        let gone = "SELECT NOT EXISTS (SELECT 1 FROM pg_stat_wal_receiver)";
        until_it_says(own, gone, "t");
    }

    /// From now on it is the primary.
    pub fn promote(&self) {
        let done = self.server.run(&self.server.url, "SELECT pg_promote()");
        assert_eq!(done.as_deref(), Some("t"));
    }
}

/// Asks until this is the answer.
fn until_it_says(server: &Server, sql: &str, wanted: &str) {
    let begun = Instant::now();
    loop {
        let told = server.run(&server.url, sql);
        if told.as_deref() == Some(wanted) {
            return;
        }
        assert!(
            begun.elapsed() < PATIENCE,
            "{} does not answer `{wanted}` within {PATIENCE:?} but {told:?}: {sql}",
            server.url
        );
    }
}

/// The newest of the installed versions, which `with-postgres.sh` takes too.
fn newest(program: &str) -> PathBuf {
    let mut found: Vec<(u32, PathBuf)> = std::fs::read_dir("/usr/lib/postgresql")
        .into_iter()
        .flatten()
        .filter_map(|entry| {
            let entry = entry.ok()?;
            let version = entry.file_name().to_str()?.parse().ok()?;
            let path = entry.path().join("bin").join(program);
            path.is_file().then_some((version, path))
        })
        .collect();
    found.sort();
    let newest = found.pop().map(|(_, path)| path);
    newest.unwrap_or_else(|| program.into())
}

/// PostgreSQL refuses to run as root.
fn as_server(program: &Path) -> Command {
    match unprivileged() {
        None => Command::new(program),
        Some(user) => {
            let setpriv =
                crate::process::program("setpriv").expect("setpriv is part of every Linux");
            let mut command = Command::new(setpriv);
            command
                .args(["--reuid", user, "--regid", user, "--init-groups"])
                .arg(program);
            command
        }
    }
}
