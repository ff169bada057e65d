//! What somebody may do, told in words; and what robots may do to people.

use serde_json::json;

use crate::harness::{Client, on_both};

#[test]
fn what_somebody_may_do_is_told_in_words() {
    on_both(async |seawall| {
        seawall.make_user("alice");
        seawall.run(&["project", "member", "set", "library", "alice", "developer"]);
        let pairs = async |client: &Client, query: &str| {
            let answer = client
                .api_get(&format!("/users/current/permissions{query}"))
                .await;
            let rows = answer.expect(200).json();
            let rows = rows.as_array().expect("a list").iter();
            rows.map(|row| {
                format!(
                    "{}:{}",
                    row["resource"].as_str().unwrap(),
                    row["action"].as_str().unwrap()
                )
            })
            .collect::<Vec<_>>()
        };
        let (alice, admin) = (seawall.user("alice"), seawall.admin());
        let relative = pairs(&alice, "?scope=/project/1&relative=true").await;
        for (pair, has) in [
            (".:read", true),
            (".:delete", false),
            ("repository:push", true),
            ("repository:delete", false),
            ("member:create", false),
        ] {
            assert_eq!(relative.iter().any(|known| known == pair), has, "{pair}");
        }
        let absolute = pairs(&alice, "?scope=/project/1").await;
        assert_eq!(absolute.len(), relative.len());
        assert!(absolute.contains(&"/project/1/repository:push".to_owned()));
        assert!(absolute.contains(&"/project/1:read".to_owned()));
        let all = pairs(&admin, "?scope=/project/1&relative=true").await;
        assert!(all.contains(&".:delete".to_owned()) && all.len() > relative.len());
        let system = pairs(&admin, "?scope=/system&relative=true").await;
        assert!(system.contains(&"user:create".to_owned()));
        for nothing in ["?scope=/system", "?scope=/project/4711", "?scope=/shoe", ""] {
            assert!(pairs(&alice, nothing).await.is_empty(), "{nothing}");
        }
        let stranger = seawall.stranger();
        stranger
            .api_get("/users/current/permissions")
            .await
            .refused(401, "UNAUTHORIZED");
    });
}

#[test]
fn a_robot_looks_after_people_and_not_after_administrators() {
    on_both(async |seawall| {
        for name in ["ann", "chief"] {
            seawall.make_user(name);
        }
        seawall.run(&["user", "set-admin", "chief", "on"]);
        let wanted = json!({
            "name": "people", "level": "system", "duration": -1, "permissions": [
                { "kind": "system", "namespace": "/", "access": [
                    { "resource": "user", "action": "update" }, { "resource": "user", "action": "delete" },
                ] },
            ],
        });
        let (_, robot) = seawall.make_robot(&wanted).await;
        let new = json!({ "new_password": "Another12345" });
        let profile = json!({ "email": "x@example.com", "realname": "X" });
        for (path, body) in [
            ("/users/3/password", &new),
            ("/users/3", &profile),
            ("/users/1/password", &new),
            ("/users/3/sysadmin", &json!({ "sysadmin_flag": false })),
            ("/users/2/sysadmin", &json!({ "sysadmin_flag": true })),
        ] {
            let refused = robot.api("PUT", path, body).await;
            refused.refused(403, "FORBIDDEN");
        }
        robot
            .delete("/api/v2.0/users/3")
            .await
            .refused(403, "FORBIDDEN");
        robot
            .api("PUT", "/users/2/password", &new)
            .await
            .expect(200);
        let project = json!({ "project_name": "mine" });
        robot
            .api("POST", "/projects", &project)
            .await
            .refused(403, "FORBIDDEN");
    });
}
