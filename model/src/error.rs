//! The one error of the house. It says what happened in our words; only `api/src/error.rs` knows what
//! status and code that is in each dialect. Everything unexpected arrives in `Internal` by `?`.

use std::time::Duration;

use oci::digest::Digest;

pub type Result<T, E = Error> = std::result::Result<T, E>;

/// The kind of thing an error speaks of, so that each face can choose its code.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum What {
    Project,
    Repository,
    Manifest,
    Tag,
    Blob,
    Upload,
    Digest,
    Size,
    Range,
    User,
    Group,
    Member,
    Robot,
    Label,
    Job,
    Node,
    Schedule,
    Retention,
    Trash,
    Rule,
    Quota,
    Setting,
    Query,
    /// The page of a list, which Harbor's API refuses as it does what its schema forbids.
    Page,
    Request,
}

/// What can go wrong, from the caller's point of view.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Nobody we know asked, and the answer needs somebody.
    #[error("authentication required")]
    Unauthenticated,
    /// The caller is known (or anonymous) and may not do this.
    #[error("{0}")]
    Denied(String),
    #[error("{1}")]
    NotFound(What, String),
    /// A manifest names content that its repository does not hold.
    #[error("manifest names `{0}`, which this repository does not have: push it first")]
    MissingBlob(Digest),
    #[error("{1}")]
    Invalid(What, String),
    /// An upload's chunk does not begin where the upload ends; `have` is the number of bytes received so far.
    #[error("the next chunk must begin at byte {have}")]
    RangeMismatch { have: u64 },
    #[error("{0}")]
    Conflict(String),
    /// In use, immutable, or otherwise not in the state that the request needs.
    #[error("{0}")]
    Precondition(String),
    #[error("{0}")]
    PolicyViolation(String),
    #[error("{0}")]
    TooLarge(String),
    #[error("too many requests: try again in {} s", retry_after.as_secs())]
    TooMany { retry_after: Duration },
    #[error("{0}")]
    Unsupported(String),
    /// The project would hold more than its quota lets it.
    #[error("{0}")]
    QuotaExceeded(String),
    /// The store has less room left than it keeps in reserve. Nothing was lost: an upload stays where it is.
    #[error("{0}")]
    StorageFull(String),
    /// A part we depend on is away; the same request may succeed later.
    #[error("unavailable: {0:#}")]
    Unavailable(anyhow::Error),
    /// Our fault. The text is for the log, never for the client.
    #[error("{0:#}")]
    Internal(#[from] anyhow::Error),
}

impl Error {
    pub fn invalid(what: What, why: impl Into<String>) -> Self {
        Self::Invalid(what, why.into())
    }

    pub fn not_found(what: What, which: impl Into<String>) -> Self {
        Self::NotFound(what, which.into())
    }

    /// True when the fault is ours or a dependency's, so that it must be logged with its cause.
    pub fn is_server_fault(&self) -> bool {
        matches!(self, Self::Unavailable(_) | Self::Internal(_))
    }
}

/// Wraps any error of a driver or library as our fault, with a word of context.
pub fn internal<E: Into<anyhow::Error>>(context: &'static str) -> impl FnOnce(E) -> Error {
    move |error| Error::Internal(error.into().context(context))
}
