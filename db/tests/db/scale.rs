//! What costs what with a million jobs. These measure, so that they are run alone, by hand and in release.

use std::time::Instant;

use db::jobs::{
    self, Queue,
    executions::{self, EXECUTIONS, TASKS},
    queues,
};
use model::{
    id::{JobId, PolicyId},
    job::{Job, Kind},
    listing::Listing,
};
use testkit::TestDatabase;

const LEASE: std::time::Duration = std::time::Duration::from_secs(30);

/// Fifty executions of twenty policies with a thousand tasks each, ten thousand tasks that wait, and what goes on by itself.
async fn fill(test: &TestDatabase) {
    let db = &test.db;
    const EXECUTIONS: &str = "
        WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 1000)
        INSERT INTO jobs (kind, payload, state, priority, run_at, created_at, started_at, ended_at, subject_id, trigger_kind)
        SELECT 'retention', '{\"kind\":\"retention\",\"policy\":1,\"dry_run\":false}', 'done', 100, i, i, i, i, 1 + i % 20, 'MANUAL' FROM n";
    const TASKS: &str = "
        WITH RECURSIVE n(i) AS (SELECT $1 UNION ALL SELECT i + 1 FROM n WHERE i < $1 + 99)
        INSERT INTO jobs (kind, payload, state, priority, run_at, created_at, started_at, ended_at, subject_id, parent_id, resource)
        SELECT 'retain', '{\"kind\":\"retain\",\"policy\":1,\"repository\":1,\"dry_run\":false}', 'done', 10, n.i, n.i, n.i, n.i, j.subject_id, j.id, 'app'
          FROM jobs j CROSS JOIN n WHERE j.kind = 'retention'";
    const WAITING: &str = "
        WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 10000)
        INSERT INTO jobs (kind, payload, state, priority, run_at, created_at, subject_id)
        SELECT 'retain', '{\"kind\":\"retain\",\"policy\":1,\"repository\":1,\"dry_run\":false}', 'ready', 10, i, i, 1 FROM n";
    for sql in [EXECUTIONS, WAITING] {
        transact!(db, |tx| tx.execute(sql, &[]).await).unwrap();
    }
    // No statement may take longer than the server lets it.
    for first in (0_i64..1000).step_by(100) {
        transact!(db, |tx| tx.execute(TASKS, &[first.into()]).await).unwrap();
    }
    test.settle();
}

#[test]
#[ignore = "owner: db::jobs; it measures, so it is run alone and by hand"]
fn claiming_and_lists_stay_quick_with_a_million_jobs() {
    testkit::on_both(async |test| {
        let db = &test.db;
        fill(test).await;
        let engine = db.engine();
        let mut times = Vec::new();
        let mut time = |what: &'static str, took: std::time::Duration| times.push((what, took));
        for _ in 0..50 {
            let start = Instant::now();
            let claimed = transact!(db, |tx| jobs::claim(tx, "one", LEASE, &Queue::all()).await);
            time("claim", start.elapsed());
            let claimed = claimed.unwrap().unwrap();
            let start = Instant::now();
            transact!(db, [claimed], |tx| jobs::end(
                tx,
                claimed.id,
                claimed.attempt,
                jobs::End::Done,
                None,
                None
            )
            .await)
            .unwrap();
            time("end", start.elapsed());
            let start = Instant::now();
            let job = Job::Retention {
                policy: PolicyId(1),
                dry_run: true,
            };
            transact!(db, [job], |tx| {
                let now = tx.now().await?;
                let id = jobs::enqueue(tx, &job, now, now).await?;
                jobs::stop(tx, id).await
            })
            .unwrap();
            time("enqueue and stop", start.elapsed());
        }
        for _ in 0..50 {
            let mut reader = db.reader().await.unwrap();
            let listed = |within| EXECUTIONS.select(&Listing::default(), within).unwrap();
            let start = Instant::now();
            let all = listed(executions::of(Kind::Retention, 1));
            let total = all.total(&mut reader, None).await.unwrap();
            let page = all.page(&mut reader, 0, 10).await.unwrap();
            time("executions", start.elapsed());
            assert!(total >= 50 && page.len() == 10);
            let start = Instant::now();
            let parent = page.iter().find(|row| row.ended_at.is_some()).unwrap().id;
            let tasks = TASKS.select(&Listing::default(), executions::tasks_of(JobId(500)));
            let tasks = tasks.unwrap();
            assert_eq!(tasks.total(&mut reader, None).await.unwrap(), 1000);
            assert_eq!(tasks.page(&mut reader, 900, 100).await.unwrap().len(), 100);
            time("tasks", start.elapsed());
            assert!(parent.0 > 0);
            let start = Instant::now();
            let now = db.now().await.unwrap();
            assert_eq!(
                queues::waiting(&mut reader, now).await.unwrap().len(),
                Kind::ALL.len()
            );
            time("queues", start.elapsed());
            let start = Instant::now();
            assert_eq!(
                jobs::list(&mut reader, jobs::NEWEST, 100)
                    .await
                    .unwrap()
                    .len(),
                100
            );
            time("newest", start.elapsed());
            let start = Instant::now();
            jobs::next_due(&mut reader, &Queue::all()).await.unwrap();
            time("next due", start.elapsed());
        }
        let names = [
            "claim",
            "end",
            "enqueue and stop",
            "executions",
            "tasks",
            "queues",
            "newest",
            "next due",
        ];
        for name in names {
            let mut own: Vec<_> = times
                .iter()
                .filter(|(what, _)| *what == name)
                .map(|(_, took)| *took)
                .collect();
            own.sort_unstable();
            println!(
                "{engine}: {name}: median {:?}, slowest {:?}",
                own[own.len() / 2],
                own[own.len() - 1]
            );
            let most = if name == "claim" { 5 } else { 10 };
            let most = std::time::Duration::from_millis(most);
            assert!(own[own.len() / 2] < most, "{engine}: {name}");
        }
    });
}
