//! Projects and their metadata, as Harbor's clients use them.

use serde_json::{Value, json};

use crate::harness::{Client, Image, Seawall, on_both};

async fn make(client: &Client, name: &str) -> i64 {
    let made = client
        .api("POST", "/projects", &json!({ "project_name": name }))
        .await
        .expect(201);
    let location = made.header("location");
    let id = location.strip_prefix("/api/v2.0/projects/").expect("below");
    id.parse().expect("a number")
}

fn names(list: &Value) -> Vec<&str> {
    let rows = list.as_array().expect("a list").iter();
    rows.map(|row| row["name"].as_str().expect("a name"))
        .collect()
}

fn settle(seawall: &Seawall, members: &[(&str, &str, &str)]) {
    for (project, user, role) in members {
        seawall.run(&["project", "member", "set", project, user, role]);
    }
}

#[test]
fn a_project_is_made_shown_changed_and_deleted() {
    on_both(async |seawall| {
        let admin = seawall.admin();
        let wanted = json!({
            "project_name": "team", "public": true, "storage_limit": 1024,
            "metadata": { "auto_scan": "true", "severity": "Low", "proxy_speed_kb": "-1", "unheard": "of" },
        });
        let made = admin
            .request("POST", "/api/v2.0/projects")
            .header("content-type", "application/json")
            .header("x-resource-name-in-location", "true")
            .body(wanted.to_string())
            .send()
            .await
            .expect(201);
        assert_eq!(made.header("location"), "/api/v2.0/projects/team");
        let shown = admin.api_get("/projects/team").await.expect(200).json();
        assert_eq!(
            shown["metadata"],
            json!({ "public": "true", "auto_scan": "true", "severity": "low" })
        );
        assert_eq!(shown["owner_name"], "admin");
        assert_eq!(shown["current_user_role_id"], 1);
        assert_eq!(shown["current_user_role_ids"], json!([1]));
        assert_eq!(shown["repo_count"], 0);
        assert!(shown.get("registry_id").is_none());
        assert_eq!(shown["cve_allowlist"]["items"], json!([]));
        let change = json!({
            "metadata": { "public": "false", "prevent_vul": "true" },
            "cve_allowlist": { "items": [{ "cve_id": "CVE-2024-1" }], "expires_at": 1_900_000_000 },
        });
        admin
            .api("PUT", "/projects/team", &change)
            .await
            .expect(200);
        let shown = admin.api_get("/projects/team").await.expect(200).json();
        assert_eq!(
            shown["metadata"],
            json!({ "public": "false", "auto_scan": "true", "severity": "low", "prevent_vul": "true" })
        );
        assert_eq!(shown["cve_allowlist"]["items"][0]["cve_id"], "CVE-2024-1");
        assert_eq!(shown["cve_allowlist"]["expires_at"], 1_900_000_000);
        let summary = admin.api_get("/projects/team/summary").await.expect(200);
        assert_eq!(
            summary.json()["quota"],
            json!({ "hard": { "storage": 1024 }, "used": { "storage": 0 } })
        );
        assert_eq!(summary.json()["project_admin_count"], 1);
        admin.delete("/api/v2.0/projects/team").await.expect(200);
        admin
            .api_get("/projects/team")
            .await
            .refused(404, "NOT_FOUND");
        make(&admin, "team").await;
    });
}

#[test]
fn what_a_project_cannot_be_is_refused() {
    on_both(async |seawall| {
        let admin = seawall.admin();
        for (wanted, status) in [
            (json!({ "project_name": "Not A Name" }), 400),
            (json!({ "project_name": "a b" }), 400),
            (json!({ "project_name": "" }), 400),
            (json!({ "project_name": "a".repeat(256) }), 422),
            (json!({ "project_name": "library" }), 409),
            (
                json!({ "project_name": "p", "metadata": { "public": "maybe" } }),
                400,
            ),
            (
                json!({ "project_name": "p", "metadata": { "public": true } }),
                400,
            ),
            (
                json!({ "project_name": "p", "metadata": { "retention_id": "1" } }),
                400,
            ),
            (
                json!({ "project_name": "p", "metadata": { "severity": "terrible" } }),
                400,
            ),
            (json!({ "project_name": "p", "registry_id": 0 }), 400),
            (json!({ "project_name": "p", "registry_id": 7 }), 400),
            (json!({ "project_name": "p", "storage_limit": -2 }), 400),
            (
                json!({ "project_name": "p", "storage_limit": 1_u64 << 51 }),
                400,
            ),
            (json!(null), 422),
        ] {
            let refused = admin.api("POST", "/projects", &wanted).await;
            assert_eq!(refused.status.as_u16(), status, "{wanted}");
        }
        let taken = json!({ "project_name": "library" });
        let refused = admin.api("POST", "/projects", &taken).await;
        assert_eq!(
            refused.refused(409, "CONFLICT").message(),
            "The project named library already exists"
        );
        let good =
            json!({ "project_name": "p", "registry_id": null, "metadata": { "retention_id": "" } });
        admin.api("POST", "/projects", &good).await.expect(201);
        for change in [
            json!({ "metadata": { "retention_id": "7" } }),
            json!({ "metadata": { "public": "maybe" } }),
            json!({ "cve_allowlist": { "project_id": 4711 } }),
            json!({ "cve_allowlist": { "items": [{ "cve_id": " " }] } }),
        ] {
            let refused = admin.api("PUT", "/projects/p", &change).await;
            refused.refused(400, "BAD_REQUEST");
        }
    });
}

#[test]
fn who_may_make_projects_a_setting_says() {
    on_both(async |seawall| {
        seawall.make_user("bob");
        let (admin, bob) = (seawall.admin(), seawall.user("bob"));
        let wanted = json!({ "project_name": "p", "storage_limit": 77 });
        seawall
            .stranger()
            .api("POST", "/projects", &wanted)
            .await
            .refused(401, "UNAUTHORIZED");
        bob.api("POST", "/projects", &wanted).await.expect(201);
        let shown = bob.api_get("/projects/p").await.expect(200).json();
        assert_eq!(
            (&shown["owner_name"], &shown["current_user_role_id"]),
            (&json!("bob"), &json!(1))
        );
        let summary = bob.api_get("/projects/p/summary").await.expect(200).json();
        assert_eq!(summary["quota"]["hard"]["storage"], -1);
        let of_proxies = json!({ "project_name": "q", "registry_id": 1 });
        bob.api("POST", "/projects", &of_proxies)
            .await
            .refused(403, "FORBIDDEN");
        let secret = json!({
            "name": "maker", "level": "system", "duration": -1, "permissions": [
                { "kind": "system", "namespace": "/", "access": [{ "resource": "project", "action": "create" }] },
            ],
        });
        let robot = admin
            .api("POST", "/robots", &secret)
            .await
            .expect(201)
            .json();
        let secret = robot["secret"].as_str().expect("a secret");
        let robot = seawall.stranger().with_basic("robot$maker", secret);
        make(&robot, "made").await;
        let made = admin.api_get("/projects/made").await.expect(200).json();
        assert_eq!(made["owner_name"], "admin");
    });
}

#[test]
fn a_list_holds_what_its_caller_may_see() {
    on_both(async |seawall| {
        seawall.make_user("bob");
        let (admin, bob) = (seawall.admin(), seawall.user("bob"));
        for name in ["alpha", "beta", "gamma"] {
            make(&admin, name).await;
        }
        settle(seawall, &[("beta", "bob", "guest")]);
        let list = async |client: &Client, query: &str| {
            let answer = client.api_get(&format!("/projects{query}")).await;
            let answer = answer.expect(200);
            let total = answer.header("x-total-count").to_owned();
            (names(&answer.json()).join(" "), total)
        };
        let expect = |names: &str, total: &str| (names.to_owned(), total.to_owned());
        let stranger = seawall.stranger();
        assert_eq!(list(&stranger, "").await, expect("library", "1"));
        assert_eq!(list(&stranger, "?public=false").await, expect("", "0"));
        assert_eq!(list(&bob, "").await, expect("beta library", "2"));
        assert_eq!(list(&bob, "?public=false").await, expect("beta", "1"));
        assert_eq!(list(&bob, "?public=true").await, expect("library", "1"));
        assert_eq!(
            list(&admin, "").await,
            expect("alpha beta gamma library", "4")
        );
        assert_eq!(list(&admin, "?name=AMM").await, expect("gamma", "1"));
        assert_eq!(list(&admin, "?owner=bob").await, expect("", "0"));
        assert_eq!(list(&admin, "?q=name%3D~et").await, expect("beta", "1"));
        assert_eq!(
            list(&admin, "?sort=-name&page_size=2&page=2").await,
            expect("beta alpha", "4")
        );
        assert_eq!(list(&admin, "?page=9").await, expect("", "4"));
        assert_eq!(list(&admin, "?page_size=0").await.1, "4");
        admin
            .api_get("/projects?page_size=101")
            .await
            .refused(422, "UNPROCESSABLE_ENTITY");
        admin
            .api_get("/projects?q=nonsense")
            .await
            .refused(400, "BAD_REQUEST");
        let bare = admin.api_get("/projects?with_detail=false").await.json();
        assert!(bare[0].get("metadata").is_none() && bare[0].get("owner_name").is_none());
        assert_eq!(bare[0]["current_user_role_id"], 1);
    });
}

#[test]
fn robots_list_their_projects_and_public_ones() {
    on_both(async |seawall| {
        let admin = seawall.admin();
        for name in ["alpha", "beta"] {
            make(&admin, name).await;
        }
        for (name, namespace, level, expected) in [
            ("own", "alpha", "project", vec!["alpha", "library"]),
            ("all", "*", "system", vec!["alpha", "beta", "library"]),
        ] {
            let robot = json!({
                "name": name, "level": level, "duration": -1, "permissions": [
                    { "kind": "project", "namespace": namespace, "access": [{ "resource": "repository", "action": "pull" }] },
                ],
            });
            let (_, robot) = seawall.make_robot(&robot).await;
            let listed = robot.api_get("/projects").await.expect(200).json();
            assert_eq!(names(&listed), expected);
        }
    });
}

#[test]
fn head_tells_everybody_who_signed_in_whether_a_name_is_taken() {
    on_both(async |seawall| {
        seawall.make_user("bob");
        make(&seawall.admin(), "hidden").await;
        let bob = seawall.user("bob");
        let head = async |client: &Client, query: &str| {
            let path = format!("/api/v2.0/projects{query}");
            client.head(&path).await.status.as_u16()
        };
        assert_eq!(head(&bob, "?project_name=hidden").await, 200);
        assert_eq!(head(&bob, "?project_name=nothing").await, 404);
        assert_eq!(head(&bob, "").await, 422);
        let stranger = seawall.stranger();
        assert_eq!(head(&stranger, "?project_name=hidden").await, 401);
    });
}

#[test]
fn a_project_that_holds_repositories_stays() {
    on_both(async |seawall| {
        let admin = seawall.admin();
        make(&admin, "full").await;
        admin.push("full/app", "v1", &Image::new("full")).await;
        let told = admin.api_get("/projects/full/_deletable").await.expect(200);
        assert_eq!(
            told.json(),
            json!({ "deletable": false, "message": "the project contains repositories, can not be deleted" })
        );
        let refused = admin.delete("/api/v2.0/projects/full").await;
        assert_eq!(
            refused.refused(412, "PRECONDITION").message(),
            "precondition failed: the project contains repositories, can not be deleted"
        );
        let shown = admin.api_get("/projects/full").await.expect(200).json();
        assert_eq!(shown["repo_count"], 1);
        let empty = admin.api_get("/projects/library/_deletable").await;
        assert_eq!(empty.expect(200).json(), json!({ "deletable": true }));
    });
}

#[test]
fn metadata_is_read_and_written_a_key_at_a_time() {
    on_both(async |seawall| {
        let admin = seawall.admin();
        let at = "/projects/library/metadatas";
        admin
            .api("POST", at, &json!({ "auto_scan": "1" }))
            .await
            .expect(200);
        let again = admin.api("POST", at, &json!({ "auto_scan": "true" })).await;
        again.refused(409, "CONFLICT");
        for bad in [
            json!({}),
            json!({ "auto_scan": "true", "prevent_vul": "true" }),
            json!({ "unheard": "of" }),
            json!({ "prevent_vul": "maybe" }),
            json!({ "severity": "terrible" }),
        ] {
            let refused = admin.api("POST", at, &bad).await;
            refused.refused(400, "BAD_REQUEST");
        }
        let one = async |name: &str| {
            let answer = admin.api_get(&format!("{at}/{name}")).await;
            answer.expect(200).json()
        };
        assert_eq!(one("auto_scan").await, json!({ "auto_scan": "true" }));
        assert_eq!(one("prevent_vul").await, json!({}));
        let path = format!("{at}/public");
        admin
            .api("PUT", &path, &json!({ "public": "false" }))
            .await
            .expect(200);
        admin
            .api("PUT", &path, &json!({ "auto_scan": "false" }))
            .await
            .refused(400, "BAD_REQUEST");
        seawall
            .stranger()
            .api_get("/projects/library")
            .await
            .refused(401, "UNAUTHORIZED");
        admin
            .delete(&format!("/api/v2.0{at}/auto_scan"))
            .await
            .expect(200);
        let all = admin.api_get(&format!("{at}/")).await.expect(200).json();
        assert_eq!(all, json!({ "public": "false" }));
        seawall.make_user("bob");
        settle(seawall, &[("library", "bob", "project-admin")]);
        let bob = seawall.user("bob");
        bob.api_get(at).await.refused(403, "FORBIDDEN");
        bob.api_get(&path).await.expect(200);
    });
}

#[test]
fn without_scanners_there_is_none_to_choose_from() {
    on_both(async |seawall| {
        let admin = seawall.admin();
        let at = "/projects/library/scanner";
        let none = admin.api_get(at).await.expect(200);
        assert!(none.body.is_empty());
        seawall
            .stranger()
            .api_get(at)
            .await
            .refused(401, "UNAUTHORIZED");
        let chosen = json!({ "uuid": "faked_uuid" });
        admin.api("PUT", at, &chosen).await.expect(200);
        admin
            .api("PUT", at, &json!({}))
            .await
            .refused(400, "BAD_REQUEST");
        let candidates = admin.api_get(&format!("{at}/candidates")).await.expect(200);
        assert_eq!(candidates.json(), json!([]));
        assert_eq!(candidates.header("x-total-count"), "0");
        let shown = admin.api_get("/projects/library").await.expect(200).json();
        assert!(shown["metadata"].get("projectScanner").is_none());
    });
}
