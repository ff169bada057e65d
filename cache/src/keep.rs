//! The one task that keeps the connection: makes it, writes over it what is to be kept, sees whether it lives, and makes another
//! when it broke. Whoever asks or puts never waits for any of that.

use std::{sync::Arc, time::Duration};

use bytes::Bytes;
use futures_util::future::join_all;
use redis::Cmd;
use tokio::{
    sync::mpsc,
    time::{Instant, MissedTickBehavior, interval, sleep, timeout},
};
use tokio_util::sync::CancellationToken;

use crate::{
    Cache, Inner,
    breaker::{Open, Went},
    connect::ANSWER,
};

/// Between two looks at a connection that nothing else is asked of.
const LOOK_EVERY: Duration = Duration::from_secs(1);
/// Before another connection is tried: so long at first, twice as long each time, and so long at most.
const FIRST_PAUSE: Duration = Duration::from_millis(250);
const LONGEST_PAUSE: Duration = Duration::from_secs(5);
/// A connection that held for less did not end the trouble.
const HELD: Duration = Duration::from_secs(10);
/// Written at once.
const AT_ONCE: usize = 16;
/// How long a trace of a probe stays.
const PROBE: Duration = Duration::from_mins(1);

/// A value to keep.
pub(crate) struct Kept {
    pub(crate) key: String,
    pub(crate) value: Bytes,
    pub(crate) lasts: Duration,
}

impl Cache {
    /// Keeps the connection until the end.
    pub async fn keep(self, end: CancellationToken) {
        let Some(inner) = self.0 else { return };
        let Some(writes) = inner.to_write.lock().take() else {
            return;
        };
        end.run_until_cancelled(inner.keep(writes)).await;
        *inner.open.write() = None;
    }
}

impl Inner {
    async fn keep(&self, mut writes: mpsc::Receiver<Kept>) {
        let mut pause = FIRST_PAUSE;
        loop {
            let connected = match self.config.connect().await {
                Ok(line) => {
                    let open = Arc::new(Open::new(line));
                    let probed = probe(&open, &self.probe_key()).await;
                    probed.map(|refused| (open, refused))
                }
                Err(why) => Err(why.to_string()),
            };
            match connected {
                Ok((open, refused)) => {
                    self.tell(refused.map(|refused| takes_none(&refused)), true);
                    *self.open.write() = Some(open.clone());
                    let since = Instant::now();
                    let why = self.serve(&open, &mut writes).await;
                    *self.open.write() = None;
                    self.tell(Some(why), false);
                    if since.elapsed() >= HELD {
                        pause = FIRST_PAUSE;
                    }
                }
                Err(why) => self.tell(Some(why), false),
            }
            while writes.try_recv().is_ok() {
                count_write("dropped");
            }
            sleep(pause).await;
            pause = (pause * 2).min(LONGEST_PAUSE);
        }
    }

    /// Until the connection is given up; says why.
    async fn serve(&self, open: &Open, writes: &mut mpsc::Receiver<Kept>) -> String {
        let mut looks = interval(LOOK_EVERY);
        looks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut batch = Vec::with_capacity(AT_ONCE);
        loop {
            tokio::select! {
                why = open.broken() => return why,
                _ = writes.recv_many(&mut batch, AT_ONCE) => {
                    let written = join_all(batch.drain(..).map(|kept| write(open, kept)));
                    for written in written.await {
                        self.note(written);
                    }
                }
                _ = looks.tick() => {
                    let key = self.probe_key();
                    if self.fault.lock().is_some() {
                        if let Ok(refused) = probe(open, &key).await {
                            self.tell(refused.map(|refused| takes_none(&refused)), true);
                        }
                    } else {
                        // What is wrong is counted by the connection.
                        let _ = sign_of_life(open, &key).await;
                    }
                }
            }
        }
    }

    /// A write that was refused is told of: reads go on, and nothing new is kept.
    fn note(&self, written: Went<()>) {
        match written {
            Went::Well(()) => count_write("kept"),
            Went::Late => count_write("late"),
            Went::Refused(why) => {
                count_write("error");
                self.tell(Some(takes_none(&why)), true);
            }
        }
    }

    /// One line for each change, and the figure that shows it.
    fn tell(&self, fault: Option<String>, is_up: bool) {
        metrics::gauge!("seawall_redis_up").set(if is_up { 1.0 } else { 0.0 });
        let mut known = self.fault.lock();
        match (&*known, &fault) {
            (None, Some(why)) => tracing::warn!(
                why,
                "{} does not help: requests go on without it",
                self.config.place
            ),
            (Some(_), None) => tracing::info!("{} works again", self.config.place),
            // Nothing was wrong: the first time.
            (None, None) => tracing::info!("{} is used", self.config.place),
            (Some(_), Some(_)) => {}
        }
        *known = fault;
    }

    fn probe_key(&self) -> String {
        format!("{}:probe", self.head)
    }
}

async fn write(open: &Open, kept: Kept) -> Went<()> {
    let mut set = Cmd::new();
    set.arg("SET")
        .arg(kept.key)
        .arg(&kept.value[..])
        .arg("PX")
        .arg(kept.lasts.as_millis() as u64);
    open.judge(timeout(ANSWER, open.line.ask(&set)).await)
}

/// Whether the connection does all that is asked of it. What Redis says to a write that it does not take.
pub(crate) async fn probe(open: &Open, key: &str) -> Result<Option<String>, String> {
    sign_of_life(open, key).await?;
    let kept = Kept {
        key: key.to_owned(),
        value: Bytes::from_static(b"1"),
        lasts: PROBE,
    };
    match write(open, kept).await {
        Went::Refused(why) if open.is_broken() => Err(why),
        Went::Refused(why) => Ok(Some(why)),
        Went::Well(()) => Ok(None),
        Went::Late => Err(late()),
    }
}

pub(crate) async fn sign_of_life(open: &Open, key: &str) -> Result<(), String> {
    let mut ask = Cmd::new();
    ask.arg("GETRANGE").arg(key).arg(0).arg(0);
    match open.judge(timeout(ANSWER, open.line.ask::<Bytes>(&ask)).await) {
        Went::Well(_) => Ok(()),
        Went::Refused(why) => Err(why),
        Went::Late => Err(late()),
    }
}

fn late() -> String {
    format!("no answer within {} ms", ANSWER.as_millis())
}

fn takes_none(why: &str) -> String {
    format!("it keeps nothing new: {why}")
}

pub(crate) fn count_write(result: &'static str) {
    metrics::counter!("seawall_redis_writes_total", "result" => result).increment(1);
}
