//! Groups of people through the API.

use serde_json::{Value, json};

use crate::harness::{Seawall, on_both, on_both_with};

fn group(name: &str, kind: i64) -> Value {
    json!({ "group_name": name, "group_type": kind })
}

async fn made(seawall: &Seawall, name: &str) -> String {
    let made = seawall
        .admin()
        .api("POST", "/usergroups", &group(name, 3))
        .await
        .expect(201);
    let location = made.header("location");
    let path = location.strip_prefix("/api/v2.0").expect("a path");
    path.to_owned()
}

#[test]
fn a_group_is_made_shown_renamed_and_deleted() {
    on_both(async |seawall| {
        let admin = seawall.admin();
        let path = made(seawall, "team").await;
        let shown = admin.api_get(&path).await.expect(200).json();
        assert_eq!(shown, json!({ "group_name": "team", "group_type": 3 }));
        admin
            .api("PUT", &path, &json!({ "group_name": "crew" }))
            .await
            .expect(200);
        let shown = admin.api_get(&path).await.expect(200).json();
        assert_eq!(shown["group_name"], "crew");
        let whole = format!("/api/v2.0{path}");
        admin.delete(&whole).await.expect(200);
        admin.get(&whole).await.refused(404, "NOT_FOUND");
        admin.delete(&whole).await.expect(200);
        made(seawall, "crew").await;
    });
}

#[test]
fn what_is_no_group_is_refused() {
    on_both(async |seawall| {
        let admin = seawall.admin();
        for body in [json!(null), json!({}), group("", 2)] {
            let refused = admin.api("POST", "/usergroups", &body).await;
            refused.refused(400, "BAD_REQUEST");
        }
        let dn = json!({ "group_name": "team", "group_type": 1, "ldap_group_dn": "cn=team" });
        let no_ldap = admin.api("POST", "/usergroups", &dn).await;
        assert!(
            no_ldap
                .refused(400, "BAD_REQUEST")
                .message()
                .contains("LDAP")
        );
        for kind in [0, 4, -1] {
            let refused = admin.api("POST", "/usergroups", &group("team", kind)).await;
            refused.refused(400, "BAD_REQUEST");
        }
        let long = group(&"x".repeat(256), 2);
        admin
            .api("POST", "/usergroups", &long)
            .await
            .refused(400, "BAD_REQUEST");
        let (team, other) = (made(seawall, "team").await, made(seawall, "other").await);
        for kind in [2, 3] {
            let again = admin.api("POST", "/usergroups", &group("team", kind)).await;
            again.refused(409, "CONFLICT");
        }
        let taken = json!({ "group_name": "team" });
        admin
            .api("PUT", &other, &taken)
            .await
            .refused(409, "CONFLICT");
        admin.api("PUT", &team, &taken).await.expect(200);
        admin.api("PUT", &team, &json!({})).await.expect(400);
        admin
            .api("PUT", "/usergroups/4711", &taken)
            .await
            .refused(404, "NOT_FOUND");
        admin
            .api_get("/usergroups/0")
            .await
            .refused(400, "BAD_REQUEST");
        admin
            .api_get("/usergroups/x")
            .await
            .refused(422, "UNPROCESSABLE_ENTITY");
    });
}

#[test]
fn groups_are_listed_by_administrators_and_searched_by_whoever_signed_in() {
    on_both(async |seawall| {
        for name in ["team", "Tea", "crew"] {
            made(seawall, name).await;
        }
        seawall.make_user("alice");
        let (alice, admin) = (seawall.user("alice"), seawall.admin());
        let page = admin
            .api_get("/usergroups?page=2&page_size=2")
            .await
            .expect(200);
        assert_eq!(page.header("x-total-count"), "3");
        assert_eq!(page.json()[0]["group_name"], "team");
        assert!(page.header("link").contains("rel=\"prev\""));
        let rows = admin
            .api_get("/usergroups?group_name=tea")
            .await
            .expect(200)
            .json();
        assert_eq!(rows.as_array().expect("a list").len(), 2);
        assert!(rows[0]["id"].is_number());
        let empty = admin.api_get("/usergroups?page=9").await.expect(200);
        assert_eq!(empty.json(), json!([]));

        let found = alice
            .api_get("/usergroups/search?groupname=TEA")
            .await
            .expect(200);
        assert_eq!(found.json()[0]["group_name"], "Tea", "the shortest first");
        alice
            .api_get("/usergroups/search?groupname=")
            .await
            .refused(400, "BAD_REQUEST");
        alice
            .api_get("/usergroups/search")
            .await
            .refused(422, "UNPROCESSABLE_ENTITY");
        let stranger = seawall.stranger();
        stranger
            .api_get("/usergroups/search?groupname=a")
            .await
            .refused(401, "UNAUTHORIZED");
        for (method, path) in [
            ("GET", "/usergroups"),
            ("POST", "/usergroups"),
            ("GET", "/usergroups/1"),
            ("PUT", "/usergroups/1"),
            ("DELETE", "/usergroups/1"),
        ] {
            let body = group("x", 2);
            stranger
                .api(method, path, &body)
                .await
                .refused(401, "UNAUTHORIZED");
            alice
                .api(method, path, &body)
                .await
                .refused(403, "FORBIDDEN");
        }
    });
}

#[test]
fn where_an_authentication_proxy_knows_people_its_groups_are_listed_alone() {
    let mode = [("SEAWALL_SETTINGS__AUTH_MODE", "http_auth")];
    on_both_with(&mode, async |seawall| {
        let admin = seawall.admin();
        for (name, kind) in [("proxy", 2), ("oidc", 3)] {
            admin
                .api("POST", "/usergroups", &group(name, kind))
                .await
                .expect(201);
        }
        let rows = admin.api_get("/usergroups").await.expect(200).json();
        assert_eq!(rows.as_array().expect("a list").len(), 1);
        assert_eq!(rows[0]["group_name"], "proxy");
    });
}
