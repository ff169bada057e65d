//! What runs in the background, as its administrators see it.

use serde_json::{Value, json};

use super::jobs::{location, until};
use crate::harness::on_both;

#[test]
fn the_node_is_shown_with_its_workers_and_what_waits() {
    on_both(async |seawall| {
        let admin = seawall.admin();
        let own = |pools: &Value| {
            let mut all = pools.as_array().expect("a list").iter();
            all.find(|pool| pool["pid"] == seawall.pid()).cloned()
        };
        let pools = until(&admin, "/jobservice/pools", |pools| own(pools).is_some()).await;
        let pool = own(&pools).expect("it is listed");
        assert_eq!(pool["concurrency"], 10);
        let name = pool["worker_pool_id"].as_str().expect("a name");
        for pool in ["all", name] {
            let path = format!("/jobservice/pools/{pool}/workers");
            assert!(admin.api_get(&path).await.expect(200).json().is_array());
        }
        let nowhere = admin.api_get("/jobservice/pools/nowhere/workers").await;
        assert_eq!(nowhere.expect(200).json(), json!([]));
        let queues = admin.api_get("/jobservice/queues").await.expect(200).json();
        let of = |kind: &str| {
            let mut all = queues.as_array().expect("a list").iter();
            all.find(|queue| queue["job_type"] == kind).cloned()
        };
        for kind in ["GARBAGE_COLLECTION", "RETENTION", "PURGE_AUDIT_LOG"] {
            let queue = of(kind).unwrap_or_else(|| panic!("{kind}: {queues}"));
            assert_eq!(
                (&queue["count"], &queue["paused"]),
                (&json!(0), &json!(false))
            );
        }
    });
}

#[test]
fn a_paused_queue_keeps_what_waits_until_it_is_stopped_or_goes_on() {
    on_both(async |seawall| {
        let admin = seawall.admin();
        let queue = "/jobservice/queues/garbage_collection";
        let act = |action: &str| {
            let body = json!({ "action": action });
            let admin = admin.clone();
            async move { admin.api("PUT", queue, &body).await.expect(200) }
        };
        act("pause").await;
        let manual = json!({ "schedule": { "type": "Manual" } });
        let begun = async || {
            let begun = admin.api("POST", "/system/gc/schedule", &manual).await;
            location(&begun.expect(201))
        };
        let (first, second) = (begun().await, begun().await);
        let waiting = |queues: &Value| {
            let mut all = queues.as_array().expect("a list").iter();
            let own = all.find(|queue| queue["job_type"] == "GARBAGE_COLLECTION");
            own.is_some_and(|own| own["count"].as_i64() >= Some(2) && own["paused"] == true)
        };
        until(&admin, "/jobservice/queues", waiting).await;
        for run in [&first, &second] {
            let shown = admin.api_get(run).await.expect(200).json();
            assert_eq!(shown["job_status"], "Pending");
        }
        admin.api("PUT", &first, &Value::Null).await.expect(200);
        let stopped = admin.api_get(&first).await.expect(200).json();
        assert_eq!(stopped["job_status"], "Stopped");
        act("stop").await;
        let stopped = admin.api_get(&second).await.expect(200).json();
        assert_eq!(stopped["job_status"], "Stopped");
        let third = begun().await;
        act("resume").await;
        until(&admin, &third, |run| run["job_status"] == "Success").await;
    });
}

#[test]
fn schedules_are_paused_as_a_queue_of_their_own() {
    on_both(async |seawall| {
        let admin = seawall.admin();
        let paused = async || {
            let told = admin.api_get("/schedules/all/paused").await.expect(200);
            told.json()["paused"].as_bool().expect("a flag")
        };
        assert!(!paused().await);
        let scheduler = "/jobservice/queues/SCHEDULER";
        let act = |action: &str| json!({ "action": action });
        admin.api("PUT", scheduler, &act("pause")).await.expect(200);
        assert!(paused().await);
        admin
            .api("PUT", scheduler, &act("resume"))
            .await
            .expect(200);
        assert!(!paused().await);
        admin
            .api("PUT", "/jobservice/queues/all", &act("pause"))
            .await
            .expect(200);
        assert!(paused().await);
        admin
            .api("PUT", "/jobservice/queues/all", &act("resume"))
            .await
            .expect(200);
        let other = admin.api_get("/schedules/GARBAGE_COLLECTION/paused").await;
        assert_eq!(other.message(), "job_type can only be 'all'");
        other.refused(400, "BAD_REQUEST");
        for refused in [act("Pause"), act(""), json!({})] {
            let answer = admin.api("PUT", scheduler, &refused).await;
            assert_eq!(answer.status, 422, "{refused}: {}", answer.text());
        }
        admin
            .api("PUT", "/jobservice/queues/UNHEARD_OF", &act("stop"))
            .await
            .expect(200);
    });
}

#[test]
fn a_job_is_stopped_and_read_by_its_number() {
    on_both(async |seawall| {
        let admin = seawall.admin();
        let manual = json!({ "schedule": { "type": "Manual" } });
        let begun = admin.api("POST", "/system/gc/schedule", &manual).await;
        let run = location(&begun.expect(201));
        let id = run.rsplit_once('/').expect("a number").1;
        until(&admin, &run, |run| run["job_status"] == "Success").await;
        let log = admin
            .api_get(&format!("/jobservice/jobs/{id}/log"))
            .await
            .expect(200);
        assert!(log.header("content-type").starts_with("text/plain"));
        assert!(log.text().contains("asked for by admin"), "{}", log.text());
        // As with Harbor, what has ended or never was is none to complain about; a log that is not there is missed.
        for job in [id, "4711", "none", "all"] {
            let path = format!("/jobservice/jobs/{job}");
            let stopped = admin
                .request("PUT", &format!("/api/v2.0{path}"))
                .send()
                .await;
            stopped.expect(200);
        }
        for job in ["4711", "none"] {
            let log = admin.api_get(&format!("/jobservice/jobs/{job}/log")).await;
            log.refused(404, "NOT_FOUND");
        }
    });
}
