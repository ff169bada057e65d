//! TLS: protocols, the choice of a certificate, and client certificates.

use std::fs;

use tempfile::TempDir;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use super::{
    clients::{
        Authority, Identity, TlsClient, connect, get, get_http2, read_all, read_to, shown_name,
    },
    harness::{Server, config, listener},
};
use crate::listen::{
    Config, ListenerConfig, TlsConfig,
    config::{CertificateFiles, ClientCertificates, ClientMap, MinVersion, NameSource},
};

/// A configuration whose files live as long as it does.
pub(super) struct WithFiles {
    pub(super) config: Config,
    pub(super) dir: TempDir,
}

pub(super) fn secure() -> ListenerConfig {
    ListenerConfig {
        tls: true,
        ..listener()
    }
}

pub(super) fn with_certificates(identities: &[&Identity], mut config: Config) -> WithFiles {
    let dir = tempfile::tempdir().expect("a directory");
    for (i, identity) in identities.iter().enumerate() {
        let files = CertificateFiles {
            certificate: dir.path().join(format!("{i}.crt")),
            key: Some(dir.path().join(format!("{i}.key"))),
        };
        fs::write(&files.certificate, &identity.certificate_pem).expect("written");
        fs::write(files.key.as_ref().expect("a key"), &identity.key_pem).expect("written");
        config.tls.certificates.push(files);
    }
    WithFiles { config, dir }
}

pub(super) fn with_certificate(identity: &Identity, config: Config) -> WithFiles {
    with_certificates(&[identity], config)
}

#[tokio::test]
async fn both_protocols_are_served_as_the_client_asks() {
    let authority = Authority::new();
    let files = with_certificate(&authority.server(&["reg.example"]), config([secure()]));
    let server = Server::start(files.config.clone());
    let client = TlsClient::new(&authority, None);

    for client in [client.clone(), client.clone().with_alpn("http/1.1")] {
        let stream = client
            .connect(server.address(), "reg.example")
            .await
            .expect("TLS");
        let answer = get(stream, "/").await;
        assert!(
            answer.contains("version=HTTP/1.1 remote=127.0.0.1"),
            "{answer}"
        );
        assert!(
            answer.contains("plain_http1=false sni=reg.example subject=- name=-"),
            "{answer}"
        );
    }
    let stream = client
        .with_alpn("h2")
        .connect(server.address(), "reg.example")
        .await
        .expect("TLS");
    let answer = get_http2(stream, "/").await;
    assert!(
        answer.contains("version=HTTP/2.0") && answer.contains("sni=reg.example"),
        "{answer}"
    );
}

#[tokio::test]
async fn the_certificate_is_chosen_by_the_name_asked_for() {
    let authority = Authority::new();
    let first = authority.server(&["first.example"]);
    let exact = authority.server(&["a.wild.example", "other.example"]);
    let wildcard = authority.server(&["*.wild.example"]);
    let files = with_certificates(&[&first, &exact, &wildcard], config([secure()]));
    let server = Server::start(files.config.clone());
    let client = TlsClient::new(&authority, None);
    for (asked, shown) in [
        ("first.example", "DNSName(first.example)"),
        ("other.example", "DNSName(a.wild.example)"),
        ("OTHER.example", "DNSName(a.wild.example)"),
        ("a.wild.example", "DNSName(a.wild.example)"),
        ("b.wild.example", "DNSName(*.wild.example)"),
    ] {
        let stream = client.connect(server.address(), asked).await.expect(asked);
        assert_eq!(shown_name(&stream), shown, "{asked}");
    }
    // Nothing fits: the first is shown, and the client refuses it.
    for asked in [
        "wild.example",
        "a.b.wild.example",
        "nobody.example",
        "127.0.0.1",
    ] {
        let refused = client
            .connect(server.address(), asked)
            .await
            .expect_err(asked);
        let words = refused.to_string();
        assert!(
            words.contains("not valid for name") && words.contains("first.example"),
            "{words}"
        );
    }
}

#[tokio::test]
async fn plain_http_on_a_port_with_tls_is_told_so() {
    let authority = Authority::new();
    let files = with_certificate(&authority.server(&["reg.example"]), config([secure()]));
    let server = Server::start(files.config.clone());
    let mut stream = connect(server.address()).await;
    stream
        .write_all(b"GET / HTTP/1.1\r\nhost: a\r\n\r\n")
        .await
        .expect("sent");
    let answer = read_all(&mut stream).await;
    assert!(
        answer.starts_with("HTTP/1.0 400 Bad Request\r\n") && answer.contains("https"),
        "{answer}"
    );
}

#[tokio::test]
async fn a_key_that_does_not_belong_to_the_certificate_is_refused() {
    let authority = Authority::new();
    let (one, other) = (authority.server(&["a"]), authority.server(&["b"]));
    let files = with_certificate(&one, config([secure()]));
    let refusal = || {
        let refused = crate::listen::open(files.config.clone())
            .err()
            .expect("refused");
        format!("{refused:#}")
    };
    let path = files.dir.path().join("0.crt");
    fs::write(files.dir.path().join("0.key"), &other.key_pem).expect("written");
    assert!(
        refusal().contains(path.to_str().expect("text")),
        "{}",
        refusal()
    );
    fs::write(&path, "").expect("written");
    assert!(refusal().contains("no certificate in PEM"), "{}", refusal());
    fs::remove_file(&path).expect("removed");
    assert!(refusal().contains("cannot read"), "{}", refusal());
}

#[tokio::test]
async fn the_ends_of_the_certificates_are_known() {
    let authority = Authority::new();
    let files = with_certificates(
        &[
            &authority.server(&["a.example"]),
            &authority.server(&["b.example"]),
        ],
        config([secure()]),
    );
    let server = Server::start(files.config.clone());
    let expiry = server.tls.as_ref().expect("TLS").expiry();
    let names: Vec<&str> = expiry.iter().map(|expiry| expiry.name.as_str()).collect();
    assert_eq!(names, ["a.example", "b.example"]);
    // What the library gives without being asked: the first of January 4096.
    assert_eq!(expiry[0].not_after, 67_090_118_400);
}

/// A server with one listener for each way to treat client certificates: off, optional, required.
fn with_clients(authority: &Authority, tls: TlsConfig) -> WithFiles {
    use ClientCertificates::{Off, Optional, Required};
    let listeners = [Off, Optional, Required].map(|mode| ListenerConfig {
        client_certificates: Some(mode),
        ..secure()
    });
    let mut files = with_certificate(
        &authority.server(&["reg.example"]),
        Config {
            tls,
            ..config(listeners)
        },
    );
    let ca = files.dir.path().join("ca.pem");
    fs::write(&ca, &authority.pem).expect("written");
    files.config.tls.client_ca = Some(ca);
    files
}

/// The answer, or none when the server ended the connection instead.
async fn ask(server: &Server, which: usize, client: &TlsClient) -> Option<String> {
    let mut stream = client
        .connect(server.addresses[which], "reg.example")
        .await
        .ok()?;
    stream
        .write_all(b"GET / HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n")
        .await
        .ok()?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.ok()?;
    Some(answer)
}

#[tokio::test]
async fn client_certificates_are_off_optional_or_required() {
    let authority = Authority::new();
    let map = ClientMap {
        from: NameSource::Cn,
        names: [("CN=ci,O=x".to_owned(), "robot$ci".to_owned())].into(),
        ..ClientMap::default()
    };
    let files = with_clients(
        &authority,
        TlsConfig {
            client_map: map,
            ..TlsConfig::default()
        },
    );
    let server = Server::start(files.config.clone());
    let nobody = TlsClient::new(&authority, None);
    let alice = TlsClient::new(&authority, Some(&authority.client("alice")));
    let ci = TlsClient::new(&authority, Some(&authority.client("ci")));
    let stranger = TlsClient::new(&authority, Some(&Authority::new().client("alice")));

    let (unnamed, named) = (
        Some("subject=- name=-"),
        Some("subject=CN=alice,O=x name=alice"),
    );
    for (client, expected) in [
        (&nobody, [unnamed, unnamed, None]),
        (&alice, [unnamed, named, named]),
        (
            &ci,
            [
                unnamed,
                Some("subject=CN=ci,O=x name=robot$ci"),
                Some("name=robot$ci"),
            ],
        ),
        (&stranger, [unnamed, None, None]),
    ] {
        for (which, words) in expected.into_iter().enumerate() {
            let answer = ask(&server, which, client).await;
            assert_eq!(answer.is_some(), words.is_some(), "{which}: {answer:?}");
            assert!(
                answer
                    .unwrap_or_default()
                    .ends_with(words.unwrap_or_default())
            );
        }
    }
}

#[tokio::test]
async fn a_refused_client_is_told_why() {
    let authority = Authority::new();
    let files = with_clients(&authority, TlsConfig::default());
    let server = Server::start(files.config.clone());
    let stranger = Authority::new().client("alice");
    // In TLS 1.3 the client is done before the server judges: it may have begun an upload.
    for body in [0, 4 << 20] {
        for (identity, why) in [
            (None, "CertificateRequired"),
            (Some(&stranger), "UnknownCA"),
        ] {
            let client = TlsClient::new(&authority, identity);
            let mut stream = client
                .connect(server.addresses[2], "reg.example")
                .await
                .expect("not judged yet");
            let error = match stream.write_all(&vec![b'x'; body]).await {
                Err(error) => error,
                Ok(()) => stream.read(&mut [0]).await.expect_err(why),
            };
            assert!(error.to_string().contains(why), "{error}");
        }
    }
}

#[tokio::test]
async fn a_revoked_certificate_is_refused_from_the_reload_on() {
    let authority = Authority::new();
    let mut files = with_clients(&authority, TlsConfig::default());
    let crl = files.dir.path().join("list.crl");
    fs::write(&crl, authority.revocation_list(&[])).expect("written");
    files.config.tls.client_crl = vec![crl.clone()];
    let server = Server::start(files.config.clone());
    let (alice, bob) = (authority.client("alice"), authority.client("bob"));
    let as_alice = TlsClient::new(&authority, Some(&alice));
    let as_bob = TlsClient::new(&authority, Some(&bob));
    assert!(ask(&server, 2, &as_alice).await.is_some());

    fs::write(&crl, authority.revocation_list(&[&alice])).expect("written");
    assert!(
        server
            .tls
            .as_ref()
            .expect("TLS")
            .reload()
            .expect("readable")
    );
    assert_eq!(ask(&server, 2, &as_alice).await, None);
    assert_eq!(ask(&server, 1, &as_alice).await, None);
    assert!(ask(&server, 2, &as_bob).await.is_some());
}

#[tokio::test]
async fn connections_of_client_certificates_end_when_others_are_loaded() {
    const GET: &[u8] = b"GET / HTTP/1.1\r\nhost: a\r\n\r\n";
    let authority = Authority::new();
    let mut files = with_clients(&authority, TlsConfig::default());
    let crl = files.dir.path().join("list.crl");
    fs::write(&crl, authority.revocation_list(&[])).expect("written");
    files.config.tls.client_crl = vec![crl.clone()];
    let server = Server::start(files.config.clone());
    let alice = authority.client("alice");
    // On the listener where certificates are optional.
    let open = async |identity| {
        let client = TlsClient::new(&authority, identity).with_alpn("http/1.1");
        let stream = client.connect(server.addresses[1], "reg.example").await;
        let mut stream = stream.expect("TLS");
        stream.write_all(GET).await.expect("sent");
        read_to(
            &mut stream,
            if identity.is_some() {
                "name=alice"
            } else {
                "name=-"
            },
        )
        .await;
        stream
    };
    let (mut known, mut unknown) = (open(Some(&alice)).await, open(None).await);

    fs::write(&crl, authority.revocation_list(&[&alice])).expect("written");
    let tls = server.tls.as_ref().expect("TLS");
    assert!(tls.reload().expect("readable"));
    assert_eq!(read_all(&mut known).await, "");
    unknown.write_all(GET).await.expect("sent");
    read_to(&mut unknown, "name=-").await;
}

#[tokio::test]
async fn a_list_of_another_authority_does_not_clear_a_certificate() {
    let authority = Authority::new();
    let mut files = with_clients(&authority, TlsConfig::default());
    let crl = files.dir.path().join("list.crl");
    fs::write(&crl, Authority::new().revocation_list(&[])).expect("written");
    files.config.tls.client_crl = vec![crl];
    let server = Server::start(files.config.clone());
    let alice = TlsClient::new(&authority, Some(&authority.client("alice")));
    assert_eq!(ask(&server, 2, &alice).await, None);
}

#[tokio::test]
async fn a_minimum_of_1_3_refuses_older_clients() {
    let authority = Authority::new();
    let mut files = with_certificate(&authority.server(&["reg.example"]), config([secure()]));
    let old = TlsClient::new(&authority, None).with_tls12_only();
    let server = Server::start(files.config.clone());
    old.connect(server.address(), "reg.example")
        .await
        .expect("1.2 is the default");
    files.config.tls.min_version = MinVersion::Tls13;
    let server = Server::start(files.config.clone());
    old.connect(server.address(), "reg.example")
        .await
        .expect_err("too old");
}
