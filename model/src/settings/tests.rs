//! What settings may be, and what they are together.

use serde_json::json;

use super::*;

fn parsed(value: &Value) -> Result<Changes> {
    parse(value.as_object().expect("an object"))
}

fn settings(kept: &[(&str, &str)], pinned: &[(&str, &str)]) -> Settings {
    let own = |pairs: &[(&str, &str)]| -> Vec<(String, String)> {
        pairs
            .iter()
            .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
            .collect()
    };
    let pinned = Pinned {
        values: own(pinned).into_iter().collect(),
        all: false,
    };
    Settings::new(own(kept), &pinned)
}

#[test]
fn names_are_given_once_and_defaults_fit() {
    for (index, setting) in ALL.iter().enumerate() {
        assert!(ALL[..index].iter().all(|other| other.name != setting.name));
        assert_eq!(NAMES[index], setting.name);
        let may_be_unset = setting.default.is_empty();
        assert!(
            may_be_unset || setting.check(setting.default).as_deref() == Ok(setting.default),
            "{}",
            setting.name
        );
    }
}

#[test]
fn values_are_kept_as_harbor_writes_them() {
    for (name, value, text) in [
        ("read_only", json!(true), "true"),
        ("read_only", json!("false"), "false"),
        ("token_expiration", json!(1), "1"),
        ("token_expiration", json!(9_999_999_999_i64), "9999999999"),
        ("token_expiration", json!("45"), "45"),
        ("token_expiration", json!(30.0), "30"),
        ("storage_per_project", json!(-1), "-1"),
        (
            "storage_per_project",
            json!(1_i64 << 50),
            "1125899906842624",
        ),
        ("auth_mode", json!("ldap_auth"), "ldap_auth"),
        ("ldap_scope", json!(0), "0"),
        ("ldap_url", json!("ldaps://host"), "ldaps://host"),
        ("ldap_filter", json!(""), ""),
        ("robot_name_prefix", json!(" bot+ "), "bot+"),
        ("audit_log_forward_endpoint", json!(""), ""),
        (
            "audit_log_forward_endpoint",
            json!("syslog.example.com:514"),
            "syslog.example.com:514",
        ),
        (
            "audit_log_forward_endpoint",
            json!("[::1]:514"),
            "[::1]:514",
        ),
        (
            "audit_log_forward_endpoint",
            json!("tls://syslog.example.com:6514"),
            "tls://syslog.example.com:6514",
        ),
        (
            "oidc_extra_redirect_parms",
            json!("{\"a\":\"b\"}"),
            "{\"a\":\"b\"}",
        ),
        (
            "oidc_extra_redirect_parms",
            json!({ "a": "b" }),
            "{\"a\":\"b\"}",
        ),
        (
            "scan_all_policy",
            json!({ "type": "none" }),
            "{\"type\":\"none\"}",
        ),
    ] {
        let changes = parsed(&json!({ name: value })).expect(name);
        assert_eq!(changes.get(name).map(String::as_str), Some(text), "{name}");
    }
}

#[test]
fn what_does_not_fit_is_refused_with_name_and_bounds() {
    for (name, value, words) in [
        ("read_only", json!("yes"), "true or false"),
        ("read_only", json!(1), "true or false"),
        ("token_expiration", json!(0), "from 1 to 9999999999"),
        ("robot_token_duration", json!(-1), "from 1 to 9999999999"),
        (
            "session_timeout",
            json!(10_000_000_000_i64),
            "from 1 to 9999999999",
        ),
        ("token_expiration", json!(1.5), "from 1 to 9999999999"),
        ("token_expiration", json!(1e300), "from 1 to 9999999999"),
        (
            "storage_per_project",
            json!(0),
            "-1 (no limit) or a whole number from 1 to 1125899906842624",
        ),
        ("storage_per_project", json!(-2), "-1 (no limit)"),
        (
            "storage_per_project",
            json!((1_i64 << 50) + 1),
            "-1 (no limit)",
        ),
        ("auth_mode", json!("nis"), "db_auth, ldap_auth"),
        ("ldap_scope", json!(3), "from 0 to 2"),
        ("ldap_uid", json!("  "), "not empty"),
        ("email_port", json!(65_536), "from 1 to 65535"),
        ("robot_name_prefix", json!("  "), "1 to 64 characters"),
        ("robot_name_prefix", json!("a:b"), "1 to 64 characters"),
        ("banner_message", json!(["a"]), "must be a text"),
        ("banner_message", json!("a\0b"), "without NUL"),
        (
            "banner_message",
            json!("x".repeat(65_537)),
            "at most 65536 bytes",
        ),
        ("audit_log_forward_endpoint", json!("host"), "`HOST:PORT`"),
        (
            "audit_log_forward_endpoint",
            json!("http://host:1"),
            "`HOST:PORT`",
        ),
        ("audit_log_forward_endpoint", json!("host:0"), "`HOST:PORT`"),
        ("audit_log_forward_endpoint", json!(":514"), "`HOST:PORT`"),
        (
            "oidc_extra_redirect_parms",
            json!("{\"a\":1}"),
            "JSON object",
        ),
        ("scan_all_policy", json!("[]"), "JSON object"),
    ] {
        match parsed(&json!({ name: value })) {
            Err(Error::Invalid(What::Setting, why)) => {
                assert!(why.contains(name) && why.contains(words), "{why}");
            }
            other => panic!("{name}: {other:?}"),
        }
    }
}

#[test]
fn names_that_are_no_settings_are_passed_over() {
    let changes = parsed(&json!({ "nonsense": 1, "max_job_workers": 1, "read_only": null }));
    assert_eq!(changes.expect("nothing"), Changes::new());
}

#[test]
fn what_was_set_counts_and_what_is_pinned_counts_more() {
    let nothing = settings(&[], &[]);
    assert_eq!(nothing.token_expiration().as_secs(), 30 * 60);
    assert_eq!(nothing.robot_name_prefix(), "robot$");
    assert_eq!(nothing.storage_per_project(), None);
    assert_eq!(nothing.auth_mode(), AuthMode::Database);
    assert!(nothing.mail().is_none());
    let kept = [
        ("token_expiration", "5"),
        ("read_only", "true"),
        ("storage_per_project", "1024"),
        ("ldap_scope", "nine"),
        ("unknown", "x"),
        ("email_host", "mail"),
    ];
    let some = settings(&kept, &[("token_expiration", "7")]);
    assert_eq!(some.token_expiration().as_secs(), 7 * 60);
    assert!(some.read_only());
    assert_eq!(some.storage_per_project(), Some(1024));
    assert_eq!(some.text(find("ldap_scope").expect("known")), "2");
    assert_eq!(some.mail().expect("a server").port, 25);
}

#[test]
fn pinned_settings_are_not_changed_while_the_server_runs() {
    let settings = settings(&[], &[("read_only", "true")]);
    let read_only = find("read_only").expect("known");
    assert!(settings.is_pinned(read_only) && !settings.is_editable(read_only));
    let change = |value: Value| settings.check(&parsed(&value).expect("fits"));
    assert!(
        matches!(change(json!({ "read_only": false })), Err(Error::Denied(why)) if why.contains("read_only"))
    );
    assert!(change(json!({ "read_only": true, "self_registration": true })).is_ok());
    let locked = Settings::new(
        [],
        &Pinned {
            all: true,
            ..Pinned::default()
        },
    );
    assert!(!locked.is_editable(read_only));
    assert!(
        matches!(locked.check(&Changes::new()), Err(Error::Denied(why)) if why.contains("CONFIG_OVERWRITE_JSON"))
    );
}

#[test]
fn the_audit_is_kept_unless_it_is_forwarded() {
    let nowhere = settings(&[], &[]);
    let skip = json!({ "skip_audit_log_database": true });
    let both = json!({ "skip_audit_log_database": true, "audit_log_forward_endpoint": "h:1" });
    assert!(matches!(
        nowhere.check(&parsed(&skip).expect("fits")),
        Err(Error::Invalid(..))
    ));
    assert!(nowhere.check(&parsed(&both).expect("fits")).is_ok());
    let forwarded = settings(
        &[
            ("audit_log_forward_endpoint", "h:1"),
            ("skip_audit_log_database", "true"),
        ],
        &[],
    );
    let end = json!({ "audit_log_forward_endpoint": "" });
    assert!(matches!(
        forwarded.check(&parsed(&end).expect("fits")),
        Err(Error::Invalid(..))
    ));
}

#[test]
fn passwords_are_never_shown() {
    let settings = settings(
        &[("ldap_search_password", "geheim")],
        &[("email_password", "geheim")],
    );
    assert!(!format!("{settings:?}").contains("geheim"));
    for setting in ALL {
        let shown = setting.shown(settings.text(setting));
        assert!(shown.is_none_or(|value| !value.to_string().contains("geheim")));
    }
    let shown = |name: &str, text: &str| find(name).and_then(|setting| setting.shown(text));
    assert_eq!(shown("read_only", "true"), Some(json!(true)));
    assert_eq!(shown("token_expiration", "30"), Some(json!(30)));
    assert_eq!(shown("oidc_extra_redirect_parms", "{}"), Some(json!("{}")));
    assert_eq!(shown("scan_all_policy", ""), None);
    assert_eq!(shown("scan_all_policy", "{}"), Some(json!({})));
}
