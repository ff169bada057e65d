//! Addresses, the redirect, metrics alone, the PROXY protocol, and the unix socket.

use std::{fs, net::SocketAddr, os::unix::fs::PermissionsExt, sync::Arc};

use api::access::AccessLog;
use parking_lot::Mutex;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::UnixStream,
    task::JoinSet,
};
use tokio_util::sync::CancellationToken;

use super::{
    clients::{connect, get, get_http2, read_all},
    harness::{Server, TellTale, config, listener},
};
use crate::listen::{
    self, Config, Limits, ListenerConfig, Stop, UnixSocket,
    config::{Address, Only, ProxyProtocol, Redirect},
};

fn at(address: &str) -> ListenerConfig {
    ListenerConfig::plain(address.parse().expect("address"))
}

#[tokio::test]
async fn an_unspecified_ipv6_address_takes_both_families() {
    let server = Server::start(config([at("[::]:0")]));
    let port = server.address().port();
    if server.address().is_ipv6() {
        let answer = get(
            connect(SocketAddr::from(([0, 0, 0, 0, 0, 0, 0, 1], port))).await,
            "/",
        )
        .await;
        assert!(answer.contains("remote=::1 "), "{answer}");
    }
    let answer = get(connect(SocketAddr::from(([127, 0, 0, 1], port))).await, "/").await;
    assert!(answer.contains("remote=127.0.0.1 "), "{answer}");
}

#[tokio::test]
async fn ipv6_only_leaves_ipv4_to_others() {
    let alone = ListenerConfig {
        ipv6_only: true,
        ..at("[::]:0")
    };
    let Ok(listeners) = listen::open(config([alone])) else {
        eprintln!("left out: this machine has no IPv6");
        return;
    };
    let port = listeners.bound()[0].address.port();
    listen::open(config([at(&format!("0.0.0.0:{port}"))])).expect("the port is free on IPv4");
    drop(listeners);
    // Both in one configuration share a port without being told to.
    let both = listen::open(config([
        at(&format!("[::]:{port}")),
        at(&format!("0.0.0.0:{port}")),
    ]));
    assert_eq!(both.expect("both").bound().len(), 2);
}

#[tokio::test]
async fn a_port_in_use_is_named_with_what_to_do() {
    let server = Server::plain();
    let again = ListenerConfig {
        address: Address(server.address()),
        ..listener()
    };
    let refused = listen::open(config([again]))
        .err()
        .expect("in use")
        .to_string();
    let words = format!(
        "cannot listen on `{}`: the port is in use",
        server.address()
    );
    assert!(
        refused.starts_with(&words) && refused.contains("`--listen`"),
        "{refused}"
    );
    let elsewhere = listen::open(config([at("192.0.2.1:0")]))
        .err()
        .expect("not ours")
        .to_string();
    assert!(
        elsewhere.contains("this machine does not have that address"),
        "{elsewhere}"
    );
}

#[tokio::test]
async fn a_redirecting_listener_keeps_host_path_and_query() {
    let redirect = |port| ListenerConfig {
        redirect: Some(Redirect::Https),
        redirect_port: Some(port),
        ..listener()
    };
    let server = Server::start(Config {
        trusted_proxies: vec!["127.0.0.2/32".parse().expect("network")],
        ..config([redirect(443), redirect(8443)])
    });
    let cases = [
        (
            0,
            "GET",
            "reg.example",
            "301 Moved Permanently",
            "https://reg.example/v2/?a=b%20c",
        ),
        (
            0,
            "GET",
            "reg.example:80",
            "301 Moved Permanently",
            "https://reg.example/v2/?a=b%20c",
        ),
        (
            1,
            "HEAD",
            "[::1]:8080",
            "301 Moved Permanently",
            "https://[::1]:8443/v2/?a=b%20c",
        ),
        (
            1,
            "POST",
            "reg.example",
            "308 Permanent Redirect",
            "https://reg.example:8443/v2/?a=b%20c",
        ),
    ];
    for (which, method, host, status, location) in cases {
        let mut stream = connect(server.addresses[which]).await;
        let request =
            format!("{method} /v2/?a=b%20c HTTP/1.1\r\nhost: {host}\r\nconnection: close\r\n\r\n");
        stream.write_all(request.as_bytes()).await.expect("sent");
        let answer = read_all(&mut stream).await;
        assert!(
            answer.starts_with(&format!("HTTP/1.1 {status}\r\n")),
            "{answer}"
        );
        assert!(
            answer.contains(&format!("location: {location}\r\n")),
            "{answer}"
        );
    }
    let mut hostless = connect(server.address()).await;
    hostless
        .write_all(b"GET / HTTP/1.0\r\n\r\n")
        .await
        .expect("sent");
    let answer = read_all(&mut hostless).await;
    assert!(
        answer.starts_with("HTTP/1.0 400 Bad Request\r\n") && answer.contains("{\"errors\":[{"),
        "{answer}"
    );
}

#[tokio::test]
async fn a_redirect_has_an_id_and_a_line_in_the_access_log() {
    let redirect = ListenerConfig {
        redirect: Some(Redirect::Https),
        redirect_port: Some(443),
        ..listener()
    };
    let lines = Arc::new(Mutex::new(Vec::new()));
    let log = lines.clone();
    let access: AccessLog = Arc::new(move |record| {
        log.lock().push(format!(
            "{} {} {} {} {:?} {}",
            record.status,
            record.method,
            record.path,
            record.route,
            record.client,
            record.request_id
        ));
    });
    let server = Server::start_telling(config([redirect]), Some(access));
    let mut stream = connect(server.address()).await;
    let request =
        b"GET /v2/?a=b HTTP/1.1\r\nhost: a\r\nx-request-id: mine\r\nconnection: close\r\n\r\n";
    stream.write_all(request).await.expect("sent");
    let answer = read_all(&mut stream).await;
    assert!(answer.contains("x-request-id: mine\r\n"), "{answer}");
    assert_eq!(
        *lines.lock(),
        ["301 GET /v2/ redirect Some(127.0.0.1) mine"]
    );
}

#[tokio::test]
async fn what_came_over_https_to_a_trusted_proxy_is_not_redirected_again() {
    let redirect = ListenerConfig {
        redirect: Some(Redirect::Https),
        redirect_port: Some(443),
        ..listener()
    };
    let server = Server::start(Config {
        trusted_proxies: vec!["127.0.0.0/8".parse().expect("network")],
        ..config([redirect])
    });
    let mut stream = connect(server.address()).await;
    let request =
        b"GET / HTTP/1.1\r\nhost: a\r\nx-forwarded-proto: https\r\nconnection: close\r\n\r\n";
    stream.write_all(request).await.expect("sent");
    let answer = read_all(&mut stream).await;
    assert!(
        answer.starts_with("HTTP/1.1 200 OK\r\n") && answer.contains("trusted=true"),
        "{answer}"
    );
}

#[tokio::test]
async fn a_listener_for_metrics_alone_answers_when_all_connections_are_taken() {
    let metrics = ListenerConfig {
        only: Some(Only::Metrics),
        ..listener()
    };
    let server = Server::start(Config {
        limits: Limits {
            max_connections: 1,
            ..Limits::default()
        },
        ..config([listener(), metrics])
    });
    let mut taken = connect(server.address()).await;
    taken
        .write_all(b"GET /wait HTTP/1.1\r\nhost: a\r\n\r\n")
        .await
        .expect("sent");
    server.handler.entered.notified().await;
    let mut waiting = connect(server.address()).await;
    waiting
        .write_all(b"GET / HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n")
        .await
        .expect("sent");

    let answer = get(connect(server.addresses[1]).await, "/").await;
    assert!(answer.contains("metrics_only=true"), "{answer}");
    let mut byte = [0];
    assert!(
        waiting.try_read(&mut byte).is_err(),
        "the one above the bound waits"
    );

    drop(taken);
    server.handler.release.notify_one();
    assert!(
        read_all(&mut waiting).await.contains("metrics_only=false"),
        "and is served in its turn"
    );
}

const V1: &[u8] = b"PROXY TCP4 192.0.2.7 198.51.100.1 4711 443\r\n";
const V2: &[u8] =
    b"\r\n\r\n\0\r\nQUIT\n\x21\x11\0\x0c\xc0\0\x02\x07\xc6\x33\x64\x01\x12\x67\x01\xbb";
const V2_LOCAL: &[u8] = b"\r\n\r\n\0\r\nQUIT\n\x20\0\0\0";

fn proxied(mode: ProxyProtocol, trusted: &str) -> Server {
    Server::start(Config {
        trusted_proxies: vec![trusted.parse().expect("network")],
        ..config([ListenerConfig {
            proxy_protocol: mode,
            ..listener()
        }])
    })
}

/// The answer to a request after those first bytes; empty when the connection was closed on it.
async fn after(server: &Server, first: &[u8]) -> String {
    let mut stream = connect(server.address()).await;
    let request = [
        first,
        b"GET / HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n",
    ]
    .concat();
    stream.write_all(&request).await.expect("sent");
    let mut answer = Vec::new();
    // A refused connection may be reset, since what was sent is not read.
    let _ = stream.read_to_end(&mut answer).await;
    String::from_utf8(answer).expect("text")
}

#[tokio::test]
async fn a_trusted_proxy_names_the_client() {
    for mode in [ProxyProtocol::Accept, ProxyProtocol::Require] {
        let server = proxied(mode, "127.0.0.0/8");
        for header in [V1, V2] {
            let answer = after(&server, header).await;
            // The headers behind it are the client's own words.
            assert!(
                answer.contains("remote=192.0.2.7 trusted=false"),
                "{answer}"
            );
        }
        assert!(
            after(&server, V2_LOCAL)
                .await
                .contains("remote=127.0.0.1 trusted=true")
        );
        assert_eq!(after(&server, b"PROXY TCP4 nonsense\r\n").await, "");
    }
    let server = proxied(ProxyProtocol::Accept, "127.0.0.0/8");
    let mut stream = connect(server.address()).await;
    stream.write_all(V2).await.expect("sent");
    let answer = get_http2(stream, "/").await;
    assert!(
        answer.contains("version=HTTP/2.0 remote=192.0.2.7"),
        "{answer}"
    );
}

#[tokio::test]
async fn without_the_header_only_accept_goes_on() {
    let accept = proxied(ProxyProtocol::Accept, "127.0.0.0/8");
    assert!(
        after(&accept, b"")
            .await
            .contains("remote=127.0.0.1 trusted=true")
    );
    let require = proxied(ProxyProtocol::Require, "127.0.0.0/8");
    assert_eq!(after(&require, b"").await, "");
}

#[tokio::test]
async fn nobody_else_can_name_a_client() {
    let accept = proxied(ProxyProtocol::Accept, "10.0.0.0/8");
    for header in [V1, V2] {
        let answer = after(&accept, header).await;
        assert!(
            answer.starts_with("HTTP/1.1 400 Bad Request\r\n"),
            "{answer}"
        );
    }
    assert!(
        after(&accept, b"")
            .await
            .contains("remote=127.0.0.1 trusted=false")
    );
    let require = proxied(ProxyProtocol::Require, "10.0.0.0/8");
    for first in [V1, b""] {
        assert_eq!(after(&require, first).await, "");
    }
    let off = proxied(ProxyProtocol::Off, "127.0.0.0/8");
    assert!(
        after(&off, V1)
            .await
            .starts_with("HTTP/1.1 400 Bad Request\r\n")
    );
}

#[tokio::test]
async fn a_unix_socket_may_have_a_path_of_any_length() {
    let dir = tempfile::tempdir().expect("a directory");
    let deep = dir.path().join("d".repeat(100)).join("e".repeat(100));
    fs::create_dir_all(&deep).expect("made");
    let path = deep.join("seawall.sock");
    for _ in 0..2 {
        let socket = UnixSocket::open(path.clone()).expect("opened");
        listen::connect_unix(&path).await.expect("it listens");
        let second = UnixSocket::open(path.clone()).map(drop);
        let error = format!("{:#}", second.expect_err("taken"));
        assert!(
            error.contains("another server is answering there"),
            "{error}"
        );
        drop(socket);
        assert!(!path.exists());
    }
}

#[tokio::test]
async fn the_unix_socket_is_its_owners_alone() {
    let dir = tempfile::tempdir().expect("a directory");
    let path = dir.path().join("seawall.sock");
    // As a process that died leaves it behind.
    drop(std::os::unix::net::UnixListener::bind(&path).expect("bound"));

    let socket = UnixSocket::open(path.clone()).expect("the stale one is replaced");
    let mode = fs::metadata(&path).expect("there").permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    let stop = Stop {
        shutdown: CancellationToken::new(),
        cut: CancellationToken::new(),
    };
    let mut task = JoinSet::new();
    let shutdown = stop.shutdown.clone();
    task.spawn(async move {
        socket
            .serve(TellTale::default(), &Config::default(), stop)
            .await;
    });

    let stream = UnixStream::connect(&path).await.expect("connected");
    let answer = get(stream, "/").await;
    assert!(
        answer.contains("version=HTTP/1.1 remote=- trusted=false"),
        "{answer}"
    );

    let taken = UnixSocket::open(path.clone()).err().expect("taken");
    assert!(
        format!("{taken:#}").contains("another server is answering there"),
        "{taken:#}"
    );

    shutdown.cancel();
    task.join_next().await.expect("a task").expect("no panic");
    assert!(!path.exists());
}

#[tokio::test]
async fn a_file_in_the_unix_sockets_place_is_left_alone() {
    let dir = tempfile::tempdir().expect("a directory");
    let path = dir.path().join("seawall.sock");
    fs::write(&path, "precious").expect("written");
    let refused = UnixSocket::open(path.clone()).err().expect("refused");
    assert!(
        format!("{refused:#}").contains("not a socket"),
        "{refused:#}"
    );
    assert_eq!(fs::read_to_string(&path).expect("still there"), "precious");
    let long = dir.path().join("x".repeat(120));
    let refused = UnixSocket::open(long).err().expect("refused");
    assert!(format!("{refused:#}").contains("too long"), "{refused:#}");
}
