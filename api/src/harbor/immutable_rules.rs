//! Rules that make tags of a project immutable.

use std::collections::BTreeMap;

use db::{
    immutable::{self, LIST, Stored},
    projects::Project,
};
use model::{Error as Cause, What, id::RuleId, immutable::Rule, selector::Selector};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::{
    answer::{Created, Done, Listed},
    call::Call,
    error::Result,
    input::Json,
    page::Wanted,
    projects,
};

#[derive(Serialize, Deserialize, JsonSchema)]
pub(super) struct ImmutableRule {
    #[serde(default)]
    id: i64,
    #[serde(default)]
    priority: i64,
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    disabled: bool,
    /// `immutable`.
    #[serde(default)]
    action: String,
    /// `immutable_template`.
    #[serde(default)]
    template: String,
    /// Of no use here; Harbor shows it empty.
    #[serde(default)]
    params: BTreeMap<String, Value>,
    /// Which tags; the first counts.
    #[serde(default)]
    tag_selectors: Vec<ImmutableSelector>,
    /// Under `repository`: which repositories; the first counts.
    #[serde(default)]
    scope_selectors: BTreeMap<String, Vec<ImmutableSelector>>,
}

#[derive(Serialize, Deserialize, JsonSchema)]
pub(super) struct ImmutableSelector {
    /// `doublestar`.
    #[serde(default)]
    kind: String,
    /// `matches`, `excludes`, `repoMatches`, `repoExcludes`.
    #[serde(default)]
    decoration: String,
    #[serde(default)]
    pattern: String,
    #[serde(default, skip_serializing_if = "String::is_empty")]
    extras: String,
}

impl From<Stored> for ImmutableRule {
    fn from(stored: Stored) -> Self {
        let rule = stored.rule;
        let shown = |selectors: Vec<Selector>| selectors.into_iter().map(Into::into).collect();
        Self {
            id: stored.id.0,
            priority: rule.priority,
            disabled: stored.disabled,
            action: rule.action,
            template: rule.template,
            params: BTreeMap::new(),
            tag_selectors: shown(rule.tag_selectors),
            scope_selectors: rule
                .scope_selectors
                .into_iter()
                .map(|(scope, selectors)| (scope, shown(selectors)))
                .collect(),
        }
    }
}

impl From<Selector> for ImmutableSelector {
    fn from(selector: Selector) -> Self {
        Self {
            kind: selector.kind.as_str().to_owned(),
            decoration: selector.decoration.as_str().to_owned(),
            pattern: selector.pattern,
            extras: selector.extras,
        }
    }
}

impl ImmutableRule {
    fn rule(&self) -> Result<Rule, Cause> {
        let selectors = |told: &[ImmutableSelector]| {
            told.iter()
                .map(|one| Selector::new(&one.kind, &one.decoration, &one.pattern, &one.extras))
                .collect::<Result<Vec<_>, _>>()
        };
        let scopes = self.scope_selectors.iter();
        let scopes = scopes.map(|(scope, told)| Ok((scope.clone(), selectors(told)?)));
        Rule::new(
            self.priority,
            &self.action,
            &self.template,
            selectors(&self.tag_selectors)?,
            scopes.collect::<Result<_, Cause>>()?,
        )
    }

    /// Whether it says no more than whether it is disabled.
    fn is_bare(&self) -> bool {
        self.tag_selectors.is_empty() && self.scope_selectors.is_empty()
    }
}

pub(super) async fn list(call: Call) -> Result<Listed<ImmutableRule>> {
    let Wanted { listing, page } = call.wanted()?;
    let selection = LIST.select(&listing, immutable::of(call.project()))?;
    call.listed(selection, page, None, ImmutableRule::from)
        .await
}

/// A new rule is in force, whatever the body says of `disabled` (Harbor's behaviour, which its clients know).
pub(super) async fn create(call: Call, Json(asked): Json<ImmutableRule>) -> Result<Created> {
    let rule = asked.rule()?;
    let project = project(&call).await?;
    let id = call
        .db()
        .write(move |tx| {
            let (project, rule) = (project.clone(), rule.clone());
            Box::pin(async move {
                let now = tx.now().await?;
                immutable::insert(tx, &project, &rule, now).await
            })
        })
        .await?;
    Ok(Created(id.to_string()))
}

/// Where the body names no selectors, a rule is only disabled or enabled. (Harbor drops the rest of a body that changes
/// `disabled`, and answers 200 all the same.)
pub(super) async fn update(call: Call, Json(asked): Json<Option<ImmutableRule>>) -> Result<Done> {
    let stored = find(&call).await?;
    let asked = asked.ok_or_else(|| Cause::invalid(What::Rule, "the body must be a rule"))?;
    if asked.id != stored.id.0 {
        return Err(Cause::invalid(
            What::Rule,
            format!(
                "the body's `id` is {}, the path's is {}: they must be the same",
                asked.id, stored.id
            ),
        )
        .into());
    }
    let rule = if asked.is_bare() {
        None
    } else {
        Some(asked.rule()?)
    };
    let (id, disabled, project) = (stored.id, asked.disabled, project(&call).await?);
    call.db()
        .write(move |tx| {
            let (project, rule) = (project.clone(), rule.clone());
            Box::pin(async move {
                let now = tx.now().await?;
                immutable::update(tx, &project, id, rule.as_ref(), disabled, now).await
            })
        })
        .await?;
    Ok(Done)
}

pub(super) async fn delete(call: Call) -> Result<Done> {
    let stored = find(&call).await?;
    let project = project(&call).await?;
    call.db()
        .write(move |tx| {
            let (project, stored) = (project.clone(), stored.clone());
            Box::pin(async move {
                let now = tx.now().await?;
                immutable::delete(tx, &project, &stored, now).await
            })
        })
        .await?;
    Ok(Done)
}

async fn project(call: &Call) -> Result<Project> {
    Ok(projects::row(call, &mut *call.reader().await?).await?)
}

/// The rule of the path, when the project of the path has it.
async fn find(call: &Call) -> Result<Stored> {
    let id = RuleId(call.number("immutable_rule_id")?);
    let found = immutable::find(&mut *call.reader().await?, call.project(), id).await?;
    found.ok_or_else(|| immutable::not_found(id).into())
}
