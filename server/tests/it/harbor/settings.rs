//! Every setting takes effect on the next request, on another node too.

use serde_json::{Value, json};

use crate::harness::{Browser, Client, Image, PASSWORD, Seawall, on_both};

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

#[test]
fn a_session_lasts_as_long_as_the_setting_says() {
    on_both(async |seawall| {
        let nodes = Nodes::of(seawall);
        nodes.set(json!({ "session_timeout": 5 })).await;
        for node in nodes.all() {
            let mut browser = Browser::open(node.stranger()).await;
            let answer = browser.login("admin", PASSWORD).await.expect(200);
            let cookies = answer.headers.get_all("set-cookie").iter();
            let mut cookies = cookies.map(|set| set.to_str().expect("a text"));
            let sid = cookies.find(|set| set.starts_with("sid=")).expect("one");
            assert!(sid.contains("; Max-Age=300;"), "{sid}");
        }
    });
}

#[test]
fn a_robot_lives_as_long_as_the_setting_says_where_its_maker_does_not() {
    on_both(async |seawall| {
        let nodes = Nodes::of(seawall);
        nodes.set(json!({ "robot_token_duration": 7 })).await;
        for (number, node) in nodes.all().enumerate() {
            let wanted = json!({ "name": format!("ci-{number}"), "level": "project", "permissions": [
                { "kind": "project", "namespace": "library", "access": [{ "resource": "repository", "action": "pull" }] },
            ] });
            let made = node.admin().api("POST", "/robots", &wanted).await;
            let made = made.expect(201).json();
            let shown = format!("/robots/{}", made["id"]);
            let shown = node.admin().api_get(&shown).await.expect(200).json();
            assert_eq!(shown["duration"], 7);
            let made_at = shown["creation_time"].as_str().expect("a time");
            let made_at = model::time::Timestamp::parse(made_at).expect("a time");
            let lives = shown["expires_at"].as_i64().expect("a number") - made_at.seconds();
            assert!((7 * 86_400 - lives).abs() <= 1, "{lives}");
        }
    });
}

#[test]
fn new_projects_get_the_quota_that_the_setting_says() {
    on_both(async |seawall| {
        let nodes = Nodes::of(seawall);
        let quota_of = async |node: &Seawall, name: &str| {
            let admin = node.admin();
            let wanted = json!({ "project_name": name });
            admin.api("POST", "/projects", &wanted).await.expect(201);
            let summary = format!("/projects/{name}/summary");
            let summary = admin.api_get(&summary).await.expect(200).json();
            summary["quota"]["hard"]["storage"].as_i64()
        };
        nodes.set(json!({ "storage_per_project": 1 << 30 })).await;
        for (number, node) in nodes.all().enumerate() {
            let name = format!("limited-{number}");
            assert_eq!(quota_of(node, &name).await, Some(1 << 30));
        }
        nodes
            .set(json!({ "quota_per_project_enable": false }))
            .await;
        for (number, node) in nodes.all().enumerate() {
            assert_eq!(quota_of(node, &format!("free-{number}")).await, None);
        }
        // A project that has none is shown none later either.
        nodes.set(json!({ "quota_per_project_enable": true })).await;
        for node in nodes.all() {
            let summary = node.admin().api_get("/projects/free-0/summary").await;
            assert_eq!(summary.expect(200).json().get("quota"), None);
        }
    });
}

#[test]
fn events_that_are_switched_off_leave_no_trace_in_the_audit() {
    on_both(async |seawall| {
        let nodes = Nodes::of(seawall);
        let told_of = async |node: &Seawall, name: &str| {
            let wanted = json!({ "project_name": name });
            let made = node.admin().api("POST", "/projects", &wanted).await;
            made.expect(201);
            let asked = format!("/auditlog-exts?q=resource%3D{name}");
            let listed = node.admin().api_get(&asked).await.expect(200);
            listed.json().as_array().map_or(0, Vec::len)
        };
        nodes
            .set(json!({ "disabled_audit_log_event_types": "create_project,pull_artifact" }))
            .await;
        for (number, node) in nodes.all().enumerate() {
            assert_eq!(told_of(node, &format!("quiet-{number}")).await, 0);
        }
        nodes
            .set(json!({ "disabled_audit_log_event_types": "" }))
            .await;
        for (number, node) in nodes.all().enumerate() {
            assert_eq!(told_of(node, &format!("loud-{number}")).await, 1);
        }
    });
}

/// What is known of the pulls of `library/{app}:v1`: the repository's count, whether a time is told, and rows of the audit.
async fn pulls(client: &Client, app: &str) -> (i64, bool, usize) {
    let repository = format!("/projects/library/repositories/{app}");
    let count = client.api_get(&repository).await.expect(200).json()["pull_count"].as_i64();
    let artifact = format!("{repository}/artifacts/v1");
    let artifact = client.api_get(&artifact).await.expect(200).json();
    let time = artifact["pull_time"].as_str().expect("a time").to_owned();
    let asked = format!("/auditlog-exts?q=operation%3Dpull,resource%3D~{app}");
    let audit = client.api_get(&asked).await.expect(200).json();
    (
        count.expect("a number"),
        !time.starts_with("0001-"),
        audit.as_array().map_or(0, Vec::len),
    )
}

#[test]
fn pulls_are_told_as_far_as_the_settings_say() {
    on_both(async |seawall| {
        let nodes = Nodes::of(seawall);
        for (app, off, expected) in [
            ("counted", "", (1, true, 1)),
            ("uncounted", "pull_count_update_disable", (0, true, 1)),
            ("timeless", "pull_time_update_disable", (1, false, 1)),
            ("quiet", "pull_audit_log_disable", (1, true, 0)),
        ] {
            if !off.is_empty() {
                nodes.set(json!({ off: true })).await;
            }
            let node = nodes.all().last().expect("one");
            let (admin, name) = (node.admin(), format!("library/{app}"));
            let image = Image::new(app);
            admin.push(&name, "v1", &image).await;
            admin.pull(&name, "v1", &image).await;
            // Told every few seconds, all of it at once.
            let begun = std::time::Instant::now();
            while pulls(&admin, app).await == (0, false, 0) {
                assert!(begun.elapsed().as_secs() < 60, "nothing is told of {app}");
                tokio::task::yield_now().await;
            }
            assert_eq!(pulls(&admin, app).await, expected, "{app}");
            if !off.is_empty() {
                nodes.set(json!({ off: false })).await;
            }
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
            "scanner_skip_update_pulltime": true,
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
