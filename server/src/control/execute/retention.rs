//! What a retention policy would do, and why.

use db::{projects, repositories, retention};
use model::{Error, Result, What, retention::judge::Verdict, time::Timestamp};
use registry::retain::Explained;

use super::{House, Work};
use crate::control::answer::{Explanation, JudgedArtifact, JudgedRepository, Progress};

const REPOSITORIES: i64 = 200;

/// Which artifacts are named.
pub(super) struct Named {
    /// As many.
    pub limit: usize,
    /// Those alone that would be deleted.
    pub deleted: bool,
}

/// Judges a project's repositories, or one of them, and changes nothing.
pub(super) async fn explain(
    house: &House,
    work: &Work,
    project: &str,
    repository: Option<&str>,
    mut named: Named,
) -> Result<Vec<Explanation>> {
    let mut reader = house.db().reader().await?;
    let project = projects::get_name(&mut reader, project).await?;
    let stored = retention::of_project(&mut reader, project.id).await?;
    drop(reader);
    let stored = stored.ok_or_else(|| {
        Error::not_found(
            What::Retention,
            format!(
                "project `{}` has no retention policy: make one in the API (POST /api/v2.0/retentions)",
                project.name
            ),
        )
    })?;
    let (mut all, mut after) = (Vec::new(), String::new());
    loop {
        let batch = {
            let mut reader = house.db().reader().await?;
            match repository {
                Some(name) => one(&mut reader, &project.name, name).await?,
                None => {
                    repositories::of_project(&mut reader, project.id, &after, REPOSITORIES).await?
                }
            }
        };
        let Some(last) = batch.last() else { break };
        after.clone_from(&last.name);
        for repository in batch {
            work.show(Progress {
                text: format!("{} repositories judged", all.len()),
                done: all.len() as u64,
                total: None,
            });
            all.push(judge(house, work, &stored.policy, &repository, &mut named).await?);
        }
        if repository.is_some() {
            break;
        }
    }
    Ok(all)
}

async fn one(
    conn: &mut db::Conn,
    project: &str,
    name: &str,
) -> Result<Vec<repositories::Repository>> {
    let full = format!("{project}/{name}");
    let found = repositories::find(conn, &full).await?;
    let found = found.ok_or_else(|| {
        Error::not_found(What::Repository, format!("repository `{full}` not found"))
    })?;
    Ok(vec![found])
}

async fn judge(
    house: &House,
    work: &Work,
    policy: &model::retention::Policy,
    repository: &repositories::Repository,
    named: &mut Named,
) -> Result<Explanation> {
    let judgement = house
        .registry
        .judge_retention(policy, repository, &work.cancel)
        .await?;
    let Some(judgement) = judgement else {
        return Ok(Explanation {
            repository: repository.name.clone(),
            judged: None,
        });
    };
    let mut judged = JudgedRepository {
        total: judgement.verdicts.len(),
        retained: judgement.retained(),
        artifacts: Vec::new(),
    };
    let mut explanations = house.registry.explain(repository, &judgement);
    while named.limit > 0
        && let Some(batch) = explanations.next().await?
    {
        let wanted = batch
            .into_iter()
            .filter(|one| !named.deleted || one.verdict == Verdict::Goes)
            .take(named.limit);
        let before = judged.artifacts.len();
        judged
            .artifacts
            .extend(wanted.map(|one| shown(one, policy)));
        named.limit -= judged.artifacts.len() - before;
    }
    Ok(Explanation {
        repository: repository.name.clone(),
        judged: Some(judged),
    })
}

fn shown(one: Explained, policy: &model::retention::Policy) -> JudgedArtifact {
    JudgedArtifact {
        digest: one.candidate.digest.to_string(),
        tags: one.tags,
        tag_count: one.tag_count,
        pushed_at: one.pushed_at.rfc3339(),
        pulled_at: one.pulled_at.map(Timestamp::rfc3339),
        stays: one.verdict != Verdict::Goes,
        why: policy.reason(one.verdict),
    }
}
