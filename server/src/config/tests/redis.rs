//! `[redis]`: which keys go together, and that no password is shown.

use std::path::Path;

use cache::place::Kind;
use outbound::Trust;

use super::{load, refusal};

#[test]
fn without_a_url_there_is_none() {
    for file in ["", "redis.url = ''", "redis.prefix = 'other'"] {
        assert!(load(file, &[]).redis.cache(&Trust::default()).is_none());
    }
}

#[test]
fn what_stands_in_keys_of_their_own_joins_the_url() {
    let config = load(
        r#"
        server.data = "/srv"
        [redis]
        url = "rediss+sentinel://one:26379,two/mymaster/1"
        username = "seawall"
        password_file = "DATA/password"
        sentinel_username = "watcher"
        sentinel_password = "wachsam"
        ca_file = "/etc/ca.pem"
        client_certificate = "own.pem"
        client_key = "own.key"
        prefix = "site/a"
        "#,
        &[],
    );
    let cache = config.redis.cache(&Trust::default()).expect("one");
    assert_eq!(cache.place.kind, Kind::Sentinel("mymaster".to_owned()));
    assert_eq!(cache.place.database, 1);
    assert_eq!(cache.login.user.as_deref(), Some("seawall"));
    assert_eq!(
        cache.password_file.as_deref(),
        Some(Path::new("/srv/password"))
    );
    assert_eq!(cache.sentinel_login.user.as_deref(), Some("watcher"));
    assert_eq!(cache.sentinel_login.password.as_deref(), Some("wachsam"));
    assert_eq!(cache.client, Some(("own.pem".into(), "own.key".into())));
    assert_eq!(cache.prefix, "site/a");

    let variables = [
        ("SEAWALL_REDIS__URL", "redis://host"),
        ("SEAWALL_REDIS__PASSWORD", "geheim"),
    ];
    let config = load("", &variables);
    let cache = config.redis.cache(&Trust::default()).expect("one");
    assert_eq!(cache.login.password.as_deref(), Some("geheim"));
    assert!(!format!("{config:?} {cache:?}").contains("geheim"));
}

#[test]
fn what_does_not_go_together_is_refused_and_shows_no_password() {
    let plain = "redis.url = 'redis://host'";
    for (file, words) in [
        (
            "redis.url = 'geheim'",
            "`redis.url` is *** (seawall.toml, line 1): expected `redis://",
        ),
        ("redis.url = 'redis://:geheim@'", "expected hosts as"),
        (
            "redis.url = 'redis://:geheim@host/x'",
            "expected the number of a database",
        ),
        (
            "redis.password = 'geheim'",
            "`redis.password` is set and `redis.url` is not",
        ),
        (
            "redis.client_key = 'geheim'",
            "`redis.client_key` is set and `redis.url` is not",
        ),
        (
            "redis.url = 'redis://:geheim@host'\nredis.password = 'geheim'",
            "the password stands in one place",
        ),
        (
            "redis.url = 'redis://host'\nredis.password = 'geheim'\nredis.password_file = 'file'",
            "the password stands in one place",
        ),
        (
            "redis.url = 'redis://a:geheim@host'\nredis.username = 'b'",
            "the user stands in one place",
        ),
        (
            &format!("{plain}\nredis.username = 'b'"),
            "needs a password",
        ),
        (
            &format!("{plain}\nredis.sentinel_password = 'geheim'"),
            "is for Sentinels",
        ),
        (
            "redis.url = 'redis+sentinel://host/m'\nredis.sentinel_username = 'b'",
            "needs `redis.sentinel_password`",
        ),
        (
            &format!("{plain}\nredis.ca_file = 'ca.pem'"),
            "begin it with `rediss`",
        ),
        (
            "redis.url = 'rediss://host'\nredis.client_key = 'key'",
            "go together",
        ),
        (
            &format!("{plain}\nredis.prefix = '{{a}}'"),
            "1 to 64 letters",
        ),
    ] {
        let refused = refusal(file, &[]);
        assert!(refused.contains(words), "{file}: {refused}");
        assert!(!refused.contains("geheim"), "{refused}");
    }
}
