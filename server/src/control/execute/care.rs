//! Collection, scrub and check. Beside a server's own jobs the first two are jobs as well, so that their limits and their
//! logs are the same; a command that has the registry for itself does them at once.

use db::blobs::{self, State};
use model::{
    Error, Result,
    error::internal,
    job::{Gc, Job},
};
use registry::{
    collect::CollectProgress,
    fsck::{FsckOptions, FsckProgress, FsckReport},
    scrub::{ScrubOptions, ScrubProgress},
    space::Space,
    untagged::Untagged,
};
use serde_json::Value;

use super::{House, Work, jobs};
use crate::control::answer::{Candidate, CollectPreview, Collected, Progress, Scrubbed};

/// Who asked, as it stands in a job.
const OPERATOR: &str = "operator";

pub(super) async fn collect(house: &House, work: &Work, untagged: bool) -> Result<Collected> {
    if house.runs_jobs {
        let job = Job::Gc(Gc {
            delete_untagged: untagged,
            requested_by: Some(OPERATOR.to_owned()),
            ..Gc::default()
        });
        let done = jobs::run(house, work, &job, |counted| {
            let number = |name: &str| counted[name].as_u64().unwrap_or(0);
            work.show(collecting(number("freed"), number("bytes_freed")));
        })
        .await?;
        return read(&done);
    }
    let purged_manifests = if untagged {
        let each = |_| ();
        let deleted = house
            .registry
            .delete_untagged(false, None, &work.cancel, each);
        deleted.await?
    } else {
        0
    };
    let show = |done: &CollectProgress| work.show(collecting(done.freed, done.bytes_freed));
    let report = house.registry.collect(&work.cancel, show).await?;
    if report.done.failed > 0 {
        return Err(Error::Unavailable(anyhow::anyhow!(
            "{} contents could not be deleted; the next collection tries again",
            report.done.failed
        )));
    }
    Ok(Collected {
        job: None,
        links_asked: report.done.links_asked,
        links_ended: report.done.links_ended,
        freed: report.done.freed,
        bytes_freed: report.done.bytes_freed,
        failed: report.done.failed,
        purged_manifests,
    })
}

/// What a collection would do, without doing any of it.
pub(super) async fn preview(
    house: &House,
    work: &Work,
    untagged: bool,
    limit: usize,
) -> Result<CollectPreview> {
    let mut named = Vec::new();
    let mut untagged_count = 0;
    if untagged {
        let each = |one: Untagged| {
            untagged_count += 1;
            work.show(Progress {
                text: format!("{untagged_count} manifests without a tag"),
                done: untagged_count,
                total: None,
            });
            if named.len() < limit {
                named.push(format!("{}@{}", one.repository, one.digest));
            }
        };
        let (registry, cancel) = (&house.registry, &work.cancel);
        registry.delete_untagged(true, None, cancel, each).await?;
    }
    let contents = house.registry.collect_preview(limit).await?;
    Ok(CollectPreview {
        untagged: named,
        untagged_count,
        contents: contents
            .into_iter()
            .map(|one| Candidate {
                digest: one.digest.to_string(),
                size: one.size,
                repository: one.repository,
                frees_bytes: one.frees_bytes,
                why: one.why,
            })
            .collect(),
    })
}

/// What the store holds, measured now or when that was done last.
pub(super) async fn space(house: &House, work: &Work, measure: bool) -> Result<Space> {
    if !measure {
        return Ok(house.registry.space().await?.unwrap_or_default());
    }
    let (count, _) = live(house).await?;
    let show = |files: u64, bytes: u64| {
        work.show(Progress {
            text: format!("{files} files, {}", indicatif::HumanBytes(bytes)),
            done: files,
            total: Some(count),
        });
    };
    if house.runs_jobs {
        let job = Job::MeasureSpace {
            requested_by: Some(OPERATOR.to_owned()),
        };
        let done = jobs::run(house, work, &job, |counted| {
            let number = |name: &str| counted["stored"][name].as_u64().unwrap_or(0);
            show(number("files"), number("bytes"));
        })
        .await?;
        return serde_json::from_value(done.counted)
            .map_err(internal("reading what a job measured"));
    }
    let show = |space: &Space| show(space.stored.files, space.stored.bytes);
    let measured = house.registry.measure_space(&work.cancel, show).await?;
    measured.ok_or_else(|| Error::Precondition("it was stopped".to_owned()))
}

fn collecting(freed: u64, bytes: u64) -> Progress {
    Progress {
        text: format!("{freed} contents freed, {}", indicatif::HumanBytes(bytes)),
        done: freed,
        total: None,
    }
}

/// Reads all live contents, however lately they were read.
pub(super) async fn scrub(house: &House, work: &Work) -> Result<Scrubbed> {
    let (count, bytes) = live(house).await?;
    let show = |checked: u64, read: u64| {
        work.show(Progress {
            text: format!(
                "{checked} of {count} contents read, {}",
                indicatif::HumanBytes(read)
            ),
            done: read,
            total: Some(bytes),
        });
    };
    if house.runs_jobs {
        let job = Job::Scrub {
            requested_by: Some(OPERATOR.to_owned()),
        };
        let done = jobs::run(house, work, &job, |counted| {
            let number = |name: &str| counted[name].as_u64().unwrap_or(0);
            show(number("checked"), number("bytes"));
        })
        .await?;
        let mut scrubbed: Scrubbed = read(&done)?;
        if scrubbed.lost > 0 {
            let log = jobs::log(house, done.id.0, 0).await?;
            scrubbed.details = log.lines.into_iter().map(|line| line.text).collect();
        }
        return Ok(scrubbed);
    }
    let options = ScrubOptions {
        everything: true,
        longest: None,
    };
    let show = |done: &ScrubProgress| show(done.checked, done.bytes);
    let report = house.registry.scrub(&options, &work.cancel, show).await?;
    Ok(Scrubbed {
        job: None,
        checked: report.done.checked,
        bytes: report.done.bytes,
        lost: report.done.lost,
        details: report
            .examples
            .iter()
            .map(|lost| format!("{}: {}; push it again to heal it", lost.digest, lost.why))
            .collect(),
    })
}

/// What a job counted, with its number.
fn read<T: serde::de::DeserializeOwned>(done: &jobs::Done) -> Result<T> {
    let mut counted = done.counted.clone();
    if let Value::Object(fields) = &mut counted {
        fields.insert("job".to_owned(), done.id.0.into());
        fields
            .entry("details")
            .or_insert_with(|| Value::Array(Vec::new()));
    }
    serde_json::from_value(counted).map_err(internal("reading what a job counted"))
}

pub(super) async fn fsck(
    house: &House,
    work: &Work,
    deep: bool,
    repair: bool,
) -> Result<FsckReport> {
    let (count, bytes) = live(house).await?;
    let options = FsckOptions { deep, repair };
    let show = |done: &FsckProgress| {
        let text = format!(
            "{} contents, {} files, {} manifests, {} tags",
            done.contents, done.stored, done.manifests, done.tags
        );
        let (done, total) = if deep {
            (done.bytes, bytes)
        } else {
            (done.contents + done.stored, 2 * count)
        };
        work.show(Progress {
            text,
            done,
            total: Some(total),
        });
    };
    house.registry.fsck(&options, &work.cancel, show).await
}

/// Number and bytes of the contents that are served.
async fn live(house: &House) -> Result<(u64, u64)> {
    let totals = blobs::totals(&mut *house.db().reader().await?).await?;
    let served = totals
        .iter()
        .filter(|(state, ..)| matches!(state, State::Live | State::Adopted));
    Ok(served.fold((0, 0), |(counts, sums), (_, count, bytes)| {
        (counts + count, sums + bytes)
    }))
}
