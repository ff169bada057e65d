//! Quotas through the API, and what a push meets where one is reached.

use bytes::Bytes;
use futures_util::future::join_all;
use http::StatusCode;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use crate::harness::{
    Answer, Client, Image, Seawall, digest,
    image::{MANIFEST, content},
    on_both,
};

/// The quota of a project, by its number.
async fn of_project(client: &Client, project: i64) -> Value {
    let listed = client
        .api_get(&format!("/quotas?reference=project&reference_id={project}"))
        .await
        .expect(200)
        .json();
    let rows = listed.as_array().expect("a list");
    assert_eq!(rows.len(), 1, "{listed}");
    rows[0].clone()
}

async fn limit(client: &Client, project: i64, bytes: i64) {
    let id = of_project(client, project).await["id"].clone();
    let wanted = json!({ "hard": { "storage": bytes } });
    let path = format!("/quotas/{id}");
    client.api("PUT", &path, &wanted).await.expect(200);
}

async fn used(client: &Client, project: i64) -> i64 {
    let quota = of_project(client, project).await;
    quota["used"]["storage"].as_i64().expect("a number")
}

async fn make_project(client: &Client, name: &str) -> i64 {
    let made = client
        .api("POST", "/projects", &json!({ "project_name": name }))
        .await
        .expect(201);
    let (_, id) = made.header("location").rsplit_once('/').expect("a path");
    id.parse().expect("a number")
}

#[test]
fn a_quota_is_shown_with_its_project_and_changed() {
    on_both(async |seawall| {
        let admin = seawall.admin();
        admin.push("library/app", "v1", &Image::new("one")).await;
        let quota = of_project(&admin, 1).await;
        let path = format!("/quotas/{}", quota["id"]);
        assert_eq!(
            quota["ref"],
            json!({ "id": 1, "name": "library", "owner_name": "admin" })
        );
        assert_eq!(quota["hard"], json!({ "storage": -1 }));
        assert_eq!(admin.api_get(&path).await.expect(200).json(), quota);
        let image = Image::new("one");
        let size = image.config.len() + image.layer.len() + image.manifest.len();
        assert_eq!(quota["used"]["storage"], size);
        limit(&admin, 1, 1 << 30).await;
        let changed = admin.api_get(&path).await.expect(200).json();
        assert_eq!(changed["hard"]["storage"], 1 << 30);
        let summary = admin.api_get("/projects/library/summary").await.expect(200);
        assert_eq!(summary.json()["quota"]["hard"]["storage"], 1 << 30);
    });
}

#[test]
fn quotas_are_listed_by_page_and_sorted_by_what_is_used() {
    on_both(async |seawall| {
        let admin = seawall.admin();
        for (name, layer) in [("small", 10), ("large", 10_000), ("middle", 1_000)] {
            make_project(&admin, name).await;
            let image = Image::with_layer(name, content(name, layer));
            admin.push(&format!("{name}/app"), "v1", &image).await;
        }
        limit(&admin, 2, 1 << 40).await;
        for (sort, names) in [
            ("-used.storage", "large middle small library"),
            ("used.storage", "library small middle large"),
            ("-hard.storage", "small"),
        ] {
            let path = format!("/quotas/?sort={sort}&page_size=4");
            let listed = admin.api_get(&path).await.expect(200);
            assert_eq!(listed.header("x-total-count"), "4");
            let shown: Vec<String> = listed
                .json()
                .as_array()
                .expect("a list")
                .iter()
                .map(|row| row["ref"]["name"].as_str().expect("a name").to_owned())
                .collect();
            assert!(shown.join(" ").starts_with(names), "{sort}: {shown:?}");
        }
        let paged = admin.api_get("/quotas?page=2&page_size=3").await;
        assert_eq!(paged.expect(200).json().as_array().map(Vec::len), Some(1));
        for nothing in ["reference=user", "reference_id=4711", "reference_id=x"] {
            let listed = admin.api_get(&format!("/quotas?{nothing}")).await;
            assert_eq!(listed.expect(200).json(), json!([]), "{nothing}");
        }
    });
}

#[test]
fn quotas_are_the_administrators_and_take_whole_limits() {
    on_both(async |seawall| {
        let admin = seawall.admin();
        seawall.make_user("ann");
        seawall.run(&[
            "project",
            "member",
            "set",
            "library",
            "ann",
            "project-admin",
        ]);
        let (ann, stranger) = (seawall.user("ann"), seawall.stranger());
        let wanted = json!({ "hard": { "storage": 5 } });
        for path in ["/quotas", "/quotas/1"] {
            ann.api_get(path).await.refused(403, "FORBIDDEN");
            stranger.api_get(path).await.refused(401, "UNAUTHORIZED");
        }
        ann.api("PUT", "/quotas/1", &wanted)
            .await
            .refused(403, "FORBIDDEN");
        admin
            .api("PUT", "/quotas/4711", &wanted)
            .await
            .refused(404, "NOT_FOUND");
        admin
            .api_get("/quotas/4711")
            .await
            .refused(404, "NOT_FOUND");
        for bad in [
            json!({ "hard": { "storage": 0 } }),
            json!({ "hard": { "storage": -2 } }),
            json!({ "hard": { "storage": (1_i64 << 50) + 1 } }),
            json!({ "hard": { "storage": "much" } }),
            json!({ "hard": { "count": 7 } }),
            json!({}),
        ] {
            admin
                .api("PUT", "/quotas/1", &bad)
                .await
                .refused(400, "BAD_REQUEST");
        }
        let by_robot = json!({
            "name": "watch", "level": "system", "duration": -1, "permissions": [
                { "kind": "system", "namespace": "/", "access": [{ "resource": "quota", "action": "list" }] },
            ],
        });
        let (_, robot) = seawall.make_robot(&by_robot).await;
        robot.api_get("/quotas").await.expect(200);
        robot.api_get("/quotas/1").await.refused(403, "FORBIDDEN");
    });
}

#[test]
fn what_exceeds_a_quota_is_refused_in_harbors_words() {
    on_both(async |seawall| {
        let admin = seawall.admin();
        let image = Image::with_layer("one", content("one", 4_000));
        admin.push("library/app", "v1", &image).await;
        let there = used(&admin, 1).await;
        limit(&admin, 1, there + 1_000).await;
        // A content that fits, one that does not, and one that is there already.
        admin.push_blob("library/app", &content("fits", 900)).await;
        let large = content("large", 2_000);
        let refused = upload(&admin, "library/app", &large).await;
        assert!(
            refused
                .message()
                .contains("adding 2.0 KiB of storage resource")
                && refused
                    .message()
                    .contains("will exceed the configured upper limit"),
            "{}",
            refused.message()
        );
        refused.refused(403, "DENIED");
        admin.push_blob("library/other", &image.layer).await;
        assert_eq!(used(&admin, 1).await, there + 900);
        // A limit below what is used refuses to begin, but what is there may be pushed to other repositories.
        limit(&admin, 1, 1).await;
        admin
            .post("/v2/library/app/blobs/uploads/")
            .await
            .refused(403, "DENIED");
        let again = format!(
            "/v2/library/third/blobs/uploads/?digest={}",
            digest(&image.layer)
        );
        let again = admin.request("POST", &again).body(image.layer.clone());
        again.send().await.expect(201);
        // Nor does a limit hold while quotas are switched off.
        let off = json!({ "quota_per_project_enable": false });
        admin.api("PUT", "/configurations", &off).await.expect(200);
        admin.push_blob("library/app", &large).await;
    });
}

/// POST, then PUT with the bytes, whatever the answer.
async fn upload(client: &Client, repository: &str, bytes: &Bytes) -> Answer {
    let start = client
        .post(&format!("/v2/{repository}/blobs/uploads/"))
        .await;
    let location = start.expect(202).header("location").to_owned();
    let path = format!("{location}?digest={}", digest(bytes));
    client.put(&path, bytes.clone()).await
}

/// What the server says to a request whose body waits for `100 Continue`.
async fn ask_to_send(seawall: &Seawall, method: &str, path: &str, length: usize) -> String {
    let mut connection = tokio::net::TcpStream::connect(seawall.address())
        .await
        .expect("a connection");
    let head = format!(
        "{method} {path} HTTP/1.1\r\nHost: x\r\nAuthorization: Basic YWRtaW46SGFyYm9yMTIzNDU=\r\nExpect: 100-continue\r\nContent-Length: {length}\r\n\r\n"
    );
    connection.write_all(head.as_bytes()).await.expect("sent");
    let mut told = vec![0; 1 << 10];
    let count = connection.read(&mut told).await.expect("an answer");
    String::from_utf8_lossy(&told[..count]).into_owned()
}

#[test]
fn a_client_hears_of_a_full_quota_before_it_sends() {
    on_both(async |seawall| {
        let admin = seawall.admin();
        limit(&admin, 1, 100_000).await;
        let whole = format!(
            "/v2/library/app/blobs/uploads/?digest={}",
            digest(b"anything")
        );
        let start = admin.post("/v2/library/app/blobs/uploads/").await;
        let session = start.expect(202).header("location").to_owned();
        let last = format!("{session}?digest={}", digest(b"anything"));
        for (method, path) in [("POST", &whole), ("PATCH", &session), ("PUT", &last)] {
            let refused = ask_to_send(seawall, method, path, 100_001).await;
            assert!(refused.starts_with("HTTP/1.1 403 "), "{method}: {refused}");
            let fits = ask_to_send(seawall, method, path, 100_000).await;
            assert!(fits.starts_with("HTTP/1.1 100 "), "{method}: {fits}");
        }
        // What does not go on where the upload ends is told so, full or not.
        let elsewhere = admin.request("PATCH", &session);
        let elsewhere = elsewhere.header("content-range", "500000-500001");
        elsewhere.body("ab").send().await.expect(416);
    });
}

#[test]
fn clients_at_once_fill_a_quota_and_never_exceed_it() {
    on_both(async |seawall| {
        let admin = seawall.admin();
        let project = make_project(&admin, "full").await;
        limit(&admin, project, 10_500).await;
        let pushes = (0..32).map(|number| {
            let admin = admin.clone();
            async move {
                let layer = content(&format!("layer {number}"), 1_000);
                let path = format!(
                    "/v2/full/app-{}/blobs/uploads/?digest={}",
                    number % 4,
                    digest(&layer)
                );
                admin.request("POST", &path).body(layer).send().await.status
            }
        });
        let statuses = join_all(pushes).await;
        let count = |status| statuses.iter().filter(|one| **one == status).count();
        assert_eq!(
            (count(StatusCode::CREATED), count(StatusCode::FORBIDDEN)),
            (10, 22),
            "{statuses:?}"
        );
        assert_eq!(used(&admin, project).await, 10_000);
    });
}

#[test]
fn copies_and_manifests_are_charged_too() {
    on_both(async |seawall| {
        let admin = seawall.admin();
        let project = make_project(&admin, "small").await;
        let image = Image::new("one");
        admin.push("library/app", "v1", &image).await;
        limit(&admin, project, 1_000).await;
        admin
            .post("/api/v2.0/projects/small/repositories/app/artifacts?from=library/app:v1")
            .await
            .refused(403, "DENIED");
        let tiny = Image::with_layer("tiny", content("tiny", 400));
        for blob in [&tiny.config, &tiny.layer] {
            admin.push_blob("small/app", blob).await;
        }
        let there = used(&admin, project).await;
        limit(&admin, project, there + 1).await;
        let put = || admin.put_manifest("small/app", "v1", MANIFEST, &tiny.manifest);
        put().await.refused(403, "DENIED");
        limit(&admin, project, -1).await;
        put().await.expect(201);
    });
}

#[test]
fn what_is_used_can_be_counted_anew() {
    on_both(async |seawall| {
        let admin = seawall.admin();
        admin.push("library/app", "v1", &Image::new("one")).await;
        let right = used(&admin, 1).await;
        seawall.sql("UPDATE counters SET n = n + 5 WHERE name = 'project.bytes'");
        let stranger = seawall.stranger().post("/api/internal/syncquota").await;
        stranger.refused(401, "UNAUTHORIZED");
        admin.post("/api/internal/syncquota").await.expect(200);
        let begun = std::time::Instant::now();
        while used(&admin, 1).await != right {
            assert!(begun.elapsed().as_secs() < 30, "still not counted anew");
            tokio::task::yield_now().await;
        }
    });
}
