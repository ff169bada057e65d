//! Push of small images by 16 clients, into many repositories and into one.

use std::{
    sync::atomic::{AtomicUsize, Ordering},
    time::Instant,
};

use serde_json::json;

use super::{Place, Setup, Turn, rounds};
use crate::{
    disk::durable_files,
    image::Image,
    load::{Work, in_parallel},
    registry::{Admin, Flow, Repository},
    report::{Case, Report, Unit},
    servers::Running,
};

const MEASURE: &str = "push-small";
const CLIENTS: usize = 16;
const MANY: usize = 100;
/// More than the fastest server stores in the window.
const IMAGES: usize = 12_000;
/// Every so many of the pushed images is pulled and compared.
const VERIFIED: usize = 50;

pub(super) fn run(setup: &Setup, report: &mut Report) {
    // An image is three such files and three commits of a database or more files.
    let limit = durable_files(&setup.workspace, setup.scale.window);
    let limit = limit.map_or_else(
        |e| format!("{e:#}"),
        |rate| format!("the disk alone takes {rate:.0} durable files of 4 KiB a second"),
    );
    rounds(
        setup,
        report,
        MEASURE,
        Place::Kept,
        &setup.registries(),
        |turn| {
            let round = turn.round;
            let many = (0..MANY)
                .map(|n| Repository::open(turn.server, &format!("library/many-{round}-{n}")));
            push(
                turn,
                "many repositories",
                &many.collect::<Result<Vec<_>, _>>()?,
                &limit,
            )?;
            let one = Repository::open(turn.server, &format!("library/one-{round}"))?;
            push(turn, "one repository", &[one], &limit)?;
            if !turn.server.kind.is_seawall() {
                return Ok(());
            }
            let limited = with_quota(turn.server, round)?;
            let many =
                (0..MANY).map(|n| Repository::open(turn.server, &format!("{limited}/many-{n}")));
            let many = many.collect::<Result<Vec<_>, _>>()?;
            push(turn, "many repositories, quota", &many, &limit)?;
            let one = Repository::open(turn.server, &format!("{limited}/one"))?;
            push(turn, "one repository, quota", &[one], &limit)
        },
    );
}

/// A project with a limit that is never reached; its name.
fn with_quota(server: &Running, round: usize) -> anyhow::Result<String> {
    let (admin, name) = (Admin::of(server), format!("limited-{round}"));
    let wanted = json!({ "project_name": name, "storage_limit": 1_i64 << 40 });
    admin.create(&mut admin.connect()?, "/api/v2.0/projects", &wanted)?;
    Ok(name)
}

fn push(
    turn: &mut Turn<'_>,
    label: &str,
    repositories: &[Repository],
    limit: &str,
) -> anyhow::Result<()> {
    let flow = turn.setup.flow;
    let how = if flow == Flow::Patch { ", PATCH" } else { "" };
    let name = format!("{label}, {CLIENTS} clients{how}");
    let case = Case {
        measure: MEASURE,
        name,
        unit: Unit::ImagesPerSecond,
    };
    let images: Vec<Image> = (0..IMAGES)
        .map(|_| Image::new(turn.setup.next_serial(), 1))
        .collect();
    let next = AtomicUsize::new(0);
    let window = turn.setup.scale.push_window;
    let connections = (0..CLIENTS)
        .map(|_| repositories[0].connect())
        .collect::<Result<_, _>>()?;
    turn.measure(&case, || {
        let began = Instant::now();
        in_parallel(connections, |_, connection, tally| {
            while began.elapsed() < window {
                let n = next.fetch_add(1, Ordering::Relaxed);
                let Some(image) = images.get(n) else { break };
                tally.timed(|| {
                    image.push(&repositories[n % repositories.len()], connection, flow)
                })?;
            }
            Ok(())
        })
        .map(|work| Work {
            note: Some(limit.to_owned()),
            ..work
        })
    })?;
    let pushed = next.load(Ordering::Relaxed).min(IMAGES);
    for n in (0..pushed.saturating_sub(CLIENTS)).step_by(VERIFIED) {
        let repository = &repositories[n % repositories.len()];
        images[n].verify(repository, &mut repository.connect()?)?;
    }
    Ok(())
}
