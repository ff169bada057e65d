//! What holds for the whole API: envelopes, methods, slashes, names by number.

use crate::harness::on_both;

#[test]
fn the_version_is_what_another_harbor_asks_for() {
    on_both(async |seawall| {
        let answer = seawall.stranger().get("/api/version").await.expect(200);
        assert_eq!(answer.json(), serde_json::json!({ "version": "v2.0" }));
        let pong = seawall.stranger().api_get("/ping").await.expect(200);
        assert_eq!(pong.text(), "Pong");
    });
}

#[test]
fn slashes_methods_and_unknown_paths_are_answered_in_harbors_way() {
    on_both(async |seawall| {
        let admin = seawall.admin();
        for path in ["/projects/library/", "//projects//library", "/projects/1"] {
            assert_eq!(
                admin.api_get(path).await.expect(200).json()["name"],
                "library",
                "{path}"
            );
        }
        let refused = admin
            .post("/api/v2.0/ping")
            .await
            .refused(405, "METHOD_NOT_ALLOWED");
        assert_eq!(refused.header("allow"), "GET");
        admin
            .api_get("/nothing/here")
            .await
            .refused(404, "NOT_FOUND");
    });
}

#[test]
fn a_project_that_is_missing_is_told_to_administrators_alone() {
    on_both(async |seawall| {
        seawall
            .admin()
            .api_get("/projects/nope")
            .await
            .refused(404, "NOT_FOUND");
        seawall
            .admin()
            .api_get("/projects/4711")
            .await
            .refused(404, "NOT_FOUND");
        seawall
            .stranger()
            .api_get("/projects/nope")
            .await
            .refused(401, "UNAUTHORIZED");
        seawall.make_user("somebody");
        let somebody = seawall.user("somebody");
        somebody
            .api_get("/projects/nope")
            .await
            .refused(403, "FORBIDDEN");
        somebody.api_get("/projects/library").await.expect(200);
    });
}

#[test]
fn a_number_is_a_name_where_the_header_says_so() {
    on_both(async |seawall| {
        seawall.run(&["project", "create", "1234"]);
        let admin = seawall.admin();
        admin
            .api_get("/projects/1234")
            .await
            .refused(404, "NOT_FOUND");
        let named = admin
            .request("GET", "/api/v2.0/projects/1234")
            .header("x-is-resource-name", "true")
            .send()
            .await
            .expect(200);
        assert_eq!(named.json()["name"], "1234");
    });
}

#[test]
fn the_document_can_be_browsed_without_anything_from_elsewhere() {
    on_both(async |seawall| {
        let stranger = seawall.stranger();
        let page = stranger.get("/devcenter-api-2.0").await.expect(200);
        assert_eq!(page.header("content-type"), "text/html; charset=utf-8");
        let policy = page.header("content-security-policy");
        assert!(
            policy.starts_with("default-src 'none'; script-src 'self';"),
            "{policy}"
        );
        let text = page.text();
        let script = text
            .split("src=\"")
            .nth(1)
            .and_then(|rest| rest.split('"').next());
        let script = stranger.get(script.expect("a script")).await.expect(200);
        assert_eq!(
            script.header("content-type"),
            "text/javascript; charset=utf-8"
        );
        assert_eq!(script.header("content-encoding"), "gzip");
        assert!(!text.contains("://"));
    });
}

#[test]
fn the_document_tells_what_is_served() {
    on_both(async |seawall| {
        let document = seawall
            .stranger()
            .get("/api/openapi.json")
            .await
            .expect(200)
            .json();
        assert_eq!(document["openapi"], "3.1.0");
        let get = &document["paths"]["/api/v2.0/projects/{project_name_or_id}"]["get"];
        assert_eq!(get["operationId"], "getProject");
        assert!(document["components"]["schemas"]["Project"].is_object());
    });
}
