//! Pull of small images by 16 clients: the manifest by tag, the config, and one layer of 4 KiB.

use std::{
    sync::atomic::{AtomicUsize, Ordering},
    time::Instant,
};

use super::{Place, Setup, rounds};
use crate::{
    image::Image,
    load::in_parallel,
    registry::Repository,
    report::{Case, Report, Unit},
};

const MEASURE: &str = "pull-small";
const REPOSITORY: &str = "library/pulled";
const CLIENTS: usize = 16;
const IMAGES: u64 = 200;
/// Kept apart from the serials of pushes and of the manifest GET.
const SERIAL: u64 = 1 << 41;

pub(super) fn run(setup: &Setup, report: &mut Report) {
    let case = Case {
        measure: MEASURE,
        name: format!("{CLIENTS} clients"),
        unit: Unit::ImagesPerSecond,
    };
    let images: Vec<Image> = (0..IMAGES).map(|n| Image::new(SERIAL + n, 1)).collect();
    rounds(
        setup,
        report,
        MEASURE,
        Place::Kept,
        &setup.registries(),
        |turn| {
            let repository = Repository::open(turn.server, REPOSITORY)?;
            let connection = &mut repository.connect()?;
            for image in &images {
                if turn.round == 0 {
                    image.push(&repository, connection, turn.setup.flow)?;
                }
                image.verify(&repository, connection)?;
            }
            let connections = (0..CLIENTS)
                .map(|_| repository.connect())
                .collect::<Result<_, _>>()?;
            let (next, window) = (AtomicUsize::new(0), turn.setup.scale.window);
            turn.measure(&case, || {
                let began = Instant::now();
                in_parallel(connections, |_, connection, tally| {
                    while began.elapsed() < window {
                        let n = next.fetch_add(1, Ordering::Relaxed);
                        let image = &images[n % images.len()];
                        tally.timed(|| image.verify(&repository, connection))?;
                    }
                    Ok(())
                })
            })
        },
    );
}
