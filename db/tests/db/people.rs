//! Users, projects, members, facts, keys.

use db::{facts, keys, members, projects, repositories, rights, users};
use model::{Error, role::Role};
use oci::name::RepoName;

use crate::given::{NOW, assert_kind, changes, later, project, user};

#[test]
fn a_user_is_found_by_number_name_and_address() {
    testkit::on_both(async |test| {
        let bob = user(&test.db, "bob").await;
        let reader = &mut *test.db.reader().await.unwrap();
        assert_eq!(
            users::find(reader, bob.id).await.unwrap().unwrap().name,
            "bob"
        );
        assert_eq!(
            users::find_login(reader, "bob").await.unwrap().unwrap().id,
            bob.id
        );
        assert_eq!(
            users::find_login(reader, "bob@example.com")
                .await
                .unwrap()
                .unwrap()
                .id,
            bob.id
        );
        assert!(users::find_login(reader, "Bob").await.unwrap().is_none());
        assert!(users::find_login(reader, "bob\0").await.unwrap().is_none());
        assert_kind(users::get_name(reader, "eve").await, |error| {
            matches!(error, Error::NotFound(..))
        });
    });
}

#[test]
fn the_first_user_and_project_are_number_1_however_many_starts_came_to_nothing() {
    testkit::on_both(async |test| {
        let first = users::NewUser {
            name: "admin".parse().unwrap(),
            email: None,
            realname: None,
            comment: None,
            password: None,
            admin: true,
        };
        let start = async |fails: bool| {
            transact!(test.db, [first], |tx| {
                if !users::is_first(tx).await? {
                    return Ok(None);
                }
                let admin = users::insert(tx, &first, NOW).await?;
                let library = projects::NewProject::named("library".parse()?, admin);
                let library = projects::insert(tx, &library, NOW).await?;
                if fails {
                    return Err(Error::Precondition("a start that was cut".to_owned()));
                }
                Ok(Some((admin.0, library.0)))
            })
        };
        start(true).await.unwrap_err();
        let (one, two) = tokio::join!(start(false), start(false));
        let made: Vec<_> = [one.unwrap(), two.unwrap()].into_iter().flatten().collect();
        assert_eq!(made, [(1, 1)]);
    });
}

#[test]
fn a_name_goes_before_somebody_elses_address() {
    testkit::on_both(async |test| {
        let mut bob = users::NewUser {
            name: "bob".parse().unwrap(),
            email: Some("shared".to_owned()),
            realname: None,
            comment: None,
            password: None,
            admin: false,
        };
        transact!(test.db, [bob], |tx| users::insert(tx, &bob, NOW).await).unwrap();
        bob.name = "shared".parse().unwrap();
        bob.email = None;
        let shared = transact!(test.db, [bob], |tx| users::insert(tx, &bob, NOW).await).unwrap();
        let found = users::find_login(&mut test.db.reader().await.unwrap(), "shared")
            .await
            .unwrap();
        assert_eq!(found.unwrap().id, shared);
    });
}

#[test]
fn a_name_and_an_address_are_taken_once_and_free_after_deletion() {
    testkit::on_both(async |test| {
        let bob = user(&test.db, "bob").await;
        let again = users::NewUser {
            name: "bob".parse().unwrap(),
            email: None,
            realname: None,
            comment: None,
            password: None,
            admin: false,
        };
        let same_address = users::NewUser {
            name: "robert".parse().unwrap(),
            email: bob.email.clone(),
            ..again.clone()
        };
        for new in [again.clone(), same_address] {
            let outcome = transact!(test.db, [new], |tx| users::insert(tx, &new, NOW).await);
            assert_kind(outcome, |error| matches!(error, Error::Conflict(_)));
        }
        transact!(test.db, [bob], |tx| users::delete(tx, &bob, NOW).await).unwrap();
        assert!(
            users::find(&mut test.db.reader().await.unwrap(), bob.id)
                .await
                .unwrap()
                .is_none()
        );
        let next = transact!(test.db, [again], |tx| users::insert(tx, &again, NOW).await).unwrap();
        assert_ne!(next, bob.id);
        // What is gone can be neither changed nor deleted again.
        for outcome in [
            transact!(test.db, [bob], |tx| users::set_password(
                tx, &bob, "new", NOW
            )
            .await),
            transact!(test.db, [bob], |tx| users::set_admin(tx, &bob, true, NOW)
                .await),
            transact!(test.db, [bob], |tx| users::delete(tx, &bob, NOW).await),
        ] {
            assert_kind(outcome, |error| matches!(error, Error::NotFound(..)));
        }
        assert_eq!(
            changes(&test.db).await,
            ["user.created bob", "user.deleted bob", "user.created bob"]
        );
    });
}

#[test]
fn each_change_of_a_user_raises_the_version() {
    testkit::on_both(async |test| {
        let bob = user(&test.db, "bob").await;
        let before = test.db.generations().rights();
        transact!(test.db, [bob], |tx| users::set_password(
            tx, &bob, "new", NOW
        )
        .await)
        .unwrap();
        transact!(test.db, [bob], |tx| users::set_admin(tx, &bob, true, NOW)
            .await)
        .unwrap();
        let now = users::find(&mut test.db.reader().await.unwrap(), bob.id)
            .await
            .unwrap()
            .unwrap();
        assert_eq!(
            (now.password.as_deref(), now.admin, now.version),
            (Some("new"), true, bob.version + 2)
        );
        assert_eq!(test.db.generations().rights(), before + 2);
    });
}

#[test]
fn users_are_listed_by_the_bytes_of_their_names() {
    testkit::on_both(async |test| {
        let sorted = [
            "-x", "A", "Z", "_x", "a", "a-b", "a.b", "aa", "z", "Ä", "ä", "日本",
        ];
        for name in [
            "ä", "a", "Z", "_x", "日本", "A", "aa", "-x", "a.b", "z", "a-b", "Ä",
        ] {
            user(&test.db, name).await;
        }
        let reader = &mut *test.db.reader().await.unwrap();
        for (index, name) in sorted.iter().enumerate() {
            let after = users::list(reader, name, 100).await.unwrap();
            let names: Vec<_> = after.into_iter().map(|user| user.name).collect();
            assert_eq!(names, sorted[index + 1..]);
        }
        let page = users::list(reader, "", 3).await.unwrap();
        assert_eq!(
            page.into_iter().map(|user| user.name).collect::<Vec<_>>(),
            sorted[..3]
        );
    });
}

#[test]
fn a_project_is_made_once_shown_hidden_and_deleted() {
    testkit::on_both(async |test| {
        let library = project(&test.db, "library").await;
        let again = projects::NewProject::named("library".parse().unwrap(), library.owner);
        let outcome = transact!(test.db, [again], |tx| projects::insert(tx, &again, NOW)
            .await);
        assert_kind(outcome, |error| matches!(error, Error::Conflict(_)));

        transact!(test.db, [library], |tx| projects::set_public(
            tx, &library, true, NOW
        )
        .await)
        .unwrap();
        let standing = rights::standing(&mut test.db.reader().await.unwrap(), "library", None)
            .await
            .unwrap();
        assert!(standing.unwrap().public);

        transact!(test.db, [library], |tx| projects::delete(tx, &library, NOW)
            .await)
        .unwrap();
        for outcome in [
            transact!(test.db, [library], |tx| projects::set_public(
                tx, &library, true, NOW
            )
            .await),
            transact!(test.db, [library], |tx| projects::delete(tx, &library, NOW)
                .await),
        ] {
            assert_kind(outcome, |error| matches!(error, Error::NotFound(..)));
        }
        let reader = &mut *test.db.reader().await.unwrap();
        assert!(
            projects::find_name(reader, "library")
                .await
                .unwrap()
                .is_none()
        );
        assert!(
            rights::standing(reader, "library", None)
                .await
                .unwrap()
                .is_none()
        );
        assert!(project(&test.db, "library").await.id > library.id);
    });
}

#[test]
fn a_project_with_repositories_stays() {
    testkit::on_both(async |test| {
        crate::given::repository(&test.db, "library/app").await;
        let reader = &mut *test.db.reader().await.unwrap();
        let library = projects::get_name(reader, "library").await.unwrap();
        let outcome = transact!(test.db, [library], |tx| projects::delete(tx, &library, NOW)
            .await);
        assert_kind(outcome, |error| matches!(error, Error::Precondition(_)));
    });
}

#[test]
fn nothing_is_added_to_a_project_that_was_deleted() {
    testkit::on_both(async |test| {
        let (bob, gone) = (user(&test.db, "bob").await, project(&test.db, "gone").await);
        transact!(test.db, [gone], |tx| projects::delete(tx, &gone, NOW).await).unwrap();
        let name: RepoName = "gone/app".parse().unwrap();
        let repository = transact!(test.db, [name], |tx| repositories::ensure(
            tx, gone.id, &name, NOW
        )
        .await);
        assert_kind(repository, |error| matches!(error, Error::NotFound(..)));
        let member = transact!(test.db, [gone, bob], |tx| members::set(
            tx,
            &gone,
            &bob,
            Role::Guest,
            NOW
        )
        .await);
        assert_kind(member, |error| matches!(error, Error::NotFound(..)));
    });
}

#[test]
fn a_member_has_one_role_until_removed() {
    testkit::on_both(async |test| {
        let (library, bob) = (
            project(&test.db, "library").await,
            user(&test.db, "bob").await,
        );
        for role in [Role::Guest, Role::Maintainer] {
            transact!(test.db, [library, bob], |tx| members::set(
                tx, &library, &bob, role, NOW
            )
            .await)
            .unwrap();
        }
        {
            let reader = &mut *test.db.reader().await.unwrap();
            let listed = members::list(reader, &library, "alice", 10).await.unwrap();
            assert_eq!(listed.len(), 1);
            assert_eq!(
                (listed[0].entity, listed[0].role),
                (members::Entity::User(bob.id), Role::Maintainer)
            );
            assert!(
                members::list(reader, &library, "bob", 10)
                    .await
                    .unwrap()
                    .is_empty()
            );
            let standing = rights::standing(reader, "library", Some(bob.id))
                .await
                .unwrap()
                .unwrap();
            assert_eq!(
                (standing.project, standing.roles),
                (library.id, vec![Role::Maintainer])
            );
            let alice = rights::standing(reader, "library", Some(library.owner))
                .await
                .unwrap()
                .unwrap();
            assert_eq!(alice.roles, [Role::ProjectAdmin]);
        }
        transact!(test.db, [library, bob], |tx| members::remove(
            tx, &library, &bob, NOW
        )
        .await)
        .unwrap();
        let again = transact!(test.db, [library, bob], |tx| members::remove(
            tx, &library, &bob, NOW
        )
        .await);
        assert_kind(again, |error| matches!(error, Error::NotFound(..)));
    });
}

#[test]
fn who_was_deleted_is_no_member_any_more() {
    testkit::on_both(async |test| {
        let (library, bob) = (
            project(&test.db, "library").await,
            user(&test.db, "bob").await,
        );
        transact!(test.db, [library, bob], |tx| members::set(
            tx,
            &library,
            &bob,
            Role::Guest,
            NOW
        )
        .await)
        .unwrap();
        transact!(test.db, [bob], |tx| users::delete(tx, &bob, NOW).await).unwrap();
        let listed = members::list(&mut test.db.reader().await.unwrap(), &library, "alice", 10)
            .await
            .unwrap();
        assert!(listed.is_empty());
        let again = transact!(test.db, [library, bob], |tx| members::set(
            tx,
            &library,
            &bob,
            Role::Guest,
            NOW
        )
        .await);
        assert_kind(again, |error| matches!(error, Error::NotFound(..)));
    });
}

#[test]
fn facts_are_settled_once() {
    testkit::on_both(async |test| {
        let first = transact!(test.db, |tx| facts::settle(tx, facts::STORE_ID, "one")
            .await)
        .unwrap();
        let second = transact!(test.db, |tx| facts::settle(tx, facts::STORE_ID, "two")
            .await)
        .unwrap();
        assert_eq!((first.as_str(), second.as_str()), ("one", "one"));
        transact!(test.db, |tx| facts::set(tx, facts::STORE_ID, "three").await).unwrap();
        let reader = &mut *test.db.reader().await.unwrap();
        assert_eq!(
            facts::find(reader, facts::STORE_ID)
                .await
                .unwrap()
                .as_deref(),
            Some("three")
        );
        assert_eq!(facts::find(reader, facts::DATABASE_ID).await.unwrap(), None);
    });
}

#[test]
fn nodes_that_start_at_once_settle_on_one_fact() {
    testkit::on_both(async |test| {
        let settle = async |value: &'static str| {
            transact!(test.db, |tx| facts::settle(tx, facts::DATABASE_ID, value)
                .await)
            .unwrap()
        };
        let (a, b, c, d) = tokio::join!(settle("a"), settle("b"), settle("c"), settle("d"));
        assert!(
            [&b, &c, &d].into_iter().all(|told| *told == a),
            "{a} {b} {c} {d}"
        );
    });
}

#[test]
fn keys_of_a_purpose_come_newest_first() {
    testkit::on_both(async |test| {
        for (id, at) in [("k1", NOW), ("k2", later(1))] {
            let key = keys::Key {
                id: id.to_owned(),
                private: "sealed".to_owned(),
                public: "open".to_owned(),
                retired_at: None,
            };
            transact!(test.db, [key], |tx| keys::insert(tx, "token", &key, at)
                .await)
            .unwrap();
        }
        let listed = keys::list(&mut test.db.reader().await.unwrap(), "token")
            .await
            .unwrap();
        assert_eq!(
            listed.iter().map(|key| key.id.as_str()).collect::<Vec<_>>(),
            ["k2", "k1"]
        );
        assert!(
            listed
                .iter()
                .all(|key| key.private == "sealed" && key.retired_at.is_none())
        );
        assert!(
            keys::list(&mut test.db.reader().await.unwrap(), "other")
                .await
                .unwrap()
                .is_empty()
        );
    });
}
