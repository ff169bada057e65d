//! The trash of deleted projects.

use serde_json::{Value, json};

use super::{KEPT, collect};
use crate::harness::{Client, Image, on_both_with};

pub const PROJECTS: &str = "/system/trash/projects";
const ROBOTS: &str = "/robots?q=Level=project,ProjectID=2";

/// All that clients can read of it, without what changes with time.
async fn shown(admin: &Client) -> Value {
    let mut all = serde_json::Map::new();
    for path in [
        "/projects/team",
        "/projects/team/summary",
        "/projects/team/members",
        "/projects/team/metadatas/",
        "/projects/team/immutabletagrules",
        ROBOTS,
        "/labels?scope=p&project_id=2",
        "/retentions/1",
        "/schedules?q=vendor_type=RETENTION",
    ] {
        let mut answer = admin.api_get(path).await.expect(200).json();
        if let Some(project) = answer.as_object_mut() {
            project.remove("update_time");
        }
        // A schedule is made anew.
        for one in answer.as_array_mut().into_iter().flatten() {
            if let Some(schedule) = one
                .as_object_mut()
                .filter(|_| path.starts_with("/schedules"))
            {
                schedule.retain(|key, _| key == "cron" || key == "vendor_id");
            }
        }
        all.insert(path.to_owned(), answer);
    }
    Value::Object(all)
}

#[test]
fn a_project_comes_back_with_all_that_belonged_to_it() {
    on_both_with(KEPT, async |seawall| {
        seawall.make_user("bob");
        let (admin, bob) = (seawall.admin(), seawall.user("bob"));
        let make = async |path: &str, body: Value| {
            admin.api("POST", path, &body).await.expect(201);
        };
        let metadata = json!({ "public": "false", "auto_scan": "true" });
        let project =
            json!({ "project_name": "team", "metadata": metadata, "storage_limit": 1_000_000 });
        make("/projects", project).await;
        let member = json!({ "role_id": 2, "member_user": { "username": "bob" } });
        make("/projects/team/members", member).await;
        let label = json!({ "name": "good", "scope": "p", "project_id": 2, "color": "#112233" });
        make("/labels", label).await;
        let every = json!({ "repository": [{ "kind": "doublestar", "decoration": "repoMatches", "pattern": "**" }] });
        let tags = |pattern: &str| json!([{ "kind": "doublestar", "decoration": "matches", "pattern": pattern }]);
        let fixed = json!({ "template": "immutable_template", "action": "immutable", "tag_selectors": tags("release-*"), "scope_selectors": every });
        make("/projects/team/immutabletagrules", fixed).await;
        let rule = json!({ "template": "always", "action": "retain", "params": {}, "tag_selectors": tags("**"), "scope_selectors": every });
        let policy = json!({
            "algorithm": "or", "rules": [rule], "scope": { "level": "project", "ref": 2 },
            "trigger": { "kind": "Schedule", "settings": { "cron": "0 0 3 1 1 *" }, "references": {} },
        });
        make("/retentions", policy).await;
        let access = json!([{ "resource": "repository", "action": "pull" }]);
        let robot = json!({
            "name": "ci", "level": "project", "duration": 30,
            "permissions": [{ "kind": "project", "namespace": "team", "access": access }],
        });
        let (_, robot) = seawall.make_robot(&robot).await;
        let image = Image::new("team's");
        admin.push("team/app", "v1", &image).await;
        admin
            .delete("/api/v2.0/projects/team/repositories/app")
            .await
            .expect(200);
        let before = shown(&admin).await;

        admin.delete("/api/v2.0/projects/team").await.expect(200);
        robot.get("/v2/").await.expect(401);
        for path in ["/retentions/1", "/projects/team", ROBOTS] {
            admin.api_get(path).await.expect(404);
        }
        let schedules = admin.api_get("/schedules?q=vendor_type=RETENTION");
        assert_eq!(schedules.await.expect(200).json(), json!([]));
        bob.api_get(PROJECTS).await.expect(403);
        let restore = format!("{PROJECTS}/2/restore");
        bob.api("POST", &restore, &Value::Null).await.expect(403);
        collect(seawall);

        // Its name is free meanwhile; whoever took it keeps it.
        make("/projects", json!({ "project_name": "team" })).await;
        let taken = admin.api("POST", &restore, &Value::Null).await;
        assert!(taken.expect(409).message().contains("already exists"));
        let listed = admin.api_get(PROJECTS).await.expect(200).json();
        assert_eq!(
            (
                &listed[0]["id"],
                &listed[0]["name"],
                &listed[0]["deleted_by"]
            ),
            (&json!(2), &json!("team"), &json!("admin"))
        );
        seawall.run(&["project", "delete", "team"]);
        let told = seawall.run(&["trash", "ls"]);
        assert_eq!(told.matches("\nteam ").count(), 2, "{told}");

        admin.api("POST", &restore, &Value::Null).await.expect(200);
        assert_eq!(shown(&admin).await, before);
        robot.get("/v2/").await.expect(200);
        bob.api_get("/projects/team/members").await.expect(200);
        let items = admin
            .api_get("/projects/team/trash")
            .await
            .expect(200)
            .json();
        let path = format!("/projects/team/trash/{}/restore", items[0]["id"]);
        admin.api("POST", &path, &Value::Null).await.expect(200);
        robot.pull("team/app", "v1", &image).await;
        admin.api("POST", &restore, &Value::Null).await.expect(404);
        assert_eq!(
            seawall.run(&["fsck"]).lines().last(),
            Some("nothing is wrong")
        );
    });
}

/// Of those who belonged to it somebody may be gone by then.
#[test]
fn nobody_who_is_gone_comes_back_with_a_project() {
    on_both_with(KEPT, async |seawall| {
        seawall.make_user("bob");
        let admin = seawall.admin();
        seawall.run(&["project", "create", "team"]);
        seawall.run(&["project", "member", "set", "team", "bob", "developer"]);
        let group = json!({ "group_name": "makers", "group_type": 3 });
        let made = admin.api("POST", "/usergroups", &group).await.expect(201);
        let group = made
            .header("location")
            .rsplit_once('/')
            .unwrap()
            .1
            .to_owned();
        let member =
            json!({ "role_id": 2, "member_group": { "id": group.parse::<i64>().unwrap() } });
        admin
            .api("POST", "/projects/team/members", &member)
            .await
            .expect(201);
        seawall.run(&["project", "delete", "team"]);
        seawall.run(&["user", "delete", "bob"]);
        admin
            .delete(&format!("/api/v2.0/usergroups/{group}"))
            .await
            .expect(200);
        seawall.run(&["project", "restore", "team"]);
        let members = admin
            .api_get("/projects/team/members")
            .await
            .expect(200)
            .json();
        let names: Vec<_> = members
            .as_array()
            .unwrap()
            .iter()
            .map(|one| &one["entity_name"])
            .collect();
        assert_eq!(names, [&json!("admin")]);
    });
}
