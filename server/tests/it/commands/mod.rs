//! `seawall` commands beside a running server and without one: the same commands, the same answers.

mod accounts;
mod care;
mod check;
mod housekeeping;
mod rebuild;
mod socket;

use serde_json::Value;

use crate::harness::Seawall;

/// A command's answer as JSON.
#[track_caller]
fn json(seawall: &Seawall, arguments: &[&str]) -> Value {
    let text = seawall.run(&[arguments, &["--json"]].concat());
    serde_json::from_str(&text).unwrap_or_else(|error| panic!("{arguments:?}: {error}: {text}"))
}

/// Why a command failed. It says nothing on stdout then.
#[track_caller]
fn refused(seawall: &Seawall, arguments: &[&str], input: &str) -> String {
    let output = seawall.try_run(arguments, input);
    let words = String::from_utf8(output.stderr).expect("text");
    assert_eq!(output.status.code(), Some(1), "{arguments:?}: {words}");
    assert_eq!(String::from_utf8_lossy(&output.stdout), "", "{arguments:?}");
    assert!(words.starts_with("seawall: "), "{arguments:?}: {words}");
    words
}

/// A command that reads a password.
#[track_caller]
fn with_input(seawall: &Seawall, arguments: &[&str], input: &str) -> String {
    let output = seawall.try_run(arguments, input);
    assert!(
        output.status.success(),
        "{arguments:?}: {}",
        String::from_utf8_lossy(&output.stderr)
    );
    String::from_utf8(output.stdout).expect("text")
}
