//! Stopping: what runs may end, what is idle goes, what takes too long is cut.

use std::time::Duration;

use http_body_util::{BodyExt, Empty};
use hyper::{Request, body::Bytes, client::conn::http2};
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    time::{Instant, sleep},
};
use tokio_util::task::TaskTracker;

use super::{
    clients::{connect, get, read_all, read_to},
    harness::{Server, config, listener},
};
use crate::listen::{Config, Drain};

const GET: &[u8] = b"GET / HTTP/1.1\r\nhost: a\r\n\r\n";
const WAIT: &[u8] = b"GET /wait HTTP/1.1\r\nhost: a\r\n\r\n";

fn draining(delay: u64, timeout: u64) -> Server {
    Server::start(Config {
        drain: Drain {
            delay: Duration::from_secs(delay),
            timeout: Duration::from_secs(timeout),
        },
        ..config([listener()])
    })
}

#[tokio::test]
async fn an_idle_connection_is_closed_at_once() {
    let server = draining(0, 3600);
    let mut idle = connect(server.address()).await;
    idle.write_all(GET).await.expect("sent");
    read_to(&mut idle, "name=-").await;
    server.stop.shutdown.cancel();
    assert_eq!(read_all(&mut idle).await, "");
    server.stopped().await;
}

#[tokio::test]
async fn a_running_request_ends_and_its_connection_with_it() {
    let server = draining(0, 3600);
    let address = server.address();
    let mut running = connect(address).await;
    running.write_all(WAIT).await.expect("sent");
    server.handler.entered.notified().await;
    server.stop.shutdown.cancel();
    // Once the door is shut, and only then, connecting fails.
    while TcpStream::connect(address).await.is_ok() {
        tokio::task::yield_now().await;
    }
    server.handler.release.notify_one();
    let answer = read_all(&mut running).await;
    assert!(
        answer.contains("connection: close\r\n") && answer.ends_with("waited"),
        "{answer}"
    );
    server.stopped().await;
}

#[tokio::test]
async fn a_running_stream_of_http2_ends_after_goaway() {
    let server = draining(0, 3600);
    let tasks = TaskTracker::new();
    let io = TokioIo::new(connect(server.address()).await);
    let (mut sender, connection) = http2::handshake(TokioExecutor::new(), io)
        .await
        .expect("HTTP/2");
    let connection = tasks.spawn(connection);
    let request = Request::get("http://a/wait")
        .body(Empty::<Bytes>::new())
        .expect("request");
    let answer = tasks.spawn(sender.send_request(request));
    server.handler.entered.notified().await;
    server.stop.shutdown.cancel();
    // The client learns that nothing new is taken while its request still runs.
    let another = || {
        Request::get("http://a/")
            .body(Empty::<Bytes>::new())
            .expect("request")
    };
    while sender.send_request(another()).await.is_ok() {}
    server.handler.release.notify_one();
    let answer = answer.await.expect("no panic").expect("an answer");
    let body = answer
        .into_body()
        .collect()
        .await
        .expect("whole")
        .to_bytes();
    assert_eq!(body, "waited");
    connection
        .await
        .expect("no panic")
        .expect("closed in order");
    server.stopped().await;
}

#[tokio::test(start_paused = true)]
async fn what_runs_too_long_is_cut() {
    let server = draining(0, 30);
    let mut running = connect(server.address()).await;
    running.write_all(WAIT).await.expect("sent");
    server.handler.entered.notified().await;
    let start = Instant::now();
    server.stop.shutdown.cancel();
    let mut answer = Vec::new();
    let _ = running.read_to_end(&mut answer).await;
    assert!(answer.is_empty());
    server.stopped().await;
    assert_eq!(start.elapsed().as_secs(), 30);
}

#[tokio::test(start_paused = true)]
async fn the_cut_ends_everything_at_once() {
    let server = draining(3600, 3600);
    let mut running = connect(server.address()).await;
    running.write_all(WAIT).await.expect("sent");
    server.handler.entered.notified().await;
    let start = Instant::now();
    server.stop.shutdown.cancel();
    server.stop.cut.cancel();
    server.stopped().await;
    assert!(start.elapsed() < Duration::from_secs(1));
}

#[tokio::test(start_paused = true)]
async fn the_listener_stays_open_for_the_delay() {
    let server = draining(20, 30);
    let address = server.address();
    server.stop.shutdown.cancel();
    sleep(Duration::from_secs(15)).await;
    // A paused clock could jump while bytes are on their way.
    tokio::time::resume();
    let answer = get(connect(address).await, "/").await;
    tokio::time::pause();
    assert!(answer.starts_with("HTTP/1.1 200 OK\r\n"), "{answer}");
    sleep(Duration::from_secs(6)).await;
    TcpStream::connect(address).await.expect_err("closed");
    server.stopped().await;
}

#[tokio::test(start_paused = true)]
async fn a_connection_that_was_just_made_gets_its_first_request() {
    let server = draining(0, 30);
    let mut fresh = connect(server.address()).await;
    server.stop.shutdown.cancel();
    sleep(Duration::from_millis(100)).await;
    tokio::time::resume();
    fresh.write_all(GET).await.expect("sent");
    assert!(
        read_all(&mut fresh)
            .await
            .starts_with("HTTP/1.1 200 OK\r\n")
    );
    let start = Instant::now();
    server.stopped().await;
    assert!(
        start.elapsed() < Duration::from_secs(10),
        "{:?}",
        start.elapsed()
    );
}
