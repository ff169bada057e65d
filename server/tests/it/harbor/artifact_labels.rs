//! Labels on artifacts.

use serde_json::{Value, json};

use crate::harness::{Client, Image, on_both};

const APP: &str = "/projects/library/repositories/app/artifacts";

async fn make_label(client: &Client, body: Value) -> i64 {
    let made = client.api("POST", "/labels", &body).await.expect(201);
    let (_, id) = made.header("location").rsplit_once('/').expect("a path");
    id.parse().expect("a number")
}

async fn names(client: &Client, path: &str) -> Vec<String> {
    let shown = client.api_get(&format!("{path}?with_label=true")).await;
    let shown = shown.expect(200).json();
    let labels = shown["labels"].as_array().cloned().unwrap_or_default();
    let name = |label: &Value| label["name"].as_str().expect("a name").to_owned();
    labels.iter().map(name).collect()
}

#[test]
fn labels_are_put_on_an_artifact_and_taken_off() {
    on_both(async |seawall| {
        let admin = seawall.admin();
        let digest = admin.push("library/app", "v1", &Image::new("one")).await;
        admin.push("library/app", "v2", &Image::new("two")).await;
        let global = make_label(&admin, json!({ "name": "good", "scope": "g" })).await;
        let own = json!({ "name": "ours", "scope": "p", "project_id": 1 });
        let own = make_label(&admin, own).await;
        let labels = format!("{APP}/v1/labels");
        for id in [global, own] {
            let added = admin.api("POST", &labels, &json!({ "id": id })).await;
            assert_eq!(added.expect(200).header("location"), "");
        }
        assert_eq!(
            names(&admin, &format!("{APP}/{digest}")).await,
            ["good", "ours"]
        );
        assert!(names(&admin, &format!("{APP}/v2")).await.is_empty());
        let found = format!("{APP}?q=labels%3D({global}%20{own})");
        let found = admin.api_get(&found).await.expect(200);
        assert_eq!(found.json().as_array().map(Vec::len), Some(1));
        assert_eq!(found.json()[0]["digest"], digest.as_str());
        let path = format!("/api/v2.0{labels}/{global}");
        admin.delete(&path).await.expect(200);
        admin.delete(&path).await.refused(404, "NOT_FOUND");
        assert_eq!(names(&admin, &format!("{APP}/v1")).await, ["ours"]);
        // A label that ends is on nothing any more.
        admin
            .delete(&format!("/api/v2.0/labels/{own}"))
            .await
            .expect(200);
        assert!(names(&admin, &format!("{APP}/v1")).await.is_empty());
    });
}

#[test]
fn a_label_is_put_on_once_and_only_where_it_belongs() {
    on_both(async |seawall| {
        let admin = seawall.admin();
        admin.push("library/app", "v1", &Image::new("one")).await;
        let team = json!({ "project_name": "team" });
        admin.api("POST", "/projects", &team).await.expect(201);
        let foreign = json!({ "name": "theirs", "scope": "p", "project_id": 2 });
        let foreign = make_label(&admin, foreign).await;
        let global = make_label(&admin, json!({ "name": "good", "scope": "g" })).await;
        let labels = format!("{APP}/v1/labels");
        let add = async |id: i64| admin.api("POST", &labels, &json!({ "id": id })).await;
        add(global).await.expect(200);
        add(global).await.refused(409, "CONFLICT");
        for missing in [foreign, 4711] {
            add(missing).await.refused(404, "NOT_FOUND");
        }
        admin
            .api("POST", &labels, &Value::Null)
            .await
            .refused(422, "UNPROCESSABLE_ENTITY");
        let nothing = format!("{APP}/v9/labels");
        admin
            .api("POST", &nothing, &json!({ "id": global }))
            .await
            .refused(404, "NOT_FOUND");
        admin
            .delete(&format!("/api/v2.0{labels}/seven"))
            .await
            .refused(422, "UNPROCESSABLE_ENTITY");
    });
}
