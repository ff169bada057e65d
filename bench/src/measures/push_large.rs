//! Push of one large blob after another by POST, PATCH, PUT; the answer to PUT means that it is on disk.

use super::{Place, Setup, rounds};
use crate::{
    http::Body,
    load::in_parallel,
    registry::{Flow, Repository},
    report::{Case, Report, Unit},
};

const MEASURE: &str = "push-large";
/// Enough bytes for the server's CPU time, which is counted in hundredths of a second.
const BLOBS: usize = 2;

pub(super) fn run(setup: &Setup, report: &mut Report) {
    let (label, size) = setup.scale.push;
    let case = Case {
        measure: MEASURE,
        name: format!("{label}, POST PATCH PUT"),
        unit: Unit::MibPerSecond,
    };
    rounds(
        setup,
        report,
        MEASURE,
        Place::Scratch,
        &setup.registries(),
        |turn| {
            let pool = &turn.setup.pool;
            let repository = Repository::open(turn.server, "library/large")?;
            let mut connection = repository.connect()?;
            let warm = pool.content(1 << 20, turn.setup.next_serial())?;
            repository.push_blob(
                &mut connection,
                Body::Large(pool, &warm),
                &warm.digest,
                Flow::Patch,
            )?;
            let contents: Vec<_> = (0..BLOBS)
                .map(|_| pool.content(size, turn.setup.next_serial()))
                .collect::<Result<_, _>>()?;
            turn.measure(&case, || {
                in_parallel(vec![connection], |_, connection, tally| {
                    for content in &contents {
                        let body = Body::Large(pool, content);
                        tally.timed(|| {
                            repository.push_blob(connection, body, &content.digest, Flow::Patch)
                        })?;
                        tally.bytes += content.len;
                    }
                    Ok(())
                })
            })?;
            for content in &contents {
                repository.discard_blob(&mut repository.connect()?, &content.digest, size)?;
            }
            Ok(())
        },
    );
}
