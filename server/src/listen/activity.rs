//! What a connection is doing, told by its socket and its requests, and judged against the time-outs from outside.
//!
//! hyper's own head time-out counts the idle time between requests too, and sets a timer for each request; here a request costs
//! a few stores, and one timer per connection looks now and then.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering::Relaxed},
    },
    time::Duration,
};

use parking_lot::Mutex;
use tokio::{task::AbortHandle, time::Instant};

use super::config::Limits;

/// Times are milliseconds since `start`; all fields are written by the connection's own tasks.
pub(super) struct Activity {
    start: Instant,
    requests: AtomicUsize,
    /// When the present wait, or the head that is being read, began.
    since: AtomicU64,
    wrote: AtomicU64,
    /// HTTP/1: what comes between two requests is a head. (On HTTP/2 it may be a ping.)
    heads: AtomicBool,
    in_head: AtomicBool,
    /// The peer may still be sending what nobody will read.
    unread: AtomicBool,
    touched: AtomicBool,
    /// HTTP/2: what its socket tells says nothing of one stream.
    streams: Mutex<Vec<Stream>>,
}

/// A request on HTTP/2.
struct Stream {
    id: usize,
    /// What answers it.
    task: Option<AbortHandle>,
    /// Since when the rest of its answer has waited for the client to open its window.
    waits: Option<u64>,
}

/// What to do about a connection now.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    /// Nothing; look again then.
    Wait(Instant),
    /// No request for long: end it politely.
    Idle,
    /// A head that does not end: cut it.
    Late,
}

/// A request that runs, until its answer's body has been handed over.
pub(super) struct InFlight {
    activity: Arc<Activity>,
    /// HTTP/2
    stream: Option<usize>,
}

impl Activity {
    pub(super) fn new() -> Self {
        Self {
            start: Instant::now(),
            requests: AtomicUsize::new(0),
            since: AtomicU64::new(0),
            wrote: AtomicU64::new(0),
            heads: AtomicBool::new(false),
            in_head: AtomicBool::new(false),
            unread: AtomicBool::new(false),
            touched: AtomicBool::new(false),
            streams: Mutex::default(),
        }
    }

    /// HTTP begins. The first head of a connection is due at once, without an idle time before it.
    pub(super) fn begin(&self, http1: bool) {
        self.since.store(self.now(), Relaxed);
        self.heads.store(http1, Relaxed);
        self.in_head.store(http1, Relaxed);
    }

    pub(super) fn read(&self) {
        if self.heads.load(Relaxed) && self.requests.load(Relaxed) == 0 {
            self.unread.store(true, Relaxed);
            if !self.in_head.load(Relaxed) {
                self.since.store(self.now(), Relaxed);
                self.in_head.store(true, Relaxed);
            }
        }
    }

    pub(super) fn wrote(&self) {
        self.wrote.store(self.now(), Relaxed);
    }

    /// A request begins; `body` when more than its head belongs to it.
    pub(super) fn request(self: &Arc<Self>, body: bool) -> InFlight {
        self.requests.fetch_add(1, Relaxed);
        self.in_head.store(false, Relaxed);
        self.unread.store(body && self.heads.load(Relaxed), Relaxed);
        self.touched.store(true, Relaxed);
        InFlight {
            activity: Arc::clone(self),
            stream: (!self.heads.load(Relaxed)).then(|| self.begin_stream()),
        }
    }

    fn begin_stream(&self) -> usize {
        let mut streams = self.streams.lock();
        // Whatever ended: the last that is left has the highest.
        let id = streams.last().map_or(0, |last| last.id + 1);
        streams.push(Stream {
            id,
            task: None,
            waits: None,
        });
        id
    }

    /// The task that the request runs in which began last. It may have ended already; the others have theirs.
    pub(super) fn runs_in(&self, task: AbortHandle) {
        if let Some(last) = self.streams.lock().last_mut() {
            last.task.get_or_insert(task);
        }
    }

    /// Ends the streams whose clients have taken nothing of an answer for too long, and says when to look again.
    ///
    /// Such a stream leaves the socket free and pings answered, so that nothing else would ever end it; and it alone is cut, since
    /// a proxy has the requests of many clients on one connection.
    pub(super) fn cut_stalled(&self, limit: Duration) -> Option<Instant> {
        let now = Instant::now();
        let mut next = None;
        for stream in self.streams.lock().iter_mut() {
            let Some(since) = stream.waits else { continue };
            let deadline = self.start + Duration::from_millis(since) + limit;
            if now < deadline {
                next = Some(next.map_or(deadline, |next: Instant| next.min(deadline)));
            } else if let Some(task) = stream.task.take() {
                tracing::debug!("a client takes nothing of an answer on HTTP/2: its stream is cut");
                task.abort();
            }
        }
        next
    }

    /// What the peer has sent will not be read.
    pub(super) fn leave_unread(&self) {
        self.unread.store(true, Relaxed);
    }

    /// The peer may still be sending: closing now would reset the connection and take the answer with it.
    pub(super) fn unread(&self) -> bool {
        self.unread.load(Relaxed)
    }

    /// Some request was made.
    pub(super) fn touched(&self) -> bool {
        self.touched.load(Relaxed)
    }

    /// No request runs and nothing was sent for that long.
    pub(super) fn quiet_for(&self, time: Duration) -> bool {
        self.requests.load(Relaxed) == 0 && Instant::now() >= self.last(true) + time
    }

    pub(super) fn verdict(&self, limits: &Limits) -> Verdict {
        let now = Instant::now();
        // A head that begins right after this look is found in time by the next one.
        let next_look = now + limits.header_timeout.min(limits.idle_timeout);
        if self.requests.load(Relaxed) > 0 {
            let next = self.cut_stalled(limits.write_timeout);
            return Verdict::Wait(next.map_or(next_look, |next| next.min(next_look)));
        }
        let (deadline, verdict) = if self.in_head.load(Relaxed) {
            (self.last(false) + limits.header_timeout, Verdict::Late)
        } else {
            // On HTTP/1 the answer may still be on its way; on HTTP/2 pings are written for ever.
            let deadline = self.last(self.heads.load(Relaxed)) + limits.idle_timeout;
            (deadline, Verdict::Idle)
        };
        if now >= deadline {
            verdict
        } else {
            Verdict::Wait(deadline.min(next_look))
        }
    }

    fn last(&self, with_writes: bool) -> Instant {
        let since = self.since.load(Relaxed);
        let wrote = if with_writes {
            self.wrote.load(Relaxed)
        } else {
            0
        };
        self.start + Duration::from_millis(since.max(wrote))
    }

    fn now(&self) -> u64 {
        self.start.elapsed().as_millis() as u64
    }
}

impl InFlight {
    /// Whether it is one of several on its connection.
    pub(super) fn is_stream(&self) -> bool {
        self.stream.is_some()
    }

    /// The head or a piece of the answer was handed over; `more` when the next one is asked for only once there is room for it.
    pub(super) fn handed(&self, more: bool) {
        let Some(id) = self.stream else { return };
        let now = self.activity.now();
        let mut streams = self.activity.streams.lock();
        if let Some(stream) = streams.iter_mut().find(|stream| stream.id == id) {
            stream.waits = more.then_some(now);
        }
    }
}

impl Drop for InFlight {
    fn drop(&mut self) {
        let activity = &self.activity;
        if let Some(id) = self.stream {
            activity.streams.lock().retain(|stream| stream.id != id);
        }
        activity.since.store(activity.now(), Relaxed);
        activity.requests.fetch_sub(1, Relaxed);
    }
}
