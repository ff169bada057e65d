//! A collector over TCP that dies and comes back when a test says so.

use std::{
    io::{BufRead, BufReader},
    net::{SocketAddr, TcpListener, TcpStream},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

use parking_lot::Mutex;

/// What each connection brought, as far as it was read.
type Connections = Arc<Mutex<Vec<Vec<String>>>>;

pub(super) struct Collector {
    pub(super) address: SocketAddr,
    connections: Connections,
    serving: Option<Serving>,
}

struct Serving {
    dead: Arc<AtomicBool>,
    thread: JoinHandle<()>,
}

impl Collector {
    pub(super) fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let mut collector = Self {
            address: listener.local_addr().unwrap(),
            connections: Connections::default(),
            serving: None,
        };
        collector.serve(listener, usize::MAX);
        collector
    }

    /// Listens again at its old address. After `most` messages it dies, with whatever lies in its buffers.
    pub(super) fn come_back(&mut self, most: usize) {
        self.die();
        let start = Instant::now();
        let listener = loop {
            match TcpListener::bind(self.address) {
                Ok(listener) => break listener,
                Err(error) => assert!(start.elapsed() < Duration::from_secs(20), "{error}"),
            }
            thread::sleep(Duration::from_millis(10));
        };
        self.serve(listener, most);
    }

    pub(super) fn die(&mut self) {
        if let Some(serving) = self.serving.take() {
            serving.dead.store(true, Ordering::Relaxed);
            serving.thread.join().unwrap();
        }
    }

    pub(super) fn connections(&self) -> Vec<Vec<String>> {
        self.connections.lock().clone()
    }

    /// Everything that was read, over all connections.
    pub(super) fn messages(&self) -> Vec<String> {
        self.connections.lock().concat()
    }

    fn serve(&mut self, listener: TcpListener, most: usize) {
        listener.set_nonblocking(true).unwrap();
        let dead = Arc::new(AtomicBool::new(false));
        let (connections, told) = (self.connections.clone(), dead.clone());
        let thread = thread::spawn(move || {
            while !told.load(Ordering::Relaxed) {
                match listener.accept() {
                    Ok((stream, _)) => {
                        connections.lock().push(Vec::new());
                        if read(&stream, &connections, most, &told) {
                            return;
                        }
                    }
                    Err(_) => thread::sleep(Duration::from_millis(5)),
                }
            }
        });
        self.serving = Some(Serving { dead, thread });
    }
}

impl Drop for Collector {
    fn drop(&mut self) {
        if let Some(serving) = &self.serving {
            serving.dead.store(true, Ordering::Relaxed);
        }
    }
}

/// Reads one connection to its end; true when the collector died meanwhile.
fn read(
    stream: &TcpStream,
    connections: &Connections,
    most: usize,
    dead: &Arc<AtomicBool>,
) -> bool {
    stream.set_nonblocking(false).unwrap();
    stream
        .set_read_timeout(Some(Duration::from_millis(20)))
        .unwrap();
    let mut stream = BufReader::new(stream);
    let mut count = 0;
    while count < most {
        // Only a message that has begun is waited for.
        match stream.fill_buf() {
            Ok([]) => return false,
            Ok(_) => {}
            Err(_) if dead.load(Ordering::Relaxed) => return true,
            Err(_) => continue,
        }
        let Some(message) = frame(&mut stream) else {
            return false;
        };
        if let Some(last) = connections.lock().last_mut() {
            last.push(message);
        }
        count += 1;
    }
    true
}

fn frame(stream: &mut impl BufRead) -> Option<String> {
    let mut length = Vec::new();
    patient(|| stream.read_until(b' ', &mut length).map(drop))?;
    let length: usize = String::from_utf8(length).ok()?.trim().parse().ok()?;
    let mut text = vec![0; length];
    let mut filled = 0;
    while filled < length {
        let mut got = 0;
        patient(|| {
            got = stream.read(&mut text[filled..])?;
            Ok(())
        })?;
        filled += got;
        if got == 0 {
            return None;
        }
    }
    String::from_utf8(text).ok()
}

/// None at the end of the connection.
fn patient(mut read: impl FnMut() -> std::io::Result<()>) -> Option<()> {
    loop {
        match read() {
            Ok(()) => return Some(()),
            Err(error)
                if matches!(
                    error.kind(),
                    std::io::ErrorKind::WouldBlock | std::io::ErrorKind::TimedOut
                ) => {}
            Err(_) => return None,
        }
    }
}
