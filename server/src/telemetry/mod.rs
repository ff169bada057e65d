//! What the server tells of itself: logs, the access log, metrics. Nothing here makes a request wait.

mod access;
mod events;
mod file;
mod line;
mod metrics;
mod sink;
mod style;
mod syslog;
mod target;

use std::{
    io::{self, IsTerminal},
    panic,
    sync::Arc,
    time::{Duration, Instant},
};

use ::api::access::AccessLog;
use anyhow::Context;
use model::time::Clock;
use outbound::{Trust, syslog::Severity};
use serde::{
    Deserialize, Deserializer,
    de::{self, Unexpected},
};
use tracing_subscriber::{
    Layer,
    filter::{LevelFilter, Targets},
    layer::SubscriberExt,
    util::SubscriberInitExt,
};

use self::{
    events::Events,
    file::RotatingFile,
    sink::{Output, QUEUE_BYTES, Sink},
    style::Style,
    syslog::Syslog,
};
pub use self::{metrics::Metrics, target::Target};
use crate::config::values;

/// How long the end of the process waits for the last lines.
const LAST_LINES: Duration = Duration::from_secs(2);

/// `[log]`
#[derive(Clone, Debug, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    pub level: Filter,
    pub format: Format,
    pub target: Target,
    /// One line for each request.
    pub access: bool,
    /// Where these lines go; without it to `target`.
    pub access_target: Option<Target>,
    /// A file that is larger is rotated; never with 0.
    #[serde(deserialize_with = "values::size")]
    pub rotate_size: u64,
    /// How many rotated files are kept.
    pub rotate_keep: usize,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            level: Filter(quiet(Targets::new().with_default(tracing::Level::INFO))),
            format: Format::Text,
            target: Target::Stderr,
            access: true,
            access_target: None,
            rotate_size: 100 << 20,
            rotate_keep: 7,
        }
    }
}

/// The form of log lines.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Format {
    Text,
    Json,
}

/// Which events are logged: a level, or levels for parts of the program (`info,db=debug`).
#[derive(Clone, Debug, PartialEq)]
pub struct Filter(Targets);

impl<'de> Deserialize<'de> for Filter {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        let form =
            "`error`, `warn`, `info`, `debug`, `trace` or `off`, also for parts: `info,db=debug`";
        // The parser takes a word that is no level for a part of the program, and would log that alone.
        let is_level = |word: &str| {
            !word.is_empty() && word.parse::<tracing::level_filters::LevelFilter>().is_ok()
        };
        let well_formed = text.split(',').all(|part| {
            is_level(
                part.rsplit_once('=')
                    .map_or(part, |(_, level)| level)
                    .trim(),
            )
        });
        match text.parse::<Targets>() {
            Ok(targets) if well_formed => Ok(Self(quiet(targets))),
            Ok(_) | Err(_) => Err(de::Error::invalid_value(Unexpected::Str(&text), &form)),
        }
    }
}

/// Libraries that tell of every repetition and of what PostgreSQL remarks, unless somebody looks for it.
const TALKATIVE: [&str; 2] = ["object_store", "tokio_postgres"];

/// Who asks for `info` does not mean them. What is said of them by name counts.
fn quiet(targets: Targets) -> Targets {
    if targets.default_level() != Some(LevelFilter::INFO) {
        return targets;
    }
    let named: Vec<_> = targets.iter().map(|(name, _)| name.to_owned()).collect();
    let unnamed = TALKATIVE
        .iter()
        .filter(|name| !named.iter().any(|n| n == *name));
    unnamed.fold(targets, |targets, name| {
        targets.with_target(*name, LevelFilter::WARN)
    })
}

/// The logs and metrics of this process.
pub struct Telemetry {
    events: Sink,
    access: Option<Sink>,
    pub metrics: Metrics,
}

impl Telemetry {
    /// Opens the targets and becomes the place where this process's events and figures go; once in a process.
    /// `node` is the host that syslog messages name; `trust` judges a syslog server's certificate.
    pub fn start(config: &Config, node: &str, trust: &Trust) -> anyhow::Result<Self> {
        let clock = Clock::default();
        let metrics = Metrics::install(clock.now())?;
        let (events, access) = open_sinks(config, node, trust)?;
        tracing_subscriber::registry()
            .with(Events::new(events.clone(), clock).with_filter(config.level.0.clone()))
            .try_init()
            .context("cannot become the log of this process")?;
        log_panics();
        Ok(Self {
            events,
            access,
            metrics,
        })
    }

    /// What the HTTP faces hand their records to; none when the access log is switched off.
    pub fn access_log(&self) -> Option<AccessLog> {
        self.access.clone().map(access_log)
    }

    /// Opens log files anew (SIGHUP).
    pub fn reopen(&self) {
        self.events.reopen();
        if let Some(access) = &self.access {
            access.reopen();
        }
    }

    /// Writes out what is left, at the end of the process. Blocks for at most two seconds.
    pub fn close(&self) {
        let deadline = Instant::now() + LAST_LINES;
        let sinks = || {
            [Some(&self.events), self.access.as_ref()]
                .into_iter()
                .flatten()
        };
        sinks().for_each(|sink| sink.stop_at(deadline));
        for sink in sinks() {
            // What is missing then is counted as dropped, and there is nobody left to tell.
            let _ = sink.flush(deadline);
        }
    }
}

/// What balancers and Prometheus ask every second: worth a line when it does not go well.
const ROUTINE: [&str; 3] = ["health.live", "health.ready", "metrics"];

fn access_log(sink: Sink) -> AccessLog {
    Arc::new(move |record| {
        if record.status == 200 && ROUTINE.contains(&record.route) {
            return;
        }
        let severity = if record.status >= 500 {
            Severity::Warning
        } else {
            Severity::Info
        };
        sink.write(severity, record.time, |buf, style| {
            access::write(buf, style, record);
        });
    })
}

/// The sink of events and that of the access log, which are one when they have the same target.
fn open_sinks(config: &Config, node: &str, trust: &Trust) -> anyhow::Result<(Sink, Option<Sink>)> {
    let events = open_sink("events", &config.target, config, node, trust)?;
    let access = match &config.access_target {
        _ if !config.access => None,
        Some(target) if *target != config.target => {
            Some(open_sink("access", target, config, node, trust)?)
        }
        Some(_) | None => Some(events.clone()),
    };
    Ok((events, access))
}

fn open_sink(
    name: &'static str,
    target: &Target,
    config: &Config,
    node: &str,
    trust: &Trust,
) -> anyhow::Result<Sink> {
    let colours = *target == Target::Stderr
        && io::stderr().is_terminal()
        && std::env::var_os("NO_COLOR").is_none();
    let style = match config.format {
        Format::Json => Style::Json,
        Format::Text => Style::Text {
            time: !matches!(target, Target::Syslog(_)),
            colours,
        },
    };
    let (output, header) = match target {
        Target::Stderr => (Output::Stderr, None),
        Target::File(path) => {
            let file = RotatingFile::open(path.clone(), config.rotate_size, config.rotate_keep)
                .with_context(|| format!("cannot open the log file `{}`", path.display()))?;
            (Output::File(file), None)
        }
        Target::Syslog(address) => (
            Output::Syslog(Syslog::new(address.clone(), trust.clone())),
            Some(syslog::header(node)),
        ),
    };
    Ok(Sink::start(name, output, style, header, QUEUE_BYTES)?)
}

/// A panic is an event like any other; the default hook would write its lines between ours, past the target.
fn log_panics() {
    panic::set_hook(Box::new(|info| {
        let place = info.location().map(ToString::to_string).unwrap_or_default();
        let message = info.payload_as_str().unwrap_or("unknown");
        let backtrace = std::backtrace::Backtrace::capture();
        let backtrace = (backtrace.status() == std::backtrace::BacktraceStatus::Captured)
            .then(|| backtrace.to_string());
        tracing::error!(place, backtrace, "panicked: {message}");
    }));
}

#[cfg(test)]
mod tests;
