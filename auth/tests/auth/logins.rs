//! Names, passwords and secrets.

use std::time::Duration;

use auth::{Config, Subject, Via, password};
use futures_util::future::join_all;
use model::{
    permission::{Action, Resource},
    robot::Scope as Reach,
};

use crate::world::each;

/// `Harbor12345` as Harbor keeps it, made with Python's hashlib.
const HARBOR_SHA1: &str =
    "harbor:sha1:4096:k3yLm0Pq9sTuVwXyZaBcDeFgHiJkLmNo:f1a6b4677f735e61f41833c907f76f84";
const HARBOR_SHA256: &str =
    "harbor:sha256:4096:k3yLm0Pq9sTuVwXyZaBcDeFgHiJkLmNo:aa7fa8c307cc65662d475f5121c919dd";
const PULL: &[(Reach, Resource, Action)] =
    &[(Reach::EveryProject, Resource::Repository, Action::Pull)];

#[test]
fn people_sign_in_with_their_name_or_address_and_the_right_password() {
    each(async |world| {
        world.user("alice", "Harbor12345").await;
        let caller = world.login("alice", "Harbor12345").await;
        assert_eq!(
            (caller.name(), caller.via, caller.scopes.is_none()),
            ("alice", Via::Basic, true)
        );
        assert_eq!(
            world.login("alice@example.com", "Harbor12345").await.name(),
            "alice"
        );
        for (name, password) in [
            ("alice", "Harbor12346"),
            ("alice", ""),
            ("alice", &"x".repeat(2000)),
            ("alic", "Harbor12345"),
            ("", "Harbor12345"),
            (&"x".repeat(100_000), "Harbor12345"),
        ] {
            assert!(!world.is_login(name, password).await, "{name}");
        }
    });
}

#[test]
fn people_without_a_password_here_cannot_sign_in_with_one() {
    each(async |world| {
        world.user_with_hash("alice", "", false).await;
        assert!(!world.is_login("alice", "Harbor12345").await);
        assert!(!world.is_login("alice", "").await);
    });
}

#[test]
fn a_changed_password_counts_from_the_next_request_on() {
    each(async |world| {
        world.user("alice", "Harbor12345").await;
        for _ in 0..2 {
            assert!(world.is_login("alice", "Harbor12345").await);
            assert!(!world.is_login("alice", "Another12345").await);
        }
        world.change_password("alice", "Another12345").await;
        assert!(!world.is_login("alice", "Harbor12345").await);
        assert!(world.is_login("alice", "Another12345").await);
    });
}

#[test]
fn a_deleted_user_is_nobody_from_the_next_request_on() {
    each(async |world| {
        world.user("alice", "Harbor12345").await;
        assert!(world.is_login("alice", "Harbor12345").await);
        world.delete_user("alice").await;
        assert!(!world.is_login("alice", "Harbor12345").await);
        assert!(world.auth.certified("alice").await.unwrap().is_none());
    });
}

#[test]
fn harbors_hashes_are_taken_and_replaced_at_the_first_login() {
    each(async |world| {
        world.project("library", false).await;
        for (name, hash) in [("alice", HARBOR_SHA1), ("bob", HARBOR_SHA256)] {
            world.user_with_hash(name, hash, false).await;
            assert!(!world.is_login(name, "Harbor12346").await);
            assert_eq!(world.row(name).await.password.as_deref(), Some(hash));

            let caller = world.login(name, "Harbor12345").await;
            let kept = world.row(name).await.password.unwrap();
            assert!(kept.starts_with("$argon2id$"), "{kept}");
            assert_eq!(
                password::verify(&kept, "Harbor12345"),
                password::Verdict::Good
            );
            let token = world.token(&caller, "").await;
            assert_eq!(
                world.bearer(&token).await,
                name,
                "the login that replaced it can be gone on with"
            );
            assert!(world.is_login(name, "Harbor12345").await);
            assert!(!world.is_login(name, "Harbor12346").await);
        }
        world
            .robot_with("robot$library+ci", HARBOR_SHA256, None, PULL)
            .await;
        let caller = world.login("robot$library+ci", "Harbor12345").await;
        assert!(
            world
                .robot_row("robot$library+ci")
                .await
                .secret
                .starts_with("$argon2id$")
        );
        let token = world.token(&caller, "").await;
        assert_eq!(world.bearer(&token).await, "robot$library+ci");
    });
}

#[test]
fn many_logins_at_once_with_one_old_password_all_get_tokens_that_hold() {
    each(async |world| {
        world.user_with_hash("alice", HARBOR_SHA256, false).await;
        let callers = join_all((0..200).map(|_| world.login("alice", "Harbor12345"))).await;
        for caller in callers {
            let token = world.token(&caller, "").await;
            assert_eq!(world.bearer(&token).await, "alice");
        }
    });
}

#[test]
fn many_requests_with_one_password_wait_for_one_check() {
    each(async |world| {
        world.user("alice", "Harbor12345").await;
        let auth = world
            .configured(Config {
                password_hashing: 1,
                ..Config::default()
            })
            .await;
        let answers = join_all((0..300).map(|_| auth.basic("alice", "Harbor12345", None))).await;
        assert!(
            answers.into_iter().all(|answer| answer.unwrap().is_some()),
            "300 checks would be too many"
        );
    });
}

#[test]
fn nobody_learns_from_a_second_answer_whether_a_name_exists() {
    each(async |world| {
        world.user("alice", "Harbor12345").await;
        let auth = world
            .configured(Config {
                password_hashing: 1,
                ..Config::default()
            })
            .await;
        // Of both names one check is made: more would fill the queue.
        for name in ["alice", "nobody"] {
            let answers = join_all((0..300).map(|_| auth.basic(name, "Harbor12346", None))).await;
            assert!(
                answers.into_iter().all(|answer| answer.unwrap().is_none()),
                "{name}"
            );
        }
    });
}

#[test]
fn one_address_cannot_shut_the_others_out() {
    each(async |world| {
        world.user("alice", "Harbor12345").await;
        let [guesser, alice] = ["192.0.2.1", "192.0.2.2"].map(|text| text.parse().ok());
        let guesses: Vec<_> = (0..100).map(|n| format!("Harbor{n}")).collect();
        let tried = guesses
            .iter()
            .map(|guess| world.auth.basic("alice", guess, guesser));
        let mut tried = std::pin::pin!(join_all(tried));
        let login = world.auth.basic("alice", "Harbor12345", alice);
        let (answers, caller) = tokio::join!(&mut tried, login);
        assert!(caller.unwrap().is_some());
        let refused = answers
            .iter()
            .filter(|answer| matches!(answer, Err(model::Error::TooMany { .. })));
        assert_eq!(refused.count(), 100 - 16);
    });
}

#[test]
fn a_wrong_password_takes_a_while_to_be_answered_and_a_right_one_does_not_wait_for_it() {
    each(async |world| {
        world.user("alice", "Harbor12345").await;
        let from = "192.0.2.1".parse().ok();
        for name in ["alice", "nobody"] {
            let mut wrong = std::pin::pin!(world.auth.basic(name, "Harbor12346", from));
            let right = world.auth.basic("alice", "Harbor12345", from);
            tokio::select! {
                _ = &mut wrong => panic!("`{name}`: answered at once"),
                caller = right => assert!(caller.unwrap().is_some()),
            }
            assert!(wrong.await.unwrap().is_none());
        }
    });
}

#[test]
fn a_remembered_check_ends_after_a_minute() {
    each(async |world| {
        world.user("alice", "Harbor12345").await;
        assert!(world.is_login("alice", "Harbor12345").await);
        world.db.clock().advance(Duration::from_secs(61));
        assert!(world.is_login("alice", "Harbor12345").await);
        assert!(!world.is_login("alice", "Harbor12346").await);
    });
}

#[test]
fn robots_sign_in_with_their_full_name_until_disabled_expired_or_deleted() {
    each(async |world| {
        world.project("library", false).await;
        world.project("other", false).await;
        for name in ["robot$ci", "robot$library+ci"] {
            let secret = world.robot(name, PULL).await;
            let caller = world.login(name, &secret).await;
            assert_eq!(caller.name(), name);
            assert!(
                matches!(&caller.subject, Subject::Robot(robot) if robot.project.is_some() == name.contains('+'))
            );
            assert!(!world.is_login(name, "Harbor12345").await);
            assert!(!world.is_login("robot$other+ci", &secret).await);
            assert!(!world.is_login("robot$", &secret).await);
            assert!(!world.is_login("ci", &secret).await);

            world.disable_robot(name, true).await;
            assert!(!world.is_login(name, &secret).await);
            world.disable_robot(name, false).await;
            assert!(world.is_login(name, &secret).await);

            world.delete_robot(name).await;
            assert!(!world.is_login(name, &secret).await);
        }
    });
}

#[test]
fn a_robots_time_ends_without_a_write() {
    each(async |world| {
        world.project("library", false).await;
        let secret = auth::robots::new_secret().unwrap();
        let end = world.db.clock().now().plus(Duration::from_mins(10));
        world
            .robot_with("robot$library+ci", &secret.hash, Some(end), PULL)
            .await;
        let caller = world.login("robot$library+ci", &secret.text).await;
        let token = world.token(&caller, "").await;
        assert_eq!(world.bearer(&token).await, "robot$library+ci");
        world.db.clock().advance(Duration::from_mins(10));
        assert!(!world.is_login("robot$library+ci", &secret.text).await);
        assert!(
            world
                .auth
                .certified("robot$library+ci")
                .await
                .unwrap()
                .is_none()
        );
        assert_eq!(world.bearer(&token).await, "nobody");
    });
}

#[test]
fn a_certificate_names_a_user_or_robot_exactly() {
    each(async |world| {
        world.user_with_hash("alice", "", false).await;
        world.robot("robot$ci", PULL).await;
        for name in ["alice", "robot$ci"] {
            let caller = world.auth.certified(name).await.unwrap().unwrap();
            assert_eq!((caller.name(), caller.via), (name, Via::Certificate));
        }
        for name in ["Alice", "alice@example.com", "ci", "robot$other", ""] {
            assert!(
                world.auth.certified(name).await.unwrap().is_none(),
                "{name}"
            );
        }
        world.disable_robot("robot$ci", true).await;
        assert!(world.auth.certified("robot$ci").await.unwrap().is_none());
    });
}

#[test]
fn an_upload_is_bound_to_a_number_not_to_a_name() {
    each(async |world| {
        world.user("alice", "Harbor12345").await;
        let (first, id) = (
            world.login("alice", "Harbor12345").await,
            world.row("alice").await.id,
        );
        assert_eq!(first.identity(), format!("user:{id}"));
        world.delete_user("alice").await;
        world.user("alice", "Harbor12345").await;
        assert_ne!(
            world.login("alice", "Harbor12345").await.identity(),
            first.identity()
        );
        assert_eq!(auth::Caller::anonymous().identity(), "anonymous");
    });
}
