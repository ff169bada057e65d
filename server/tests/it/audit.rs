//! The audit's way out of a running server, and what is forgotten of deleted users.

use std::{
    io::{BufRead, BufReader},
    net::TcpListener,
    time::Duration,
};

use crate::harness::on_both_with;

/// The next message with counted octets.
fn message(from: &mut impl BufRead) -> String {
    let mut length = Vec::new();
    from.read_until(b' ', &mut length).expect("a length");
    let length = String::from_utf8(length).expect("digits");
    let mut text = vec![0; length.trim().parse().expect("a number")];
    from.read_exact(&mut text).expect("the message");
    String::from_utf8(text).expect("a text")
}

#[test]
fn a_site_gets_what_happens_in_its_own_collector() {
    let collector = TcpListener::bind("127.0.0.1:0").unwrap();
    let endpoint = collector.local_addr().unwrap().to_string();
    let settings = [(
        "SEAWALL_SETTINGS__AUDIT_LOG_FORWARD_ENDPOINT",
        endpoint.as_str(),
    )];
    on_both_with(&settings, async |seawall| {
        // The forwarder begins where the audit ends when it first looks: so long, projects are made.
        let mut tries = 0;
        collector.set_nonblocking(true).unwrap();
        let stream = loop {
            tries += 1;
            assert!(tries < 100, "nothing is forwarded");
            seawall.run(&["project", "create", &format!("made-{tries}")]);
            match collector.accept() {
                Ok((stream, _)) => break stream,
                Err(_) => tokio::time::sleep(Duration::from_millis(200)).await,
            }
        };
        stream.set_nonblocking(false).unwrap();
        stream
            .set_read_timeout(Some(Duration::from_secs(20)))
            .unwrap();
        // What another database's long transactions have kept back comes first.
        let mut stream = BufReader::new(stream);
        loop {
            let text = message(&mut stream);
            assert!(text.starts_with("<110>1 "), "{text}");
            assert!(text.contains(" audit "), "{text}");
            if text.contains("resource=\"made-") {
                break;
            }
        }
    });
}

#[test]
fn a_deleted_users_name_is_forgotten_where_that_is_asked_for() {
    let settings = [
        ("SEAWALL_GDPR__DELETE_USER", "true"),
        ("SEAWALL_GDPR__AUDIT_LOGS", "true"),
    ];
    on_both_with(&settings, async |seawall| {
        seawall.make_user("alice");
        seawall.run(&["user", "delete", "alice"]);
        let start = std::time::Instant::now();
        loop {
            let jobs = seawall.run(&["job", "list", "--json"]);
            if jobs.contains("is forgotten") {
                break;
            }
            assert!(start.elapsed() < Duration::from_mins(1), "{jobs}");
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    });
}
