//! A real rsyslog, over TCP and over UDP, which is restarted on the way.

use std::{fs, path::Path};

use testkit::{Companion, free_port, left_out, program, scratch_directory};

use super::*;

/// rsyslog with one file for what comes in; none where it is not installed.
fn rsyslog(home: &Path, port: u16) -> Option<Companion> {
    let Some(binary) = program("rsyslogd") else {
        left_out("rsyslog", "rsyslog is not installed");
        return None;
    };
    let shown = home.display();
    let config = format!(
        "global(workDirectory=\"{shown}\")\n\
         module(load=\"imtcp\")\nmodule(load=\"imudp\")\n\
         template(name=\"fields\" type=\"string\" string=\"%syslogfacility-text%|%programname%|%msgid%|%structured-data%|%msg%\\n\")\n\
         input(type=\"imtcp\" address=\"127.0.0.1\" port=\"{port}\")\n\
         input(type=\"imudp\" address=\"127.0.0.1\" port=\"{port}\")\n\
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
        // What was on its way when it ended comes again, and all of that.
        let mut next = 0;
        for number in numbers(&written(home.path())) {
            assert!(number <= next, "{next} to {number} are missing");
            next = next.max(number + 1);
        }
        assert_eq!(next, 1000);
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
