//! Time-outs against slow clients, on a paused clock: it jumps when nothing else is left to do.

use std::time::Duration;

use http_body_util::{BodyExt, Empty};
use hyper::{Request, body::Bytes, client::conn::http2};
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWriteExt, DuplexStream},
    task::JoinSet,
    time::{Instant, sleep, timeout},
};
use tokio_util::sync::CancellationToken;

use super::{
    clients::{Authority, connect, read_to},
    harness::{BYTES, InMemory, Server, config, listener},
    tls::{secure, with_certificate},
};
use crate::listen::{Config, ListenerConfig, config::ProxyProtocol, connection::Certified};

const GET: &[u8] = b"GET / HTTP/1.1\r\nhost: a\r\n\r\n";

/// Seconds until the server closes the connection.
async fn seconds_to_end(stream: &mut (impl AsyncRead + Unpin)) -> u64 {
    let start = Instant::now();
    let mut rest = Vec::new();
    // It may be reset, when something it was sent was not read.
    let _ = stream.read_to_end(&mut rest).await;
    start.elapsed().as_secs()
}

#[tokio::test(start_paused = true)]
async fn a_client_that_sends_nothing_is_dropped() {
    let server = Server::plain();
    let mut stream = connect(server.address()).await;
    assert_eq!(seconds_to_end(&mut stream).await, 10);
}

#[tokio::test(start_paused = true)]
async fn handshakes_have_their_time() {
    let authority = Authority::new();
    let identity = authority.server(&["reg.example"]);
    let files = with_certificate(&identity, config([secure()]));
    let server = Server::start(files.config.clone());
    let mut stream = connect(server.address()).await;
    stream.write_all(&[0x16, 3, 1]).await.expect("sent");
    assert_eq!(seconds_to_end(&mut stream).await, 10);

    let server = Server::start(Config {
        trusted_proxies: vec!["127.0.0.1/32".parse().expect("network")],
        ..config([ListenerConfig {
            proxy_protocol: ProxyProtocol::Require,
            ..listener()
        }])
    });
    let mut stream = connect(server.address()).await;
    stream.write_all(b"PROXY TCP4").await.expect("sent");
    assert_eq!(seconds_to_end(&mut stream).await, 5);
}

#[tokio::test(start_paused = true)]
async fn a_head_that_drips_is_cut_at_the_time_out() {
    let mut memory = InMemory::connect(false);
    let stream = &mut memory.client;
    let start = Instant::now();
    stream
        .write_all(b"GET / HTTP/1.1\r\nx: ")
        .await
        .expect("sent");
    let mut byte = [0];
    while timeout(Duration::from_secs(3), stream.read(&mut byte))
        .await
        .is_err()
    {
        stream.write_all(b"x").await.expect("sent");
    }
    assert_eq!(start.elapsed().as_secs(), 10);
}

#[tokio::test(start_paused = true)]
async fn an_idle_connection_is_closed_after_the_idle_time() {
    let mut memory = InMemory::connect(false);
    let stream = &mut memory.client;
    for pause in [0, 70, 70] {
        sleep(Duration::from_secs(pause)).await;
        stream.write_all(GET).await.expect("sent");
        read_to(stream, "name=-").await;
    }
    assert_eq!(seconds_to_end(stream).await, 75);
}

#[tokio::test(start_paused = true)]
async fn a_later_head_has_the_same_time_as_the_first() {
    let mut memory = InMemory::connect(false);
    let stream = &mut memory.client;
    stream.write_all(GET).await.expect("sent");
    read_to(stream, "name=-").await;
    sleep(Duration::from_secs(33)).await;
    stream.write_all(b"GET / HT").await.expect("sent");
    assert_eq!(seconds_to_end(stream).await, 10);
}

#[tokio::test(start_paused = true)]
async fn a_request_that_takes_long_is_not_idle() {
    let mut memory = InMemory::connect(false);
    let stream = &mut memory.client;
    stream
        .write_all(b"GET /wait HTTP/1.1\r\nhost: a\r\n\r\n")
        .await
        .expect("sent");
    memory.handler.entered.notified().await;
    sleep(Duration::from_hours(1)).await;
    memory.handler.release.notify_one();
    let answer = read_to(stream, "waited").await;
    assert!(answer.starts_with("HTTP/1.1 200 OK\r\n"), "{answer}");
}

const GET_BYTES: &[u8] = b"GET /bytes HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n";

#[tokio::test(start_paused = true)]
async fn a_client_that_takes_nothing_of_its_answer_is_cut() {
    let mut memory = InMemory::connect(false);
    let stream = &mut memory.client;
    stream.write_all(GET_BYTES).await.expect("sent");
    let mut head = vec![0; 1 << 20];
    stream.read_exact(&mut head).await.expect("it begins");
    sleep(Duration::from_secs(61)).await;
    let mut rest = Vec::new();
    stream.read_to_end(&mut rest).await.expect("closed");
    assert!(
        rest.len() <= 64 << 10,
        "{} bytes, more than were on their way",
        rest.len()
    );
}

#[tokio::test(start_paused = true)]
async fn a_client_that_takes_its_answer_slowly_gets_all_of_it() {
    let mut memory = InMemory::connect(false);
    let stream = &mut memory.client;
    stream.write_all(GET_BYTES).await.expect("sent");
    let mut taken = 0;
    let mut chunk = vec![0; 8 << 20];
    // Longer than the idle time in all, and each pause shorter than the time-out of a write.
    for _ in 0..6 {
        sleep(Duration::from_secs(50)).await;
        taken += stream.read_exact(&mut chunk).await.expect("more");
    }
    let mut rest = Vec::new();
    taken += stream.read_to_end(&mut rest).await.expect("the rest");
    assert!(taken > BYTES, "{taken} bytes with the head");
}

#[tokio::test(start_paused = true)]
async fn an_http2_client_that_no_longer_answers_is_dropped() {
    let mut memory = InMemory::connect(true);
    let stream = &mut memory.client;
    // The preface and an empty SETTINGS frame, and then never an answer to a ping.
    let begin = [
        &b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"[..],
        &[0, 0, 0, 4, 0, 0, 0, 0, 0],
    ]
    .concat();
    stream.write_all(&begin).await.expect("sent");
    assert_eq!(seconds_to_end(stream).await, 40);
}

fn request(method: &str, path: &str) -> Request<Empty<Bytes>> {
    let request = Request::builder()
        .method(method)
        .uri(format!("http://a{path}"));
    request.body(Empty::new()).expect("a request")
}

/// A client on HTTP/2 that answers pings and opens this window for each stream. Its connection ends with the set.
async fn http2(
    client: DuplexStream,
    window: u32,
) -> (http2::SendRequest<Empty<Bytes>>, JoinSet<()>) {
    let (sender, connection) = http2::Builder::new(TokioExecutor::new())
        .initial_stream_window_size(window)
        .handshake(TokioIo::new(client))
        .await
        .expect("HTTP/2");
    let mut tasks = JoinSet::new();
    tasks.spawn(async move {
        // The streams tell.
        let _ = connection.await;
    });
    (sender, tasks)
}

#[tokio::test(start_paused = true)]
async fn a_stream_that_takes_nothing_is_cut_and_no_other() {
    for window in [0, 65_535] {
        let memory = InMemory::connect(true);
        let (mut sender, _tasks) = http2(memory.client, window).await;
        let answer = sender.send_request(request("GET", "/pieces")).await;
        let stalled = answer.expect("a head").into_body();
        for seconds in [50, 50] {
            sleep(Duration::from_secs(seconds)).await;
            let other = sender.send_request(request("HEAD", "/")).await;
            assert_eq!(other.expect("still connected").status(), 200);
        }
        let error = stalled.collect().await.expect_err("it was cut");
        assert!(format!("{error:?}").contains("CANCEL"), "{error:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_stream_that_is_taken_slowly_comes_whole() {
    let memory = InMemory::connect(true);
    let (mut sender, _tasks) = http2(memory.client, 65_535).await;
    let answer = sender.send_request(request("GET", "/pieces")).await;
    let mut body = answer.expect("a head").into_body();
    let mut taken = 0;
    for _ in 0..6 {
        sleep(Duration::from_secs(50)).await;
        let goal = taken + 65_535;
        while taken < goal {
            let frame = body.frame().await.expect("more").expect("not cut");
            taken += frame.into_data().expect("bytes").len();
        }
    }
    let rest = body.collect().await.expect("whole").to_bytes();
    assert_eq!(taken + rest.len(), BYTES);
}

#[tokio::test(start_paused = true)]
async fn a_connection_ends_with_the_certificate_that_it_was_opened_with() {
    let certified = Certified {
        replaced: CancellationToken::new(),
        expires: Instant::now() + Duration::from_secs(100),
    };
    let mut memory = InMemory::connect_as(false, Some(certified));
    let stream = &mut memory.client;
    for pause in [0, 60, 30] {
        sleep(Duration::from_secs(pause)).await;
        stream.write_all(GET).await.expect("sent");
        read_to(stream, "name=-").await;
    }
    assert_eq!(seconds_to_end(stream).await, 10);
}
