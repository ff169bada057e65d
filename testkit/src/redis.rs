//! Real Redis (or Valkey) servers, each on a port and in a directory of its own: alone, with replicas and Sentinels, or as a Cluster.

use std::{
    path::{Path, PathBuf},
    process::Command,
    time::{Duration, Instant},
};

use crate::{Companion, free_port, left_out, program, scratch_directory};

/// A server that is not there by then never will be.
const PATIENCE: Duration = Duration::from_secs(20);
/// Somebody else may be faster at a port that was free.
const TRIES: usize = 5;

/// A running server; it ends with this.
pub struct Redis {
    pub port: u16,
    /// How `redis-cli` reaches it, beside its port.
    cli: Vec<String>,
    settings: String,
    server: Option<Companion>,
    dir: tempfile::TempDir,
}

/// Starts one. `settings` are lines of its configuration, `cli` is how `redis-cli` gets in. `None` (said loudly) where there is none.
pub fn redis(settings: &str, cli: &[&str]) -> Option<Redis> {
    if find("server").is_none() || find("cli").is_none() {
        left_out("redis", "Redis is not installed (Debian: redis-server)");
        return None;
    }
    for _ in 0..TRIES {
        let mut redis = Redis {
            port: free_port().expect("a port"),
            cli: cli.iter().map(|&word| word.to_owned()).collect(),
            settings: settings.to_owned(),
            server: None,
            dir: scratch_directory().expect("a directory"),
        };
        if redis.try_start() {
            return Some(redis);
        }
    }
    panic!("redis-server is installed and does not start");
}

impl Redis {
    /// `HOST:PORT`
    pub fn address(&self) -> String {
        format!("127.0.0.1:{}", self.port)
    }

    /// Starts it again, with what it kept on disk.
    pub fn restart(&mut self) {
        assert!(self.try_start(), "it starts again");
    }

    /// Ends it as a crash would.
    pub fn kill(&mut self) {
        self.signal("KILL");
        self.server = None;
    }

    pub fn signal(&self, signal: &str) {
        assert!(self.send(signal), "kill -{signal}");
    }

    fn send(&self, signal: &str) -> bool {
        let Ok(pid) = std::fs::read_to_string(self.file("pid")) else {
            return false;
        };
        let mut kill = Command::new("kill");
        kill.args([format!("-{signal}"), pid.trim().to_owned()]);
        kill.status().is_ok_and(|status| status.success())
    }

    /// What `redis-cli` says to this.
    pub fn ask(&self, words: &[&str]) -> String {
        let cli = find("cli").expect("looked for before");
        let mut command = Command::new(cli);
        command.args(["-p", &self.port.to_string()]).args(&self.cli);
        let output = command.args(words).output().expect("redis-cli runs");
        String::from_utf8_lossy(&output.stdout).trim().to_owned()
    }

    /// Writes down what it is asked, into this file, until the end of what this gives.
    pub fn watch(&self, log: &Path) -> Companion {
        let cli = find("cli").expect("looked for before");
        let port = self.port.to_string();
        let words = ["-p", &port].into_iter();
        let words = words
            .chain(self.cli.iter().map(String::as_str))
            .chain(["MONITOR"]);
        Companion::start(&cli, words, log).expect("starts")
    }

    /// The names of its keys.
    pub fn keys(&self) -> Vec<String> {
        let told = self.ask(&["KEYS", "*"]);
        told.lines()
            .filter(|name| !name.is_empty())
            .map(str::to_owned)
            .collect()
    }

    fn try_start(&mut self) -> bool {
        let (pid, dir) = (self.file("pid"), self.dir.path().display());
        // TLS takes the port where the settings say so, and a Cluster's nodes have one more among themselves.
        let port = if self.settings.contains("tls-cert-file") {
            format!("port 0\ntls-port {}", self.port)
        } else {
            format!("port {}", self.port)
        };
        let text = format!(
            "bind 127.0.0.1\n{port}\ndir {dir}\npidfile {}\nsave \"\"\ndaemonize no\n{}\n",
            pid.display(),
            self.settings
        );
        let config = self.file("conf");
        std::fs::write(&config, text).expect("writes");
        let mut arguments = vec![config.into_os_string()];
        if self.settings.contains("sentinel monitor") {
            arguments.push("--sentinel".into());
        }
        let server = find("server").expect("looked for before");
        let started = Companion::start(&server, arguments, &self.file("log"));
        self.server = Some(started.expect("starts"));
        let came = wait(|| self.ask(&["PING"]) == "PONG" || self.has_ended());
        let is_there = came && !self.has_ended();
        if !is_there {
            self.server = None;
        }
        is_there
    }

    /// As when another was faster at the port.
    fn has_ended(&self) -> bool {
        let log = std::fs::read_to_string(self.file("log")).unwrap_or_default();
        log.contains("Failed listening") || log.contains("FATAL CONFIG")
    }

    fn file(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }
}

impl Drop for Redis {
    fn drop(&mut self) {
        // One that stands still hears of no end.
        if self.server.is_some() {
            self.send("CONT");
        }
    }
}

/// A master with a replica, and three Sentinels that know both.
pub struct Watched {
    pub master: Redis,
    pub replica: Redis,
    pub sentinels: Vec<Redis>,
}

/// The name under which the Sentinels know the master.
pub const MASTER: &str = "lab";

/// What those who share something have alike: lines of their configurations, and how `redis-cli` gets in.
#[derive(Clone, Copy, Default)]
pub struct Alike<'a> {
    pub settings: &'a str,
    pub cli: &'a [&'a str],
}

impl Alike<'_> {
    fn start(&self, settings: &str, password: &str) -> Option<Redis> {
        let cli = self.cli.iter().copied();
        let cli: Vec<&str> = cli.chain(["-a", password, "--no-auth-warning"]).collect();
        redis(&format!("{}\n{settings}", self.settings), &cli)
    }
}

/// Starts a master with a replica, and three Sentinels; each kind has a password of its own.
pub fn watched(password: &str, sentinel_password: &str, alike: Alike<'_>) -> Option<Watched> {
    let settings = format!(
        "requirepass {password}\nmasterauth {password}\nrepl-diskless-sync-delay 0\nappendonly no"
    );
    let master = alike.start(&settings, password)?;
    let settings = format!("{settings}\nreplicaof 127.0.0.1 {}", master.port);
    let replica = alike.start(&settings, password)?;
    let settings = format!(
        "requirepass {sentinel_password}\nsentinel sentinel-pass {sentinel_password}\n\
         sentinel monitor {MASTER} 127.0.0.1 {} 2\nsentinel auth-pass {MASTER} {password}\n\
         sentinel down-after-milliseconds {MASTER} 2000\nsentinel failover-timeout {MASTER} 5000",
        master.port
    );
    let sentinels = (0..3).map(|_| alike.start(&settings, sentinel_password));
    let watched = Watched {
        master,
        replica,
        sentinels: sentinels.collect::<Option<_>>()?,
    };
    // One who dies before all know of the replica, or before that has everything, is not followed by it.
    let port = watched.replica.port.to_string();
    let known = wait(|| {
        let replication = watched.master.ask(&["INFO", "replication"]);
        replication.contains("state=online")
            && watched.sentinels.iter().all(|sentinel| {
                sentinel
                    .ask(&["SENTINEL", "CKQUORUM", MASTER])
                    .starts_with("OK 3")
                    && sentinel
                        .ask(&["SENTINEL", "REPLICAS", MASTER])
                        .contains(&port)
            })
    });
    assert!(known, "the Sentinels know all");
    Some(watched)
}

/// Three masters that share the keys.
pub fn redis_cluster(password: &str, alike: Alike<'_>) -> Option<Vec<Redis>> {
    let nodes: Option<Vec<_>> = (0..3)
        .map(|_| {
            let bus = free_port().expect("a port");
            let settings = format!(
                "requirepass {password}\nmasterauth {password}\n\
                 cluster-enabled yes\ncluster-port {bus}\ncluster-node-timeout 2000"
            );
            alike.start(&settings, password)
        })
        .collect();
    let nodes = nodes?;
    let mut words = vec!["--cluster".to_owned(), "create".to_owned()];
    words.extend(nodes.iter().map(Redis::address));
    words.push("--cluster-yes".to_owned());
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    let told = nodes[0].ask(&words);
    let is_whole = || {
        nodes
            .iter()
            .all(|node| node.ask(&["CLUSTER", "INFO"]).contains("cluster_state:ok"))
    };
    assert!(wait(is_whole), "the Cluster is whole: {told}");
    Some(nodes)
}

fn find(part: &str) -> Option<PathBuf> {
    program(&format!("redis-{part}")).or_else(|| program(&format!("valkey-{part}")))
}

fn wait(mut is_so: impl FnMut() -> bool) -> bool {
    let begun = Instant::now();
    while !is_so() {
        if begun.elapsed() > PATIENCE {
            return false;
        }
        std::thread::sleep(Duration::from_millis(20));
    }
    true
}
