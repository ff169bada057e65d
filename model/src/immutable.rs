//! Rules that make tags immutable: nobody moves or deletes a tag that one of its project's rules protects.

use std::{collections::BTreeMap, fmt};

use serde::{Deserialize, Serialize};

use crate::{Error, Result, What, selector::Selector};

/// The key under which a rule names repositories.
pub const REPOSITORY: &str = "repository";
const ACTION: &str = "immutable";
const TEMPLATE: &str = "immutable_template";
/// Selectors of one kind in a rule; the first alone counts.
const MOST: usize = 10;

/// What a rule says, as its row keeps it. Its number, and whether it is disabled, stand beside it there.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Rule {
    #[serde(default)]
    pub priority: i64,
    pub action: String,
    pub template: String,
    pub tag_selectors: Vec<Selector>,
    pub scope_selectors: BTreeMap<String, Vec<Selector>>,
}

impl Rule {
    /// From what a client sent. An empty action or template is the only one there is.
    pub fn new(
        priority: i64,
        action: &str,
        template: &str,
        tag_selectors: Vec<Selector>,
        scope_selectors: BTreeMap<String, Vec<Selector>>,
    ) -> Result<Self> {
        let rule = Self {
            priority,
            action: ACTION.to_owned(),
            template: TEMPLATE.to_owned(),
            tag_selectors,
            scope_selectors,
        };
        match rule.fault(action, template) {
            Some(why) => Err(Error::invalid(
                What::Rule,
                format!("invalid immutable rule: {why}"),
            )),
            None => Ok(rule),
        }
    }

    fn fault(&self, action: &str, template: &str) -> Option<&'static str> {
        let repositories = self.repositories();
        if !["", ACTION].contains(&action) {
            return Some("`action` must be immutable");
        }
        if !["", TEMPLATE].contains(&template) {
            return Some("`template` must be immutable_template");
        }
        if self.tag_selectors.is_empty() || repositories.is_empty() {
            return Some(
                "`tag_selectors` and `scope_selectors.repository` must each name a selector",
            );
        }
        if self.tag_selectors.len() > MOST || repositories.len() > MOST {
            return Some("at most ten selectors of each kind");
        }
        if self.scope_selectors.len() > 1 {
            return Some("`scope_selectors` has `repository` alone");
        }
        let of_repositories = |selector: &Selector| selector.decoration.is_of_repositories();
        if self.tag_selectors.iter().any(of_repositories) {
            return Some("selectors of tags are matches or excludes");
        }
        if !repositories.iter().all(of_repositories) {
            return Some("selectors of repositories are repoMatches or repoExcludes");
        }
        None
    }

    fn repositories(&self) -> &[Selector] {
        self.scope_selectors
            .get(REPOSITORY)
            .map_or(&[], Vec::as_slice)
    }

    /// As with Harbor the first selector of each kind counts. Where it is unclear whether it is about the tag, the tag is
    /// protected: whoever chooses a tag's name must not find a way around the rule.
    fn protects(&self, repository: &str, tag: &str) -> bool {
        let (Some(repositories), Some(tags)) =
            (self.repositories().first(), self.tag_selectors.first())
        else {
            return false;
        };
        repositories.selects_repository(repository).unwrap_or(true)
            && tags.selects_tags(&[tag]).unwrap_or(true)
    }
}

/// What it protects, in short: `app:v*`, with a `!` before what it excludes.
impl fmt::Display for Rule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let shown = |selectors: &[Selector]| {
            selectors.first().map_or_else(String::new, |selector| {
                let mark = if selector.decoration.excludes() {
                    "!"
                } else {
                    ""
                };
                format!("{mark}{}", selector.pattern)
            })
        };
        write!(
            f,
            "{}:{}",
            shown(self.repositories()),
            shown(&self.tag_selectors)
        )
    }
}

/// Whether one of these rules, all of them enabled, protects a tag of a repository, which is named without its project.
pub fn protects(rules: &[Rule], repository: &str, tag: &str) -> bool {
    rules.iter().any(|rule| rule.protects(repository, tag))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn selector(decoration: &str, pattern: &str) -> Selector {
        Selector::new("doublestar", decoration, pattern, "").expect("a selector")
    }

    fn scope(selectors: Vec<Selector>) -> BTreeMap<String, Vec<Selector>> {
        BTreeMap::from([(REPOSITORY.to_owned(), selectors)])
    }

    fn rule(repositories: (&str, &str), tags: (&str, &str)) -> Rule {
        Rule::new(
            0,
            "immutable",
            "immutable_template",
            vec![selector(tags.0, tags.1)],
            scope(vec![selector(repositories.0, repositories.1)]),
        )
        .expect("a rule")
    }

    #[test]
    fn a_tag_is_protected_by_any_rule_that_selects_it() {
        let all = ("repoMatches", "**");
        for (rules, repository, tag, protected) in [
            (vec![], "app", "v1", false),
            (vec![rule(all, ("matches", "v*"))], "app", "v1", true),
            (vec![rule(all, ("matches", "v*"))], "app", "latest", false),
            (vec![rule(all, ("excludes", "latest"))], "app", "v1", true),
            (
                vec![rule(all, ("excludes", "latest"))],
                "app",
                "latest",
                false,
            ),
            (
                vec![rule(("repoMatches", "team/**"), ("matches", "**"))],
                "app",
                "v1",
                false,
            ),
            (
                vec![rule(("repoMatches", "team/**"), ("matches", "**"))],
                "team/app",
                "v1",
                true,
            ),
            (
                vec![rule(("repoExcludes", "app"), ("matches", "**"))],
                "app",
                "v1",
                false,
            ),
            (
                vec![
                    rule(("repoMatches", "x"), ("matches", "**")),
                    rule(all, ("matches", "v1")),
                ],
                "app",
                "v1",
                true,
            ),
        ] {
            assert_eq!(
                protects(&rules, repository, tag),
                protected,
                "{rules:?} {repository}:{tag}"
            );
        }
    }

    #[test]
    fn the_first_selector_of_each_kind_counts() {
        let rule = Rule::new(
            0,
            "",
            "",
            vec![selector("matches", "v1"), selector("matches", "v2")],
            scope(vec![
                selector("repoMatches", "a"),
                selector("repoMatches", "b"),
            ]),
        )
        .expect("a rule");
        assert!(rule.protects("a", "v1") && !rule.protects("a", "v2") && !rule.protects("b", "v1"));
    }

    #[test]
    fn what_is_unclear_is_protected() {
        let mut rule = rule(("repoMatches", "**"), ("matches", "v*"));
        rule.tag_selectors[0].pattern = "*a*a*a*a*a*a*a*a*a*b".to_owned();
        assert!(rule.protects("app", &"a".repeat(128)));
        assert!(!rule.protects("app", "latest"));
    }

    #[test]
    fn rules_that_select_nothing_or_something_else_are_refused() {
        let (tags, repositories) = (selector("matches", "**"), selector("repoMatches", "**"));
        let made =
            |action: &str, template: &str, of_tags: &[&Selector], of_repositories: &[&Selector]| {
                let own =
                    |all: &[&Selector]| all.iter().map(|one| (*one).clone()).collect::<Vec<_>>();
                Rule::new(
                    0,
                    action,
                    template,
                    own(of_tags),
                    scope(own(of_repositories)),
                )
            };
        assert!(made("", "", &[&tags], &[&repositories]).is_ok());
        for refused in [
            made("retain", "", &[&tags], &[&repositories]),
            made("", "always", &[&tags], &[&repositories]),
            made("", "", &[], &[&repositories]),
            made("", "", &[&tags], &[]),
            made("", "", &[&repositories], &[&repositories]),
            made("", "", &[&tags], &[&tags]),
            made("", "", &[&tags; 11], &[&repositories]),
            Rule::new(0, "", "", vec![tags.clone()], BTreeMap::new()),
        ] {
            assert!(
                matches!(refused, Err(Error::Invalid(What::Rule, _))),
                "{refused:?}"
            );
        }
    }

    #[test]
    fn a_rule_is_named_by_what_it_protects() {
        let all = rule(("repoMatches", "app/**"), ("excludes", "latest"));
        assert_eq!(all.to_string(), "app/**:!latest");
    }

    #[test]
    fn a_rule_is_read_back_as_it_was_written() {
        let rule = rule(("repoMatches", "**"), ("matches", "v*"));
        let text = serde_json::to_string(&rule).expect("text");
        assert_eq!(serde_json::from_str::<Rule>(&text).expect("a rule"), rule);
        assert_eq!(
            text,
            r#"{"priority":0,"action":"immutable","template":"immutable_template","tag_selectors":[{"kind":"doublestar","decoration":"matches","pattern":"v*"}],"scope_selectors":{"repository":[{"kind":"doublestar","decoration":"repoMatches","pattern":"**"}]}}"#
        );
    }
}
