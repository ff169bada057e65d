//! Names that people choose, parsed once at the door: projects, users, robots.

use std::{fmt, str::FromStr};

use serde::{Deserialize, Serialize};

use crate::{Error, What};

macro_rules! name {
    ($(#[$doc:meta])* $name:ident, $check:path) => {
        $(#[$doc])*
        #[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(try_from = "String", into = "String")]
        pub struct $name(String);

        impl $name {
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl FromStr for $name {
            type Err = Error;
            fn from_str(text: &str) -> Result<Self, Error> {
                $check(text)?;
                Ok(Self(text.to_owned()))
            }
        }

        impl TryFrom<String> for $name {
            type Error = Error;
            fn try_from(text: String) -> Result<Self, Error> {
                $check(&text)?;
                Ok(Self(text))
            }
        }

        impl From<$name> for String {
            fn from(name: $name) -> String {
                name.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }
    };
}

name!(
    /// `^[a-z0-9]+(?:[._-][a-z0-9]+)*$`, 1 to 255 characters, as Harbor has it; also one segment of a repository's name.
    ProjectName,
    check_project
);
name!(
    /// Up to 255 characters, none of `,"~#%$` (Harbor's rule), no control characters, no colon (Basic authentication cannot carry one).
    UserName,
    check_user
);
name!(
    /// A robot's own part of its name, without prefix and project: the same rule as a project's.
    RobotName,
    check_robot
);

fn check_project(text: &str) -> Result<(), Error> {
    if is_segmented(text) {
        return Ok(());
    }
    Err(Error::invalid(
        What::Project,
        format!(
            "invalid project name `{}`: use 1 to 255 of a-z and 0-9, with single `.`, `_` or `-` between them",
            shown(text)
        ),
    ))
}

fn check_robot(text: &str) -> Result<(), Error> {
    if is_segmented(text) {
        return Ok(());
    }
    Err(Error::invalid(
        What::Robot,
        format!(
            "invalid robot name `{}`: use 1 to 255 of a-z and 0-9, with single `.`, `_` or `-` between them",
            shown(text)
        ),
    ))
}

fn check_user(text: &str) -> Result<(), Error> {
    let fits = (1..=255).contains(&text.chars().count());
    if fits
        && !text
            .chars()
            .any(|c| c.is_control() || ",\"~#%$:".contains(c))
        && text.trim() == text
    {
        return Ok(());
    }
    Err(Error::invalid(
        What::User,
        format!(
            "invalid user name `{}`: use 1 to 255 characters, none of , \" ~ # % $ :",
            shown(text)
        ),
    ))
}

fn is_segmented(text: &str) -> bool {
    let alphanumeric = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit();
    let bytes = text.as_bytes();
    (1..=255).contains(&bytes.len())
        && bytes
            .iter()
            .all(|&b| alphanumeric(b) || b"._-".contains(&b))
        && alphanumeric(bytes[0])
        && alphanumeric(bytes[bytes.len() - 1])
        && bytes
            .windows(2)
            .all(|pair| alphanumeric(pair[0]) || alphanumeric(pair[1]))
}

/// A hostile name in a message stays short and printable.
fn shown(text: &str) -> String {
    text.chars()
        .take(64)
        .map(|c| if c.is_control() { '?' } else { c })
        .collect()
}

/// Harbor's rule for passwords and own robot secrets: 8 to 128 characters with a lower-case letter, an upper-case letter and a digit.
pub fn check_password(password: &str) -> Result<(), Error> {
    let has = |test: fn(char) -> bool| password.chars().any(test);
    if (8..=128).contains(&password.chars().count())
        && has(|c| c.is_ascii_lowercase())
        && has(|c| c.is_ascii_uppercase())
        && has(|c| c.is_ascii_digit())
    {
        return Ok(());
    }
    Err(Error::invalid(
        What::User,
        "the password must have 8 to 128 characters with at least one upper-case letter, one lower-case letter and one digit",
    ))
}

/// Harbor's rule for e-mail addresses: `name@host.tld`.
pub fn is_email(text: &str) -> bool {
    let Some((name, host)) = text.rsplit_once('@') else {
        return false;
    };
    let plain = |part: &str| {
        !part.is_empty()
            && !part
                .chars()
                .any(|c| c.is_whitespace() || c.is_control() || "<>()[]\\.,;:@\"".contains(c))
    };
    let label = |label: &str| {
        !label.is_empty()
            && label
                .bytes()
                .all(|b| b.is_ascii_alphanumeric() || b == b'-')
    };
    let is_domain = host.rsplit_once('.').is_some_and(|(labels, last)| {
        labels.split('.').all(label)
            && last.len() >= 2
            && last.bytes().all(|b| b.is_ascii_alphabetic())
    });
    text.len() <= 255 && name.split('.').all(plain) && is_domain
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn project_names_follow_harbors_rule() {
        for good in ["a", "library", "a-b.c_d", "0", "a1"] {
            assert!(good.parse::<ProjectName>().is_ok(), "{good}");
        }
        for bad in [
            "",
            "A",
            "-a",
            "a-",
            "a--b",
            "a b",
            "a/b",
            "ä",
            &"a".repeat(256),
        ] {
            assert!(bad.parse::<ProjectName>().is_err(), "{bad}");
        }
    }

    #[test]
    fn user_names_cannot_hold_what_basic_authentication_or_harbor_refuse() {
        for good in ["bob", "Bob Smith", "bob@example.com", "ünï"] {
            assert!(good.parse::<UserName>().is_ok(), "{good}");
        }
        for bad in ["", "a:b", "robot$x", "a,b", "a\nb", " a", &"a".repeat(256)] {
            assert!(bad.parse::<UserName>().is_err(), "{bad}");
        }
    }

    #[test]
    fn passwords_need_three_kinds_of_characters() {
        assert!(check_password("Harbor12345").is_ok());
        for bad in [
            "Harb0r",
            "harbor12345",
            "HARBOR12345",
            "HarborHarbor",
            &format!("aA1{}", "x".repeat(126)),
        ] {
            assert!(check_password(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn addresses_follow_harbors_rule() {
        for good in ["bob@example.com", "b.o-b+x@a-b.c.org", "ünï@example.com"] {
            assert!(is_email(good), "{good}");
        }
        for bad in [
            "",
            "bob",
            "@example.com",
            "bob@",
            "bob@example",
            "bob@example.c",
            "bob@exa mple.com",
            "bob..x@example.com",
            "b@b@example.com",
            "bob@example.com\n",
            "bob@example.com, eve@example.com",
            &format!("{}@example.com", "x".repeat(255)),
        ] {
            assert!(!is_email(bad), "{bad}");
        }
    }
}
