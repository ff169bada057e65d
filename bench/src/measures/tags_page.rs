//! A page of 100 tags among very many: the first, and one behind 90 % of them.

use std::{collections::HashMap, time::Instant};

use super::{Place, Scale, Setup, Turn, rounds, tag_many};
use crate::{
    image::Image,
    load::in_parallel,
    registry::{Repository, tag_names},
    report::{Case, Report, Unit},
    servers::Kind,
};

const MEASURE: &str = "tags-page";
const REPOSITORY: &str = "library/listed";
const PAGE: usize = 100;
const CLIENTS: usize = 8;
const SERIAL: u64 = 1 << 41;

pub(super) fn run(setup: &Setup, report: &mut Report) {
    let mut listed: HashMap<Kind, usize> = HashMap::new();
    rounds(
        setup,
        report,
        MEASURE,
        Place::Kept,
        &setup.registries(),
        |turn| {
            let repository = Repository::open(turn.server, REPOSITORY)?;
            let tags = match listed.get(&turn.server.kind) {
                Some(tags) => *tags,
                None => fill(turn, &repository)?,
            };
            listed.insert(turn.server.kind, tags);
            page(turn, &repository, "first", tags, 0)?;
            page(turn, &repository, "deep", tags, tags / 10 * 9)
        },
    );
}

/// Sets the tags to be listed. A server that would take too long for all of them gets fewer.
fn fill(turn: &Turn<'_>, repository: &Repository) -> anyhow::Result<usize> {
    let scale = &turn.setup.scale;
    let (most, least) = scale.listed;
    let image = Image {
        tag: tag_many::name(0),
        ..Image::new(SERIAL, 1)
    };
    image.push(repository, &mut repository.connect()?, turn.setup.flow)?;
    let began = Instant::now();
    let limit = scale.listing_limit * 5;
    let set = tag_many::tag(repository, &image, 0..least, CLIENTS, limit)?.operations as usize;
    let all = began.elapsed().mul_f64(most as f64 / least as f64);
    if set < least || all > scale.listing_limit {
        return Ok(set);
    }
    let more = tag_many::tag(repository, &image, least..most, CLIENTS, limit)?.operations as usize;
    Ok(least + more)
}

/// Measures the page whose first tag has the number `from`.
fn page(
    turn: &mut Turn<'_>,
    repository: &Repository,
    label: &str,
    tags: usize,
    from: usize,
) -> anyhow::Result<()> {
    let case = Case {
        measure: MEASURE,
        name: format!("{label}, {PAGE} tags"),
        unit: Unit::Milliseconds,
    };
    let last = from.checked_sub(1).map(tag_many::name);
    let Scale { pages, window, .. } = turn.setup.scale;
    let mut connection = repository.connect()?;
    // Once unmeasured, and looked at.
    let names = tag_names(&repository.tags_page(&mut connection, PAGE, last.as_deref())?)?;
    let expected: Vec<String> = (from..tags.min(from + PAGE)).map(tag_many::name).collect();
    let note = if names == expected {
        format!("among {tags} tags")
    } else if names.len() == tags {
        format!("knows no pages and answers all {tags} tags")
    } else {
        anyhow::bail!(
            "{label} page: {} tags from {:?}",
            names.len(),
            names.first()
        );
    };
    turn.measure(&case, || {
        let began = Instant::now();
        let mut work = in_parallel(vec![connection], |_, connection, tally| {
            for _ in (0..pages).take_while(|_| began.elapsed() < window) {
                tally.timed(|| repository.tags_page(connection, PAGE, last.as_deref()))?;
            }
            Ok(())
        })?;
        work.note = Some(note);
        Ok(work)
    })
}
