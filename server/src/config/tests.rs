use std::{ffi::OsString, fs, path::Path, time::Duration};

use super::{
    sources::ConfigFile,
    values::{Secret, parse_duration, parse_size},
    *,
};
use crate::telemetry::Format;

fn sources(file: &str, variables: &[(&str, &str)]) -> Sources {
    Sources {
        file: Some(ConfigFile {
            name: "seawall.toml".to_owned(),
            text: file.to_owned(),
        }),
        variables: variables
            .iter()
            .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
            .collect(),
        flags: Flags::default(),
        host_name: "host".to_owned(),
    }
}

fn load(file: &str, variables: &[(&str, &str)]) -> Config {
    Config::load(sources(file, variables)).unwrap()
}

fn refusal(file: &str, variables: &[(&str, &str)]) -> String {
    Config::load(sources(file, variables))
        .unwrap_err()
        .to_string()
}

#[test]
fn the_later_source_wins() {
    let file = "[server]\ndata = '/file'\n[gc]\ngrace = '3h'\n";
    let variables = [
        ("SEAWALL_SERVER__DATA", "/variable"),
        ("SEAWALL_LOG__FORMAT", "json"),
    ];
    let nothing = load("", &[]);
    assert_eq!(nothing.server.data, Path::new("./seawall-data"));
    assert_eq!(nothing.gc.grace, Duration::from_hours(2));
    assert_eq!(load(file, &[]).server.data, Path::new("/file"));
    let both = load(file, &variables);
    assert_eq!(both.server.data, Path::new("/variable"));
    assert_eq!(both.log.format, Format::Json);
    assert_eq!(both.gc.grace, Duration::from_hours(3));
    let flags = Flags {
        data: Some("/flag".into()),
        ..Flags::default()
    };
    let all = Config::load(Sources {
        flags,
        ..sources(file, &variables)
    })
    .unwrap();
    assert_eq!(all.server.data, Path::new("/flag"));
}

#[test]
fn only_a_variable_that_counts_has_to_be_text() {
    use std::os::unix::ffi::OsStringExt;
    let no_text = || OsString::from_vec(vec![b'a', 0xff]);
    let all = |name: OsString| {
        let fine = (OsString::from("HOME"), OsString::from("/root"));
        let variables = [(name, no_text()), fine].into_iter();
        sources::variables(variables, |name| name == "HOME" || name == "AWS_PROFILE")
    };
    let expected = vec![("HOME".to_owned(), "/root".to_owned())];
    assert_eq!(all("LS_COLORS".into()).unwrap(), expected);
    assert_eq!(all(no_text()).unwrap(), expected);
    let refused = all("AWS_PROFILE".into()).unwrap_err().to_string();
    assert!(
        refused.contains("AWS_PROFILE") && refused.contains("UTF-8"),
        "{refused}"
    );
}

#[test]
fn data_stands_for_the_data_directory() {
    let config = load(
        "server.data = '/srv'\nlog.target = 'file:DATA/log/seawall.log'",
        &[],
    );
    assert_eq!(config.server.secret_key_file, Path::new("/srv/secretkey"));
    assert_eq!(
        config.database.url,
        DatabaseUrl::Sqlite("/srv/seawall.sqlite".into())
    );
    assert_eq!(config.storage.url, StorageUrl::File("/srv/storage".into()));
    assert_eq!(
        config.log.target,
        Target::File("/srv/log/seawall.log".into())
    );
    let elsewhere = load(
        "storage.url = 'file:///DATA/x'\ndatabase.url = 'sqlite:///DATA/y'\nserver.data = '/srv'",
        &[],
    );
    assert_eq!(elsewhere.storage.url, StorageUrl::File("/DATA/x".into()));
    assert_eq!(
        elsewhere.database.url,
        DatabaseUrl::Sqlite("/DATA/y".into())
    );
}

#[test]
fn the_machine_gives_what_is_left_open() {
    let config = load("", &[]);
    assert_eq!(config.server.node, "host");
    assert!(config.limits.password_hashing >= 1);
    assert_eq!(
        load("server.node = 'a'\nlimits.password_hashing = 3", &[])
            .server
            .node,
        "a"
    );
    assert!(refusal("server.node = 'a/b'", &[]).contains("`server.node` is `a/b`"));
}

#[test]
fn unknown_keys_are_refused_by_name() {
    for (file, variables, message) in [
        (
            "[database]\n\nuri = 'x'",
            &[][..],
            "unknown key `database.uri` (seawall.toml, line 3); did you mean `database.url`?",
        ),
        (
            "[databse]\nurl = 'x'",
            &[],
            "unknown key `databse` (seawall.toml, line 1); did you mean `database`?",
        ),
        (
            "gc.colour = 1",
            &[],
            "unknown key `gc.colour` (seawall.toml, line 1); known here: `grace`, `interval`, `untagged_grace`",
        ),
        (
            "",
            &[("SEAWALL_GC__GRACES", "1h")],
            "unknown key `gc.graces` (variable SEAWALL_GC__GRACES); did you mean `gc.grace`?",
        ),
        (
            "",
            &[("SEAWALL_GC__COLOUR_FILE", "/x")],
            "unknown key `gc.colour_file` (variable SEAWALL_GC__COLOUR_FILE); known here: `grace`, `interval`, `untagged_grace`",
        ),
        // In the file `…_file` is a key like any other.
        (
            "gc.grace_file = '/x'",
            &[],
            "unknown key `gc.grace_file` (seawall.toml, line 1); known here: `grace`, `interval`, `untagged_grace`",
        ),
    ] {
        assert_eq!(refusal(file, variables), message);
    }
}

#[test]
fn wrong_values_are_refused_with_key_value_place_and_form() {
    for (file, message) in [
        (
            "gc.grace = '2 hours'",
            "`gc.grace` is \"2 hours\" (seawall.toml, line 1): expected a duration such as `90s`, `10m`, `24h`, `7d` or `0`",
        ),
        (
            "gc.grace = 5",
            "`gc.grace` is 5 (seawall.toml, line 1): expected a duration such as `90s`, `10m`, `24h`, `7d` or `0`",
        ),
        (
            "storage.reserve = '1 lot'",
            "`storage.reserve` is \"1 lot\" (seawall.toml, line 1): expected a size such as `64KiB`, `10MB`, `1GiB` or a number of bytes",
        ),
        (
            "limits.uploads = '5'",
            "`limits.uploads` is \"5\" (seawall.toml, line 1): expected a whole number, one or more",
        ),
        (
            "limits.uploads = 0",
            "`limits.uploads` is 0 (seawall.toml, line 1): expected a whole number, one or more",
        ),
        (
            "auth.anonymous = 'yes'",
            "`auth.anonymous` is \"yes\" (seawall.toml, line 1): expected `true` or `false`",
        ),
        (
            "log.format = 'xml'",
            "`log.format` is \"xml\" (seawall.toml, line 1): expected `text` or `json`",
        ),
        (
            "log = 'json'",
            "`log` is \"json\" (seawall.toml, line 1): expected a table",
        ),
        (
            "server.trusted_proxies = '10.0.0.0/8'",
            "`server.trusted_proxies` is \"10.0.0.0/8\" (seawall.toml, line 1): expected a list such as [\"one\", \"two\"]",
        ),
        (
            "[server]\ntrusted_proxies = [\n '10.0.0.0/8',\n '10.0.0.0/99']",
            "`server.trusted_proxies.1` is \"10.0.0.0/99\" (seawall.toml, line 4): expected a network such as `10.0.0.0/8`, or an address",
        ),
        (
            "server.external_url = 'registry.example.com'",
            "`server.external_url` is \"registry.example.com\" (seawall.toml, line 1): expected `https://HOST[:PORT]` without a path",
        ),
        (
            "database.url = 'mysql://u:geheim@h/d'",
            "`database.url` is *** (seawall.toml, line 1): expected `sqlite:PATH` or `postgres://USER:PASSWORD@HOST[,HOST…]/NAME`",
        ),
        (
            "log.level = 'loud'",
            "`log.level` is \"loud\" (seawall.toml, line 1): expected `error`, `warn`, `info`, `debug`, `trace` or `off`, also for parts: `info,db=debug`",
        ),
        ("[gc]\ngrace = geheim", "seawall.toml, line 2: "),
    ] {
        let refused = refusal(file, &[]);
        assert!(refused.starts_with(message), "{refused}");
        assert!(!refused.contains("geheim"), "{refused}");
    }
}

#[test]
fn a_time_out_of_nothing_is_refused() {
    for key in [
        "database.timeout",
        "gc.interval",
        "uploads.expire",
        "scrub.interval",
        "limits.body_idle",
        "limits.header_timeout",
        "limits.idle_timeout",
        "limits.tls_timeout",
        "limits.proxy_timeout",
        "auth.token_expiration",
    ] {
        for zero in ["'0'", "'0s'", "0", "'999ms'"] {
            let refused = refusal(&format!("{key} = {zero}"), &[]);
            assert!(
                refused.contains(&format!("`{key}` is "))
                    && refused.contains("expected a duration of a second or more"),
                "{refused}"
            );
        }
        load(&format!("{key} = '1s'"), &[]);
    }
    for key in ["gc.grace", "drain.delay", "drain.timeout", "limits.linger"] {
        load(&format!("{key} = 0"), &[]);
    }
}

#[test]
fn the_head_of_a_request_has_a_size_that_clients_and_http2_can_have() {
    for size in ["'4GiB'", "0", "'8191B'", "'1025KiB'"] {
        let refused = refusal(&format!("limits.max_header_bytes = {size}"), &[]);
        assert!(
            refused.contains("expected a size from `8KiB` to `1MiB`"),
            "{refused}"
        );
    }
    for (size, bytes) in [("'8KiB'", 8 << 10), ("'1MiB'", 1 << 20)] {
        let config = load(&format!("limits.max_header_bytes = {size}"), &[]);
        assert_eq!(config.limits.max_header_bytes, bytes);
    }
}

#[test]
fn tls_that_no_listener_serves_is_refused() {
    const CERTIFICATE: &str = "[[tls.certificates]]\ncertificate = 'a'\n";
    const SECURE: &str = "[[listen]]\naddress = '[::]:1'\ntls = true\n";
    for (file, words) in [
        (
            "tls.client_certificates = 'required'".to_owned(),
            "`tls.client_certificates` is set, but no listener has `tls = true`",
        ),
        (
            CERTIFICATE.to_owned(),
            "`tls.certificates` is set, but no listener has `tls = true`",
        ),
        (
            format!("tls.client_crl = ['x']\n{SECURE}{CERTIFICATE}"),
            "`tls.client_crl` is set, but no listener asks for client certificates",
        ),
        (
            format!("tls.client_ca = 'x'\n{SECURE}{CERTIFICATE}"),
            "`tls.client_ca` is set, but no listener asks for client certificates",
        ),
    ] {
        let refused = refusal(&file, &[]);
        assert!(refused.contains(words), "{refused}");
    }
    let flags = Flags {
        listen: vec!["127.0.0.1:0".to_owned()],
        ..Flags::default()
    };
    Config::load(Sources {
        flags,
        ..sources("tls.client_certificates = 'required'", &[])
    })
    .expect("whoever names the listeners on the command line knows that they are plain");
}

#[test]
fn a_variable_takes_the_type_its_key_wants() {
    let config = load(
        "",
        &[
            ("SEAWALL_LIMITS__UPLOADS", "12"),
            ("SEAWALL_SERVER__NODE", "12"),
            ("SEAWALL_AUTH__ANONYMOUS", "false"),
            ("SEAWALL_STORAGE__RESERVE", "4096"),
            ("SEAWALL_GC__GRACE", "0"),
            ("SEAWALL_SERVER__TRUSTED_PROXIES", "['10.0.0.0/8', '::1']"),
            ("SEAWALL_LOG__LEVEL", "warn,db=debug"),
        ],
    );
    assert_eq!(config.limits.uploads, 12);
    assert_eq!(config.server.node, "12");
    assert!(!config.auth.anonymous);
    assert_eq!(config.storage.reserve, Some(4096));
    assert_eq!(config.gc.grace, Duration::ZERO);
    let proxies: Vec<String> = config
        .server
        .trusted_proxies
        .iter()
        .map(ToString::to_string)
        .collect();
    assert_eq!(proxies, ["10.0.0.0/8", "::1/128"]);
    for (name, value, message) in [
        (
            "SEAWALL_LIMITS__UPLOADS",
            "many",
            "`limits.uploads` is \"many\" (variable SEAWALL_LIMITS__UPLOADS): expected a whole number, one or more",
        ),
        (
            "SEAWALL_AUTH__ANONYMOUS",
            "1",
            "`auth.anonymous` is \"1\" (variable SEAWALL_AUTH__ANONYMOUS): expected `true` or `false`",
        ),
        (
            "SEAWALL_SERVER__TRUSTED_PROXIES",
            "10.0.0.0/8",
            "`server.trusted_proxies` is \"10.0.0.0/8\" (variable SEAWALL_SERVER__TRUSTED_PROXIES): expected a list such as [\"one\", \"two\"]",
        ),
    ] {
        assert_eq!(refusal("", &[(name, value)]), message);
    }
}

#[test]
fn variables_that_are_no_keys_are_passed_over() {
    load(
        "",
        &[
            ("SEAWALL_PORT", "tcp://10.0.0.1:80"),
            ("SEAWALL_SERVICE_HOST", "10.0.0.1"),
            ("SEAWALL_ADMIN_PASSWORD", "x"),
            ("SEAWALL_CONFIG", "/x"),
            ("SEAWALL__X", "1"),
            ("OTHER__KEY", "1"),
            ("SEAWALL_DATABASE__URL", ""),
        ],
    );
}

#[test]
fn a_variable_can_name_a_file_that_holds_the_value() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("url");
    let name = path.to_str().unwrap();
    fs::write(&path, "postgres://u:geheim@h/d\n").unwrap();
    let config = load(
        "database.url = 'sqlite:x'",
        &[("SEAWALL_DATABASE__URL_FILE", name)],
    );
    assert_eq!(
        config.database.url,
        DatabaseUrl::Postgres(Secret::new("postgres://u:geheim@h/d"))
    );
    // A key whose own name ends so is that key.
    let config = load("", &[("SEAWALL_SERVER__SECRET_KEY_FILE", name)]);
    assert_eq!(config.server.secret_key_file, path);

    let both = refusal(
        "",
        &[
            ("SEAWALL_DATABASE__URL_FILE", name),
            ("SEAWALL_DATABASE__URL", "sqlite:x"),
        ],
    );
    assert!(
        both.contains("both SEAWALL_DATABASE__URL and SEAWALL_DATABASE__URL_FILE are set"),
        "{both}"
    );
    let missing = refusal("", &[("SEAWALL_DATABASE__URL_FILE", "/nowhere")]);
    assert!(
        missing.contains("database.url_file") && missing.contains("cannot read the file"),
        "{missing}"
    );
    // The content is not shown, whatever the key.
    fs::write(&path, "geheim").unwrap();
    let wrong = refusal("", &[("SEAWALL_GC__GRACE_FILE", name)]);
    assert!(
        wrong.starts_with(
            "`gc.grace` is *** (variable SEAWALL_GC__GRACE_FILE): expected a duration"
        ),
        "{wrong}"
    );
}

#[test]
fn a_key_and_its_parts_are_not_set_both() {
    let refused = refusal(
        "",
        &[
            ("SEAWALL_GC__GRACE", "1h"),
            ("SEAWALL_GC__GRACE__MORE", "1"),
        ],
    );
    assert!(
        refused.contains(
            "SEAWALL_GC__GRACE__MORE sets a part of what variable SEAWALL_GC__GRACE sets"
        ),
        "{refused}"
    );
}

#[test]
fn no_secret_is_in_the_debug_output() {
    let config = load("database.url = 'postgres://u:geheim@h/d'", &[]);
    assert!(
        matches!(&config.database.url, DatabaseUrl::Postgres(url) if url.expose().contains("geheim"))
    );
    assert!(!format!("{config:?}").contains("geheim"));
    assert!(
        !format!(
            "{:?}",
            sources(
                "database.url = 'geheim'",
                &[("SEAWALL_DATABASE__URL", "geheim")]
            )
        )
        .contains("geheim")
    );
}

#[test]
fn durations() {
    for (text, seconds) in [
        ("0", 0),
        ("0s", 0),
        ("90s", 90),
        ("10m", 600),
        ("24h", 86_400),
        ("7d", 604_800),
        ("1h30m", 5400),
        ("1d12h", 129_600),
    ] {
        assert_eq!(
            parse_duration(text),
            Some(Duration::from_secs(seconds)),
            "{text}"
        );
    }
    assert_eq!(parse_duration("250ms"), Some(Duration::from_millis(250)));
    for text in [
        "",
        "5",
        "s",
        "-1s",
        "1.5h",
        "1 h",
        "1w",
        "1h30",
        "h1",
        "99999999999999d",
        "200000d",
    ] {
        assert_eq!(parse_duration(text), None, "{text}");
    }
}

#[test]
fn sizes() {
    for (text, bytes) in [
        ("0", 0),
        ("512", 512),
        ("512B", 512),
        ("64KiB", 65_536),
        ("64 KiB", 65_536),
        ("10MB", 10_000_000),
        ("1gib", 1 << 30),
        ("2TiB", 2 << 40),
        ("3kB", 3000),
    ] {
        assert_eq!(parse_size(text), Some(bytes), "{text}");
    }
    for text in [
        "",
        "KiB",
        "-1",
        "1.5GiB",
        "1 lot",
        "1KiBx",
        "99999999999TiB",
        "9223372036854775808",
    ] {
        assert_eq!(parse_size(text), None, "{text}");
    }
}

#[test]
fn listeners_come_from_the_file_the_environment_or_the_flags() {
    let addresses = |config: &Config| {
        config
            .listen
            .iter()
            .map(|one| one.address.to_string())
            .collect::<Vec<_>>()
    };
    assert_eq!(addresses(&load("", &[])), ["[::]:8080"]);
    let file =
        "[[listen]]\naddress = '0.0.0.0:80'\n[[listen]]\naddress = '[::1]:81'\nonly = 'metrics'";
    assert_eq!(addresses(&load(file, &[])), ["0.0.0.0:80", "[::1]:81"]);
    let variables = [
        ("SEAWALL_LISTEN__1__ADDRESS", "[::1]:82"),
        ("SEAWALL_LISTEN__2__ADDRESS", "[::1]:83"),
    ];
    let config = load(file, &variables);
    assert_eq!(addresses(&config), ["0.0.0.0:80", "[::1]:82", "[::1]:83"]);
    assert_eq!(config.listen[1].only, Some(listen::Only::Metrics));
    assert_eq!(addresses(&load("", &variables)), ["[::1]:82", "[::1]:83"]);
    let flags = Flags {
        listen: vec!["127.0.0.1:0".to_owned()],
        ..Flags::default()
    };
    let config = Config::load(Sources {
        flags,
        ..sources(file, &variables)
    })
    .unwrap();
    assert_eq!(addresses(&config), ["127.0.0.1:0"]);
    for (file, words) in [
        (
            "[[listen]]\naddress = '8080'",
            "`listen.0.address` is \"8080\" (seawall.toml, line 2): ",
        ),
        (
            "[[listen]]\ntls = true",
            "`listen.0` (seawall.toml, line 1) needs `address`",
        ),
        (
            "[[listen]]\nadress = '[::]:80'",
            "unknown key `listen.0.adress` (seawall.toml, line 2); did you mean `listen.0.address`?",
        ),
        (
            "[[listen]]\naddress = '[::]:80'\ntls = true",
            "there is no certificate",
        ),
        ("listen = []", "`listen` is an empty list"),
    ] {
        let refused = refusal(file, &[]);
        assert!(refused.contains(words), "{refused}");
    }
}

#[test]
fn what_listening_needs_is_taken_from_all_its_sections() {
    let file = "[server]\ntrusted_proxies = ['10.0.0.1']\n[limits]\nbody_idle = '7s'\nlinger = '3s'\n[drain]\ndelay = '9s'";
    let listening = load(file, &[]).listening();
    assert_eq!(listening.trusted_proxies, ["10.0.0.1/32".parse().unwrap()]);
    assert_eq!(listening.limits.write_timeout, Duration::from_secs(7));
    assert_eq!(listening.limits.linger, Duration::from_secs(3));
    assert_eq!(listening.drain.delay, Duration::from_secs(9));
}

mod pins;
mod redis;
mod sample;
mod storage;
mod way_out;
