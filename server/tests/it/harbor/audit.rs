//! The audit through the API: what stands there, and who may read it.

use serde_json::{Value, json};

use crate::harness::{Client, Image, on_both, on_both_with};

async fn entries(client: &Client, path: &str) -> Vec<Value> {
    client
        .api_get(path)
        .await
        .expect(200)
        .json()
        .as_array()
        .expect("a list")
        .clone()
}

#[test]
fn what_was_done_stands_there_with_who_did_it_and_from_where() {
    on_both(async |seawall| {
        let admin = seawall.admin();
        let label = json!({ "name": "good", "scope": "p", "project_id": 1 });
        admin.api("POST", "/labels", &label).await.expect(201);
        let newest = &entries(&admin, "/auditlog-exts").await[0];
        assert_eq!(
            (&newest["operation"], &newest["resource_type"]),
            (&json!("create"), &json!("label"))
        );
        assert_eq!(
            (&newest["resource"], &newest["username"]),
            (&json!("good"), &json!("admin"))
        );
        assert_eq!(
            (&newest["operation_result"], &newest["client_address"]),
            (&json!(true), &json!("127.0.0.1"))
        );
        assert_eq!(newest["operation_description"], "create label: good");
        let older = &entries(&admin, "/audit-logs").await[0];
        assert_eq!(
            (&older["id"], &older["op_time"]),
            (&newest["id"], &newest["op_time"])
        );
        assert!(older.get("operation_result").is_none());
    });
}

#[test]
fn pushes_and_deletions_are_told_of_whoever_made_them() {
    on_both(async |seawall| {
        seawall.make_user("dev");
        seawall.run(&["project", "member", "set", "library", "dev", "maintainer"]);
        let (dev, image) = (seawall.user("dev"), Image::new("audit"));
        dev.push("library/app", "v1", &image).await;
        let path = format!("/v2/library/app/manifests/{}", image.digest());
        dev.delete(&path).await.expect(202);
        let told = entries(
            &seawall.admin(),
            "/auditlog-exts?q=username%3Ddev,resource_type%3Dartifact&sort=id",
        )
        .await;
        let told: Vec<_> = told
            .iter()
            .map(|one| (one["operation"].as_str(), one["resource"].as_str()))
            .collect();
        let named = format!("library/app@{}", image.digest());
        assert!(
            told.contains(&(Some("create"), Some("library/app:v1")))
                || told.contains(&(Some("create"), Some(&named))),
            "{told:?}"
        );
        assert_eq!(
            told.last(),
            Some(&(Some("delete"), Some(named.as_str()))),
            "{told:?}"
        );
    });
}

#[test]
fn everybody_reads_what_concerns_the_projects_that_he_administers() {
    on_both(async |seawall| {
        let admin = seawall.admin();
        seawall.run(&["project", "create", "team"]);
        for (name, role) in [("boss", "project-admin"), ("dev", "developer")] {
            seawall.make_user(name);
            seawall.run(&["project", "member", "set", "team", name, role]);
        }
        for (name, project) in [("ours", 2), ("theirs", 1)] {
            let label = json!({ "name": name, "scope": "p", "project_id": project });
            admin.api("POST", "/labels", &label).await.expect(201);
        }
        let q = "?q=resource_type%3Dlabel";
        let (boss, dev) = (seawall.user("boss"), seawall.user("dev"));
        let seen = entries(&boss, &format!("/auditlog-exts{q}")).await;
        assert_eq!(seen.len(), 1, "{seen:?}");
        assert_eq!(seen[0]["resource"], "ours");
        assert_eq!(
            entries(&boss, &format!("/projects/team/auditlog-exts{q}")).await,
            seen
        );
        assert_eq!(
            entries(&boss, &format!("/projects/team/logs{q}"))
                .await
                .len(),
            1
        );
        assert!(entries(&dev, "/auditlog-exts").await.is_empty());
        dev.api_get("/projects/team/auditlog-exts")
            .await
            .refused(403, "FORBIDDEN");
        boss.api_get("/projects/library/logs")
            .await
            .refused(403, "FORBIDDEN");
        seawall
            .stranger()
            .api_get("/auditlog-exts")
            .await
            .refused(401, "UNAUTHORIZED");
        boss.api_get("/auditlog-exts/events")
            .await
            .refused(403, "FORBIDDEN");
        let types = entries(&admin, "/auditlog-exts/events").await;
        assert!(types.contains(&json!({ "event_type": "pull_artifact" })));
    });
}

#[test]
fn a_robot_reads_what_concerns_the_projects_whose_log_it_may_read() {
    on_both(async |seawall| {
        let admin = seawall.admin();
        for name in ["one", "two"] {
            let project = json!({ "project_name": name });
            admin.api("POST", "/projects", &project).await.expect(201);
        }
        let mut seen = Vec::new();
        for (number, permissions) in [
            json!([]),
            json!([["one", "log", "list"]]),
            json!([["one", "log", "list"], ["two", "log", "list"]]),
            json!([["*", "log", "list"]]),
        ]
        .iter()
        .enumerate()
        {
            let mut wanted = vec![
                json!({ "kind": "system", "namespace": "/", "access": [{ "resource": "label", "action": "read" }] }),
            ];
            for one in permissions.as_array().expect("a list") {
                let access = json!([{ "resource": one[1], "action": one[2] }]);
                wanted.push(json!({ "kind": "project", "namespace": one[0], "access": access }));
            }
            let robot = json!({ "name": format!("r{number}"), "level": "system", "duration": -1, "permissions": wanted });
            let (_, robot) = seawall.make_robot(&robot).await;
            let listed = robot
                .api_get("/auditlog-exts?q=operation%3Dcreate,resource_type%3Dproject")
                .await
                .expect(200);
            seen.push(listed.header("x-total-count").to_owned());
        }
        assert_eq!(seen, ["0", "1", "2", "3"]);
    });
}

#[test]
fn the_audit_is_kept_where_there_is_nobody_to_forward_it_to() {
    let pinned = [("SEAWALL_SETTINGS__SKIP_AUDIT_LOG_DATABASE", "true")];
    on_both_with(&pinned, async |seawall| {
        let admin = seawall.admin();
        let project = json!({ "project_name": "kept" });
        admin.api("POST", "/projects", &project).await.expect(201);
        let told = entries(&admin, "/auditlog-exts?q=resource%3Dkept").await;
        assert_eq!(told.len(), 1, "{told:?}");
    });
}
