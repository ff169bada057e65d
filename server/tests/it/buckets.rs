//! Contents in a bucket, and what becomes of them when the way there breaks or a node freezes.

use std::time::{Duration, Instant};

use bytes::Bytes;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};

use crate::{
    frozen::count,
    harness::{
        Client, Image, Seawall, digest,
        gate::Gate,
        image::content,
        server::{Store, both, bucket_on, container_on, swift_on},
        until,
    },
    nodes::run,
};

const MIB: usize = 1 << 20;
const BASIC: &str = "Basic YWRtaW46SGFyYm9yMTIzNDU=";

/// A server's bucket, through a gate.
async fn gated(s3: &testkit::S3, store: &Store) -> (Gate, Vec<(&'static str, String)>) {
    let host = s3.endpoint.strip_prefix("http://").expect("plain HTTP");
    let gate = Gate::to(host.parse().expect("an address")).await;
    let endpoint = format!("http://{}", gate.address);
    let mut store = store.to_vec();
    store.push(("SEAWALL_STORAGE__ENDPOINT", endpoint));
    (gate, store)
}

async fn start(client: &Client) -> String {
    let answer = client.post("/v2/library/big/blobs/uploads/").await;
    answer.expect(202).header("location").to_owned()
}

/// A PATCH or POST whose body is sent by hand.
async fn by_hand(method: &str, address: &str, location: &str, length: usize) -> TcpStream {
    let mut stream = TcpStream::connect(address).await.expect("connects");
    let head = format!(
        "{method} {location} HTTP/1.1\r\nHost: x\r\nAuthorization: {BASIC}\r\nContent-Length: {length}\r\n\r\n"
    );
    stream.write_all(head.as_bytes()).await.expect("sends");
    stream
}

async fn answered(stream: &mut TcpStream) -> String {
    let mut head = vec![0; "HTTP/1.1 202".len()];
    stream.read_exact(&mut head).await.expect("an answer");
    String::from_utf8_lossy(&head).into_owned()
}

async fn finish(client: &Client, location: &str, bytes: &Bytes) {
    let path = format!("{location}?digest={}", digest(bytes));
    client.put(&path, Bytes::new()).await.expect(201);
    let pulled = client
        .get(&format!("/v2/library/big/blobs/{}", digest(bytes)))
        .await
        .expect(200);
    assert!(pulled.body == *bytes);
}

#[test]
fn an_upload_waits_for_a_store_that_is_away_and_pulls_are_told() {
    let Some(s3) = testkit::s3() else {
        return;
    };
    let bucket = bucket_on(s3.clone());
    run(async {
        let (gate, store) = gated(&s3, &bucket).await;
        let mut seawall = Seawall::start_alone(&both(&store, &[]));
        let (admin, image) = (seawall.admin(), Image::new("here"));
        admin.push("library/app", "v1", &image).await;
        let bytes = content("waits", 30 * MIB);
        let location = start(&admin).await;
        let mut upload = by_hand("PATCH", seawall.address(), &location, bytes.len()).await;
        upload.write_all(&bytes[..12 * MIB]).await.expect("sends");
        gate.close();
        let (rest, pulled) = tokio::join!(
            async {
                upload.write_all(&bytes[12 * MIB..]).await.expect("sends");
                answered(&mut upload).await
            },
            async {
                let layer = format!("/v2/library/app/blobs/{}", digest(&image.layer));
                let asked = Instant::now();
                let answer = admin.get(&layer).await.expect(503);
                assert!(asked.elapsed() < Duration::from_secs(20));
                assert!(answer.headers.contains_key("retry-after"));
                until("it says that it is degraded", async || {
                    let answer = admin.get("/readyz").await.expect(200);
                    answer.json()["status"] == "degraded"
                })
                .await;
                gate.open();
                until("it serves again", async || {
                    admin.get(&layer).await.status == 200
                })
                .await;
            }
        );
        assert_eq!(rest, "HTTP/1.1 202", "{pulled:?}");
        finish(&admin, &location, &bytes).await;
        seawall.stop();
    });
}

#[test]
fn an_upload_of_a_frozen_node_goes_on_at_another_from_its_last_part() {
    let (Some(s3), Some(postgres)) = (testkit::s3(), testkit::postgres()) else {
        return;
    };
    let bucket = bucket_on(s3);
    let database = postgres.fresh_database();
    let url = database.url();
    run(async {
        let mut one = Seawall::start_on(database, &both(&bucket, &[]));
        let mut two = one.start_beside(&[]);
        let bytes = content("frozen", 40 * MIB);
        let location = start(&one.admin()).await;
        let mut upload = by_hand("PATCH", one.address(), &location, bytes.len()).await;
        upload.write_all(&bytes[..30 * MIB]).await.expect("sends");
        // It is frozen once a part was counted, with another on its way.
        let sql = "SELECT COALESCE(MAX(received), 0) FROM uploads";
        until("a part is counted", async || count(&url, sql) > 0).await;
        one.signal("STOP");
        let admin = two.admin();
        let status = admin.get(&location).await.expect(204);
        let end: usize = status.header("range")[2..].parse().expect("a number");
        assert!(end + 1 >= 8 * MIB, "{end}");
        let middle = bytes.slice(end + 1..35 * MIB);
        admin
            .request("PATCH", &location)
            .body(middle)
            .send()
            .await
            .expect(202);
        one.signal("CONT");
        // What the first one's client still sends counts for nothing.
        let _ = upload.write_all(&vec![7; 10 * MIB]).await;
        admin
            .request("PATCH", &location)
            .body(bytes.slice(35 * MIB..))
            .send()
            .await
            .expect(202);
        finish(&admin, &location, &bytes).await;
        one.admin()
            .get(&format!("/v2/library/big/blobs/{}", digest(&bytes)))
            .await
            .expect(200);
        two.stop();
        one.stop();
    });
}

/// Or it would be taken for one that was given up, in a body that lasts longer than `uploads.expire`.
#[test]
fn an_upload_in_one_request_is_heard_of_while_its_bytes_come() {
    let (Some(s3), Some(postgres)) = (testkit::s3(), testkit::postgres()) else {
        return;
    };
    let bucket = bucket_on(s3);
    let database = postgres.fresh_database();
    let url = database.url();
    run(async {
        let mut seawall = Seawall::start_on(database, &both(&bucket, &[]));
        let bytes = content("in one", 40 * MIB);
        let place = format!("/v2/library/big/blobs/uploads/?digest={}", digest(&bytes));
        let mut upload = by_hand("POST", seawall.address(), &place, bytes.len()).await;
        upload.write_all(&bytes[..30 * MIB]).await.expect("sends");
        let sql = "SELECT COUNT(*) FROM uploads WHERE received > 0 AND updated_at > started_at";
        until("its row is touched", async || count(&url, sql) > 0).await;
        upload.write_all(&bytes[30 * MIB..]).await.expect("sends");
        assert_eq!(answered(&mut upload).await, "HTTP/1.1 201");
        seawall.stop();
    });
}

#[test]
fn clients_are_sent_to_the_bucket_where_the_operator_says_so() {
    let Some(s3) = testkit::s3() else {
        return;
    };
    let bucket = bucket_on(s3.clone());
    let address = s3.endpoint.clone();
    run(async {
        let redirect = ("SEAWALL_STORAGE__REDIRECT", "true");
        let mut seawall = Seawall::start_alone(&both(&bucket, &[redirect]));
        let (admin, image) = (seawall.admin(), Image::new("there"));
        admin.push("library/app", "v1", &image).await;
        let layer = format!("/v2/library/app/blobs/{}", digest(&image.layer));
        let sent = admin.get(&layer).await.expect(307);
        assert_eq!(sent.header("cache-control"), "no-store");
        assert_eq!(sent.header("docker-content-digest"), digest(&image.layer));
        let there = sent.header("location").strip_prefix(&address);
        let there = there.expect("an address of the bucket's server").to_owned();
        let host = address.strip_prefix("http://").expect("plain HTTP");
        // Whoever asks there needs no password of ours, and is shown one object.
        let store = Client::new(host);
        assert_eq!(store.get(&there).await.expect(200).body, image.layer);
        let unsigned = there.split('?').next().expect("a path");
        store.get(unsigned).await.expect(403);
        let length = admin.head(&layer).await.expect(200);
        assert_eq!(
            length.header("content-length"),
            image.layer.len().to_string()
        );
        let manifest = admin.get("/v2/library/app/manifests/v1").await;
        assert_eq!(manifest.expect(200).body, image.manifest);
        seawall.stop();

        // Whom the operator does not name gets it here.
        let few = ("SEAWALL_STORAGE__REDIRECT_CLIENTS", r#"["10.0.0.0/8"]"#);
        let mut near = Seawall::start_in(seawall.data(), &both(&bucket, &[redirect, few]));
        let admin = near.admin();
        assert_eq!(admin.get(&layer).await.expect(200).body, image.layer);
        near.stop();

        // Nobody is sent to what is not there, and it is known as lost.
        let (name, key) = unsigned[1..].split_once('/').expect("a bucket and a key");
        s3.call(testkit::Method::DELETE, name, key, "").await;
        let mut seawall = Seawall::start_in(seawall.data(), &both(&bucket, &[redirect]));
        seawall
            .admin()
            .get(&layer)
            .await
            .refused(404, "BLOB_UNKNOWN");
        seawall.stop();
    });
}

#[test]
fn images_lie_in_a_container_of_azures_and_are_pulled_from_there() {
    let Some(azure) = testkit::azure() else {
        return;
    };
    let address = azure.endpoint.clone();
    let container = container_on(azure);
    run(async {
        let mut seawall = Seawall::start_alone(&both(&container, &[]));
        let (admin, image) = (seawall.admin(), Image::new("azure"));
        admin.push("library/app", "v1", &image).await;
        let layer = format!("/v2/library/app/blobs/{}", digest(&image.layer));
        assert_eq!(admin.get(&layer).await.expect(200).body, image.layer);
        // In parts, by two requests.
        let bytes = content("parts", 30 * MIB);
        let location = start(&admin).await;
        for part in [bytes.slice(..17 * MIB), bytes.slice(17 * MIB..)] {
            let patch = admin.request("PATCH", &location).body(part);
            patch.send().await.expect(202);
        }
        finish(&admin, &location, &bytes).await;
        seawall.stop();

        let redirect = ("SEAWALL_STORAGE__REDIRECT", "true");
        let mut seawall = Seawall::start_in(seawall.data(), &both(&container, &[redirect]));
        let admin = seawall.admin();
        let large = format!("/v2/library/big/blobs/{}", digest(&bytes));
        for (path, expected) in [(&layer, &image.layer), (&large, &bytes)] {
            let sent = admin.get(path).await.expect(307);
            let there = sent.header("location").strip_prefix(&address);
            let there = there.expect("an address of Azure's").to_owned();
            let store = Client::new(address.strip_prefix("http://").expect("plain HTTP"));
            assert!(store.get(&there).await.expect(200).body == *expected);
            let unsigned = there.split('?').next().expect("a path");
            assert!(store.get(unsigned).await.status.is_client_error());
        }
        seawall.stop();
    });
}

#[test]
fn images_lie_in_a_container_of_swifts_and_are_pulled_from_there() {
    let Some(swift) = testkit::swift() else {
        return;
    };
    let container = swift_on(&swift);
    run(async {
        let mut seawall = Seawall::start_alone(&both(&container, &[]));
        let (admin, image) = (seawall.admin(), Image::new("swift"));
        admin.push("library/app", "v1", &image).await;
        // In segments, by two requests.
        let bytes = content("segments", 30 * MIB);
        let location = start(&admin).await;
        for part in [bytes.slice(..17 * MIB), bytes.slice(17 * MIB..)] {
            let patch = admin.request("PATCH", &location).body(part);
            patch.send().await.expect(202);
        }
        finish(&admin, &location, &bytes).await;
        let large = format!("/v2/library/big/blobs/{}", digest(&bytes));
        let range = admin
            .request("GET", &large)
            .header("range", "bytes=8388600-8388620");
        let range = range.send().await.expect(206);
        assert!(range.body == bytes.slice(8_388_600..8_388_621));
        seawall.stop();

        let redirect = [
            ("SEAWALL_STORAGE__REDIRECT", "true"),
            ("SEAWALL_STORAGE__SWIFT__TEMP_URL_KEY", "geheim"),
            ("SEAWALL_STORAGE__SWIFT__SET_TEMP_URL_KEY", "container"),
        ];
        let mut seawall = Seawall::start_in(seawall.data(), &both(&container, &redirect));
        let admin = seawall.admin();
        let layer = format!("/v2/library/app/blobs/{}", digest(&image.layer));
        for (path, expected) in [(&layer, &image.layer), (&large, &bytes)] {
            let sent = admin.get(path).await.expect(307);
            let there = sent.header("location").strip_prefix("http://");
            let (host, path) = there
                .and_then(|there| there.split_once('/'))
                .expect("an address");
            let (store, path) = (Client::new(host), format!("/{path}"));
            assert!(store.get(&path).await.expect(200).body == *expected);
            let unsigned = path.split('?').next().expect("a path");
            store.get(unsigned).await.expect(401);
        }
        seawall.stop();
    });
}
