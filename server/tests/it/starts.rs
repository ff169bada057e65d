//! Starting and stopping: what is said and served meanwhile, and what a start that fails leaves behind.

use std::{
    fs,
    io::{BufRead, BufReader, Read, Write},
    net::TcpListener,
    path::Path,
    process::{Child, Command, Output, Stdio},
    time::{Duration, Instant},
};

use crate::harness::{
    Client, Seawall,
    server::{binary, on_sqlite_with},
};

const PATIENCE: Duration = Duration::from_mins(1);

fn serve(data: &Path, address: &str, settings: &[(&str, &str)]) -> Command {
    let mut command = Command::new(binary());
    command
        .env_clear()
        .env("SEAWALL_LOG__LEVEL", "error")
        .envs(settings.iter().copied())
        .args(["serve", "--listen", address, "--data"])
        .arg(data)
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    command
}

fn signal(child: &Child, name: &str) {
    let status = Command::new("kill")
        .args([format!("-{name}"), child.id().to_string()])
        .status();
    assert!(status.expect("kill").success());
}

/// A port that was free a moment ago.
fn free_address() -> String {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    listener.local_addr().expect("an address").to_string()
}

fn ended(mut child: Child) -> Output {
    let began = Instant::now();
    while child.try_wait().expect("asked").is_none() {
        if began.elapsed() > PATIENCE {
            let _ = child.kill();
            panic!("it does not end");
        }
        std::thread::sleep(Duration::from_millis(5));
    }
    child.wait_with_output().expect("ended")
}

fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .expect("a runtime")
}

#[test]
fn a_first_start_that_fails_at_its_port_does_not_lose_the_password() {
    let home = tempfile::tempdir().expect("a directory");
    let data = home.path().join("data");
    let taken = TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = taken.local_addr().expect("an address").to_string();
    let failed = serve(&data, &address, &[]).output().expect("it ran");
    assert!(!failed.status.success());
    let said = String::from_utf8_lossy(&failed.stderr).into_owned();
    assert!(said.contains("the port is in use"), "{said}");

    let mut child = serve(&data, "127.0.0.1:0", &[]).spawn().expect("started");
    let output = BufReader::new(child.stdout.take().expect("piped"));
    let first = output.lines().next().expect("a line").expect("text");
    signal(&child, "TERM");
    assert!(
        first.starts_with("First start: sign in as user `admin` with password `"),
        "{first}"
    );
    // The line with the address found the pipe closed, and nobody fell over it.
    let output = ended(child);
    assert!(output.status.success(), "{output:?}");
}

#[test]
fn health_is_answered_before_the_registry_is_open() {
    let home = tempfile::tempdir().expect("a directory");
    // Reading the key waits here until the test gives one.
    let key = home.path().join("key");
    let made = Command::new("mkfifo").arg(&key).status().expect("mkfifo");
    assert!(made.success());
    let address = free_address();
    let settings = [(
        "SEAWALL_SERVER__SECRET_KEY_FILE",
        key.to_str().expect("text"),
    )];
    let mut child = serve(&home.path().join("data"), &address, &settings)
        .spawn()
        .expect("started");
    // Opens when the server reads.
    let mut key = fs::File::options().write(true).open(&key).expect("a key");
    let client = Client::new(&address);
    runtime().block_on(async {
        assert_eq!(client.get("/livez").await.expect(200).text(), "ok\n");
        let ready = client.get("/readyz").await.expect(503);
        assert!(ready.text().contains("\"starting\""), "{}", ready.text());
        let other = client.get("/v2/").await.expect(503);
        assert_eq!(
            (other.code().as_str(), other.header("retry-after")),
            ("UNKNOWN", "2")
        );
        let health = Command::new(binary())
            .args(["health", "--address", &address])
            .output()
            .expect("it ran");
        assert_eq!(health.status.code(), Some(1), "{health:?}");
    });
    key.write_all(&[b'k'; 64]).expect("written");
    drop(key);
    let mut output = BufReader::new(child.stdout.take().expect("piped"));
    let mut lines = String::new();
    while !lines.contains(" is ready at ") {
        assert!(output.read_line(&mut lines).expect("text") > 0, "{lines}");
    }
    runtime().block_on(async {
        client.get("/readyz").await.expect(200);
        client.get("/v2/").await.expect(401);
    });
    signal(&child, "TERM");
    assert!(ended(child).status.success());
}

#[test]
fn health_says_when_what_answers_is_no_health() {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = listener.local_addr().expect("an address").to_string();
    let ask = |seconds: &str| {
        let mut command = Command::new(binary());
        command.args(["health", "--address", &address, "--timeout", seconds]);
        command.stderr(Stdio::piped()).spawn().expect("started")
    };
    for answer in [
        "HTTP/1.0 400 Bad Request\r\n\r\nthis port speaks https\n",
        "HTTP/1.1 301 Moved Permanently\r\nlocation: https://a/readyz\r\n\r\n",
    ] {
        let child = ask("60");
        let (mut connection, _) = listener.accept().expect("it asks");
        let mut request = [0; 1024];
        let _ = connection.read(&mut request).expect("read");
        connection.write_all(answer.as_bytes()).expect("written");
        drop(connection);
        let output = ended(child);
        assert_eq!(output.status.code(), Some(2), "{output:?}");
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(said.contains("--address"), "{said}");
    }
    // One that drips never ends, but the time for all of it does.
    let mut child = ask("1");
    let (mut connection, _) = listener.accept().expect("it asks");
    let began = Instant::now();
    while child.try_wait().expect("asked").is_none() {
        assert!(began.elapsed() < PATIENCE, "it waits for ever");
        let _ = connection.write_all(b"x");
        std::thread::sleep(Duration::from_millis(50));
    }
    assert_eq!(ended(child).status.code(), Some(2));
}

#[test]
fn one_sqlite_file_is_served_from_one_data_directory() {
    let home = tempfile::tempdir().expect("a directory");
    let path = |name: &str| home.path().join(name).to_str().expect("text").to_owned();
    let settings = [
        (
            "SEAWALL_DATABASE__URL",
            format!("sqlite:{}", path("db.sqlite")),
        ),
        (
            "SEAWALL_STORAGE__URL",
            format!("file://{}", path("storage")),
        ),
        ("SEAWALL_SERVER__SECRET_KEY_FILE", path("key")),
    ];
    let settings: Vec<_> = settings
        .iter()
        .map(|(name, value)| (*name, value.as_str()))
        .collect();
    let one = Seawall::start_in(&home.path().join("one"), &settings);
    // Another name of the same file is no other file.
    std::os::unix::fs::symlink(path("db.sqlite"), path("link.sqlite")).expect("linked");
    for name in ["db.sqlite", "link.sqlite"] {
        let url = format!("sqlite:{}", path(name));
        let mut settings = settings.clone();
        settings[0].1 = &url;
        let second = serve(&home.path().join("two"), "127.0.0.1:0", &settings)
            .output()
            .expect("it ran");
        let said = String::from_utf8_lossy(&second.stderr).into_owned();
        assert!(
            !second.status.success()
                && said.contains("is in use by another seawall")
                && said.contains(&format!("process {}", one.pid())),
            "{said}"
        );
    }
}

#[test]
fn a_long_data_directory_has_its_socket() {
    let home = tempfile::tempdir().expect("a directory");
    let deep = home.path().join("d".repeat(120));
    fs::create_dir(&deep).expect("made");
    let mut server = Seawall::start_in(&deep.join("data"), &[]);
    assert!(server.run(&["user", "list"]).contains("admin"));
    server.stop();
}

#[test]
fn one_open_connection_counts_as_one() {
    on_sqlite_with(&[], async |seawall| {
        let metrics = seawall.stranger().get("/metrics").await.expect(200);
        assert!(
            metrics
                .text()
                .lines()
                .any(|line| line == "seawall_connections 1"),
            "{}",
            metrics.text()
        );
    });
}

#[test]
fn a_second_signal_ends_a_drain_that_waits() {
    let home = tempfile::tempdir().expect("a directory");
    let settings = [("SEAWALL_DRAIN__DELAY", "1h")];
    let mut child = serve(&home.path().join("data"), "127.0.0.1:0", &settings)
        .spawn()
        .expect("started");
    let mut output = BufReader::new(child.stdout.take().expect("piped"));
    let mut lines = String::new();
    while !lines.contains(" is ready at ") {
        assert!(output.read_line(&mut lines).expect("text") > 0, "{lines}");
    }
    let address = lines
        .trim_end()
        .rsplit("http://")
        .next()
        .expect("an address");
    let client = Client::new(address);
    signal(&child, "TERM");
    runtime().block_on(async {
        // The signal was heard.
        while client.get("/readyz").await.status != 503 {}
    });
    signal(&child, "TERM");
    assert!(ended(child).status.success());
}

#[test]
fn a_check_writes_nothing_into_the_data_directory() {
    let home = tempfile::tempdir().expect("a directory");
    let data = home.path().join("data");
    let mut server = Seawall::start_in(&data, &[]);
    server.stop();
    let lock = data.join("seawall.lock");
    let before = fs::read(&lock).expect("there");
    server.run(&["check"]);
    assert_eq!(fs::read(&lock).expect("there"), before);
    fs::remove_file(&lock).expect("removed");
    server.run(&["check"]);
    assert!(!lock.exists());
}
