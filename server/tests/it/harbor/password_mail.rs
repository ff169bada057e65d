//! A new password by mail, with a real SMTP server (aiosmtpd).

use std::{
    fs,
    path::PathBuf,
    process::Command,
    time::{Duration, Instant},
};

use rcgen::generate_simple_self_signed;
use serde_json::json;
use tempfile::TempDir;
use testkit::Companion;

use crate::harness::{Browser, PASSWORD, Seawall, on_both, on_both_with, server::on_sqlite_with};

const PATIENCE: Duration = Duration::from_secs(30);

/// A mail server that ends with the test.
struct Sink {
    home: TempDir,
    port: u16,
    _server: Companion,
}

impl Sink {
    /// None where it is not installed.
    fn start() -> Option<Self> {
        let python = PathBuf::from("/usr/bin/python3");
        let has_it = Command::new(&python)
            .args(["-c", "import aiosmtpd"])
            .output();
        if !has_it.is_ok_and(|output| output.status.success()) {
            testkit::left_out(
                "aiosmtpd",
                "the SMTP server aiosmtpd (python3-aiosmtpd) is not installed",
            );
            return None;
        }
        let home = tempfile::tempdir().expect("a directory");
        let made = generate_simple_self_signed(["127.0.0.1".to_owned()]).expect("a certificate");
        fs::write(home.path().join("server.pem"), made.cert.pem()).expect("written");
        fs::write(
            home.path().join("server.key"),
            made.signing_key.serialize_pem(),
        )
        .expect("written");
        let [port, tls] = [(); 2].map(|()| testkit::free_port().expect("a port"));
        let script = concat!(
            env!("CARGO_MANIFEST_DIR"),
            "/../outbound/tests/outbound/smtp_sink.py"
        );
        let log = home.path().join("log");
        let arguments = [
            script.to_owned(),
            home.path().display().to_string(),
            port.to_string(),
            tls.to_string(),
        ];
        let server = Companion::start(&python, arguments, &log).expect("it starts");
        wait_for("the mail server", || {
            fs::read_to_string(&log)
                .expect("a log")
                .contains("ready")
                .then_some(())
        });
        Some(Self {
            home,
            port,
            _server: server,
        })
    }

    fn letters(&self) -> Vec<serde_json::Value> {
        fs::read_to_string(self.home.path().join("mail"))
            .unwrap_or_default()
            .lines()
            .map(|line| serde_json::from_str(line).expect("JSON"))
            .collect()
    }

    /// The text of the letter number `n`, once it is there.
    fn letter(&self, n: usize) -> serde_json::Value {
        wait_for("a letter", || self.letters().get(n).cloned())
    }

    fn settings(&self) -> Vec<(&'static str, String)> {
        vec![
            ("SEAWALL_SETTINGS__EMAIL_HOST", "127.0.0.1".to_owned()),
            ("SEAWALL_SETTINGS__EMAIL_PORT", self.port.to_string()),
            ("SEAWALL_SETTINGS__EMAIL_USERNAME", "user".to_owned()),
            ("SEAWALL_SETTINGS__EMAIL_PASSWORD", "pass".to_owned()),
            (
                "SEAWALL_SETTINGS__EMAIL_FROM",
                "registry@example.com".to_owned(),
            ),
            ("SEAWALL_SETTINGS__EMAIL_INSECURE", "true".to_owned()),
            (
                "SEAWALL_SERVER__EXTERNAL_URL",
                "https://registry.example".to_owned(),
            ),
        ]
    }
}

/// Looks again and again, since another process does it.
fn wait_for<T>(what: &str, mut look: impl FnMut() -> Option<T>) -> T {
    let start = Instant::now();
    loop {
        if let Some(found) = look() {
            return found;
        }
        assert!(start.elapsed() < PATIENCE, "no {what}");
        std::thread::sleep(Duration::from_millis(20));
    }
}

fn token(letter: &serde_json::Value) -> String {
    // Long lines are cut, and `=` is written out.
    let text = letter["text"].as_str().expect("a text");
    let text = text
        .replace("=\r\n", "")
        .replace("=\n", "")
        .replace("=3D", "=");
    let (_, rest) = text
        .split_once("https://registry.example/reset_password?reset_uuid=")
        .expect("a link to the registry as it is configured");
    rest.chars()
        .take_while(|c| c.is_ascii_alphanumeric() || "-_".contains(*c))
        .collect()
}

async fn alice(seawall: &Seawall) {
    let user = json!({
        "username": "alice", "email": "alice@example.com", "realname": "Alice", "password": PASSWORD,
    });
    seawall
        .admin()
        .api("POST", "/users", &user)
        .await
        .expect(201);
}

#[test]
fn a_letter_brings_somebody_back_in_once() {
    let Some(sink) = Sink::start() else {
        return;
    };
    let settings = sink.settings();
    let settings: Vec<_> = settings.iter().map(|(k, v)| (*k, v.as_str())).collect();
    let seen = std::cell::Cell::new(0);
    on_both_with(&settings, async |seawall| {
        alice(seawall).await;
        let mut session = Browser::signed_in(seawall.stranger(), "alice").await;
        let mut browser = Browser::open(seawall.stranger()).await;
        // Nobody learns who has an address.
        for email in ["nobody@example.com", "alice@example.com"] {
            let answer = browser.get(&format!("/c/sendEmail?email={email}")).await;
            assert!(answer.expect(200).body.is_empty());
        }
        let letter = sink.letter(seen.get());
        seen.set(seen.get() + 1);
        assert!(letter.to_string().contains("alice@example.com"));
        let token = token(&letter);

        for (uuid, password, message) in [
            ("", "Another12345", "Reset uuid is blank."),
            ("nonsense", "Another12345", "User does not exist"),
            (&token, "", "password_is_required"),
        ] {
            let fields = [("reset_uuid", uuid), ("password", password)];
            let refused = browser.form("/c/reset", &fields).await;
            assert_eq!(refused.refused(400, "BAD_REQUEST").message(), message);
        }
        let weak = [("reset_uuid", token.as_str()), ("password", "weak")];
        browser.form("/c/reset", &weak).await.expect(400);
        let good = [("reset_uuid", token.as_str()), ("password", "Another12345")];
        browser.form("/c/reset", &good).await.expect(200);
        browser.form("/c/reset", &good).await.expect(400);

        session.get("/api/v2.0/users/current").await.expect(401);
        browser.login("alice", PASSWORD).await.expect(401);
        browser.login("alice", "Another12345").await.expect(200);
        assert_eq!(
            sink.letters().len(),
            seen.get(),
            "nobody else was written to"
        );
    });
}

#[test]
fn only_so_many_letters_go_to_one_person() {
    let Some(sink) = Sink::start() else {
        return;
    };
    let settings = sink.settings();
    let settings: Vec<_> = settings.iter().map(|(k, v)| (*k, v.as_str())).collect();
    on_sqlite_with(&settings, async |seawall| {
        alice(seawall).await;
        let stranger = seawall.stranger();
        let mut told_to_wait = false;
        for _ in 0..12 {
            let answer = stranger.get("/c/sendEmail?email=alice@example.com").await;
            told_to_wait |= answer.status == 429;
        }
        assert!(told_to_wait, "an address may not ask without end");
        sink.letter(0);
        wait_for("end of the jobs", || {
            let jobs = seawall.run(&["job", "list", "--json"]);
            (!jobs.contains("\"ready\"") && !jobs.contains("\"running\"")).then_some(())
        });
        let letters = sink.letters();
        assert!(letters.len() <= 3, "{}", letters.len());
        let mut browser = Browser::open(seawall.stranger()).await;
        for (n, letter) in letters.iter().enumerate() {
            let token = token(letter);
            let fields = [("reset_uuid", token.as_str()), ("password", "Another12345")];
            let status = if n + 1 == letters.len() { 200 } else { 400 };
            browser.form("/c/reset", &fields).await.expect(status);
        }
    });
}

#[test]
fn without_a_mail_server_nobody_is_promised_a_letter() {
    on_both(async |seawall| {
        let stranger = seawall.stranger();
        stranger
            .get("/c/sendEmail?email=alice@example.com")
            .await
            .refused(412, "PRECONDITION");
        for email in ["", "nonsense", "a@example.com%0d%0abcc:x@example.com"] {
            stranger
                .get(&format!("/c/sendEmail?email={email}"))
                .await
                .refused(400, "BAD_REQUEST");
        }
    });
}
