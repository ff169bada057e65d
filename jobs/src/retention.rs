//! Retention: an execution makes a task for each repository that the policy is about; a task judges its repository, says of each
//! artifact what becomes of it and why, and deletes what no rule keeps.

#[cfg(test)]
mod tests;

use std::collections::BTreeMap;

use db::{
    artifacts::Spared,
    jobs::{self, Heartbeat},
    projects, repositories,
    retention::{self, Stored},
};
use model::{
    Result,
    id::{ArtifactId, PolicyId, RepositoryId},
    job::Job,
    retention::{Policy, judge::Verdict},
    time::Timestamp,
};
use registry::retain::{Explained, Judgement, Pruned};
use serde::Serialize;

use crate::{Context, Outcome};

/// Tasks made in one transaction.
const TASKS: i64 = 200;
/// Artifacts of which the log tells; each is a line of some 150 bytes.
const EXPLAINED: usize = 100_000;

/// Makes the tasks. An attempt goes on where the one before ended.
pub(crate) async fn begin(cx: &Context, policy: PolicyId, dry_run: bool) -> Result<Outcome> {
    let Some(stored) = find(cx, policy).await? else {
        return Ok(Outcome::GiveUp("the policy was deleted".to_owned()));
    };
    let project = {
        let mut reader = cx.db().reader().await?;
        projects::find(&mut reader, stored.project).await?
    };
    let Some(project) = project else {
        return Ok(Outcome::GiveUp("its project was deleted".to_owned()));
    };
    let last = {
        let mut reader = cx.db().reader().await?;
        jobs::executions::last_resource(&mut reader, cx.id).await?
    };
    let full = |name: String| format!("{}/{name}", project.name);
    let (mut after, mut made) = (last.map_or_else(String::new, full), 0_u64);
    loop {
        if cx.is_cancelled() {
            return Ok(Outcome::Interrupted);
        }
        let batch = {
            let mut reader = cx.db().reader().await?;
            repositories::of_project(&mut reader, project.id, &after, TASKS).await?
        };
        let Some(last) = batch.last() else { break };
        after.clone_from(&last.name);
        let wanted: Vec<(RepositoryId, String)> = batch
            .into_iter()
            .filter_map(|repository| {
                let (_, name) = repository.name.split_once('/')?;
                let is_meant = stored.policy.is_about(name);
                is_meant.then(|| (repository.id, name.to_owned()))
            })
            .collect();
        made += wanted.len() as u64;
        if !enqueue(cx, policy, dry_run, wanted).await? {
            return Ok(Outcome::Interrupted);
        }
    }
    Ok(Outcome::Split(format!("{made} repositories to look at")))
}

async fn find(cx: &Context, policy: PolicyId) -> Result<Option<Stored>> {
    retention::find(&mut *cx.db().reader().await?, policy).await
}

/// False when the job is to stop, or is another attempt's by now: then nothing is made.
async fn enqueue(
    cx: &Context,
    policy: PolicyId,
    dry_run: bool,
    wanted: Vec<(RepositoryId, String)>,
) -> Result<bool> {
    let (id, attempt, lease) = (cx.id, cx.attempt, cx.lease);
    cx.db()
        .write(move |tx| {
            let wanted = wanted.clone();
            Box::pin(async move {
                let heard = jobs::heartbeat(tx, id, attempt, lease, None).await?;
                if heard != Heartbeat::GoOn {
                    return Ok(false);
                }
                let now = tx.now().await?;
                for (repository, name) in &wanted {
                    let job = Job::Retain {
                        policy,
                        repository: *repository,
                        dry_run,
                    };
                    let task = jobs::New {
                        task_of: Some((id, name)),
                        ..jobs::New::of(&job, now)
                    };
                    jobs::enqueue_new(tx, &task, now).await?;
                }
                Ok(true)
            })
        })
        .await
}

/// What is shown of a task, under the names that Harbor's clients read.
#[derive(Debug, Default, Serialize)]
struct Shown {
    total: usize,
    retained: usize,
    deleted: u64,
    /// Judged to go, and left alone in the end.
    spared: usize,
}

/// One task.
pub(crate) async fn retain(
    cx: &Context,
    policy: PolicyId,
    repository: RepositoryId,
    dry_run: bool,
) -> Result<Outcome> {
    let Some(stored) = find(cx, policy).await? else {
        return Ok(Outcome::GiveUp("the policy was deleted".to_owned()));
    };
    let found = {
        let mut reader = cx.db().reader().await?;
        repositories::find_id(&mut reader, repository).await?
    };
    let Some(repository) = found.filter(|found| found.project == stored.project) else {
        return Ok(Outcome::Done("the repository is gone".to_owned()));
    };
    let judged = cx
        .registry
        .judge_retention(&stored.policy, &repository, &cx.cancel)
        .await;
    if cx.is_cancelled() {
        return Ok(Outcome::Interrupted);
    }
    let judgement = match judged {
        Ok(Some(judgement)) => judgement,
        Ok(None) => return Ok(Outcome::Done("no rule is about it any more".to_owned())),
        // It would say the same again.
        Err(model::Error::Invalid(_, why)) => return Ok(Outcome::GiveUp(why)),
        Err(error) => return Err(error),
    };
    let mut shown = Shown {
        total: judgement.verdicts.len(),
        retained: judgement.retained(),
        ..Shown::default()
    };
    cx.show(&shown);
    tell(cx, &stored, &repository, &judgement, dry_run).await?;
    if dry_run || cx.is_cancelled() {
        return Ok(ended(cx, &repository.name, &shown, dry_run));
    }
    let watched = cx.clone();
    let (total, retained) = (shown.total, shown.retained);
    let progress = move |done: &Pruned| {
        watched.show(&Shown {
            total,
            retained,
            deleted: done.deleted,
            spared: done.spared.len(),
        });
    };
    let pruned = cx
        .registry
        .prune(
            &repository,
            &judgement,
            Some(cx.attempt()),
            &cx.cancel,
            progress,
        )
        .await?;
    shown.deleted = pruned.deleted;
    shown.spared = pruned.spared.len();
    shown.retained = shown.total - usize::try_from(pruned.deleted).unwrap_or(shown.total);
    cx.show(&shown);
    cx.log_lines(spared(&pruned.spared)).await;
    Ok(ended(cx, &repository.name, &shown, dry_run))
}

fn ended(cx: &Context, repository: &str, shown: &Shown, dry_run: bool) -> Outcome {
    if cx.is_cancelled() {
        return Outcome::Interrupted;
    }
    let Shown {
        total,
        retained,
        deleted,
        spared,
    } = shown;
    Outcome::Done(if dry_run {
        format!(
            "{repository}: a dry run, {retained} of {total} artifacts stay and {} would go",
            total - retained
        )
    } else {
        format!(
            "{repository}: {retained} of {total} artifacts stay, {deleted} deleted, {spared} left alone after all"
        )
    })
}

/// Says of each artifact what becomes of it, and why.
async fn tell(
    cx: &Context,
    stored: &Stored,
    repository: &repositories::Repository,
    judgement: &Judgement,
    dry_run: bool,
) -> Result<()> {
    let in_force = stored.policy.rules.iter().enumerate();
    let in_force = in_force.filter(|(_, rule)| !rule.disabled);
    let mut head: Vec<String> = in_force
        .map(|(place, rule)| format!("rule {} keeps {}", place + 1, rule.describe()))
        .collect();
    head.push(HEAD.to_owned());
    cx.log_lines(head).await;
    let mut explanations = cx.registry.explain(repository, judgement);
    let mut left = EXPLAINED;
    while let Some(batch) = explanations.next().await? {
        if cx.is_cancelled() || left == 0 {
            break;
        }
        let lines: Vec<String> = batch
            .iter()
            .take(left)
            .map(|one| line(one, &stored.policy, dry_run))
            .collect();
        left -= lines.len();
        cx.log_lines(lines).await;
    }
    if left == 0 {
        cx.log("and more, of which this log does not tell").await;
    }
    Ok(())
}

const HEAD: &str = "digest | tags | pushed | pulled | retention | why";

/// A row of the table that Harbor's log shows too, with the reason at its end.
fn line(one: &Explained, policy: &Policy, dry_run: bool) -> String {
    let mut tags = one.tags.join(",");
    let more = one.tag_count - one.tags.len() as u64;
    if more > 0 {
        tags = format!("{tags},… ({more} more)");
    }
    let pulled = one.pulled_at.map_or("never".to_owned(), Timestamp::rfc3339);
    // Harbor's marks.
    let mark = match one.verdict {
        Verdict::Kept(_) | Verdict::Unclear | Verdict::Part => "RETAIN",
        Verdict::Immutable => "IMMUTABLE",
        Verdict::Goes => "DEL",
    };
    let mut why = policy.reason(one.verdict);
    if dry_run && one.verdict == Verdict::Goes {
        why.push_str(": it would go");
    }
    format!(
        "{} | {tags} | {} | {pulled} | {mark} | {why}",
        one.candidate.digest,
        one.pushed_at.rfc3339()
    )
}

fn spared(all: &[(ArtifactId, Spared)]) -> Vec<String> {
    let mut counts: BTreeMap<&str, usize> = BTreeMap::new();
    for (_, why) in all {
        let why = match why {
            Spared::Missing => "had gone already",
            Spared::Changed => "were pushed, tagged or pulled since they were judged",
            Spared::Immutable => "have an immutable tag",
            Spared::Part => "are part of an index by now",
        };
        *counts.entry(why).or_default() += 1;
    }
    let told = counts.iter();
    told.map(|(why, count)| format!("left alone: {count} that {why}"))
        .collect()
}
