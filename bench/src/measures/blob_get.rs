//! Blob GET: content that the page cache holds, read by 1 and by 16 connections.

use std::fs::{self, File};

use super::{Place, Setup, Turn, rounds};
use crate::{
    content::Content,
    http::Body,
    load::in_parallel,
    registry::{Flow, Repository},
    report::{Case, Report, Unit},
    servers::{Kind, nginx_root},
};

const MEASURE: &str = "blob-get";
const REPOSITORY: &str = "library/blobs";
/// The content is the same in every round.
const SERIAL: u64 = 0;

pub(super) fn run(setup: &Setup, report: &mut Report) {
    rounds(
        setup,
        report,
        MEASURE,
        Place::Scratch,
        &setup.servers,
        |turn| {
            for (label, size) in turn.setup.scale.blobs {
                let content = turn.setup.pool.content(size, SERIAL)?;
                let repository = Repository::open(turn.server, REPOSITORY)?;
                provide(turn, &repository, &content)?;
                // Once unmeasured: into the page cache, and mapped where the server maps.
                repository.discard_blob(&mut repository.connect()?, &content.digest, size)?;
                for connections in [1, 16] {
                    get(turn, &repository, &content, label, connections)?;
                }
            }
            Ok(())
        },
    );
}

fn get(
    turn: &mut Turn<'_>,
    repository: &Repository,
    content: &Content,
    label: &str,
    connections: usize,
) -> anyhow::Result<()> {
    let name = format!("{label}, {connections} conn.");
    let case = Case {
        measure: MEASURE,
        name,
        unit: Unit::GibPerSecond,
    };
    let window = turn.setup.scale.window;
    let open = (0..connections)
        .map(|_| repository.connect())
        .collect::<Result<_, _>>()?;
    turn.measure(&case, || {
        let began = std::time::Instant::now();
        in_parallel(open, |_, connection, tally| {
            loop {
                tally
                    .timed(|| repository.discard_blob(connection, &content.digest, content.len))?;
                tally.bytes += content.len;
                if began.elapsed() >= window {
                    return Ok(());
                }
            }
        })
    })
}

/// Puts the content where the server will find it, unless it is there.
fn provide(turn: &Turn<'_>, repository: &Repository, content: &Content) -> anyhow::Result<()> {
    if turn.server.kind == Kind::Nginx {
        let directory = turn.setup.directory(Place::Scratch, Kind::Nginx);
        let blobs = nginx_root(&directory)
            .join("v2")
            .join(REPOSITORY)
            .join("blobs");
        fs::create_dir_all(&blobs)?;
        let file = blobs.join(&content.digest);
        if !file.exists() {
            turn.setup.pool.save(content, &File::create(file)?)?;
        }
        return Ok(());
    }
    let connection = &mut repository.connect()?;
    if !repository.has_blob(connection, &content.digest)? {
        let body = Body::Large(&turn.setup.pool, content);
        repository.push_blob(connection, body, &content.digest, Flow::Patch)?;
    }
    Ok(())
}
