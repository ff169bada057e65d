//! The check that database and store say the same, both ways. It reads; it changes only what it is told to repair. It may
//! run beside a server: what it finds wrong is asked about again before it is reported.

mod contents;
mod identity;
mod stored;
mod tables;
#[cfg(test)]
mod tests;
mod uploads;

use std::{collections::BTreeMap, time::Instant};

use model::Result;
use serde::{Deserialize, Serialize};
use tokio_util::sync::CancellationToken;

use crate::Registry;

pub use identity::adopt_store;
pub(crate) use identity::expect_unserved;
pub use uploads::StrayUpload;

/// Rows looked at in one query.
const BATCH: i64 = 500;
/// Examples that a report names of each kind.
const EXAMPLES: usize = 100;

#[derive(Debug, Clone, Default)]
pub struct FsckOptions {
    /// Reads all bytes and compares digests, instead of lengths alone.
    pub deep: bool,
    /// Marks what is lost, removes what nobody knows, mends links and tags.
    pub repair: bool,
}

/// What can be found.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Kind {
    /// A content's bytes are not in the store.
    Missing,
    /// A content's file has another length than its row says.
    WrongLength,
    /// A content's bytes have another digest, or the disk does not give them.
    Damaged,
    /// Known to be missing or damaged already: waits for a push.
    Lost,
    /// A live content that no repository holds.
    Unheld,
    /// Bytes in the store that no row knows.
    Stray,
    /// A manifest names a content that its repository does not hold.
    Unlinked,
    /// A manifest names a content whose bytes have been given up.
    GivenUp,
    /// A tag does not point at the manifest that it says.
    LooseTag,
    /// Lists show a manifest that they should not, or leave one out.
    Mislisted,
    /// A project uses or holds another amount than is said of it.
    Miscounted,
    /// An upload's file that no session knows.
    StrayUpload,
    /// A file or directory in the store that the disk does not show: content beneath it may exist all the same.
    Unreadable,
    /// A session whose file is not there: it has to be started again, and expires by itself.
    UploadWithoutFile,
    /// As `Stray` or `StrayUpload`, but so young that it may be on its way.
    Young,
    /// Bytes of a content that was collected, about to go.
    Going,
    /// A name in the store that is not ours; never touched.
    Foreign,
}

impl Kind {
    /// Whether something is wrong; otherwise it is worth knowing and will pass by itself.
    pub fn is_fault(self) -> bool {
        match self {
            Self::Missing
            | Self::WrongLength
            | Self::Damaged
            | Self::Lost
            | Self::Unheld
            | Self::Stray
            | Self::Unlinked
            | Self::GivenUp
            | Self::LooseTag
            | Self::Mislisted
            | Self::Miscounted
            | Self::StrayUpload
            | Self::Unreadable => true,
            Self::UploadWithoutFile | Self::Young | Self::Going | Self::Foreign => false,
        }
    }

    /// Whether a repair can no more than stop serving it, so that it is still a fault.
    pub fn is_beyond_repair(self) -> bool {
        matches!(
            self,
            Self::Missing | Self::Damaged | Self::Lost | Self::GivenUp | Self::Unreadable
        )
    }

    /// What was found, as words that follow a number.
    pub fn words(self) -> &'static str {
        match self {
            Self::Missing => "contents whose bytes are missing; push them again",
            Self::WrongLength => "contents whose file has another length",
            Self::Damaged => "contents whose bytes are damaged; push them again",
            Self::Lost => "contents that are known to be missing or damaged; push them again",
            Self::Unheld => "contents that no repository holds",
            Self::Stray => "files that the database does not know",
            Self::Unlinked => "manifests that name what their repository does not hold",
            Self::GivenUp => "manifests that name what was given up; push it again",
            Self::LooseTag => "tags that do not point where they say",
            Self::Mislisted => "manifests that lists show wrongly or leave out",
            Self::Miscounted => "projects that use or hold another amount than is said",
            Self::StrayUpload => "files of uploads that nobody knows",
            Self::Unreadable => "files and directories that the disk does not show",
            Self::UploadWithoutFile => "uploads that have to be started again",
            Self::Young => "files that may be on their way",
            Self::Going => "files of collected contents, about to go",
            Self::Foreign => "names in the store that are not ours",
        }
    }
}

/// What was found of one kind.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct Tally {
    pub count: u64,
    /// How many of them were put right, or (missing and damaged contents) are not served any more.
    pub repaired: u64,
    pub examples: Vec<String>,
}

impl Tally {
    /// The examples, indented below what they are examples of, and how many more there are.
    pub fn lines(&self) -> impl Iterator<Item = String> {
        let more = self.count.saturating_sub(self.examples.len() as u64);
        let examples = self.examples.iter().map(|example| format!("  {example}"));
        examples.chain((more > 0).then(|| format!("  and {more} more")))
    }
}

/// How far the check has come.
#[derive(Debug, Clone, Default, Serialize)]
pub struct FsckProgress {
    /// Contents that the database knows, and their bytes.
    pub contents: u64,
    pub bytes: u64,
    /// Files that the store holds, and their bytes.
    pub stored: u64,
    pub stored_bytes: u64,
    pub manifests: u64,
    pub tags: u64,
    pub projects: u64,
}

#[derive(Debug, Clone, Default, Serialize)]
pub struct FsckReport {
    /// What is wrong with the store as a whole: then nothing else was looked at.
    pub identity: Option<String>,
    #[serde(flatten)]
    pub done: FsckProgress,
    pub findings: BTreeMap<Kind, Tally>,
    /// False when the check was cancelled before its end.
    pub complete: bool,
    pub duration_ms: u64,
}

impl FsckReport {
    /// Whether all is well.
    pub fn is_clean(&self) -> bool {
        self.identity.is_none() && self.findings.keys().all(|kind| !kind.is_fault())
    }

    /// How many were found of one kind.
    pub fn count(&self, kind: Kind) -> u64 {
        self.findings.get(&kind).map_or(0, |tally| tally.count)
    }
}

/// One check under way.
struct Check<'a> {
    registry: &'a Registry,
    options: &'a FsckOptions,
    cancel: &'a CancellationToken,
    progress: &'a (dyn Fn(&FsckProgress) + Send + Sync),
    /// Whether files that no row knows may be an import's that has not come so far.
    is_importing: bool,
    report: FsckReport,
}

impl Registry {
    pub async fn fsck(
        &self,
        options: &FsckOptions,
        cancel: &CancellationToken,
        progress: impl Fn(&FsckProgress) + Send + Sync,
    ) -> Result<FsckReport> {
        let start = Instant::now();
        let mut check = Check {
            registry: self,
            options,
            cancel,
            progress: &progress,
            is_importing: self.is_importing().await?,
            report: FsckReport::default(),
        };
        check.report.identity = self.identity_fault().await?;
        if check.report.identity.is_none() {
            check.contents().await?;
            check.stored().await?;
            check.manifests().await?;
            check.tags().await?;
            check.totals().await?;
            check.uploads().await?;
        }
        let mut report = check.report;
        report.complete = !cancel.is_cancelled();
        report.duration_ms = start.elapsed().as_millis() as u64;
        Ok(report)
    }
}

impl Check<'_> {
    fn found(&mut self, kind: Kind, repaired: bool, example: impl FnOnce() -> String) {
        let tally = self.report.findings.entry(kind).or_default();
        tally.count += 1;
        tally.repaired += u64::from(repaired);
        if tally.examples.len() < EXAMPLES {
            tally.examples.push(example());
        }
    }

    fn tell(&self) {
        (self.progress)(&self.report.done);
    }

    fn is_over(&self) -> bool {
        self.cancel.is_cancelled()
    }
}
