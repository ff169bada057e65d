//! Token scopes, `type:name:actions` (Docker's token specification).
//!
//! Split at the first and at the last colon: a name may itself hold one (`host:5000/x`).

use std::fmt;
use std::str::FromStr;

use thiserror::Error;

use crate::error::excerpt;
use crate::name::RepoName;

/// What a token is asked for, or what a challenge demands.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Scope {
    /// `repository`, `registry`, …
    pub kind: String,
    pub name: String,
    /// `pull`, `push`, `delete`, `*`, …, in the order given, none twice.
    pub actions: Vec<String>,
}

/// Why a text is not a scope.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("scope `{0}` is not valid: write it as `type:name:action,action`")]
pub struct ScopeError(String);

impl Scope {
    /// Whether it asks for this action, by name or by `*`.
    pub fn allows(&self, action: &str) -> bool {
        self.actions
            .iter()
            .any(|given| given == action || given == "*")
    }
}

/// The scopes of one `scope` parameter, which may hold several separated by blanks.
pub fn parse_scopes(parameter: &str) -> impl Iterator<Item = Result<Scope, ScopeError>> {
    parameter.split_ascii_whitespace().map(str::parse)
}

/// The scope of a repository.
pub fn repository_scope<T: AsRef<str>>(name: &RepoName<T>, actions: &[&str]) -> Scope {
    Scope {
        kind: "repository".to_owned(),
        name: name.as_str().to_owned(),
        actions: actions.iter().map(|&action| action.to_owned()).collect(),
    }
}

impl FromStr for Scope {
    type Err = ScopeError;

    fn from_str(text: &str) -> Result<Self, ScopeError> {
        let error = || ScopeError(excerpt(text));
        let (kind, rest) = text.split_once(':').ok_or_else(error)?;
        let (name, listed) = rest.rsplit_once(':').ok_or_else(error)?;
        if kind.is_empty()
            || name.is_empty()
            || text.contains(|c: char| c.is_whitespace() || c.is_control())
        {
            return Err(error());
        }
        let mut actions: Vec<String> = Vec::new();
        for action in listed.split(',').filter(|action| !action.is_empty()) {
            if !actions.iter().any(|known| known == action) {
                actions.push(action.to_owned());
            }
        }
        Ok(Self {
            kind: kind.to_owned(),
            name: name.to_owned(),
            actions,
        })
    }
}

impl fmt::Display for Scope {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}:{}", self.kind, self.name, self.actions.join(","))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn scopes_split_at_the_first_and_the_last_colon() {
        for (text, kind, name, actions) in [
            (
                "repository:lib/x:pull",
                "repository",
                "lib/x",
                &["pull"] as &[&str],
            ),
            (
                "repository:lib/x:pull,push",
                "repository",
                "lib/x",
                &["pull", "push"],
            ),
            (
                "repository:host:5000/x:*",
                "repository",
                "host:5000/x",
                &["*"],
            ),
            ("registry:catalog:*", "registry", "catalog", &["*"]),
            (
                "repository(plugin):a/b:pull",
                "repository(plugin)",
                "a/b",
                &["pull"],
            ),
            ("repository:lib/x:", "repository", "lib/x", &[]),
            (
                "repository:lib/x:pull,,pull,push",
                "repository",
                "lib/x",
                &["pull", "push"],
            ),
        ] {
            let scope: Scope = text.parse().unwrap();
            assert_eq!((scope.kind.as_str(), scope.name.as_str()), (kind, name));
            assert_eq!(scope.actions, actions);
            assert_eq!(scope.to_string().parse(), Ok(scope));
        }
    }

    #[test]
    fn other_texts_are_refused() {
        for text in [
            "",
            "x",
            "repository",
            "repository:x",
            ":x:pull",
            "repository::pull",
            "a: b:c",
            "a:b\u{0}:c",
        ] {
            assert!(text.parse::<Scope>().is_err(), "`{text}` was taken");
        }
    }

    #[test]
    fn a_parameter_may_hold_several() {
        let scopes: Vec<_> =
            parse_scopes("repository:a/b:pull,push  broken repository:c/d:pull").collect();
        assert_eq!(scopes.len(), 3);
        assert!(scopes[0].as_ref().unwrap().allows("push"));
        assert!(scopes[1].is_err());
        assert!(!scopes[2].as_ref().unwrap().allows("push"));
    }

    #[test]
    fn a_challenge_names_its_repository() {
        let name = RepoName::parse("lib/x").unwrap();
        assert_eq!(
            repository_scope(&name, &["pull", "push"]).to_string(),
            "repository:lib/x:pull,push"
        );
    }
}
