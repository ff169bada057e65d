//! Settings through the API: what is shown, what is refused, what is pinned.

use serde_json::{Value, json};

use crate::harness::{Answer, Client, on_both, on_both_with};

impl Client {
    /// Changes settings.
    pub async fn set(&self, settings: Value) -> Answer {
        self.api("PUT", "/configurations", &settings).await
    }

    /// A setting as it is shown.
    pub async fn setting(&self, name: &str) -> Value {
        let all = self.api_get("/configurations").await.expect(200).json();
        all[name].clone()
    }
}

#[test]
fn settings_are_shown_with_their_types_and_without_passwords() {
    on_both(async |seawall| {
        let all = seawall
            .admin()
            .api_get("/configurations")
            .await
            .expect(200)
            .json();
        for (name, value) in [
            ("auth_mode", json!("db_auth")),
            ("token_expiration", json!(30)),
            ("storage_per_project", json!(-1)),
            ("read_only", json!(false)),
            ("robot_name_prefix", json!("robot$")),
            ("ldap_uid", json!("cn")),
            ("oidc_extra_redirect_parms", json!("{}")),
        ] {
            assert_eq!(
                all[name],
                json!({ "value": value, "editable": true }),
                "{name}"
            );
        }
        for absent in [
            "ldap_search_password",
            "email_password",
            "oidc_client_secret",
            "scan_all_policy",
        ] {
            assert!(all.get(absent).is_none(), "{absent}");
        }
    });
}

#[test]
fn settings_are_for_administrators() {
    on_both(async |seawall| {
        seawall.make_user("reader");
        let (stranger, reader) = (seawall.stranger(), seawall.user("reader"));
        stranger
            .api_get("/configurations")
            .await
            .refused(401, "UNAUTHORIZED");
        stranger.set(json!({})).await.refused(401, "UNAUTHORIZED");
        reader
            .api_get("/configurations")
            .await
            .refused(403, "FORBIDDEN");
        let refused = reader.set(json!({ "read_only": true })).await;
        assert_eq!(refused.message(), "reader");
        refused.refused(403, "FORBIDDEN");
        assert_eq!(seawall.admin().setting("read_only").await["value"], false);
    });
}

#[test]
fn a_change_leaves_the_others_and_passes_unknown_names_over() {
    on_both(async |seawall| {
        let admin = seawall.admin();
        let wanted = json!({
            "token_expiration": 45, "banner_message": "{\"message\":\"hello\"}", "no_such_setting": [1],
            "self_registration": null, "email_password": "secret of mine",
        });
        let done = admin.set(wanted).await.expect(200);
        assert!(done.body.is_empty());
        let all = admin.api_get("/configurations").await.expect(200);
        assert!(!all.text().contains("secret of mine"));
        let all = all.json();
        assert_eq!(all["token_expiration"]["value"], 45);
        assert_eq!(all["banner_message"]["value"], "{\"message\":\"hello\"}");
        assert_eq!(all["self_registration"]["value"], false);
        assert_eq!(all["session_timeout"]["value"], 60);
        assert!(all.get("no_such_setting").is_none());
        // Numbers and truths as texts, as old clients send them.
        admin
            .set(json!({ "token_expiration": "46", "read_only": "false" }))
            .await
            .expect(200);
        assert_eq!(admin.setting("token_expiration").await["value"], 46);
    });
}

#[test]
fn what_a_setting_cannot_be_is_refused_by_name_and_nothing_changes() {
    on_both(async |seawall| {
        let admin = seawall.admin();
        for (name, value) in [
            ("token_expiration", json!(0)),
            ("robot_token_duration", json!(10_000_000_000_i64)),
            ("session_timeout", json!(-5)),
            ("session_timeout", json!("soon")),
            ("storage_per_project", json!(0)),
            ("storage_per_project", json!(1_125_899_906_842_625_i64)),
            ("project_creation_restriction", json!("nobody")),
            ("robot_name_prefix", json!("")),
            ("read_only", json!("perhaps")),
            ("auth_mode", json!(7)),
            ("audit_log_forward_endpoint", json!("no port")),
        ] {
            let mut wanted = json!({ "banner_message": "changed" });
            wanted[name] = value;
            let refused = admin.set(wanted).await;
            assert!(refused.message().contains(name), "{}", refused.text());
            refused.refused(400, "BAD_REQUEST");
        }
        let refused = admin.set(json!({ "skip_audit_log_database": true })).await;
        assert!(
            refused.message().contains("audit log forward endpoint"),
            "{}",
            refused.text()
        );
        refused.refused(400, "BAD_REQUEST");
        assert_eq!(admin.setting("banner_message").await["value"], "");
        let no_body = admin.request("PUT", "/api/v2.0/configurations");
        no_body.send().await.refused(422, "UNPROCESSABLE_ENTITY");
        let form = admin
            .request("PUT", "/api/v2.0/configurations")
            .header("content-type", "application/x-www-form-urlencoded")
            .body("read_only=true");
        form.send().await.refused(415, "UNSUPPORTED_MEDIA_TYPE");
    });
}

#[test]
fn the_audit_is_forwarded_only_to_somebody_who_listens() {
    on_both(async |seawall| {
        let admin = seawall.admin();
        let collector = std::net::TcpListener::bind("127.0.0.1:0").expect("a socket");
        let endpoint = collector.local_addr().expect("an address").to_string();
        let wanted =
            json!({ "audit_log_forward_endpoint": endpoint, "skip_audit_log_database": true });
        admin.set(wanted.clone()).await.expect(200);
        assert_eq!(
            admin.setting("skip_audit_log_database").await["value"],
            true
        );
        admin
            .set(json!({ "audit_log_forward_endpoint": "", "skip_audit_log_database": false }))
            .await
            .expect(200);
        drop(collector);
        let refused = admin.set(wanted).await;
        assert!(
            refused.message().contains("could not connect"),
            "{}",
            refused.text()
        );
        refused.refused(400, "BAD_REQUEST");
        assert_eq!(
            admin.setting("audit_log_forward_endpoint").await["value"],
            ""
        );
    });
}

#[test]
fn the_way_of_signing_in_stays_once_there_are_people() {
    on_both(async |seawall| {
        let admin = seawall.admin();
        admin
            .set(json!({ "auth_mode": "ldap_auth" }))
            .await
            .expect(200);
        assert_eq!(admin.setting("auth_mode").await["value"], "ldap_auth");
        admin
            .set(json!({ "auth_mode": "db_auth" }))
            .await
            .expect(200);
        seawall.make_user("somebody");
        admin
            .set(json!({ "auth_mode": "db_auth" }))
            .await
            .expect(200);
        let refused = admin.set(json!({ "auth_mode": "ldap_auth" })).await;
        assert_eq!(
            refused.message(),
            "the auth mode cannot be modified as new users have been inserted into database"
        );
        refused.refused(400, "BAD_REQUEST");
    });
}

#[test]
fn a_pinned_setting_is_shown_as_such_and_stays() {
    let settings = [
        ("SEAWALL_SETTINGS__BANNER_MESSAGE", "pinned"),
        ("SEAWALL_SETTINGS__TOKEN_EXPIRATION", "7"),
    ];
    on_both_with(&settings, async |seawall| {
        let admin = seawall.admin();
        let told = admin.setting("token_expiration").await;
        assert_eq!(told, json!({ "value": 7, "editable": false }));
        let refused = admin
            .set(json!({ "banner_message": "mine", "session_timeout": 10 }))
            .await;
        assert!(
            refused.message().contains("banner_message"),
            "{}",
            refused.text()
        );
        refused.refused(403, "FORBIDDEN");
        assert_eq!(
            admin.setting("session_timeout").await,
            json!({ "value": 60, "editable": true })
        );
        admin
            .set(json!({ "session_timeout": 10 }))
            .await
            .expect(200);
        let info = seawall
            .stranger()
            .api_get("/systeminfo")
            .await
            .expect(200)
            .json();
        assert_eq!(info["banner_message"], "pinned");
    });
}

#[test]
fn harbors_variable_pins_everything() {
    let settings = [("CONFIG_OVERWRITE_JSON", "{\"self_registration\":true}")];
    on_both_with(&settings, async |seawall| {
        let admin = seawall.admin();
        assert_eq!(
            admin.setting("self_registration").await,
            json!({ "value": true, "editable": false })
        );
        assert_eq!(
            admin.setting("read_only").await,
            json!({ "value": false, "editable": false })
        );
        for wanted in [
            json!({}),
            json!({ "read_only": true }),
            json!({ "token_expiration": 0 }),
        ] {
            let refused = admin.set(wanted).await;
            assert!(
                refused.message().contains("CONFIG_OVERWRITE_JSON"),
                "{}",
                refused.text()
            );
            refused.refused(403, "FORBIDDEN");
        }
    });
}
