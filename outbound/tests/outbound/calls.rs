//! HTTP clients against real servers and a real proxy of a few lines.

use std::{
    io::{BufRead, BufReader, Write},
    net::{SocketAddr, TcpListener, TcpStream},
    sync::mpsc,
    thread,
    time::Duration,
};

use outbound::{Limits, Outbound, Proxy, Trust};

/// Gives each request this answer, and tells its head.
fn server(answer: &'static str) -> (SocketAddr, mpsc::Receiver<Vec<String>>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let (tell, told) = mpsc::channel();
    thread::spawn(move || {
        while let Ok((stream, _)) = listener.accept() {
            let head = head(&stream);
            let _ = (&stream).write_all(answer.as_bytes());
            if tell.send(head).is_err() {
                return;
            }
        }
    });
    (address, told)
}

fn head(stream: &TcpStream) -> Vec<String> {
    BufReader::new(stream)
        .lines()
        .map_while(Result::ok)
        .take_while(|line| !line.is_empty())
        .collect()
}

const OK: &str = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close\r\n\r\nok";

fn by_way_of(proxy: &str, no_proxy: &str) -> Outbound {
    let proxy = Proxy {
        http: Some(proxy.parse().unwrap()),
        https: None,
        direct: no_proxy.parse().unwrap(),
    };
    Outbound::new(Trust::default(), proxy)
}

#[tokio::test]
async fn a_call_goes_through_the_proxy_with_its_password_and_our_name() {
    let (proxy, told) = server(OK);
    let outbound = by_way_of(&format!("http://me:secret@{proxy}"), "");
    let client = outbound.client(Limits::QUESTION).await.unwrap();
    let answer = client.get("http://registry.test/v2/").send().await.unwrap();
    assert_eq!(answer.text().await.unwrap(), "ok");
    let head = told.recv().unwrap();
    assert_eq!(head[0], "GET http://registry.test/v2/ HTTP/1.1");
    let has = |wanted: &str| head.iter().any(|line| line.eq_ignore_ascii_case(wanted));
    // `me:secret`
    assert!(has("proxy-authorization: Basic bWU6c2VjcmV0"), "{head:?}");
    assert!(
        has(concat!("user-agent: Seawall/", env!("CARGO_PKG_VERSION"))),
        "{head:?}"
    );
}

#[tokio::test]
async fn who_is_in_no_proxy_is_called_directly() {
    let (proxy, told) = server(OK);
    let outbound = by_way_of(&proxy.to_string(), "registry.invalid");
    let client = outbound.client(Limits::QUESTION).await.unwrap();
    let answer = client.get("http://registry.invalid/v2/").send().await;
    assert!(answer.unwrap_err().is_connect());
    assert!(told.try_recv().is_err());
}

#[tokio::test]
async fn a_redirect_is_followed_only_where_that_is_wanted() {
    let (there, _told) = server(OK);
    let redirect = format!(
        "HTTP/1.1 307 Elsewhere\r\nLocation: http://{there}/\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"
    );
    let (here, _told) = server(redirect.leak());
    let outbound = Outbound::new(Trust::default(), Proxy::default());
    for (limits, status) in [(Limits::QUESTION, 307), (Limits::TRANSFER, 200)] {
        let client = outbound.client(limits).await.unwrap();
        let answer = client.get(format!("http://{here}/")).send().await.unwrap();
        assert_eq!(answer.status().as_u16(), status);
    }
}

#[tokio::test]
async fn a_server_that_falls_silent_is_given_up() {
    // The kernel takes the connection; nobody answers on it.
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let outbound = Outbound::new(Trust::default(), Proxy::default());
    let limits = Limits {
        silence: Duration::from_millis(100),
        whole: None,
        ..Limits::QUESTION
    };
    let client = outbound.client(limits).await.unwrap();
    let answer = client.get(format!("http://{address}/")).send().await;
    assert!(answer.unwrap_err().is_timeout());
}
