//! What an import would find: a look that changes nothing, and needs no database where there is none yet.

use std::{
    collections::{HashMap, HashSet},
    time::Instant,
};

use blob::{
    Store,
    tree::{Held, What},
};
use db::{Db, projects};
use model::{
    Result,
    time::{Clock, Timestamp},
};
use tokio_util::sync::CancellationToken;

use super::{ImportOptions, ImportProgress, ImportReport, Left, Source, Told};
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
    let begun = match db {
        Some(db) => db.now().await?,
        None => Clock::default().now(),
    };
    let mut look = Look {
        store,
        options,
        cancel,
        progress: &progress,
        begun,
        newest: Timestamp(0),
        names: Names {
            db,
            options,
            projects: HashMap::new(),
            taken: HashSet::new(),
        },
        report: ImportReport::new(options.source),
    };
    look.contents().await?;
    look.repositories().await?;
    look.report.end(cancel, start);
    Ok(look.report)
}

/// One look under way.
struct Look<'a> {
    store: &'a Store,
    options: &'a ImportOptions,
    cancel: &'a CancellationToken,
    progress: Told<'a>,
    begun: Timestamp,
    newest: Timestamp,
    names: Names<'a>,
    report: ImportReport,
}

impl Look<'_> {
    async fn contents(&mut self) -> Result<()> {
        let mut listing = self.store.list();
        while !self.cancel.is_cancelled() {
            let Some(batch) = listing.next().await.map_err(store_error)? else {
                break;
            };
            self.report.leave_names(batch.unreadable, batch.strange);
            for found in batch.found {
                self.report.done.contents += 1;
                self.report.done.bytes += found.size;
                self.report
                    .came_by(found.modified, self.begun, &mut self.newest);
            }
            (self.progress)(&self.report.done);
        }
        Ok(())
    }

    async fn repositories(&mut self) -> Result<()> {
        let (mut walk, mut current) = (self.store.tree(), Current::default());
        while !self.cancel.is_cancelled() {
            let Some(batch) = walk.next().await.map_err(store_error)? else {
                break;
            };
            self.report.leave_names(batch.unreadable, batch.strange);
            for held in batch.held {
                self.count(held, &mut current).await?;
            }
            (self.progress)(&self.report.done);
        }
        Ok(())
    }

    async fn count(&mut self, held: Held, current: &mut Current) -> Result<()> {
        self.report
            .came_by(held.modified, self.begun, &mut self.newest);
        if let What::Upload { bytes } = held.what {
            self.report.done.uploads += 1;
            self.report.done.upload_bytes += bytes;
            return Ok(());
        }
        if self.options.source == Source::Harbor {
            return Ok(());
        }
        if held.repository != current.name {
            let refused = self.names.refuse(&held.repository).await?;
            *current = Current {
                name: held.repository,
                is_placed: refused.is_none(),
                is_counted: false,
            };
            if let Some(why) = refused {
                self.report.leave(Left::Unplaced, why);
            }
        }
        let done = &mut self.report.done;
        match held.what {
            What::Manifest(_) if current.is_placed => {
                done.manifests += 1;
                done.repositories += u64::from(!current.is_counted);
                current.is_counted = true;
            }
            What::Tag(_) if current.is_placed => done.tags += 1,
            _ => {}
        }
        Ok(())
    }
}

/// A repository on the walk.
#[derive(Default)]
struct Current {
    name: String,
    is_placed: bool,
    /// Has a manifest.
    is_counted: bool,
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
