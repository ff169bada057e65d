//! Tokens: what stands in them, when they are taken and what for.

use std::time::Duration;

use auth::{Auth, Caller, Config, Keyring, Via, scope_allows};
use aws_lc_rs::{
    encoding::AsDer,
    signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, KeyPair},
};
use base64::{
    Engine,
    engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD},
};
use jsonwebtoken::{Algorithm, EncodingKey, Header};
use model::{
    Error,
    permission::{Action, Resource},
    robot::Scope as Reach,
    role::Role,
};
use serde_json::{Value, json};

use crate::world::{World, each, scopes_of};

fn part(token: &str, index: usize) -> Value {
    let part = token.split('.').nth(index).unwrap();
    serde_json::from_slice(&URL_SAFE_NO_PAD.decode(part).unwrap()).unwrap()
}

#[test]
fn a_token_has_the_form_that_clients_of_harbor_know() {
    each(async |world| {
        world.user("alice", "Harbor12345").await;
        world.project("library", true).await;
        let alice = world.login("alice", "Harbor12345").await;
        let before = world.db.clock().now();
        let issued = world
            .auth
            .issue(&alice, &scopes_of("repository:library/x:pull"))
            .await
            .unwrap();
        assert_eq!(issued.expires_in, 1800);
        assert!(issued.issued_at >= before && issued.issued_at <= world.db.clock().now());

        let header = part(&issued.token, 0);
        assert_eq!(
            (&header["alg"], &header["typ"]),
            (&json!("ES256"), &json!("JWT"))
        );
        let groups: Vec<&str> = header["kid"].as_str().unwrap().split(':').collect();
        assert_eq!(groups.len(), 12);
        assert!(groups.iter().all(|group| {
            group.len() == 4
                && group
                    .bytes()
                    .all(|b| matches!(b, b'A'..=b'Z' | b'2'..=b'7'))
        }));

        let claims = part(&issued.token, 1);
        let at = issued.issued_at.seconds();
        assert_eq!(claims["iss"], "harbor-token-issuer");
        assert_eq!(claims["aud"], "harbor-registry");
        assert_eq!(claims["sub"], "alice");
        assert_eq!(
            (&claims["iat"], &claims["nbf"], &claims["exp"]),
            (&json!(at), &json!(at), &json!(at + 1800))
        );
        assert_eq!(claims["jti"].as_str().unwrap().len(), 16);
        let access = json!([{ "type": "repository", "class": "", "name": "library/x", "actions": ["pull"] }]);
        assert_eq!(claims["access"], access);

        let login = world.token(&alice, "").await;
        assert_eq!(part(&login, 1)["access"], Value::Null);
        let anonymous = world
            .token(&Caller::anonymous(), "repository:library/x:pull")
            .await;
        assert_eq!(part(&anonymous, 1)["sub"], "");
    });
}

/// Who asks, for what, and what stands in the token.
#[rustfmt::skip]
const GRANTS: &[(&str, &str, &str)] = &[
    ("",      "repository:public/x:pull,push",   "repository:public/x:pull"),
    ("",      "repository:private/x:pull",       "repository:private/x:"),
    ("alice", "repository:private/x:pull,push",  "repository:private/x:pull,push"),
    ("alice", "repository:private/x:pull",       "repository:private/x:pull"),
    ("alice", "repository:private/x:*",          "repository:private/x:pull,push"),
    ("alice", "repository:private/x:delete",     "repository:private/x:"),
    ("alice", "repository:private/a/b:push",     "repository:private/a/b:push"),
    ("alice", "repository:missing/x:pull",       "repository:missing/x:"),
    ("alice", "repository:private:pull",         "repository:private:"),
    ("alice", "repository:private/x:pull repository:private/x:push",        "repository:private/x:pull,push"),
    ("alice", "repository:public/x:push,pull repository:private/x:push",    "repository:public/x:pull repository:private/x:push"),
    ("alice", "registry:catalog:*",              "registry:catalog:"),
    ("alice", "nonsense:x:pull",                 "nonsense:x:"),
    ("boss",  "registry:catalog:*",              "registry:catalog:*"),
    ("boss",  "registry:other:*",                "registry:other:"),
    ("boss",  "repository:private/x:*",          "repository:private/x:pull,push,delete"),
    ("boss",  "repository:private/x:scanner-pull", "repository:private/x:"),
    ("robot$private+ci", "repository:private/x:pull,push", "repository:private/x:pull"),
    ("robot$private+ci", "repository:public/x:pull",       "repository:public/x:pull"),
];

#[test]
fn a_token_holds_what_was_asked_for_as_far_as_it_is_allowed() {
    each(async |world| {
        world.user("alice", "Harbor12345").await;
        world.admin("boss").await;
        world.project("public", true).await;
        let private = world.project("private", false).await;
        world
            .member("private", "alice", Some(Role::Developer))
            .await;
        let permissions = [(Reach::Project(private), Resource::Repository, Action::Pull)];
        let secret = world.robot("robot$private+ci", &permissions).await;
        let callers = [
            Caller::anonymous(),
            world.login("alice", "Harbor12345").await,
            world.login("boss", "Harbor12345").await,
            world.login("robot$private+ci", &secret).await,
        ];
        for (name, asked, granted) in GRANTS {
            let caller = callers
                .iter()
                .find(|caller| caller.name() == *name)
                .unwrap();
            let token = world.token(caller, asked).await;
            assert_eq!(access(&token), *granted, "`{name}` asks for {asked}");
        }
    });
}

/// What stands in the token, as scopes.
fn access(token: &str) -> String {
    let access: Vec<Value> = serde_json::from_value(part(token, 1)["access"].take()).unwrap();
    let text = |value: &Value| value.as_str().unwrap().to_owned();
    let scopes = access.iter().map(|entry| {
        let actions: Vec<String> = entry["actions"]
            .as_array()
            .unwrap()
            .iter()
            .map(text)
            .collect();
        format!(
            "{}:{}:{}",
            text(&entry["type"]),
            text(&entry["name"]),
            actions.join(",")
        )
    });
    scopes.collect::<Vec<_>>().join(" ")
}

#[test]
fn the_bearer_is_whom_the_token_was_issued_to_with_its_scopes() {
    each(async |world| {
        world.user("alice", "Harbor12345").await;
        world.project("library", false).await;
        world
            .member("library", "alice", Some(Role::Developer))
            .await;
        let secret = world.robot("robot$library+ci", &[]).await;
        let alice = world.login("alice", "Harbor12345").await;
        let robot = world.login("robot$library+ci", &secret).await;
        for caller in [&alice, &robot, &Caller::anonymous()] {
            let token = world.token(caller, "repository:library/x:pull").await;
            for _ in 0..2 {
                let bearer = world.by_token(&token).await.unwrap();
                assert_eq!(
                    (&bearer.subject, bearer.via),
                    (&caller.subject, Via::Bearer)
                );
                assert_eq!(
                    scope_allows(&bearer, "library/x", "pull"),
                    caller.name() == "alice"
                );
                assert!(!scope_allows(&bearer, "library/x", "push"));
                assert!(
                    matches!(world.auth.issue(&bearer, &[]).await, Err(Error::Denied(_))),
                    "no token for a token"
                );
            }
        }
    });
}

#[test]
fn a_token_grants_nothing_that_was_taken_away_since() {
    each(async |world| {
        world.user("alice", "Harbor12345").await;
        world.project("library", false).await;
        world
            .member("library", "alice", Some(Role::Developer))
            .await;
        let token = world
            .token(
                &world.login("alice", "Harbor12345").await,
                "repository:library/x:pull,push",
            )
            .await;
        let bearer = world.by_token(&token).await.unwrap();
        assert_eq!(world.images(&bearer, "library").await, "pull,push");
        world.member("library", "alice", Some(Role::Guest)).await;
        let bearer = world.by_token(&token).await.unwrap();
        assert_eq!(world.images(&bearer, "library").await, "pull");
    });
}

#[test]
fn a_token_ends_with_its_time_and_a_minute_of_leeway() {
    each(async |world| {
        world.user("alice", "Harbor12345").await;
        let alice = world.login("alice", "Harbor12345").await;
        let (seen, unseen) = (world.token(&alice, "").await, world.token(&alice, "").await);
        assert_eq!(world.bearer(&seen).await, "alice");
        world.db.clock().advance(Duration::from_secs(30 * 60 + 58));
        assert_eq!(world.bearer(&seen).await, "alice");
        world.db.clock().advance(Duration::from_secs(4));
        assert_eq!(world.bearer(&seen).await, "nobody");
        assert_eq!(world.bearer(&unseen).await, "nobody");
        let brief = world
            .configured(Config {
                token_expiration: Some(Duration::from_mins(1)),
                ..Config::default()
            })
            .await;
        let issued = brief.issue(&alice, &[]).await.unwrap();
        assert_eq!(issued.expires_in, 60);
        world.db.clock().advance(Duration::from_secs(122));
        assert_eq!(world.bearer(&issued.token).await, "nobody");
    });
}

#[test]
fn a_token_ends_with_the_account_it_speaks_of() {
    each(async |world| {
        world.project("library", false).await;
        world.user("alice", "Harbor12345").await;
        let alice = world
            .token(&world.login("alice", "Harbor12345").await, "")
            .await;
        let secret = world.robot("robot$library+ci", &[]).await;
        let robot = world
            .token(&world.login("robot$library+ci", &secret).await, "")
            .await;
        assert_eq!(
            (world.bearer(&alice).await, world.bearer(&robot).await),
            ("alice".into(), "robot$library+ci".into())
        );

        world.change_password("alice", "Another12345").await;
        assert_eq!(
            world.bearer(&alice).await,
            "nobody",
            "from before the new password"
        );
        world.disable_robot("robot$library+ci", true).await;
        assert_eq!(world.bearer(&robot).await, "nobody");

        let (alice, secret) = (
            world
                .token(&world.login("alice", "Another12345").await, "")
                .await,
            {
                world.delete_robot("robot$library+ci").await;
                world.robot("robot$library+ci", &[]).await
            },
        );
        assert_eq!(
            world.bearer(&robot).await,
            "nobody",
            "another robot of the same name"
        );
        let robot = world
            .token(&world.login("robot$library+ci", &secret).await, "")
            .await;
        assert_eq!(world.bearer(&robot).await, "robot$library+ci");
        world.delete_user("alice").await;
        assert_eq!(world.bearer(&alice).await, "nobody");
        world.user("alice", "Another12345").await;
        assert_eq!(
            world.bearer(&alice).await,
            "nobody",
            "another person of the same name"
        );
        world.delete_project("library").await;
        assert_eq!(
            world.bearer(&robot).await,
            "nobody",
            "gone with its project"
        );
    });
}

/// The key that signs, as the database holds it.
async fn signing_key(world: &World<'_>) -> (String, EncodingKey) {
    let keys = db::keys::list(&mut world.db.reader().await.unwrap(), "token")
        .await
        .unwrap();
    (
        keys[0].id.clone(),
        EncodingKey::from_ec_der(&world.secret().decrypt(&keys[0].private).unwrap()),
    )
}

fn sign(algorithm: Algorithm, kid: Option<&str>, claims: &Value, key: &EncodingKey) -> String {
    let header = Header {
        kid: kid.map(str::to_owned),
        ..Header::new(algorithm)
    };
    jsonwebtoken::encode(&header, claims, key).unwrap()
}

#[test]
fn what_we_did_not_sign_for_ourselves_is_invalid() {
    each(async |world| {
        world.user("alice", "Harbor12345").await;
        let token = world
            .token(&world.login("alice", "Harbor12345").await, "")
            .await;
        let (kid, key) = signing_key(world).await;
        let claims = part(&token, 1);
        let with = |name: &str, value: Value| {
            let mut claims = claims.clone();
            claims[name] = value;
            claims
        };
        let signed = |claims: &Value| sign(Algorithm::ES256, Some(&kid), claims, &key);
        assert_eq!(world.bearer(&signed(&claims)).await, "alice", "the control");

        let soon = claims["iat"].as_i64().unwrap() + 120;
        for (what, claims) in [
            ("another issuer", with("iss", json!("elsewhere"))),
            ("no issuer", with("iss", Value::Null)),
            ("another audience", with("aud", json!("elsewhere"))),
            (
                "an audience in a list",
                with("aud", json!(["harbor-registry"])),
            ),
            ("not yet", with("nbf", json!(soon))),
            ("issued in the future", with("iat", json!(soon))),
            ("no caller", with("caller", Value::Null)),
            ("the operator", with("caller", json!("operator"))),
            ("an unknown user", with("caller", json!("user:4711"))),
            ("a robot instead", with("caller", json!("robot:1"))),
            ("no time", with("exp", Value::Null)),
        ] {
            assert_eq!(world.bearer(&signed(&claims)).await, "nobody", "{what}");
        }

        let parts: Vec<&str> = token.split('.').collect();
        let other = URL_SAFE_NO_PAD.encode(with("caller", json!("user:1")).to_string());
        let none =
            URL_SAFE_NO_PAD.encode(json!({ "alg": "none", "typ": "JWT", "kid": kid }).to_string());
        let foreign = EcdsaKeyPair::generate(&ECDSA_P256_SHA256_FIXED_SIGNING).unwrap();
        let foreign = EncodingKey::from_ec_der(foreign.to_pkcs8v1().unwrap().as_ref());
        let public = db::keys::list(&mut world.db.reader().await.unwrap(), "token")
            .await
            .unwrap()
            .remove(0)
            .public;
        for (what, token) in [
            ("other claims", format!("{}.{other}.{}", parts[0], parts[2])),
            ("cut short", token[..token.len() - 1].to_owned()),
            ("no signature", format!("{}.{}.", parts[0], parts[1])),
            ("algorithm none", format!("{none}.{}.", parts[1])),
            (
                "algorithm none, signed",
                format!("{none}.{}.{}", parts[1], parts[2]),
            ),
            (
                "another's key",
                sign(Algorithm::ES256, Some(&kid), &claims, &foreign),
            ),
            (
                "another's key and name",
                sign(Algorithm::ES256, Some("AAAA:BBBB"), &claims, &foreign),
            ),
            ("no key's name", sign(Algorithm::ES256, None, &claims, &key)),
            (
                "our public key as a password",
                sign(
                    Algorithm::HS256,
                    Some(&kid),
                    &claims,
                    &EncodingKey::from_secret(public.as_bytes()),
                ),
            ),
            ("nothing", String::new()),
            ("dots", "..".to_owned()),
            ("too long", format!("{token}{}", "A".repeat(20_000))),
        ] {
            assert_eq!(world.bearer(&token).await, "nobody", "{what}");
        }
        assert_eq!(world.bearer(&token).await, "alice");
    });
}

#[test]
fn a_token_that_would_be_too_long_to_be_taken_is_not_issued() {
    each(async |world| {
        world.project("public", true).await;
        let many: Vec<String> = (0..300)
            .map(|n| format!("repository:public/with-a-long-name-{n}:pull"))
            .collect();
        let refused = world
            .auth
            .issue(&Caller::anonymous(), &scopes_of(&many.join(" ")))
            .await;
        assert!(matches!(refused, Err(Error::Invalid(..))));
        let token = world
            .token(&Caller::anonymous(), &many[..50].join(" "))
            .await;
        assert_eq!(world.bearer(&token).await, "");
    });
}

#[test]
fn nodes_that_start_at_once_share_one_key() {
    each(async |world| {
        world.user("alice", "Harbor12345").await;
        let keys = db::keys::list(&mut world.db.reader().await.unwrap(), "token")
            .await
            .unwrap();
        assert_eq!(keys.len(), 1);
        let token = world
            .token(&world.login("alice", "Harbor12345").await, "")
            .await;
        for node in &world.others {
            let now = world.db.clock().now();
            assert!(node.bearer(&token, now).await.unwrap().is_some());
        }
    });
}

#[test]
fn a_key_that_another_node_makes_is_found_and_the_older_one_still_counts() {
    each(async |world| {
        world.user("alice", "Harbor12345").await;
        let old = world
            .token(&world.login("alice", "Harbor12345").await, "")
            .await;
        let pair = EcdsaKeyPair::generate(&ECDSA_P256_SHA256_FIXED_SIGNING).unwrap();
        let private = pair.to_pkcs8v1().unwrap();
        let key = db::keys::Key {
            id: "NEWE:RKEY".to_owned(),
            private: world.secret().encrypt(private.as_ref()),
            public: STANDARD.encode(pair.public_key().as_der().unwrap().as_ref()),
            retired_at: None,
        };
        let new = sign(
            Algorithm::ES256,
            Some(&key.id),
            &part(&old, 1),
            &EncodingKey::from_ec_der(private.as_ref()),
        );
        world.insert_key(key).await;
        assert_eq!(world.bearer(&new).await, "alice");
        assert_eq!(world.bearer(&old).await, "alice");
        let newest = world
            .token(&world.login("alice", "Harbor12345").await, "")
            .await;
        assert_eq!(part(&newest, 0)["kid"], "NEWE:RKEY");
    });
}

#[test]
fn a_node_with_another_key_file_does_not_start() {
    each(async |world| {
        let other = Keyring::open(&world.directory.path().join("other"), None).unwrap();
        assert_ne!(other.fingerprint(), world.key.fingerprint());
        assert!(
            Auth::open(world.db.clone(), other, Config::default())
                .await
                .is_err()
        );
    });
}
