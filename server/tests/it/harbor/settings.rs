//! Every setting takes effect on the next request, on another node too.

use serde_json::{Value, json};

use crate::harness::{Client, Image, Seawall, on_both};

/// The server itself, and on PostgreSQL another node on the same database: what is set through the first holds on all.
struct Nodes<'a> {
    first: &'a Seawall,
    second: Option<Seawall>,
}

impl<'a> Nodes<'a> {
    fn of(first: &'a Seawall) -> Self {
        let second = first.is_shared().then(|| first.start_beside(&[]));
        Self { first, second }
    }

    fn all(&self) -> impl Iterator<Item = &Seawall> {
        std::iter::once(self.first).chain(&self.second)
    }

    async fn set(&self, settings: Value) {
        self.first.admin().set(settings).await.expect(200);
    }
}

async fn info(client: &Client) -> Value {
    client.api_get("/systeminfo").await.expect(200).json()
}

#[test]
fn what_systeminfo_tells_follows_its_setting() {
    on_both(async |seawall| {
        let nodes = Nodes::of(seawall);
        for (name, value) in [
            ("primary_auth_mode", json!(true)),
            ("self_registration", json!(true)),
            ("banner_message", json!("{\"message\":\"down at noon\"}")),
            ("notification_enable", json!(false)),
            ("project_creation_restriction", json!("adminonly")),
            ("auth_mode", json!("http_auth")),
        ] {
            nodes.set(json!({ name: value })).await;
            for node in nodes.all() {
                assert_eq!(info(&node.admin()).await[name], value, "{name}");
            }
        }
        nodes
            .set(json!({ "http_authproxy_endpoint": "https://proxy.example/login" }))
            .await;
        for node in nodes.all() {
            let told = info(&node.stranger()).await;
            assert_eq!(
                told["authproxy_settings"]["endpoint"],
                "https://proxy.example/login"
            );
        }
        nodes
            .set(json!({ "auth_mode": "oidc_auth", "oidc_name": "corporate" }))
            .await;
        for node in nodes.all() {
            assert_eq!(
                info(&node.stranger()).await["oidc_provider_name"],
                "corporate"
            );
        }
    });
}

#[test]
fn a_token_lives_as_long_as_the_setting_says() {
    on_both(async |seawall| {
        let nodes = Nodes::of(seawall);
        nodes.set(json!({ "token_expiration": 3 })).await;
        for node in nodes.all() {
            let token = node
                .admin()
                .get("/service/token?service=harbor-registry")
                .await;
            assert_eq!(token.expect(200).json()["expires_in"], 180);
        }
    });
}

#[test]
fn a_new_prefix_renames_all_robots_at_once() {
    on_both(async |seawall| {
        let nodes = Nodes::of(seawall);
        let made = seawall.run(&[
            "robot",
            "create",
            "ci",
            "--project",
            "library",
            "--pull",
            "--json",
        ]);
        let robot: Value = serde_json::from_str(&made).expect("JSON");
        let secret = robot["secret"].as_str().expect("a secret").to_owned();
        let signs_in = async |node: &Seawall, name: &str| {
            let client = node.stranger().with_basic(name, &secret);
            client.get("/v2/").await.status.as_u16()
        };
        for node in nodes.all() {
            assert_eq!(signs_in(node, "robot$library+ci").await, 200);
        }
        nodes.set(json!({ "robot_name_prefix": "bot-" })).await;
        for node in nodes.all() {
            assert_eq!(signs_in(node, "bot-library+ci").await, 200);
            assert_eq!(signs_in(node, "robot$library+ci").await, 401);
        }
    });
}

/// Harbor's text.
const READ_ONLY: &str = "The system is in read only mode. Any modification is prohibited.";

#[test]
fn nothing_is_written_while_the_system_is_read_only() {
    on_both(async |seawall| {
        let image = Image::new("before");
        seawall.admin().push("library/x", "v1", &image).await;
        let nodes = Nodes::of(seawall);
        nodes.set(json!({ "read_only": true })).await;
        for node in nodes.all() {
            let admin = node.admin();
            for (method, path) in [
                ("POST", "/v2/library/x/blobs/uploads/"),
                ("PUT", "/v2/library/x/manifests/v2"),
                ("DELETE", "/v2/library/x/manifests/v1"),
                ("PATCH", "/v2/library/x/blobs/uploads/some"),
                ("POST", "/api/v2.0/projects"),
                ("DELETE", "/api/v2.0/projects/library"),
                ("PUT", "/api/v2.0/users/1"),
                ("POST", "/api/internal/syncquota"),
            ] {
                let refused = admin.request(method, path).send().await;
                assert_eq!(refused.message(), READ_ONLY, "{method} {path}");
                let is_distribution = path.starts_with("/v2");
                assert_eq!(
                    refused.header("docker-distribution-api-version"),
                    if is_distribution { "registry/2.0" } else { "" }
                );
                refused.refused(403, "DENIED");
            }
            admin.pull("library/x", "v1", &image).await;
            assert_eq!(info(&admin).await["read_only"], true);
            // A wrong way to ask for it back is an ordinary mistake.
            admin
                .set(json!({ "read_only": "perhaps" }))
                .await
                .refused(400, "BAD_REQUEST");
        }
        for node in nodes.all().collect::<Vec<_>>().into_iter().rev().take(1) {
            node.admin()
                .set(json!({ "read_only": false }))
                .await
                .expect(200);
        }
        for (number, node) in nodes.all().enumerate() {
            let image = Image::new(&format!("after {number}"));
            node.admin().push("library/x", "v3", &image).await;
        }
    });
}

#[test]
fn settings_that_nothing_reads_yet_keep_their_value() {
    on_both(async |seawall| {
        let nodes = Nodes::of(seawall);
        let wanted = json!({
            "ldap_url": "ldaps://directory.example", "ldap_scope": 1, "ldap_verify_cert": false,
            "oidc_endpoint": "https://sso.example", "oidc_extra_redirect_parms": "{\"prompt\":\"login\"}",
            "uaa_endpoint": "https://uaa.example", "http_authproxy_skip_search": true,
            "scanner_skip_update_pulltime": true, "robot_token_duration": 90, "session_timeout": 5,
            "quota_per_project_enable": false, "storage_per_project": 1_073_741_824,
            "pull_count_update_disable": true, "pull_time_update_disable": true, "pull_audit_log_disable": true,
        });
        nodes.set(wanted.clone()).await;
        for node in nodes.all() {
            let told = node
                .admin()
                .api_get("/configurations")
                .await
                .expect(200)
                .json();
            for (name, value) in wanted.as_object().expect("an object") {
                assert_eq!(
                    told[name],
                    json!({ "value": value, "editable": true }),
                    "{name}"
                );
            }
        }
    });
}
