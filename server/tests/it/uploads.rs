//! Uploads: every way in, and every way to go on after a break.

use bytes::Bytes;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use crate::harness::{Client, Seawall, digest, image::content, on_both, on_both_with};

const REPOSITORY: &str = "library/up";

async fn start(client: &Client) -> String {
    let answer = client
        .post(&format!("/v2/{REPOSITORY}/blobs/uploads/"))
        .await
        .expect(202);
    assert_eq!(answer.header("range"), "0-0");
    let location = answer.header("location").to_owned();
    assert!(
        location.starts_with("/v2/") && !location.contains('?'),
        "{location}"
    );
    location
}

async fn pulled(client: &Client, bytes: &Bytes) {
    let answer = client
        .get(&format!("/v2/{REPOSITORY}/blobs/{}", digest(bytes)))
        .await
        .expect(200);
    assert_eq!(answer.body, *bytes);
    assert_eq!(answer.header("docker-content-digest"), digest(bytes));
}

#[test]
fn one_request_is_enough_for_a_whole_content() {
    on_both(async |seawall| {
        let (admin, bytes) = (seawall.admin(), content("post", 70_000));
        let path = format!("/v2/{REPOSITORY}/blobs/uploads/?digest={}", digest(&bytes));
        let answer = admin
            .request("POST", &path)
            .body(bytes.clone())
            .send()
            .await
            .expect(201);
        assert_eq!(
            answer.header("location"),
            format!("/v2/{REPOSITORY}/blobs/{}", digest(&bytes))
        );
        pulled(&admin, &bytes).await;
    });
}

#[test]
fn chunks_are_appended_in_order_and_the_last_may_come_with_the_put() {
    on_both(async |seawall| {
        let (admin, bytes) = (seawall.admin(), content("chunks", 300_001));
        let location = start(&admin).await;
        for (range, span) in [
            ("0-99999", 0..100_000),
            ("bytes 100000-199999/*", 100_000..200_000),
        ] {
            let answer = admin
                .request("PATCH", &location)
                .header("content-range", range)
                .body(bytes.slice(span.clone()))
                .send()
                .await
                .expect(202);
            assert_eq!(answer.header("range"), format!("0-{}", span.end - 1));
        }
        let status = admin.get(&location).await.expect(204);
        assert_eq!(status.header("range"), "0-199999");
        let last = format!("{location}?digest={}", digest(&bytes));
        admin
            .request("PUT", &last)
            .header("content-range", "200000-300000")
            .body(bytes.slice(200_000..))
            .send()
            .await
            .expect(201);
        pulled(&admin, &bytes).await;
        // A finished session answers its PUT again, and nothing else.
        admin.put(&last, Bytes::new()).await.expect(201);
        admin
            .get(&location)
            .await
            .refused(404, "BLOB_UPLOAD_UNKNOWN");
    });
}

#[test]
fn a_chunk_that_does_not_fit_is_told_where_the_upload_ends() {
    on_both(async |seawall| {
        let (admin, bytes) = (seawall.admin(), content("order", 1000));
        let location = start(&admin).await;
        admin
            .request("PATCH", &location)
            .header("content-range", "0-499")
            .body(bytes.slice(..500))
            .send()
            .await
            .expect(202);
        for (method, path) in [
            ("PATCH", location.clone()),
            ("PUT", format!("{location}?digest={}", digest(&bytes))),
        ] {
            for range in ["600-1099", "0-499"] {
                let answer = admin
                    .request(method, &path)
                    .header("content-range", range)
                    .body(bytes.slice(..500))
                    .send()
                    .await;
                let answer = answer.refused(416, "BLOB_UPLOAD_INVALID");
                assert_eq!(answer.header("range"), "0-499");
            }
        }
        admin
            .request("PATCH", &location)
            .header("content-range", "x")
            .body("y")
            .send()
            .await
            .expect(400);
        admin
            .put(
                &format!("{location}?digest={}", digest(&bytes)),
                bytes.slice(500..),
            )
            .await
            .expect(201);
        pulled(&admin, &bytes).await;
    });
}

#[test]
fn the_wrong_digest_is_refused_and_nothing_is_lost() {
    on_both(async |seawall| {
        let (admin, bytes) = (seawall.admin(), content("wrong", 5000));
        let location = start(&admin).await;
        let wrong = digest(b"something else");
        admin
            .put(&format!("{location}?digest={wrong}"), bytes.clone())
            .await
            .refused(400, "DIGEST_INVALID");
        admin
            .head(&format!("/v2/{REPOSITORY}/blobs/{wrong}"))
            .await
            .expect(404);
        assert_eq!(
            admin.get(&location).await.expect(204).header("range"),
            "0-4999"
        );
        admin
            .put(
                &format!("{location}?digest={}", digest(&bytes)),
                Bytes::new(),
            )
            .await
            .expect(201);
        pulled(&admin, &bytes).await;
    });
}

#[test]
fn sha512_may_be_named_at_the_start_or_at_the_end() {
    on_both(async |seawall| {
        let (admin, bytes) = (seawall.admin(), content("sha512", 40_000));
        let digest = blob::digest_of(oci::Algorithm::Sha512, &bytes).to_string();
        for query in ["?digest-algorithm=sha512", ""] {
            let answer = admin
                .post(&format!("/v2/{REPOSITORY}/blobs/uploads/{query}"))
                .await
                .expect(202);
            let location = answer.header("location").to_owned();
            admin
                .request("PATCH", &location)
                .body(bytes.slice(..10_000))
                .send()
                .await
                .expect(202);
            admin
                .put(
                    &format!("{location}?digest={digest}"),
                    bytes.slice(10_000..),
                )
                .await
                .expect(201);
        }
        assert_eq!(
            admin
                .get(&format!("/v2/{REPOSITORY}/blobs/{digest}"))
                .await
                .expect(200)
                .body,
            bytes
        );
        admin
            .post(&format!(
                "/v2/{REPOSITORY}/blobs/uploads/?digest-algorithm=md5"
            ))
            .await
            .refused(400, "DIGEST_INVALID");
    });
}

#[test]
fn a_cancelled_upload_is_gone() {
    on_both(async |seawall| {
        let admin = seawall.admin();
        for received in [0, 10] {
            let location = start(&admin).await;
            if received > 0 {
                admin
                    .request("PATCH", &location)
                    .body("0123456789")
                    .send()
                    .await
                    .expect(202);
            }
            admin.delete(&location).await.expect(204);
            admin
                .get(&location)
                .await
                .refused(404, "BLOB_UPLOAD_UNKNOWN");
            admin
                .request("PATCH", &location)
                .body("x")
                .send()
                .await
                .refused(404, "BLOB_UPLOAD_UNKNOWN");
            admin
                .delete(&location)
                .await
                .refused(404, "BLOB_UPLOAD_UNKNOWN");
        }
    });
}

#[test]
fn an_upload_belongs_to_its_caller_and_repository() {
    on_both(async |seawall| {
        seawall.run(&["project", "create", "team"]);
        let output = seawall.try_run(
            &["user", "create", "bob", "--password-stdin"],
            "Harbor12345\n",
        );
        assert!(
            output.status.success(),
            "{}",
            String::from_utf8_lossy(&output.stderr)
        );
        seawall.run(&["project", "member", "set", "library", "bob", "developer"]);
        let (admin, bob) = (
            seawall.admin(),
            seawall.stranger().with_basic("bob", "Harbor12345"),
        );
        let location = start(&admin).await;
        bob.request("PATCH", &location)
            .body("x")
            .send()
            .await
            .refused(404, "BLOB_UPLOAD_UNKNOWN");
        let elsewhere = location.replace(REPOSITORY, "team/up");
        admin
            .request("PATCH", &elsewhere)
            .body("x")
            .send()
            .await
            .refused(404, "BLOB_UPLOAD_UNKNOWN");
        admin
            .request("PATCH", &location)
            .body("x")
            .send()
            .await
            .expect(202);
    });
}

/// Sends a request's head and part of its body, then breaks the connection.
async fn broken(client: &Client, seawall: &Seawall, location: &str, framing: &str, body: &[u8]) {
    use base64::{Engine, engine::general_purpose::STANDARD};
    let mut stream = tokio::net::TcpStream::connect(seawall.address())
        .await
        .expect("connects");
    let login = STANDARD.encode("admin:Harbor12345");
    let head = format!(
        "PATCH {location} HTTP/1.1\r\nHost: {}\r\nAuthorization: Basic {login}\r\n{framing}\r\n\r\n",
        client.address()
    );
    stream.write_all(head.as_bytes()).await.expect("sends");
    stream.write_all(body).await.expect("sends");
    stream.shutdown().await.expect("half closes");
    // Until the server has let go: then what it received is settled.
    let mut rest = Vec::new();
    let _ = stream.read_to_end(&mut rest).await;
}

#[test]
fn after_a_broken_connection_the_upload_goes_on_at_the_byte_that_status_reports() {
    on_both(async |seawall| {
        let (admin, bytes) = (seawall.admin(), content("broken", 900_000));
        for framing in ["Content-Length: 900000", "Transfer-Encoding: chunked"] {
            let location = start(&admin).await;
            let part = bytes.slice(..600_000);
            let sent = if framing.starts_with("Transfer") {
                [format!("{:x}\r\n", 700_000).as_bytes(), &part[..]].concat()
            } else {
                part.to_vec()
            };
            broken(&admin, seawall, &location, framing, &sent).await;
            let status = admin.get(&location).await.expect(204);
            let received: usize = status
                .header("range")
                .strip_prefix("0-")
                .and_then(|end| end.parse().ok())
                .expect("a range");
            let have = received + 1;
            assert_eq!(have, 600_000, "{framing}");
            let range = format!("{have}-{}", bytes.len() - 1);
            admin
                .request("PATCH", &location)
                .header("content-range", &range)
                .body(bytes.slice(have..))
                .send()
                .await
                .expect(202);
            admin
                .put(
                    &format!("{location}?digest={}", digest(&bytes)),
                    Bytes::new(),
                )
                .await
                .expect(201);
            pulled(&admin, &bytes).await;
        }
    });
}

#[test]
fn a_killed_server_goes_on_with_its_uploads_after_the_restart() {
    on_both(async |seawall| {
        let bytes = content("killed", 6_000_000);
        let location = start(&seawall.admin()).await;
        seawall
            .admin()
            .request("PATCH", &location)
            .body(bytes.slice(..5_500_000))
            .send()
            .await
            .expect(202);
        seawall.kill();
        seawall.launch();
        let admin = seawall.admin();
        assert_eq!(
            admin.get(&location).await.expect(204).header("range"),
            "0-5499999"
        );
        let range = "5500000-5999999";
        admin
            .request("PATCH", &location)
            .header("content-range", range)
            .body(bytes.slice(5_500_000..))
            .send()
            .await
            .expect(202);
        admin
            .put(
                &format!("{location}?digest={}", digest(&bytes)),
                Bytes::new(),
            )
            .await
            .expect(201);
        pulled(&admin, &bytes).await;
    });
}

#[test]
fn of_two_writers_on_one_session_the_later_goes_on_and_the_content_is_right() {
    on_both(async |seawall| {
        let (admin, bytes) = (seawall.admin(), content("two", 400_000));
        let location = start(&admin).await;
        // The first writer sends half of its body and stalls.
        let mut first = tokio::net::TcpStream::connect(seawall.address())
            .await
            .expect("connects");
        let head = format!(
            "PATCH {location} HTTP/1.1\r\nHost: x\r\nAuthorization: Basic YWRtaW46SGFyYm9yMTIzNDU=\r\nExpect: 100-continue\r\nContent-Length: 400000\r\n\r\n"
        );
        first.write_all(head.as_bytes()).await.expect("sends");
        // It has the session once it is asked for its body.
        let mut told = [0; "HTTP/1.1 100 Continue\r\n\r\n".len()];
        first.read_exact(&mut told).await.expect("an answer");
        assert!(told.starts_with(b"HTTP/1.1 100"));
        first.write_all(&bytes[..200_000]).await.expect("sends");
        // The second asks where to go on. Whatever the answer, going on there works, and the first is cut.
        let answer = admin
            .request("PATCH", &location)
            .header("content-range", "999999-999999")
            .body("x")
            .send()
            .await
            .expect(416);
        let end: usize = answer
            .header("range")
            .strip_prefix("0-")
            .and_then(|end| end.parse().ok())
            .expect("a range");
        let have = if end == 0 { 0 } else { end + 1 };
        admin
            .request("PATCH", &location)
            .body(bytes.slice(have..))
            .send()
            .await
            .expect(202);
        let mut told = String::new();
        let _ = first.read_to_string(&mut told).await;
        assert!(told.is_empty() || !told.starts_with("HTTP/1.1 2"), "{told}");
        admin
            .put(
                &format!("{location}?digest={}", digest(&bytes)),
                Bytes::new(),
            )
            .await
            .expect(201);
        pulled(&admin, &bytes).await;
    });
}

#[test]
fn a_mount_moves_no_bytes_and_needs_the_right_to_pull() {
    on_both(async |seawall| {
        seawall.run(&["project", "create", "secret"]);
        let output = seawall.try_run(
            &["user", "create", "bob", "--password-stdin"],
            "Harbor12345\n",
        );
        assert!(output.status.success());
        seawall.run(&["project", "member", "set", "library", "bob", "developer"]);
        let (admin, bytes) = (seawall.admin(), content("mount", 3000));
        let pushed = admin.push_blob("secret/a", &bytes).await;
        let path = |repository: &str, rest: &str| {
            format!("/v2/{repository}/blobs/uploads/?mount={pushed}{rest}")
        };
        // With and without the source's name.
        admin
            .post(&path("library/m1", "&from=secret/a"))
            .await
            .expect(201);
        admin.post(&path("library/m2", "")).await.expect(201);
        // A source that does not hold it is an ordinary upload.
        admin
            .post(&path("library/m3", "&from=library/none"))
            .await
            .expect(202);
        // Bob may not pull from the private project: with its name he is told so, without it he uploads. But the public copies serve.
        let bob = seawall.stranger().with_basic("bob", "Harbor12345");
        let refused = bob
            .post(&path("library/m4", "&from=secret/a"))
            .await
            .refused(401, "UNAUTHORIZED");
        assert_eq!(
            refused.header("www-authenticate"),
            "Basic realm=\"harbor\"",
            "no token could reach it, so none is asked for"
        );
        let narrow = admin.token("repository:library/m4:pull,push").await;
        let refused = narrow
            .post(&path("library/m4", "&from=secret/a"))
            .await
            .refused(401, "UNAUTHORIZED");
        assert!(
            refused
                .header("www-authenticate")
                .ends_with("scope=\"repository:library/m4:pull,push repository:secret/a:pull\""),
            "a wider one would"
        );
        bob.post(&path("library/m5", "&from=library/m1"))
            .await
            .expect(201);
        let other = admin.push_blob("secret/a", &content("hidden", 100)).await;
        bob.post(&format!("/v2/library/m6/blobs/uploads/?mount={other}"))
            .await
            .expect(202);
        assert_eq!(
            admin
                .get(&format!("/v2/library/m1/blobs/{pushed}"))
                .await
                .expect(200)
                .body,
            bytes
        );
    });
}

#[test]
fn an_upload_that_nobody_continues_expires() {
    on_both_with(&[("SEAWALL_UPLOADS__EXPIRE", "3s")], async |seawall| {
        let admin = seawall.admin();
        let location = start(&admin).await;
        admin
            .request("PATCH", &location)
            .body("x")
            .send()
            .await
            .expect(202);
        // The id itself says when it ends, so nothing needs to run for this; bounded, not timed.
        let mut answer = admin.get(&location).await;
        let began = std::time::Instant::now();
        while answer.status != 404 && began.elapsed().as_secs() < 30 {
            answer = admin.get(&location).await;
        }
        answer.refused(404, "BLOB_UPLOAD_UNKNOWN");
    });
}
