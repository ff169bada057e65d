//! Who may do what in which project.

use auth::{Caller, Config, scope_allows};
use model::{
    id::ProjectId,
    permission::{Action, Resource},
    robot::Scope as Reach,
    role::Role,
};

use crate::world::{each, scopes_of};

#[test]
fn roles_and_visibility_say_what_a_person_may_do_with_images() {
    each(async |world| {
        world.user("alice", "Harbor12345").await;
        world.admin("boss").await;
        world.project("private", false).await;
        world.project("public", true).await;
        let (alice, boss) = (
            world.login("alice", "Harbor12345").await,
            world.login("boss", "Harbor12345").await,
        );
        for (role, expected) in [
            (None, ""),
            (Some(Role::LimitedGuest), "pull"),
            (Some(Role::Guest), "pull"),
            (Some(Role::Developer), "pull,push"),
            (Some(Role::Maintainer), "pull,push,delete"),
            (Some(Role::ProjectAdmin), "pull,push,delete"),
        ] {
            if role.is_some() {
                world.member("private", "alice", role).await;
            }
            assert_eq!(world.images(&alice, "private").await, expected, "{role:?}");
        }
        assert_eq!(world.images(&alice, "public").await, "pull");
        assert_eq!(world.images(&Caller::anonymous(), "public").await, "pull");
        assert_eq!(world.images(&Caller::anonymous(), "private").await, "");
        assert_eq!(world.images(&boss, "private").await, "pull,push,delete");
        let rights = world.rights(&boss, "private").await.unwrap();
        assert!(
            rights.may(Resource::Project, Action::Delete)
                && rights.may(Resource::TagRetention, Action::Operate)
        );
        assert!(!rights.may(Resource::Repository, Action::ScannerPull));
        for caller in [&alice, &boss, &Caller::anonymous()] {
            assert_eq!(world.images(caller, "missing").await, "no project");
        }
    });
}

#[test]
fn what_changes_is_seen_by_the_next_request() {
    each(async |world| {
        world.user("alice", "Harbor12345").await;
        let id = world.project("library", false).await;
        let (alice, anonymous) = (
            world.login("alice", "Harbor12345").await,
            Caller::anonymous(),
        );
        assert_eq!(world.images(&alice, "library").await, "");
        world
            .member("library", "alice", Some(Role::Developer))
            .await;
        assert_eq!(world.images(&alice, "library").await, "pull,push");
        world.member("library", "alice", Some(Role::Guest)).await;
        assert_eq!(world.images(&alice, "library").await, "pull");
        world.member("library", "alice", None).await;
        assert_eq!(world.images(&alice, "library").await, "");

        assert_eq!(world.images(&anonymous, "library").await, "");
        world.set_public("library", true).await;
        assert_eq!(world.images(&anonymous, "library").await, "pull");
        world.set_public("library", false).await;
        assert_eq!(world.images(&anonymous, "library").await, "");

        assert_eq!(world.rights(&alice, "library").await.unwrap().project, id);
        world.delete_project("library").await;
        assert_eq!(world.images(&alice, "library").await, "no project");
        let again = world.project("library", false).await;
        assert_ne!(again, id);
        assert_eq!(
            world.rights(&alice, "library").await.unwrap().project,
            again
        );

        world.set_admin("alice", true).await;
        assert_eq!(
            world
                .images(&world.login("alice", "Harbor12345").await, "library")
                .await,
            "pull,push,delete"
        );
        world.set_admin("alice", false).await;
        assert_eq!(
            world
                .images(&world.login("alice", "Harbor12345").await, "library")
                .await,
            ""
        );
    });
}

#[test]
fn another_nodes_write_is_seen_by_the_next_request() {
    each(async |world| {
        let Some((db, other)) = world.second_node().await else {
            return;
        };
        world.user("alice", "Harbor12345").await;
        world.project("library", false).await;
        world
            .member("library", "alice", Some(Role::Developer))
            .await;
        let may_push = async || {
            let alice = other.basic("alice", "Harbor12345", None).await.unwrap()?;
            Some(
                other
                    .standing(&alice, "library")
                    .await
                    .unwrap()?
                    .may(Resource::Repository, Action::Push),
            )
        };
        assert_eq!(may_push().await, Some(true));
        world.member("library", "alice", None).await;
        assert_eq!(may_push().await, Some(false));
        world.change_password("alice", "Another12345").await;
        assert_eq!(may_push().await, None);
        db.close().await;
    });
}

#[test]
fn without_anonymous_access_a_public_project_is_for_those_who_sign_in() {
    each(async |world| {
        world.user("alice", "Harbor12345").await;
        world.project("public", true).await;
        let auth = world
            .configured(Config {
                anonymous: false,
                ..Config::default()
            })
            .await;
        let alice = auth
            .basic("alice", "Harbor12345", None)
            .await
            .unwrap()
            .unwrap();
        let may_pull = async |caller| {
            let rights = auth.standing(caller, "public").await.unwrap().unwrap();
            rights.may(Resource::Repository, Action::Pull)
        };
        assert!(may_pull(&alice).await);
        assert!(!may_pull(&Caller::anonymous()).await);
    });
}

#[test]
fn robots_may_what_their_permissions_say() {
    each(async |world| {
        let mine = world.project("mine", false).await;
        world.project("other", false).await;
        world.project("public", true).await;
        let on =
            |project: ProjectId, action| (Reach::Project(project), Resource::Repository, action);
        let every = |action| (Reach::EveryProject, Resource::Repository, action);
        let system = (Reach::System, Resource::AuditLog, Action::List);
        #[rustfmt::skip]
        let table = [
            // name, permissions, then images in `mine`, `other`, `public`
            ("robot$mine+pull", vec![on(mine, Action::Pull)],         "pull",      "",          "pull"),
            ("robot$mine+push", vec![on(mine, Action::Push)],         "pull,push", "",          "pull"),
            ("robot$push",      vec![on(mine, Action::Push)],         "push",      "",          "pull"),
            ("robot$all",       vec![every(Action::Pull), every(Action::Push), system], "pull,push", "pull,push", "pull,push"),
            ("robot$system",    vec![system],                         "",          "",          ""),
        ];
        for (name, permissions, in_mine, in_other, in_public) in table {
            let secret = world.robot(name, &permissions).await;
            let robot = world.login(name, &secret).await;
            for (project, expected) in [
                ("mine", in_mine),
                ("other", in_other),
                ("public", in_public),
            ] {
                assert_eq!(
                    world.images(&robot, project).await,
                    expected,
                    "{name} in {project}"
                );
            }
            assert_eq!(world.images(&robot, "missing").await, "no project");
        }
    });
}

#[test]
fn the_catalog_is_for_administrators_and_robots_that_were_given_it_but_never_for_a_token() {
    each(async |world| {
        world.user("alice", "Harbor12345").await;
        world.admin("boss").await;
        world.project("library", false).await;
        let catalog = &[(Reach::System, Resource::Catalog, Action::Read)];
        let (may, may_not) = (
            world.robot("robot$may", catalog).await,
            world.robot("robot$may-not", &[]).await,
        );
        let boss = world.login("boss", "Harbor12345").await;
        let token = world.token(&boss, "registry:catalog:*").await;
        let with_token = world.by_token(&token).await.unwrap();
        for (caller, expected) in [
            (boss, true),
            (world.login("robot$may", &may).await, true),
            (world.login("robot$may-not", &may_not).await, false),
            (world.login("alice", "Harbor12345").await, false),
            (Caller::anonymous(), false),
            (with_token, false),
        ] {
            let may = world
                .auth
                .may_on_system(&caller, Resource::Catalog, Action::Read)
                .await
                .unwrap();
            assert_eq!(may, expected, "{} via {:?}", caller.name(), caller.via);
        }
    });
}

#[test]
fn a_token_reaches_what_it_names_and_nothing_else() {
    let with = |scopes| Caller {
        scopes: Some(scopes_of(scopes).into()),
        ..Caller::anonymous()
    };
    for (scopes, repository, action, expected) in [
        ("repository:lib/x:pull", "lib/x", "pull", true),
        ("repository:lib/x:pull", "lib/x", "push", false),
        ("repository:lib/x:pull", "lib/y", "pull", false),
        ("repository:lib/x:pull", "lib/x/y", "pull", false),
        (
            "repository:lib/x:pull,push repository:lib/y:pull",
            "lib/y",
            "pull",
            true,
        ),
        (
            "repository:lib/x:pull,push repository:lib/y:pull",
            "lib/y",
            "push",
            false,
        ),
        ("repository:lib/x:*", "lib/x", "delete", true),
        ("registry:lib/x:pull", "lib/x", "pull", false),
        ("", "lib/x", "pull", false),
    ] {
        assert_eq!(
            scope_allows(&with(scopes), repository, action),
            expected,
            "{scopes}: {action} {repository}"
        );
    }
    assert!(
        scope_allows(&Caller::anonymous(), "lib/x", "push"),
        "without a token nothing is narrowed"
    );
}
