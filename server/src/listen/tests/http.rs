//! Plain HTTP/1 and HTTP/2.

use tokio::io::AsyncWriteExt;

use super::{
    clients::{connect, get, get_http2, read_all, read_to},
    harness::Server,
};

#[tokio::test]
async fn http1_is_served_and_told_its_connection() {
    let server = Server::plain();
    let answer = get(connect(server.address()).await, "/").await;
    assert!(answer.starts_with("HTTP/1.1 200 OK\r\n"), "{answer}");
    assert!(
        answer.contains("version=HTTP/1.1 remote=127.0.0.1 trusted=false"),
        "{answer}"
    );
    assert!(
        answer.contains("metrics_only=false plain_http1=true sni=-"),
        "{answer}"
    );
}

#[tokio::test]
async fn http2_without_tls_is_known_by_its_first_bytes() {
    let server = Server::plain();
    let answer = get_http2(connect(server.address()).await, "/").await;
    assert!(
        answer.contains("version=HTTP/2.0 remote=127.0.0.1"),
        "{answer}"
    );
    assert!(answer.contains("plain_http1=false"), "{answer}");
}

#[tokio::test]
async fn http2_is_known_when_its_first_bytes_come_one_by_one() {
    let server = Server::plain();
    let mut stream = connect(server.address()).await;
    stream.set_nodelay(true).expect("nodelay");
    for byte in b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" {
        stream.write_all(&[*byte]).await.expect("sent");
        tokio::task::yield_now().await;
    }
    // An empty SETTINGS frame; the server's own comes back.
    stream
        .write_all(&[0, 0, 0, 4, 0, 0, 0, 0, 0])
        .await
        .expect("sent");
    let mut head = [0; 9];
    tokio::io::AsyncReadExt::read_exact(&mut stream, &mut head)
        .await
        .expect("a frame");
    assert_eq!(head[3], 4, "its kind is SETTINGS");
}

#[tokio::test]
async fn methods_that_begin_like_http2_are_http1() {
    let server = Server::plain();
    for method in ["PUT", "PATCH", "PRI"] {
        let mut stream = connect(server.address()).await;
        stream
            .write_all(&method.as_bytes()[..2])
            .await
            .expect("sent");
        let rest = format!(
            "{} / HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n",
            &method[2..]
        );
        stream.write_all(rest.as_bytes()).await.expect("sent");
        let answer = read_all(&mut stream).await;
        assert!(answer.contains("version=HTTP/1.1"), "{method}: {answer}");
    }
}

#[tokio::test]
async fn a_connection_serves_many_requests() {
    let server = Server::plain();
    let mut stream = connect(server.address()).await;
    for _ in 0..3 {
        stream
            .write_all(b"GET / HTTP/1.1\r\nhost: a\r\n\r\n")
            .await
            .expect("sent");
        let answer = read_to(&mut stream, "name=-").await;
        assert!(answer.starts_with("HTTP/1.1 200 OK\r\n"), "{answer}");
    }
}

#[tokio::test]
async fn a_client_may_shut_its_side_and_still_gets_its_answer() {
    let server = Server::plain();
    let mut stream = connect(server.address()).await;
    stream
        .write_all(b"PUT /length HTTP/1.1\r\nhost: a\r\ncontent-length: 3\r\n\r\nabc")
        .await
        .expect("sent");
    stream.shutdown().await.expect("shut");
    let answer = read_all(&mut stream).await;
    assert!(answer.ends_with("Ok(3)"), "{answer}");
}

#[tokio::test]
async fn the_body_is_asked_for_only_when_it_is_read() {
    let server = Server::plain();
    let head = |path| {
        format!(
            "PUT {path} HTTP/1.1\r\nhost: a\r\nexpect: 100-continue\r\ncontent-length: 3\r\n\r\n"
        )
    };

    let mut reading = connect(server.address()).await;
    reading
        .write_all(head("/length").as_bytes())
        .await
        .expect("sent");
    let asked = read_to(&mut reading, "\r\n\r\n").await;
    assert_eq!(asked, "HTTP/1.1 100 Continue\r\n\r\n");
    reading.write_all(b"abc").await.expect("sent");
    assert!(
        read_to(&mut reading, "Ok(3)")
            .await
            .starts_with("HTTP/1.1 200 OK\r\n")
    );

    let mut refusing = connect(server.address()).await;
    refusing
        .write_all(head("/refuse").as_bytes())
        .await
        .expect("sent");
    let answer = read_to(&mut refusing, "no rights").await;
    assert!(answer.starts_with("HTTP/1.1 403 Forbidden\r\n"), "{answer}");
}

#[tokio::test]
async fn a_head_above_the_bound_is_refused() {
    let server = Server::plain();
    for (length, status) in [(60 << 10, "200 OK"), (70 << 10, "431"), (600 << 10, "431")] {
        let mut stream = connect(server.address()).await;
        let cookie = "x".repeat(length);
        let request =
            format!("GET / HTTP/1.1\r\nhost: a\r\ncookie: {cookie}\r\nconnection: close\r\n\r\n");
        stream.write_all(request.as_bytes()).await.expect("sent");
        let answer = read_all(&mut stream).await;
        assert!(
            answer.starts_with(&format!("HTTP/1.1 {status}")),
            "{length}: {answer}"
        );
    }
}
