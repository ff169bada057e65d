//! Figures for Prometheus: the recorder that the whole program counts into, and what the operating system knows of this process.

use std::{
    fmt::Write,
    fs,
    sync::Arc,
    thread,
    time::{Duration, Instant},
};

use metrics_exporter_prometheus::{Matcher, PrometheusBuilder, PrometheusHandle};
use model::time::Timestamp;
use rustix::{
    param::{clock_ticks_per_second, page_size},
    process::{Resource, getrlimit},
};

/// Bounds for everything that is measured in seconds: from an answer out of memory to a large layer over a slow line.
const SECONDS: [f64; 16] = [
    0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 10.0, 60.0, 300.0,
    1800.0,
];

/// How often histograms are settled; what is observed in between waits in memory.
const UPKEEP_EVERY: Duration = Duration::from_secs(5);

/// The page that `/metrics` shows.
#[derive(Clone)]
pub struct Metrics {
    handle: PrometheusHandle,
    started: Arc<Started>,
}

struct Started {
    at: Timestamp,
    since: Instant,
}

impl Metrics {
    /// Makes the recorder that `metrics::counter!` and its like count into. Can be done once in a process.
    pub fn install(now: Timestamp) -> anyhow::Result<Self> {
        let recorder = PrometheusBuilder::new()
            .set_buckets_for_metric(Matcher::Suffix("_seconds".to_owned()), &SECONDS)?
            .build_recorder();
        let handle = recorder.handle();
        metrics::set_global_recorder(recorder)?;
        metrics::describe_counter!(
            "seawall_log_dropped_total",
            "Log lines dropped because their target was slow or gone."
        );
        let upkeep = handle.clone();
        thread::Builder::new()
            .name("metrics".to_owned())
            .spawn(move || {
                loop {
                    thread::sleep(UPKEEP_EVERY);
                    upkeep.run_upkeep();
                }
            })?;
        Ok(Self {
            handle,
            started: Arc::new(Started {
                at: now,
                since: Instant::now(),
            }),
        })
    }

    /// Everything in Prometheus's text format.
    pub fn render(&self) -> String {
        let mut page = self.handle.render();
        write_process(&mut page, &self.started);
        page
    }
}

/// The figures that Prometheus's own client libraries give, under the same names.
fn write_process(page: &mut String, started: &Started) {
    let mut put = |name: &str, kind: &str, help: &str, value: f64| {
        // Writing into a string cannot fail.
        let _ = write!(
            page,
            "# HELP {name} {help}\n# TYPE {name} {kind}\n{name} {value}\n"
        );
    };
    if let Some(stat) = Stat::read() {
        let cpu = stat.cpu_ticks as f64 / clock_ticks_per_second() as f64;
        put(
            "process_cpu_seconds_total",
            "counter",
            "Processor time used, in seconds.",
            cpu,
        );
        let resident = stat.resident_pages as f64 * page_size() as f64;
        put(
            "process_resident_memory_bytes",
            "gauge",
            "Memory held, in bytes.",
            resident,
        );
        put(
            "process_virtual_memory_bytes",
            "gauge",
            "Address space used, in bytes.",
            stat.virtual_bytes as f64,
        );
        put(
            "process_threads",
            "gauge",
            "Threads of the operating system.",
            stat.threads as f64,
        );
    }
    if let Ok(entries) = fs::read_dir("/proc/self/fd") {
        // The listing itself holds one.
        put(
            "process_open_fds",
            "gauge",
            "Open file descriptors.",
            entries.count().saturating_sub(1) as f64,
        );
    }
    if let Some(limit) = getrlimit(Resource::Nofile).current {
        put(
            "process_max_fds",
            "gauge",
            "The most file descriptors that may be open.",
            limit as f64,
        );
    }
    let start = started.at.0 as f64 / 1e6;
    put(
        "process_start_time_seconds",
        "gauge",
        "When this process started, in seconds since 1970.",
        start,
    );
    put(
        "seawall_uptime_seconds",
        "gauge",
        "How long this process has run.",
        started.since.elapsed().as_secs_f64(),
    );
    let version = env!("CARGO_PKG_VERSION");
    let _ = write!(
        page,
        "# HELP seawall_build_info What was built.\n# TYPE seawall_build_info gauge\nseawall_build_info{{version=\"{version}\"}} 1\n"
    );
}

/// What `/proc/self/stat` says.
#[derive(Debug, PartialEq, Eq)]
struct Stat {
    cpu_ticks: u64,
    threads: u64,
    virtual_bytes: u64,
    resident_pages: u64,
}

impl Stat {
    fn read() -> Option<Self> {
        Self::parse(&fs::read_to_string("/proc/self/stat").ok()?)
    }

    /// Fields are counted from the end of the name, which may hold blanks and brackets (proc(5)).
    fn parse(text: &str) -> Option<Self> {
        let fields: Vec<&str> = text[text.rfind(')')? + 1..]
            .split_ascii_whitespace()
            .collect();
        // proc(5) counts from one, and two fields stand before the state.
        let field = |number: usize| fields.get(number - 3)?.parse::<u64>().ok();
        Some(Self {
            cpu_ticks: field(14)? + field(15)?,
            threads: field(20)?,
            virtual_bytes: field(23)?,
            resident_pages: field(24)?,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stat_is_read_behind_a_name_with_blanks_and_brackets() {
        let text = "42 (a) b (c)) S 1 42 42 0 -1 4194560 100 0 0 0 7 5 0 0 20 0 9 0 12345 1000000 250 18446744073709551615 1";
        let stat = Stat {
            cpu_ticks: 12,
            threads: 9,
            virtual_bytes: 1_000_000,
            resident_pages: 250,
        };
        assert_eq!(Stat::parse(text), Some(stat));
        assert_eq!(Stat::parse("nonsense"), None);
    }

    #[test]
    fn the_page_shows_this_process() {
        let mut page = String::new();
        write_process(
            &mut page,
            &Started {
                at: Timestamp(1_700_000_000_000_000),
                since: Instant::now(),
            },
        );
        let value = |name: &str| -> f64 {
            let line = page
                .lines()
                .find(|line| line.starts_with(&format!("{name} ")))
                .expect(name);
            line[name.len()..].trim().parse().unwrap()
        };
        assert!(value("process_resident_memory_bytes") > 1e6);
        assert!(value("process_open_fds") >= 3.0);
        assert!(value("process_max_fds") >= value("process_open_fds"));
        assert!(value("process_threads") >= 1.0);
        assert!((value("process_start_time_seconds") - 1.7e9).abs() < 1.0);
    }

    #[test]
    fn seconds_become_histograms_with_bounds() {
        let recorder = PrometheusBuilder::new()
            .set_buckets_for_metric(Matcher::Suffix("_seconds".to_owned()), &SECONDS)
            .unwrap()
            .build_recorder();
        let handle = recorder.handle();
        metrics::with_local_recorder(&recorder, || {
            metrics::histogram!("some_seconds").record(0.002);
        });
        assert!(
            handle
                .render()
                .contains("some_seconds_bucket{le=\"0.0025\"} 1"),
            "{}",
            handle.render()
        );
    }
}
