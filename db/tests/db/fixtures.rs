//! Databases as the versions before left them (`db/tests/fixtures/<version>.<engine>.sql`): each later version takes them
//! over with all that is in them.

use std::{collections::BTreeSet, fs, path::Path};

use db::{
    Conn, Db,
    artifacts::{self, details},
    audit, blobs,
    counters::{self, Counter},
    immutable, jobs, links, members, migrate, projects,
    query::Within,
    quotas, recount, repositories, retention, robots, schedules, trash, users,
};
use model::{
    id::{BlobId, RobotId},
    listing::Listing,
};

/// The versions that there are fixtures of, as in `0001.sqlite.sql`.
fn versions(directory: &Path) -> BTreeSet<String> {
    let names = fs::read_dir(directory).unwrap().map(|entry| {
        let name = entry.unwrap().file_name().into_string().unwrap();
        name.split('.').next().unwrap().to_owned()
    });
    names.collect()
}

#[test]
fn the_database_of_each_version_is_taken_over() {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures");
    let versions = versions(&directory);
    assert!(!versions.is_empty());
    for version in versions {
        testkit::on_both_empty(async |test| {
            let of = |engine| {
                fs::read_to_string(directory.join(format!("{version}.{engine}.sql"))).unwrap()
            };
            match test.sqlite() {
                Some(file) => {
                    let conn = rusqlite::Connection::open(file).unwrap();
                    conn.execute_batch(&of("sqlite")).unwrap();
                    conn.close().unwrap();
                }
                None => test.postgres().unwrap().execute(&of("postgres")),
            }
            take_over(&test.db).await;
            let reader = &mut *test.db.reader().await.unwrap();
            match version.as_str() {
                "0001" => counts_came_out_right(reader).await,
                "0002" => what_harbor_keeps_is_there(reader).await,
                _ => {
                    what_harbor_keeps_is_there(reader).await;
                    housekeeping_goes_on(reader).await;
                }
            }
        });
    }
}

/// What every fixture holds: `admin`, the project `library`, a robot, and `library/app:v1` with a config and a layer.
async fn take_over(db: &Db) {
    migrate::up(db, migrate::ALL).await.unwrap();
    let reader = &mut *db.reader().await.unwrap();
    let admin = users::get_name(reader, "admin").await.unwrap();
    assert!(admin.id.0 == 1 && admin.admin);
    let library = projects::get_name(reader, "library").await.unwrap();
    assert!(library.id.0 == 1 && library.public);
    assert_eq!(robots::list(reader, RobotId(0), 10).await.unwrap().len(), 1);
    let app = repositories::find(reader, "library/app").await.unwrap();
    let app = app.unwrap();
    let tagged = artifacts::find_tagged(reader, app.id, "v1").await.unwrap();
    let tagged = tagged.unwrap();
    let contents = blobs::list(reader, BlobId(0), 10).await.unwrap();
    assert!(contents.len() >= 3);
    for content in contents {
        let held = links::find(reader, app.id, &content.digest).await.unwrap();
        assert_eq!(held.map(|held| held.id), Some(content.id));
    }
    let children = artifacts::find(reader, app.id, &tagged.digest)
        .await
        .unwrap();
    assert_eq!(children.map(|found| found.id), Some(tagged.id));
}

/// What later versions count and the first did not, all in numbers.
async fn counts_came_out_right(reader: &mut Conn) {
    let mut numbers = async |sql| {
        let rows = reader.rows(sql, &[], |row| Ok((row.text(0)?, row.int(1)?)));
        rows.await.unwrap()
    };
    let pair = |name: &str, number| (name.to_owned(), number);
    let counters = "SELECT name || ' ' || id, CAST(SUM(n) AS BIGINT) FROM counters GROUP BY name, id ORDER BY 1";
    assert_eq!(
        numbers(counters).await,
        [
            pair("project.artifacts 1", 1),
            pair("project.bytes 1", 413),
            pair("project.repositories 1", 1),
            pair("repository.artifacts 1", 1),
        ]
    );
    let quotas =
        "SELECT p.name, q.hard FROM quotas q JOIN projects p ON p.id = q.project_id ORDER BY q.id";
    assert_eq!(
        numbers(quotas).await,
        [pair("library", -1), pair("team", -1)]
    );
    let listed = "SELECT digest, project_id FROM artifacts WHERE listed ORDER BY id";
    assert_eq!(numbers(listed).await.len(), 1);
    let members = "SELECT uid, user_id FROM members ORDER BY id";
    assert_eq!(numbers(members).await.len(), 1);
    let robots = "SELECT name, duration FROM robots ORDER BY id";
    assert_eq!(numbers(robots).await, [pair("ci", 30)]);
    let counted = "SELECT 'links', CAST(SUM(links) AS BIGINT) FROM project_blobs";
    assert_eq!(numbers(counted).await, [pair("links", 3)]);
}

/// What the second version keeps beside: people in groups, labels, rules, quotas, and totals that agree.
async fn what_harbor_keeps_is_there(reader: &mut Conn) {
    let library = projects::get_name(reader, "library").await.unwrap();
    let team = projects::get_name(reader, "team").await.unwrap();
    for project in [&library, &team] {
        let wrong = recount::find(reader, project.id).await.unwrap();
        assert!(wrong.is_exact(), "{}: {wrong}", project.name);
    }
    let quota = quotas::find(reader, team.id).await.unwrap().unwrap();
    assert_eq!(quota.hard, 1 << 30);
    let rules = immutable::rules(reader, library.id).await.unwrap();
    assert!(rules.hold("library/app", "v1") && !rules.hold("library/app", "latest"));
    let app = repositories::find(reader, "library/app").await.unwrap();
    let app = app.unwrap();
    let tagged = details::find_tagged(reader, app.id, "v1").await.unwrap();
    let tagged = tagged.unwrap();
    assert_eq!(tagged.kind.as_deref(), Some("IMAGE"));
    let labels = details::labels(reader, &[tagged.id]).await.unwrap();
    assert_eq!(labels[0].name, "good");
    let attached = details::accessories(reader, &[tagged.id]).await.unwrap();
    assert_eq!(attached[0].subject, Some(tagged.id));
    let members = members::count(reader, team.id).await.unwrap();
    assert_eq!(members.values().sum::<i64>(), 3);
    let all = counters::value(reader, Counter::Audit(None)).await.unwrap();
    let whole = audit::list::LIST.select(&Listing::default(), Within::all());
    let counted = whole.unwrap().total(reader, None).await.unwrap();
    assert_eq!(all, counted);
}

/// What the third version keeps beside: a policy with its schedule, executions with tasks and logs, a paused queue, and the trash.
async fn housekeeping_goes_on(reader: &mut Conn) {
    let library = projects::get_name(reader, "library").await.unwrap();
    let stored = retention::of_project(reader, library.id).await.unwrap();
    assert_eq!(stored.unwrap().policy.rules.len(), 1);
    let whole = Listing::default();
    let all = schedules::LIST.select(&whole, Within::all()).unwrap();
    let all = all.page(reader, 0, 10).await.unwrap();
    let crons: Vec<_> = all.iter().map(|one| one.cron.as_str()).collect();
    assert_eq!(crons, ["0 0 3 * * *", "0 0 0 * * 0"]);
    let paused = jobs::queues::paused(reader).await.unwrap();
    assert_eq!(paused, ["scrub"]);
    let ran = jobs::executions::EXECUTIONS
        .select(&whole, Within::all())
        .unwrap();
    let ran = ran.page(reader, 0, 10).await.unwrap();
    assert!(ran.len() >= 2 && ran.iter().all(|one| one.ended_at.is_some()));
    let items = trash::LIST.select(&whole, Within::all()).unwrap();
    let items = items.page(reader, 0, 10).await.unwrap();
    assert_eq!(items.len(), 1);
    let tags = trash::tags(reader, &[items[0].id], 10).await.unwrap();
    assert_eq!(tags, [(items[0].id, "gone".to_owned())]);
    let past = trash::projects::LIST.select(&whole, Within::all()).unwrap();
    let past = past.page(reader, 0, 10).await.unwrap();
    assert_eq!(past[0].name, "past");
}
