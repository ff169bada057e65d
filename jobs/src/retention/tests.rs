use std::{collections::BTreeMap, time::Duration};

use db::{
    jobs::{self, executions},
    projects, retention,
};
use model::{
    id::{JobId, PolicyId},
    job::{Job, Trigger},
    listing::Listing,
    retention::{Policy, Rule, Template},
    selector::Selector,
};

use crate::{
    Outcome,
    world::{LEASE, World, each, work},
};

/// Keeps the newest of what is tagged `v*`, in all repositories but one.
fn policy() -> Policy {
    let selector = |decoration: &str, pattern: &str| {
        Selector::new("doublestar", decoration, pattern, "").unwrap()
    };
    let rule = Rule {
        id: 0,
        priority: 0,
        disabled: false,
        template: Template::LatestPushedK,
        params: BTreeMap::from([("latestPushedK".to_owned(), serde_json::json!(1))]),
        tag_selectors: vec![selector("matches", "v*")],
        scope_selectors: BTreeMap::from([(
            "repository".to_owned(),
            vec![selector("repoExcludes", "other")],
        )]),
    };
    Policy {
        rules: vec![rule],
        trigger: "Schedule".to_owned(),
        cron: String::new(),
    }
}

async fn adopt(world: &World<'_>, policy: Policy) -> PolicyId {
    world
        .write(move |tx| {
            let policy = policy.clone();
            Box::pin(async move {
                let project = projects::get_name(tx, "library").await?;
                let now = tx.now().await?;
                retention::insert(tx, &project, &policy, now).await
            })
        })
        .await
}

/// Begins an execution and runs it with all its tasks.
async fn apply(world: &World<'_>, policy: PolicyId, dry_run: bool) -> JobId {
    let job = Job::Retention { policy, dry_run };
    let id = world
        .write(move |tx| {
            let job = job.clone();
            Box::pin(async move {
                let now = tx.now().await?;
                let new = jobs::New::begun_by(Trigger::Manual, &job, now);
                jobs::enqueue_new(tx, &new, now).await
            })
        })
        .await;
    let post = world.post().await;
    let running = world.start(work(move |cx, job| {
        let post = post.clone();
        Box::pin(async move { crate::run(cx, &post, job).await })
    }));
    let start = tokio::time::Instant::now();
    while world.row(id).await.ended_at.is_none() {
        assert!(start.elapsed() < Duration::from_mins(1));
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    running.stop().await;
    id
}

/// The tasks of an execution: what each is about, how it ended, its message and its log.
async fn tasks(world: &World<'_>, id: JobId) -> Vec<(String, String, String, Vec<String>)> {
    let selected = executions::TASKS
        .select(&Listing::default(), executions::tasks_of(id))
        .unwrap();
    let rows = {
        let mut reader = world.database.db.reader().await.unwrap();
        selected.page(&mut reader, 0, 100).await.unwrap()
    };
    let mut told = Vec::new();
    for row in rows {
        let log = world.log(row.id).await;
        let lines = log.iter().flat_map(|row| row.lines().map(str::to_owned));
        told.push((
            row.resource.unwrap(),
            row.state.as_str().to_owned(),
            row.message.unwrap_or_default(),
            lines.collect(),
        ));
    }
    told
}

#[test]
fn an_execution_judges_each_repository_and_deletes_what_no_rule_keeps() {
    each(async |world| {
        world.library().await;
        let mut pushed = Vec::new();
        for tag in ["v1", "v2", "latest"] {
            pushed.push(world.push("library/app", tag, tag.as_bytes()).await);
            world.advance(Duration::from_secs(1));
        }
        world.push("library/other", "latest", b"other").await;
        world.push("library/tool", "v9", b"tool").await;
        let policy = adopt(world, policy()).await;

        let dry = apply(world, policy, true).await;
        assert_eq!(world.row(dry).await.state.as_str(), "done");
        let told = tasks(world, dry).await;
        let names: Vec<&str> = told.iter().map(|(name, ..)| name.as_str()).collect();
        assert_eq!(names, ["app", "tool"], "no rule is about the other");
        let (_, state, message, log) = &told[0];
        assert_eq!(
            (state.as_str(), message.as_str()),
            (
                "done",
                "library/app: a dry run, 1 of 3 artifacts stay and 2 would go"
            )
        );
        let of = |digest: &oci::digest::Digest| {
            let mut lines = log.iter();
            lines
                .find(|line| line.starts_with(&digest.to_string()))
                .unwrap()
                .clone()
        };
        assert!(of(&pushed[0]).ends_with("never | DEL | no rule keeps it: it would go"));
        assert!(of(&pushed[1]).ends_with(
            "never | RETAIN | rule 1 keeps the 1 most recently pushed, of tags like v*"
        ));
        assert_eq!(world.tags("library/app").await, ["latest", "v1", "v2"]);

        let real = apply(world, policy, false).await;
        assert_eq!(world.row(real).await.state.as_str(), "done");
        assert_eq!(
            tasks(world, real).await[0].2,
            "library/app: 1 of 3 artifacts stay, 2 deleted, 0 left alone after all"
        );
        assert_eq!(world.tags("library/app").await, ["v2"]);
        assert_eq!(world.tags("library/other").await, ["latest"]);
        assert_eq!(world.tags("library/tool").await, ["v9"]);
    });
}

#[test]
fn a_rule_that_cannot_be_applied_fails_its_tasks_and_deletes_nothing() {
    each(async |world| {
        world.library().await;
        world.push("library/app", "latest", b"latest").await;
        let mut broken = policy();
        broken.rules[0].params.clear();
        let policy = adopt(world, broken).await;
        let id = apply(world, policy, false).await;
        assert_eq!(world.row(id).await.state.as_str(), "failed");
        assert_eq!(
            tasks(world, id).await[0].2,
            "rule 1: `params` has no `latestPushedK`"
        );
        assert_eq!(world.tags("library/app").await, ["latest"]);
    });
}

#[test]
fn an_attempt_goes_on_where_the_one_before_ended() {
    each(async |world| {
        world.library().await;
        for name in ["a", "b", "c"] {
            world.push(&format!("library/{name}"), "v1", b"same").await;
        }
        let policy = adopt(world, policy()).await;
        let job = Job::Retention {
            policy,
            dry_run: true,
        };
        let id = world.enqueue(job.clone()).await;
        let claimed = world.claim("one").await.unwrap();
        // Its node goes away when one task is made.
        let task = Job::Retain {
            policy,
            repository: model::id::RepositoryId(1),
            dry_run: true,
        };
        world
            .write(move |tx| {
                let task = task.clone();
                Box::pin(async move {
                    let now = tx.now().await?;
                    let task = jobs::New {
                        task_of: Some((id, "a")),
                        ..jobs::New::of(&task, now)
                    };
                    jobs::enqueue_new(tx, &task, now).await
                })
            })
            .await;
        let outcome = world.attempt(&claimed).await.unwrap();
        assert_eq!(
            outcome,
            Outcome::Split("2 repositories to look at".to_owned())
        );
        let told = tasks(world, id).await;
        let names: Vec<&str> = told.iter().map(|(name, ..)| name.as_str()).collect();
        assert_eq!(names, ["a", "b", "c"]);
    });
}

/// Its node stood still for longer than its lease, between the verdict and the deletion at the latest.
#[test]
fn an_attempt_whose_job_another_has_deletes_nothing() {
    each(async |world| {
        world.library().await;
        world.push("library/a", "v1", b"old").await;
        world.advance(Duration::from_secs(1));
        world.push("library/a", "v2", b"new").await;
        let policy = adopt(world, policy()).await;
        let task = Job::Retain {
            policy,
            repository: model::id::RepositoryId(1),
            dry_run: false,
        };
        world.enqueue(task).await;
        let late = world.claim("one").await.unwrap();
        world.advance(LEASE + Duration::from_secs(1));
        let now = world.claim("two").await.unwrap();
        assert_eq!((late.id, late.attempt + 1), (now.id, now.attempt));
        world.attempt(&late).await.unwrap();
        assert_eq!(world.tags("library/a").await, ["v1", "v2"]);
        world.attempt(&now).await.unwrap();
        assert_eq!(world.tags("library/a").await, ["v2"]);
    });
}
