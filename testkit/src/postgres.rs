//! A real PostgreSQL server: the one that `with-postgres.sh` started for the whole run, or one for this process.

use std::{
    io::{BufRead, BufReader},
    process::{Child, ChildStdin, Command, Stdio},
    sync::OnceLock,
};

use tokio_postgres::{NoTls, SimpleQueryMessage};

use crate::left_out;

const SCRIPT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/with-postgres.sh");

/// A server on which tests may make databases.
#[derive(Debug, Clone)]
pub struct Server {
    pub(crate) url: String,
}

/// A server of one test alone, which may stop it.
pub struct Private {
    pub server: Server,
    control: String,
    script: Child,
    stdin: Option<ChildStdin>,
}

/// A database that goes when this is dropped, or with the server where that is of this run alone: dropping one costs more
/// than making one.
#[derive(Debug)]
pub struct Database {
    name: String,
    server: Server,
}

/// The server that all tests of this process share; `None` (said loudly) when PostgreSQL is not installed.
pub fn postgres() -> Option<Server> {
    // One for the process, since each start takes a second: the other end of its standard input closes with the process.
    static SERVER: OnceLock<Option<(Server, Option<Private>)>> = OnceLock::new();
    let started = SERVER.get_or_init(|| match std::env::var("TEST_POSTGRES_URL") {
        Ok(url) if !url.is_empty() => Some((Server { url }, None)),
        _ => private_postgres().map(|private| (private.server.clone(), Some(private))),
    });
    started.as_ref().map(|(server, _)| server.clone())
}

/// A server that the caller may stop and start; `None` (said loudly) when PostgreSQL is not installed.
pub fn private_postgres() -> Option<Private> {
    let mut script = Command::new(SCRIPT)
        .args([
            "sh",
            "-c",
            r#"echo "${TEST_POSTGRES_URL:-} ${TEST_POSTGRES_CTL:-}"; exec cat"#,
        ])
        .env_remove("TEST_POSTGRES_URL")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("testkit/with-postgres.sh starts");
    let stdin = script.stdin.take();
    let mut told = String::new();
    if let Some(stdout) = script.stdout.take() {
        BufReader::new(stdout)
            .read_line(&mut told)
            .expect("with-postgres.sh tells where the server is");
    }
    let Some((url, control)) = told.trim().split_once(' ') else {
        drop(stdin);
        let status = script.wait().expect("with-postgres.sh ends");
        assert!(
            status.success(),
            "PostgreSQL is installed and did not start: see above"
        );
        left_out("postgres", "PostgreSQL is not installed");
        return None;
    };
    Some(Private {
        server: Server {
            url: url.to_owned(),
        },
        control: control.to_owned(),
        script,
        stdin,
    })
}

impl Server {
    /// A new, empty database.
    pub fn fresh_database(&self) -> Database {
        self.create("")
    }

    /// A copy of a database that nobody is connected to.
    pub(crate) fn copy_of(&self, template: &Database) -> Database {
        self.create(&format!("TEMPLATE {}", template.name))
    }

    fn create(&self, from: &str) -> Database {
        let name = format!("test_{}", model::id::new_uid().replace('-', ""));
        self.run(&self.url, &format!("CREATE DATABASE {name} {from}"));
        Database {
            name,
            server: self.clone(),
        }
    }

    /// Runs statements as superuser, on a thread of its own, since callers stand inside their own runtimes. Answers the first
    /// value that they give.
    pub(crate) fn run(&self, url: &str, sql: &str) -> Option<String> {
        let (url, sql) = (url.to_owned(), sql.to_owned());
        let run = async move {
            let (client, connection) = tokio_postgres::connect(&url, NoTls).await?;
            let (done, _) =
                tokio::join!(async move { client.simple_query(&sql).await }, connection);
            let first = done?.into_iter().find_map(|message| match message {
                SimpleQueryMessage::Row(row) => row.get(0).map(str::to_owned),
                _ => None,
            });
            Ok::<_, tokio_postgres::Error>(first)
        };
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .expect("a runtime");
        let done = std::thread::spawn(move || runtime.block_on(run))
            .join()
            .expect("does not panic");
        done.unwrap_or_else(|error| panic!("{}: {error:?}", self.url))
    }
}

impl Database {
    pub fn url(&self) -> String {
        let server = self
            .server
            .url
            .rsplit_once('/')
            .map_or(self.server.url.as_str(), |(server, _)| server);
        format!("{server}/{}", self.name)
    }

    /// The address at which two servers have this database, whichever may be written.
    pub fn url_with(&self, other: &crate::Replica) -> String {
        let url = self.url();
        let (host, name) = url.rsplit_once('/').expect("made above");
        format!("{host},127.0.0.1:{}/{name}", other.port())
    }

    /// Runs statements as superuser.
    pub fn execute(&self, sql: &str) {
        self.server.run(&self.url(), sql);
    }

    /// The first value that a query gives, as text.
    pub fn value(&self, sql: &str) -> String {
        let value = self.server.run(&self.url(), sql);
        value.expect("a value")
    }

    /// The same on the server's own database, where this one can be altered.
    pub fn execute_outside(&self, sql: &str) {
        self.server
            .run(&self.server.url, &sql.replace("{name}", &self.name));
    }
}

impl Drop for Database {
    fn drop(&mut self) {
        let server_goes_too = std::env::var_os("TEST_POSTGRES_CTL").is_some()
            || std::env::var_os("TEST_POSTGRES_URL").is_none();
        if !server_goes_too && !std::thread::panicking() {
            self.execute_outside("DROP DATABASE IF EXISTS {name} WITH (FORCE)");
        }
    }
}

impl Private {
    /// Ends the server as a crash would.
    pub fn crash(&self) {
        self.control(&["stop", "-m", "immediate"]);
    }

    pub fn start(&self) {
        self.control(&["start"]);
    }

    fn control(&self, arguments: &[&str]) {
        let done = Command::new(&self.control)
            .args(arguments)
            .status()
            .expect("pg_ctl runs");
        assert!(done.success(), "pg_ctl {arguments:?}: {done}");
    }
}

impl Drop for Private {
    fn drop(&mut self) {
        drop(self.stdin.take());
        let _ = self.script.wait();
    }
}
