//! What can go wrong with bytes. The caller decides what each means to a client.

use std::{io, path::Path};

use oci::digest::Digest;
use rustix::io::Errno;
use tokio::task::JoinError;

const AWAY: &[Errno] = &[
    Errno::STALE,
    Errno::TIMEDOUT,
    Errno::HOSTDOWN,
    Errno::HOSTUNREACH,
    Errno::NETDOWN,
    Errno::NETUNREACH,
    Errno::NOTCONN,
    Errno::CONNREFUSED,
    Errno::CONNRESET,
    Errno::CONNABORTED,
    Errno::SHUTDOWN,
    Errno::INTR,
    Errno::AGAIN,
    Errno::NOMEM,
    Errno::MFILE,
    Errno::NFILE,
];

pub type Result<T, E = Error> = std::result::Result<T, E>;

#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Nothing under this digest and location, or no upload of this key.
    #[error("not in the store")]
    NotFound,
    /// Stored content is not what it should be; the text says how.
    #[error("stored content is damaged: {0}")]
    Damaged(String),
    /// An upload's file holds fewer bytes than were counted: what is missing cannot be brought back.
    #[error("the upload holds {have} bytes, {want} were counted")]
    Short { have: u64, want: u64 },
    #[error("content has digest `{actual}`, expected `{expected}`")]
    DigestMismatch {
        expected: Box<Digest>,
        actual: Box<Digest>,
    },
    /// What was just published was deleted again before its name was durable: the collector has taken that location. The
    /// bytes are still here for the next one.
    #[error("the location was taken away")]
    Withdrawn,
    /// No room, or only the reserve is left. The upload is kept up to the last byte that was written.
    #[error("no room in the store")]
    Full,
    /// A flush failed: nobody knows which bytes are on disk, so this upload was dropped and must start again.
    #[error("the upload was dropped, its bytes did not reach the disk: {0}")]
    Lost(#[source] io::Error),
    /// The store carries another identity than expected, or none (an empty mount point looks like that).
    #[error("store `{root}` has {}, expected identity `{expected}`", found.as_ref().map_or("no identity".to_owned(), |id| format!("identity `{id}`")))]
    Foreign {
        root: String,
        found: Option<String>,
        expected: String,
    },
    /// The directory cannot serve as a store at all; the text names it and says why.
    #[error("store `{root}`: {why}")]
    Unusable { root: String, why: String },
    #[error("content of {len} bytes is over the limit of {max}")]
    TooLarge { len: u64, max: u64 },
    /// An earlier probe has not come back: the disk or the mount hangs.
    #[error("the store does not answer")]
    Hung,
    #[error("cancelled")]
    Cancelled,
    /// A location, key or saved state that this crate never gave out.
    #[error("`{0}` is not a valid {1}")]
    Invalid(String, &'static str),
    /// An object store did not do what it was asked to.
    #[error("cannot {what} `{key}`: {why}")]
    Remote {
        what: &'static str,
        key: String,
        why: String,
        /// This machine's own fault (its credentials, its clock): another may do better.
        is_ours: bool,
    },
    #[error("{what} `{path}`: {source}")]
    Io {
        what: &'static str,
        path: String,
        #[source]
        source: io::Error,
    },
}

impl Error {
    /// Whether making room would help, also when the lack of room was seen too late to keep the bytes.
    pub fn is_full(&self) -> bool {
        match self {
            Self::Full => true,
            Self::Lost(source) => no_room(source),
            _ => false,
        }
    }

    /// An operating-system error on `path`; a lack of room becomes [`Error::Full`].
    pub(crate) fn io(what: &'static str, path: &Path, source: io::Error) -> Self {
        if no_room(&source) {
            return Self::Full;
        }
        Self::Io {
            what,
            path: path.display().to_string(),
            source,
        }
    }

    /// As [`Error::io`], where a missing file is the caller's answer and no fault.
    pub(crate) fn found(what: &'static str, path: &Path, source: io::Error) -> Self {
        if source.kind() == io::ErrorKind::NotFound {
            return Self::NotFound;
        }
        Self::io(what, path, source)
    }

    /// As [`Error::found`], of stored content: what the disk refuses to give is damaged, so that a check goes on to the
    /// next. Not so what is wanting on our side, or away with its whole mount.
    pub(crate) fn content(what: &'static str, path: &Path, source: io::Error) -> Self {
        if source.kind() == io::ErrorKind::NotFound {
            return Self::NotFound;
        }
        if is_away(&source) {
            return Self::io(what, path, source);
        }
        Self::Damaged(format!("{what} `{}`: {source}", path.display()))
    }

    /// A missing file or directory where one was put a moment ago.
    pub(crate) fn gone(self) -> Self {
        match self {
            Self::Io { source, .. } if source.kind() == io::ErrorKind::NotFound => Self::Withdrawn,
            other => other,
        }
    }
}

/// A blocking task ends without its answer only when it panicked or the runtime is going down.
pub(crate) fn stopped(error: JoinError) -> Error {
    Error::Io {
        what: "wait for",
        path: "blocking task".to_owned(),
        source: io::Error::other(error),
    }
}

fn no_room(source: &io::Error) -> bool {
    matches!(
        source.kind(),
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded
    )
}

/// Whether an error tells of this machine or of a mount, and nothing of the file it was met on.
pub(crate) fn is_away(source: &io::Error) -> bool {
    let Some(code) = Errno::from_io_error(source) else {
        return source.kind() == io::ErrorKind::Interrupted;
    };
    AWAY.contains(&code)
}
