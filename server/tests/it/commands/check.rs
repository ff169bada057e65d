//! `seawall check`, `seawall --help` and the answers that programs read.

use std::{fs, net::TcpListener, process::Command};

use serde_json::Value;

use crate::harness::{Seawall, on_both, on_both_with, server::on_directories_with};

/// The findings, and whether the command was content.
fn check(seawall: &Seawall, listen: &str) -> (Vec<Value>, bool) {
    let output = seawall.try_run(&["check", "--json", "--listen", listen], "");
    let findings: Vec<Value> = serde_json::from_slice(&output.stdout)
        .unwrap_or_else(|error| panic!("{error}: {}", String::from_utf8_lossy(&output.stderr)));
    (findings, output.status.success())
}

fn state<'a>(findings: &'a [Value], part: &str) -> &'a str {
    let of = findings.iter().filter(|finding| finding["part"] == part);
    let states: Vec<_> = of
        .map(|finding| finding["state"].as_str().expect("a state"))
        .collect();
    assert_eq!(states.len(), 1, "{part}: {findings:#?}");
    states[0]
}

#[test]
fn all_is_well_with_and_without_a_server() {
    on_both(async |seawall| {
        let address = seawall.address().to_owned();
        let parts = |findings: &[Value]| {
            findings
                .iter()
                .map(|finding| finding["part"].as_str().expect("a part").to_owned())
                .collect::<Vec<_>>()
        };
        let (beside, well) = check(seawall, &address);
        assert!(well, "{beside:#?}");
        for part in [
            "configuration",
            "data directory",
            "database",
            "schema",
            "key",
            "store",
            "listen",
            "server",
        ] {
            assert_eq!(state(&beside, part), "ok");
        }
        seawall.stop();
        let (alone, well) = check(seawall, &address);
        assert!(well, "{alone:#?}");
        assert_eq!(parts(&alone), parts(&beside));
        seawall.launch();
    });
}

#[test]
fn what_is_wrong_is_named_with_what_to_do() {
    on_directories_with(&[], async |seawall| {
        seawall.stop();
        let taken = TcpListener::bind("127.0.0.1:0").expect("a port");
        let address = taken.local_addr().expect("bound").to_string();
        let (findings, well) = check(seawall, &address);
        assert_eq!((state(&findings, "listen"), well), ("failed", false));
        drop(taken);

        let (storage, aside) = (seawall.data().join("storage"), seawall.data().join("aside"));
        fs::rename(&storage, &aside).expect("moved");
        let (findings, well) = check(seawall, &address);
        assert_eq!((state(&findings, "store"), well), ("failed", false));
        fs::create_dir(&storage).expect("made");
        let (findings, well) = check(seawall, &address);
        assert_eq!(
            (state(&findings, "store"), well),
            ("failed", false),
            "an empty mount point"
        );
        assert_eq!(
            fs::read_dir(&storage).expect("read").count(),
            0,
            "nothing was put there"
        );
        fs::remove_dir(&storage).expect("empty");
        fs::rename(&aside, &storage).expect("moved back");

        let (key, aside) = (
            seawall.data().join("secretkey"),
            seawall.data().join("aside"),
        );
        fs::rename(&key, &aside).expect("moved");
        let (findings, well) = check(seawall, &address);
        assert_eq!((state(&findings, "key"), well), ("failed", false));
        assert!(
            !key.exists(),
            "no new key is made beside a database that has one"
        );
        let next = seawall.data().join("secretkey.next");
        fs::rename(&aside, &next).expect("moved");
        fs::write(&key, "another key of enough bytes").expect("written");
        let (findings, _) = check(seawall, &address);
        assert_eq!(
            state(&findings, "key"),
            "ok",
            "a start takes the one beside it"
        );
        fs::rename(&next, &key).expect("moved back");

        let output = seawall.try_run(&["check", "--config", "/nowhere/seawall.toml"], "");
        assert_eq!(output.status.code(), Some(1));
        let told = String::from_utf8_lossy(&output.stdout).into_owned();
        assert!(
            told.contains("failed") && told.contains("/nowhere/seawall.toml"),
            "{told}"
        );
        seawall.launch();
    });
}

#[test]
fn a_check_before_the_first_start_makes_nothing() {
    let home = tempfile::tempdir().expect("a directory");
    let data = home.path().join("data");
    let output = Command::new(env!("CARGO_BIN_EXE_seawall"))
        .env_clear()
        .args(["check", "--listen", "127.0.0.1:0", "--data"])
        .arg(&data)
        .output()
        .expect("runs");
    let told = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(output.status.success(), "{told}");
    assert!(told.contains("made at the first start"), "{told}");
    assert_eq!(fs::read_dir(home.path()).expect("read").count(), 0);
}

fn help(words: &[&str]) -> String {
    let output = Command::new(env!("CARGO_BIN_EXE_seawall"))
        .args(words)
        .arg("--help")
        .output()
        .expect("runs");
    assert!(output.status.success(), "{words:?}");
    String::from_utf8(output.stdout).expect("text")
}

/// The subcommands that a help text lists.
fn listed(help: &str) -> Vec<String> {
    let commands = help.lines().skip_while(|line| *line != "Commands:").skip(1);
    let commands = commands.take_while(|line| line.starts_with("  "));
    let names = commands
        .filter(|line| !line.starts_with("   "))
        .filter_map(|line| line.split_whitespace().next());
    names
        .filter(|name| *name != "help")
        .map(str::to_owned)
        .collect()
}

#[test]
fn every_command_explains_itself_and_can_answer_in_json() {
    let top = listed(&help(&[]));
    let order = [
        "serve",
        "check",
        "health",
        "user",
        "project",
        "robot",
        "repository",
        "artifact",
        "gc",
        "space",
        "retention",
        "trash",
        "fsck",
        "scrub",
        "import",
        "key",
        "node",
        "job",
        "migrate",
        "move",
        "version",
    ];
    assert_eq!(top, order);
    let mut leaves = 0;
    let mut waiting: Vec<Vec<String>> = top.into_iter().map(|name| vec![name]).collect();
    while let Some(words) = waiting.pop() {
        let text = help(&words.iter().map(String::as_str).collect::<Vec<_>>());
        let below = listed(&text);
        if below.is_empty() {
            leaves += 1;
            // One runs until it is stopped, and one has JSON for its only answer.
            let is_plain = matches!(words[0].as_str(), "serve" | "health");
            assert!(is_plain || text.contains("--json"), "{words:?}: {text}");
        }
        waiting.extend(
            below
                .into_iter()
                .map(|name| [words.clone(), vec![name]].concat()),
        );
    }
    assert!(leaves > 30, "{leaves}");
}

#[test]
fn authorities_that_cannot_be_read_are_named_and_stop_no_server() {
    let home = tempfile::tempdir().unwrap();
    let file = home.path().join("ca.pem");
    fs::write(&file, "no certificate").unwrap();
    let files = format!("[{:?}]", file.display().to_string());
    let settings = [
        ("SEAWALL_TRUST__CA_FILES", files.as_str()),
        ("HTTP_PROXY", "http://me:secret@127.0.0.1:1"),
    ];
    on_both_with(&settings, async |seawall| {
        let (findings, well) = check(seawall, seawall.address());
        assert!(!well);
        let of = |part: &str| -> Vec<&Value> {
            findings
                .iter()
                .filter(|finding| finding["part"] == part)
                .collect()
        };
        let broken = of("trust")[1];
        assert_eq!(broken["state"], "failed");
        let seen = broken["seen"].as_str().expect("a text");
        assert!(seen.contains(&file.display().to_string()), "{seen}");
        let proxy = of("proxy")[0];
        assert_eq!(proxy["state"], "warning");
        assert!(!proxy.to_string().contains("secret"), "{proxy}");
    });
}
