//! Mail to a real SMTP server (aiosmtpd), with and without TLS.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
    time::{Duration, Instant},
};

use outbound::{
    Trust,
    mail::{self, Fault, Letter, Security, Server},
};
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use tempfile::TempDir;
use testkit::Companion;

/// A mail server that ends with the test.
struct Sink {
    home: TempDir,
    plain: u16,
    tls: u16,
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
        let home = tempfile::tempdir().unwrap();
        certificates(home.path());
        let (plain, tls) = (testkit::free_port().unwrap(), testkit::free_port().unwrap());
        let script = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/outbound/smtp_sink.py");
        let log = home.path().join("log");
        let arguments = [
            script.to_owned(),
            home.path().display().to_string(),
            plain.to_string(),
            tls.to_string(),
        ];
        let server = Companion::start(&python, arguments, &log).unwrap();
        let start = Instant::now();
        while !fs::read_to_string(&log).unwrap().contains("ready") {
            assert!(
                start.elapsed() < Duration::from_secs(20),
                "{}",
                fs::read_to_string(&log).unwrap()
            );
            std::thread::sleep(Duration::from_millis(20));
        }
        Some(Self {
            home,
            plain,
            tls,
            _server: server,
        })
    }

    /// Somebody signed in who sends over STARTTLS.
    fn server(&self) -> Server {
        Server {
            host: "127.0.0.1".to_owned(),
            port: self.plain,
            username: "user".to_owned(),
            password: "pass".to_owned(),
            identity: String::new(),
            from: "Seawall <registry@example.com>".to_owned(),
            security: Security::StartTls,
            insecure: false,
        }
    }

    fn trust(&self) -> Trust {
        Trust::new(&[self.home.path().join("ca.pem")])
    }

    fn letters(&self) -> Vec<serde_json::Value> {
        fs::read_to_string(self.home.path().join("mail"))
            .unwrap_or_default()
            .lines()
            .map(|line| serde_json::from_str(line).unwrap())
            .collect()
    }
}

fn certificates(home: &Path) {
    let mut params = CertificateParams::new(Vec::new()).unwrap();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let authority = CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap();
    let key = KeyPair::generate().unwrap();
    let certificate = CertificateParams::new(vec!["127.0.0.1".to_owned()])
        .unwrap()
        .signed_by(&key, &authority)
        .unwrap();
    fs::write(home.join("ca.pem"), authority.pem()).unwrap();
    fs::write(home.join("server.pem"), certificate.pem()).unwrap();
    fs::write(home.join("server.key"), key.serialize_pem()).unwrap();
}

fn letter() -> Letter {
    Letter {
        to: "Ärger <alice@example.com>".to_owned(),
        subject: "Grüße".to_owned(),
        text: "Your new password:\nüäö\n".to_owned(),
    }
}

#[tokio::test]
async fn a_letter_arrives_with_each_kind_of_security() {
    let Some(sink) = Sink::start() else { return };
    for (security, port, tls) in [
        (Security::None, sink.plain, false),
        (Security::StartTls, sink.plain, true),
        (Security::WhenOffered, sink.plain, true),
        (Security::Tls, sink.tls, true),
    ] {
        let server = Server {
            security,
            port,
            ..sink.server()
        };
        mail::send(&server, &letter(), &sink.trust()).await.unwrap();
        let taken = sink.letters().pop().unwrap();
        assert_eq!(taken["tls"], tls, "{security:?}");
        assert_eq!(taken["user"], "user");
        assert_eq!(taken["sender"], "registry@example.com");
        assert_eq!(taken["to"][0], "alice@example.com");
        let text = taken["text"].as_str().unwrap();
        assert!(
            text.contains("From: Seawall <registry@example.com>"),
            "{text}"
        );
        assert!(text.contains("Subject: =?utf-8?"), "{text}");
    }
    assert_eq!(sink.letters().len(), 4);
}

#[tokio::test]
async fn an_identity_goes_with_the_sign_in() {
    let Some(sink) = Sink::start() else { return };
    let server = Server {
        identity: "registry".to_owned(),
        ..sink.server()
    };
    mail::send(&server, &letter(), &sink.trust()).await.unwrap();
    assert_eq!(sink.letters()[0]["user"], "registry/user");
}

#[tokio::test]
async fn a_certificate_of_nobody_is_refused_unless_any_will_do() {
    let Some(sink) = Sink::start() else { return };
    for (security, port) in [(Security::StartTls, sink.plain), (Security::Tls, sink.tls)] {
        let server = Server {
            security,
            port,
            ..sink.server()
        };
        let fault = mail::send(&server, &letter(), &Trust::default()).await;
        assert!(matches!(fault, Err(Fault::Tls { .. })), "{fault:?}");
        let server = Server {
            insecure: true,
            ..server
        };
        mail::send(&server, &letter(), &Trust::default())
            .await
            .unwrap();
    }
    assert_eq!(sink.letters().len(), 2);
}

#[tokio::test]
async fn a_server_without_starttls_gets_no_letter_that_wants_it() {
    let Some(sink) = Sink::start() else { return };
    fs::write(sink.home.path().join("bare"), "").unwrap();
    let fault = mail::send(&sink.server(), &letter(), &sink.trust()).await;
    assert!(matches!(fault, Err(Fault::NoStartTls { .. })), "{fault:?}");
    let server = Server {
        security: Security::WhenOffered,
        ..sink.server()
    };
    mail::send(&server, &letter(), &sink.trust()).await.unwrap();
    assert_eq!(sink.letters()[0]["tls"], false);
}

#[tokio::test]
async fn each_failure_says_what_failed() {
    let Some(sink) = Sink::start() else { return };
    let trust = sink.trust();
    let said = async |server: Server, to: &str| {
        let letter = Letter {
            to: to.to_owned(),
            ..letter()
        };
        let fault = mail::send(&server, &letter, &trust).await.unwrap_err();
        assert!(!format!("{fault} {fault:?}").contains("geheim"), "{fault}");
        fault.to_string()
    };
    let alice = "alice@example.com";
    let wrong = Server {
        password: "geheim".to_owned(),
        ..sink.server()
    };
    let text = said(wrong, alice).await;
    assert!(text.contains("refused the sign-in of `user`"), "{text}");
    assert!(text.contains("535"), "{text}");
    let text = said(sink.server(), "nobody@example.com").await;
    assert!(text.contains("no such mailbox"), "{text}");
    let text = said(sink.server(), "nobody").await;
    assert_eq!(text, "`nobody` is no mail address");
    let nowhere = Server {
        port: testkit::free_port().unwrap(),
        ..sink.server()
    };
    let text = said(nowhere, alice).await;
    assert!(text.contains("cannot be reached"), "{text}");
    assert!(sink.letters().is_empty());
    mail::try_server(&sink.server(), &trust).await.unwrap();
    assert!(sink.letters().is_empty());
}
