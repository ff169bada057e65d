//! haproxy in front of a test's nodes, configured as the documentation says.

use std::{
    io::{Read, Write},
    net::TcpStream,
    os::unix::net::UnixStream,
    time::{Duration, Instant},
};

use crate::process::{Companion, free_port, program, scratch_directory};

const PATIENCE: Duration = Duration::from_secs(20);

/// Ends with the test.
pub struct Balancer {
    port: u16,
    _running: Companion,
    dir: tempfile::TempDir,
}

impl Balancer {
    /// Starts haproxy with the first ```` ```haproxy ```` block of a page, its `bind :80` on a port of ours and its servers, in their order,
    /// at these addresses. None where haproxy is not installed, which is said aloud.
    pub fn start(page: &str, nodes: &[String]) -> Option<Self> {
        let Some(haproxy) = program("haproxy") else {
            crate::left_out(
                "haproxy",
                "haproxy is not installed: nodes behind a balancer",
            );
            return None;
        };
        let dir = scratch_directory().expect("a directory");
        let port = free_port().expect("a port");
        let (_, rest) = page.split_once("```haproxy\n").expect("a configuration");
        let (text, _) = rest.split_once("```").expect("its end");
        let mut addresses = nodes.iter();
        let mut lines = vec![format!(
            "global\n    stats socket {}/control mode 600 level admin",
            dir.path().display()
        )];
        for line in text.lines().filter(|line| line.trim() != "global") {
            let mut words: Vec<_> = line.split_whitespace().map(str::to_owned).collect();
            match words.first().map(String::as_str) {
                Some("server") => addresses
                    .next()
                    .expect("an address for each server")
                    .clone_into(&mut words[2]),
                Some("bind") => words[1] = format!("127.0.0.1:{port}"),
                _ => {
                    lines.push(line.to_owned());
                    continue;
                }
            }
            lines.push(format!("    {}", words.join(" ")));
        }
        assert!(addresses.next().is_none(), "a server for each address");
        let file = dir.path().join("haproxy.cfg");
        std::fs::write(&file, lines.join("\n") + "\n").expect("written");
        let arguments = ["-W", "-db", "-f", file.to_str().expect("text")];
        let log = dir.path().join("log");
        let running = Companion::start(&haproxy, arguments, &log).expect("haproxy starts");
        let start = Instant::now();
        while TcpStream::connect(("127.0.0.1", port)).is_err() {
            let told = std::fs::read_to_string(&log).unwrap_or_default();
            assert!(
                start.elapsed() < PATIENCE,
                "haproxy does not listen: {told}"
            );
            std::thread::sleep(Duration::from_millis(10));
        }
        Some(Self {
            port,
            _running: running,
            dir,
        })
    }

    pub fn address(&self) -> String {
        format!("127.0.0.1:{}", self.port)
    }

    /// `UP`, `DOWN` … of each server, in their order; and how often it went down.
    pub fn states(&self) -> Vec<(String, u32)> {
        let mut socket =
            UnixStream::connect(self.dir.path().join("control")).expect("haproxy listens");
        socket.write_all(b"show stat -1 4 -1\n").expect("asked");
        let mut text = String::new();
        socket.read_to_string(&mut text).expect("an answer");
        let rows = text.lines().filter(|line| !line.starts_with('#'));
        let rows = rows.filter(|line| !line.is_empty());
        rows.map(|row| {
            let cells: Vec<_> = row.split(',').collect();
            (cells[17].to_owned(), cells[22].parse().unwrap_or_default())
        })
        .collect()
    }
}
