//! The key file is changed under nodes that serve.

use std::{fs, time::Duration};

use auth::{Auth, Config, Followed, Keyring, SecretKey};
use db::{facts, keys, nodes, settings};
use model::settings::parse;
use serde_json::json;

use crate::world::{World, each};

/// A node with key files of its own, as they are beside the world's now.
async fn node(world: &World<'_>, name: &str) -> (Auth, Keyring) {
    let folder = world.directory.path().join(name);
    fs::create_dir(&folder).unwrap();
    let path = folder.join("secretkey");
    fs::copy(world.directory.path().join("secretkey"), &path).unwrap();
    let ring = Keyring::open(&path, None).unwrap();
    let auth = Auth::open(world.db.clone(), ring.clone(), Config::default());
    (auth.await.unwrap(), ring)
}

async fn settle(world: &World<'_>) {
    let fingerprint = world.key.fingerprint();
    world
        .write(move |tx, now| {
            let fingerprint = fingerprint.clone();
            Box::pin(async move {
                let other = testkit::node("other", "run", now);
                nodes::enter(tx, &other, None, true).await?;
                facts::settle(tx, facts::KEY_FINGERPRINT, &fingerprint).await
            })
        })
        .await;
}

async fn keep_password(world: &World<'_>, auth: &Auth, password: &str) {
    let wanted = json!({ "email_password": password });
    let (auth, wanted) = (auth.clone(), parse(wanted.as_object().unwrap()).unwrap());
    world
        .write(move |tx, now| {
            let (auth, wanted) = (auth.clone(), wanted.clone());
            Box::pin(async move {
                let sealed = auth.sealed(tx, wanted).await?;
                settings::set_all(tx, &sealed, now).await
            })
        })
        .await;
}

async fn password(world: &World<'_>, auth: &Auth) -> String {
    let kept = world.db.settings().await.unwrap();
    auth.password(&kept, "email_password").unwrap().unwrap()
}

/// What the other node says of itself, without its process.
async fn tell(world: &World<'_>, auth: &Auth) {
    let next_key = auth.next_secret_key().unwrap_or_default();
    world
        .write(move |tx, now| {
            let next_key = next_key.clone();
            Box::pin(async move {
                let sign = nodes::Sign {
                    name: "other",
                    run: "run",
                    state: "ready",
                    clock_offset: 0,
                    next_key: &next_key,
                };
                nodes::see(tx, &sign, now).await
            })
        })
        .await;
}

#[test]
fn the_key_is_changed_once_every_node_has_the_next_and_nothing_is_lost_on_the_way() {
    each(async |world| {
        settle(world).await;
        world.user("alice", "Harbor12345").await;
        let (other, ring) = node(world, "other").await;
        let token = world
            .token(&world.login("alice", "Harbor12345").await, "")
            .await;
        keep_password(world, &world.auth, "geheim").await;
        let old = world.key.fingerprint();

        if !world.db.is_exclusive() {
            let error = world.auth.rotate_secret_key(false).await.unwrap_err();
            let text = error.to_string();
            assert!(text.contains("`other` on elsewhere"), "{text}");
            assert!(text.contains("secretkey.next"), "{text}");
            assert_eq!(world.key.fingerprint(), old, "nothing has changed");
            assert_eq!(password(world, &other).await, "geheim");
            let next = world.directory.path().join("secretkey.next");
            fs::copy(next, ring.next_path()).unwrap();
            let followed = other.follow_secret_key().await.unwrap();
            assert_eq!(followed, Followed::Ours);
            tell(world, &other).await;
        }
        let new = world.auth.rotate_secret_key(false).await.unwrap();
        assert_ne!(old, new);
        assert_eq!(world.key.fingerprint(), new);
        assert_eq!(password(world, &world.auth).await, "geheim");
        assert_eq!(world.bearer(&token).await, "alice");
        if world.db.is_exclusive() {
            return;
        }
        // The other has not followed yet: it reads and writes all the same.
        assert_eq!(password(world, &other).await, "geheim");
        keep_password(world, &other, "anders").await;
        assert_eq!(password(world, &world.auth).await, "anders");
        other.rotate_token_key(false).await.unwrap();
        let followed = other.follow_secret_key().await.unwrap();
        assert_eq!(
            (followed, ring.fingerprint()),
            (Followed::Ours, new.clone())
        );
        // What one node marked with the key before, another still knows.
        let late = Keyring::open(&world.directory.path().join("secretkey"), Some(&new)).unwrap();
        let opened = Auth::open(world.db.clone(), late, Config::default());
        let opened = opened.await.unwrap();
        assert_eq!(password(world, &opened).await, "anders");
        assert_eq!(opened.derived_keys("marks").len(), 2);
        let late = Config {
            key_kept: Duration::ZERO,
            ..Config::default()
        };
        let path = world.directory.path().join("secretkey");
        let late = Auth::open(
            world.db.clone(),
            Keyring::open(&path, Some(&new)).unwrap(),
            late,
        );
        let opened = late.await.unwrap();
        opened.follow_secret_key().await.unwrap();
        assert_eq!(opened.derived_keys("marks").len(), 1);
    });
}

#[test]
fn a_node_without_the_new_key_learns_that_it_is_lost() {
    each(async |world| {
        settle(world).await;
        let (other, _) = node(world, "late").await;
        world
            .write(|tx, _| Box::pin(facts::set(tx, facts::KEY_FINGERPRINT, "of another")))
            .await;
        // While the disk does not give back a file it may be in, nothing is known.
        let next = world.directory.path().join("late/secretkey.next");
        fs::create_dir(&next).unwrap();
        other.follow_secret_key().await.unwrap_err();
        fs::remove_dir(&next).unwrap();
        let followed = other.follow_secret_key().await.unwrap();
        assert_eq!(followed, Followed::Lost);
        assert!(other.rotate_secret_key(false).await.is_err());
    });
}

#[test]
fn another_change_waits_until_what_the_first_key_signed_is_over() {
    each(async |world| {
        settle(world).await;
        world
            .write(|tx, _| Box::pin(async move { nodes::leave(tx, "other", "run").await }))
            .await;
        let first = world.key.fingerprint();
        let second = world.auth.rotate_secret_key(false).await.unwrap();
        let refused = world.auth.rotate_secret_key(false).await.unwrap_err();
        assert!(refused.to_string().contains("`--early`"), "{refused}");
        assert_eq!(world.key.fingerprint(), second);
        assert!(!world.key.next_path().exists(), "no key lies about");
        let third = world.auth.rotate_secret_key(true).await.unwrap();
        let kept = format!("secretkey.previous.{}", &first[..8]);
        assert!(world.directory.path().join(kept).exists());

        let long_ago = |now: model::time::Timestamp| now.minus(Duration::from_hours(49)).0;
        world
            .write(move |tx, now| {
                Box::pin(async move {
                    let at = long_ago(now).to_string();
                    facts::set(tx, facts::KEY_CHANGED_AT, &at).await
                })
            })
            .await;
        let fourth = world.auth.rotate_secret_key(false).await.unwrap();
        assert_ne!(third, fourth);
    });
}

#[test]
fn however_many_keys_there_are_all_are_encrypted_anew() {
    each(async |world| {
        settle(world).await;
        world
            .write(|tx, _| Box::pin(async move { nodes::leave(tx, "other", "run").await }))
            .await;
        let path = world.directory.path().join("secretkey");
        let key = SecretKey::load_or_create(&path, false).unwrap();
        world
            .write(move |tx, now| {
                let key = key.clone();
                Box::pin(async move {
                    for n in 0..1100 {
                        let new = keys::Key {
                            id: format!("key {n}"),
                            private: key.encrypt(b"private"),
                            public: String::new(),
                            retired_at: None,
                        };
                        keys::insert(tx, "test", &new, now).await?;
                    }
                    Ok(())
                })
            })
            .await;
        world.auth.rotate_secret_key(false).await.unwrap();
        let key = SecretKey::load_or_create(&path, false).unwrap();
        let mut reader = world.db.reader().await.unwrap();
        let kept = keys::privates(&mut reader, "", 2000).await.unwrap();
        assert!(kept.len() >= 1100);
        for (id, private) in kept {
            assert!(key.decrypt(&private).is_ok(), "{id}");
        }
    });
}
