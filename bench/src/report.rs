//! What was measured: as an aligned table for people, as JSON for programs.

use std::fmt::Write;

use serde::Serialize;

use crate::{
    servers::{Kind, Server},
    stats::{Percentiles, median},
};

/// What a figure counts, and so whether more is better.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub enum Unit {
    #[serde(rename = "GiB/s")]
    GibPerSecond,
    #[serde(rename = "MiB/s")]
    MibPerSecond,
    #[serde(rename = "requests/s")]
    RequestsPerSecond,
    #[serde(rename = "images/s")]
    ImagesPerSecond,
    #[serde(rename = "tags/s")]
    TagsPerSecond,
    #[serde(rename = "ms")]
    Milliseconds,
    #[serde(rename = "MB")]
    Megabytes,
}

impl Unit {
    fn name(self) -> &'static str {
        match self {
            Self::GibPerSecond => "GiB/s",
            Self::MibPerSecond => "MiB/s",
            Self::RequestsPerSecond => "requests/s",
            Self::ImagesPerSecond => "images/s",
            Self::TagsPerSecond => "tags/s",
            Self::Milliseconds => "ms",
            Self::Megabytes => "MB",
        }
    }

    fn counts_bytes(self) -> bool {
        matches!(self, Self::GibPerSecond | Self::MibPerSecond)
    }

    /// How many times better `value` is than `other`.
    fn ratio(self, value: f64, other: f64) -> f64 {
        match self {
            Self::Milliseconds | Self::Megabytes => other / value,
            _ => value / other,
        }
    }
}

/// One line of questions to all servers.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Case {
    pub measure: &'static str,
    pub name: String,
    pub unit: Unit,
}

/// What one server did in one round of a case.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Round {
    pub value: f64,
    pub operations: u64,
    pub bytes: u64,
    pub seconds: f64,
    pub server_cpu_seconds: f64,
    pub client_cpu_seconds: f64,
    pub peak_resident_bytes: u64,
    pub latency_ms: Option<Percentiles>,
    pub note: Option<String>,
}

#[derive(Serialize)]
struct Row {
    #[serde(flatten)]
    case: Case,
    server: Kind,
    rounds: Vec<Round>,
}

#[derive(Serialize)]
struct Failure {
    measure: &'static str,
    server: Kind,
    why: String,
}

#[derive(Serialize)]
pub struct Report {
    pub machine: String,
    pub servers: Vec<Server>,
    pub left_out: Vec<String>,
    rows: Vec<Row>,
    failures: Vec<Failure>,
    #[serde(skip)]
    rounds_due: usize,
}

const HEADINGS: [&str; 13] = [
    "measure",
    "server",
    "median",
    "unit",
    "min",
    "max",
    "server CPU",
    "",
    "client CPU",
    "p50 ms",
    "p99 ms",
    "peak MB",
    "x best peer",
];

impl Report {
    pub fn new(
        machine: String,
        servers: Vec<Server>,
        left_out: Vec<String>,
        rounds_due: usize,
    ) -> Self {
        Self {
            machine,
            servers,
            left_out,
            rows: Vec::new(),
            failures: Vec::new(),
            rounds_due,
        }
    }

    pub fn add(&mut self, case: &Case, server: Kind, round: Round) {
        match self
            .rows
            .iter_mut()
            .find(|row| row.case == *case && row.server == server)
        {
            Some(row) => row.rounds.push(round),
            None => self.rows.push(Row {
                case: case.clone(),
                server,
                rounds: vec![round],
            }),
        }
    }

    /// A server that could not be measured; what it did before stands.
    pub fn fail(&mut self, measure: &'static str, server: Kind, why: String) {
        self.failures.push(Failure {
            measure,
            server,
            why,
        });
    }

    pub fn table(&self) -> String {
        let mut lines = vec![HEADINGS.map(str::to_owned)];
        let mut cases: Vec<&Case> = Vec::new();
        for row in &self.rows {
            if !cases.contains(&&row.case) {
                cases.push(&row.case);
            }
        }
        let mut notes = Vec::new();
        for case in cases {
            let mut rows: Vec<&Row> = self.rows.iter().filter(|row| row.case == *case).collect();
            rows.sort_by_key(|row| row.server as u8);
            let best = self.best_peer(case);
            for row in rows {
                lines.push(row.cells(best));
                notes.extend(row.notes(self.rounds_due));
            }
        }
        let mut text = self.heading();
        text.push_str(&aligned(&lines));
        for note in notes {
            let _ = writeln!(text, "* {note}");
        }
        for Failure {
            measure,
            server,
            why,
        } in &self.failures
        {
            let _ = writeln!(text, "! {measure}: {} failed: {why}", server.name());
        }
        text
    }

    fn heading(&self) -> String {
        let mut text = format!("{}\n", self.machine);
        for server in &self.servers {
            let _ = writeln!(
                text,
                "{}: {} ({})",
                server.kind.name(),
                server.version,
                server.program.display()
            );
        }
        for what in &self.left_out {
            let _ = writeln!(text, "left out: {what}");
        }
        text.push('\n');
        text
    }

    fn best_peer(&self, case: &Case) -> Option<f64> {
        self.rows
            .iter()
            .filter(|row| row.case == *case && row.server != Kind::Seawall)
            .map(Row::value)
            .reduce(|best, value| {
                if case.unit.ratio(value, best) > 1.0 {
                    value
                } else {
                    best
                }
            })
    }
}

impl Row {
    fn value(&self) -> f64 {
        self.median(|round| round.value)
    }

    fn median(&self, of: impl Fn(&Round) -> f64) -> f64 {
        median(self.rounds.iter().map(of))
    }

    fn cells(&self, best_peer: Option<f64>) -> [String; 13] {
        let unit = self.case.unit;
        let values = || self.rounds.iter().map(|round| round.value);
        let (server_cpu, cpu_unit) = self.cpu(|round| round.server_cpu_seconds);
        let (client_cpu, _) = self.cpu(|round| round.client_cpu_seconds);
        let latency = |of: fn(&Percentiles) -> f64| {
            let rounds: Vec<f64> = self
                .rounds
                .iter()
                .filter_map(|round| round.latency_ms.as_ref().map(of))
                .collect();
            if rounds.is_empty() {
                String::new()
            } else {
                figure(median(rounds))
            }
        };
        let peak = self.median(|round| round.peak_resident_bytes as f64) / 1e6;
        [
            format!("{} {}", self.case.measure, self.case.name),
            self.server.name().to_owned(),
            figure(self.value()),
            unit.name().to_owned(),
            figure(values().fold(f64::INFINITY, f64::min)),
            figure(values().fold(0.0, f64::max)),
            server_cpu,
            cpu_unit.to_owned(),
            client_cpu,
            latency(|l| l.p50),
            latency(|l| l.p99),
            if peak > 0.0 {
                figure(peak)
            } else {
                String::new()
            },
            best_peer.map_or_else(String::new, |best| {
                format!("{:.2}", unit.ratio(self.value(), best))
            }),
        ]
    }

    /// CPU time beside the rate: per GiB where bytes count, else per operation.
    fn cpu(&self, of: impl Fn(&Round) -> f64) -> (String, &'static str) {
        let (per, unit): (fn(&Round) -> f64, _) = if self.case.unit.counts_bytes() {
            (|round| round.bytes as f64 / f64::from(1 << 30), "s/GiB")
        } else {
            (|round| round.operations as f64 / 1e6, "us each")
        };
        if self.rounds.iter().any(|round| per(round) <= 0.0) {
            return (String::new(), "");
        }
        (figure(self.median(|round| of(round) / per(round))), unit)
    }

    fn notes(&self, rounds_due: usize) -> Vec<String> {
        let title = format!(
            "{} {}, {}",
            self.case.measure,
            self.case.name,
            self.server.name()
        );
        let mut notes: Vec<String> = self
            .rounds
            .iter()
            .filter_map(|round| round.note.as_ref())
            .map(|note| format!("{title}: {note}"))
            .collect();
        notes.sort();
        notes.dedup();
        if self.rounds.len() < rounds_due {
            notes.push(format!(
                "{title}: {} of {rounds_due} rounds",
                self.rounds.len()
            ));
        }
        notes
    }
}

fn figure(value: f64) -> String {
    match value.abs() {
        v if v >= 100.0 => format!("{value:.0}"),
        v if v >= 10.0 => format!("{value:.1}"),
        v if v >= 0.1 => format!("{value:.2}"),
        _ => format!("{value:.3}"),
    }
}

/// Text columns (the first two and the units) to the left, figures to the right.
fn aligned(lines: &[[String; 13]]) -> String {
    let width = |column: usize| {
        lines
            .iter()
            .map(|line| line[column].len())
            .max()
            .unwrap_or(0)
    };
    let widths: Vec<usize> = (0..13).map(width).collect();
    let mut text = String::new();
    for line in lines {
        let mut out = String::new();
        for (column, cell) in line.iter().enumerate() {
            let width = widths[column];
            let _ = match column {
                0 | 1 | 3 | 7 => write!(out, "{cell:<width$}  "),
                _ => write!(out, "{cell:>width$}  "),
            };
        }
        text.push_str(out.trim_end());
        text.push('\n');
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn report(unit: Unit, values: &[(Kind, &[f64])]) -> Report {
        let mut report = Report::new("here".into(), Vec::new(), vec!["zot: not found".into()], 1);
        let case = Case {
            measure: "m",
            name: "c".into(),
            unit,
        };
        for (server, rounds) in values {
            for value in *rounds {
                let round = Round {
                    value: *value,
                    bytes: 1 << 30,
                    server_cpu_seconds: 0.5,
                    ..Round::default()
                };
                report.add(&case, *server, round);
            }
        }
        report
    }

    fn last_cell(table: &str, server: &str) -> String {
        let line = table.lines().find(|line| line.contains(server)).unwrap();
        line.split_whitespace().last().unwrap().to_owned()
    }

    #[test]
    fn ratios_are_to_the_best_peer_and_above_one_when_better() {
        let rate = report(
            Unit::MibPerSecond,
            &[
                (Kind::Zot, &[90.0]),
                (Kind::Seawall, &[100.0, 300.0, 200.0]),
                (Kind::Distribution, &[100.0]),
            ],
        );
        let table = rate.table();
        assert_eq!(last_cell(&table, "seawall"), "2.00");
        assert_eq!(last_cell(&table, "distribution"), "1.00");
        assert_eq!(last_cell(&table, "m c      zot"), "0.90");

        let time = report(
            Unit::Milliseconds,
            &[(Kind::Distribution, &[8.0]), (Kind::Seawall, &[2.0])],
        );
        assert_eq!(last_cell(&time.table(), "seawall"), "4.00");
    }

    #[test]
    fn the_table_names_what_is_missing() {
        let mut report = report(Unit::MibPerSecond, &[(Kind::Distribution, &[1.0])]);
        report.rounds_due = 5;
        report.fail("m", Kind::Seawall, "no".into());
        let table = report.table();
        for line in [
            "left out: zot: not found",
            "* m c, distribution: 1 of 5 rounds",
            "! m: seawall failed: no",
        ] {
            assert!(table.lines().any(|found| found == line), "{line}\n{table}");
        }
    }
}
