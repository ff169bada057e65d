//! Robots and their permissions.

use db::{
    Db, projects, rights,
    robots::{self, NewRobot, Robot},
};
use model::{
    Error,
    id::{ProjectId, RobotId},
    permission::{Action, Resource},
    robot::{Permission, Scope},
};

use crate::given::{NOW, assert_kind, later, project};

fn may(scope: Scope, action: Action) -> Permission {
    Permission {
        scope,
        resource: Resource::Repository,
        action,
    }
}

async fn robot(
    db: &Db,
    project: Option<ProjectId>,
    name: &str,
    permissions: &[Permission],
) -> Robot {
    let new = NewRobot {
        project,
        name: name.parse().unwrap(),
        description: Some("builds".to_owned()),
        secret: "hash".to_owned(),
        duration: -1,
        creator: robots::Creator::User(1),
        expires_at: Some(later(60)),
        permissions: permissions.to_vec(),
    };
    let id = transact!(db, [new], |tx| robots::insert(tx, &new, "robot$it", NOW)
        .await)
    .unwrap();
    robots::find(&mut db.reader().await.unwrap(), id)
        .await
        .unwrap()
        .unwrap()
}

#[test]
fn a_robot_is_found_in_its_project_or_on_the_system() {
    testkit::on_both(async |test| {
        let (library, other) = (
            project(&test.db, "library").await,
            project(&test.db, "other").await,
        );
        let system = robot(&test.db, None, "ci", &[]).await;
        let there = robot(&test.db, Some(library.id), "ci", &[]).await;
        let elsewhere = robot(&test.db, Some(other.id), "ci", &[]).await;
        let reader = &mut *test.db.reader().await.unwrap();
        for (project, robot) in [
            (None, &system),
            (Some("library"), &there),
            (Some("other"), &elsewhere),
        ] {
            let found = robots::find_name(reader, project, "ci")
                .await
                .unwrap()
                .unwrap();
            assert_eq!(
                (found.id, found.project_name.as_deref()),
                (robot.id, project)
            );
        }
        assert!(
            robots::find_name(reader, Some("library"), "cd")
                .await
                .unwrap()
                .is_none()
        );
        assert!(
            robots::find_name(reader, Some("nowhere"), "ci")
                .await
                .unwrap()
                .is_none()
        );
        assert_eq!(
            (there.secret.as_str(), there.disabled, there.expires_at),
            ("hash", false, Some(later(60)))
        );
        let second = robots::list(reader, system.id, 1).await.unwrap();
        assert_eq!(second[0].id, there.id);
        assert_eq!(robots::list(reader, RobotId(0), 10).await.unwrap().len(), 3);
    });
}

#[test]
fn a_robots_name_is_taken_once_in_its_place() {
    testkit::on_both(async |test| {
        let library = project(&test.db, "library").await;
        for place in [None, Some(library.id)] {
            robot(&test.db, place, "ci", &[]).await;
            let new = NewRobot {
                project: place,
                name: "ci".parse().unwrap(),
                description: None,
                secret: "hash".to_owned(),
                duration: -1,
                creator: robots::Creator::User(1),
                expires_at: None,
                permissions: Vec::new(),
            };
            let outcome = transact!(test.db, [new], |tx| robots::insert(
                tx, &new, "robot$ci", NOW
            )
            .await);
            assert_kind(outcome, |error| matches!(error, Error::Conflict(_)));
        }
    });
}

#[test]
fn a_robot_may_in_a_project_what_it_has_there_and_everywhere() {
    testkit::on_both(async |test| {
        let (library, other) = (
            project(&test.db, "library").await,
            project(&test.db, "other").await,
        );
        let given = [
            may(Scope::EveryProject, Action::Pull),
            may(Scope::Project(library.id), Action::Push),
            may(Scope::System, Action::List),
        ];
        let robot = robot(&test.db, None, "ci", &given).await;
        let reader = &mut *test.db.reader().await.unwrap();
        let there = rights::of_robot(reader, robot.id, library.id)
            .await
            .unwrap();
        assert_eq!(there, [given[0], given[1]]);
        assert_eq!(
            rights::of_robot(reader, robot.id, other.id).await.unwrap(),
            [given[0]]
        );
        assert_eq!(
            robots::permissions(reader, robot.id).await.unwrap().len(),
            3
        );
    });
}

#[test]
fn each_change_of_a_robot_raises_its_version_and_ends_with_it() {
    testkit::on_both(async |test| {
        let ci = robot(
            &test.db,
            None,
            "ci",
            &[may(Scope::EveryProject, Action::Pull)],
        )
        .await;
        transact!(test.db, [ci], |tx| robots::set_secret(
            tx, &ci, "robot$ci", "new", NOW
        )
        .await)
        .unwrap();
        transact!(test.db, [ci], |tx| robots::set_disabled(
            tx, &ci, "robot$ci", true, NOW
        )
        .await)
        .unwrap();
        let now = robots::find(&mut test.db.reader().await.unwrap(), ci.id)
            .await
            .unwrap()
            .unwrap();
        assert_eq!(
            (now.secret.as_str(), now.disabled, now.version),
            ("new", true, ci.version + 2)
        );
        transact!(test.db, [ci], |tx| robots::delete(tx, &ci, "robot$ci", NOW)
            .await)
        .unwrap();
        assert!(
            robots::permissions(&mut test.db.reader().await.unwrap(), ci.id)
                .await
                .unwrap()
                .is_empty()
        );
        for outcome in [
            transact!(test.db, [ci], |tx| robots::set_secret(
                tx, &ci, "robot$ci", "x", NOW
            )
            .await),
            transact!(test.db, [ci], |tx| robots::set_disabled(
                tx, &ci, "robot$ci", true, NOW
            )
            .await),
            transact!(test.db, [ci], |tx| robots::delete(tx, &ci, "robot$ci", NOW)
                .await),
        ] {
            assert_kind(outcome, |error| matches!(error, Error::NotFound(..)));
        }
    });
}

#[test]
fn robots_and_rights_of_a_project_go_with_it() {
    testkit::on_both(async |test| {
        let library = project(&test.db, "library").await;
        let inside = robot(
            &test.db,
            Some(library.id),
            "in",
            &[may(Scope::Project(library.id), Action::Pull)],
        )
        .await;
        let outside = robot(
            &test.db,
            None,
            "out",
            &[may(Scope::Project(library.id), Action::Pull)],
        )
        .await;
        transact!(test.db, [library], |tx| projects::delete(tx, &library, NOW)
            .await)
        .unwrap();
        let reader = &mut *test.db.reader().await.unwrap();
        assert!(robots::find(reader, inside.id).await.unwrap().is_none());
        assert!(robots::find(reader, outside.id).await.unwrap().is_some());
        assert!(
            robots::permissions(reader, outside.id)
                .await
                .unwrap()
                .is_empty()
        );
        let new = NewRobot {
            project: Some(library.id),
            name: "late".parse().unwrap(),
            description: None,
            secret: "hash".to_owned(),
            duration: -1,
            creator: robots::Creator::User(1),
            expires_at: None,
            permissions: Vec::new(),
        };
        let late = transact!(test.db, [new], |tx| robots::insert(
            tx,
            &new,
            "robot$library+late",
            NOW
        )
        .await);
        assert_kind(late, |error| matches!(error, Error::NotFound(..)));
    });
}
