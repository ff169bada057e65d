//! How commands find the server, and what happens when it or they go away.

use std::{
    fs,
    os::unix::fs::{FileTypeExt, PermissionsExt},
    process::{Command, Stdio},
    thread,
    time::{Duration, Instant},
};

use super::{json, refused, with_input};
use crate::harness::{Image, Seawall, image::content, on_both, on_both_with};

const PATIENCE: Duration = Duration::from_mins(1);

#[test]
fn the_socket_is_for_its_owner_alone_and_goes_with_the_server() {
    on_both(async |seawall| {
        let path = seawall.data().join("seawall.sock");
        let metadata = fs::metadata(&path).expect("there");
        assert!(metadata.file_type().is_socket());
        assert_eq!(metadata.permissions().mode() & 0o7777, 0o600);
        seawall.stop();
        assert!(!path.exists());
        seawall.launch();
    });
}

#[test]
fn a_second_server_on_the_same_data_is_refused() {
    on_both(async |seawall| {
        let output = seawall.command().output().expect("runs");
        assert_eq!(output.status.code(), Some(1));
        let words = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(
            words.contains("in use by another seawall")
                && words.contains(&seawall.pid().to_string()),
            "{words}"
        );
        seawall.admin().get("/v2/").await.expect(200);
        seawall.run(&["user", "list"]);
    });
}

#[test]
fn the_socket_of_a_killed_server_is_in_nobodys_way() {
    on_both(async |seawall| {
        seawall.kill();
        assert!(seawall.data().join("seawall.sock").exists());
        with_input(
            seawall,
            &["user", "create", "meanwhile", "--password-stdin"],
            "Harbor12345\n",
        );
        seawall.launch();
        seawall
            .stranger()
            .with_basic("meanwhile", "Harbor12345")
            .get("/v2/")
            .await
            .expect(200);
        assert_eq!(
            json(seawall, &["user", "list"]).as_array().map(Vec::len),
            Some(2)
        );
    });
}

#[test]
fn commands_without_a_server_wait_for_one_another() {
    on_both(async |seawall| {
        seawall.stop();
        thread::scope(|scope| {
            let shared = &*seawall;
            let all: Vec<_> = (0..6)
                .map(|number| {
                    scope.spawn(move || shared.run(&["user", "create", &format!("user-{number}")]))
                })
                .collect();
            for one in all {
                assert!(one.join().expect("ends").contains("created"));
            }
        });
        assert_eq!(
            json(seawall, &["user", "list"]).as_array().map(Vec::len),
            Some(7)
        );
        seawall.launch();
    });
}

#[test]
fn a_mistyped_directory_does_not_become_a_registry() {
    let home = tempfile::tempdir().expect("a directory");
    for (name, words) in [
        ("nowhere", "there is no registry at"),
        ("empty", "there is no registry at"),
    ] {
        let data = home.path().join(name);
        if name == "empty" {
            fs::create_dir(&data).expect("made");
        }
        for command in [
            ["user", "list"],
            ["project", "list"],
            ["gc", "--json"],
            ["fsck", "--json"],
        ] {
            let output = Command::new(env!("CARGO_BIN_EXE_seawall"))
                .env_clear()
                .args(command)
                .arg("--data")
                .arg(&data)
                .output()
                .expect("runs");
            assert_eq!(output.status.code(), Some(1));
            let told = String::from_utf8_lossy(&output.stderr).into_owned();
            assert!(told.contains(words), "{told}");
        }
        assert!(!data.join("seawall.sqlite").exists());
        assert_eq!(data.exists(), name == "empty");
    }
}

/// Settings under which a scrub of one blob takes many seconds.
const SLOW: &[(&str, &str)] = &[("SEAWALL_SCRUB__RATE", "128KiB")];

async fn push_something_large(seawall: &Seawall) {
    let image = Image::with_layer("slow", content("slow", 8 << 20));
    seawall.admin().push("library/slow", "v1", &image).await;
}

/// The state of the scrub that the operator asked for, once it satisfies the caller.
fn wait_for_scrub(seawall: &Seawall, wanted: impl Fn(&str) -> bool) {
    let began = Instant::now();
    loop {
        let jobs = json(seawall, &["job", "list"]);
        let scrub = jobs
            .as_array()
            .expect("a list")
            .iter()
            .find(|job| job["kind"] == "scrub")
            .cloned();
        let log = scrub
            .as_ref()
            .map(|job| seawall.run(&["job", "log", &job["id"].to_string()]))
            .unwrap_or_default();
        let state = scrub
            .map(|job| job["state"].as_str().expect("a state").to_owned())
            .unwrap_or_default();
        if log.contains("asked for by operator") && wanted(&state) {
            return;
        }
        assert!(began.elapsed() < PATIENCE, "the scrub is `{state}`");
        thread::sleep(Duration::from_millis(50));
    }
}

fn start_scrub(seawall: &Seawall) -> std::process::Child {
    Command::new(env!("CARGO_BIN_EXE_seawall"))
        .args(["scrub", "--data"])
        .arg(seawall.data())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("starts")
}

#[test]
fn the_work_of_a_command_that_went_away_is_stopped() {
    on_both_with(SLOW, async |seawall| {
        push_something_large(seawall).await;
        let mut scrub = start_scrub(seawall);
        wait_for_scrub(seawall, |state| state == "running");
        scrub.kill().expect("killed");
        scrub.wait().expect("gone");
        let began = Instant::now();
        wait_for_scrub(seawall, |state| state == "stopped");
        assert!(
            began.elapsed() < Duration::from_secs(8),
            "{:?}",
            began.elapsed()
        );
    });
}

#[test]
fn a_job_that_somebody_stops_ends_the_command_that_waits_for_it() {
    on_both_with(SLOW, async |seawall| {
        push_something_large(seawall).await;
        let scrub = start_scrub(seawall);
        wait_for_scrub(seawall, |state| state == "running");
        let jobs = json(seawall, &["job", "list"]);
        let job = jobs
            .as_array()
            .expect("a list")
            .iter()
            .find(|job| job["kind"] == "scrub")
            .expect("it runs");
        seawall.run(&["job", "stop", &job["id"].to_string()]);
        let output = scrub.wait_with_output().expect("ends");
        assert_eq!(output.status.code(), Some(1));
        let words = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(words.contains("stopped"), "{words}");
    });
}

#[test]
fn a_command_whose_server_is_killed_says_so() {
    on_both_with(SLOW, async |seawall| {
        push_something_large(seawall).await;
        let scrub = start_scrub(seawall);
        wait_for_scrub(seawall, |state| state == "running");
        seawall.kill();
        let output = scrub.wait_with_output().expect("ends");
        assert_eq!(output.status.code(), Some(1));
        let words = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(
            words.contains("the server ended before it answered"),
            "{words}"
        );
        seawall.launch();
    });
}

#[test]
fn a_server_that_stops_does_not_wait_for_commands() {
    on_both_with(SLOW, async |seawall| {
        push_something_large(seawall).await;
        let scrub = start_scrub(seawall);
        wait_for_scrub(seawall, |state| state == "running");
        let began = Instant::now();
        seawall.stop();
        assert!(
            began.elapsed() < Duration::from_secs(10),
            "{:?}",
            began.elapsed()
        );
        assert_eq!(
            scrub.wait_with_output().expect("ends").status.code(),
            Some(1)
        );
        seawall.launch();
    });
}

#[test]
fn no_password_is_in_the_log() {
    on_both_with(
        &[
            ("SEAWALL_LOG__TARGET", "file:DATA/server.log"),
            ("SEAWALL_LOG__LEVEL", "trace"),
        ],
        async |seawall| {
            with_input(
                seawall,
                &["user", "create", "alice", "--password-stdin"],
                "Sesame12345\n",
            );
            let made = json(seawall, &["user", "create", "bob"]);
            let robot = json(
                seawall,
                &["robot", "create", "ci", "--project", "library", "--pull"],
            );
            refused(
                seawall,
                &["user", "reset-password", "nobody", "--password-stdin"],
                "Sesame12345\n",
            );
            seawall.stop();
            let log = fs::read_to_string(seawall.data().join("server.log")).expect("a log");
            assert!(
                log.contains("user-create") && log.contains("robot-create"),
                "{log}"
            );
            for secret in [
                "Sesame12345",
                made["secret"].as_str().expect("made up"),
                robot["secret"].as_str().expect("made up"),
            ] {
                assert!(!log.contains(secret), "{secret}");
            }
            seawall.launch();
        },
    );
}
