//! What the pulls of a flush come to: how many, when, and who.

use std::collections::BTreeMap;

use db::audit;
use model::{actor::Actor, audit::Event, id::ArtifactId, settings::Settings, time::Timestamp};

use super::{Key, Pulls, Who};

/// All that somebody did with an artifact.
struct What<'a> {
    gets: i64,
    pulls: Vec<(&'a Key, &'a Pulls)>,
}

/// When something was pulled last, by repository, artifact and tag.
pub(super) type Times = BTreeMap<(String, ArtifactId, Option<String>), Timestamp>;

#[derive(Debug, Default)]
pub(super) struct Summary {
    /// How often, by repository; also for those that nothing counts for.
    pub pulls: BTreeMap<String, i64>,
    pub bytes: BTreeMap<String, i64>,
    pub times: Times,
    pub told: Vec<audit::New>,
}

/// Sums up. Settings switch off times and the audit here; counts go into the series in any case.
pub(super) fn of(pulls: &[(Key, Pulls)], settings: &Settings) -> Summary {
    let mut summary = Summary::default();
    let mut groups = BTreeMap::<(&str, Who), What<'_>>::new();
    for (key, one) in pulls {
        let what = groups
            .entry((&one.repository, key.who()))
            .or_insert_with(|| What {
                gets: 0,
                pulls: Vec::new(),
            });
        what.gets += one.gets;
        *summary.bytes.entry(one.repository.to_string()).or_default() += one.bytes;
        what.pulls.push((key, one));
    }
    for ((repository, who), what) in &groups {
        let counted = match (who.is_scanner, what.gets) {
            (true, _) => 0,
            (false, 0) => 1,
            (false, gets) => gets,
        };
        *summary.pulls.entry((*repository).to_owned()).or_default() += counted;
        let hides_time = settings.pull_time_update_disable()
            || who.is_scanner && settings.scanner_skip_update_pulltime();
        if !hides_time {
            add_times(&mut summary.times, what);
        }
        if !settings.pull_audit_log_disable() {
            summary.told.extend(told(what));
        }
    }
    summary
}

fn add_times(times: &mut Times, what: &What<'_>) {
    for (key, one) in &what.pulls {
        let tag = key.tag.as_deref().map(str::to_owned);
        let place = (one.repository.to_string(), key.artifact, tag);
        let time = times.entry(place).or_insert(one.last);
        *time = one.last.max(*time);
    }
}

/// A row for each tag that he named; one with the digest only when he named none, since clients ask for a tag and then get what it
/// stands for by its digest.
fn told<'a>(what: &'a What<'_>) -> impl Iterator<Item = audit::New> + 'a {
    let names_tags = what.pulls.iter().any(|(key, _)| key.tag.is_some());
    let by_digest = what.pulls.iter().find(|(key, _)| key.tag.is_none());
    let unnamed = by_digest.map_or(0, |(_, one)| one.gets);
    let rows = what.pulls.iter();
    let rows = rows.filter(move |(key, _)| key.tag.is_some() || !names_tags);
    rows.enumerate().map(move |(n, (key, one))| {
        // What he got by digest belongs to the first tag that he asked for.
        let gets = one.gets + if n == 0 && names_tags { unnamed } else { 0 };
        let repository = &one.repository;
        let resource = match &key.tag {
            Some(tag) => format!("{repository}:{tag}"),
            None => format!("{repository}@{}", one.digest),
        };
        let often = match gets.max(1) {
            1 => String::new(),
            often => format!(" ({often} times)"),
        };
        audit::New {
            at: one.last,
            project: Some(one.project),
            actor: one.subject.name().unwrap_or(Actor::ANONYMOUS).to_owned(),
            address: key.address,
            event: Event::PullArtifact,
            resource,
            description: Some(format!("pull artifact: {repository}@{}{often}", one.digest)),
            succeeded: true,
        }
    })
}
