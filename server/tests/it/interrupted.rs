//! Requests that nobody waits for any more: what came is kept, and the log tells of them.

use std::{io, net::Shutdown, path::Path, time::Instant};

use bytes::Bytes;
use futures_util::StreamExt;
use http_body_util::StreamBody;
use hyper::{
    Request,
    body::{Body, Frame},
    client::conn::http2,
};
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    sync::mpsc,
};

use crate::harness::{Client, Seawall, digest, image::content, server::on_directories_with};

const ADMIN: &str = "Basic YWRtaW46SGFyYm9yMTIzNDU=";
/// Less than what makes a row in the middle of a request.
const SENT: usize = 3 << 20;
/// What surely has been written of that, so that it lies in the file.
const SEEN: u64 = 1 << 20;

async fn start(client: &Client) -> String {
    let answer = client
        .post("/v2/library/cut/blobs/uploads/")
        .await
        .expect(202);
    answer.header("location").to_owned()
}

/// How many bytes the uploads of this server hold.
fn on_disk(data: &Path) -> u64 {
    let files = std::fs::read_dir(data.join("storage/uploads")).expect("uploads");
    files
        .filter_map(|file| file.ok()?.metadata().ok())
        .map(|file| file.len())
        .sum()
}

/// Waits until so much has come; bounded, not timed.
async fn wait_for_bytes(seawall: &Seawall, before: u64) {
    let began = Instant::now();
    while on_disk(seawall.data()) < before + SEEN {
        assert!(began.elapsed().as_secs() < 60, "nothing comes");
        tokio::task::yield_now().await;
    }
}

/// Where the upload goes on, once something of it is known. The node that receives it is asked: another one takes it over with what its
/// row says, and that may be nothing yet.
async fn received(seawall: &Seawall, location: &str) -> usize {
    let node = Client::new(seawall.address()).with_basic("admin", "Harbor12345");
    let began = Instant::now();
    loop {
        let status = node.get(location).await.expect(204);
        let end = status.header("range").strip_prefix("0-");
        let end: usize = end.and_then(|end| end.parse().ok()).expect("a range");
        if end > 0 {
            return end + 1;
        }
        assert!(began.elapsed().as_secs() < 30, "what came is not kept");
    }
}

async fn go_on(seawall: &Seawall, location: &str, bytes: &Bytes) {
    let have = received(seawall, location).await;
    assert!(have as u64 >= SEEN, "{have}");
    let admin = seawall.admin();
    let last = format!("{location}?digest={}", digest(bytes));
    admin
        .request("PUT", &last)
        .header("content-range", &format!("{have}-{}", bytes.len() - 1))
        .body(bytes.slice(have..))
        .send()
        .await
        .expect(201);
    let pulled = admin
        .get(&format!("/v2/library/cut/blobs/{}", digest(bytes)))
        .await
        .expect(200);
    assert_eq!(pulled.body, *bytes);
}

/// A body that sends these bytes and then what comes through the channel.
fn stalling(
    bytes: &Bytes,
) -> (
    mpsc::UnboundedSender<io::Result<Bytes>>,
    impl Body<Data = Bytes, Error = io::Error> + use<>,
) {
    let (sender, receiver) = mpsc::unbounded_channel();
    sender.send(Ok(bytes.slice(..SENT))).expect("it is read");
    let stream = futures_util::stream::unfold(receiver, async |mut receiver| {
        let bytes: io::Result<Bytes> = receiver.recv().await?;
        Some((bytes.map(Frame::data), receiver))
    });
    (sender, StreamBody::new(stream.boxed()))
}

#[test]
fn an_upload_over_http2_goes_on_after_its_stream_or_its_connection_was_cut() {
    on_directories_with(&[], async |seawall| {
        for what in ["stream", "connection"] {
            let (admin, bytes) = (seawall.admin(), content(what, 4_000_000));
            let location = start(&admin).await;
            let before = on_disk(seawall.data());
            let socket = std::net::TcpStream::connect(seawall.address()).expect("connects");
            socket.set_nonblocking(true).expect("set");
            let stream = TcpStream::from_std(socket.try_clone().expect("a second handle"));
            let (mut sender, connection) = http2::handshake(
                TokioExecutor::new(),
                TokioIo::new(stream.expect("a stream")),
            )
            .await
            .expect("speaks HTTP/2");
            tokio::spawn(connection);
            let (more, body) = stalling(&bytes);
            let request = Request::patch(format!("http://{}{location}", seawall.address()))
                .header("authorization", ADMIN)
                .body(body)
                .expect("a request");
            tokio::spawn(sender.send_request(request));
            wait_for_bytes(seawall, before).await;
            if what == "stream" {
                // A body that fails resets its stream.
                let _ = more.send(Err(io::Error::other("cut")));
            } else {
                socket.shutdown(Shutdown::Both).expect("shut");
            }
            go_on(seawall, &location, &bytes).await;
            drop(more);
        }
    });
}

#[test]
fn an_upload_that_the_end_of_the_drain_cuts_goes_on_after_the_restart() {
    on_directories_with(&[("SEAWALL_DRAIN__TIMEOUT", "0s")], async |seawall| {
        let bytes = content("drained", 4_000_000);
        let location = start(&seawall.admin()).await;
        let mut stream = TcpStream::connect(seawall.address())
            .await
            .expect("connects");
        let head = format!(
            "PATCH {location} HTTP/1.1\r\nHost: x\r\nAuthorization: {ADMIN}\r\nTransfer-Encoding: chunked\r\n\r\n{:x}\r\n",
            bytes.len()
        );
        stream.write_all(head.as_bytes()).await.expect("sends");
        stream.write_all(&bytes[..SENT]).await.expect("sends");
        wait_for_bytes(seawall, 0).await;
        tokio::task::block_in_place(|| seawall.stop());
        seawall.launch();
        go_on(seawall, &location, &bytes).await;
        drop(stream);
    });
}

#[test]
fn who_falls_silent_is_told_that_his_bytes_are_kept_where_they_are() {
    let settings = [("SEAWALL_LIMITS__BODY_IDLE", "1s")];
    crate::harness::server::on_sqlite_with(&settings, async |seawall| {
        let location = start(&seawall.admin()).await;
        for (request, is_kept) in [
            (format!("PATCH {location}"), true),
            ("PUT /v2/library/cut/manifests/v1".to_owned(), false),
        ] {
            let mut stream = TcpStream::connect(seawall.address())
                .await
                .expect("connects");
            let head = format!(
                "{request} HTTP/1.1\r\nHost: x\r\nAuthorization: {ADMIN}\r\nConnection: close\r\nContent-Length: 9\r\n\r\n1234"
            );
            stream.write_all(head.as_bytes()).await.expect("sends");
            let mut told = String::new();
            stream.read_to_string(&mut told).await.expect("an answer");
            assert!(told.contains("nothing came for 1 seconds"), "{told}");
            assert_eq!(told.contains("what came before is kept"), is_kept, "{told}");
        }
    });
}

#[test]
fn the_access_log_tells_of_what_was_cut_and_names_contents() {
    let logs = tempfile::tempdir().expect("a directory");
    let path = logs.path().join("access.log");
    let target = format!("file:{}", path.display());
    let settings = [
        ("SEAWALL_LOG__ACCESS", "true"),
        ("SEAWALL_LOG__FORMAT", "json"),
        ("SEAWALL_LOG__ACCESS_TARGET", &target),
    ];
    crate::harness::server::on_sqlite_with(&settings, async |seawall| {
        let (admin, image) = (seawall.admin(), crate::harness::Image::new("logged"));
        admin.push("library/cut", "v1", &image).await;
        admin.get("/v2/library/cut/manifests/v1").await.expect(200);
        // A wrong password is not answered at once, and whoever asked does not wait.
        let mut stream = TcpStream::connect(seawall.address())
            .await
            .expect("connects");
        stream.write_all(&token_request()).await.expect("sends");
        // A request that comes together with the connection's end is not taken up: the answer to a ping shows that this one was.
        stream.write_all(PING).await.expect("sends");
        let mut seen = Vec::new();
        while !seen.ends_with(b"pingpong") {
            seen.push(stream.read_u8().await.expect("an answer"));
        }
        stream.shutdown().await.expect("half closes");
        // Its line comes when the server has noticed.
        let began = Instant::now();
        let lines = loop {
            let lines = lines(&path);
            if lines.iter().any(|line| line["route"] == "token") {
                break lines;
            }
            assert!(began.elapsed().as_secs() < 30, "{lines:?}");
        };
        let of = |method: &str, route: &str| {
            lines
                .iter()
                .find(|line| line["route"] == route && line["method"] == method)
                .unwrap_or_else(|| panic!("no line of {route}"))
        };
        let cut = of("GET", "token");
        assert_eq!(
            (&cut["aborted"], &cut["status"]),
            (&true.into(), &499.into())
        );
        assert_eq!(of("PUT", "upload.finish")["digest"], digest(&image.config));
        for (method, route) in [("PUT", "manifest.put"), ("GET", "manifest.get")] {
            let line = of(method, route);
            assert_eq!(line["digest"], image.digest(), "{line}");
            assert_eq!(
                (
                    &line["project"],
                    &line["repository"],
                    &line["reference"],
                    &line["identity"]
                ),
                (
                    &"library".into(),
                    &"library/cut".into(),
                    &"v1".into(),
                    &"admin".into()
                )
            );
        }
    });
}

/// A frame of HTTP/2: eight bytes, kind 6, no flags, no stream.
const PING: &[u8] = b"\0\0\x08\x06\0\0\0\0\0pingpong";

/// Over HTTP/2, byte by byte: what was sent is then surely read before the end.
fn token_request() -> Vec<u8> {
    let mut fields = Vec::new();
    for (name, value) in [
        (":method", "GET"),
        (":scheme", "http"),
        (":path", "/service/token"),
        (":authority", "x"),
        ("authorization", "Basic YWRtaW46d3Jvbmc="),
    ] {
        // A literal field without indexing (RFC 7541, section 6.2.2).
        fields.push(0);
        for text in [name, value] {
            fields.push(text.len() as u8);
            fields.extend_from_slice(text.as_bytes());
        }
    }
    let settings = [0, 0, 0, 4, 0, 0, 0, 0, 0];
    let headers = [0, 0, fields.len() as u8, 1, 5, 0, 0, 0, 1];
    [
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
        &settings[..],
        &headers,
        &fields,
    ]
    .concat()
}

fn lines(path: &Path) -> Vec<serde_json::Value> {
    let text = std::fs::read_to_string(path).unwrap_or_default();
    let whole = text.rsplit_once('\n').map_or("", |(whole, _)| whole);
    whole
        .lines()
        .map(|line| serde_json::from_str(line).expect("JSON"))
        .collect()
}
