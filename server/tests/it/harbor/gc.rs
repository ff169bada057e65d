//! Garbage collection and purging the audit, through the API.

use serde_json::{Value, json};

use super::jobs::{location, until};
use crate::harness::{Client, Image, Seawall, on_both, on_both_with};

pub const GC: &str = "/system/gc/schedule";
pub const PURGE: &str = "/system/purgeaudit/schedule";
/// What was released may go at once, and nothing goes by itself meanwhile.
const NOW: &[(&str, &str)] = &[
    ("SEAWALL_GC__GRACE", "0"),
    ("SEAWALL_GC__UNTAGGED_GRACE", "0"),
    ("SEAWALL_GC__INTERVAL", "1h"),
    ("SEAWALL_SCRUB__RATE", "0"),
];

fn manual(parameters: &Value) -> Value {
    json!({ "schedule": { "type": "Manual" }, "parameters": parameters })
}

/// Begins a run and waits for its end.
pub async fn run(client: &Client, path: &str, parameters: &Value) -> Value {
    let begun = client.api("POST", path, &manual(parameters)).await;
    let run = location(&begun.expect(201));
    until(client, &run, |run| {
        !["Pending", "Running"].contains(&run["job_status"].as_str().expect("a status"))
    })
    .await
}

fn parameters(run: &Value) -> Value {
    serde_json::from_str(run["job_parameters"].as_str().expect("a text")).expect("JSON")
}

#[test]
fn a_collection_that_was_asked_for_is_shown_with_what_it_did() {
    on_both_with(NOW, async |seawall| {
        let admin = seawall.admin();
        let gone = Image::new("gone");
        let digest = admin.push("library/app", "v1", &gone).await;
        admin.push("library/app", "v2", &Image::new("kept")).await;
        let tag = "/api/v2.0/projects/library/repositories/app/artifacts/v1/tags/v1";
        admin.delete(tag).await.expect(200);
        let wanted = json!({ "delete_untagged": true, "dry_run": true, "workers": 3 });
        let dry = run(&admin, GC, &wanted).await;
        assert_eq!(
            (&dry["job_name"], &dry["job_kind"], &dry["job_status"]),
            (
                &json!("GARBAGE_COLLECTION"),
                &json!("MANUAL"),
                &json!("Success")
            )
        );
        assert_eq!(dry["schedule"]["type"], "Manual");
        let counted = parameters(&dry);
        assert_eq!(
            (
                &counted["dry_run"],
                &counted["workers"],
                &counted["purged_manifests"]
            ),
            (&json!(true), &json!(3), &json!(1))
        );
        admin.pull("library/app", &digest, &gone).await;

        let real = run(&admin, GC, &json!({ "delete_untagged": true })).await;
        let counted = parameters(&real);
        assert_eq!(counted["purged_manifests"], 1, "{real}");
        assert_eq!(counted["purged_blobs"], 3, "{real}");
        assert!(counted["freed_space"].as_i64().expect("bytes") > 4096);
        let missing = format!("/v2/library/app/manifests/{digest}");
        admin.get(&missing).await.expect(404);

        let path = format!("/system/gc/{}", real["id"]);
        let log = admin.api_get(&format!("{path}/log")).await.expect(200);
        assert!(log.header("content-type").starts_with("text/plain"));
        let log = log.text();
        assert!(
            log.contains("asked for by admin")
                && log.contains(&format!("deleted library/app@{digest}: it has no tag"))
                && log.contains("1 manifests without a tag deleted"),
            "{log}"
        );
        // What has ended is left as it is.
        admin.api("PUT", &path, &Value::Null).await.expect(200);
        let list = admin.api_get("/system/gc?page_size=1").await.expect(200);
        assert_eq!(list.header("x-total-count"), "2");
        assert_eq!(list.json()[0]["id"], real["id"], "the newest first");
        let dry_alone = admin
            .api_get(&format!("/system/gc?q=id={}", dry["id"]))
            .await;
        assert_eq!(dry_alone.expect(200).json()[0]["id"], dry["id"]);
    });
}

#[test]
fn a_schedule_is_set_shown_and_taken_away() {
    on_both(async |seawall| {
        let admin = seawall.admin();
        for (path, params) in [
            (
                GC,
                json!({ "delete_untagged": true, "delete_tag": false, "dry_run": false, "workers": 1 }),
            ),
            (
                PURGE,
                json!({
                    "audit_retention_hour": 24, "include_event_types": "create_artifact", "dry_run": false,
                }),
            ),
        ] {
            let none = admin.api_get(path).await.expect(200);
            assert!(none.body.is_empty(), "{}", none.text());
            let wanted = json!({
                "schedule": { "type": "Daily", "cron": "0 0 0 * * *" }, "parameters": params,
            });
            let made = admin.api("POST", path, &wanted).await.expect(201);
            let nothing = path.replace("/schedule", "/0");
            assert_eq!(made.header("location"), format!("/api/v2.0{nothing}"));
            let shown = admin.api_get(path).await.expect(200).json();
            assert_eq!(
                (
                    &shown["job_kind"],
                    &shown["schedule"]["type"],
                    &shown["schedule"]["cron"]
                ),
                (
                    &json!("0 0 0 * * *"),
                    &json!("Daily"),
                    &json!("0 0 0 * * *")
                )
            );
            assert_eq!(parameters(&shown), params);
            let next = shown["schedule"]["next_scheduled_time"].as_str();
            assert!(next.is_some_and(|next| next.ends_with("T00:00:00.000Z")));
            // Another takes its place, also by a POST.
            let weekly = json!({
                "schedule": { "type": "Weekly", "cron": "0 0 0 * * 0" }, "parameters": params,
            });
            admin.api("POST", path, &weekly).await.expect(201);
            let all = admin.api_get("/schedules").await.expect(200).json();
            assert_eq!(all.as_array().map(Vec::len), Some(1), "{all}");
            assert_eq!(
                (&all[0]["cron"], &all[0]["vendor_id"]),
                (&json!("0 0 0 * * 0"), &json!(-1))
            );
            // What shows a schedule may come back: nothing happens.
            let shown = json!({ "schedule": { "type": "Schedule" }, "parameters": params });
            admin.api("PUT", path, &shown).await.expect(200);
            let none = json!({ "schedule": { "type": "None" }, "parameters": params });
            admin.api("PUT", path, &none).await.expect(200);
            assert!(admin.api_get(path).await.expect(200).body.is_empty());
        }
    });
}

#[test]
fn what_is_wrong_with_a_request_is_said() {
    on_both(async |seawall| {
        let admin = seawall.admin();
        let daily = |cron: &str, params: &Value| json!({ "schedule": { "type": "Custom", "cron": cron }, "parameters": params });
        for (path, body, status) in [
            (GC, daily("1 0 0 * * *", &json!({})), 400),
            (GC, daily("0 0 * * *", &json!({})), 400),
            (GC, daily("", &json!({})), 400),
            (GC, daily("@daily", &json!({})), 400),
            (GC, daily("0 0 0 31 2 *", &json!({})), 400),
            (GC, json!({ "schedule": { "type": "Sometimes" } }), 422),
            (GC, json!({ "parameters": {} }), 400),
            (GC, manual(&json!({ "workers": 0 })), 400),
            (GC, manual(&json!({ "workers": 11 })), 400),
            (GC, manual(&json!({ "workers": "many" })), 400),
            (PURGE, manual(&json!({})), 400),
            (PURGE, manual(&json!({ "audit_retention_hour": 1 })), 400),
            (PURGE, manual(&json!({ "include_event_types": "" })), 400),
            (
                PURGE,
                manual(&json!({ "audit_retention_hour": 240_001, "include_event_types": "" })),
                400,
            ),
            (PURGE, json!({ "schedule": { "type": "None" } }), 400),
        ] {
            for method in ["POST", "PUT"] {
                let answer = admin.api(method, path, &body).await;
                assert_eq!(
                    answer.status.as_u16(),
                    status,
                    "{method} {path} {body}: {}",
                    answer.text()
                );
                assert!(!answer.message().is_empty());
            }
        }
        for path in ["/system/gc/4711", "/system/purgeaudit/4711"] {
            admin.api_get(path).await.refused(404, "NOT_FOUND");
            let log = format!("{path}/log");
            admin.api_get(&log).await.refused(404, "NOT_FOUND");
            let stopped = admin.api("PUT", path, &Value::Null).await;
            stopped.refused(404, "NOT_FOUND");
        }
        admin.api_get("/system/gc/many").await.expect(422);
    });
}

/// A call that needs one right on the system: method, path, body, and the status for whoever has the right.
type Guarded<'a> = (&'a str, &'a str, Value, u16);

/// Asks as a stranger, as somebody without rights, and as a robot that holds exactly this one.
async fn ask(seawall: &Seawall, right: (&str, &str), calls: &[Guarded<'_>]) {
    let (resource, action) = right;
    let robot = json!({
        "name": format!("{resource}-{action}"), "level": "system", "duration": -1, "permissions": [
            { "kind": "system", "namespace": "/", "access": [{ "resource": resource, "action": action }] },
        ],
    });
    let (_, robot) = seawall.make_robot(&robot).await;
    for (method, path, body, status) in calls {
        for (client, expected) in [
            (&seawall.stranger(), 401),
            (&seawall.user("bob"), 403),
            (&robot, *status),
        ] {
            let answer = match *method {
                "GET" => client.api_get(path).await,
                _ => client.api(method, path, body).await,
            };
            assert_eq!(
                answer.status.as_u16(),
                expected,
                "{method} {path} with {resource}:{action}: {}",
                answer.text()
            );
        }
    }
}

#[test]
fn each_operation_needs_its_right_on_the_system() {
    on_both(async |seawall| {
        seawall.make_user("bob");
        let none = || json!(null);
        let purge = || manual(&json!({ "audit_retention_hour": 1, "include_event_types": "" }));
        let gc = || manual(&json!({}));
        let stop = json!({ "action": "stop" });
        for (right, calls) in [
            (
                ("garbage-collection", "list"),
                vec![("GET", "/system/gc", none(), 200)],
            ),
            (
                ("garbage-collection", "read"),
                vec![
                    ("GET", GC, none(), 200),
                    ("GET", "/system/gc/4711", none(), 404),
                ],
            ),
            (
                ("garbage-collection", "create"),
                vec![("POST", GC, gc(), 201)],
            ),
            (
                ("garbage-collection", "update"),
                vec![("PUT", GC, gc(), 200)],
            ),
            (
                ("garbage-collection", "stop"),
                vec![("PUT", "/system/gc/4711", none(), 404)],
            ),
            (
                ("purge-audit", "list"),
                vec![("GET", "/system/purgeaudit", none(), 200)],
            ),
            (("purge-audit", "read"), vec![("GET", PURGE, none(), 200)]),
            (
                ("purge-audit", "create"),
                vec![("POST", PURGE, purge(), 201)],
            ),
            (
                ("purge-audit", "update"),
                vec![("PUT", PURGE, purge(), 200)],
            ),
            (
                ("purge-audit", "stop"),
                vec![("PUT", "/system/purgeaudit/4711", none(), 404)],
            ),
            (
                ("jobservice-monitor", "list"),
                vec![
                    ("GET", "/jobservice/queues", none(), 200),
                    ("GET", "/jobservice/pools", none(), 200),
                    ("GET", "/jobservice/pools/all/workers", none(), 200),
                    ("GET", "/jobservice/jobs/4711/log", none(), 404),
                    ("GET", "/schedules", none(), 200),
                ],
            ),
            (
                ("jobservice-monitor", "stop"),
                vec![
                    ("PUT", "/jobservice/jobs/4711", none(), 200),
                    ("PUT", "/jobservice/queues/NONE", stop, 200),
                ],
            ),
            (
                ("system-volumes", "read"),
                vec![("GET", "/system/space", none(), 200)],
            ),
        ] {
            ask(seawall, right, &calls).await;
        }
        let stranger = seawall.stranger();
        for path in ["/schedules/all/paused", "/retentions/metadatas"] {
            stranger.api_get(path).await.refused(401, "UNAUTHORIZED");
            seawall.user("bob").api_get(path).await.expect(200);
        }
        let begun = seawall
            .user("bob")
            .api("POST", "/system/space/measurements", &none())
            .await;
        begun.refused(403, "FORBIDDEN");
    });
}

#[test]
fn a_purge_drops_what_it_was_told_to() {
    on_both_with(NOW, async |seawall| {
        let admin = seawall.admin();
        admin.push("library/app", "v1", &Image::new("told")).await;
        seawall.sql("UPDATE audit SET at = at - 90000000000");
        let wanted = json!({
            "audit_retention_hour": 24, "include_event_types": "create_artifact,create_repository", "dry_run": true,
        });
        let dry = run(&admin, PURGE, &wanted).await;
        assert_eq!(
            (&dry["job_name"], &dry["job_status"]),
            (&json!("PURGE_AUDIT_LOG"), &json!("Success"))
        );
        assert_eq!(parameters(&dry)["purged"], 2, "{dry}");
        let rows = async || {
            let list = admin.api_get("/auditlog-exts?q=operation=create").await;
            let list = list.expect(200).json();
            let rows = list.as_array().expect("rows").clone();
            rows.into_iter()
                .filter(|row| {
                    row["resource"]
                        .as_str()
                        .is_some_and(|of| of.starts_with("library/app"))
                })
                .count()
        };
        assert_eq!(rows().await, 2);
        let older = json!({
            "audit_retention_hour": 24, "include_event_types": "create_repository",
            "include_operations": "create",
        });
        let done = run(&admin, PURGE, &older).await;
        assert_eq!(parameters(&done)["purged"], 1, "{done}");
        assert_eq!(rows().await, 1);
        // Without a list of types what older clients say counts.
        let older = json!({
            "audit_retention_hour": 24, "include_event_types": "", "include_operations": "create,delete",
        });
        let done = run(&admin, PURGE, &older).await;
        assert_eq!(parameters(&done)["purged"], 1, "{done}");
        assert_eq!(rows().await, 0);
        let path = format!("/system/purgeaudit/{}", done["id"]);
        let log = admin
            .api_get(&format!("{path}/log"))
            .await
            .expect(200)
            .text();
        assert!(log.contains("1 rows of the audit"), "{log}");
        let list = admin.api_get("/system/purgeaudit").await.expect(200);
        assert_eq!(list.header("x-total-count"), "3");
    });
}
