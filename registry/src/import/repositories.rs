//! What a Docker registry's tree says of its repositories, one after the other as the walk comes by: which contents each may read, its
//! manifests, its tags. Memory is some hundred entries, and the digests of one repository's indexes.

use std::collections::{HashMap, HashSet};

use blob::tree::{Held, What};
use db::{
    blobs::{self, State, adopted},
    links, projects,
    repositories::Repository,
};
use model::{Error, Result, id::ProjectId, name::ProjectName, time::Timestamp};
use oci::digest::Digest;

use super::{
    Left, Run, Source,
    store::{OWNER, expect_open},
    time_of,
};
use crate::{push::Target, store_error};

/// Entries that are dealt with at once.
pub(super) const BATCH: usize = 256;
/// Contents that wait for the first manifest: a repository without one is not made.
const MOST_WAITING: usize = 50_000;

/// What a walk knows of names.
#[derive(Default)]
pub(super) struct Seen {
    projects: HashMap<String, Option<ProjectId>>,
    /// Names here that some repository has taken.
    taken: HashSet<String>,
}

/// A repository on the walk.
pub(super) struct Current {
    old: String,
    /// None when nothing of it is taken in.
    target: Option<Target>,
    /// Made with its first manifest.
    pub(super) repository: Option<Repository>,
    layers: Vec<Digest>,
    manifests: Vec<(Digest, Timestamp)>,
    /// Indexes, which come after what they list.
    pub(super) indexes: Vec<(Digest, Timestamp)>,
    tags: Vec<(String, Timestamp)>,
}

impl Run<'_> {
    pub(super) async fn repositories(&mut self) -> Result<()> {
        let mut walk = self.registry.store().tree();
        let (mut seen, mut current) = (Seen::default(), None);
        while !self.is_over() {
            let Some(batch) = walk.next().await.map_err(store_error)? else {
                break;
            };
            self.report.leave_names(batch.unreadable, batch.strange);
            for held in batch.held {
                if self.is_over() {
                    break;
                }
                self.come_by(held, &mut seen, &mut current).await?;
            }
            self.tell();
        }
        self.end(current).await
    }

    async fn come_by(
        &mut self,
        held: Held,
        seen: &mut Seen,
        current: &mut Option<Current>,
    ) -> Result<()> {
        let at = time_of(held.modified);
        self.came_by(held.modified);
        if let What::Upload { bytes } = held.what {
            self.report.done.uploads += 1;
            self.report.done.upload_bytes += bytes;
            return Ok(());
        }
        if self.options.source == Source::Harbor {
            return Ok(());
        }
        if current
            .as_ref()
            .is_none_or(|one| one.old != held.repository)
        {
            self.end(current.take()).await?;
            *current = Some(self.enter(held.repository, seen).await?);
        }
        let Some(one) = current.as_mut().filter(|one| one.target.is_some()) else {
            return Ok(());
        };
        match held.what {
            What::Layer(digest) => {
                one.layers.push(digest);
                if one.layers.len() >= MOST_WAITING {
                    self.layers(one).await?;
                }
            }
            What::Manifest(digest) => {
                one.manifests.push((digest, at));
                if one.manifests.len() >= BATCH {
                    self.manifests(one).await?;
                }
            }
            What::Tag(name) => {
                one.tags.push((name, at));
                if one.tags.len() >= BATCH {
                    self.tags(one).await?;
                }
            }
            What::Upload { .. } => {}
        }
        Ok(())
    }

    async fn enter(&mut self, old: String, seen: &mut Seen) -> Result<Current> {
        let target = match self.options.rules.place(&old) {
            Ok(place) => {
                let project = self.project(&place.project, seen).await?;
                match project {
                    Some(project) if seen.taken.insert(place.name.to_string()) => Some(Target {
                        project,
                        name: place.name,
                    }),
                    Some(_) => {
                        let why =
                            format!("`{old}`: another repository is `{}` already", place.name);
                        self.report.leave(Left::Unplaced, why);
                        None
                    }
                    None => {
                        let project = &place.project;
                        let why = format!("`{old}`: there is no project `{project}`");
                        self.report.leave(Left::Unplaced, why);
                        None
                    }
                }
            }
            Err(why) => {
                self.report.leave(Left::Unplaced, why);
                None
            }
        };
        Ok(Current {
            old,
            target,
            repository: None,
            layers: Vec::new(),
            manifests: Vec::new(),
            indexes: Vec::new(),
            tags: Vec::new(),
        })
    }

    /// The project of this name, made where that is wanted.
    async fn project(&self, name: &ProjectName, seen: &mut Seen) -> Result<Option<ProjectId>> {
        if let Some(known) = seen.projects.get(name.as_str()) {
            return Ok(*known);
        }
        let (wanted, creates) = (name.clone(), self.options.rules.create_projects);
        let found = self
            .registry
            .db()
            .write(move |tx| {
                let wanted = wanted.clone();
                Box::pin(async move {
                    if let Some(project) = projects::find_name(tx, wanted.as_str()).await? {
                        return Ok(Some(project.id));
                    }
                    if !creates {
                        return Ok(None);
                    }
                    let new = projects::NewProject::named(wanted, OWNER);
                    let now = tx.now().await?;
                    projects::insert(tx, &new, now).await.map(Some)
                })
            })
            .await?;
        seen.projects.insert(name.to_string(), found);
        Ok(found)
    }

    /// What is left of a repository when the walk goes on to the next.
    async fn end(&mut self, current: Option<Current>) -> Result<()> {
        let Some(mut current) = current else {
            return Ok(());
        };
        self.manifests(&mut current).await?;
        self.indexes(&mut current).await?;
        self.tags(&mut current).await?;
        self.report.done.repositories += u64::from(current.repository.is_some());
        self.tell();
        Ok(())
    }

    /// The manifests that wait, once their repository holds what it held.
    async fn manifests(&mut self, current: &mut Current) -> Result<()> {
        if current.manifests.is_empty() {
            return Ok(());
        }
        self.layers(current).await?;
        let manifests = std::mem::take(&mut current.manifests);
        if let Some(target) = current.target.clone() {
            self.take_manifests(&target, current, manifests).await?;
        }
        Ok(())
    }

    async fn indexes(&mut self, current: &mut Current) -> Result<()> {
        match current.target.clone() {
            Some(target) => self.take_indexes(&target, current).await,
            None => Ok(()),
        }
    }

    /// Tags come after all manifests.
    async fn tags(&mut self, current: &mut Current) -> Result<()> {
        self.manifests(current).await?;
        self.indexes(current).await?;
        let tags = std::mem::take(&mut current.tags);
        let (Some(target), Some(repository)) = (current.target.clone(), &current.repository) else {
            for (name, _) in &tags {
                let what = format!("{}:{name}", current.old);
                self.report.leave(Left::LooseTag, what);
            }
            return Ok(());
        };
        let repository = repository.clone();
        let old = current.old.clone();
        self.take_tags(&target, &repository, &old, tags).await
    }

    /// The repository, and links to what it held. A project that does not take them gets nothing of this repository.
    async fn layers(&mut self, current: &mut Current) -> Result<()> {
        let layers = std::mem::take(&mut current.layers);
        let Some(target) = current.target.clone() else {
            return Ok(());
        };
        // An empty one makes the repository.
        let mut chunks: Vec<&[Digest]> = layers.chunks(BATCH).collect();
        if chunks.is_empty() && current.repository.is_none() {
            chunks.push(&[]);
        }
        for some in chunks {
            match self.link(&target, some.to_vec()).await {
                Ok(repository) => current.repository = Some(repository),
                Err(error) if is_refusal(&error) => {
                    let what = format!("`{}`: {error}", target.name);
                    self.report.leave(Left::Refused, what);
                    current.target = None;
                    return Ok(());
                }
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    async fn link(&self, target: &Target, digests: Vec<Digest>) -> Result<Repository> {
        let target = target.clone();
        self.registry
            .db()
            .write(move |tx| {
                let (target, digests) = (target.clone(), digests.clone());
                Box::pin(async move {
                    expect_open(tx).await?;
                    let now = tx.now().await?;
                    let repository = target.ensure(tx, now).await?;
                    if digests.is_empty() {
                        return Ok(repository);
                    }
                    let rows = blobs::lock(tx, &digests).await?;
                    let held = links::held(tx, repository.id, &digests).await?;
                    let held: HashSet<Digest> = held.iter().map(|blob| blob.digest).collect();
                    for row in rows.iter().filter(|row| !held.contains(&row.digest)) {
                        if row.state == State::Condemned {
                            blobs::revive(tx, row.id, now).await?;
                        }
                        let check_at = Some(adopted::UNTIL_FINISHED);
                        links::add(tx, &repository, row.id, check_at, now).await?;
                    }
                    Ok(repository)
                })
            })
            .await
    }
}

/// Whether an error is about the one thing that was to be taken in: it is told, and the rest goes on.
pub(super) fn is_refusal(error: &Error) -> bool {
    !matches!(
        error,
        Error::Unavailable(_)
            | Error::Internal(_)
            | Error::StorageFull(_)
            | Error::TooMany { .. }
            | Error::Unauthenticated
    )
}
