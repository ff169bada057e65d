//! Pulls and the series of what went on.

use std::time::Duration;

use db::{
    Db,
    activity::{self, Counts, Of, Place, Point, Pulled, Span},
};
use model::{
    id::{ArtifactId, RepositoryId},
    time::Timestamp,
};

use crate::given::{manifest, repository, tag};

const DAY: i64 = 86_400;
/// A Monday at 10:20.
const AT: Timestamp = Timestamp(1_767_608_400_000_000);

fn counts(pushes: i64, pulls: i64) -> Counts {
    Counts {
        pushes,
        pulls,
        bytes_in: pushes * 100,
        bytes_out: pulls * 1000,
    }
}

async fn place(db: &Db, name: &'static str) -> Place {
    let held = transact!(db, |tx| activity::hold(tx, &[name, "no/such"]).await).unwrap();
    assert_eq!(held.len(), 1);
    held[0].clone()
}

async fn add(db: &Db, place: &Place, counts: Counts, now: Timestamp) {
    let added = vec![(place.clone(), counts)];
    transact!(db, [added], |tx| activity::add(tx, &added, now).await).unwrap();
}

async fn series(db: &Db, of: Of, span: Span) -> Vec<Point> {
    let mut reader = db.reader().await.unwrap();
    activity::series(&mut reader, of, span, 0, i64::MAX)
        .await
        .unwrap()
}

fn point(starts_at: i64, counts: Counts) -> Point {
    Point { starts_at, counts }
}

#[test]
fn what_goes_on_is_added_up_for_repository_project_and_system() {
    testkit::on_both(async |test| {
        repository(&test.db, "library/app").await;
        repository(&test.db, "library/web").await;
        let (app, web) = (
            place(&test.db, "library/app").await,
            place(&test.db, "library/web").await,
        );
        add(&test.db, &app, counts(1, 10), AT).await;
        add(
            &test.db,
            &app,
            counts(0, 5),
            AT.plus(Duration::from_mins(10)),
        )
        .await;
        add(
            &test.db,
            &web,
            counts(2, 0),
            AT.plus(Duration::from_hours(1)),
        )
        .await;
        let hour = AT.seconds() / 3600 * 3600;
        let of_app = [point(hour, counts(1, 15))];
        let both = [point(hour, counts(1, 15)), point(hour + 3600, counts(2, 0))];
        assert_eq!(
            series(
                &test.db,
                Of::Repository(app.project, app.repository),
                Span::Hour
            )
            .await,
            of_app
        );
        assert_eq!(series(&test.db, Of::System, Span::Hour).await, both);
        let project = Of::Project(app.project);
        assert_eq!(series(&test.db, project, Span::Hour).await, both);
        assert_eq!(
            series(&test.db, project, Span::Day).await,
            [point(hour / DAY * DAY, counts(3, 15))]
        );
        let mut reader = test.db.reader().await.unwrap();
        let first = activity::series(&mut reader, project, Span::Hour, hour, hour + 3600).await;
        assert_eq!(first.unwrap(), both[..1]);
    });
}

#[test]
fn old_hours_are_folded_and_old_days_dropped() {
    testkit::on_both(async |test| {
        repository(&test.db, "library/app").await;
        let app = place(&test.db, "library/app").await;
        let of = Of::Repository(app.project, app.repository);
        for hours in [0, 1, 30] {
            add(
                &test.db,
                &app,
                counts(1, 1),
                AT.plus(Duration::from_hours(hours)),
            )
            .await;
        }
        let day = AT.seconds() / DAY * DAY;
        let days = [point(day, counts(2, 2)), point(day + DAY, counts(1, 1))];
        assert_eq!(series(&test.db, of, Span::Day).await, days);
        // In small steps, one of which ends in the middle of a day: what is read stays the same.
        let before = AT.plus(Duration::from_hours(24));
        let mut folded = Vec::new();
        for _ in 0..3 {
            folded.push(transact!(test.db, |tx| activity::fold(tx, before, 4).await).unwrap());
            assert_eq!(series(&test.db, of, Span::Day).await, days);
        }
        assert_eq!(folded, [4, 2, 0]);
        assert_eq!(series(&test.db, of, Span::Hour).await.len(), 1);
        let before = AT.plus(Duration::from_hours(24));
        let gone = transact!(test.db, |tx| activity::trim(tx, before, 2).await).unwrap();
        assert_eq!(gone, 2);
        let gone = transact!(test.db, |tx| activity::trim(tx, before, 2).await).unwrap();
        assert_eq!(gone, 1);
        assert_eq!(series(&test.db, of, Span::Day).await, days[1..]);
    });
}

async fn number(db: &Db, sql: &'static str, id: i64) -> Option<i64> {
    let mut reader = db.reader().await.unwrap();
    reader
        .row(sql, &[id.into()], |row| row.opt_int(0))
        .await
        .unwrap()
        .unwrap()
}

#[test]
fn a_pull_is_told_by_repository_artifact_tag_and_index() {
    testkit::on_both(async |test| {
        let app = repository(&test.db, "library/app").await;
        let child = manifest(&test.db, app, 1, &[], &[]).await;
        let index = manifest(&test.db, app, 2, &[], &[child]).await;
        let other = manifest(&test.db, app, 3, &[], &[]).await;
        tag(&test.db, app, "v1", child, 1).await;
        tag(&test.db, app, "moved", other, 3).await;
        let one = |artifact: ArtifactId, tag: Option<&str>, at: i64| Pulled {
            repository: app.id,
            artifact,
            tag: tag.map(str::to_owned),
            at: Timestamp(at),
        };
        let pulled = vec![
            one(child, None, 500),
            one(child, Some("v1"), 400),
            one(child, Some("moved"), 450),
            one(child, Some("gone"), 450),
        ];
        let seen = test.db.generations().of(app.id);
        for _ in 0..2 {
            let pulled = pulled.clone();
            transact!(test.db, [pulled], |tx| {
                activity::add_pulls(tx, &[(app.id, 2), (RepositoryId(9999), 1)]).await?;
                activity::set_pulled(tx, &pulled).await
            })
            .unwrap();
        }
        // An earlier pull that another node tells of later takes nothing back.
        let late = vec![one(child, Some("v1"), 300)];
        transact!(test.db, [late], |tx| activity::set_pulled(tx, &late).await).unwrap();
        assert_eq!(
            number(
                &test.db,
                "SELECT pulls FROM repositories WHERE id = $1",
                app.id.0
            )
            .await,
            Some(4)
        );
        assert_eq!(
            number(
                &test.db,
                "SELECT pulled_at FROM repositories WHERE id = $1",
                app.id.0
            )
            .await,
            Some(500)
        );
        let artifact = "SELECT pulled_at FROM artifacts WHERE id = $1";
        assert_eq!(number(&test.db, artifact, child.0).await, Some(500));
        assert_eq!(number(&test.db, artifact, index.0).await, Some(500));
        assert_eq!(number(&test.db, artifact, other.0).await, None);
        let tag = "SELECT pulled_at FROM tags WHERE repository_id = $1 AND name = 'v1'";
        assert_eq!(number(&test.db, tag, app.id.0).await, Some(400));
        let tag = "SELECT pulled_at FROM tags WHERE repository_id = $1 AND name = 'moved'";
        assert_eq!(number(&test.db, tag, app.id.0).await, None);
        // What pulls remember is read on as it is.
        assert_eq!(test.db.generations().of(app.id), seen);
    });
}
