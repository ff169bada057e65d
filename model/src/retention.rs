//! Retention: which artifacts of a project stay. A policy has rules; what any rule keeps stays, and of the repositories that a rule
//! is about everything else goes. The words are Harbor's, so that its clients' policies are kept and shown as they were sent.

pub mod judge;

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use self::judge::Verdict;
use crate::{Error, Result, What, cron::Cron, immutable::REPOSITORY, selector::Selector};

/// Rules that a policy may have.
pub const MOST_RULES: usize = 15;
/// Selectors of one kind in a rule.
const MOST_SELECTORS: usize = 10;
/// What keeps the largest number that a rule may name within reason.
const MOST: i64 = 1_000_000;

/// What a policy says, as its row keeps it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Policy {
    pub rules: Vec<Rule>,
    /// `Schedule`, or nothing.
    pub trigger: String,
    /// When it is applied by itself; empty for never.
    pub cron: String,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Rule {
    #[serde(default)]
    pub id: i64,
    #[serde(default)]
    pub priority: i64,
    #[serde(default)]
    pub disabled: bool,
    pub template: Template,
    /// As it was sent: the template's number stands under the template's name.
    #[serde(default)]
    pub params: BTreeMap<String, Value>,
    pub tag_selectors: Vec<Selector>,
    pub scope_selectors: BTreeMap<String, Vec<Selector>>,
}

/// What a rule keeps of the artifacts that its selectors choose.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Template {
    #[serde(rename = "latestPushedK")]
    LatestPushedK,
    #[serde(rename = "latestPulledN")]
    LatestPulledN,
    #[serde(rename = "latestActiveK")]
    LatestActiveK,
    #[serde(rename = "nDaysSinceLastPush")]
    NDaysSinceLastPush,
    #[serde(rename = "nDaysSinceLastPull")]
    NDaysSinceLastPull,
    #[serde(rename = "lastXDays")]
    LastXDays,
    #[serde(rename = "always")]
    Always,
    #[serde(rename = "nothing")]
    Nothing,
}

impl Template {
    pub const ALL: [Self; 8] = [
        Self::LatestPushedK,
        Self::LatestPulledN,
        Self::LatestActiveK,
        Self::NDaysSinceLastPush,
        Self::NDaysSinceLastPull,
        Self::LastXDays,
        Self::Always,
        Self::Nothing,
    ];

    pub fn as_str(self) -> &'static str {
        match self {
            Self::LatestPushedK => "latestPushedK",
            Self::LatestPulledN => "latestPulledN",
            Self::LatestActiveK => "latestActiveK",
            Self::NDaysSinceLastPush => "nDaysSinceLastPush",
            Self::NDaysSinceLastPull => "nDaysSinceLastPull",
            Self::LastXDays => "lastXDays",
            Self::Always => "always",
            Self::Nothing => "nothing",
        }
    }

    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|one| one.as_str() == text)
    }

    fn has_number(self) -> bool {
        !matches!(self, Self::Always | Self::Nothing)
    }
}

impl Policy {
    /// Refuses what cannot be kept: too many rules, the same rule twice, an expression that is none. As with Harbor a rule without
    /// its number is kept, and fails when the policy is applied.
    pub fn check(&self) -> Result<()> {
        if self.rules.len() > MOST_RULES {
            return Err(invalid(format!(
                "only {MOST_RULES} rules are allowed at most"
            )));
        }
        for rule in &self.rules {
            rule.check()?;
        }
        let bare: Vec<Rule> = self
            .rules
            .iter()
            .map(|rule| Rule {
                id: 0,
                ..rule.clone()
            })
            .collect();
        for (later, rule) in bare.iter().enumerate() {
            if let Some(earlier) = bare[..later].iter().position(|other| other == rule) {
                return Err(Error::Conflict(format!(
                    "rule {later} is conflict with rule {earlier}"
                )));
            }
        }
        if !["", "Schedule"].contains(&self.trigger.as_str()) {
            return Err(invalid("`trigger.kind` must be Schedule"));
        }
        self.schedule().map(|_| ())
    }

    /// Why an artifact stays or goes, in words.
    pub fn reason(&self, verdict: Verdict) -> String {
        match verdict {
            Verdict::Kept(place) => {
                let what = self.rules.get(place).map(Rule::describe);
                format!("rule {} keeps {}", place + 1, what.unwrap_or_default())
            }
            Verdict::Unclear => "a selector is too complex to be compared with its tags".to_owned(),
            Verdict::Immutable => "one of its tags is immutable".to_owned(),
            Verdict::Part => "an index names it: it stays as long as that".to_owned(),
            Verdict::Goes => "no rule keeps it".to_owned(),
        }
    }

    /// When it is applied by itself.
    pub fn schedule(&self) -> Result<Option<Cron>> {
        if self.trigger.is_empty() || self.cron.trim().is_empty() {
            return Ok(None);
        }
        Cron::parse(&self.cron).map(Some)
    }

    /// Whether a rule in force is about a repository, which is named without its project; also when that cannot be said, so that
    /// somebody looks at it and complains.
    pub fn is_about(&self, repository: &str) -> bool {
        let in_force = self.rules.iter().filter(|rule| !rule.disabled);
        let mut told = in_force.map(|rule| rule.is_about(repository));
        told.any(|told| told.unwrap_or(true))
    }
}

impl Rule {
    fn check(&self) -> Result<()> {
        let repositories = self.repositories();
        if self.tag_selectors.len() > MOST_SELECTORS || repositories.len() > MOST_SELECTORS {
            return Err(invalid(format!(
                "at most {MOST_SELECTORS} selectors of each kind in a rule"
            )));
        }
        if self.scope_selectors.keys().any(|key| key != REPOSITORY) {
            return Err(invalid("`scope_selectors` has `repository` alone"));
        }
        let of_repositories = |one: &Selector| one.decoration.is_of_repositories();
        if self.tag_selectors.iter().any(of_repositories) {
            return Err(invalid("selectors of tags are matches or excludes"));
        }
        if !repositories.iter().all(of_repositories) {
            return Err(invalid(
                "selectors of repositories are repoMatches or repoExcludes",
            ));
        }
        if serde_json::to_string(&self.params).map_or(0, |text| text.len()) > 1000 {
            return Err(invalid("`params` is too long"));
        }
        Ok(())
    }

    fn repositories(&self) -> &[Selector] {
        self.scope_selectors
            .get(REPOSITORY)
            .map_or(&[], Vec::as_slice)
    }

    /// All selectors must choose it. A pattern that cannot be judged is a reason to do nothing: what the rule would keep must not go by
    /// another.
    fn is_about(&self, repository: &str) -> Result<bool, String> {
        for selector in self.repositories() {
            let chosen = selector.selects_repository(repository);
            if !chosen.map_err(|why| format!("`{}`: {why}", selector.pattern))? {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// The number that the template needs; an error says what is wrong with it.
    pub fn number(&self) -> Result<i64, String> {
        if !self.template.has_number() {
            return Ok(0);
        }
        let name = self.template.as_str();
        let told = self
            .params
            .get(name)
            .ok_or_else(|| format!("`params` has no `{name}`"))?;
        let number = match told {
            // A client's JSON may write a whole number as 10.0.
            Value::Number(number) => number.as_i64().or_else(|| {
                let real = number.as_f64()?;
                (real.fract() == 0.0 && real.abs() < 1e15).then_some(real as i64)
            }),
            _ => None,
        };
        match number {
            Some(number) if (0..=MOST).contains(&number) => Ok(number),
            _ => Err(format!(
                "`params.{name}` is {told}, and must be a whole number from 0 to {MOST}"
            )),
        }
    }

    /// In words, for whoever asks why something stays: `the 10 most recently pushed, of tags like v*`.
    pub fn describe(&self) -> String {
        let number = match self.number() {
            Ok(number) => number.to_string(),
            Err(_) => "?".to_owned(),
        };
        let kept = match self.template {
            Template::LatestPushedK => format!("the {number} most recently pushed"),
            Template::LatestPulledN => format!("the {number} most recently pulled"),
            Template::LatestActiveK => format!("the {number} most recently pushed or pulled"),
            Template::NDaysSinceLastPush | Template::LastXDays => {
                format!("pushed within the last {number} days")
            }
            Template::NDaysSinceLastPull => format!("pulled within the last {number} days"),
            Template::Always => "all".to_owned(),
            Template::Nothing => "nothing".to_owned(),
        };
        let tags: Vec<String> = self.tag_selectors.iter().map(of_tags).collect();
        if tags.is_empty() {
            kept
        } else {
            format!("{kept}, {}", tags.join(" and "))
        }
    }
}

fn of_tags(selector: &Selector) -> String {
    let pattern = if selector.pattern.is_empty() {
        "**"
    } else {
        &selector.pattern
    };
    let relation = if selector.decoration.excludes() {
        "unlike"
    } else {
        "like"
    };
    format!("of tags {relation} {pattern}")
}

fn invalid(why: impl Into<String>) -> Error {
    Error::invalid(What::Retention, why)
}

#[cfg(test)]
mod tests;
