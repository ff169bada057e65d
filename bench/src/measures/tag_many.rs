//! Tagging one digest many times in one repository.

use std::{
    sync::atomic::{AtomicUsize, Ordering},
    time::{Duration, Instant},
};

use super::{Place, Setup, rounds};
use crate::{
    image::Image,
    load::{Work, in_parallel},
    registry::Repository,
    report::{Case, Report, Unit},
};

const MEASURE: &str = "tag-many";

pub(super) fn run(setup: &Setup, report: &mut Report) {
    rounds(
        setup,
        report,
        MEASURE,
        Place::Scratch,
        &setup.registries(),
        |turn| {
            let Setup { scale, flow, .. } = turn.setup;
            for clients in [1, 8] {
                let label = if clients == 1 {
                    "1 client".to_owned()
                } else {
                    format!("{clients} clients")
                };
                let case = Case {
                    measure: MEASURE,
                    name: format!("{} tags, {label}", scale.tags),
                    unit: Unit::TagsPerSecond,
                };
                let repository = Repository::open(
                    turn.server,
                    &format!("library/tags-{}-{clients}", turn.round),
                )?;
                let image = Image::new(turn.setup.next_serial(), 1);
                image.push(&repository, &mut repository.connect()?, *flow)?;
                turn.measure(&case, || {
                    tag(&repository, &image, 0..scale.tags, clients, scale.tag_limit)
                })?;
                let first = repository.get_manifest(&mut repository.connect()?, &name(0))?;
                anyhow::ensure!(
                    first == image.manifest.bytes,
                    "the first tag names another manifest"
                );
            }
            Ok(())
        },
    );
}

/// The tag with this number: numbers and names have the same order.
pub(super) fn name(n: usize) -> String {
    format!("t{n:06}")
}

/// Gives the image these tags; ends at the limit of time, and then says so.
pub(super) fn tag(
    repository: &Repository,
    image: &Image,
    tags: std::ops::Range<usize>,
    clients: usize,
    limit: Duration,
) -> anyhow::Result<Work> {
    let next = AtomicUsize::new(tags.start);
    let began = Instant::now();
    let connections = (0..clients)
        .map(|_| repository.connect())
        .collect::<Result<_, _>>()?;
    let mut work = in_parallel(connections, |_, connection, tally| {
        while began.elapsed() < limit {
            let n = next.fetch_add(1, Ordering::Relaxed);
            if n >= tags.end {
                break;
            }
            let manifest = &image.manifest;
            tally.timed(|| {
                repository.push_manifest(connection, &name(n), &manifest.bytes, &manifest.digest)
            })?;
        }
        Ok(())
    })?;
    if (work.operations as usize) < tags.len() {
        work.note = Some(format!(
            "ended after {} s, before all tags were set",
            limit.as_secs()
        ));
    }
    Ok(work)
}
