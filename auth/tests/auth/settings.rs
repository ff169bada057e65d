//! Settings that say how people and robots sign in, and passwords among them.

use db::settings;
use model::{
    permission::{Action, Resource},
    robot::Scope,
    settings::{Changes, find, parse},
};
use serde_json::{Value, json};

use crate::world::{World, each};

fn changes(value: &Value) -> Changes {
    parse(value.as_object().unwrap()).unwrap()
}

async fn set(world: &World<'_>, changes: Changes) {
    world
        .write(move |tx, now| {
            let changes = changes.clone();
            Box::pin(async move { settings::set_all(tx, &changes, now).await })
        })
        .await;
}

#[test]
fn tokens_live_as_long_as_the_setting_says() {
    each(async |world| {
        world.user("alice", "Harbor12345").await;
        let alice = world.login("alice", "Harbor12345").await;
        for (minutes, seconds) in [(2, 120), (90, 5400)] {
            set(world, changes(&json!({ "token_expiration": minutes }))).await;
            let issued = world.auth.issue(&alice, &[]).await.unwrap();
            assert_eq!(issued.expires_in, seconds);
        }
    });
}

#[test]
fn robots_are_named_with_the_prefix_of_the_setting() {
    each(async |world| {
        let pull = [(Scope::System, Resource::Catalog, Action::Read)];
        let secret = world.robot("robot$ci", &pull).await;
        let token = world
            .token(&world.login("robot$ci", &secret).await, "")
            .await;
        set(world, changes(&json!({ "robot_name_prefix": "bot+" }))).await;
        assert_eq!(world.login("bot+ci", &secret).await.name(), "bot+ci");
        assert!(!world.is_login("robot$ci", &secret).await);
        assert_eq!(world.bearer(&token).await, "bot+ci");
    });
}

#[test]
fn passwords_are_kept_encrypted_and_read_back_in_clear() {
    each(async |world| {
        let none = world.db.settings().await.unwrap();
        assert_eq!(world.auth.password(&none, "email_password").unwrap(), None);
        let wanted = changes(&json!({ "email_password": "geheim", "email_host": "mail" }));
        let auth = world.auth.clone();
        world
            .write(move |tx, now| {
                let (auth, wanted) = (auth.clone(), wanted.clone());
                Box::pin(async move {
                    let sealed = auth.sealed(tx, wanted).await?;
                    settings::set_all(tx, &sealed, now).await
                })
            })
            .await;
        let kept = world.db.settings().await.unwrap();
        let text = kept.text(find("email_password").unwrap());
        assert!(!text.contains("geheim"), "{text}");
        assert_eq!(kept.text(find("email_host").unwrap()), "mail");
        let read = world.auth.password(&kept, "email_password").unwrap();
        assert_eq!(read.as_deref(), Some("geheim"));
        assert!(world.auth.password(&kept, "email_host").is_err());
    });
}
