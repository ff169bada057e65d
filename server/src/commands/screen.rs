//! How commands show things: answers on stdout, complaints and progress on stderr.

use std::io::{self, IsTerminal, Write};

use indicatif::{ProgressBar, ProgressStyle};
use serde::Serialize;

use crate::control::Progress;

/// For the person at the terminal. A reader who has seen enough (`| head`) is no fault.
pub(super) fn say(text: &str) {
    let _ = writeln!(io::stdout().lock(), "{text}");
}

/// The error and its causes on one line.
pub(super) fn complain(error: &anyhow::Error) {
    let _ = writeln!(io::stderr().lock(), "seawall: {error:#}");
}

/// For programs.
pub(super) fn json(answer: &impl Serialize) {
    say(&serde_json::to_string_pretty(answer).expect("answers are plain JSON"));
}

/// What was done to which one: `user alice deleted`.
pub(super) fn done(kind: &str, name: &str, what: &str, as_json: bool) {
    if as_json {
        json(&serde_json::json!({ "name": name }));
    } else {
        say(&format!("{kind} {name} {what}"));
    }
}

/// Rows in aligned columns below their heads; the text `none` when there are no rows.
pub(super) fn table<const N: usize>(heads: [&str; N], rows: &[[String; N]], none: &str) {
    if rows.is_empty() {
        say(none);
        return;
    }
    say(aligned(heads, rows).trim_end());
}

fn aligned<const N: usize>(heads: [&str; N], rows: &[[String; N]]) -> String {
    let heads = heads.map(str::to_owned);
    let rows: Vec<[String; N]> = std::iter::once(&heads)
        .chain(rows)
        .map(|row| row.clone().map(|cell| printable(&cell)))
        .collect();
    let mut text = String::new();
    for row in &rows {
        let mut line = String::new();
        for (column, cell) in row.iter().enumerate() {
            let width = rows.iter().map(|row| row[column].chars().count()).max();
            let padding = width.unwrap_or(0) - cell.chars().count() + 2;
            line.push_str(cell);
            line.push_str(&" ".repeat(padding));
        }
        text.push_str(line.trim_end());
        text.push('\n');
    }
    text
}

/// What a stranger wrote into a name must not steer the terminal.
pub(super) fn printable(text: &str) -> String {
    text.chars()
        .map(|c| if c.is_control() { '?' } else { c })
        .collect()
}

/// `2026-01-02T03:04:05.678Z` as people read it.
pub(super) fn time(rfc3339: &str) -> String {
    match (rfc3339.get(..10), rfc3339.get(11..16)) {
        (Some(day), Some(minute)) => format!("{day} {minute}"),
        _ => rfc3339.to_owned(),
    }
}

pub(super) fn yes(value: bool) -> String {
    if value { "yes" } else { "no" }.to_owned()
}

/// A bar on a terminal; nothing anywhere else.
pub(super) struct Bar(Option<ProgressBar>);

impl Bar {
    pub(super) fn new() -> Self {
        let bar = io::stderr().is_terminal().then(|| {
            let bar = ProgressBar::no_length();
            bar.set_style(style("{spinner} {msg}"));
            bar
        });
        Self(bar)
    }

    pub(super) fn show(&self, progress: Progress) {
        let Some(bar) = &self.0 else { return };
        if let Some(total) = progress.total.filter(|total| *total > 0)
            && bar.length().is_none()
        {
            bar.set_style(style("{bar:30} {percent:>3} %  {msg}"));
            bar.set_length(total);
        }
        bar.set_position(progress.done);
        bar.set_message(progress.text);
    }
}

impl Drop for Bar {
    fn drop(&mut self) {
        if let Some(bar) = &self.0 {
            bar.finish_and_clear();
        }
    }
}

fn style(template: &str) -> ProgressStyle {
    ProgressStyle::with_template(template).expect("a template of our own")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_are_aligned_and_lines_have_no_blanks_at_their_ends() {
        let row = |cells: [&str; 3]| cells.map(str::to_owned);
        let rows = [
            row(["alice", "", "yes"]),
            row(["bo", "bo@example.com", "no"]),
        ];
        assert_eq!(
            aligned(["NAME", "E-MAIL", "ADMIN"], &rows),
            "NAME   E-MAIL          ADMIN\n\
             alice                  yes\n\
             bo     bo@example.com  no\n"
        );
    }

    #[test]
    fn nothing_in_a_cell_steers_the_terminal() {
        assert_eq!(
            aligned(["NAME"], &[["a\u{1b}[2Jb\n".to_owned()]]),
            "NAME\na?[2Jb?\n"
        );
    }

    #[test]
    fn times_are_shown_to_the_minute() {
        assert_eq!(time("2026-01-02T03:04:05.678Z"), "2026-01-02 03:04");
        assert_eq!(time("soon"), "soon");
    }
}
