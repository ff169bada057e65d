//! Paging through the lists of jobs, policies and trash: every page is a part of the whole, in its order.

use serde_json::{Value, json};

use super::{
    gc::{GC, PURGE, run},
    retentions::{apply, policy},
    trash::{self, KEPT},
};
use crate::harness::{Client, Image, Seawall, on_both_with};

/// Three at least of all that is listed; the paths of the lists.
async fn fill(seawall: &Seawall) -> Vec<String> {
    let admin = seawall.admin();
    let dry = json!({ "dry_run": true, "audit_retention_hour": 24, "include_event_types": "create_artifact" });
    for name in ["one", "two", "three"] {
        admin
            .push(&format!("library/{name}"), "v1", &Image::new(name))
            .await;
        let gone = Image::new(&format!("{name} that goes"));
        admin.push(&format!("library/{name}"), "gone", &gone).await;
        let gone = format!("/projects/library/repositories/{name}/artifacts/gone");
        let gone = admin.api("DELETE", &gone, &Value::Null).await;
        gone.expect(200);
        seawall.run(&["project", "create", name]);
        seawall.run(&["project", "delete", name]);
        run(&admin, GC, &dry).await;
        run(&admin, PURGE, &dry).await;
    }
    let nightly =
        json!({ "schedule": { "type": "Daily", "cron": "0 0 0 * * *" }, "parameters": dry });
    for path in [GC, PURGE] {
        admin.api("POST", path, &nightly).await.expect(201);
    }
    let mut policy = policy(1);
    policy["trigger"]["settings"]["cron"] = json!("0 0 0 * * *");
    admin.api("POST", "/retentions", &policy).await.expect(201);
    let mut last = String::new();
    for _ in 0..3 {
        (last, _) = apply(&admin, "/retentions/1", true).await;
    }
    vec![
        "/system/gc".to_owned(),
        "/system/purgeaudit".to_owned(),
        "/schedules".to_owned(),
        "/retentions/1/executions".to_owned(),
        format!("{last}/tasks"),
        trash::TRASH.to_owned(),
        trash::projects::PROJECTS.to_owned(),
    ]
}

/// The answer's items and how many there are in all.
async fn list(client: &Client, path: &str) -> (Vec<Value>, String, Option<String>) {
    let answer = client.api_get(path).await.expect(200);
    let items = answer.json().as_array().expect("a list").clone();
    let link = answer.headers.get("link");
    let link = link.map(|link| link.to_str().expect("a text").to_owned());
    (items, answer.header("x-total-count").to_owned(), link)
}

#[test]
fn pages_are_parts_of_the_whole() {
    on_both_with(KEPT, async |seawall| {
        let admin = seawall.admin();
        for path in fill(seawall).await {
            let (all, total, link) = list(&admin, &path).await;
            assert_eq!((all.len(), total.as_str()), (3, "3"), "{path}: {all:#?}");
            assert_eq!(link, None, "{path}");
            let (first, total, link) = list(&admin, &format!("{path}?page_size=2")).await;
            assert_eq!(
                (first.as_slice(), total.as_str()),
                (&all[..2], "3"),
                "{path}"
            );
            let next = format!("</api/v2.0{path}?page=2&page_size=2>; rel=\"next\"");
            assert_eq!(link, Some(next));
            let (second, _, link) = list(&admin, &format!("{path}?page=2&page_size=2")).await;
            assert_eq!(second, all[2..], "{path}");
            let before = format!("</api/v2.0{path}?page=1&page_size=2>; rel=\"prev\"");
            assert_eq!(link, Some(before));
            let (none, total, _) = list(&admin, &format!("{path}?page=9&page_size=2")).await;
            assert_eq!((none.len(), total.as_str()), (0, "3"), "{path}");
            for wrong in ["page=x", "page_size=x"] {
                let refused = admin.api_get(&format!("{path}?{wrong}")).await;
                refused.refused(422, "UNPROCESSABLE_ENTITY");
            }
            let much = admin.api_get(&format!("{path}?page_size=101")).await;
            if path.starts_with("/retentions") {
                // Harbor sets no limit there; the lists come whole by themselves.
                assert_eq!(much.expect(200).json(), json!(all));
            } else {
                much.refused(422, "UNPROCESSABLE_ENTITY");
                let refused = admin.api_get(&format!("{path}?q=name")).await;
                refused.refused(400, "BAD_REQUEST");
            }
        }
    });
}
