//! Retention policies: which artifacts of a project stay, and what the policy has done.

use std::collections::BTreeMap;

use db::{
    jobs::{
        self, JobRow,
        executions::{self, EXECUTIONS, TASKS},
    },
    projects::{self, Project},
    retention::{self, Stored},
    schedules,
};
use model::{
    Error as Cause, What,
    id::{JobId, PolicyId, ProjectId},
    job::{Job, Kind, Trigger},
    permission::{Action, Resource},
    retention::{Policy, Rule, Template},
    selector::Selector,
    time::Timestamp,
};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

use super::{
    access,
    answer::{Created, Done, Plain, Whole},
    call::Call,
    error::Result,
    executions::{counted, log, status, status_code, stop},
    input::Json,
    page::Wanted,
};

#[derive(Serialize, Deserialize, JsonSchema)]
pub(super) struct RetentionPolicy {
    #[serde(default)]
    id: i64,
    /// `or`: what any rule keeps stays.
    #[serde(default)]
    algorithm: String,
    #[serde(default)]
    rules: Vec<RetentionRule>,
    trigger: Option<RetentionRuleTrigger>,
    scope: Option<RetentionPolicyScope>,
}

#[derive(Serialize, Deserialize, JsonSchema)]
pub(super) struct RetentionRule {
    #[serde(default)]
    id: i64,
    #[serde(default)]
    priority: i64,
    #[serde(default)]
    disabled: bool,
    /// `retain`.
    #[serde(default)]
    action: String,
    /// `latestPushedK` and its like: see `/retentions/metadatas`.
    #[serde(default)]
    template: String,
    /// The template's number, under the template's name.
    #[serde(default)]
    params: BTreeMap<String, Value>,
    #[serde(default)]
    tag_selectors: Vec<RetentionSelector>,
    /// Under `repository`.
    #[serde(default)]
    scope_selectors: BTreeMap<String, Vec<RetentionSelector>>,
}

#[derive(Serialize, Deserialize, JsonSchema)]
pub(super) struct RetentionSelector {
    /// `doublestar`.
    #[serde(default)]
    kind: String,
    /// `matches`, `excludes`, `repoMatches`, `repoExcludes`.
    #[serde(default)]
    decoration: String,
    #[serde(default)]
    pattern: String,
    /// JSON in a text: `{"untagged":true}`.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    extras: String,
}

#[derive(Default, Serialize, Deserialize, JsonSchema)]
pub(super) struct RetentionRuleTrigger {
    /// `Schedule`.
    #[serde(default)]
    kind: String,
    /// `cron`: when the policy is applied by itself; empty for never.
    #[serde(default)]
    settings: Map<String, Value>,
    #[serde(default)]
    references: Map<String, Value>,
}

#[derive(Default, Serialize, Deserialize, JsonSchema)]
pub(super) struct RetentionPolicyScope {
    /// `project`.
    #[serde(default)]
    level: String,
    /// The project's number.
    #[serde(rename = "ref", default)]
    of: i64,
}

#[derive(Serialize, JsonSchema)]
pub(super) struct RetentionExecution {
    id: i64,
    policy_id: i64,
    start_time: String,
    end_time: String,
    status: &'static str,
    /// `MANUAL` or `SCHEDULE`.
    trigger: String,
    dry_run: bool,
}

#[derive(Serialize, JsonSchema)]
pub(super) struct RetentionExecutionTask {
    id: i64,
    execution_id: i64,
    /// Without its project's name.
    repository: String,
    job_id: String,
    status: &'static str,
    status_code: i64,
    /// Changes with the task: the second in which it last began.
    status_revision: i64,
    start_time: String,
    end_time: String,
    /// Artifacts that were judged.
    total: i64,
    /// Artifacts that stay.
    retained: i64,
}

/// What a new execution does.
#[derive(Deserialize, JsonSchema)]
pub(super) struct NewExecution {
    /// Nothing is deleted; the tasks' logs say what would be.
    #[serde(default)]
    dry_run: bool,
}

#[derive(Deserialize, JsonSchema)]
pub(super) struct ExecutionAction {
    /// `stop`.
    #[serde(default)]
    action: String,
}

#[derive(Serialize, JsonSchema)]
pub(super) struct RetentionMetadata {
    templates: Vec<RetentionRuleMetadata>,
    scope_selectors: Vec<RetentionSelectorMetadata>,
    tag_selectors: Vec<RetentionSelectorMetadata>,
}

#[derive(Serialize, JsonSchema)]
struct RetentionRuleMetadata {
    rule_template: &'static str,
    display_text: &'static str,
    action: &'static str,
    params: Vec<RetentionRuleParamMetadata>,
}

#[derive(Serialize, JsonSchema)]
struct RetentionRuleParamMetadata {
    #[serde(rename = "type")]
    kind: &'static str,
    unit: &'static str,
    required: bool,
}

#[derive(Serialize, JsonSchema)]
struct RetentionSelectorMetadata {
    display_text: &'static str,
    kind: &'static str,
    decorations: Vec<&'static str>,
}

/// What rules can say. As with Harbor some templates are taken and not offered: `latestActiveK`, `lastXDays`, `nothing`.
pub(super) async fn metadatas(_: Call) -> Result<Json<RetentionMetadata>> {
    let template = |template: Template, display_text, unit: Option<&'static str>| {
        let params = unit.map(|unit| RetentionRuleParamMetadata {
            kind: "int",
            unit,
            required: true,
        });
        RetentionRuleMetadata {
            rule_template: template.as_str(),
            display_text,
            action: "retain",
            params: params.into_iter().collect(),
        }
    };
    let selector = |display_text, decorations: [&'static str; 2]| RetentionSelectorMetadata {
        display_text,
        kind: "doublestar",
        decorations: decorations.to_vec(),
    };
    Ok(Json(RetentionMetadata {
        templates: vec![
            template(
                Template::LatestPushedK,
                "the most recently pushed # artifacts",
                Some("COUNT"),
            ),
            template(
                Template::LatestPulledN,
                "the most recently pulled # artifacts",
                Some("COUNT"),
            ),
            template(
                Template::NDaysSinceLastPush,
                "pushed within the last # days",
                Some("DAYS"),
            ),
            template(
                Template::NDaysSinceLastPull,
                "pulled within the last # days",
                Some("DAYS"),
            ),
            template(Template::Always, "always", None),
        ],
        scope_selectors: vec![selector("Repositories", ["repoMatches", "repoExcludes"])],
        tag_selectors: vec![selector("Tags", ["matches", "excludes"])],
    }))
}

impl RetentionPolicy {
    /// What it says, when it may be kept.
    fn policy(&self) -> Result<Policy, Cause> {
        if !["", "or"].contains(&self.algorithm.as_str()) {
            return Err(invalid("`algorithm` must be or"));
        }
        let trigger = self
            .trigger
            .as_ref()
            .ok_or_else(|| invalid("`trigger` is missing"))?;
        let cron = match trigger.settings.get("cron") {
            None | Some(Value::Null) => "",
            Some(Value::String(cron)) => cron,
            Some(_) => {
                return Err(invalid(
                    "invalid cron type for scheduled tag retention: must be a string",
                ));
            }
        };
        let rules = self.rules.iter().map(RetentionRule::rule);
        let policy = Policy {
            rules: rules.collect::<Result<_, _>>()?,
            trigger: trigger.kind.clone(),
            cron: cron.trim().to_owned(),
        };
        policy.check()?;
        Ok(policy)
    }

    /// The project that it is about.
    fn project(&self) -> Result<ProjectId, Cause> {
        let scope = self
            .scope
            .as_ref()
            .ok_or_else(|| invalid("`scope` is missing"))?;
        if scope.level != "project" {
            let shown: String = scope.level.chars().take(100).collect();
            return Err(invalid(&format!("scope {shown} is not support")));
        }
        if scope.of <= 0 {
            return Err(invalid(&format!("invalid Project id {}", scope.of)));
        }
        Ok(ProjectId(scope.of))
    }

    fn of(stored: Stored, next: Option<Timestamp>) -> Self {
        let mut settings = Map::new();
        settings.insert("cron".to_owned(), json!(stored.policy.cron));
        if let Some(next) = next {
            settings.insert("next_scheduled_time".to_owned(), json!(next.rfc3339()));
        }
        Self {
            id: stored.id.0,
            algorithm: "or".to_owned(),
            rules: stored.policy.rules.into_iter().map(Into::into).collect(),
            trigger: Some(RetentionRuleTrigger {
                kind: stored.policy.trigger,
                settings,
                references: Map::new(),
            }),
            scope: Some(RetentionPolicyScope {
                level: "project".to_owned(),
                of: stored.project.0,
            }),
        }
    }
}

impl RetentionRule {
    fn rule(&self) -> Result<Rule, Cause> {
        if !["", "retain"].contains(&self.action.as_str()) {
            return Err(invalid("`action` must be retain"));
        }
        let template = Template::parse(&self.template).ok_or_else(|| {
            let shown: String = self.template.chars().take(100).collect();
            invalid(&format!("`template` is `{shown}`, which is no template"))
        })?;
        let selectors = |told: &[RetentionSelector]| {
            told.iter()
                .map(|one| Selector::new(&one.kind, &one.decoration, &one.pattern, &one.extras))
                .collect::<Result<Vec<_>, _>>()
        };
        let scopes = self.scope_selectors.iter();
        let scopes = scopes.map(|(scope, told)| Ok((scope.clone(), selectors(told)?)));
        Ok(Rule {
            id: self.id,
            priority: self.priority,
            disabled: self.disabled,
            template,
            params: self.params.clone(),
            tag_selectors: selectors(&self.tag_selectors)?,
            scope_selectors: scopes.collect::<Result<_, Cause>>()?,
        })
    }
}

impl From<Rule> for RetentionRule {
    fn from(rule: Rule) -> Self {
        let shown = |selectors: Vec<Selector>| selectors.into_iter().map(Into::into).collect();
        Self {
            id: rule.id,
            priority: rule.priority,
            disabled: rule.disabled,
            action: "retain".to_owned(),
            template: rule.template.as_str().to_owned(),
            params: rule.params,
            tag_selectors: shown(rule.tag_selectors),
            scope_selectors: rule
                .scope_selectors
                .into_iter()
                .map(|(scope, selectors)| (scope, shown(selectors)))
                .collect(),
        }
    }
}

impl From<Selector> for RetentionSelector {
    fn from(selector: Selector) -> Self {
        Self {
            kind: selector.kind.as_str().to_owned(),
            decoration: selector.decoration.as_str().to_owned(),
            pattern: selector.pattern,
            extras: selector.extras,
        }
    }
}

fn invalid(why: &str) -> Cause {
    Cause::invalid(What::Retention, why)
}

pub(super) async fn create(call: Call, Json(asked): Json<RetentionPolicy>) -> Result<Created> {
    call.require_name()?;
    let id = asked.project()?;
    let found = projects::find(&mut *call.reader().await?, id).await?;
    let Some(project) = found else {
        if call.caller.is_admin() {
            return Err(invalid(&format!("invalid Project id {id}")).into());
        }
        return Err(access::refused(&call));
    };
    access::require_in(&call, &project.name, Resource::TagRetention, Action::Create).await?;
    let policy = asked.policy()?;
    let made = call
        .db()
        .write(move |tx| {
            let (project, policy) = (project.clone(), policy.clone());
            Box::pin(async move {
                let now = tx.now().await?;
                retention::insert(tx, &project, &policy, now).await
            })
        })
        .await?;
    Ok(Created(made.to_string()))
}

pub(super) async fn get(call: Call) -> Result<Json<RetentionPolicy>> {
    call.require_name()?;
    let (stored, _) = find(&call, Action::Read, Missing::NotFound).await?;
    let vendor = Kind::Retention.vendor();
    let schedule = schedules::find(&mut *call.reader().await?, vendor, stored.id.0).await?;
    let next = schedule.map(|schedule| schedule.next_at);
    Ok(Json(RetentionPolicy::of(stored, next)))
}

/// Terraform takes a policy away by taking its rules away.
pub(super) async fn update(call: Call, Json(asked): Json<RetentionPolicy>) -> Result<Done> {
    call.require_name()?;
    let (stored, project) = find(&call, Action::Update, Missing::NotFound).await?;
    if asked.project()? != project.id {
        return Err(retention::not_found(stored.id).into());
    }
    let policy = asked.policy()?;
    call.db()
        .write(move |tx| {
            let (project, stored, policy) = (project.clone(), stored.clone(), policy.clone());
            Box::pin(async move {
                let now = tx.now().await?;
                retention::update(tx, &project, &stored, &policy, now).await
            })
        })
        .await?;
    Ok(Done)
}

pub(super) async fn delete(call: Call) -> Result<Done> {
    call.require_name()?;
    let (stored, project) = find(&call, Action::Delete, Missing::Invalid).await?;
    call.db()
        .write(move |tx| {
            let (project, stored) = (project.clone(), stored.clone());
            Box::pin(async move {
                let now = tx.now().await?;
                retention::delete(tx, &project, &stored, now).await
            })
        })
        .await?;
    Ok(Done)
}

pub(super) async fn execute(call: Call, Json(asked): Json<NewExecution>) -> Result<Created> {
    call.require_name()?;
    let (stored, _) = find(&call, Action::Update, Missing::Invalid).await?;
    let (policy, dry_run) = (stored.id, asked.dry_run);
    let db = call.db();
    let begun = db.write(move |tx| {
        Box::pin(async move {
            // Held, so that of two at once one finds the other.
            let held = retention::hold(tx, policy).await?;
            let policy = held.ok_or_else(|| retention::not_found(policy))?;
            let job = Job::Retention { policy, dry_run };
            if let Some(id) = executions::find_under_way(tx, &job).await? {
                return Err(Cause::Conflict(format!(
                    "execution {id} does the same and has not ended yet: wait for it, or stop it"
                )));
            }
            let now = tx.now().await?;
            let new = jobs::New::begun_by(Trigger::Manual, &job, now);
            jobs::enqueue_new(tx, &new, now).await
        })
    });
    Ok(Created(begun.await?.to_string()))
}

pub(super) async fn operate(call: Call, Json(asked): Json<ExecutionAction>) -> Result<Done> {
    call.require_name()?;
    if asked.action != "stop" {
        return Err(invalid("action should be 'stop'").into());
    }
    let (stored, _) = find(&call, Action::Update, Missing::Invalid).await?;
    let execution = execution(&call, &stored).await?;
    stop(&call, execution.id).await
}

pub(super) async fn executions(call: Call) -> Result<Whole<RetentionExecution>> {
    call.require_name()?;
    let (stored, _) = find(&call, Action::List, Missing::Invalid).await?;
    let Wanted { listing, page } = call.wanted_whole()?;
    let within = executions::of(Kind::Retention, stored.id.0);
    let selection = EXECUTIONS.select(&listing, within)?;
    let listed = call.listed(selection, page, None, RetentionExecution::from);
    listed.await.map(Whole)
}

pub(super) async fn tasks(call: Call) -> Result<Whole<RetentionExecutionTask>> {
    call.require_name()?;
    let (stored, _) = find(&call, Action::List, Missing::Invalid).await?;
    let execution = execution(&call, &stored).await?;
    let Wanted { listing, page } = call.wanted_whole()?;
    let selection = TASKS.select(&listing, executions::tasks_of(execution.id))?;
    let listed = call.listed(selection, page, None, RetentionExecutionTask::from);
    listed.await.map(Whole)
}

pub(super) async fn task_log(call: Call) -> Result<Plain> {
    call.require_name()?;
    let (stored, _) = find(&call, Action::Read, Missing::Invalid).await?;
    let execution = execution(&call, &stored).await?;
    let id = JobId(call.number("tid")?);
    let task = db::jobs::find(&mut *call.reader().await?, id).await?;
    let task = task.filter(|task| task.parent == Some(execution.id));
    log(&call, task.ok_or_else(|| missing_execution(&stored, id))?).await
}

/// What Harbor answers where there is no policy of a number.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Missing {
    /// 404
    NotFound,
    /// 400
    Invalid,
}

/// The policy of the path and its project, for whoever may do this there.
async fn find(call: &Call, action: Action, missing: Missing) -> Result<(Stored, Project)> {
    let id = PolicyId(call.number("id")?);
    let (stored, project) = {
        let mut reader = call.reader().await?;
        let stored = retention::find(&mut reader, id).await?;
        let project = match &stored {
            Some(stored) => projects::find(&mut reader, stored.project).await?,
            None => None,
        };
        (stored, project)
    };
    let (Some(stored), Some(project)) = (stored, project) else {
        return Err(match missing {
            Missing::NotFound => retention::not_found(id).into(),
            Missing::Invalid => invalid(&format!("no such Retention policy with id {id}")).into(),
        });
    };
    access::require_in(call, &project.name, Resource::TagRetention, action).await?;
    Ok((stored, project))
}

/// The execution of the path, when it is one of the policy.
async fn execution(call: &Call, stored: &Stored) -> Result<JobRow> {
    let id = JobId(call.number("eid")?);
    let (kind, policy) = (Kind::Retention, stored.id.0);
    let found = executions::find(&mut *call.reader().await?, kind, policy, id).await?;
    Ok(found.ok_or_else(|| missing_execution(stored, id))?)
}

fn missing_execution(stored: &Stored, id: JobId) -> Cause {
    Cause::not_found(
        What::Job,
        format!("project: {}, execution id {id} not found", stored.project),
    )
}

fn time(at: Option<Timestamp>) -> String {
    at.map(Timestamp::rfc3339).unwrap_or_default()
}

impl From<JobRow> for RetentionExecution {
    fn from(row: JobRow) -> Self {
        Self {
            id: row.id.0,
            policy_id: row.subject,
            start_time: row.created_at.rfc3339(),
            end_time: time(row.ended_at),
            status: status(row.state),
            dry_run: matches!(row.job(), Some(Job::Retention { dry_run: true, .. })),
            trigger: row.trigger,
        }
    }
}

impl From<JobRow> for RetentionExecutionTask {
    fn from(row: JobRow) -> Self {
        let counted = counted(&row).unwrap_or_default();
        let number = |name: &str| counted[name].as_i64().unwrap_or(0);
        Self {
            id: row.id.0,
            execution_id: row.parent.map_or(0, |parent| parent.0),
            job_id: row.id.to_string(),
            status: status(row.state),
            status_code: status_code(row.state),
            status_revision: row.started_at.unwrap_or(row.created_at).seconds(),
            start_time: row.started_at.unwrap_or(row.created_at).rfc3339(),
            end_time: time(row.ended_at),
            total: number("total"),
            retained: number("retained"),
            repository: row.resource.unwrap_or_default(),
        }
    }
}
