//! Redis or Valkey, where an operator has one: what one node found out is at hand for the others. It only speeds up. Only what cannot
//! go stale is kept there, and whoever reads it proves it before he uses it: anybody may have written it. While it is slow or away
//! nothing waits for it.

mod breaker;
mod connect;
mod keep;
pub mod place;

use std::{
    fmt::{self, Write},
    sync::Arc,
    time::{Duration, Instant},
};

use bytes::Bytes;
use parking_lot::{Mutex, RwLock};
use redis::Cmd;
use tokio::sync::mpsc;

pub use connect::Config;

use breaker::{Open, Went};
use keep::Kept;

/// The longest that a request waits for an answer.
const PATIENCE: Duration = Duration::from_millis(50);
/// Values on their way; what is too much is not kept. They are small contents, so that is at most 16 MiB.
const MOST_WAITING: usize = 64;
/// A larger content is not kept here.
pub const MOST_CONTENT: usize = 256 << 10;

/// What is kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// A content's bytes, by its digest.
    Content,
    /// That a password was right, see `auth`.
    Check,
}

impl Kind {
    fn as_str(self) -> &'static str {
        match self {
            Self::Content => "content",
            Self::Check => "check",
        }
    }

    fn keep_for(self) -> Duration {
        match self {
            Self::Content => Duration::from_hours(24),
            Self::Check => Duration::from_mins(1),
        }
    }

    /// Bytes of a value; a longer one is not ours.
    fn most(self) -> usize {
        match self {
            Self::Content => MOST_CONTENT,
            Self::Check => 64,
        }
    }
}

/// What nodes share; without a Redis nothing. A clone is another handle on the same.
#[derive(Clone, Default)]
pub struct Cache(Option<Arc<Inner>>);

struct Inner {
    config: Config,
    /// The head of the keys' names, with the identity of the store: registries that share a Redis do not meet.
    head: String,
    open: RwLock<Option<Arc<Open>>>,
    fault: Mutex<Option<String>>,
    writes: mpsc::Sender<Kept>,
    /// Taken by the one who keeps the connection.
    to_write: Mutex<Option<mpsc::Receiver<Kept>>>,
}

impl fmt::Debug for Cache {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0 {
            Some(inner) => write!(f, "Cache({})", inner.config.place),
            None => f.write_str("Cache(none)"),
        }
    }
}

impl Cache {
    /// Connects to nobody yet: that is [`Self::keep`]'s work.
    pub fn new(config: Config, store_id: &str) -> Self {
        let (writes, to_write) = mpsc::channel(MOST_WAITING);
        let inner = Inner {
            head: format!("{}:{store_id}", config.prefix),
            config,
            open: RwLock::default(),
            fault: Mutex::default(),
            writes,
            to_write: Mutex::new(Some(to_write)),
        };
        Self(Some(Arc::new(inner)))
    }

    pub fn is_configured(&self) -> bool {
        self.0.is_some()
    }

    /// What does not work just now.
    pub fn fault(&self) -> Option<String> {
        self.0.as_ref()?.fault.lock().clone()
    }

    /// The value of this name; none too where Redis is away or slow. It may be anybody's.
    pub async fn get(&self, kind: Kind, name: &str) -> Option<Bytes> {
        let inner = self.0.as_ref()?;
        let found = inner.get(kind, name).await;
        let result = match &found {
            Ok(Some(_)) => "hit",
            Ok(None) => "miss",
            Err(result) => result,
        };
        metrics::counter!("seawall_redis_reads_total", "kind" => kind.as_str(), "result" => result)
            .increment(1);
        found.ok().flatten()
    }

    /// Keeps a value for a while, unless Redis is away or too slow. Waits for nothing.
    pub fn put(&self, kind: Kind, name: &str, value: Bytes) {
        let Some(inner) = &self.0 else { return };
        if value.is_empty() || value.len() > kind.most() || inner.open().is_none() {
            return;
        }
        let kept = Kept {
            key: inner.key(kind, name),
            value,
            lasts: kind.keep_for(),
        };
        if inner.writes.try_send(kept).is_err() {
            keep::count_write("dropped");
        }
    }

    /// Tells that a value was not what its name stands for.
    pub fn count_forged(&self, kind: Kind) {
        metrics::counter!("seawall_redis_forged_total", "kind" => kind.as_str()).increment(1);
    }
}

impl Inner {
    async fn get(&self, kind: Kind, name: &str) -> Result<Option<Bytes>, &'static str> {
        let open = self.open().ok_or("away")?;
        // No more than a value of ours can have: whoever writes there decides how much there is.
        let mut ask = Cmd::new();
        ask.arg("GETRANGE")
            .arg(self.key(kind, name))
            .arg(0)
            .arg(kind.most());
        let answer = tokio::time::timeout(PATIENCE, open.line.ask::<Bytes>(&ask)).await;
        match open.judge(answer) {
            Went::Well(value) => {
                Ok(Some(value).filter(|value| !value.is_empty() && value.len() <= kind.most()))
            }
            Went::Refused(_) => Err("error"),
            Went::Late => Err("late"),
        }
    }

    /// The connection, while it is any good.
    fn open(&self) -> Option<Arc<Open>> {
        let open = self.open.read().clone();
        open.filter(|open| !open.is_broken())
    }

    fn key(&self, kind: Kind, name: &str) -> String {
        let mut key = self.head.clone();
        // Writing into a string cannot fail.
        let _ = write!(key, ":{}:{name}", kind.as_str());
        key
    }
}

/// What `seawall check` saw of a Redis.
#[derive(Debug)]
pub struct Seen {
    pub took: Duration,
    /// What it says to a write, when it takes none.
    pub refused: Option<String>,
}

/// Connects and tries what the server does. The error says why that does not go.
pub async fn look(config: &Config) -> Result<Seen, String> {
    let line = config.connect().await.map_err(|error| error.to_string())?;
    let open = Open::new(line);
    let key = format!("{}:probe", config.prefix);
    let refused = keep::probe(&open, &key).await?;
    let start = Instant::now();
    keep::sign_of_life(&open, &key).await?;
    Ok(Seen {
        took: start.elapsed(),
        refused,
    })
}
