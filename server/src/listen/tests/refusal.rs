//! Answers that come before the request's body was read.

use std::time::Duration;

use http_body_util::{BodyExt, Full};
use hyper::{Request, body::Bytes, client::conn::http2};
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt};
use tokio_util::task::TaskTracker;

use super::{
    clients::{Authority, TlsClient, connect, read_all},
    harness::{Server, config, listener},
    tls::with_certificate,
};
use crate::listen::{Config, Limits, ListenerConfig};

/// Sends a body of 32 MiB whole before it reads, as many clients do.
async fn push(stream: &mut (impl AsyncRead + AsyncWrite + Unpin), chunked: bool) -> String {
    let framing = if chunked {
        "transfer-encoding: chunked"
    } else {
        "content-length: 33554432"
    };
    let head = format!("PATCH /refuse HTTP/1.1\r\nhost: a\r\n{framing}\r\n\r\n");
    stream.write_all(head.as_bytes()).await.expect("head sent");
    let piece = vec![b'x'; 1 << 20];
    for _ in 0..32 {
        if chunked {
            stream.write_all(b"100000\r\n").await.expect("chunk sent");
        }
        stream
            .write_all(&piece)
            .await
            .expect("all of the body is taken");
        if chunked {
            stream.write_all(b"\r\n").await.expect("chunk sent");
        }
    }
    if chunked {
        stream.write_all(b"0\r\n\r\n").await.expect("end sent");
    }
    read_all(stream).await
}

#[tokio::test]
async fn a_client_that_writes_everything_first_sees_the_early_answer() {
    let server = Server::plain();
    for chunked in [false, true] {
        let answer = push(&mut connect(server.address()).await, chunked).await;
        assert!(answer.starts_with("HTTP/1.1 403 Forbidden\r\n"), "{answer}");
        assert!(answer.ends_with("no rights"), "{answer}");
    }
}

#[tokio::test]
async fn and_so_it_does_over_tls() {
    let authority = Authority::new();
    let identity = authority.server(&["reg.example"]);
    let secure = with_certificate(
        &identity,
        config([ListenerConfig {
            tls: true,
            ..listener()
        }]),
    );
    let server = Server::start(secure.config.clone());
    let client = TlsClient::new(&authority, None);
    let mut stream = client
        .connect(server.address(), "reg.example")
        .await
        .expect("TLS");
    let answer = push(&mut stream, false).await;
    assert!(answer.ends_with("no rights"), "{answer}");
}

#[tokio::test]
async fn and_so_it_does_over_http2() {
    let server = Server::plain();
    let tasks = TaskTracker::new();
    let io = TokioIo::new(connect(server.address()).await);
    let (mut sender, connection) = http2::handshake(TokioExecutor::new(), io)
        .await
        .expect("HTTP/2");
    tasks.spawn(connection);
    for _ in 0..2 {
        let body = Full::new(Bytes::from(vec![b'x'; 32 << 20]));
        let request = Request::put("http://a/refuse").body(body).expect("request");
        let answer = sender.send_request(request).await.expect("an answer");
        assert_eq!(answer.status(), 403);
        let body = answer
            .into_body()
            .collect()
            .await
            .expect("whole")
            .to_bytes();
        assert_eq!(body, "no rights");
    }
}

#[tokio::test]
async fn a_head_that_cannot_be_read_is_answered_though_more_comes() {
    let server = Server::plain();
    let mut stream = connect(server.address()).await;
    stream.write_all(b"GARBAGE\r\n").await.expect("sent");
    stream
        .write_all(&vec![b'x'; 8 << 20])
        .await
        .expect("all of it is taken");
    assert!(
        read_all(&mut stream)
            .await
            .starts_with("HTTP/1.1 400 Bad Request\r\n")
    );
}

#[tokio::test]
async fn whoever_never_stops_sending_is_cut() {
    let server = Server::start(Config {
        limits: Limits {
            linger: Duration::from_millis(50),
            ..Limits::default()
        },
        ..config([listener()])
    });
    let mut stream = connect(server.address()).await;
    stream
        .write_all(b"PATCH /refuse HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\n\r\n")
        .await
        .expect("sent");
    let piece = [&b"10000\r\n"[..], &vec![b'x'; 65_536], b"\r\n"].concat();
    while stream.write_all(&piece).await.is_ok() {}
}
