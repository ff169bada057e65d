//! The benchmark of `make bench`: Seawall beside the registries that are found on this machine, and nginx as the
//! limit. It starts and stops every server itself, on loopback and on directories of its own; see README.md.

mod cleanup;
mod content;
mod disk;
mod generate;
mod http;
mod image;
mod load;
mod measures;
mod process;
mod registry;
mod report;
mod servers;
mod stats;

use std::{
    env, fs,
    io::Write,
    path::{Path, PathBuf},
};

use anyhow::Context;
use clap::{Parser, ValueEnum};

use crate::{
    cleanup::{Cleanup, Workspace},
    measures::{Measure, Scale, Setup},
    registry::Flow,
    report::Report,
    servers::{Kind, Server},
};

/// The most that a full run has on disk at one time.
const NEEDED: u64 = 20_000_000_000;

/// Names a PostgreSQL server to measure with too, as its superuser.
pub const POSTGRES: &str = "TEST_POSTGRES_URL";

/// `f_type` of tmpfs in statfs(2).
const TMPFS: i64 = 0x0102_1994;

/// Measures Seawall and its peers side by side
#[derive(Parser)]
struct Options {
    /// What to measure; everything when nothing is named
    #[arg(value_enum)]
    measures: Vec<Measure>,
    /// Only these servers
    #[arg(long, value_enum, value_delimiter = ',')]
    servers: Vec<Kind>,
    /// The Seawall to measure
    #[arg(long, default_value = "target/release/seawall")]
    seawall: PathBuf,
    /// Where all data goes, on the file system to be measured; needs 20 GB
    #[arg(long, default_value = "target/bench")]
    dir: PathBuf,
    /// Rounds of each measure, of which the median counts
    #[arg(long, default_value_t = 5)]
    rounds: usize,
    /// A smoke run of a minute, whose figures mean nothing
    #[arg(long)]
    quick: bool,
    /// Push small blobs by POST, PATCH, PUT instead of POST, PUT
    #[arg(long)]
    patch: bool,
    /// Contents in the S3 server that `TEST_S3` names as `ENDPOINT ID SECRET`; servers that take no bucket are left out
    #[arg(long)]
    s3: bool,
    /// Also write all figures to this file
    #[arg(long)]
    json: Option<PathBuf>,
}

fn main() -> anyhow::Result<()> {
    let options = Options::parse();
    let cleanup = Cleanup::default();
    cleanup.on_signals()?;
    let (mut servers, mut left_out) = find_servers(&options);
    if options.s3 {
        let s3 = testkit::s3()
            .context("`TEST_S3` names no server: run it through testkit/with-s3.sh")?;
        servers.retain_mut(|server| {
            server.s3 = Some(s3.clone());
            if !server.kind.has_buckets() {
                left_out.push(format!("{}: no bucket", server.kind.name()));
            }
            server.kind.has_buckets()
        });
    }
    let workspace = Workspace::create(&options.dir, &cleanup)?;
    let scale = if options.quick {
        Scale::quick()
    } else {
        Scale::full(options.rounds.max(1))
    };
    let free = free_bytes(&workspace.path)?;
    anyhow::ensure!(
        options.quick || free >= NEEDED,
        "`{}` has {} GB free and 20 are needed",
        options.dir.display(),
        free / 1_000_000_000
    );
    let mut report = Report::new(
        machine(&workspace.path)?,
        servers.clone(),
        left_out,
        scale.rounds,
    );
    let flow = if options.patch {
        Flow::Patch
    } else {
        Flow::Put
    };
    let setup = Setup::new(scale, servers, flow, workspace.path.clone(), cleanup)?;
    let all = Measure::value_variants();
    for measure in if options.measures.is_empty() {
        all
    } else {
        &options.measures
    } {
        measures::run(*measure, &setup, &mut report);
    }
    write!(std::io::stdout(), "{}", report.table())?;
    if let Some(path) = &options.json {
        fs::write(path, serde_json::to_vec_pretty(&report)?)
            .with_context(|| format!("cannot write `{}`", path.display()))?;
    }
    Ok(())
}

/// The servers to measure, and why others are not.
fn find_servers(options: &Options) -> (Vec<Server>, Vec<String>) {
    let mut directories: Vec<PathBuf> = env::var_os("PATH")
        .map(|path| env::split_paths(&path).collect())
        .unwrap_or_default();
    // Where Debian puts nginx; a person's PATH may lack it.
    directories.push("/usr/sbin".into());
    let mut servers = Vec::new();
    let mut left_out = Vec::new();
    for kind in Kind::value_variants() {
        if !options.servers.is_empty() && !options.servers.contains(kind) {
            continue;
        }
        let found = match kind {
            Kind::SeawallPostgres if env::var_os(POSTGRES).is_none() => {
                left_out.push(format!("seawall-postgres: {POSTGRES} names no server"));
                continue;
            }
            Kind::Seawall | Kind::SeawallPostgres => options
                .seawall
                .canonicalize()
                .ok()
                .map(|program| Server::at(*kind, program)),
            _ => Server::find(*kind, &directories),
        };
        match found {
            Some(server) => servers.push(server),
            None if *kind == Kind::Seawall => {
                left_out.push(format!("seawall: no `{}`", options.seawall.display()));
            }
            None => left_out.push(format!("{}: not on PATH", kind.name())),
        }
    }
    (servers, left_out)
}

/// What a reader must know about the machine to judge the figures.
fn machine(directory: &Path) -> anyhow::Result<String> {
    let cpus = std::thread::available_parallelism()?;
    let load = fs::read_to_string("/proc/loadavg").unwrap_or_default();
    let load = load.split_whitespace().next().unwrap_or("?");
    let kernel = fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
    let free = free_bytes(directory)? / 1_000_000_000;
    // Memory takes a sync for nothing: figures of pushes from there are no figures.
    let memory = if rustix::fs::statfs(directory)?.f_type == TMPFS {
        ", a file system in MEMORY: pushes are not durable"
    } else {
        ""
    };
    Ok(format!(
        "{cpus} CPUs, Linux {}, load {load} before, {free} GB free{memory}",
        kernel.trim()
    ))
}

fn free_bytes(directory: &Path) -> anyhow::Result<u64> {
    let disk = rustix::fs::statfs(directory)?;
    Ok(disk.f_bavail * disk.f_bsize as u64)
}
