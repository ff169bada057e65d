//! Docker's own registry, whose trees are taken over.

use std::{
    fs,
    io::{Read, Write},
    net::TcpStream,
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use crate::{Companion, free_port, left_out, process::program};

const PATIENCE: Duration = Duration::from_secs(30);

/// Where it keeps what is pushed to it.
#[derive(Debug, Clone)]
pub enum Keeps {
    Directory(PathBuf),
    Bucket {
        s3: crate::S3,
        bucket: String,
        prefix: String,
    },
}

/// A registry that runs until this is dropped.
pub struct DockerRegistry {
    /// Host and port.
    pub address: String,
    _process: Companion,
}

/// The registries of this kind that the machine has: Debian's (2.8), and version 3 where somebody has installed it.
pub fn docker_registries() -> Vec<PathBuf> {
    let found: Vec<PathBuf> = ["docker-registry", "distribution"]
        .into_iter()
        .filter_map(program)
        .collect();
    if found.is_empty() {
        left_out(
            "docker-registry",
            "no Docker registry whose tree could be taken over",
        );
    }
    found
}

impl DockerRegistry {
    /// Starts one without authentication; what it says goes into `home`.
    pub fn start(program: &Path, keeps: &Keeps, home: &Path) -> Self {
        let port = free_port().expect("a port");
        let config = home.join(format!("registry-{port}.yml"));
        fs::write(&config, configuration(keeps, port)).expect("written");
        let arguments = [
            // It cannot read the form in which some machines give it.
            "-u".into(),
            "AWS_CA_BUNDLE".into(),
            "OTEL_TRACES_EXPORTER=none".into(),
            program.as_os_str().to_owned(),
            "serve".into(),
            config.into_os_string(),
        ];
        let env = crate::program("env").expect("env");
        let log = home.join(format!("registry-{port}.log"));
        let process = Companion::start(&env, arguments, &log).expect("starts");
        let began = Instant::now();
        while !answers(port) {
            assert!(
                began.elapsed() < PATIENCE,
                "the registry does not answer: {}",
                fs::read_to_string(&log).unwrap_or_default()
            );
            std::thread::sleep(Duration::from_millis(20));
        }
        Self {
            address: format!("127.0.0.1:{port}"),
            _process: process,
        }
    }
}

fn configuration(keeps: &Keeps, port: u16) -> String {
    let storage = match keeps {
        Keeps::Directory(root) => format!("  filesystem: {{rootdirectory: {}}}", root.display()),
        Keeps::Bucket { s3, bucket, prefix } => format!(
            "  s3: {{regionendpoint: \"{}\", region: us-east-1, bucket: {bucket}, rootdirectory: /{prefix}, accesskey: {}, secretkey: {}, secure: false, v4auth: true, forcepathstyle: true}}
  redirect: {{disable: true}}",
            s3.endpoint, s3.id, s3.secret
        ),
    };
    format!(
        "version: 0.1
log: {{level: error, accesslog: {{disabled: true}}}}
storage:
{storage}
  delete: {{enabled: true}}
http: {{addr: \"127.0.0.1:{port}\", relativeurls: true, secret: test}}
"
    )
}

fn answers(port: u16) -> bool {
    let ask = || -> std::io::Result<bool> {
        let mut stream = TcpStream::connect(("127.0.0.1", port))?;
        stream.set_read_timeout(Some(PATIENCE))?;
        stream.write_all(b"GET /v2/ HTTP/1.0\r\nHost: x\r\n\r\n")?;
        let mut head = [0; 12];
        stream.read_exact(&mut head)?;
        Ok(head.ends_with(b"200"))
    };
    ask().unwrap_or(false)
}
