//! What an import would find: a look that changes nothing, and needs no database where there is none yet.

use std::{
    collections::{HashMap, HashSet},
    time::Instant,
};

use blob::{Store, tree::What};
use db::{Db, projects};
use model::Result;
use tokio_util::sync::CancellationToken;

use super::{ImportOptions, ImportProgress, ImportReport, Left, Source};
use crate::store_error;

/// The project that a new database has.
const FIRST: &str = "library";

/// Counts the tree, and says which repositories have no place yet. What `complete` says is whether the disk showed everything.
pub async fn survey(
    store: &Store,
    db: Option<&Db>,
    options: &ImportOptions,
    cancel: &CancellationToken,
    progress: impl Fn(&ImportProgress) + Send + Sync,
) -> Result<ImportReport> {
    let start = Instant::now();
    let mut report = ImportReport::new(options.source);
    let mut listing = store.list();
    while let Some(batch) = listing.next().await.map_err(store_error)? {
        if cancel.is_cancelled() {
            break;
        }
        for what in batch.unreadable {
            report.leave(Left::Unreadable, what);
        }
        for name in batch.strange {
            report.leave(Left::Foreign, name);
        }
        report.done.contents += batch.found.len() as u64;
        report.done.bytes += batch.found.iter().map(|found| found.size).sum::<u64>();
        progress(&report.done);
    }
    let mut names = Names {
        db,
        options,
        projects: HashMap::new(),
        taken: HashSet::new(),
    };
    let (mut walk, mut current) = (store.tree(), String::new());
    let (mut is_placed, mut counted) = (false, false);
    while let Some(batch) = walk.next().await.map_err(store_error)? {
        if cancel.is_cancelled() {
            break;
        }
        for what in batch.unreadable {
            report.leave(Left::Unreadable, what);
        }
        for held in batch.held {
            if let What::Upload { bytes } = held.what {
                report.done.uploads += 1;
                report.done.upload_bytes += bytes;
                continue;
            }
            if options.source == Source::Harbor {
                continue;
            }
            if held.repository != current {
                current = held.repository;
                counted = false;
                let refused = names.refuse(&current).await?;
                is_placed = refused.is_none();
                if let Some(why) = refused {
                    report.leave(Left::Unplaced, why);
                }
            }
            if is_placed && matches!(held.what, What::Manifest(_)) {
                report.done.manifests += 1;
                report.done.repositories += u64::from(!counted);
                counted = true;
            }
            report.done.tags += u64::from(is_placed && matches!(held.what, What::Tag(_)));
        }
        progress(&report.done);
    }
    report.end(cancel, start);
    Ok(report)
}

struct Names<'a> {
    db: Option<&'a Db>,
    options: &'a ImportOptions,
    /// Whether each is there, or would be made.
    projects: HashMap<String, bool>,
    taken: HashSet<String>,
}

impl Names<'_> {
    /// Why a repository has no place; none when it has one.
    async fn refuse(&mut self, old: &str) -> Result<Option<String>> {
        let place = match self.options.rules.place(old) {
            Ok(place) => place,
            Err(why) => return Ok(Some(why)),
        };
        let project = place.project.as_str();
        let is_there = match self.projects.get(project) {
            Some(known) => *known,
            None => self.is_there(project).await?,
        };
        self.projects.insert(project.to_owned(), is_there);
        Ok(if !is_there {
            Some(format!("`{old}`: there is no project `{project}`"))
        } else if !self.taken.insert(place.name.to_string()) {
            let name = &place.name;
            Some(format!("`{old}`: another repository is `{name}` already"))
        } else {
            None
        })
    }

    async fn is_there(&self, project: &str) -> Result<bool> {
        if self.options.rules.create_projects {
            return Ok(true);
        }
        let Some(db) = self.db else {
            return Ok(project == FIRST);
        };
        let found = projects::find_name(&mut *db.reader().await?, project).await?;
        Ok(found.is_some())
    }
}
