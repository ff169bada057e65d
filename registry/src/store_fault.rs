//! What an error of the store means to whoever asked.

use model::{Error, What};

/// A full store is said as such and keeps the upload; wrong bytes are the client's; a store that is away is a matter of time.
pub fn store_error(error: blob::Error) -> Error {
    if error.is_full() {
        return Error::StorageFull("the registry's storage is full: delete something or ask its operator for room, then try again".to_owned());
    }
    match error {
        blob::Error::DigestMismatch { expected, actual } => Error::invalid(
            What::Digest,
            format!("the content has digest `{actual}`, not `{expected}` as the request says"),
        ),
        blob::Error::Short { .. } | blob::Error::Lost(_) => Error::not_found(
            What::Upload,
            "bytes of this upload were lost by the storage: start it again".to_owned(),
        ),
        blob::Error::TooLarge { max, .. } => Error::TooLarge(format!(
            "an upload may have {max} bytes in as many parts as the storage takes (storage.part_size)"
        )),
        blob::Error::Foreign { .. }
        | blob::Error::Unusable { .. }
        | blob::Error::Hung
        | blob::Error::Withdrawn
        | blob::Error::Io { .. }
        | blob::Error::Remote { .. }
        | blob::Error::Cancelled => {
            Error::Unavailable(anyhow::Error::new(error).context("storage"))
        }
        other => Error::Internal(anyhow::Error::new(other).context("storage")),
    }
}
