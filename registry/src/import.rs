//! Taking over the tree of another registry where it lies: Docker's, or the one that Harbor keeps. No byte is copied or read: each content
//! gets a row that says `adopted`, and is read before it is served for the first time or by the scrub. Of Docker's registry the
//! repositories, manifests and tags are taken in as well, by the rules of a push.
//!
//! Until the operator declares the import finished, a repository of its own holds all of it ([`REPOSITORY`]), and `fsck` removes nothing
//! that it does not know. Every step leaves alone what is there already, so that an import that was interrupted is started again.

mod contents;
mod manifests;
mod names;
mod repositories;
mod store;
mod survey;
#[cfg(test)]
mod tests;

use std::{
    collections::BTreeMap,
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

use db::repositories::Repository;
use model::{Error, Result, time::Timestamp};
use serde::{Deserialize, Serialize};
use tokio_util::sync::CancellationToken;

use crate::Registry;

pub use names::{Mapping, Rules};
pub use store::{Import, ImportStatus, prepare};
pub use survey::survey;

/// What holds adopted contents until the import is finished.
pub const PROJECT: &str = "seawall-import";
pub const REPOSITORY: &str = "seawall-import/contents";
/// Said of a store without a tree.
pub const NO_TREE: &str = "there is no `docker/registry/v2/blobs` in the store: storage.url names the directory (or bucket and prefix) that has `docker` in it";
const EXAMPLES: usize = 100;
/// What was written so shortly before an import begins makes it likely that the old registry runs.
const LATELY: Duration = Duration::from_mins(1);

/// Whose tree it was.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Source {
    Docker,
    /// Its database knows the repositories and tags: what the tree says of them is out of date.
    Harbor,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct ImportOptions {
    pub source: Source,
    pub rules: Rules,
}

/// What is worth telling of what was found.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Left {
    /// The disk does not show it: what lies beneath is not taken over.
    Unreadable,
    /// A repository that no rule gives a project.
    Unplaced,
    /// The project, or something that is there already, does not take it.
    Refused,
    Schema1,
    Invalid,
    /// A manifest whose bytes are missing or damaged.
    Lost,
    /// A manifest that is here, and names something that is not.
    Incomplete,
    /// A tag of a manifest that is not here.
    LooseTag,
    /// A tag that is here already, with another manifest.
    Kept,
    /// Another file of a content that is here already.
    Twin,
    /// A name that does not belong into a registry's tree.
    Foreign,
}

impl Left {
    /// Whether something of the old registry is not here for it, or is damaged. What it would not have served either is none.
    pub fn is_fault(self) -> bool {
        match self {
            Self::Unreadable
            | Self::Unplaced
            | Self::Refused
            | Self::Schema1
            | Self::Invalid
            | Self::Lost => true,
            Self::Incomplete | Self::LooseTag | Self::Kept | Self::Twin | Self::Foreign => false,
        }
    }

    /// What was found, as words that follow a number.
    pub fn words(self) -> &'static str {
        match self {
            Self::Unreadable => {
                "files and directories that this user may not read, or the disk does not show: mend that and run it again"
            }
            Self::Unplaced => {
                "repositories without a project: see --into, --map and --create-projects, and run it again"
            }
            Self::Refused => "things that were refused: mend that and run it again",
            Self::Schema1 => {
                "manifests of Docker's old schema 1, which are left out: pull the image with an old client and push it with a current one"
            }
            Self::Invalid => "manifests that are not valid, and are left out",
            Self::Lost => "manifests whose bytes are missing or damaged",
            Self::Incomplete => {
                "manifests that name something which the old registry did not have either"
            }
            Self::LooseTag => "tags whose manifest is not there",
            Self::Kept => "tags that stand for something else by now, and stay",
            Self::Twin => "files of contents that are here already",
            Self::Foreign => "names that do not belong into a registry's tree, and are left alone",
        }
    }
}

#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Tally {
    pub count: u64,
    /// The first of them.
    pub examples: Vec<String>,
}

/// What an import has done so far.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ImportProgress {
    /// Contents found in the tree, and their bytes.
    pub contents: u64,
    pub bytes: u64,
    /// Those that were not known before.
    pub adopted: u64,
    pub adopted_bytes: u64,
    /// Repositories with manifests.
    pub repositories: u64,
    /// Manifests and tags that are here as they were there.
    pub manifests: u64,
    pub tags: u64,
    /// Uploads of the old registry that did not end, and their bytes. They stay where they are.
    pub uploads: u64,
    pub upload_bytes: u64,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct ImportReport {
    pub source: Source,
    #[serde(flatten)]
    pub done: ImportProgress,
    pub left: BTreeMap<Left, Tally>,
    /// When the old registry last wrote there, as far as what was found tells.
    pub written_at: Option<String>,
    /// Files that came while this ran, or shortly before: it is not stopped.
    pub changed: u64,
    /// False when it was stopped before its end, or the disk did not show everything.
    pub complete: bool,
    pub duration_ms: u64,
}

impl ImportReport {
    fn new(source: Source) -> Self {
        Self {
            source,
            done: ImportProgress::default(),
            left: BTreeMap::new(),
            written_at: None,
            changed: 0,
            complete: false,
            duration_ms: 0,
        }
    }

    fn leave(&mut self, what: Left, example: impl Into<String>) {
        let tally = self.left.entry(what).or_default();
        tally.count += 1;
        if tally.examples.len() < EXAMPLES {
            tally.examples.push(example.into());
        }
    }

    /// What a walk over the store could not see, and names that do not belong there.
    fn leave_names(&mut self, unreadable: Vec<String>, strange: Vec<String>) {
        for what in unreadable {
            self.leave(Left::Unreadable, what);
        }
        for name in strange {
            self.leave(Left::Foreign, name);
        }
    }

    /// Comes by something that the old registry wrote.
    fn came_by(&mut self, modified: SystemTime, begun: Timestamp, newest: &mut Timestamp) {
        let at = time_of(modified);
        self.changed += u64::from(at > begun.minus(LATELY));
        if at > *newest {
            *newest = at;
            self.written_at = Some(at.rfc3339());
        }
    }

    fn end(&mut self, cancel: &CancellationToken, start: Instant) {
        self.complete = !cancel.is_cancelled() && !self.left.contains_key(&Left::Unreadable);
        self.duration_ms = start.elapsed().as_millis() as u64;
    }
}

/// Told how far it has come.
type Told<'a> = &'a (dyn Fn(&ImportProgress) + Send + Sync);

/// One import under way.
struct Run<'a> {
    registry: &'a Registry,
    options: &'a ImportOptions,
    cancel: &'a CancellationToken,
    progress: Told<'a>,
    /// The import's own repository.
    holder: Repository,
    begun: Timestamp,
    /// When the old registry last wrote something that was found so far.
    newest: Timestamp,
    report: ImportReport,
}

impl Registry {
    /// Takes over the tree that the store is. The first time, call [`prepare`] before.
    pub async fn import_blobs(
        &self,
        options: &ImportOptions,
        cancel: &CancellationToken,
        progress: impl Fn(&ImportProgress) + Send + Sync,
    ) -> Result<ImportReport> {
        let start = Instant::now();
        self.check_rules(&options.rules).await?;
        if self.is_store_moving().await? {
            return Err(Error::Precondition(
                "the contents are on their way elsewhere (`seawall move`): import where they will be, or end the move first".to_owned(),
            ));
        }
        let holder = self.begin_import(options.source).await?;
        let mut run = Run {
            registry: self,
            options,
            cancel,
            progress: &progress,
            holder,
            begun: self.db().now().await?,
            newest: Timestamp(0),
            report: ImportReport::new(options.source),
        };
        run.contents().await?;
        run.repositories().await?;
        let mut report = run.report;
        report.end(cancel, start);
        if report.complete {
            self.note_complete().await?;
        }
        Ok(report)
    }
}

impl Run<'_> {
    fn is_over(&self) -> bool {
        self.cancel.is_cancelled()
    }

    fn tell(&self) {
        (self.progress)(&self.report.done);
    }

    fn came_by(&mut self, modified: SystemTime) {
        self.report.came_by(modified, self.begun, &mut self.newest);
    }
}

/// By the clock of whoever keeps the files.
fn time_of(modified: SystemTime) -> Timestamp {
    let since = modified.duration_since(UNIX_EPOCH).unwrap_or_default();
    Timestamp(i64::try_from(since.as_micros()).unwrap_or(i64::MAX))
}
