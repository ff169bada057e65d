//! What the drivers' errors mean in our words.

use std::error::Error as StdError;

use model::{Error, What, error::internal};

/// A full disk is said as such; a file that cannot be read or written or is held by another is a matter of time; the rest
/// is our fault.
pub(crate) fn sqlite_error(error: rusqlite::Error) -> Error {
    use rusqlite::ErrorCode::{
        CannotOpen, DatabaseBusy, DatabaseLocked, DiskFull, FileLockingProtocolFailed,
        OperationInterrupted, ReadOnly, SystemIoFailure,
    };
    match error.sqlite_error_code() {
        Some(OperationInterrupted) => Error::invalid(
            What::Query,
            "this takes too long to find: narrow it down by `q`, or sort it otherwise",
        ),
        Some(DiskFull) => Error::StorageFull(
            "the disk that holds the database is full: delete something or make room".to_owned(),
        ),
        Some(
            DatabaseBusy
            | DatabaseLocked
            | SystemIoFailure
            | CannotOpen
            | ReadOnly
            | FileLockingProtocolFailed,
        ) => Error::Unavailable(anyhow::Error::new(error).context("sqlite")),
        _ => internal("sqlite")(error),
    }
}

/// A server that is away, starting, stopping, read-only, too busy to answer in time or out of something is a matter of
/// time; a full disk is said as such; the rest is our fault.
pub(crate) fn postgres_error(error: tokio_postgres::Error) -> Error {
    let away = match error.as_db_error() {
        None => {
            error.is_closed()
                || error
                    .source()
                    .is_some_and(<dyn StdError>::is::<std::io::Error>)
        }
        Some(answer) => match answer.code().code() {
            "53100" => {
                return Error::StorageFull(
                    "the disk that holds the database is full: delete something or make room"
                        .to_owned(),
                );
            }
            "22021" => {
                return Error::invalid(
                    What::Request,
                    "a text holds a character that the database cannot keep (NUL)",
                );
            }
            // query_canceled (statement_timeout), lock_not_available, read_only_sql_transaction
            "57014" | "55P03" | "25006" => true,
            // connection exception, operator intervention (shutdown, crash, starting up), insufficient resources
            code => {
                code.starts_with("08")
                    || code.starts_with("57P")
                    || code.starts_with("53")
                    || code.starts_with("25P03")
            }
        },
    };
    let error = anyhow::Error::new(error).context("postgres");
    if away {
        Error::Unavailable(error)
    } else {
        Error::Internal(error)
    }
}

/// Whether the transaction lost to a concurrent one and may simply be repeated (serialization failure, deadlock).
pub(crate) fn is_repeatable(error: &Error) -> bool {
    matches!(postgres_code(error), Some("40001" | "40P01"))
}

/// Whether the server takes no writes: it is a replica, or was made one.
pub(crate) fn is_read_only(error: &Error) -> bool {
    postgres_code(error) == Some("25006")
}

/// Whether a statement broke a rule that something exists only once.
pub(crate) fn is_taken(error: &Error) -> bool {
    if let Error::Internal(cause) = error
        && let Some(rusqlite::Error::SqliteFailure(code, _)) = cause.downcast_ref()
    {
        return code.extended_code == rusqlite::ffi::SQLITE_CONSTRAINT_UNIQUE;
    }
    postgres_code(error) == Some("23505")
}

fn postgres_code(error: &Error) -> Option<&str> {
    let (Error::Internal(cause) | Error::Unavailable(cause)) = error else {
        return None;
    };
    cause
        .downcast_ref::<tokio_postgres::Error>()
        .and_then(tokio_postgres::Error::code)
        .map(tokio_postgres::error::SqlState::code)
}
