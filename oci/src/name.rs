//! Repository names and tags (distribution spec, "Pulling manifests").
//!
//! Both are generic over what holds the text: `RepoName` owns it (a shared `Arc<str>`), [`NameRef`] borrows it from
//! a request's path, so that a pull parses its route without allocating. The grammar holds for either.

use std::borrow::Borrow;
use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use serde::{Deserialize, Deserializer, Serialize, Serializer};
use thiserror::Error;

use crate::error::excerpt;

/// The longest repository name. Clients count the host too, so most stop a little earlier.
pub const MAX_NAME: usize = 255;
/// The longest tag.
pub const MAX_TAG: usize = 128;

/// A repository's full name, such as `library/ubuntu`: any number of components joined by slashes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RepoName<T = Arc<str>>(T);

/// A valid repository name that borrows its text.
pub type NameRef<'a> = RepoName<&'a str>;

/// Why a text is not a repository name.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum NameError {
    #[error("the repository name is empty")]
    Empty,
    #[error("the repository name has {0} characters: at most {MAX_NAME} are allowed")]
    TooLong(usize),
    #[error(
        "repository name `{name}` is not valid at `{component}`: \
         use lower-case letters and digits, joined by `.`, `_`, `__` or `-`, in parts separated by one `/`"
    )]
    Component { name: String, component: String },
}

impl<T: AsRef<str>> RepoName<T> {
    /// Takes the text if it follows the grammar.
    pub fn parse(text: T) -> Result<Self, NameError> {
        check_name(text.as_ref())?;
        Ok(Self(text))
    }

    pub fn as_str(&self) -> &str {
        self.0.as_ref()
    }

    /// The first component.
    pub fn project(&self) -> &str {
        self.as_str().split('/').next().unwrap_or_default()
    }

    /// All that follows the project; `None` for a name of one component.
    pub fn repository(&self) -> Option<&str> {
        self.as_str()
            .split_once('/')
            .map(|(_, repository)| repository)
    }

    /// The same name, borrowed.
    pub fn borrowed(&self) -> NameRef<'_> {
        RepoName(self.as_str())
    }
}

impl NameRef<'_> {
    /// The same name with a text of its own.
    pub fn owned(self) -> RepoName {
        RepoName(Arc::from(self.0))
    }
}

fn check_name(text: &str) -> Result<(), NameError> {
    if text.is_empty() {
        return Err(NameError::Empty);
    }
    if text.len() > MAX_NAME {
        return Err(NameError::TooLong(text.chars().count().max(MAX_NAME + 1)));
    }
    match text
        .split('/')
        .find(|component| !is_component(component.as_bytes()))
    {
        None => Ok(()),
        Some(component) => Err(NameError::Component {
            name: excerpt(text),
            component: excerpt(component),
        }),
    }
}

/// `[a-z0-9]+((\.|_|__|-+)[a-z0-9]+)*`
fn is_component(component: &[u8]) -> bool {
    let mut rest = component;
    loop {
        let word = run(rest, |byte| matches!(byte, b'a'..=b'z' | b'0'..=b'9'));
        if word == 0 {
            return false;
        }
        rest = &rest[word..];
        let Some(&separator) = rest.first() else {
            return true;
        };
        let length = run(rest, |byte| byte == separator);
        let allowed = match separator {
            b'.' => length == 1,
            b'_' => length <= 2,
            b'-' => true,
            _ => false,
        };
        if !allowed {
            return false;
        }
        rest = &rest[length..];
    }
}

/// How many bytes at the beginning satisfy the test.
fn run(bytes: &[u8], test: impl Fn(u8) -> bool) -> usize {
    bytes.iter().take_while(|byte| test(**byte)).count()
}

/// A tag: a name that points to a manifest and can be moved.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Tag<T = Arc<str>>(T);

/// A valid tag that borrows its text.
pub type TagRef<'a> = Tag<&'a str>;

/// Why a text is not a tag.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum TagError {
    #[error("the tag is empty")]
    Empty,
    #[error("the tag has {0} characters: at most {MAX_TAG} are allowed")]
    TooLong(usize),
    #[error(
        "tag `{0}` is not valid: use letters, digits, `_`, `.` and `-`, and begin with a letter, a digit or `_`"
    )]
    Grammar(String),
}

impl<T: AsRef<str>> Tag<T> {
    /// Takes the text if it follows the grammar.
    pub fn parse(text: T) -> Result<Self, TagError> {
        check_tag(text.as_ref())?;
        Ok(Self(text))
    }

    pub fn as_str(&self) -> &str {
        self.0.as_ref()
    }

    /// The same tag, borrowed.
    pub fn borrowed(&self) -> TagRef<'_> {
        Tag(self.as_str())
    }
}

impl TagRef<'_> {
    /// The same tag with a text of its own.
    pub fn owned(self) -> Tag {
        Tag(Arc::from(self.0))
    }
}

/// `[a-zA-Z0-9_][a-zA-Z0-9._-]{0,127}`
fn check_tag(text: &str) -> Result<(), TagError> {
    let Some(first) = text.bytes().next() else {
        return Err(TagError::Empty);
    };
    let inside = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'.' | b'-');
    if matches!(first, b'.' | b'-') || !text.bytes().all(inside) {
        return Err(TagError::Grammar(excerpt(text)));
    }
    if text.len() > MAX_TAG {
        return Err(TagError::TooLong(text.len()));
    }
    Ok(())
}

/// What both kinds of name share as texts: they print, read, compare in maps and serialise as their text.
macro_rules! text_of {
    ($name:ident, $error:ident) => {
        impl<T: AsRef<str>> fmt::Display for $name<T> {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.pad(self.as_str())
            }
        }

        impl<T: AsRef<str>> AsRef<str> for $name<T> {
            fn as_ref(&self) -> &str {
                self.as_str()
            }
        }

        // Hash and order are those of the text, so maps keyed by the name can be asked with a `&str`.
        impl<T: AsRef<str>> Borrow<str> for $name<T> {
            fn borrow(&self) -> &str {
                self.as_str()
            }
        }

        impl FromStr for $name {
            type Err = $error;

            fn from_str(text: &str) -> Result<Self, $error> {
                $name::parse(text).map($name::<&str>::owned)
            }
        }

        impl From<$name<&str>> for $name {
            fn from(borrowed: $name<&str>) -> Self {
                borrowed.owned()
            }
        }

        impl<T: AsRef<str>> Serialize for $name<T> {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.serialize_str(self.as_str())
            }
        }

        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                String::deserialize(deserializer)?
                    .parse()
                    .map_err(serde::de::Error::custom)
            }
        }
    };
}

text_of!(RepoName, NameError);
text_of!(Tag, TagError);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_the_grammar_are_taken() {
        let longest = format!("a/{}", "b".repeat(MAX_NAME - 2));
        for text in [
            "a",
            "0",
            "library/ubuntu",
            "a.b",
            "a_b",
            "a__b",
            "a-b",
            "a---b",
            "a-b.c_d__e",
            "a/b/c/d/e/f/g",
            "v2/manifests/blobs",
            "tags/list",
            "1.2.3",
            &longest,
        ] {
            assert_eq!(
                RepoName::parse(text).map(|name| name.owned().to_string()),
                Ok(text.to_owned())
            );
        }
    }

    #[test]
    fn names_outside_the_grammar_are_refused() {
        let long = "a".repeat(MAX_NAME + 1);
        for text in [
            "",
            "/",
            "a/",
            "/a",
            "a//b",
            "A",
            "Library/x",
            "a..b",
            "a.-b",
            "a._b",
            "a___b",
            "-a",
            "a-",
            "_a",
            "a_",
            ".a",
            "a.",
            "a b",
            "a%2fb",
            "ä",
            "a/_catalog",
            "a:b",
            "a@b",
            "a\0",
            "..",
            "a/../b",
            &long,
        ] {
            assert!(RepoName::parse(text).is_err(), "`{text}` was taken");
            assert!(text.parse::<RepoName>().is_err());
            assert!(serde_json::from_value::<RepoName>(text.into()).is_err());
        }
    }

    #[test]
    fn a_refused_name_says_where() {
        let error = RepoName::parse("library/Ubuntu").unwrap_err().to_string();
        assert!(
            error.contains("`library/Ubuntu`") && error.contains("at `Ubuntu`"),
            "{error}"
        );
    }

    #[test]
    fn a_name_has_a_project_and_a_repository() {
        for (text, project, repository) in [
            ("a", "a", None),
            ("a/b", "a", Some("b")),
            ("a/b/c", "a", Some("b/c")),
        ] {
            let name: RepoName = text.parse().unwrap();
            assert_eq!((name.project(), name.repository()), (project, repository));
        }
    }

    #[test]
    fn tags_follow_the_grammar() {
        let longest = "x".repeat(MAX_TAG);
        let long = "x".repeat(MAX_TAG + 1);
        for text in [
            "latest",
            "_",
            "V1.2-rc_3",
            "0",
            "a..b",
            "sha256-abc.sig",
            &longest,
        ] {
            assert_eq!(
                Tag::parse(text).map(|tag| tag.owned().to_string()),
                Ok(text.to_owned())
            );
        }
        for text in [
            "", ".a", "-a", "a:b", "a/b", "a b", "a+b", "ä", "a\n", &long,
        ] {
            assert!(Tag::parse(text).is_err(), "`{text}` was taken");
        }
    }
}
