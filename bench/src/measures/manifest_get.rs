//! Manifest GET by tag on 32 connections that stay open.

use super::{Place, Setup, rounds};
use crate::{
    image::Image,
    load::closed_loop,
    registry::Repository,
    report::{Case, Report, Unit},
};

const MEASURE: &str = "manifest-get";
const REPOSITORY: &str = "library/manifests";
const CONNECTIONS: usize = 32;
const LAYERS: u64 = 5;
/// Kept apart from the serials of pushes.
const SERIAL: u64 = 1 << 40;

pub(super) fn run(setup: &Setup, report: &mut Report) {
    let case = Case {
        measure: MEASURE,
        name: format!("by tag, {CONNECTIONS} conn."),
        unit: Unit::RequestsPerSecond,
    };
    let image = Image::new(SERIAL, LAYERS);
    rounds(
        setup,
        report,
        MEASURE,
        Place::Kept,
        &setup.registries(),
        |turn| {
            let repository = Repository::open(turn.server, REPOSITORY)?;
            let connection = &mut repository.connect()?;
            if turn.round == 0 {
                image.push(&repository, connection, turn.setup.flow)?;
            }
            image.verify(&repository, connection)?;
            let request = repository.manifest_request(&image.tag);
            let window = turn.setup.scale.window;
            let load = |window| {
                closed_loop(
                    turn.server.address,
                    &request,
                    &image.manifest.bytes,
                    CONNECTIONS,
                    window,
                )
            };
            load(window / 8)?;
            let loaded = || load(window);
            turn.measure(&case, loaded)
        },
    );
}
