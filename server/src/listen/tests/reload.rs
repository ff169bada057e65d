//! Certificates that change while the server runs.

use std::{
    fs,
    io::{self, Write},
    os::unix::fs::symlink,
    sync::Arc,
    time::Duration,
};

use parking_lot::Mutex;
use tokio::{io::AsyncWriteExt, time::sleep};

use super::{
    clients::{Authority, TlsClient, read_all, shown_name},
    harness::{Server, config},
    tls::{WithFiles, secure, with_certificate},
};

/// More than the time between two looks at the files.
const LOOK: Duration = Duration::from_secs(11);

/// The name in the certificate that a new connection is shown.
async fn shown(server: &Server, client: &TlsClient) -> String {
    let stream = client.connect(server.address(), "reg.example").await;
    shown_name(&stream.expect("TLS"))
}

/// The same with the clock running: a paused one could jump over the handshake's time while bytes are on their way.
async fn shown_now(server: &Server, client: &TlsClient) -> String {
    tokio::time::resume();
    let name = shown(server, client).await;
    tokio::time::pause();
    name
}

/// Writes beside the file and renames over it, as careful tools do.
fn replace(files: &WithFiles, name: &str, content: &str) {
    let (path, new) = (files.dir.path().join(name), files.dir.path().join("new"));
    fs::write(&new, content).expect("written");
    fs::rename(new, path).expect("renamed");
}

#[tokio::test]
async fn renamed_files_are_taken_on_demand_and_running_connections_stay() {
    let authority = Authority::new();
    let files = with_certificate(
        &authority.server(&["a.example", "reg.example"]),
        config([secure()]),
    );
    let server = Server::start(files.config.clone());
    let tls = server.tls.as_ref().expect("TLS");
    let client = TlsClient::new(&authority, None);
    let mut before = client
        .connect(server.address(), "reg.example")
        .await
        .expect("TLS");
    assert!(!tls.reload().expect("readable"), "nothing has changed");

    let next = authority.server(&["b.example", "reg.example"]);
    replace(&files, "0.crt", &next.certificate_pem);
    replace(&files, "0.key", &next.key_pem);
    assert!(tls.reload().expect("readable"));
    assert_eq!(shown(&server, &client).await, "DNSName(b.example)");
    assert_eq!(tls.expiry()[0].name, "b.example");

    before
        .write_all(b"GET / HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n")
        .await
        .expect("sent");
    assert!(
        read_all(&mut before)
            .await
            .starts_with("HTTP/1.1 200 OK\r\n")
    );
}

#[tokio::test(start_paused = true)]
async fn a_swapped_link_is_noticed_without_being_told() {
    let authority = Authority::new();
    let mut files = with_certificate(
        &authority.server(&["a.example", "reg.example"]),
        config([secure()]),
    );
    // As Kubernetes mounts a secret: names -> ..data -> a directory for each version.
    let dir = files.dir.path().to_owned();
    let version = |name: &str, identity: &super::clients::Identity| {
        fs::create_dir(dir.join(name)).expect("made");
        fs::write(dir.join(name).join("tls.crt"), &identity.certificate_pem).expect("written");
        fs::write(dir.join(name).join("tls.key"), &identity.key_pem).expect("written");
    };
    version("v1", &authority.server(&["a.example", "reg.example"]));
    version("v2", &authority.server(&["b.example", "reg.example"]));
    symlink("v1", dir.join("..data")).expect("linked");
    symlink("..data/tls.crt", dir.join("tls.crt")).expect("linked");
    symlink("..data/tls.key", dir.join("tls.key")).expect("linked");
    files.config.tls.certificates[0].certificate = dir.join("tls.crt");
    files.config.tls.certificates[0].key = Some(dir.join("tls.key"));

    let server = Server::start(files.config.clone());
    let client = TlsClient::new(&authority, None);
    assert_eq!(shown_now(&server, &client).await, "DNSName(a.example)");
    symlink("v2", dir.join("..new")).expect("linked");
    fs::rename(dir.join("..new"), dir.join("..data")).expect("swapped");
    sleep(LOOK).await;
    assert_eq!(shown_now(&server, &client).await, "DNSName(b.example)");
}

#[tokio::test(start_paused = true)]
async fn a_broken_file_keeps_the_old_certificate_and_is_told_once() {
    let log = Log::default();
    let writer = log.clone();
    let subscriber = tracing_subscriber::fmt()
        .with_writer(move || writer.clone())
        .finish();
    let _guard = tracing::subscriber::set_default(subscriber);
    let authority = Authority::new();
    let files = with_certificate(
        &authority.server(&["a.example", "reg.example"]),
        config([secure()]),
    );
    let server = Server::start(files.config.clone());
    let client = TlsClient::new(&authority, None);

    // A new certificate whose key is still to come is no error yet.
    let next = authority.server(&["b.example", "reg.example"]);
    replace(&files, "0.crt", &next.certificate_pem);
    sleep(LOOK).await;
    assert_eq!(log.count("the ones loaded before stay"), 0);
    sleep(LOOK).await;
    assert_eq!(log.count("the ones loaded before stay"), 1);
    sleep(LOOK * 10).await;
    assert_eq!(log.count("the ones loaded before stay"), 1);
    assert_eq!(shown_now(&server, &client).await, "DNSName(a.example)");

    replace(&files, "0.key", &next.key_pem);
    sleep(LOOK).await;
    assert_eq!(shown_now(&server, &client).await, "DNSName(b.example)");

    fs::remove_file(files.dir.path().join("0.crt")).expect("removed");
    sleep(LOOK * 3).await;
    assert_eq!(log.count("the ones loaded before stay"), 2);
    assert_eq!(shown_now(&server, &client).await, "DNSName(b.example)");
}

#[derive(Clone, Default)]
struct Log(Arc<Mutex<Vec<u8>>>);

impl Log {
    fn count(&self, words: &str) -> usize {
        String::from_utf8_lossy(&self.0.lock())
            .matches(words)
            .count()
    }
}

impl Write for Log {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
