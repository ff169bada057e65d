//! Lines on their way to a target that may be slow, full or gone: writing one never waits.
//!
//! Whoever logs puts the line into a queue bounded by its bytes; one thread writes the queue out. When there is no room the line
//! is dropped and counted, and once lines go through again one of them says how many are missing.

use std::{
    cell::RefCell,
    io,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use model::time::{Clock, Timestamp};
use outbound::syslog::{Header, Severity};
use parking_lot::{Condvar, Mutex};

use super::{
    file::RotatingFile,
    line::Line,
    style::Style,
    syslog::{Syslog, write_header},
};

/// Bytes that wait or are being written; more are dropped.
pub(super) const QUEUE_BYTES: usize = 8 << 20;

/// How long the writer gathers lines after a batch: to be woken for each would cost whoever logs a system call, and the writer
/// another one for each write.
const DOZE: Duration = Duration::from_millis(4);
/// So much is written at once, without gathering more.
const ENOUGH: usize = 64 << 10;

/// A buffer that grew beyond this in a burst is given back afterwards.
const KEPT_CAPACITY: usize = 256 << 10;

/// What the writing thread writes to.
pub(super) enum Output {
    Stderr,
    File(RotatingFile),
    Syslog(Syslog),
}

/// The near end of the queue.
#[derive(Clone)]
pub(super) struct Sink {
    shared: Arc<Shared>,
}

/// What both ends know.
pub(super) struct Shared {
    name: &'static str,
    style: Style,
    /// Put before each line that goes to syslog.
    header: Option<Header>,
    clock: Clock,
    capacity: usize,
    queue: Mutex<Queue>,
    /// Something to do for the writer.
    work: Condvar,
    /// Nothing left to write.
    idle: Condvar,
    reopen: AtomicBool,
    dropped: AtomicU64,
    /// Of these, the ones that no line has told of yet.
    untold: AtomicU64,
}

#[derive(Default)]
struct Queue {
    /// Whole lines, each with its end.
    lines: Vec<u8>,
    /// Bytes that the writer has taken and not finished.
    in_flight: usize,
    /// The writer sleeps until it is woken; otherwise it comes by itself.
    asleep: bool,
    /// Set when the process stops: what is not written by then is given up.
    deadline: Option<Instant>,
}

impl Sink {
    /// Starts the thread that writes to `output`. The name stands in the metric of dropped lines.
    pub(super) fn start(
        name: &'static str,
        output: Output,
        style: Style,
        header: Option<Header>,
        capacity: usize,
    ) -> io::Result<Self> {
        let shared = Arc::new(Shared {
            name,
            style,
            header,
            clock: Clock::default(),
            capacity,
            queue: Mutex::default(),
            work: Condvar::new(),
            idle: Condvar::new(),
            reopen: AtomicBool::new(false),
            dropped: AtomicU64::new(0),
            untold: AtomicU64::new(0),
        });
        // Shown from the start: an alert on a figure that does not exist yet never fires.
        metrics::counter!("seawall_log_dropped_total", "log" => name).increment(0);
        let writer = Writer {
            shared: shared.clone(),
            output,
        };
        thread::Builder::new()
            .name(format!("log-{name}"))
            .spawn(move || writer.run())?;
        Ok(Self { shared })
    }

    /// Puts one line into the queue, or drops it. `body` writes the line without its end.
    pub(super) fn write(
        &self,
        severity: Severity,
        now: Timestamp,
        body: impl FnOnce(&mut Vec<u8>, Style),
    ) {
        thread_local! {
            static SCRATCH: RefCell<Vec<u8>> = const { RefCell::new(Vec::new()) };
        }
        SCRATCH.with_borrow_mut(|line| {
            line.clear();
            self.shared.frame(line, severity, now, body);
            if !self.shared.enqueue(line) {
                self.shared.count_dropped(1);
            }
        });
    }

    /// Opens the target anew before the next line: its file was moved away.
    pub(super) fn reopen(&self) {
        self.shared.reopen.store(true, Ordering::Release);
        let _queue = self.shared.queue.lock();
        self.shared.work.notify_one();
    }

    /// Waits until no line is left to write, but not beyond the deadline; says whether that is so. Lines that come later are still taken.
    pub(super) fn flush(&self, deadline: Instant) -> bool {
        let mut queue = self.shared.queue.lock();
        while !queue.is_idle() {
            if self
                .shared
                .idle
                .wait_until(&mut queue, deadline)
                .timed_out()
            {
                return queue.is_idle();
            }
        }
        true
    }

    /// Lets the writer give up on what a dead target has not taken by then.
    pub(super) fn stop_at(&self, deadline: Instant) {
        self.shared.queue.lock().deadline = Some(deadline);
        self.shared.work.notify_one();
    }

    /// How many lines were dropped so far.
    #[cfg(test)]
    pub(super) fn dropped(&self) -> u64 {
        self.shared.dropped.load(Ordering::Relaxed)
    }
}

impl Queue {
    fn is_idle(&self) -> bool {
        self.lines.is_empty() && self.in_flight == 0
    }
}

impl Shared {
    fn frame(
        &self,
        line: &mut Vec<u8>,
        severity: Severity,
        now: Timestamp,
        body: impl FnOnce(&mut Vec<u8>, Style),
    ) {
        if let Some(header) = &self.header {
            write_header(header, line, severity, now);
        }
        body(line, self.style);
        line.push(b'\n');
    }

    fn enqueue(&self, line: &[u8]) -> bool {
        let mut queue = self.queue.lock();
        if queue.lines.len() + queue.in_flight + line.len() > self.capacity {
            return false;
        }
        let before = queue.lines.len();
        queue.lines.extend_from_slice(line);
        let has_enough = before < ENOUGH && queue.lines.len() >= ENOUGH;
        // Once for all lines until it has got up.
        let wake = std::mem::take(&mut queue.asleep) || has_enough;
        drop(queue);
        if wake {
            self.work.notify_one();
        }
        true
    }

    /// Counts lines that will never be written.
    fn count_dropped(&self, lines: u64) {
        self.dropped.fetch_add(lines, Ordering::Relaxed);
        self.untold.fetch_add(lines, Ordering::Relaxed);
        metrics::counter!("seawall_log_dropped_total", "log" => self.name).increment(lines);
    }

    /// Whether the process stops and the time for the last lines is over.
    pub(super) fn gave_up(&self) -> bool {
        self.queue
            .lock()
            .deadline
            .is_some_and(|deadline| Instant::now() >= deadline)
    }

    /// Sleeps, for less when the process stops.
    pub(super) fn pause(&self, time: Duration) {
        let until = Instant::now() + time;
        let mut queue = self.queue.lock();
        loop {
            let end = queue.deadline.map_or(until, |deadline| deadline.min(until));
            if Instant::now() >= end {
                return;
            }
            self.work.wait_until(&mut queue, end);
        }
    }
}

struct Writer {
    shared: Arc<Shared>,
    output: Output,
}

impl Writer {
    /// Runs as long as the process: the sink of the log is never gone before it.
    fn run(mut self) {
        let mut batch = Vec::new();
        loop {
            self.take(&mut batch);
            let lost = self.write(&batch);
            if lost > 0 {
                self.shared.count_dropped(lost);
            }
            self.tell_dropped(&mut batch);
            let mut queue = self.shared.queue.lock();
            queue.in_flight = 0;
            if queue.is_idle() {
                self.shared.idle.notify_all();
            }
        }
    }

    /// Waits for lines and takes all there are. The first after a silence goes on its way at once, later ones after a doze.
    fn take(&mut self, batch: &mut Vec<u8>) {
        batch.clear();
        batch.shrink_to(KEPT_CAPACITY);
        let mut queue = self.shared.queue.lock();
        if queue.deadline.is_none() && queue.lines.len() < ENOUGH {
            self.shared.work.wait_for(&mut queue, DOZE);
        }
        loop {
            if self.shared.reopen.swap(false, Ordering::Acquire)
                && let Output::File(file) = &mut self.output
            {
                file.reopen();
            }
            if !queue.lines.is_empty() {
                std::mem::swap(&mut queue.lines, batch);
                queue.in_flight = batch.len();
                return;
            }
            queue.asleep = true;
            self.shared.work.wait(&mut queue);
            queue.asleep = false;
        }
    }

    /// Returns how many lines were lost.
    fn write(&mut self, lines: &[u8]) -> u64 {
        match &mut self.output {
            Output::Stderr => write_stderr(lines),
            Output::File(file) => file.write(lines),
            Output::Syslog(syslog) => syslog.write(lines, &self.shared),
        }
    }

    /// Says how many lines are missing, now that lines go through again.
    fn tell_dropped(&mut self, line: &mut Vec<u8>) {
        let count = self.shared.untold.swap(0, Ordering::Relaxed);
        if count == 0 {
            return;
        }
        line.clear();
        let now = self.shared.clock.now();
        self.shared
            .frame(line, Severity::Warning, now, |buf, style| {
                write_notice(buf, style, now, count);
            });
        if self.write(line) > 0 {
            self.shared.untold.fetch_add(count, Ordering::Relaxed);
        }
    }
}

fn write_notice(buf: &mut Vec<u8>, style: Style, now: Timestamp, count: u64) {
    let mut line = Line::new(buf);
    match style {
        Style::Json => {
            line.raw("{\"time\":\"");
            line.time(now);
            line.raw("\",\"type\":\"event\",\"level\":\"warn\",\"target\":\"log\",\"message\":\"log lines were dropped\",\"dropped\":");
            line.number(count);
            line.raw("}");
        }
        Style::Text { time, .. } => {
            if time {
                line.time(now);
                line.raw(" ");
            }
            line.raw("WARN  log: log lines were dropped dropped=");
            line.number(count);
        }
    }
}

/// Returns how many lines were lost.
fn write_stderr(lines: &[u8]) -> u64 {
    match write_fully(&mut io::stderr().lock(), lines) {
        Ok(()) => 0,
        Err((written, _)) => count_lines(&lines[written..]),
    }
}

/// Writes all bytes, also where the descriptor was made non-blocking by another process that shares it.
/// The error says how many bytes went through before it.
pub(super) fn write_fully(to: &mut impl io::Write, bytes: &[u8]) -> Result<(), (usize, io::Error)> {
    let mut written = 0;
    while written < bytes.len() {
        match to.write(&bytes[written..]) {
            Ok(0) => return Err((written, io::ErrorKind::WriteZero.into())),
            Ok(count) => written += count,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                thread::sleep(Duration::from_millis(10));
            }
            Err(error) => return Err((written, error)),
        }
    }
    Ok(())
}

/// Lines that end here; a line of which only the end is left counts too.
pub(super) fn count_lines(bytes: &[u8]) -> u64 {
    bytes.split(|&byte| byte == b'\n').count().saturating_sub(1) as u64
}
