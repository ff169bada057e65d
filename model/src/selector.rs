//! Which repositories and which tags a rule (immutability, retention) is about, as Harbor's rules say it.

pub mod doublestar;

use serde::{Deserialize, Serialize};

use self::doublestar::Unclear;
use crate::{Error, Result, What};

/// One selector of a rule.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Selector {
    pub kind: Kind,
    pub decoration: Decoration,
    /// An empty one is like everything.
    pub pattern: String,
    /// JSON in a text, as Harbor has it: `{"untagged":true}`.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub extras: String,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Kind {
    Doublestar,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Decoration {
    /// Tags that are like the pattern.
    Matches,
    Excludes,
    /// Repositories that are like it, by their names without the project.
    RepoMatches,
    RepoExcludes,
}

impl Kind {
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Doublestar => "doublestar",
        }
    }
}

impl Decoration {
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Matches => "matches",
            Self::Excludes => "excludes",
            Self::RepoMatches => "repoMatches",
            Self::RepoExcludes => "repoExcludes",
        }
    }

    pub fn is_of_repositories(self) -> bool {
        matches!(self, Self::RepoMatches | Self::RepoExcludes)
    }

    pub fn excludes(self) -> bool {
        matches!(self, Self::Excludes | Self::RepoExcludes)
    }
}

impl Selector {
    /// From what a client sent.
    pub fn new(kind: &str, decoration: &str, pattern: &str, extras: &str) -> Result<Self> {
        let invalid = |why: &str| Error::invalid(What::Rule, format!("invalid selector: {why}"));
        if kind != Kind::Doublestar.as_str() {
            return Err(invalid("`kind` must be doublestar"));
        }
        let decoration = match decoration {
            "matches" => Decoration::Matches,
            "excludes" => Decoration::Excludes,
            "repoMatches" => Decoration::RepoMatches,
            "repoExcludes" => Decoration::RepoExcludes,
            _ => {
                return Err(invalid(
                    "`decoration` must be matches or excludes for tags, repoMatches or repoExcludes for repositories",
                ));
            }
        };
        if pattern.contains('\0') || !doublestar::is_well_formed(pattern) {
            return Err(invalid(&format!(
                "`pattern` is malformed, or longer than {} bytes",
                doublestar::LONGEST
            )));
        }
        if extras.contains('\0') || extras.len() > doublestar::LONGEST {
            return Err(invalid("`extras` is too long, or holds NUL"));
        }
        Ok(Self {
            kind: Kind::Doublestar,
            decoration,
            pattern: pattern.to_owned(),
            extras: extras.to_owned(),
        })
    }

    /// Whether it is about this repository, named without its project.
    pub fn selects_repository(&self, repository: &str) -> Result<bool, Unclear> {
        match self.decoration {
            Decoration::RepoMatches => self.is_like(repository),
            Decoration::RepoExcludes => Ok(!self.is_like(repository)?),
            Decoration::Matches | Decoration::Excludes => Ok(false),
        }
    }

    /// Whether it is about an artifact that has these tags: one of them decides for it. Of one without tags `extras` says.
    pub fn selects_tags(&self, tags: &[&str]) -> Result<bool, Unclear> {
        let excludes = match self.decoration {
            Decoration::Matches => false,
            Decoration::Excludes => true,
            Decoration::RepoMatches | Decoration::RepoExcludes => return Ok(false),
        };
        if tags.is_empty() {
            return Ok(self.untagged() != excludes);
        }
        for tag in tags {
            if self.is_like(tag)? != excludes {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// Whether what has no tag counts as like the pattern.
    pub fn untagged(&self) -> bool {
        #[derive(Deserialize)]
        struct Extras {
            #[serde(default)]
            untagged: bool,
        }
        let told = serde_json::from_str::<Extras>(&self.extras).ok();
        told.map_or(self.decoration != Decoration::Excludes, |extras| {
            extras.untagged
        })
    }

    fn is_like(&self, name: &str) -> Result<bool, Unclear> {
        if self.pattern.is_empty() {
            return Ok(true);
        }
        doublestar::matches(&self.pattern, name)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn selector(decoration: &str, pattern: &str, extras: &str) -> Selector {
        Selector::new("doublestar", decoration, pattern, extras).expect("a selector")
    }

    #[test]
    fn repositories_are_selected_by_name() {
        for (decoration, pattern, repository, selected) in [
            ("repoMatches", "**", "app", true),
            ("repoMatches", "**", "team/app", true),
            ("repoMatches", "*", "team/app", false),
            ("repoMatches", "{app,team/**}", "team/app", true),
            ("repoMatches", "", "app", true),
            ("repoExcludes", "app", "app", false),
            ("repoExcludes", "app", "other", true),
            ("matches", "**", "app", false),
        ] {
            let found = selector(decoration, pattern, "").selects_repository(repository);
            assert_eq!(found, Ok(selected), "{decoration} {pattern} {repository}");
        }
    }

    #[test]
    fn artifacts_are_selected_by_one_of_their_tags() {
        for (decoration, pattern, tags, selected) in [
            ("matches", "v*", &["latest", "v1"][..], true),
            ("matches", "v*", &["latest"], false),
            ("excludes", "v*", &["v1", "latest"], true),
            ("excludes", "v*", &["v1", "v2"], false),
            ("matches", "**", &["any"], true),
            ("repoMatches", "**", &["any"], false),
        ] {
            let found = selector(decoration, pattern, "").selects_tags(tags);
            assert_eq!(found, Ok(selected), "{decoration} {pattern} {tags:?}");
        }
    }

    #[test]
    fn what_has_no_tag_is_selected_as_the_extras_say() {
        for (decoration, extras, selected) in [
            ("matches", "", true),
            ("matches", r#"{"untagged":true}"#, true),
            ("matches", r#"{"untagged":false}"#, false),
            ("matches", "{}", false),
            ("matches", "nonsense", true),
            ("excludes", "", true),
            ("excludes", r#"{"untagged":true}"#, false),
            ("excludes", r#"{"untagged":false}"#, true),
        ] {
            let found = selector(decoration, "v*", extras).selects_tags(&[]);
            assert_eq!(found, Ok(selected), "{decoration} {extras}");
        }
    }

    #[test]
    fn what_is_no_selector_is_refused() {
        for (kind, decoration, pattern) in [
            ("label", "matches", "**"),
            ("", "matches", "**"),
            ("doublestar", "", "**"),
            ("doublestar", "nsMatches", "**"),
            ("doublestar", "matches", "["),
            ("doublestar", "matches", "a\0"),
            ("doublestar", "matches", &"x".repeat(1025)),
        ] {
            let refused = Selector::new(kind, decoration, pattern, "");
            assert!(
                matches!(refused, Err(Error::Invalid(What::Rule, _))),
                "{kind} {decoration}"
            );
        }
    }

    #[test]
    fn a_selector_is_written_as_harbor_writes_it() {
        let text = r#"{"kind":"doublestar","decoration":"repoMatches","pattern":"**","extras":"{\"untagged\":true}"}"#;
        let read: Selector = serde_json::from_str(text).expect("a selector");
        assert_eq!(serde_json::to_string(&read).expect("text"), text);
        let short = r#"{"kind":"doublestar","decoration":"excludes","pattern":"a"}"#;
        let read: Selector = serde_json::from_str(short).expect("a selector");
        assert_eq!(serde_json::to_string(&read).expect("text"), short);
    }
}
