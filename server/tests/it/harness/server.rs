//! The process under test: started on a fresh data directory, stopped with the test.

use std::{
    io::{BufRead, BufReader},
    os::unix::process::CommandExt,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    sync::mpsc,
    time::{Duration, Instant},
};

use tempfile::TempDir;
use testkit::Database;

use super::{Client, PASSWORD};

/// A server that is not ready by then never will be.
const PATIENCE: Duration = Duration::from_mins(1);

/// Where a server listens that keeps its port when it starts again; among its settings, and none of them.
pub const LISTEN: &str = "TEST_LISTEN";

/// A running server.
pub struct Seawall {
    child: Option<Child>,
    address: String,
    data: PathBuf,
    settings: Vec<(String, String)>,
    _home: Option<TempDir>,
    database: Option<Database>,
    /// The other node of a cluster: clients take turns.
    peer: Option<Box<Self>>,
}

/// Runs a test against a fresh server on SQLite, then on PostgreSQL where there is one. A failure says on which. With
/// `SEAWALL_TEST_CLUSTER` it runs against two nodes on one PostgreSQL and one store instead, which get the requests in turn; with
/// `SEAWALL_TEST_BUCKET` that store, or each of the servers', is a bucket of S3's, or with the value `swift` a container of Swift's.
pub fn on_both(test: impl AsyncFn(&mut Seawall)) {
    on_both_with(&[], test);
}

/// The same with settings, as `SEAWALL_SECTION__KEY` names them.
pub fn on_both_with(settings: &[(&str, &str)], test: impl AsyncFn(&mut Seawall)) {
    on_stores(bucket, settings, test);
}

/// As [`on_both_with`], for what looks into the store's directory.
pub fn on_directories_with(settings: &[(&str, &str)], test: impl AsyncFn(&mut Seawall)) {
    on_stores(Vec::new, settings, test);
}

/// One node alone on each database, whatever the others run against.
pub fn on_each_with(settings: &[(&str, &str)], test: impl AsyncFn(&mut Seawall)) {
    on_each(Vec::new, settings, test);
}

/// What a server is told of its store.
pub type Store = [(&'static str, String)];

/// The settings of a fresh bucket, where the tests are to run in one.
fn bucket() -> Vec<(&'static str, String)> {
    let Some(whose) = std::env::var_os("SEAWALL_TEST_BUCKET") else {
        return Vec::new();
    };
    if whose == "swift" {
        return swift_on(&testkit::swift().expect("a container needs OpenStack Swift"));
    }
    bucket_on(testkit::s3().expect("a bucket needs an S3 server"))
}

/// The settings of a fresh bucket on this server.
pub fn bucket_on(s3: testkit::S3) -> Vec<(&'static str, String)> {
    let name = wait_for(s3.fresh_bucket());
    vec![
        ("SEAWALL_STORAGE__URL", format!("s3://{name}/registry")),
        ("SEAWALL_STORAGE__ENDPOINT", s3.endpoint),
        ("SEAWALL_STORAGE__ACCESS_KEY", s3.id),
        ("SEAWALL_STORAGE__SECRET_KEY", s3.secret),
    ]
}

/// The settings of a fresh container of Azure's.
pub fn container_on(azure: testkit::Azure) -> Vec<(&'static str, String)> {
    let name = wait_for(azure.fresh_container());
    vec![
        ("SEAWALL_STORAGE__URL", format!("azure://{name}/registry")),
        ("SEAWALL_STORAGE__ENDPOINT", azure.endpoint),
        ("SEAWALL_STORAGE__ACCESS_KEY", azure.account),
        ("SEAWALL_STORAGE__SECRET_KEY", azure.key),
    ]
}

/// The settings of a fresh container of Swift's.
pub fn swift_on(swift: &testkit::Swift) -> Vec<(&'static str, String)> {
    let name = wait_for(swift.fresh_container());
    vec![
        ("SEAWALL_STORAGE__URL", format!("swift://{name}/registry")),
        ("SEAWALL_STORAGE__SWIFT__AUTH_URL", swift.auth_url.clone()),
        ("SEAWALL_STORAGE__SWIFT__USERNAME", swift.user.clone()),
        ("SEAWALL_STORAGE__SWIFT__PASSWORD", swift.key.clone()),
    ]
}

fn wait_for<T>(future: impl Future<Output = T>) -> T {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build();
    runtime.expect("a runtime").block_on(future)
}

fn on_stores(
    store: impl Fn() -> Vec<(&'static str, String)>,
    settings: &[(&str, &str)],
    test: impl AsyncFn(&mut Seawall),
) {
    if std::env::var_os("SEAWALL_TEST_CLUSTER").is_none() {
        return on_each(store, settings, test);
    }
    let server = testkit::postgres().expect("a cluster needs PostgreSQL");
    let store = store();
    let mut one = Seawall::start(&both(&store, settings), Some(server.fresh_database()));
    let mut own = settings.to_vec();
    own.push(("SEAWALL_SERVER__NODE", "peer"));
    one.peer = Some(Box::new(one.start_beside(&own)));
    run("two nodes", one, &test);
}

fn on_each(
    store: impl Fn() -> Vec<(&'static str, String)>,
    settings: &[(&str, &str)],
    test: impl AsyncFn(&mut Seawall),
) {
    run(
        "sqlite",
        Seawall::start(&both(&store(), settings), None),
        &test,
    );
    if let Some(server) = testkit::postgres() {
        let database = Some(server.fresh_database());
        run(
            "postgres",
            Seawall::start(&both(&store(), settings), database),
            &test,
        );
    }
}

/// Of a store, and others that count over them.
pub fn both<'a>(store: &'a Store, settings: &[(&'a str, &'a str)]) -> Vec<(&'a str, &'a str)> {
    let store = store.iter().map(|(key, value)| (*key, value.as_str()));
    store.chain(settings.iter().copied()).collect()
}

/// On SQLite alone, for what has nothing to do with the database.
pub fn on_sqlite_with(settings: &[(&str, &str)], test: impl AsyncFn(&mut Seawall)) {
    run("sqlite", Seawall::start(settings, None), &test);
}

fn run(engine: &str, mut server: Seawall, test: &impl AsyncFn(&mut Seawall)) {
    eprintln!("on {engine}");
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .expect("a runtime");
    runtime.block_on(test(&mut server));
    server.stop();
}

/// The binary under test: this build's, or the one that `SEAWALL_BIN` names (a release build, for figures).
pub fn binary() -> PathBuf {
    std::env::var_os("SEAWALL_BIN")
        .map_or_else(|| env!("CARGO_BIN_EXE_seawall").into(), PathBuf::from)
}

impl Seawall {
    fn start(settings: &[(&str, &str)], database: Option<Database>) -> Self {
        let mut server = Self::prepare(settings, database);
        server.launch();
        server
    }

    /// One that was not started yet, and has no data directory.
    pub fn prepare(settings: &[(&str, &str)], database: Option<Database>) -> Self {
        let home = tempfile::tempdir().expect("a temporary directory");
        let mut settings: Vec<_> = settings
            .iter()
            .map(|(key, value)| ((*key).to_owned(), (*value).to_owned()))
            .collect();
        let key = "SEAWALL_DATABASE__URL";
        if let Some(database) = &database
            && !settings.iter().any(|(given, _)| given == key)
        {
            settings.push((key.to_owned(), database.url()));
        }
        Self {
            child: None,
            address: String::new(),
            data: home.path().join("data"),
            settings,
            _home: Some(home),
            database,
            peer: None,
        }
    }

    /// From the next start on.
    pub fn set(&mut self, key: &str, value: &str) {
        self.settings.retain(|(given, _)| given != key);
        self.settings.push((key.to_owned(), value.to_owned()));
    }

    /// On SQLite.
    pub fn start_alone(settings: &[(&str, &str)]) -> Self {
        Self::start(settings, None)
    }

    /// On a database of the caller's.
    pub fn start_on(database: Database, settings: &[(&str, &str)]) -> Self {
        Self::start(settings, Some(database))
    }

    /// Whether other nodes can share its database.
    pub fn is_shared(&self) -> bool {
        self.database.is_some()
    }

    /// Another node on the same database and the same store.
    pub fn start_beside(&self, settings: &[(&str, &str)]) -> Self {
        let mut server = self.prepare_beside(settings);
        server.launch();
        server
    }

    /// The same, not started yet.
    pub fn prepare_beside(&self, settings: &[(&str, &str)]) -> Self {
        let home = tempfile::tempdir().expect("a temporary directory");
        let data = home.path().join("data");
        let mut all = vec![
            (
                "SEAWALL_DATABASE__URL".to_owned(),
                self.database.as_ref().expect("PostgreSQL").url(),
            ),
            (
                "SEAWALL_SERVER__SECRET_KEY_FILE".to_owned(),
                self.data.join("secretkey").display().to_string(),
            ),
            ("SEAWALL_SERVER__NODE".to_owned(), "beside".to_owned()),
        ];
        let store = self.settings.iter();
        let store = store.filter(|(key, _)| key.starts_with("SEAWALL_STORAGE__"));
        all.extend(store.cloned());
        if !all.iter().any(|(key, _)| key == "SEAWALL_STORAGE__URL") {
            let directory = format!("file://{}/storage", self.data.display());
            all.push(("SEAWALL_STORAGE__URL".to_owned(), directory));
        }
        // The later count.
        let settings = settings.iter();
        all.extend(settings.map(|(key, value)| ((*key).to_owned(), (*value).to_owned())));
        Self {
            child: None,
            address: String::new(),
            data,
            settings: all,
            _home: Some(home),
            database: None,
            peer: None,
        }
    }

    /// On a directory of the caller's, for disks that fail.
    pub fn start_in(data: &Path, settings: &[(&str, &str)]) -> Self {
        let settings = settings
            .iter()
            .map(|(key, value)| ((*key).to_owned(), (*value).to_owned()))
            .collect();
        let mut server = Self {
            child: None,
            address: String::new(),
            data: data.to_owned(),
            settings,
            _home: None,
            database: None,
            peer: None,
        };
        server.launch();
        server
    }

    /// The command line of this server.
    pub fn command(&self) -> Command {
        let mut command = Command::new(binary());
        command
            .env_clear()
            .env("SEAWALL_ADMIN_PASSWORD", PASSWORD)
            .env("SEAWALL_LOG__ACCESS", "false");
        command.envs(self.settings.iter().map(|(key, value)| (key, value)));
        let listen = self.settings.iter().find(|(key, _)| key == LISTEN);
        let listen = listen.map_or("127.0.0.1:0", |(_, address)| address);
        command
            .args(["serve", "--listen", listen, "--data"])
            .arg(&self.data);
        command
    }

    /// Starts the process again on the same data.
    pub fn launch(&mut self) {
        let mut command = self.command();
        command.stdout(Stdio::piped()).stderr(Stdio::inherit());
        // A test that dies takes its server with it.
        command.process_group(0);
        let mut child = command.spawn().expect("the binary starts");
        let output = BufReader::new(child.stdout.take().expect("piped"));
        let (ready, told) = mpsc::channel();
        std::thread::spawn(move || {
            for line in output.lines().map_while(Result::ok) {
                if let Some((_, url)) = line.split_once(" is ready at http://") {
                    let _ = ready.send(url.trim().to_owned());
                }
            }
        });
        if let Ok(address) = told.recv_timeout(PATIENCE) {
            self.address = address;
        } else {
            let _ = child.kill();
            panic!("the server did not become ready: {:?}", child.wait());
        }
        self.child = Some(child);
        if let Some(peer) = &mut self.peer {
            peer.launch();
        }
    }

    /// Host and port.
    pub fn address(&self) -> &str {
        &self.address
    }

    pub fn data(&self) -> &Path {
        &self.data
    }

    pub fn pid(&self) -> u32 {
        self.child.as_ref().expect("running").id()
    }

    /// A client that brings the administrator's name and password.
    pub fn admin(&self) -> Client {
        self.stranger().with_basic("admin", PASSWORD)
    }

    /// Makes a user with everybody's password, who may do nothing yet.
    pub fn make_user(&self, name: &str) {
        let output = self.try_run(
            &["user", "create", name, "--password-stdin"],
            &format!("{PASSWORD}\n"),
        );
        let told = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{told}");
    }

    /// As that user.
    pub fn user(&self, name: &str) -> Client {
        self.stranger().with_basic(name, PASSWORD)
    }

    /// Makes a robot through the API; what was told of it, and a client that brings its name and secret.
    pub async fn make_robot(&self, wanted: &serde_json::Value) -> (serde_json::Value, Client) {
        let made = self.admin().api("POST", "/robots", wanted).await;
        let told = made.expect(201).json();
        let (name, secret) = (
            told["name"].as_str().expect("a name"),
            told["secret"].as_str().expect("a secret"),
        );
        let client = self.stranger().with_basic(name, secret);
        (told, client)
    }

    /// A client that brings nothing.
    pub fn stranger(&self) -> Client {
        let peer = self.peer.iter().map(|peer| peer.address.clone());
        Client::of_many(std::iter::once(self.address.clone()).chain(peer).collect())
    }

    /// A client for each node that asks no other, and brings nothing.
    pub fn nodes(&self) -> Vec<Client> {
        let peer = self.peer.iter().map(|peer| &peer.address);
        std::iter::once(&self.address)
            .chain(peer)
            .map(|address| Client::new(address))
            .collect()
    }

    /// How many changes were told, and how many lines the audit has, read beside the server.
    pub async fn count_told(&self) -> (i64, i64) {
        let engine = match &self.database {
            Some(database) => db::Engine::Postgres(database.url()),
            None => db::Engine::Sqlite(self.data.join("seawall.sqlite")),
        };
        let config = db::Config {
            engine,
            node: "test".to_owned(),
            pool_size: 1,
            timeout: Duration::from_secs(10),
            pinned: model::settings::Pinned::default(),
            trust: outbound::Trust::default(),
            ways: db::Ways::default(),
        };
        let db = db::Db::open(&config, model::time::Clock::default())
            .await
            .expect("opens");
        let mut reader = db.reader().await.expect("a reader");
        let sql = "SELECT (SELECT COUNT(*) FROM changes), (SELECT COUNT(*) FROM audit)";
        let counted = reader.row(sql, &[], |row| Ok((row.int(0)?, row.int(1)?)));
        counted.await.expect("reads").expect("a row")
    }

    /// Runs a `seawall` command on the server's data directory and gives what it printed.
    pub fn run(&self, arguments: &[&str]) -> String {
        let output = self.try_run(arguments, "");
        assert!(
            output.status.success(),
            "{arguments:?}: {}",
            String::from_utf8_lossy(&output.stderr)
        );
        String::from_utf8(output.stdout).expect("text")
    }

    /// The same with its standard input, and whatever comes of it.
    pub fn try_run(&self, arguments: &[&str], input: &str) -> std::process::Output {
        use std::io::Write;
        let mut command = Command::new(binary());
        command
            .env_clear()
            .envs(self.settings.iter().map(|(key, value)| (key, value)));
        command.args(arguments).arg("--data").arg(&self.data);
        command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        let mut child = command.spawn().expect("the binary starts");
        child
            .stdin
            .take()
            .expect("piped")
            .write_all(input.as_bytes())
            .expect("read");
        child.wait_with_output().expect("ends")
    }

    /// A `seawall` command that runs beside the test.
    pub fn spawn(&self, arguments: &[&str]) -> Child {
        let mut command = Command::new(binary());
        command
            .env_clear()
            .envs(self.settings.iter().map(|(key, value)| (key, value)));
        command
            .args(arguments)
            .arg("--data")
            .arg(&self.data)
            .stdout(Stdio::null());
        command.spawn().expect("the binary starts")
    }

    /// Changes rows behind the server's back, which may remember what they said.
    pub fn sql(&self, sql: &str) {
        if let Some(database) = &self.database {
            return database.execute(sql);
        }
        let file = self.data.join("seawall.sqlite");
        let conn = rusqlite::Connection::open(file).expect("the database opens");
        conn.execute_batch(sql).expect(sql);
    }

    pub fn signal(&self, signal: &str) {
        let status = Command::new("kill")
            .args([format!("-{signal}"), self.pid().to_string()])
            .status()
            .expect("kill");
        assert!(status.success(), "kill -{signal}");
    }

    /// As a power cut would for the process: no goodbye.
    pub fn kill(&mut self) {
        if let Some(peer) = &mut self.peer {
            peer.kill();
        }
        let mut child = self.child.take().expect("running");
        child.kill().expect("killed");
        child.wait().expect("gone");
    }

    /// How it ends by itself.
    pub fn wait(&mut self) -> std::process::ExitStatus {
        let mut child = self.child.take().expect("running");
        let began = Instant::now();
        loop {
            if let Some(status) = child.try_wait().expect("asked") {
                return status;
            }
            assert!(began.elapsed() < PATIENCE, "the server does not end");
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    /// SIGTERM; the server drains and exits with 0.
    pub fn stop(&mut self) {
        if let Some(peer) = &mut self.peer {
            peer.stop();
        }
        if self.child.is_none() {
            return;
        }
        self.signal("TERM");
        let mut child = self.child.take().expect("running");
        let began = Instant::now();
        loop {
            if let Some(status) = child.try_wait().expect("asked") {
                assert!(status.success(), "the server stopped with {status}");
                return;
            }
            assert!(began.elapsed() < PATIENCE, "the server does not stop");
            std::thread::sleep(Duration::from_millis(5));
        }
    }
}

impl Drop for Seawall {
    fn drop(&mut self) {
        if let Some(mut child) = self.child.take() {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}
