//! Start to ready on existing data, memory when idle, and memory under many uploads at once.

use std::{fs, thread, time::Duration};

use super::{Place, Setup, Turn, progress, rounds, tag_many};
use crate::{
    http::Body,
    image::Image,
    load::in_parallel,
    process,
    registry::{Flow, Repository},
    report::{Case, Report, Unit},
    servers::Server,
};

const MEASURE: &str = "start";
/// Long enough for what a server does right after its start.
const IDLE: Duration = Duration::from_secs(2);
const DATA: usize = 1000;

pub(super) fn run(setup: &Setup, report: &mut Report) {
    let ready = Case {
        measure: MEASURE,
        name: "to ready".into(),
        unit: Unit::Milliseconds,
    };
    let idle = Case {
        measure: MEASURE,
        name: "idle memory".into(),
        unit: Unit::Megabytes,
    };
    let registries = setup.registries();
    for server in &registries {
        if let Err(e) = provide(setup, server) {
            report.fail(MEASURE, server.kind, format!("{e:#}"));
        }
    }
    rounds(setup, report, MEASURE, Place::Kept, &registries, |turn| {
        turn.record(&ready, turn.server.ready_in.as_secs_f64() * 1e3);
        thread::sleep(IDLE);
        turn.record(&idle, process::resident(turn.server.pid()) as f64 / 1e6);
        Ok(())
    });
    for server in &registries {
        uploads(setup, report, server);
    }
}

/// Existing data, unless earlier measures left some.
fn provide(setup: &Setup, server: &Server) -> anyhow::Result<()> {
    if setup.directory(Place::Kept, server.kind).exists() {
        return Ok(());
    }
    let running = setup.start(Place::Kept, server)?;
    let repository = Repository::open(&running, "library/data")?;
    let image = Image::new(setup.next_serial(), 1);
    image.push(&repository, &mut repository.connect()?, setup.flow)?;
    tag_many::tag(&repository, &image, 0..DATA, 8, setup.scale.tag_limit)?;
    Ok(())
}

/// One round on an empty directory: it writes 16 GiB, which are removed before the next server's turn.
fn uploads(setup: &Setup, report: &mut Report, server: &Server) {
    let (count, label, size) = setup.scale.uploads;
    progress(&format!(
        "{MEASURE}: {count} uploads of {label} at once, {}",
        server.kind.name()
    ));
    let directory = setup.directory(Place::Scratch, server.kind);
    let done = setup.start(Place::Scratch, server).and_then(|running| {
        let mut turn = Turn {
            setup,
            server: &running,
            round: 0,
            report,
        };
        upload_all(&mut turn, count, label, size)
    });
    if let Err(e) = done {
        report.fail(
            MEASURE,
            server.kind,
            format!("{count} uploads at once: {e:#}"),
        );
    }
    // What is left lies in the run's directory, which goes at the end.
    let _ = fs::remove_dir_all(directory);
}

fn upload_all(turn: &mut Turn<'_>, count: usize, label: &str, size: u64) -> anyhow::Result<()> {
    let name = |what: &str| format!("{count} uploads of {label}{what}");
    let rate = Case {
        measure: MEASURE,
        name: name(""),
        unit: Unit::MibPerSecond,
    };
    let extra = Case {
        measure: MEASURE,
        name: name(", memory"),
        unit: Unit::Megabytes,
    };
    let pool = &turn.setup.pool;
    let repository = Repository::open(turn.server, "library/uploads")?;
    let contents: Vec<_> = (0..count)
        .map(|_| pool.content(size, turn.setup.next_serial()))
        .collect::<Result<_, _>>()?;
    let connections = (0..count)
        .map(|_| repository.connect())
        .collect::<Result<_, _>>()?;
    let before = process::resident(turn.server.pid());
    turn.measure(&rate, || {
        in_parallel(connections, |n, connection, tally| {
            let content = &contents[n];
            let body = Body::Large(pool, content);
            tally.timed(|| repository.push_blob(connection, body, &content.digest, Flow::Patch))?;
            tally.bytes += content.len;
            Ok(())
        })
    })?;
    let peak = process::peak_resident(turn.server.pid());
    turn.record(&extra, peak.saturating_sub(before) as f64 / 1e6);
    Ok(())
}
