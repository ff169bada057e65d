//! Retention: judging what a repository holds by its project's policy, and deleting what no rule keeps. Judging reads and changes
//! nothing; what was pushed, tagged or pulled between the verdict and the deletion stays.

#[cfg(test)]
mod tests;

use std::collections::{HashMap, VecDeque};

use db::{
    artifacts::{self, Deletion, Known, Spared},
    immutable,
    jobs::{self, Attempt},
    repositories::Repository,
    retention::{self, Candidate, CandidateTag},
    trash::{Bin, Cause},
};
use model::{
    Error, Result,
    id::ArtifactId,
    retention::{
        Policy,
        judge::{Judge, Judged, Looking, Told, Verdict},
    },
    time::Timestamp,
};
use tokio_util::sync::CancellationToken;

use crate::Registry;

/// Artifacts read at a time, and tags.
const PAGE: i64 = 500;
const TAGS: i64 = 5000;
/// Tags and manifests that one transaction deletes, about: some milliseconds of the one writer that SQLite has.
const BATCH: i64 = 60;
/// Tags of an artifact that are named.
pub const NAMED: usize = 5;

/// What a policy says of a repository.
#[derive(Debug, Clone)]
pub struct Judgement {
    /// In the order in which the artifacts came.
    pub verdicts: Vec<Judged>,
}

impl Judgement {
    /// How many stay.
    pub fn retained(&self) -> usize {
        let goes = |one: &&Judged| one.verdict == Verdict::Goes;
        self.verdicts.len() - self.verdicts.iter().filter(goes).count()
    }

    /// What is to be deleted, as it was known when it was judged.
    fn going(&self) -> VecDeque<(ArtifactId, Known)> {
        let going = self.verdicts.iter();
        let going = going.filter(|one| one.verdict == Verdict::Goes);
        going.map(|one| (one.artifact, known(one))).collect()
    }
}

/// What came of a deletion of many.
#[derive(Debug, Clone, Default)]
pub struct Pruned {
    pub deleted: u64,
    /// What stayed after all, and why.
    pub spared: Vec<(ArtifactId, Spared)>,
}

/// An artifact and what became of it, for people.
#[derive(Debug, Clone)]
pub struct Explained {
    pub candidate: Candidate,
    /// The first of its tags, and how many there are.
    pub tags: Vec<String>,
    pub tag_count: u64,
    /// The latest of its own and its tags' times.
    pub pushed_at: Timestamp,
    pub pulled_at: Option<Timestamp>,
    pub verdict: Verdict,
}

impl Registry {
    /// Judges a repository. None when no rule in force is about it. A rule that cannot be applied is a refusal: nothing goes then.
    pub async fn judge_retention(
        &self,
        policy: &Policy,
        repository: &Repository,
        cancel: &CancellationToken,
    ) -> Result<Option<Judgement>> {
        // What was pulled here a moment ago counts.
        self.flush_activity().await?;
        let at = self.db().now().await?;
        let (_, name) = repository.name.split_once('/').unwrap_or_default();
        let judge = Judge::new(policy, name, at)
            .map_err(|why| Error::invalid(model::What::Retention, why))?;
        let Some(mut judge) = judge else {
            return Ok(None);
        };
        let rules = {
            let mut reader = self.db().reader().await?;
            immutable::rules(&mut reader, repository.project).await?
        };
        let (mut walk, mut current): (_, Option<Looking>) = (Walk::new(self, repository), None);
        loop {
            if cancel.is_cancelled() {
                return Err(Error::Precondition("it was stopped".to_owned()));
            }
            let more = walk
                .page(|seen| match seen {
                    Seen::Artifact(one) => {
                        if let Some(looking) = current.take() {
                            judge.take(&looking);
                        }
                        // What is pushed meanwhile is met further on, maybe for the second time, and is not judged.
                        if one.pushed_at <= at {
                            current =
                                Some(judge.look(one.id, one.pushed_at, one.pulled_at, one.is_part));
                        }
                    }
                    Seen::Tag(tag) => {
                        if let Some(looking) = &mut current {
                            let told = Told {
                                id: tag.id,
                                name: &tag.name,
                                pushed: tag.pushed_at,
                                pulled: tag.pulled_at,
                                is_immutable: rules.hold(&repository.name, &tag.name),
                            };
                            judge.tag(looking, &told);
                        }
                    }
                })
                .await?;
            if !more {
                break;
            }
        }
        if let Some(looking) = current.take() {
            judge.take(&looking);
        }
        Ok(Some(Judgement {
            verdicts: judge.judge(),
        }))
    }

    /// Deletes what was judged to go. Where it is kept for a while stands in the configuration.
    pub async fn prune(
        &self,
        repository: &Repository,
        judgement: &Judgement,
        attempt: Option<Attempt>,
        cancel: &CancellationToken,
        progress: impl Fn(&Pruned) + Send + Sync,
    ) -> Result<Pruned> {
        let keep = self.config().trash_keep_retention;
        let bin = Bin::begin(Cause::Retention, keep, self.db().now().await?);
        self.delete_judged(
            repository,
            judgement.going(),
            bin,
            attempt,
            cancel,
            progress,
        )
        .await
    }

    /// Deletes artifacts about which nothing has changed since it was known, some in a transaction; for an attempt as long as it has its
    /// job.
    pub(crate) async fn delete_judged(
        &self,
        repository: &Repository,
        going: VecDeque<(ArtifactId, Known)>,
        bin: Option<Bin>,
        attempt: Option<Attempt>,
        cancel: &CancellationToken,
        progress: impl Fn(&Pruned) + Send + Sync,
    ) -> Result<Pruned> {
        let mut done = Pruned::default();
        let mut left = Left {
            going,
            current: None,
            deleted: 0,
            spared: Vec::new(),
        };
        while !left.is_over() && !cancel.is_cancelled() {
            let step = self.delete_step(repository, left, bin.clone(), attempt);
            let Some(stepped) = step.await? else { break };
            left = stepped;
            done.deleted += std::mem::take(&mut left.deleted);
            done.spared.append(&mut left.spared);
            progress(&done);
        }
        Ok(done)
    }

    /// None when the job is another attempt's by now.
    async fn delete_step(
        &self,
        repository: &Repository,
        left: Left,
        bin: Option<Bin>,
        attempt: Option<Attempt>,
    ) -> Result<Option<Left>> {
        let (repository, grace) = (repository.clone(), self.config().gc_grace);
        self.db()
            .write(move |tx| {
                let (repository, mut left, bin) = (repository.clone(), left.clone(), bin.clone());
                Box::pin(async move {
                    if let Some(attempt) = attempt
                        && !jobs::holds(tx, attempt).await?
                    {
                        return Ok(None);
                    }
                    let now = tx.now().await?;
                    let mut spent = 0;
                    while spent < BATCH
                        && let Some((artifact, mut deletion)) = left.next(bin.as_ref())
                    {
                        let before = deletion.spent();
                        let check_at = now.plus(grace);
                        artifacts::delete_some(tx, &repository, &mut deletion, check_at, now)
                            .await?;
                        spent += 1 + deletion.spent() - before;
                        if !deletion.is_done() {
                            left.current = Some((artifact, deletion));
                            break;
                        }
                        match deletion.spared() {
                            Some(why) => left.spared.push((artifact, why)),
                            None => left.deleted += 1,
                        }
                    }
                    Ok(Some(left))
                })
            })
            .await
    }

    /// Begins to tell of each artifact what became of it; see [`Explanations::next`].
    pub fn explain<'a>(
        &'a self,
        repository: &Repository,
        judgement: &Judgement,
    ) -> Explanations<'a> {
        let verdicts = judgement.verdicts.iter();
        Explanations {
            walk: Walk::new(self, repository),
            verdicts: verdicts.map(|one| (one.artifact, one.verdict)).collect(),
        }
    }
}

fn known(judged: &Judged) -> Known {
    Known {
        tags: judged.tags,
        tag_ids: judged.tag_ids,
        pushed_at: judged.pushed,
        pulled_at: judged.pulled,
    }
}

/// What is left to delete.
#[derive(Clone)]
struct Left {
    going: VecDeque<(ArtifactId, Known)>,
    /// One with so many tags that a step was not enough.
    current: Option<(ArtifactId, Deletion)>,
    deleted: u64,
    spared: Vec<(ArtifactId, Spared)>,
}

impl Left {
    fn is_over(&self) -> bool {
        self.going.is_empty() && self.current.is_none()
    }

    fn next(&mut self, bin: Option<&Bin>) -> Option<(ArtifactId, Deletion)> {
        self.current.take().or_else(|| {
            let (artifact, known) = self.going.pop_front()?;
            Some((artifact, Deletion::judged(artifact, known, bin.cloned())))
        })
    }
}

/// Tells of the artifacts of a judged repository, some at a time.
pub struct Explanations<'a> {
    walk: Walk<'a>,
    verdicts: HashMap<ArtifactId, Verdict>,
}

impl Explanations<'_> {
    /// The next ones; none at the end. What came after the verdict is passed over.
    pub async fn next(&mut self) -> Result<Option<Vec<Explained>>> {
        let mut all: Vec<Explained> = Vec::new();
        let verdicts = &self.verdicts;
        let mut is_known = false;
        let more = self
            .walk
            .page(|seen| match seen {
                Seen::Artifact(one) => {
                    let verdict = verdicts.get(&one.id);
                    is_known = verdict.is_some();
                    all.extend(verdict.map(|verdict| Explained {
                        candidate: one.clone(),
                        tags: Vec::new(),
                        tag_count: 0,
                        pushed_at: one.pushed_at,
                        pulled_at: one.pulled_at,
                        verdict: *verdict,
                    }));
                }
                Seen::Tag(tag) => {
                    if let Some(last) = all.last_mut().filter(|_| is_known) {
                        last.tag_count += 1;
                        last.pushed_at = last.pushed_at.max(tag.pushed_at);
                        last.pulled_at = last.pulled_at.max(tag.pulled_at);
                        if last.tags.len() < NAMED {
                            last.tags.push(tag.name.clone());
                        }
                    }
                }
            })
            .await?;
        Ok(more.then_some(all))
    }
}

/// What is met on the way through a repository.
enum Seen<'a> {
    Artifact(&'a Candidate),
    /// Of the artifact that was met last.
    Tag(&'a CandidateTag),
}

/// The way through a repository: artifacts in the order in which they came, each with its tags, however many there are. Nothing is
/// held between two pages.
struct Walk<'a> {
    registry: &'a Registry,
    repository: Repository,
    after: (Timestamp, ArtifactId),
}

impl<'a> Walk<'a> {
    fn new(registry: &'a Registry, repository: &Repository) -> Self {
        Self {
            registry,
            repository: repository.clone(),
            after: (Timestamp(i64::MIN), ArtifactId(0)),
        }
    }

    /// The next page; false when there is nothing more.
    async fn page(&mut self, mut each: impl FnMut(Seen<'_>)) -> Result<bool> {
        let (mut page, mut tags) = {
            let mut reader = self.registry.db().reader().await?;
            let repository = self.repository.id;
            let page = retention::candidates(&mut reader, repository, self.after, PAGE).await?;
            let ids: Vec<ArtifactId> = page.iter().map(|one| one.id).collect();
            (page, Tags::of(ids))
        };
        let Some(last) = page.last() else {
            return Ok(false);
        };
        self.after = (last.pushed_at, last.id);
        page.sort_unstable_by_key(|one| one.id);
        for one in &page {
            each(Seen::Artifact(one));
            while let Some(tag) = tags.next_of(one.id, self.registry).await? {
                each(Seen::Tag(&tag));
            }
        }
        Ok(true)
    }
}

/// The tags of a page's artifacts, some at a time.
struct Tags {
    artifacts: Vec<ArtifactId>,
    read: VecDeque<CandidateTag>,
    after: (ArtifactId, i64),
    has_more: bool,
}

impl Tags {
    fn of(artifacts: Vec<ArtifactId>) -> Self {
        Self {
            artifacts,
            read: VecDeque::new(),
            after: (ArtifactId(0), 0),
            has_more: true,
        }
    }

    async fn next_of(
        &mut self,
        artifact: ArtifactId,
        registry: &Registry,
    ) -> Result<Option<CandidateTag>> {
        if self.read.is_empty() && self.has_more {
            let mut reader = registry.db().reader().await?;
            let read = retention::candidate_tags(&mut reader, &self.artifacts, self.after, TAGS);
            self.read = read.await?.into();
            self.has_more = self.read.len() as i64 == TAGS;
            if let Some(last) = self.read.back() {
                self.after = (last.artifact, last.id);
            }
        }
        let is_its = |tag: &CandidateTag| tag.artifact == artifact;
        Ok(self.read.pop_front_if(|tag| is_its(tag)))
    }
}
