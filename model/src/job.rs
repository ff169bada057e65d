//! The closed set of jobs: everything slow, timed or retried. A job's payload holds names and numbers only.

mod kind;

use std::{borrow::Cow, time::Duration};

use serde::{Deserialize, Serialize};

pub use self::kind::{Kind, VENDORS};
use crate::id::{PolicyId, RepositoryId, UserId};

/// A job as its row keeps it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "kebab-case")]
pub enum Job {
    /// Finds content that nothing names any more and frees it: goes on all the time, a little at once.
    Collect {},
    /// The same once, asked for by a person or a schedule, and shown with what went and why.
    Gc(Gc),
    /// Reads stored content again and compares it with its digest.
    Scrub {
        #[serde(default)]
        requested_by: Option<String>,
    },
    /// Ends uploads that nobody continues, and forgets finished ones.
    ExpireUploads {},
    /// Drops rows of the change log that no reader waits for, and old jobs.
    TrimHistory {},
    /// Folds hours of what went on into days.
    FoldActivity {},
    /// Drops rows of the audit.
    PurgeAudit(PurgeAudit),
    /// Finds out what artifacts are that no push has described.
    Describe {},
    /// Counts anew what projects use, and the totals of their repositories and artifacts.
    Recount {},
    /// Checks that database and store say the same, and changes nothing.
    Fsck {},
    /// Sums up what the store holds, by what keeps it there.
    MeasureSpace {
        #[serde(default)]
        requested_by: Option<String>,
    },
    /// Ends what was in the trash long enough.
    EmptyTrash {},
    /// Applies a retention policy: makes a task for each repository that it is about.
    Retention { policy: PolicyId, dry_run: bool },
    /// One of these tasks.
    Retain {
        policy: PolicyId,
        repository: RepositoryId,
        dry_run: bool,
    },
    /// Puts a hash in the place of what tells who a deleted user was.
    ForgetUser {
        user: i64,
        /// In his row.
        account: bool,
        /// In the audit.
        audit: bool,
    },
    /// Writes to somebody. What the letter says is found out when it is sent.
    Mail { user: UserId, letter: Letter },
}

/// How a collection that was asked for goes.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Gc {
    /// Manifests without a tag go first, unless an index or a subject keeps them.
    #[serde(default)]
    pub delete_untagged: bool,
    /// Nothing goes; the log names what would.
    #[serde(default)]
    pub dry_run: bool,
    /// As it was asked for, and shown again. Contents go as many at once as the store takes.
    #[serde(default)]
    pub workers: Option<u8>,
    #[serde(default)]
    pub requested_by: Option<String>,
}

/// Which rows of the audit go.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PurgeAudit {
    /// Those older than so many hours; none where it is not above 0.
    pub keep_hours: i64,
    /// Those of these events alone, by name; none where it is empty.
    pub events: Vec<String>,
    /// Nothing goes; they are counted.
    pub dry_run: bool,
}

/// What is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Letter {
    /// A way back in for somebody who forgot his password.
    PasswordReset,
}

/// Who or what began a job that people see as an execution.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Trigger {
    Manual,
    Schedule,
}

impl Trigger {
    /// As a row and Harbor's API have it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Manual => "MANUAL",
            Self::Schedule => "SCHEDULE",
        }
    }
}

impl Job {
    /// One periodic job of each kind at a time.
    pub const PERIODIC: [Self; 10] = [
        Self::Collect {},
        Self::Scrub { requested_by: None },
        Self::ExpireUploads {},
        Self::TrimHistory {},
        Self::FoldActivity {},
        Self::Describe {},
        Self::Recount {},
        Self::Fsck {},
        Self::MeasureSpace { requested_by: None },
        Self::EmptyTrash {},
    ];

    pub fn kind(&self) -> Kind {
        match self {
            Self::Collect {} => Kind::Collect,
            Self::Gc(_) => Kind::Gc,
            Self::Scrub { .. } => Kind::Scrub,
            Self::ExpireUploads {} => Kind::ExpireUploads,
            Self::TrimHistory {} => Kind::TrimHistory,
            Self::FoldActivity {} => Kind::FoldActivity,
            Self::PurgeAudit(_) => Kind::PurgeAudit,
            Self::Describe {} => Kind::Describe,
            Self::Recount {} => Kind::Recount,
            Self::Fsck {} => Kind::Fsck,
            Self::MeasureSpace { .. } => Kind::MeasureSpace,
            Self::EmptyTrash {} => Kind::EmptyTrash,
            Self::Retention { .. } => Kind::Retention,
            Self::Retain { .. } => Kind::Retain,
            Self::ForgetUser { .. } => Kind::ForgetUser,
            Self::Mail { .. } => Kind::Mail,
        }
    }

    /// What a person waits for.
    pub const ASKED_FOR: i64 = 100;
    /// What goes on in the background.
    pub const ORDINARY: i64 = 50;
    /// What there may be much of and nobody waits for.
    pub const BULK: i64 = 10;
    /// Every priority there is, the first first.
    pub const PRIORITIES: [i64; 3] = [Self::ASKED_FOR, Self::ORDINARY, Self::BULK];

    /// Higher runs first: what a person waits for before what nobody waits for.
    pub fn priority(&self) -> i64 {
        match self {
            Self::Gc(_)
            | Self::Scrub {
                requested_by: Some(_),
            }
            | Self::MeasureSpace {
                requested_by: Some(_),
            }
            | Self::Retain { dry_run: true, .. }
            | Self::Retention { .. }
            | Self::Mail { .. } => Self::ASKED_FOR,
            Self::Collect {}
            | Self::ExpireUploads {}
            | Self::PurgeAudit(_)
            | Self::Describe {}
            | Self::EmptyTrash {}
            | Self::ForgetUser { .. } => Self::ORDINARY,
            Self::TrimHistory {}
            | Self::FoldActivity {}
            | Self::Recount {}
            | Self::Fsck {}
            | Self::MeasureSpace { requested_by: None }
            | Self::Retain { dry_run: false, .. }
            | Self::Scrub { requested_by: None } => Self::BULK,
        }
    }

    /// After so many failed attempts the job has failed.
    pub fn max_attempts(&self) -> i64 {
        match self {
            // A mail server may be away for minutes; half an hour later nobody waits for the letter.
            Self::Mail { .. } => 6,
            _ => 3,
        }
    }

    /// An attempt that takes longer hangs, as on a mount that is gone; far more than it needs.
    pub fn timeout(&self) -> Duration {
        match self {
            // These look at all links, all stored files, or the whole audit.
            Self::Collect {}
            | Self::Gc(_)
            | Self::PurgeAudit(_)
            | Self::Describe {}
            | Self::Recount {}
            | Self::MeasureSpace { .. }
            | Self::EmptyTrash {}
            | Self::Retain { .. }
            | Self::ForgetUser { .. } => Duration::from_hours(6),
            // A slice ends with a whole content, and that may be large; a check looks at every file and every row.
            Self::Scrub { requested_by: None } | Self::Fsck {} => Duration::from_hours(24),
            Self::Scrub {
                requested_by: Some(_),
            } => Duration::from_hours(60 * 24),
            Self::ExpireUploads {}
            | Self::TrimHistory {}
            | Self::FoldActivity {}
            | Self::Retention { .. } => Duration::from_hours(1),
            Self::Mail { .. } => Duration::from_mins(2),
        }
    }

    /// Only one job with the same key may wait or run at a time: enqueueing another gives the one that is there. None where
    /// each stands for itself.
    pub fn unique_key(&self) -> Option<Cow<'static, str>> {
        match self {
            Self::Gc(_) | Self::PurgeAudit(_) | Self::Retention { .. } | Self::Retain { .. } => {
                None
            }
            Self::ForgetUser { user, .. } => Some(format!("{}:{user}", self.kind()).into()),
            Self::Mail { user, letter } => Some(format!("mail:{letter:?}:{user}").into()),
            _ => Some(self.kind().as_str().into()),
        }
    }

    /// What of its policy or subject an execution is listed under; 0 for the system.
    pub fn subject(&self) -> i64 {
        match self {
            Self::Retention { policy, .. } | Self::Retain { policy, .. } => policy.0,
            _ => 0,
        }
    }

    /// The wait after an attempt that failed, when `failures` had failed before it.
    pub fn backoff(&self, failures: i64) -> Duration {
        Duration::from_secs(5 << failures.clamp(0, 6))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_job_is_read_back_from_its_row() {
        let others = [
            Job::Gc(Gc {
                delete_untagged: true,
                requested_by: Some("admin".into()),
                ..Gc::default()
            }),
            Job::Scrub {
                requested_by: Some("admin".into()),
            },
            Job::PurgeAudit(PurgeAudit {
                keep_hours: 24,
                events: vec!["create_artifact".into()],
                dry_run: true,
            }),
            Job::Retention {
                policy: PolicyId(3),
                dry_run: true,
            },
            Job::Retain {
                policy: PolicyId(3),
                repository: RepositoryId(4),
                dry_run: false,
            },
            Job::Mail {
                user: UserId(7),
                letter: Letter::PasswordReset,
            },
            Job::ForgetUser {
                user: 7,
                account: true,
                audit: false,
            },
        ];
        let all: Vec<Job> = Job::PERIODIC.into_iter().chain(others).collect();
        for job in &all {
            let text = serde_json::to_string(job).expect("serialises");
            let kind = format!("\"kind\":\"{}\"", job.kind());
            assert!(text.contains(&kind), "{text}");
            assert_eq!(serde_json::from_str::<Job>(&text).expect("parses"), *job);
            assert!(Job::PRIORITIES.contains(&job.priority()), "{job:?}");
        }
        for kind in Kind::ALL {
            assert!(all.iter().any(|job| job.kind() == *kind), "{kind}");
        }
    }

    /// In an upgrade under way, and after it.
    #[test]
    fn what_an_older_version_enqueued_is_understood() {
        for (text, job) in [
            (
                r#"{"kind":"collect","requested_by":"operator"}"#,
                Job::Collect {},
            ),
            (r#"{"kind":"collect","requested_by":null}"#, Job::Collect {}),
            (r#"{"kind":"trim-history"}"#, Job::TrimHistory {}),
        ] {
            assert_eq!(serde_json::from_str::<Job>(text).expect("parses"), job);
        }
    }
}
