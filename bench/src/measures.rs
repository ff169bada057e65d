//! What is measured, and the way each measure goes: round by round, and in a round server by server, each started
//! for its turn and stopped after it, so that it is alone and what the machine does meanwhile hits all alike.

mod api_lists;
mod blob_get;
mod manifest_get;
mod pull_small;
mod push_large;
mod push_small;
mod start;
mod tag_many;
mod tags_page;

use std::{
    fs,
    io::Write,
    path::PathBuf,
    sync::atomic::{AtomicU64, Ordering},
    time::{Duration, Instant},
};

use clap::ValueEnum;

use crate::{
    cleanup::Cleanup,
    content::Pool,
    generate::Amount,
    load::Work,
    process,
    registry::Flow,
    report::{Case, Report, Round, Unit},
    servers::{Kind, Running, Server},
    stats::{Percentiles, median},
};

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Measure {
    /// Pages of Harbor's API on 10,000 repositories with 100,000 artifacts and 500,000 tags
    ApiLists,
    /// Blobs of 64 MiB and 1 GiB, 1 and 16 connections
    BlobGet,
    /// A manifest by tag, 32 connections
    ManifestGet,
    /// Images of one 4 KiB layer, 16 clients
    PullSmall,
    /// Blobs of 256 MiB by POST, PATCH, PUT
    PushLarge,
    /// Images of one 4 KiB layer, 16 clients, many repositories and one
    PushSmall,
    /// One digest tagged 10,000 times in one repository, 1 and 8 clients
    TagMany,
    /// A page of 100 tags among 100,000, first and deep
    TagsPage,
    /// Start to ready, idle memory, memory under 64 uploads of 256 MiB
    Start,
}

/// How much is done. All bounds of count, size and time stand here.
pub struct Scale {
    pub rounds: usize,
    /// How long a timed loop goes on.
    pub window: Duration,
    /// The loops that write need longer: a sync takes milliseconds.
    pub push_window: Duration,
    pub blobs: [(&'static str, u64); 2],
    pub push: (&'static str, u64),
    pub tags: usize,
    /// A round of tagging ends after this time.
    pub tag_limit: Duration,
    /// Tags in the list that is paged: the most, and what a slow server gets.
    pub listed: (usize, usize),
    /// A server that would need longer for the most gets the least.
    pub listing_limit: Duration,
    /// The most pages in one window.
    pub pages: usize,
    pub uploads: (usize, &'static str, u64),
    /// What the API's lists are measured on.
    pub generated: Amount,
    /// No further round for a server that took so long for one measure.
    pub patience: Duration,
}

impl Scale {
    pub fn full(rounds: usize) -> Self {
        Self {
            rounds,
            window: Duration::from_secs(2),
            push_window: Duration::from_secs(3),
            blobs: [("64 MiB", 64 << 20), ("1 GiB", 1 << 30)],
            push: ("256 MiB", 256 << 20),
            tags: 10_000,
            tag_limit: Duration::from_secs(15),
            listed: (100_000, 10_000),
            listing_limit: Duration::from_mins(1),
            pages: 1000,
            uploads: (64, "256 MiB", 256 << 20),
            generated: Amount {
                projects: 100,
                repositories: 10_000,
                artifacts: 10,
                tags: 5,
            },
            patience: Duration::from_secs(150),
        }
    }

    /// Shows that all works; the figures mean nothing.
    pub fn quick() -> Self {
        Self {
            rounds: 1,
            window: Duration::from_millis(300),
            push_window: Duration::from_millis(300),
            blobs: [("4 MiB", 4 << 20), ("40 MiB", 40 << 20)],
            push: ("16 MiB", 16 << 20),
            tags: 200,
            tag_limit: Duration::from_secs(2),
            listed: (500, 300),
            listing_limit: Duration::from_secs(2),
            pages: 10,
            uploads: (4, "8 MiB", 8 << 20),
            generated: Amount {
                projects: 3,
                repositories: 12,
                artifacts: 3,
                tags: 2,
            },
            patience: Duration::from_secs(30),
        }
    }
}

/// Where a server's data of a measure lies.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Place {
    /// Kept from measure to measure
    Kept,
    /// Removed after the measure: large
    Scratch,
}

/// All that the measures share.
pub struct Setup {
    pub scale: Scale,
    pub servers: Vec<Server>,
    pub pool: Pool,
    pub flow: Flow,
    pub workspace: PathBuf,
    pub cleanup: Cleanup,
    serial: AtomicU64,
}

impl Setup {
    pub fn new(
        scale: Scale,
        servers: Vec<Server>,
        flow: Flow,
        workspace: PathBuf,
        cleanup: Cleanup,
    ) -> anyhow::Result<Self> {
        let largest = scale.push.1.max(scale.uploads.2);
        let pool = Pool::new(largest)?;
        Ok(Self {
            scale,
            servers,
            pool,
            flow,
            workspace,
            cleanup,
            serial: AtomicU64::new(1),
        })
    }

    /// A number that no content had before.
    pub fn next_serial(&self) -> u64 {
        self.serial.fetch_add(1, Ordering::Relaxed)
    }

    fn directory(&self, place: Place, kind: Kind) -> PathBuf {
        let place = match place {
            Place::Kept => "kept",
            Place::Scratch => "scratch",
        };
        self.workspace.join(place).join(kind.name())
    }

    fn start(&self, place: Place, server: &Server) -> anyhow::Result<Running> {
        server.start(&self.directory(place, server.kind), &self.cleanup)
    }

    /// The registries: nginx serves files only.
    fn registries(&self) -> Vec<Server> {
        self.servers
            .iter()
            .filter(|server| !matches!(server.kind, Kind::Nginx | Kind::SeawallPostgres))
            .cloned()
            .collect()
    }
}

/// One server's turn in one round.
pub struct Turn<'a> {
    pub setup: &'a Setup,
    pub server: &'a Running,
    pub round: usize,
    report: &'a mut Report,
}

impl Turn<'_> {
    /// Runs `work` between two looks at the server's CPU time, and records it.
    pub fn measure(
        &mut self,
        case: &Case,
        work: impl FnOnce() -> anyhow::Result<Work>,
    ) -> anyhow::Result<()> {
        let (server, client) = (self.server.pid(), std::process::id());
        // What earlier work left to write is not this round's burden.
        rustix::fs::sync();
        process::forget_peak(server);
        let (server_before, client_before) = (
            process::cpu_seconds(server),
            process::cpu_seconds_alone(client),
        );
        let work = work()?;
        let round = Round {
            value: value(case.unit, &work),
            operations: work.operations,
            bytes: work.bytes,
            seconds: work.wall.as_secs_f64(),
            server_cpu_seconds: process::cpu_seconds(server) - server_before,
            client_cpu_seconds: process::cpu_seconds_alone(client) - client_before,
            peak_resident_bytes: process::peak_resident(server),
            latency_ms: Percentiles::of(work.latencies),
            note: work.note,
        };
        self.report.add(case, self.server.kind, round);
        Ok(())
    }

    /// Records a figure that is not a rate.
    pub fn record(&mut self, case: &Case, value: f64) {
        self.report.add(
            case,
            self.server.kind,
            Round {
                value,
                ..Round::default()
            },
        );
    }
}

fn value(unit: Unit, work: &Work) -> f64 {
    let seconds = work.wall.as_secs_f64().max(1e-9);
    match unit {
        Unit::GibPerSecond => work.bytes as f64 / f64::from(1 << 30) / seconds,
        Unit::MibPerSecond => work.bytes as f64 / f64::from(1 << 20) / seconds,
        Unit::RequestsPerSecond | Unit::ImagesPerSecond | Unit::TagsPerSecond => {
            work.operations as f64 / seconds
        }
        Unit::Milliseconds => median(
            work.latencies
                .iter()
                .map(|latency| latency.as_secs_f64() * 1e3),
        ),
        Unit::Megabytes => work.bytes as f64 / 1e6,
    }
}

/// Runs one measure on all servers that take part in it. A server's failure ends its part and is reported.
pub fn run(measure: Measure, setup: &Setup, report: &mut Report) {
    match measure {
        Measure::ApiLists => api_lists::run(setup, report),
        Measure::BlobGet => blob_get::run(setup, report),
        Measure::ManifestGet => manifest_get::run(setup, report),
        Measure::PullSmall => pull_small::run(setup, report),
        Measure::PushLarge => push_large::run(setup, report),
        Measure::PushSmall => push_small::run(setup, report),
        Measure::TagMany => tag_many::run(setup, report),
        Measure::TagsPage => tags_page::run(setup, report),
        Measure::Start => start::run(setup, report),
    }
    // Nothing is lost when it is not there.
    let _ = fs::remove_dir_all(setup.workspace.join("scratch"));
}

/// The rounds of a measure: `body` is called for each server in each round, with the server running alone.
fn rounds(
    setup: &Setup,
    report: &mut Report,
    measure: &'static str,
    place: Place,
    servers: &[Server],
    mut body: impl FnMut(&mut Turn<'_>) -> anyhow::Result<()>,
) {
    let mut spent = vec![Duration::ZERO; servers.len()];
    let mut failed = vec![false; servers.len()];
    for round in 0..setup.scale.rounds {
        // Another server begins each round: who comes first finds a colder machine.
        for at in (0..servers.len()).map(|n| (n + round) % servers.len()) {
            if failed[at] || spent[at] > setup.scale.patience {
                continue;
            }
            let server = &servers[at];
            progress(&format!(
                "{measure}: round {} of {}, {}",
                round + 1,
                setup.scale.rounds,
                server.kind.name()
            ));
            let began = Instant::now();
            let done = setup.start(place, server).and_then(|running| {
                body(&mut Turn {
                    setup,
                    server: &running,
                    round,
                    report,
                })
            });
            if let Err(e) = done {
                failed[at] = true;
                report.fail(measure, server.kind, format!("{e:#}"));
            }
            spent[at] += began.elapsed();
        }
    }
}

/// Tells the person at the terminal what goes on.
fn progress(what: &str) {
    // A closed standard error is no reason to stop.
    let _ = writeln!(std::io::stderr(), "{what}");
}
