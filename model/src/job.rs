//! The closed set of jobs: everything slow, timed or retried. A job's payload holds names and numbers only.

use std::{borrow::Cow, time::Duration};

use serde::{Deserialize, Serialize};

use crate::id::UserId;

/// A job as its row keeps it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "kebab-case")]
pub enum Job {
    /// Finds content that nothing names any more and frees it.
    Collect {
        /// Asked for by a person: shown with what went and why.
        #[serde(default)]
        requested_by: Option<String>,
    },
    /// Reads stored content again and compares it with its digest.
    Scrub {
        #[serde(default)]
        requested_by: Option<String>,
    },
    /// Ends uploads that nobody continues, and forgets finished ones.
    ExpireUploads {},
    /// Drops rows of the change log that no reader waits for, and old jobs.
    TrimHistory {},
    /// Finds out what artifacts are that no push has described.
    Describe {},
    /// Counts anew what projects use, and the totals of their repositories and artifacts.
    Recount {},
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

/// What is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Letter {
    /// A way back in for somebody who forgot his password.
    PasswordReset,
}

impl Job {
    /// One periodic job of each kind at a time.
    pub const PERIODIC: [Self; 5] = [
        Self::Collect { requested_by: None },
        Self::Scrub { requested_by: None },
        Self::ExpireUploads {},
        Self::TrimHistory {},
        Self::Describe {},
    ];

    pub fn kind(&self) -> &'static str {
        match self {
            Self::Collect { .. } => "collect",
            Self::Scrub { .. } => "scrub",
            Self::ExpireUploads {} => "expire-uploads",
            Self::TrimHistory {} => "trim-history",
            Self::Describe {} => "describe",
            Self::Recount {} => "recount",
            Self::ForgetUser { .. } => "forget-user",
            Self::Mail { .. } => "mail",
        }
    }

    /// The priority of what a person waits for.
    pub const ASKED_FOR: i64 = 100;

    /// Higher runs first: what a person waits for before what nobody waits for.
    pub fn priority(&self) -> i64 {
        match self {
            Self::Collect {
                requested_by: Some(_),
            }
            | Self::Scrub {
                requested_by: Some(_),
            }
            | Self::Mail { .. } => Self::ASKED_FOR,
            Self::Collect { requested_by: None }
            | Self::ExpireUploads {}
            | Self::Describe {}
            | Self::Recount {}
            | Self::ForgetUser { .. } => 50,
            Self::TrimHistory {} | Self::Scrub { requested_by: None } => 10,
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
            // The last looks at the whole audit, the one before at all links.
            Self::Collect { .. }
            | Self::Describe {}
            | Self::Recount {}
            | Self::ForgetUser { .. } => Duration::from_hours(6),
            // A slice ends with a whole content, and that may be large.
            Self::Scrub { requested_by: None } => Duration::from_hours(24),
            Self::Scrub {
                requested_by: Some(_),
            } => Duration::from_hours(60 * 24),
            Self::ExpireUploads {} | Self::TrimHistory {} => Duration::from_hours(1),
            Self::Mail { .. } => Duration::from_mins(2),
        }
    }

    /// Only one such job may wait or run at a time: enqueueing another gives the one that is there.
    pub fn unique_key(&self) -> Cow<'static, str> {
        match self {
            Self::ForgetUser { user, .. } => format!("{}:{user}", self.kind()).into(),
            Self::Mail { user, letter } => format!("mail:{letter:?}:{user}").into(),
            _ => self.kind().into(),
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
            Job::Scrub {
                requested_by: Some("admin".into()),
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
            Job::Recount {},
        ];
        for job in Job::PERIODIC.into_iter().chain(others) {
            let text = serde_json::to_string(&job).expect("serialises");
            assert!(text.contains(job.kind()), "{text}");
            assert_eq!(serde_json::from_str::<Job>(&text).expect("parses"), job);
        }
    }
}
