//! Retention policies through the API.

use serde_json::{Value, json};

use super::jobs::{location, until};
use crate::harness::{Client, Image, Seawall, on_both};

const ALL: &str = "/retentions";

/// Keeps the newest of what is tagged `v*`.
pub fn policy(project: i64) -> Value {
    json!({
        "algorithm": "or",
        "rules": [{
            "disabled": false, "action": "retain", "template": "latestPushedK", "params": { "latestPushedK": 1 },
            "tag_selectors": [{ "kind": "doublestar", "decoration": "matches", "pattern": "v*", "extras": "{\"untagged\":true}" }],
            "scope_selectors": { "repository": [{ "kind": "doublestar", "decoration": "repoMatches", "pattern": "**" }] },
        }],
        "trigger": { "kind": "Schedule", "references": {}, "settings": { "cron": "" } },
        "scope": { "level": "project", "ref": project },
    })
}

/// Begins an execution and waits for its end; its path and what is shown of it.
pub async fn apply(client: &Client, policy: &str, dry_run: bool) -> (String, Value) {
    let wanted = json!({ "dry_run": dry_run });
    let executions = format!("{policy}/executions");
    let begun = client.api("POST", &executions, &wanted).await;
    let path = location(&begun.expect(201));
    let id: i64 = path
        .rsplit_once('/')
        .and_then(|(_, id)| id.parse().ok())
        .expect("a number at the end");
    let list = until(client, &executions, |list| {
        let mut all = list.as_array().expect("a list").iter();
        let own = all.find(|one| one["id"] == id).expect("it is listed");
        !["Pending", "Running"].contains(&own["status"].as_str().expect("a status"))
    })
    .await;
    let mut all = list.as_array().expect("a list").iter();
    let own = all
        .find(|one| one["id"] == id)
        .expect("it is listed")
        .clone();
    (path, own)
}

async fn tags(seawall: &Seawall, repository: &str) -> Value {
    let list = seawall
        .admin()
        .get(&format!("/v2/{repository}/tags/list"))
        .await;
    list.expect(200).json()["tags"].clone()
}

#[test]
fn a_policy_is_tried_applied_and_tells_of_each_artifact() {
    on_both(async |seawall| {
        let admin = seawall.admin();
        let mut digests = Vec::new();
        for tag in ["v1", "v2", "latest"] {
            digests.push(admin.push("library/app", tag, &Image::new(tag)).await);
        }
        let made = admin.api("POST", ALL, &policy(1)).await.expect(201);
        let path = location(&made);
        let id = path.rsplit_once('/').unwrap().1.to_owned();
        let project = admin.api_get("/projects/library").await.expect(200).json();
        assert_eq!(project["metadata"]["retention_id"], json!(id));
        let mut shown = admin.api_get(&path).await.expect(200).json();
        assert_eq!(shown["id"].to_string(), id);
        let mut expected = policy(1);
        for rule in expected["rules"].as_array_mut().unwrap() {
            rule["id"] = json!(0);
            rule["priority"] = json!(0);
        }
        expected["id"] = shown["id"].clone();
        assert_eq!(shown, expected);

        let (_, dry) = apply(&admin, &path, true).await;
        assert_eq!(
            (
                &dry["status"],
                &dry["trigger"],
                &dry["dry_run"],
                &dry["policy_id"]
            ),
            (
                &json!("Success"),
                &json!("MANUAL"),
                &json!(true),
                &shown["id"]
            )
        );
        assert_eq!(
            tags(seawall, "library/app").await,
            json!(["latest", "v1", "v2"])
        );
        let (execution, _) = apply(&admin, &path, false).await;
        let tasks = admin
            .api_get(&format!("{execution}/tasks"))
            .await
            .expect(200);
        assert_eq!(tasks.header("x-total-count"), "1");
        let task = tasks.json()[0].clone();
        assert_eq!(
            (&task["repository"], &task["status"], &task["status_code"]),
            (&json!("app"), &json!("Success"), &json!(3))
        );
        assert_eq!((&task["total"], &task["retained"]), (&json!(3), &json!(1)));
        let log = format!("{execution}/tasks/{}", task["id"]);
        let log = admin.api_get(&log).await.expect(200).text();
        assert!(
            log.contains("rule 1 keeps the 1 most recently pushed, of tags like v*")
                && log
                    .lines()
                    .any(|line| line.contains(&digests[0]) && line.contains("| DEL |"))
                && log
                    .lines()
                    .any(|line| line.contains(&digests[1]) && line.contains("| RETAIN |")),
            "{log}"
        );
        assert_eq!(tags(seawall, "library/app").await, json!(["v2"]));

        // Terraform's way of deleting.
        shown["rules"] = json!([]);
        admin.api("PUT", &path, &shown).await.expect(200);
        let gone = format!("/api/v2.0{path}");
        admin.delete(&gone).await.expect(200);
        let project = admin.api_get("/projects/library").await.expect(200).json();
        assert_eq!(project["metadata"].get("retention_id"), None);
        admin.delete(&gone).await.refused(400, "BAD_REQUEST");
        admin.api_get(&path).await.refused(404, "NOT_FOUND");
        admin
            .api("PUT", &path, &shown)
            .await
            .refused(404, "NOT_FOUND");
    });
}

#[test]
fn what_is_immutable_stays_and_what_is_deleted_can_come_back() {
    on_both(async |seawall| {
        let admin = seawall.admin();
        let (gone, fixed) = (Image::new("gone"), Image::new("fixed"));
        admin.push("library/app", "old", &gone).await;
        admin.push("library/app", "fixed", &fixed).await;
        super::immutable_rules::make_immutable(&admin, "fixed").await;
        let path = location(&admin.api("POST", ALL, &policy(1)).await.expect(201));
        let (execution, _) = apply(&admin, &path, false).await;
        let tasks = admin
            .api_get(&format!("{execution}/tasks"))
            .await
            .expect(200)
            .json();
        assert_eq!(
            (&tasks[0]["total"], &tasks[0]["retained"]),
            (&json!(2), &json!(1))
        );
        assert_eq!(tags(seawall, "library/app").await, json!(["fixed"]));
        // Retention's trash is on by default.
        let trash = admin
            .api_get("/projects/library/trash")
            .await
            .expect(200)
            .json();
        assert_eq!(
            (&trash[0]["cause"], &trash[0]["tags"], &trash[0]["digest"]),
            (&json!("retention"), &json!(["old"]), &json!(gone.digest()))
        );
        let back = format!("/projects/library/trash/{}/restore", trash[0]["id"]);
        let back = admin
            .api("POST", &back, &Value::Null)
            .await
            .expect(200)
            .json();
        assert_eq!(back, json!({ "manifests": 1, "tags": 1, "taken": [] }));
        admin.pull("library/app", "old", &gone).await;
    });
}

#[test]
fn a_schedule_goes_with_its_policy() {
    on_both(async |seawall| {
        let admin = seawall.admin();
        let mut wanted = policy(1);
        wanted["trigger"]["settings"]["cron"] = json!("0 0 0 * * *");
        let path = location(&admin.api("POST", ALL, &wanted).await.expect(201));
        let shown = admin.api_get(&path).await.expect(200).json();
        let settings = &shown["trigger"]["settings"];
        assert!(settings["next_scheduled_time"].is_string(), "{shown}");
        let schedules = async || admin.api_get("/schedules").await.expect(200).json();
        let all = schedules().await;
        assert_eq!(
            (&all[0]["vendor_type"], &all[0]["vendor_id"]),
            (&json!("RETENTION"), &shown["id"])
        );
        wanted["trigger"]["settings"]["cron"] = json!("");
        admin.api("PUT", &path, &wanted).await.expect(200);
        assert_eq!(schedules().await, json!([]));
        wanted["trigger"]["settings"]["cron"] = json!("0 0 0 * * 0");
        admin.api("PUT", &path, &wanted).await.expect(200);
        assert_eq!(schedules().await[0]["cron"], "0 0 0 * * 0");
        admin.delete("/api/v2.0/projects/library").await.expect(200);
        assert_eq!(schedules().await, json!([]), "it goes with the project");
        admin.api_get(&path).await.refused(404, "NOT_FOUND");
    });
}

#[test]
fn what_is_wrong_with_a_policy_is_said() {
    on_both(async |seawall| {
        let admin = seawall.admin();
        let with = |change: fn(&mut Value)| {
            let mut wanted = policy(1);
            change(&mut wanted);
            wanted
        };
        for (wanted, status) in [
            (with(|it| it["scope"]["level"] = json!("system")), 400),
            (with(|it| it["scope"]["ref"] = json!(0)), 400),
            (with(|it| it["scope"]["ref"] = json!(4711)), 400),
            (with(|it| it["scope"] = Value::Null), 400),
            (with(|it| it["trigger"] = Value::Null), 400),
            (
                with(|it| it["trigger"]["settings"]["cron"] = json!("1 0 0 * * *")),
                400,
            ),
            (with(|it| it["trigger"]["settings"]["cron"] = json!(7)), 400),
            (
                with(|it| it["rules"][0]["template"] = json!("someday")),
                400,
            ),
            (with(|it| it["rules"][0]["action"] = json!("destroy")), 400),
            (
                with(|it| it["rules"][0]["tag_selectors"][0]["pattern"] = json!("[")),
                400,
            ),
            (with(|it| it["algorithm"] = json!("and")), 400),
            (
                with(|it| it["rules"] = json!(vec![it["rules"][0].clone(); 2])),
                409,
            ),
            (
                with(|it| {
                    let rule = it["rules"][0].clone();
                    let rules = (0..16).map(|number| {
                        let mut rule = rule.clone();
                        rule["params"]["latestPushedK"] = json!(number);
                        rule
                    });
                    it["rules"] = rules.collect();
                }),
                400,
            ),
        ] {
            let answer = admin.api("POST", ALL, &wanted).await;
            assert_eq!(
                answer.status.as_u16(),
                status,
                "{wanted}: {}",
                answer.text()
            );
        }
    });
}

#[test]
fn what_cannot_be_done_with_a_policy_is_said() {
    on_both(async |seawall| {
        let admin = seawall.admin();
        // As with Harbor a rule without its number is kept; it fails when it is applied.
        let mut lame = policy(1);
        lame["rules"][0]["params"] = json!({});
        let path = location(&admin.api("POST", ALL, &lame).await.expect(201));
        admin.push("library/app", "old", &Image::new("old")).await;
        let (_, failed) = apply(&admin, &path, false).await;
        assert_eq!(failed["status"], "Error");
        assert_eq!(tags(seawall, "library/app").await, json!(["old"]));
        // One policy a project.
        let second = admin.api("POST", ALL, &policy(1)).await;
        assert!(second.message().contains("already has retention policy"));
        second.refused(400, "BAD_REQUEST");
        let action = json!({ "action": "pause" });
        let answer = admin
            .api("PATCH", &format!("{path}/executions/1"), &action)
            .await;
        assert_eq!(answer.message(), "action should be 'stop'");
        for (method, path, body, status) in [
            (
                "PATCH",
                format!("{path}/executions/4711"),
                json!({ "action": "stop" }),
                404,
            ),
            (
                "GET",
                format!("{path}/executions/4711/tasks"),
                Value::Null,
                404,
            ),
            (
                "GET",
                format!("{path}/executions/4711/tasks/1"),
                Value::Null,
                404,
            ),
            (
                "POST",
                "/retentions/4711/executions".to_owned(),
                json!({ "dry_run": true }),
                400,
            ),
            (
                "GET",
                "/retentions/4711/executions".to_owned(),
                Value::Null,
                400,
            ),
            ("GET", "/retentions/4711".to_owned(), Value::Null, 404),
        ] {
            let answer = match method {
                "GET" => admin.api_get(&path).await,
                _ => admin.api(method, &path, &body).await,
            };
            assert_eq!(
                answer.status.as_u16(),
                status,
                "{method} {path}: {}",
                answer.text()
            );
        }
    });
}

#[test]
fn policies_are_for_whoever_has_the_right_in_their_project() {
    on_both(async |seawall| {
        let admin = seawall.admin();
        let path = location(&admin.api("POST", ALL, &policy(1)).await.expect(201));
        let executions = format!("{path}/executions");
        for (role, may) in [("developer", true), ("guest", false)] {
            seawall.make_user(role);
            seawall.run(&["project", "member", "set", "library", role, role]);
            let user = seawall.user(role);
            let expected = |status: u16| if may { status } else { 403 };
            user.api_get(&path).await.expect(expected(200));
            user.api_get(&executions).await.expect(expected(200));
            user.api("PUT", &path, &policy(1))
                .await
                .expect(expected(200));
            let dry = json!({ "dry_run": true });
            user.api("POST", &executions, &dry)
                .await
                .expect(expected(201));
        }
        let stranger = seawall.stranger();
        stranger.api_get(&path).await.refused(401, "UNAUTHORIZED");
        stranger
            .api("POST", ALL, &policy(1))
            .await
            .refused(401, "UNAUTHORIZED");
        stranger
            .delete(&format!("/api/v2.0{path}"))
            .await
            .refused(401, "UNAUTHORIZED");
        // Whoever may nothing there is not told that there is none.
        seawall.make_user("outsider");
        let outsider = seawall.user("outsider");
        outsider
            .api("POST", ALL, &policy(4711))
            .await
            .refused(403, "FORBIDDEN");
        outsider.api_get(&path).await.refused(403, "FORBIDDEN");
        let words = seawall
            .user("guest")
            .api_get("/retentions/metadatas")
            .await
            .expect(200)
            .json();
        let templates: Vec<_> = words["templates"]
            .as_array()
            .unwrap()
            .iter()
            .map(|one| one["rule_template"].as_str().unwrap())
            .collect();
        assert_eq!(
            templates,
            [
                "latestPushedK",
                "latestPulledN",
                "nDaysSinceLastPush",
                "nDaysSinceLastPull",
                "always"
            ]
        );
    });
}
