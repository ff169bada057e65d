use std::{
    io::{BufRead, BufReader},
    net::TcpListener,
    sync::Arc,
    thread,
    time::{Duration, Instant},
};

use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use rustls::{ServerConfig, ServerConnection, StreamOwned};
use rustls_pki_types::{PrivateKeyDer, pem::PemObject};
use tempfile::TempDir;

use super::*;

const PATIENCE: Duration = Duration::from_secs(20);

#[test]
fn endpoints_are_read_as_harbor_has_them_and_with_a_scheme() {
    let peer = || "logs.example.com:514".to_owned();
    for (text, address) in [
        ("logs.example.com:514", Some(Address::Tcp(peer()))),
        ("tcp://logs.example.com:514", Some(Address::Tcp(peer()))),
        ("udp://logs.example.com:514", Some(Address::Udp(peer()))),
        ("tls://logs.example.com:514/", Some(Address::Tls(peer()))),
        ("[::1]:514", Some(Address::Tcp("[::1]:514".to_owned()))),
        ("", None),
        ("logs.example.com", None),
        ("logs.example.com:0", None),
        ("::1:514", None),
        ("http://logs.example.com:514", None),
        ("tcp://logs.example.com:514/path", None),
        ("a b:514", None),
        ("/dev/log:1", None),
    ] {
        assert_eq!(Address::of_endpoint(text), address, "{text}");
    }
}

#[test]
fn a_value_cannot_leave_its_quotes() {
    let mut line = Vec::new();
    write_param(&mut line, "resource", "a\"]\\b\nc ü");
    assert_eq!(
        String::from_utf8(line).unwrap(),
        r#" resource="a\"\]\\b c ü""#
    );
}

/// An authority's file, and a server's configuration with a certificate of it.
fn certified() -> (TempDir, Trust, Arc<ServerConfig>) {
    let mut params = CertificateParams::new(Vec::new()).unwrap();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let authority = CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap();
    let key = KeyPair::generate().unwrap();
    let certificate = CertificateParams::new(vec!["127.0.0.1".to_owned()])
        .unwrap()
        .signed_by(&key, &authority)
        .unwrap();
    let home = tempfile::tempdir().unwrap();
    let file = home.path().join("ca.pem");
    std::fs::write(&file, authority.pem()).unwrap();
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(
            vec![certificate.der().clone()],
            PrivateKeyDer::from_pem_slice(key.serialize_pem().as_bytes()).unwrap(),
        )
        .unwrap();
    (home, Trust::new(&[file]), Arc::new(config))
}

/// Takes one connection and reads `count` messages of it.
fn collect(
    listener: &TcpListener,
    config: Arc<ServerConfig>,
    count: usize,
) -> io::Result<Vec<String>> {
    let (socket, _) = listener.accept()?;
    socket.set_read_timeout(Some(PATIENCE))?;
    let tls = StreamOwned::new(ServerConnection::new(config).unwrap(), socket);
    let mut stream = BufReader::new(tls);
    (0..count).map(|_| read_frame(&mut stream)).collect()
}

fn read_frame(from: &mut impl BufRead) -> io::Result<String> {
    let mut length = Vec::new();
    from.read_until(b' ', &mut length)?;
    let length = String::from_utf8_lossy(&length).trim().parse().unwrap_or(0);
    let mut text = vec![0; length];
    io::Read::read_exact(from, &mut text)?;
    Ok(String::from_utf8_lossy(&text).into_owned())
}

fn until(mut done: impl FnMut() -> bool) {
    let start = Instant::now();
    while !done() {
        assert!(start.elapsed() < PATIENCE, "it takes too long");
        thread::sleep(Duration::from_millis(5));
    }
}

#[test]
fn messages_go_over_tls_and_a_hang_up_is_seen() {
    let (_home, trust, config) = certified();
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let peer = listener.local_addr().unwrap().to_string();
    let collector = thread::spawn(move || collect(&listener, config, 2).unwrap());
    let mut sender = Sender::new(Address::Tls(peer), trust);
    let mut rest: &[u8] = b"first\nsecond\n";
    sender.send(&mut rest, &|| false).unwrap();
    assert!(rest.is_empty());
    assert_eq!(collector.join().unwrap(), ["first", "second"]);
    until(|| sender.is_acknowledged().unwrap());
    until(|| sender.was_closed());
}

#[test]
fn a_certificate_of_nobody_is_refused() {
    let (_home, _, config) = certified();
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let peer = listener.local_addr().unwrap().to_string();
    let collector = thread::spawn(move || collect(&listener, config, 1));
    let mut sender = Sender::new(Address::Tls(peer), Trust::default());
    let error = sender.connect().unwrap_err();
    assert!(error.to_string().contains("UnknownIssuer"), "{error}");
    assert!(collector.join().unwrap().is_err());
}

#[test]
fn what_the_other_machine_has_not_taken_is_not_acknowledged() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let peer = listener.local_addr().unwrap().to_string();
    let mut sender = Sender::new(Address::Tcp(peer), Trust::default());
    sender.connect().unwrap();
    // Nobody reads: what the other side's buffer does not hold stays with us.
    let line = [vec![b'x'; 60_000], vec![b'\n']].concat();
    let stop = Instant::now() + Duration::from_millis(300);
    let mut sent = Ok(());
    while sent.is_ok() {
        sent = sender.connected().and_then(|connection| {
            connection.send(&mut line.as_slice(), &|| Instant::now() >= stop)
        });
    }
    assert!(!sender.is_acknowledged().unwrap());
}

#[test]
fn a_good_bye_is_answered_by_whoever_has_read_everything() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let peer = listener.local_addr().unwrap().to_string();
    let mut sender = Sender::new(Address::Tcp(peer), Trust::default());
    sender.send(&mut b"one\n".as_slice(), &|| false).unwrap();
    let (socket, _) = listener.accept().unwrap();
    let reader = thread::spawn(move || {
        let mut stream = BufReader::new(socket);
        let first = read_frame(&mut stream).unwrap();
        (first, read_frame(&mut stream).unwrap())
    });
    assert!(sender.close(&|| false));
    assert_eq!(reader.join().unwrap(), ("one".to_owned(), String::new()));

    sender.send(&mut b"two\n".as_slice(), &|| false).unwrap();
    let (socket, _) = listener.accept().unwrap();
    until(|| sender.is_acknowledged().unwrap());
    drop(socket);
    assert!(!sender.close(&|| false), "nobody read that one");
}

#[tokio::test]
async fn an_endpoint_that_refuses_is_said_to() {
    let trust = Trust::default();
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let peer = listener.local_addr().unwrap();
    for text in [
        peer.to_string(),
        format!("tcp://{peer}"),
        format!("udp://{peer}"),
    ] {
        check_endpoint(&text, &trust).await.unwrap();
    }
    drop(listener);
    let fault = check_endpoint(&peer.to_string(), &trust).await.unwrap_err();
    assert!(fault.to_string().contains("could not connect"), "{fault}");
    let fault = check_endpoint("nonsense", &trust).await.unwrap_err();
    assert!(matches!(fault, EndpointFault::Form(_)), "{fault}");
}
