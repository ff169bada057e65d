//! What requests are answered with. These are also what `--json` prints, so names and meanings stay.

use serde::{Deserialize, Serialize};
use serde_json::Value;

/// One line of an answer on the socket: any number of `progress`, then one of the others.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Line {
    Progress(Progress),
    Done(Value),
    Error(String),
}

/// How far long work has come.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Progress {
    /// For the person who waits.
    pub text: String,
    pub done: u64,
    /// What `done` will be at the end, where that is known.
    pub total: Option<u64>,
}

#[derive(Debug, Serialize, Deserialize)]
pub struct User {
    pub name: String,
    pub email: Option<String>,
    pub realname: Option<String>,
    pub admin: bool,
    pub created_at: String,
}

/// A name with the password or secret that was just made up for it. It is nowhere else.
#[derive(Debug, Serialize, Deserialize)]
pub struct Credential {
    pub name: String,
    /// None when it was given, not made up.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub secret: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub expires_at: Option<String>,
}

#[derive(Debug, Serialize, Deserialize)]
pub struct Project {
    pub id: i64,
    pub name: String,
    pub public: bool,
    /// None when the owner was deleted.
    pub owner: Option<String>,
    pub created_at: String,
    /// Bytes.
    pub used: i64,
    /// Bytes, -1 without a limit.
    pub quota: i64,
}

#[derive(Debug, Serialize, Deserialize)]
pub struct Member {
    pub user: String,
    pub role: String,
}

#[derive(Debug, Serialize, Deserialize)]
pub struct Robot {
    pub id: i64,
    /// The full name, with which it signs in.
    pub name: String,
    pub project: Option<String>,
    /// `enabled`, `disabled` or `expired`
    pub state: String,
    pub expires_at: Option<String>,
    pub created_at: String,
    pub permissions: Vec<Permission>,
}

#[derive(Debug, Serialize, Deserialize)]
pub struct Permission {
    /// `system`, `*` for every project, or a project's name.
    pub scope: String,
    pub resource: String,
    pub action: String,
}

#[derive(Debug, Serialize, Deserialize)]
pub struct Artifact {
    pub digest: String,
    /// `IMAGE`, `CHART` …; none until it was looked at.
    pub kind: Option<String>,
    /// Bytes, with all that it names.
    pub size: i64,
    pub tags: Vec<String>,
    pub pushed_at: String,
    pub pulled_at: Option<String>,
}

#[derive(Debug, Serialize, Deserialize)]
pub struct Tag {
    pub name: String,
    pub digest: String,
    pub media_type: String,
}

/// What a policy says of a repository.
#[derive(Debug, Serialize, Deserialize)]
pub struct Explanation {
    /// With its project's name.
    pub repository: String,
    /// None when no rule is about it: nothing goes there.
    pub judged: Option<JudgedRepository>,
}

#[derive(Debug, Serialize, Deserialize)]
pub struct JudgedRepository {
    pub total: usize,
    pub retained: usize,
    /// As far as they were to be named.
    pub artifacts: Vec<JudgedArtifact>,
}

#[derive(Debug, Serialize, Deserialize)]
pub struct JudgedArtifact {
    pub digest: String,
    /// The first of them.
    pub tags: Vec<String>,
    pub tag_count: u64,
    pub pushed_at: String,
    pub pulled_at: Option<String>,
    pub stays: bool,
    pub why: String,
}

/// Something in the trash.
#[derive(Debug, Serialize, Deserialize)]
pub struct TrashItem {
    pub id: i64,
    pub repository: String,
    pub digest: String,
    pub tags: Vec<String>,
    /// False when only tags were taken.
    pub manifest: bool,
    /// Bytes, with all that it names.
    pub size: i64,
    pub cause: String,
    pub deleted_by: String,
    pub deleted_at: String,
    pub expires_at: String,
}

/// A project in the trash.
#[derive(Debug, Serialize, Deserialize)]
pub struct TrashedProject {
    pub id: i64,
    pub name: String,
    pub deleted_by: String,
    pub deleted_at: String,
    pub expires_at: String,
}

/// What came back out of the trash.
#[derive(Debug, Serialize, Deserialize)]
pub struct Restored {
    pub manifests: u64,
    pub tags: u64,
    /// Some of the tags that another manifest has by now.
    pub taken: Vec<String>,
}

/// What a collection has done.
#[derive(Debug, Serialize, Deserialize)]
pub struct Collected {
    /// The job that did it, when a server runs.
    pub job: Option<i64>,
    pub links_asked: u64,
    pub links_ended: u64,
    pub freed: u64,
    pub bytes_freed: u64,
    pub failed: u64,
    /// Manifests without a tag that went first.
    pub purged_manifests: u64,
}

/// A process that serves the registry, or did.
#[derive(Debug, Serialize, Deserialize)]
pub struct Node {
    pub name: String,
    /// Whether it told of itself lately.
    pub alive: bool,
    pub host: String,
    pub pid: i64,
    pub version: String,
    pub addresses: Vec<String>,
    /// What its `/readyz` said last.
    pub state: String,
    pub drained: bool,
    pub started_at: String,
    pub seen_at: String,
    pub clock_offset_ms: i64,
    /// Keys of the configuration that differ from this node's, which should not.
    pub differs: Vec<String>,
}

/// What a collection would do.
#[derive(Debug, Serialize, Deserialize)]
pub struct CollectPreview {
    /// The first of the manifests without a tag that would go: `library/app@sha256:…`. Their contents are free later, and are not among the others.
    pub untagged: Vec<String>,
    pub untagged_count: u64,
    pub contents: Vec<Candidate>,
}

/// A content that would go.
#[derive(Debug, Serialize, Deserialize)]
pub struct Candidate {
    pub digest: String,
    pub size: u64,
    /// The repository that would let go of it; none when no repository has it any more.
    pub repository: Option<String>,
    pub frees_bytes: bool,
    pub why: String,
}

/// What a scrub has done.
#[derive(Debug, Serialize, Deserialize)]
pub struct Scrubbed {
    /// The job that did it, when a server runs.
    pub job: Option<i64>,
    pub checked: u64,
    pub bytes: u64,
    pub lost: u64,
    /// The first of what is lost, and why.
    pub details: Vec<String>,
}

#[derive(Debug, Serialize, Deserialize)]
pub struct Job {
    pub id: i64,
    pub kind: String,
    pub state: String,
    pub attempt: i64,
    pub node: Option<String>,
    pub progress: Option<Value>,
    pub message: Option<String>,
    pub created_at: String,
    pub started_at: Option<String>,
    pub ended_at: Option<String>,
    /// Somebody asked it to stop.
    pub stopping: bool,
}

#[derive(Debug, Serialize, Deserialize)]
pub struct JobLog {
    #[serde(flatten)]
    pub job: Job,
    pub lines: Vec<LogLine>,
}

#[derive(Debug, Serialize, Deserialize)]
pub struct LogLine {
    /// The row that it is part of.
    pub id: i64,
    pub at: String,
    pub text: String,
}
