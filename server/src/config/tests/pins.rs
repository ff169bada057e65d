//! Settings that the configuration pins.

use std::time::Duration;

use super::{Config, load, refusal, sources};

const OVERWRITE: &str = "CONFIG_OVERWRITE_JSON";

fn pinned(config: &Config) -> Vec<(&str, &str)> {
    let values = config.settings.values.iter();
    values
        .map(|(name, value)| (name.as_str(), value.as_str()))
        .collect()
}

#[test]
fn settings_come_from_the_file_and_the_environment() {
    let file = "[settings]\nread_only = true\nsession_timeout = 5\nself_registration = ''\nldap_uid = 'uid'\n\
                oidc_extra_redirect_parms = { a = 'b' }\n";
    let variables = [
        ("SEAWALL_SETTINGS__SESSION_TIMEOUT", "7"),
        ("SEAWALL_SETTINGS__READ_ONLY", "false"),
        ("SEAWALL_SETTINGS__STORAGE_PER_PROJECT", "-1"),
    ];
    let config = load(file, &variables);
    assert_eq!(
        pinned(&config),
        [
            ("ldap_uid", "uid"),
            ("oidc_extra_redirect_parms", "{\"a\":\"b\"}"),
            ("read_only", "false"),
            ("session_timeout", "7"),
            ("storage_per_project", "-1"),
        ]
    );
    assert!(!config.settings.all);
}

#[test]
fn what_is_no_setting_or_does_not_fit_is_refused_by_name() {
    for (file, words) in [
        (
            "settings.read_onyl = true",
            "unknown key `settings.read_onyl` (seawall.toml, line 1); did you mean `settings.read_only`?",
        ),
        (
            "settings.read_only = 'perhaps'",
            "`settings.read_only` is \"perhaps\" (seawall.toml, line 1): must be true or false",
        ),
        (
            "settings.token_expiration = 0",
            "`settings.token_expiration` is 0 (seawall.toml, line 1): must be a whole number from 1 to 9999999999",
        ),
        (
            "settings.storage_per_project = 0",
            "must be -1 (no limit) or a whole number from 1 to 1125899906842624",
        ),
        (
            "settings.email_password = ['geheim']",
            "`settings.email_password` is *** (seawall.toml, line 1)",
        ),
    ] {
        let refused = refusal(file, &[]);
        assert!(
            refused.contains(words) && !refused.contains("geheim"),
            "{refused}"
        );
    }
}

#[test]
fn harbors_variable_pins_what_it_names_and_everything_else_as_well() {
    let json = r#"{"auth_mode": "db_auth", "token_expiration": 45, "email_password": "geheim"}"#;
    let file = "auth.token_expiration = '90s'\nsettings.auth_mode = 'ldap_auth'";
    let config = load(file, &[(OVERWRITE, json)]);
    assert!(config.settings.all);
    assert_eq!(
        pinned(&config),
        [
            ("auth_mode", "db_auth"),
            ("email_password", "geheim"),
            ("token_expiration", "45"),
        ]
    );
    assert_eq!(config.auth.token_expiration, None);
    assert!(!format!("{config:?}").contains("geheim"));
    assert!(!load("", &[(OVERWRITE, "")]).settings.all);
    for (json, words) in [
        ("[1]", "variable CONFIG_OVERWRITE_JSON: no JSON object"),
        (
            r#"{"nonsense": 1}"#,
            "variable CONFIG_OVERWRITE_JSON: unknown setting `nonsense`",
        ),
        (
            r#"{"read_only": "perhaps"}"#,
            "variable CONFIG_OVERWRITE_JSON: `read_only` must be true or false",
        ),
    ] {
        let refused = refusal("", &[(OVERWRITE, json)]);
        assert!(refused.contains(words), "{refused}");
    }
    let debugged = format!("{:?}", sources("", &[(OVERWRITE, json)]));
    assert!(!debugged.contains("geheim"), "{debugged}");
}

#[test]
fn the_older_key_of_tokens_is_exact_and_pins_the_setting() {
    let config = load("auth.token_expiration = '90s'", &[]);
    assert_eq!(config.auth.token_expiration, Some(Duration::from_secs(90)));
    assert_eq!(pinned(&config), [("token_expiration", "2")]);
    let both = "auth.token_expiration = '90s'\nsettings.token_expiration = 5";
    assert!(refusal(both, &[]).contains("leave one of them out"));
}
