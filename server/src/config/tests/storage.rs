//! `[storage]` with a bucket.

use blob::objects::config::{Encryption, Redirect, Vendor};

use super::{load, refusal};
use crate::config::StorageUrl;

const BUCKET: &str = "storage.url = 's3://bucket/a/prefix/'\n";
const CONTAINER: &str = "storage.url = 'azure://container'\n";
const SWIFT: &str =
    "storage.url = 'swift://container/x'\nstorage.swift.auth_url = 'https://k/v3'\n";
const GOOGLES: &str = "storage.url = 'gs://bucket/x'\n";

fn bucket(keys: &str) -> blob::objects::Config {
    stored(&format!("{BUCKET}{keys}"))
}

fn stored(file: &str) -> blob::objects::Config {
    let config = load(file, &[]);
    let store = config.storage.store(config.outbound());
    let blob::Config::Objects(config) = store else {
        panic!("a bucket");
    };
    *config
}

#[test]
fn an_address_is_shown_as_it_is_written() {
    for (file, shown) in [
        ("", "file://./seawall-data/storage"),
        (BUCKET, "s3://bucket/a/prefix"),
        (CONTAINER, "azure://container"),
        (GOOGLES, "gs://bucket/x"),
        (SWIFT, "swift://container/x"),
    ] {
        assert_eq!(load(file, &[]).storage.url.shown(), shown);
    }
}

#[test]
fn a_bucket_is_read_with_all_that_belongs_to_it() {
    let config = load(BUCKET, &[]);
    let url = StorageUrl::Bucket {
        vendor: Vendor::S3,
        bucket: "bucket".to_owned(),
        prefix: "a/prefix".to_owned(),
    };
    assert_eq!(config.storage.url, url);
    let plain = bucket("");
    assert_eq!(plain.shown(), "s3://bucket/a/prefix");
    assert_eq!(
        (plain.part_size, plain.redirect),
        (8 << 20, Redirect::Never)
    );
    assert!(plain.keys.is_none() && plain.endpoint.is_none());
    let keys = [
        "endpoint = 'https://s3.lab:9000/'",
        "region = 'eu-1'",
        "access_key = 'id'",
        "secret_key = 'secret'",
        "path_style = false",
        "part_size = '16MiB'",
        "storage_class = 'STANDARD_IA'",
        "encryption = 'aws:kms'",
        "kms_key = 'key'",
        "redirect = true",
        "redirect_endpoint = 'https://s3.example.com'",
        "redirect_clients = ['10.0.0.0/8']",
    ];
    let full = bucket(&keys.map(|key| format!("storage.{key}\n")).concat());
    assert_eq!(full.endpoint.as_deref(), Some("https://s3.lab:9000"));
    assert_eq!(
        full.encryption,
        Some(Encryption::Kms(Some("key".to_owned())))
    );
    let public = Some("https://s3.example.com".to_owned());
    assert_eq!(full.redirect, Redirect::To(public));
    assert_eq!((full.part_size, full.path_style), (16 << 20, Some(false)));
    assert_eq!(full.keys.expect("keys").secret, "secret");
}

#[test]
fn containers_and_googles_buckets_have_keys_of_their_own() {
    let azure = stored(&format!(
        "{CONTAINER}storage.access_key = 'acc'\nstorage.secret_key = 'a2V5'\nstorage.storage_class = 'Cool'\nstorage.redirect = true\nstorage.redirect_endpoint = 'https://cdn.lab'"
    ));
    assert_eq!(azure.vendor, Vendor::Azure);
    assert_eq!(azure.shown(), "azure://container");
    assert_eq!(azure.account.as_deref(), Some("acc"));
    assert_eq!(azure.keys.expect("keys").secret, "a2V5");
    // With the machine's identity the account has to be named all the same.
    let named = stored(&format!("{CONTAINER}storage.access_key = 'acc'"));
    assert!(named.account.is_some() && named.keys.is_none());
    let google = stored(&format!(
        "{GOOGLES}storage.credentials = '/etc/gcs.json'\nstorage.redirect = true"
    ));
    assert_eq!(google.shown(), "gs://bucket/x");
    assert_eq!(google.credentials.as_deref(), Some("/etc/gcs.json"));
}

#[test]
fn keys_that_do_not_go_together_are_refused() {
    let of_bucket = |keys: &str| format!("{BUCKET}{keys}");
    let of_azure = |keys: &str| format!("{CONTAINER}{keys}");
    let of_google = |keys: &str| format!("{GOOGLES}{keys}");
    for (file, words) in [
        (
            "storage.endpoint = 'https://s3.lab'".to_owned(),
            "`storage.endpoint` is for object stores",
        ),
        (
            "storage.secret_key = 'geheim'".to_owned(),
            "`storage.secret_key` is for object stores",
        ),
        (
            of_azure("storage.region = 'eu-1'"),
            "`storage.region` goes with `s3://` and `swift://`, and `storage.url` is `azure://…`",
        ),
        (
            of_google("storage.secret_key = 'geheim'"),
            "`storage.secret_key` goes with `s3://` and `azure://`",
        ),
        (
            of_bucket("storage.credentials = 'geheim'"),
            "`storage.credentials` goes with `gs://`",
        ),
        (
            of_google("storage.redirect = true\nstorage.redirect_endpoint = 'https://cdn.lab'"),
            "`storage.redirect_endpoint` goes with",
        ),
        (
            of_google("storage.credentials = 'anonymous'\nstorage.redirect = true"),
            "needs credentials that can sign",
        ),
        (
            of_azure("storage.secret_key = 'geheim'"),
            "needs the storage account in `storage.access_key`",
        ),
        (
            of_azure("storage.storage_class = 'Archive'"),
            "`Hot`, `Cool` or `Cold`",
        ),
        (
            "storage.url = 'azure://c/a b'".to_owned(),
            "`azure://BUCKET/PREFIX`",
        ),
        (of_bucket("storage.reserve = '1GiB'"), "is for a directory"),
        (of_bucket("storage.secret_key = 'geheim'"), "go together"),
        (
            of_bucket("storage.kms_key = 'k'"),
            "needs `storage.encryption",
        ),
        (
            of_bucket("storage.redirect_clients = ['::1']"),
            "need `storage.redirect = true`",
        ),
        (
            of_bucket("storage.part_size = '1MiB'"),
            "`5MiB` to `256MiB`",
        ),
        (
            of_bucket("storage.endpoint = 'https://s3.lab/bucket'"),
            "without a path and without the bucket",
        ),
        (
            of_bucket("storage.endpoint = 's3.lab'"),
            "`https://HOST[:PORT]`",
        ),
        ("storage.url = 's3:///prefix'".to_owned(), "`s3://BUCKET`"),
        ("storage.url = 's3://b/x/../y'".to_owned(), "`s3://BUCKET`"),
        ("storage.url = 's3://b/ä'".to_owned(), "`s3://BUCKET`"),
    ] {
        let refused = refusal(&file, &[]);
        assert!(
            refused.contains(words) && !refused.contains("geheim"),
            "{refused}"
        );
    }
}

#[test]
fn swift_is_told_who_asks() {
    use blob::objects::config::swift::{AuthVersion, Interface, KeyPlace, Name};
    let keys = [
        "auth_version = '3'",
        "username = 'alice'",
        "user_domain = 'people'",
        "password = 'geheim'",
        "project_id = 'p1'",
        "project_domain_id = 'd1'",
        "interface = 'internal'",
        "temp_url_key = 'key'",
        "set_temp_url_key = 'container'",
    ];
    let keys = keys.map(|key| format!("storage.swift.{key}\n")).concat();
    let full = stored(&format!(
        "{SWIFT}{keys}storage.region = 'one'\nstorage.redirect = true"
    ));
    assert_eq!(full.shown(), "swift://container/x");
    assert_eq!(full.region.as_deref(), Some("one"));
    let swift = full.swift;
    assert_eq!(swift.auth_version, Some(AuthVersion::KeystoneV3));
    assert_eq!(swift.user, Some(Name::Name("alice".to_owned())));
    assert_eq!(swift.project, Some(Name::Id("p1".to_owned())));
    assert_eq!(swift.interface, Some(Interface::Internal));
    assert_eq!(swift.set_temp_url_key, Some(KeyPlace::Container));
    assert_eq!(swift.temp_url_key.expect("a key").0, "key");
    let variables = [("OS_USERNAME", "bob"), ("ST_KEY", "x")];
    let config = load(SWIFT, &variables);
    assert_eq!(config.storage.environment.len(), 2);
}

#[test]
fn what_swift_is_told_has_to_go_together() {
    for (keys, words) in [
        (
            "swift.username = 'a'",
            "`storage.swift.password` go together",
        ),
        ("swift.password = 'geheim'", "go together"),
        (
            "swift.username = 'a'\nstorage.swift.user_id = 'b'",
            "give one of them",
        ),
        ("swift.project = 'p'", "belong to a user"),
        ("swift.application_credential_id = 'c'", "go together"),
        (
            "swift.application_credential = 'c'\nstorage.swift.application_credential_secret = 'geheim'",
            "needs whose it is",
        ),
        (
            "swift.application_credential_id = 'c'\nstorage.swift.application_credential_secret = 'geheim'\nstorage.swift.project = 'p'",
            "of its own",
        ),
        ("swift.auth_version = '4'", "auth_version"),
        ("swift.interface = 'secret'", "interface"),
        ("redirect = true", "needs `storage.swift.temp_url_key`"),
        (
            "swift.temp_url_key = 'geheim'",
            "need `storage.redirect = true`",
        ),
        ("storage_class = 'x'", "`storage.storage_class` goes with"),
        ("access_key = 'geheim'", "`storage.access_key` goes with"),
    ] {
        let refused = refusal(&format!("{SWIFT}storage.{keys}"), &[]);
        assert!(
            refused.contains(words) && !refused.contains("geheim"),
            "{refused}"
        );
    }
    for (url, words) in [
        ("file:///x", "`storage.swift.auth_url` is for object stores"),
        ("s3://b", "`storage.swift.auth_url` goes with `swift://`"),
    ] {
        let file = format!("storage.url = '{url}'\nstorage.swift.auth_url = 'https://k'");
        let refused = refusal(&file, &[]);
        assert!(refused.contains(words), "{refused}");
    }
    let refused = refusal(
        "storage.url = 'swift://c'\nstorage.swift.auth_url = 'keystone'",
        &[],
    );
    assert!(refused.contains("https://HOST:PORT/PATH"), "{refused}");
}

#[test]
fn credentials_may_stand_where_the_vendors_programs_look() {
    let variables = [
        ("AWS_ACCESS_KEY_ID", "id"),
        ("AWS_SECRET_ACCESS_KEY", "secret"),
        ("AWS_SESSION_TOKEN", ""),
        ("AZURE_TENANT_ID", "tenant"),
        ("GOOGLE_APPLICATION_CREDENTIALS", "/gcs.json"),
        ("OTHER", "x"),
    ];
    let config = load(BUCKET, &variables);
    let mut names: Vec<_> = config.storage.environment.into_iter().collect();
    names.sort();
    assert_eq!(
        names,
        [
            ("AWS_ACCESS_KEY_ID".to_owned(), "id".to_owned()),
            ("AWS_SECRET_ACCESS_KEY".to_owned(), "secret".to_owned()),
            ("AZURE_TENANT_ID".to_owned(), "tenant".to_owned()),
            (
                "GOOGLE_APPLICATION_CREDENTIALS".to_owned(),
                "/gcs.json".to_owned()
            ),
        ]
    );
}
