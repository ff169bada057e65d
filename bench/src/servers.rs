//! The servers side by side: where each is found, how it is started on a directory of its own, how it stops.

mod config;

pub use config::{PASSWORD, nginx_root};

use std::{
    fs::{self, File},
    net::{SocketAddr, TcpListener, TcpStream},
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context, bail};
use clap::ValueEnum;
use rustix::process::{Pid, Signal, kill_process_group};
use serde::Serialize;

use crate::{
    cleanup::Cleanup,
    http::{Body, Connection, Request},
};

const START_LIMIT: Duration = Duration::from_mins(1);
const STOP_LIMIT: Duration = Duration::from_secs(40);

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, ValueEnum)]
#[serde(rename_all = "kebab-case")]
pub enum Kind {
    Seawall,
    /// Seawall over PostgreSQL; takes part in what reads the database
    SeawallPostgres,
    /// Docker's registry, version 3
    Distribution,
    /// Docker's registry, version 2, as Debian packages it
    DockerRegistry,
    Zot,
    Angos,
    /// Serves the same file with sendfile: the limit of a blob GET
    Nginx,
}

impl Kind {
    pub fn name(self) -> &'static str {
        match self {
            Self::Seawall => "seawall",
            Self::SeawallPostgres => "seawall-postgres",
            Self::Distribution => "distribution",
            Self::DockerRegistry => "docker-registry",
            Self::Zot => "zot",
            Self::Angos => "angos",
            Self::Nginx => "nginx",
        }
    }

    pub fn is_seawall(self) -> bool {
        matches!(self, Self::Seawall | Self::SeawallPostgres)
    }

    /// Whether contents may lie in a bucket of S3.
    pub fn has_buckets(self) -> bool {
        match self {
            Self::Seawall | Self::SeawallPostgres | Self::Distribution | Self::DockerRegistry => {
                true
            }
            Self::Zot | Self::Angos | Self::Nginx => false,
        }
    }

    fn programs(self) -> &'static [&'static str] {
        match self {
            Self::Seawall | Self::SeawallPostgres => &["seawall"],
            Self::Distribution => &["distribution", "registry"],
            Self::DockerRegistry => &["docker-registry"],
            Self::Zot => &["zot"],
            Self::Angos => &["angos"],
            Self::Nginx => &["nginx"],
        }
    }

    fn ready_path(self) -> &'static str {
        match self {
            Self::Seawall | Self::SeawallPostgres => "/readyz",
            Self::Nginx => "/ready",
            Self::Distribution | Self::DockerRegistry | Self::Zot | Self::Angos => "/v2/",
        }
    }
}

/// A server that can be measured here.
#[derive(Clone, Debug, Serialize)]
pub struct Server {
    pub kind: Kind,
    pub program: PathBuf,
    pub version: String,
    /// Where its contents lie in the place of its directory.
    #[serde(skip)]
    pub s3: Option<testkit::S3>,
}

impl Server {
    /// The first program of this kind in the directories.
    pub fn find(kind: Kind, directories: &[PathBuf]) -> Option<Self> {
        let program = kind
            .programs()
            .iter()
            .flat_map(|name| {
                directories
                    .iter()
                    .map(move |directory| directory.join(name))
            })
            .find(|path| is_program(path))?;
        Some(Self::at(kind, program))
    }

    pub fn at(kind: Kind, program: PathBuf) -> Self {
        let version = version_of(&program);
        Self {
            kind,
            program,
            version,
            s3: None,
        }
    }

    /// Starts the server on `directory` (made when missing) and waits until it is ready.
    pub fn start(&self, directory: &Path, cleanup: &Cleanup) -> anyhow::Result<Running> {
        fs::create_dir_all(directory)?;
        let address = free_address()?;
        let mut command = config::command(self, directory, address)?;
        let log = directory.join("server.log");
        let output = File::create(&log)?;
        command
            .stdin(Stdio::null())
            .stdout(output.try_clone()?)
            .stderr(output);
        let started = Instant::now();
        let child = cleanup
            .spawn(&mut command)
            .with_context(|| format!("cannot start `{}`", self.program.display()))?;
        let group = Pid::from_child(&child);
        let mut running = Running {
            kind: self.kind,
            address,
            ready_in: Duration::ZERO,
            child,
            group,
            cleanup: cleanup.clone(),
        };
        let ready = running.wait_until_ready(started);
        running.ready_in = started.elapsed();
        ready.with_context(|| {
            let said = fs::read_to_string(&log).unwrap_or_default();
            let last: Vec<&str> = said.lines().rev().take(5).collect();
            format!(
                "{} did not start: {}",
                self.kind.name(),
                last.into_iter().rev().collect::<Vec<_>>().join(" | ")
            )
        })?;
        Ok(running)
    }
}

/// A server that runs; stopped, with all its children, when it drops.
pub struct Running {
    pub kind: Kind,
    pub address: SocketAddr,
    /// From the start of the process to its first good answer.
    pub ready_in: Duration,
    child: Child,
    group: Pid,
    cleanup: Cleanup,
}

impl Running {
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    fn wait_until_ready(&mut self, started: Instant) -> anyhow::Result<()> {
        let path = self.kind.ready_path();
        let probe = Request {
            method: "GET",
            target: path,
            headers: "",
            body: Body::None,
        };
        while started.elapsed() < START_LIMIT {
            if let Some(status) = self.child.try_wait()? {
                bail!("it ended with {status}");
            }
            if TcpStream::connect(self.address).is_ok() {
                let answer = Connection::open(self.address)
                    .and_then(|mut connection| connection.call(&probe));
                if answer.is_ok_and(|answer| answer.head.status == 200) {
                    return Ok(());
                }
            }
            thread::sleep(Duration::from_micros(500));
        }
        bail!("`{path}` was not 200 within {} s", START_LIMIT.as_secs())
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = kill_process_group(self.group, Signal::TERM);
        let asked = Instant::now();
        while asked.elapsed() < STOP_LIMIT && matches!(self.child.try_wait(), Ok(None)) {
            thread::sleep(Duration::from_millis(5));
        }
        // Whatever is left of the group; in the usual case nothing is.
        let _ = kill_process_group(self.group, Signal::KILL);
        let _ = self.child.wait();
        self.cleanup.release_group(self.group);
    }
}

fn is_program(path: &Path) -> bool {
    fs::metadata(path).is_ok_and(|meta| meta.is_file() && meta.permissions().mode() & 0o111 != 0)
}

/// The first line that the program says about itself; each has another way to be asked.
fn version_of(program: &Path) -> String {
    ["--version", "version", "-v"]
        .iter()
        .filter_map(|ask| {
            Command::new(program)
                .arg(ask)
                .stdin(Stdio::null())
                .output()
                .ok()
        })
        .filter(|output| output.status.success())
        .find_map(|output| {
            let said = [output.stdout, output.stderr].concat();
            let line = String::from_utf8_lossy(&said)
                .lines()
                .next()?
                .trim()
                .to_owned();
            Some(line.chars().take(100).collect())
        })
        .unwrap_or_else(|| "version unknown".into())
}

fn free_address() -> anyhow::Result<SocketAddr> {
    // Free again when the listener drops. Another program could take the port in between: the start then fails.
    Ok(TcpListener::bind(("127.0.0.1", 0))?.local_addr()?)
}
