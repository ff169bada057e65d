//! What a node says of itself, and to whom.

use std::time::Instant;

use crate::harness::{
    Answer, Client, Image, Seawall,
    image::MANIFEST,
    on_both,
    server::{on_directories_with, on_sqlite_with},
};

/// Asks until the answer has this status; bounded, not timed.
async fn ready_with(client: &Client, path: &str, status: u16) -> Answer {
    let began = Instant::now();
    loop {
        let answer = client.get(path).await;
        if answer.status == status {
            return answer;
        }
        assert!(began.elapsed().as_secs() < 30, "{}", answer.text());
    }
}

/// As a proxy on the same machine sends it on, for somebody elsewhere.
async fn passed_on(seawall: &Seawall, path: &str, header: &str) -> Answer {
    let client = seawall.stranger();
    client
        .request("GET", path)
        .header(header, "192.0.2.1")
        .send()
        .await
}

#[test]
fn a_store_that_turns_into_anothers_takes_no_manifest_and_no_mount() {
    on_directories_with(&[], async |seawall| {
        let (admin, image) = (seawall.admin(), Image::new("foreign"));
        admin.push("library/app", "v1", &image).await;
        let mark = seawall.data().join("storage/store-id");
        let ours = std::fs::read(&mark).expect("a mark");
        std::fs::write(&mark, "01890000-0000-7000-8000-000000000000").expect("another's mark");
        // Each node sees for itself.
        for node in seawall.nodes() {
            let answer = ready_with(&node, "/readyz", 503).await.json();
            assert_eq!(answer["failed"][0]["part"], "storage");
            assert!(answer["failed"][0]["why"].is_string(), "{answer}");
        }
        let why = passed_on(seawall, "/readyz", "x-forwarded-for")
            .await
            .json();
        assert_eq!(why["failed"], serde_json::json!([{ "part": "storage" }]));

        admin
            .put_manifest("library/app", "v2", MANIFEST, &image.manifest)
            .await
            .refused(503, "UNKNOWN");
        let layer = crate::harness::digest(&image.layer);
        let path = format!("/v2/library/new/blobs/uploads/?mount={layer}&from=library/app");
        admin.post(&path).await.refused(503, "UNKNOWN");

        std::fs::write(&mark, ours).expect("ours");
        for node in seawall.nodes() {
            ready_with(&node, "/readyz", 200).await;
        }
        admin.get("/v2/library/app/manifests/v2").await.expect(404);
        admin.post(&path).await.expect(201);
    });
}

#[test]
fn metrics_are_for_this_machine_and_not_for_whom_a_proxy_on_it_passes_on() {
    on_sqlite_with(&[], async |seawall| {
        seawall.stranger().get("/metrics").await.expect(200);
        for header in ["x-forwarded-for", "forwarded", "via", "x-real-ip"] {
            passed_on(seawall, "/metrics", header).await.expect(401);
        }
        seawall
            .admin()
            .request("GET", "/metrics")
            .header("via", "1.1 proxy")
            .send()
            .await
            .expect(200);
    });
}

#[test]
fn a_refused_method_is_told_which_ones_work() {
    on_both(async |seawall| {
        let (admin, image) = (seawall.admin(), Image::new("allow"));
        admin.push("library/app", "v1", &image).await;
        let layer = format!(
            "/v2/library/app/blobs/{}",
            crate::harness::digest(&image.layer)
        );
        for (method, path, allow) in [
            ("POST", "/livez", "GET, HEAD"),
            ("POST", "/service/token", "GET"),
            (
                "POST",
                "/v2/library/app/manifests/v1",
                "GET, HEAD, PUT, DELETE",
            ),
            // A manifest names it.
            ("DELETE", &layer, "GET, HEAD"),
        ] {
            let answer = admin.request(method, path).send().await.expect(405);
            assert_eq!(answer.header("allow"), allow, "{method} {path}");
        }
    });
}

#[test]
fn an_upload_that_runs_keeps_no_mount_and_no_other_small_request_out() {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    crate::harness::server::on_each_with(&[("SEAWALL_LIMITS__UPLOADS", "1")], async |seawall| {
        let (admin, image) = (seawall.admin(), Image::new("room"));
        admin.push("library/app", "v1", &image).await;
        let start = async || {
            let answer = admin.post("/v2/library/app/blobs/uploads/").await;
            answer.expect(202).header("location").to_owned()
        };
        let location = start().await;
        let mut running = tokio::net::TcpStream::connect(seawall.address())
            .await
            .expect("connects");
        let head = format!(
            "PATCH {location} HTTP/1.1\r\nHost: x\r\nAuthorization: Basic YWRtaW46SGFyYm9yMTIzNDU=\r\nExpect: 100-continue\r\nContent-Length: 1\r\n\r\n"
        );
        running.write_all(head.as_bytes()).await.expect("sends");
        let mut told = [0; "HTTP/1.1 100 Continue\r\n\r\n".len()];
        running.read_exact(&mut told).await.expect("an answer");
        assert!(told.starts_with(b"HTTP/1.1 100"), "its body is waited for");

        let other = start().await;
        let layer = crate::harness::digest(&image.layer);
        let mount = format!("/v2/library/new/blobs/uploads/?mount={layer}&from=library/app");
        admin.post(&mount).await.expect(201);
        admin.get(&other).await.expect(204);
        let more = admin.request("PATCH", &other).body("x").send().await;
        assert_eq!(
            more.refused(429, "TOOMANYREQUESTS").header("retry-after"),
            "1"
        );
        running.write_all(b"x").await.expect("sends");
        running.read_exact(&mut told).await.expect("an answer");
        assert!(told.starts_with(b"HTTP/1.1 202"));
        admin
            .request("PATCH", &other)
            .body("x")
            .send()
            .await
            .expect(202);
    });
}
