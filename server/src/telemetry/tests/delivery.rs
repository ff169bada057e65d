//! How lines reach their targets, over real files and sockets.

use std::{
    io::{BufRead, BufReader},
    net::{TcpListener, TcpStream, UdpSocket},
    os::unix::net::{UnixDatagram, UnixListener},
};

use super::*;

const PATIENCE: Duration = Duration::from_secs(20);

fn sink(address: Address, capacity: usize) -> Sink {
    let header = Some(syslog::header("node one"));
    let style = Style::Text {
        time: false,
        colours: false,
    };
    Sink::start(
        "events",
        Output::Syslog(Syslog::new(address, Trust::default())),
        style,
        header,
        capacity,
    )
    .unwrap()
}

fn send(sink: &Sink, text: &str) {
    sink.write(Severity::Warning, TIME, |buf, _| {
        buf.extend_from_slice(text.as_bytes());
    });
}

/// A message of RFC 5424 with the text.
fn message(text: &str) -> String {
    format!(
        "<28>1 2026-01-02T03:04:05.678Z nodeone seawall {} - - {text}",
        std::process::id()
    )
}

/// One message with counted octets (RFC 6587).
fn read_frame(from: &mut impl BufRead) -> String {
    let mut length = Vec::new();
    from.read_until(b' ', &mut length).unwrap();
    let length: usize = std::str::from_utf8(&length)
        .unwrap()
        .trim_end()
        .parse()
        .expect("a count of octets");
    let mut text = vec![0; length];
    from.read_exact(&mut text).unwrap();
    String::from_utf8(text).unwrap()
}

fn accept(listener: &TcpListener) -> BufReader<TcpStream> {
    let (stream, _) = listener.accept().unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    BufReader::new(stream)
}

#[test]
fn syslog_over_udp() {
    let server = UdpSocket::bind("127.0.0.1:0").unwrap();
    server.set_read_timeout(Some(PATIENCE)).unwrap();
    let sink = sink(
        Address::Udp(server.local_addr().unwrap().to_string()),
        QUEUE_BYTES,
    );
    for text in ["first", "zweite Zeile ü"] {
        send(&sink, text);
        let mut buf = [0; 1000];
        let length = server.recv(&mut buf).unwrap();
        assert_eq!(std::str::from_utf8(&buf[..length]).unwrap(), message(text));
    }
}

#[test]
fn syslog_over_a_socket_of_datagrams() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("log");
    let server = UnixDatagram::bind(&path).unwrap();
    server.set_read_timeout(Some(PATIENCE)).unwrap();
    let sink = sink(Address::Unix(path), QUEUE_BYTES);
    for text in ["first", "second"] {
        send(&sink, text);
        let mut buf = [0; 1000];
        let length = server.recv(&mut buf).unwrap();
        assert_eq!(std::str::from_utf8(&buf[..length]).unwrap(), message(text));
    }
}

#[test]
fn syslog_over_a_socket_of_a_stream() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("log");
    let server = UnixListener::bind(&path).unwrap();
    let sink = sink(Address::Unix(path), QUEUE_BYTES);
    send(&sink, "first");
    send(&sink, "second");
    let (stream, _) = server.accept().unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    let lines: Vec<String> = BufReader::new(stream)
        .lines()
        .take(2)
        .map(Result::unwrap)
        .collect();
    assert_eq!(lines, [message("first"), message("second")]);
}

#[test]
fn syslog_over_tcp_counts_octets() {
    let server = TcpListener::bind("127.0.0.1:0").unwrap();
    let sink = sink(
        Address::Tcp(server.local_addr().unwrap().to_string()),
        QUEUE_BYTES,
    );
    send(&sink, "first");
    send(&sink, "zweite Zeile ü");
    let mut stream = accept(&server);
    assert_eq!(read_frame(&mut stream), message("first"));
    assert_eq!(read_frame(&mut stream), message("zweite Zeile ü"));
}

#[test]
fn a_server_that_restarts_misses_nothing() {
    let server = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = server.local_addr().unwrap();
    let sink = sink(Address::Tcp(address.to_string()), QUEUE_BYTES);
    send(&sink, "before");
    assert_eq!(read_frame(&mut accept(&server)), message("before"));
    drop(server);
    assert!(sink.flush(patience()));
    send(&sink, "while it is away");
    let server = TcpListener::bind(address).unwrap();
    let mut stream = accept(&server);
    assert_eq!(read_frame(&mut stream), message("while it is away"));
    send(&sink, "after");
    assert_eq!(read_frame(&mut stream), message("after"));
    assert_eq!(sink.dropped(), 0);
}

#[test]
fn a_target_that_takes_nothing_delays_nobody_and_every_line_is_accounted_for() {
    const LINES: u64 = 40_000;
    let server = TcpListener::bind("127.0.0.1:0").unwrap();
    let sink = sink(
        Address::Tcp(server.local_addr().unwrap().to_string()),
        64 << 10,
    );
    let text = "x".repeat(1000);
    let start = Instant::now();
    let mut longest = Duration::ZERO;
    for _ in 0..LINES {
        let before = Instant::now();
        send(&sink, &text);
        longest = longest.max(before.elapsed());
    }
    // 40 MB into buffers of a few: without the bound this would never end. The limits are loose, since the machine is shared.
    assert!(
        start.elapsed() < Duration::from_secs(10),
        "{:?}",
        start.elapsed()
    );
    assert!(longest < Duration::from_secs(1), "{longest:?}");
    assert!(sink.dropped() > 0);

    let mut stream = accept(&server);
    let (mut received, mut told) = (0, 0);
    while received + told < LINES {
        let frame = read_frame(&mut stream);
        match frame.rsplit_once(" WARN  log: log lines were dropped dropped=") {
            Some((_, count)) => told += count.parse::<u64>().unwrap(),
            None => received += 1,
        }
    }
    assert_eq!((received + told, told), (LINES, sink.dropped()));
    assert!(received > 0);
}

#[test]
fn the_end_of_the_process_does_not_wait_for_a_dead_target() {
    let server = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = server.local_addr().unwrap().to_string();
    drop(server);
    let sink = sink(Address::Tcp(address), QUEUE_BYTES);
    send(&sink, "nobody hears this");
    let start = Instant::now();
    let deadline = start + Duration::from_millis(200);
    sink.stop_at(deadline);
    sink.flush(deadline);
    assert!(
        start.elapsed() < Duration::from_secs(5),
        "{:?}",
        start.elapsed()
    );
    // The line is given up, and counted.
    assert!(sink.flush(patience()));
    assert_eq!(sink.dropped(), 1);
}

#[test]
fn a_moved_file_is_followed_when_told() {
    let dir = tempfile::tempdir().unwrap();
    let (path, moved) = (dir.path().join("log"), dir.path().join("moved"));
    let output = Output::File(RotatingFile::open(path.clone(), 0, 0).unwrap());
    let sink = Sink::start("events", output, TEXT, None, QUEUE_BYTES).unwrap();
    send(&sink, "one");
    assert!(sink.flush(patience()));
    fs::rename(&path, &moved).unwrap();
    sink.reopen();
    send(&sink, "two");
    assert!(sink.flush(patience()));
    assert_eq!(
        (
            fs::read_to_string(moved).unwrap(),
            fs::read_to_string(path).unwrap()
        ),
        ("one\n".into(), "two\n".into())
    );
}

#[test]
fn lines_in_a_row_are_gathered_and_none_waits_for_long() {
    let server = UdpSocket::bind("127.0.0.1:0").unwrap();
    server.set_read_timeout(Some(PATIENCE)).unwrap();
    let sink = sink(
        Address::Udp(server.local_addr().unwrap().to_string()),
        QUEUE_BYTES,
    );
    // One by one, each finds the writer in another state; nothing else would wake it.
    for number in 0..50 {
        send(&sink, &number.to_string());
        let mut buf = [0; 1000];
        let length = server.recv(&mut buf).unwrap();
        let text = std::str::from_utf8(&buf[..length]).unwrap();
        assert_eq!(text, message(&number.to_string()));
    }
    // Many at once, and then the end of the process.
    for number in 0..200 {
        send(&sink, &number.to_string());
    }
    sink.stop_at(Instant::now() + PATIENCE);
    assert!(sink.flush(Instant::now() + PATIENCE));
    for number in 0..200 {
        let mut buf = [0; 1000];
        let length = server.recv(&mut buf).unwrap();
        let text = std::str::from_utf8(&buf[..length]).unwrap();
        assert_eq!(text, message(&number.to_string()));
    }
}
