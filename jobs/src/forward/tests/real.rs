//! A real rsyslog, over TCP, UDP and TLS, which is restarted on the way.

use std::{fs, path::Path};

use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use testkit::{Companion, free_port, left_out, program, scratch_directory};

use super::*;

/// rsyslog with one file for what comes in; none where it is not installed.
fn rsyslog(home: &Path, port: u16) -> Option<Companion> {
    start(
        home,
        port,
        "module(load=\"imtcp\")\nmodule(load=\"imudp\")\n",
        true,
    )
}

/// The same over TLS alone, with a certificate of `ca.pem`.
fn rsyslog_with_tls(home: &Path, port: u16) -> Option<Companion> {
    let driver = [
        "/usr/lib/x86_64-linux-gnu",
        "/usr/lib/aarch64-linux-gnu",
        "/usr/lib64",
    ]
    .iter()
    .any(|place| Path::new(place).join("rsyslog/lmnsd_gtls.so").exists());
    if !driver {
        left_out("rsyslog", "rsyslog's TLS (rsyslog-gnutls) is not installed");
        return None;
    }
    let shown = home.display();
    let modules = format!(
        "global(defaultNetstreamDriver=\"gtls\" defaultNetstreamDriverCAFile=\"{shown}/ca.pem\" \
         defaultNetstreamDriverCertFile=\"{shown}/server.pem\" defaultNetstreamDriverKeyFile=\"{shown}/server.key\")\n\
         module(load=\"imtcp\" streamDriver.name=\"gtls\" streamDriver.mode=\"1\" streamDriver.authMode=\"anon\")\n"
    );
    start(home, port, &modules, false)
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

fn start(home: &Path, port: u16, modules: &str, udp: bool) -> Option<Companion> {
    let Some(binary) = program("rsyslogd") else {
        left_out("rsyslog", "rsyslog is not installed");
        return None;
    };
    let shown = home.display();
    let udp = if udp {
        format!("input(type=\"imudp\" address=\"127.0.0.1\" port=\"{port}\")\n")
    } else {
        String::new()
    };
    let config = format!(
        "global(workDirectory=\"{shown}\")\n\
         {modules}\
         template(name=\"fields\" type=\"string\" string=\"%syslogfacility-text%|%programname%|%msgid%|%structured-data%|%msg%\\n\")\n\
         input(type=\"imtcp\" address=\"127.0.0.1\" port=\"{port}\")\n\
         {udp}\
         action(type=\"omfile\" file=\"{shown}/messages\" template=\"fields\")\n"
    );
    fs::write(home.join("rsyslog.conf"), config).unwrap();
    let arguments = [
        "-n".to_owned(),
        "-f".to_owned(),
        format!("{shown}/rsyslog.conf"),
        "-i".to_owned(),
        format!("{shown}/pid"),
    ];
    Some(Companion::start(&binary, arguments, &home.join("log")).unwrap())
}

fn written(home: &Path) -> Vec<String> {
    let text = fs::read_to_string(home.join("messages")).unwrap_or_default();
    text.lines().map(str::to_owned).collect()
}

async fn until_written(home: &Path, last: u64) {
    until(async || numbers(&written(home)).last() == Some(&last)).await;
}

/// What was on its way when a connection broke comes again, and all of that.
fn nothing_is_missing(home: &Path, count: u64) {
    let mut next = 0;
    for number in numbers(&written(home)) {
        assert!(number <= next, "{next} to {number} are missing");
        next = next.max(number + 1);
    }
    assert_eq!(next, count);
}

#[test]
fn rsyslog_has_every_row_in_order_though_it_was_restarted() {
    on_both(async |test| {
        let home = scratch_directory().unwrap();
        let port = free_port().unwrap();
        let Some(server) = rsyslog(home.path(), port) else {
            return;
        };
        forward_to(&test.db, &format!("127.0.0.1:{port}")).await;
        let running = Running::start(&test.db);
        until_kept(&test.db).await;
        tell(&test.db, 0..200).await;
        until_written(home.path(), 199).await;
        drop(server);
        tell(&test.db, 200..1000).await;
        let server = rsyslog(home.path(), port);
        until_written(home.path(), 999).await;
        running.stop().await;
        drop(server);
        nothing_is_missing(home.path(), 1000);
        let line = written(home.path()).pop().unwrap();
        let fields: Vec<&str> = line.split('|').collect();
        assert_eq!(&fields[1..3], ["audit", "pull_artifact"], "{line}");
        assert!(
            fields[3].starts_with("[audit@32473 operator=\"alice\""),
            "{line}"
        );
        assert!(
            fields[4].contains("action:pull, resource:library/app:999"),
            "{line}"
        );
    });
}

#[test]
fn rsyslog_gets_rows_over_udp_too() {
    on_both(async |test| {
        let home = scratch_directory().unwrap();
        let port = free_port().unwrap();
        let Some(_server) = rsyslog(home.path(), port) else {
            return;
        };
        // Over UDP nobody says whether it listens yet.
        let reached = async || {
            tokio::net::TcpStream::connect(("127.0.0.1", port))
                .await
                .is_ok()
        };
        until(reached).await;
        forward_to(&test.db, &format!("udp://127.0.0.1:{port}")).await;
        let running = Running::start(&test.db);
        until_kept(&test.db).await;
        tell(&test.db, 0..20).await;
        until_written(home.path(), 19).await;
        running.stop().await;
    });
}

#[test]
fn rsyslog_gets_rows_over_tls_too() {
    on_both(async |test| {
        let home = scratch_directory().unwrap();
        certificates(home.path());
        let port = free_port().unwrap();
        let Some(server) = rsyslog_with_tls(home.path(), port) else {
            return;
        };
        let trust = Trust::new(&[home.path().join("ca.pem")]);
        forward_to(&test.db, &format!("tls://127.0.0.1:{port}")).await;
        let running = Running::trusting(&test.db, &trust);
        until_kept(&test.db).await;
        tell(&test.db, 0..100).await;
        until_written(home.path(), 99).await;
        until_kept(&test.db).await;
        drop(server);
        tell(&test.db, 100..300).await;
        let server = rsyslog_with_tls(home.path(), port);
        until_written(home.path(), 299).await;
        running.stop().await;
        drop(server);
        nothing_is_missing(home.path(), 300);
    });
}
