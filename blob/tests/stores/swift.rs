//! What only Swift has: Keystone, segments, keys for temporary addresses.

use blob::{
    Error, Store,
    objects::{
        self,
        config::{
            Redirect, Vendor,
            swift::{Config, Interface, KeyPlace, Name, Secret},
        },
    },
};
use testkit::{Method, Swift};

use crate::{PART, World, append, begin, config, content, finish, put_aside, resume, sha256};

pub(crate) async fn container(swift: &Swift) -> objects::Config {
    objects::Config {
        endpoint: None,
        redirect: Redirect::To(None),
        swift: Config {
            auth_url: Some(swift.auth_url.clone()),
            user: Some(Name::Name(swift.user.clone())),
            password: Some(Secret(swift.key.clone())),
            temp_url_key: Some(Secret("geheim".to_owned())),
            set_temp_url_key: Some(KeyPlace::Account),
            ..Config::default()
        },
        ..config(Vendor::Swift, swift.fresh_container().await, "")
    }
}

/// On OpenStack's alone.
fn on_swift(test: impl AsyncFn(Swift, objects::Config)) {
    let Some(swift) = testkit::swift() else {
        return;
    };
    let runtime = tokio::runtime::Runtime::new().unwrap();
    runtime.block_on(async {
        let config = container(&swift).await;
        test(swift, config).await;
    });
}

async fn names(swift: &Swift, config: &objects::Config) -> Vec<String> {
    let listed = swift.call(Method::GET, &config.bucket).await;
    listed.lines().map(str::to_owned).collect()
}

#[test]
fn a_content_takes_its_segments_with_it() {
    on_swift(async |swift, config| {
        let world = World::new(config.clone().into(), None).await;
        let bytes = content(1, 3 * PART + 10);
        let digest = sha256(&bytes);
        // Its second part is sent twice: one of them is named by nobody.
        let mut first = begin(&world.store, "parts").await;
        append(&mut first, &bytes[..PART]).await;
        let row = put_aside(&mut first).await;
        append(&mut first, &bytes[PART..]).await;
        first.save().await.unwrap();
        let mut second = resume(&world.another().await, "parts", &row).await.unwrap();
        append(&mut second, &bytes[PART..]).await;
        let staged = finish(&mut second, &digest).await.unwrap();
        let location = staged.location("data").to_owned();
        assert_eq!(world.read(&digest, &location).await.unwrap(), bytes);
        drop(first);
        let all = names(&swift, &config).await;
        let segments = all.iter().filter(|name| name.contains("/segments/"));
        assert!(segments.count() == 4, "{all:?}");
        assert!(!all.iter().any(|name| name.contains("/begun/")), "{all:?}");
        for deleted in world.store.delete(&[(digest, location)]).await {
            deleted.unwrap();
        }
        assert_eq!(names(&swift, &config).await, ["some/prefix/store-id"]);
    });
}

#[test]
fn a_content_of_which_a_segment_is_missing_is_damaged() {
    on_swift(async |swift, config| {
        let world = World::new(config.clone().into(), None).await;
        let bytes = content(2, 2 * PART + 10);
        let digest = sha256(&bytes);
        let mut writer = begin(&world.store, "holed").await;
        append(&mut writer, &bytes).await;
        let staged = finish(&mut writer, &digest).await.unwrap();
        let location = staged.location("data").to_owned();
        let all = names(&swift, &config).await;
        let mut segments = all.iter().filter(|name| name.contains("/segments/"));
        let second = segments.nth(1).expect("a segment");
        let path = format!("{}/{second}", config.bucket);
        swift.call(Method::DELETE, &path).await;
        let read = world.read(&digest, &location).await;
        assert!(matches!(read, Err(Error::Damaged(_))), "{read:?}");
        let cancel = tokio_util::sync::CancellationToken::new();
        let verdict = world.store.verify(&digest, &location, None, &cancel).await;
        assert!(
            matches!(verdict, Ok(blob::Verdict::Damaged(_))),
            "{verdict:?}"
        );
        // It can still be deleted.
        for deleted in world.store.delete(&[(digest, location)]).await {
            deleted.unwrap();
        }
        assert_eq!(names(&swift, &config).await, ["some/prefix/store-id"]);
    });
}

#[test]
fn a_container_that_is_not_there_and_who_is_not_let_in_are_told_apart() {
    on_swift(async |swift, config| {
        let missing = objects::Config {
            bucket: testkit::new_container(),
            ..config.clone()
        };
        let refused = Store::open(missing).await.map(drop).unwrap_err();
        assert!(refused.to_string().contains("does not exist"), "{refused}");
        // One that goes while it is used is no loss of all contents.
        let store = Store::open(config.clone()).await.unwrap();
        swift.call(Method::DELETE, &config.bucket).await;
        let digest = sha256(b"x");
        let looked = store.open_blob(&digest, "data", 1).await;
        let looked = match looked {
            Ok(reader) => reader.start(0..1, blob::ReadMode::Copied).await.map(drop),
            Err(error) => Err(error),
        };
        assert!(matches!(looked, Err(Error::Unusable { .. })), "{looked:?}");
        let mut foreign = config.clone();
        foreign.swift.password = Some(Secret("wrong".to_owned()));
        let refused = Store::open(foreign).await.map(drop).unwrap_err();
        assert!(
            matches!(refused, Error::Remote { is_ours: true, .. }),
            "{refused}"
        );
        let text = refused.to_string();
        assert!(
            text.contains("storage.swift") && !text.contains("wrong"),
            "{text}"
        );
    });
}

#[test]
fn keystone_gives_tokens_and_says_where_the_store_is() {
    let Some(keystone) = testkit::keystone() else {
        return;
    };
    let runtime = tokio::runtime::Runtime::new().unwrap();
    runtime.block_on(async {
        let outbound =
            outbound::Outbound::new(outbound::Trust::new(&[]), outbound::Proxy::default());
        let bucket = keystone.fresh_container().await;
        let by_password = Config {
            auth_url: Some(keystone.auth_url.clone()),
            user: Some(Name::Name(keystone.user.clone())),
            password: Some(Secret(keystone.password.clone())),
            user_domain: Some(Name::Name("Default".to_owned())),
            project: Some(Name::Name(keystone.project.clone())),
            project_domain: Some(Name::Id("default".to_owned())),
            interface: Some(Interface::Internal),
            temp_url_key: Some(Secret("geheim".to_owned())),
            set_temp_url_key: Some(KeyPlace::Container),
            ..Config::default()
        };
        let store = objects::Config {
            region: Some("one".to_owned()),
            redirect: Redirect::To(None),
            part_size: PART as u64,
            swift: by_password.clone(),
            ..objects::Config::new(Vendor::Swift, bucket, outbound)
        };
        let world = World::new(store.clone().into(), None).await;
        let bytes = content(3, 2 * PART + 10);
        let digest = sha256(&bytes);
        let mut writer = begin(&world.store, "parts").await;
        append(&mut writer, &bytes).await;
        let staged = finish(&mut writer, &digest).await.unwrap();
        let location = staged.location("data").to_owned();
        assert_eq!(world.read(&digest, &location).await.unwrap(), bytes);
        let reader = world
            .store
            .open_blob(&digest, &location, bytes.len() as u64)
            .await;
        let url = reader.unwrap().signed().await.unwrap().expect("an address");
        let pulled = keystone.client().await.get(url).send().await.unwrap();
        assert_eq!(pulled.bytes().await.unwrap(), bytes);

        let (id, secret) = keystone.fresh_credential().await;
        let mut by_credential = store.clone();
        by_credential.swift = Config {
            auth_url: by_password.auth_url.clone(),
            application_credential: Some(Name::Id(id)),
            application_credential_secret: Some(Secret(secret)),
            temp_url_key: by_password.temp_url_key.clone(),
            ..Config::default()
        };
        let opened = Store::open(by_credential).await.unwrap();
        assert_eq!(
            opened.read(&digest, &location, 1 << 30).await.unwrap(),
            bytes
        );

        let mut by_environment = store.clone();
        by_environment.swift = Config::default();
        by_environment.redirect = Redirect::Never;
        by_environment.region = None;
        by_environment.environment = keystone.environment();
        let opened = Store::open(by_environment).await.unwrap();
        assert_eq!(
            opened.read(&digest, &location, 1 << 30).await.unwrap(),
            bytes
        );

        let mut nowhere = store;
        nowhere.region = Some("two".to_owned());
        let refused = Store::open(nowhere)
            .await
            .map(drop)
            .unwrap_err()
            .to_string();
        assert!(
            refused.contains("storage.region") && refused.contains("one"),
            "{refused}"
        );
    });
}
