//! The clients: threads with a blocking connection each where a request is dear, one thread with epoll over all
//! connections where it is cheap and the client must not cost more than the server.

use std::{
    io::{ErrorKind, Read, Write},
    net::{SocketAddr, TcpStream},
    sync::Barrier,
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context, ensure};
use rustix::event::epoll;

use crate::http::{Connection, parse_head};

/// What was done while a measure ran.
#[derive(Default)]
pub struct Work {
    pub wall: Duration,
    pub operations: u64,
    pub bytes: u64,
    pub latencies: Vec<Duration>,
    /// What a reader of the table must know about it.
    pub note: Option<String>,
}

/// What one client did.
#[derive(Default)]
pub struct Tally {
    pub bytes: u64,
    latencies: Vec<Duration>,
}

impl Tally {
    /// Counts one operation and its time.
    pub fn timed<T>(&mut self, operation: impl FnOnce() -> anyhow::Result<T>) -> anyhow::Result<T> {
        let began = Instant::now();
        let result = operation()?;
        self.latencies.push(began.elapsed());
        Ok(result)
    }
}

/// Runs `body` once for each connection, all at the same time; the clock starts when all threads are there.
pub fn in_parallel(
    connections: Vec<Connection>,
    body: impl Fn(usize, &mut Connection, &mut Tally) -> anyhow::Result<()> + Sync,
) -> anyhow::Result<Work> {
    let barrier = Barrier::new(connections.len() + 1);
    let (body, barrier) = (&body, &barrier);
    thread::scope(|scope| {
        let clients: Vec<_> = connections
            .into_iter()
            .enumerate()
            .map(|(n, mut connection)| {
                scope.spawn(move || {
                    let mut tally = Tally::default();
                    barrier.wait();
                    body(n, &mut connection, &mut tally).map(|()| (tally, Instant::now()))
                })
            })
            .collect();
        let began = Instant::now();
        barrier.wait();
        let mut work = Work::default();
        for client in clients {
            let (tally, ended) = client
                .join()
                .expect("a client that panics ends the benchmark")?;
            work.wall = work.wall.max(ended - began);
            work.operations += tally.latencies.len() as u64;
            work.bytes += tally.bytes;
            work.latencies.extend(tally.latencies);
        }
        Ok(work)
    })
}

/// Sends `request` again and again on each of `connections` connections for `window`, the next when the answer to
/// the last is there, and compares every answer with `expected`.
pub fn closed_loop(
    address: SocketAddr,
    request: &[u8],
    expected: &[u8],
    connections: usize,
    window: Duration,
) -> anyhow::Result<Work> {
    let poll = epoll::create(epoll::CreateFlags::CLOEXEC)?;
    let mut slots = Vec::with_capacity(connections);
    for n in 0..connections {
        let stream = TcpStream::connect(address)?;
        stream.set_nodelay(true)?;
        stream.set_nonblocking(true)?;
        epoll::add(
            &poll,
            &stream,
            epoll::EventData::new_u64(n as u64),
            epoll::EventFlags::IN,
        )?;
        slots.push(Slot {
            stream,
            ahead: vec![0; 64 << 10],
            used: 0,
            asked: Instant::now(),
        });
    }
    let began = Instant::now();
    for slot in &mut slots {
        slot.ask(request)?;
    }
    let mut work = Work {
        latencies: Vec::with_capacity(1 << 20),
        ..Work::default()
    };
    let mut waiting = connections;
    let mut events = Vec::with_capacity(connections);
    while waiting > 0 {
        events.clear();
        let patience = rustix::event::Timespec {
            tv_sec: 30,
            tv_nsec: 0,
        };
        epoll::wait(
            &poll,
            rustix::buffer::spare_capacity(&mut events),
            Some(&patience),
        )?;
        ensure!(
            !events.is_empty(),
            "no answer for 30 s on {waiting} connections"
        );
        for event in &events {
            let slot = &mut slots[event.data.u64() as usize];
            if !slot.read(expected)? {
                continue;
            }
            work.latencies.push(slot.asked.elapsed());
            work.bytes += expected.len() as u64;
            if began.elapsed() < window {
                slot.ask(request)?;
            } else {
                waiting -= 1;
            }
        }
    }
    work.wall = began.elapsed();
    work.operations = work.latencies.len() as u64;
    Ok(work)
}

/// One connection of the closed loop.
struct Slot {
    stream: TcpStream,
    ahead: Vec<u8>,
    used: usize,
    asked: Instant,
}

impl Slot {
    fn ask(&mut self, request: &[u8]) -> anyhow::Result<()> {
        self.used = 0;
        self.asked = Instant::now();
        // One small request on an idle connection always fits into its send buffer.
        self.stream.write_all(request).context("sending a request")
    }

    /// Reads what is there; true when the answer is complete and right.
    fn read(&mut self, expected: &[u8]) -> anyhow::Result<bool> {
        match self.stream.read(&mut self.ahead[self.used..]) {
            Ok(0) => anyhow::bail!("the server closed a connection, or its answer is too large"),
            Ok(n) => self.used += n,
            Err(e) if matches!(e.kind(), ErrorKind::WouldBlock | ErrorKind::Interrupted) => {
                return Ok(false);
            }
            Err(e) => return Err(e).context("reading an answer"),
        }
        let Some((head, end)) = parse_head(&self.ahead[..self.used])? else {
            return Ok(false);
        };
        ensure!(head.status == 200, "status {} instead of 200", head.status);
        let length = head.length.context("an answer without Content-Length")? as usize;
        ensure!(
            length == expected.len(),
            "an answer of {length} bytes instead of {}",
            expected.len()
        );
        if self.used < end + length {
            return Ok(false);
        }
        ensure!(
            &self.ahead[end..self.used] == expected,
            "an answer with other bytes"
        );
        Ok(true)
    }
}
