//! What stands after `/manifests/`: a tag or a digest. A colon decides, since no tag may contain one.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use thiserror::Error;

use crate::digest::{Digest, DigestError};
use crate::name::{Tag, TagError};

/// How a request names a manifest.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Reference<T = Arc<str>> {
    Tag(Tag<T>),
    Digest(Digest),
}

/// A reference whose tag borrows its text.
pub type ReferenceRef<'a> = Reference<&'a str>;

/// Why a text is neither a tag nor a digest.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum ReferenceError {
    #[error(transparent)]
    Tag(#[from] TagError),
    #[error(transparent)]
    Digest(#[from] DigestError),
}

impl<T: AsRef<str>> Reference<T> {
    /// Reads a digest when the text has a colon, else a tag.
    pub fn parse(text: T) -> Result<Self, ReferenceError> {
        if text.as_ref().contains(':') {
            Ok(Self::Digest(Digest::parse(text.as_ref())?))
        } else {
            Ok(Self::Tag(Tag::parse(text)?))
        }
    }

    /// The tag, unless it is a digest.
    pub fn tag(&self) -> Option<&Tag<T>> {
        match self {
            Self::Tag(tag) => Some(tag),
            Self::Digest(_) => None,
        }
    }

    /// The digest, unless it is a tag.
    pub fn digest(&self) -> Option<Digest> {
        match self {
            Self::Tag(_) => None,
            Self::Digest(digest) => Some(*digest),
        }
    }
}

impl ReferenceRef<'_> {
    /// The same reference with a text of its own.
    pub fn owned(self) -> Reference {
        match self {
            Self::Tag(tag) => Reference::Tag(tag.owned()),
            Self::Digest(digest) => Reference::Digest(digest),
        }
    }
}

impl<T: AsRef<str>> fmt::Display for Reference<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tag(tag) => tag.fmt(f),
            Self::Digest(digest) => digest.fmt(f),
        }
    }
}

impl FromStr for Reference {
    type Err = ReferenceError;

    fn from_str(text: &str) -> Result<Self, ReferenceError> {
        Reference::parse(text).map(ReferenceRef::owned)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_colon_makes_it_a_digest() {
        let digest = format!("sha256:{}", "a".repeat(64));
        assert!(matches!(
            Reference::parse(digest.as_str()),
            Ok(Reference::Digest(_))
        ));
        assert!(matches!(
            Reference::parse("sha256-aa"),
            Ok(Reference::Tag(_))
        ));
        assert!(matches!(
            Reference::parse("sha256:baddigeststring"),
            Err(ReferenceError::Digest(_))
        ));
        assert!(matches!(
            Reference::parse("-x"),
            Err(ReferenceError::Tag(_))
        ));
        for text in ["v1", &digest] {
            assert_eq!(text.parse::<Reference>().unwrap().to_string(), text);
        }
    }
}
