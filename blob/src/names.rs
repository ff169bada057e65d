//! Which names are ours: uploads' keys, and locations of content below its digest.

use crate::{Error, Result};

const MAX_KEY: usize = 64;

/// Keys are short and plain, so that a key is a file name on every file system.
pub(crate) fn is_key(key: &str) -> bool {
    (1..=MAX_KEY).contains(&key.len())
        && key
            .bytes()
            .all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-')
}

/// `data`, or `data.<n>` for bytes pushed while older ones of the same digest were going.
pub(crate) fn is_location(location: &str) -> bool {
    let Some(rest) = location.strip_prefix("data") else {
        return false;
    };
    rest.is_empty()
        || rest
            .strip_prefix('.')
            .is_some_and(|n| (1..=20).contains(&n.len()) && n.bytes().all(|b| b.is_ascii_digit()))
}

pub(crate) fn check_location(location: &str) -> Result<()> {
    if is_location(location) {
        return Ok(());
    }
    Err(Error::Invalid(location.to_owned(), "location"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_plain_names_become_file_names() {
        for (key, fine) in [
            ("a", true),
            ("0190-ab", true),
            ("", false),
            ("..", false),
            ("a/b", false),
            ("A", false),
            (&"a".repeat(65), false),
        ] {
            assert_eq!(is_key(key), fine, "{key}");
        }
        for (location, fine) in [
            ("data", true),
            ("data.1", true),
            ("data.120", true),
            ("data.", false),
            ("data.1.2", false),
            ("data1", false),
            ("../data", false),
            ("", false),
        ] {
            assert_eq!(is_location(location), fine, "{location}");
        }
    }
}
