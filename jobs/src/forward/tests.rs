//! Rows of the audit on their way to collectors that die and come back, on both databases.

mod collector;
mod real;

use std::time::Duration;

use db::{
    audit::{self, Entry, New},
    settings,
};
use model::{audit::Event, settings::Changes, time::Timestamp};
use testkit::{TestDatabase, on_both, on_postgres};

use self::collector::Collector;
use super::*;
use crate::world::audit_until;

const PATIENCE: Duration = Duration::from_mins(1);

fn impatient() -> Config {
    Config {
        poll: Duration::from_millis(20),
        lease: Duration::from_secs(10),
        settle: Duration::from_millis(150),
        longest_pause: Duration::from_millis(200),
    }
}

/// A forwarder at work, until it is stopped.
struct Running {
    tracker: TaskTracker,
    shutdown: CancellationToken,
}

impl Running {
    fn start(db: &Db) -> Self {
        Self::trusting(db, &Trust::default())
    }

    fn trusting(db: &Db, trust: &Trust) -> Self {
        let (tracker, shutdown) = (TaskTracker::new(), CancellationToken::new());
        tracker.spawn(Forwarder::new(db, trust, impatient(), shutdown.clone()).run());
        Self { tracker, shutdown }
    }

    async fn stop(self) {
        self.shutdown.cancel();
        self.tracker.close();
        self.tracker.wait().await;
    }
}

async fn set(db: &Db, name: &'static str, value: &str) {
    let wanted = Changes::from([(name, value.to_owned())]);
    db.write(move |tx| {
        let wanted = wanted.clone();
        Box::pin(async move {
            let now = tx.now().await?;
            settings::set_all(tx, &wanted, now).await
        })
    })
    .await
    .unwrap();
}

async fn forward_to(db: &Db, endpoint: &str) {
    set(db, "audit_log_forward_endpoint", endpoint).await;
}

/// Writes rows whose resources are these numbers, several in a transaction.
async fn tell(db: &Db, numbers: std::ops::Range<u64>) {
    let numbers: Vec<u64> = numbers.collect();
    for some in numbers.chunks(37) {
        let some = some.to_vec();
        db.write(move |tx| {
            let some = some.clone();
            Box::pin(async move {
                let now = tx.now().await?;
                for number in some {
                    audit::append(tx, &pull(number, now)).await?;
                }
                Ok(())
            })
        })
        .await
        .unwrap();
    }
}

fn pull(number: u64, at: Timestamp) -> New {
    New {
        at,
        project: None,
        actor: "alice".to_owned(),
        address: Some("192.0.2.7".parse().unwrap()),
        event: Event::PullArtifact,
        resource: format!("library/app:{number}"),
        description: None,
        succeeded: true,
    }
}

/// The number of a message; none for those that tell of settings.
fn number(message: &str) -> Option<u64> {
    let (_, rest) = message.split_once("resource=\"library/app:")?;
    rest.split('"').next()?.parse().ok()
}

fn numbers(messages: &[String]) -> Vec<u64> {
    messages.iter().filter_map(|text| number(text)).collect()
}

/// Waits until the last message that was read is this one.
async fn until_read(collector: &Collector, last: u64) {
    until(async || numbers(&collector.messages()).last() == Some(&last)).await;
}

async fn until(mut done: impl AsyncFnMut() -> bool) {
    let start = Instant::now();
    while !done().await {
        assert!(start.elapsed() < PATIENCE, "it takes too long");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

/// Waits until all rows are known to have been read.
async fn until_kept(db: &Db) {
    until(async || {
        let mut reader = db.reader().await.unwrap();
        let end = audit::end(&mut reader).await.unwrap();
        // Beyond it when the last that was read was kept for that alone, and is gone.
        let kept = cursors::find(&mut reader, NAME).await.unwrap();
        kept.is_some_and(|kept| kept >= end)
    })
    .await;
}

/// Waits until readers see so many rows of [`tell`].
async fn until_told(db: &Db, count: usize) {
    let is_told = |row: &&Entry| row.resource.starts_with("library/app:");
    audit_until(db, |rows| rows.iter().filter(is_told).count() == count).await;
}

#[test]
fn a_collector_that_dies_again_and_again_misses_nothing() {
    on_both(async |test| {
        let mut collector = Collector::start();
        forward_to(&test.db, &collector.address.to_string()).await;
        let running = Running::start(&test.db);
        until_kept(&test.db).await;
        tell(&test.db, 0..50).await;
        until_read(&collector, 49).await;
        // Away while much happens; then it dies thrice in the middle of a stream.
        collector.die();
        tell(&test.db, 50..3000).await;
        for most in [1, 700, 1300] {
            collector.come_back(most);
            let before = collector.messages().len();
            until(async || collector.messages().len() >= before + most).await;
        }
        collector.come_back(usize::MAX);
        until_read(&collector, 2999).await;
        until_kept(&test.db).await;
        let mut next = 0;
        for connection in collector.connections() {
            let read = numbers(&connection);
            let Some(&first) = read.first() else { continue };
            assert!(first <= next, "{next} to {first} are missing");
            let in_order = read.windows(2).all(|two| two[1] == two[0] + 1);
            assert!(in_order, "{read:?}");
            next = read.last().unwrap() + 1;
        }
        assert_eq!(next, 3000);
        running.stop().await;
    });
}

#[test]
fn after_an_orderly_end_nothing_is_sent_twice() {
    on_both(async |test| {
        let collector = Collector::start();
        forward_to(&test.db, &collector.address.to_string()).await;
        let running = Running::start(&test.db);
        until_kept(&test.db).await;
        tell(&test.db, 0..10).await;
        until_read(&collector, 9).await;
        running.stop().await;
        tell(&test.db, 10..20).await;
        let running = Running::start(&test.db);
        until_read(&collector, 19).await;
        running.stop().await;
        let all: Vec<u64> = (0..20).collect();
        assert_eq!(numbers(&collector.messages()), all);
    });
}

#[test]
fn rows_for_forwarding_alone_go_once_they_were_read() {
    on_both(async |test| {
        let mut collector = Collector::start();
        forward_to(&test.db, &collector.address.to_string()).await;
        set(&test.db, "skip_audit_log_database", "true").await;
        let running = Running::start(&test.db);
        until_kept(&test.db).await;
        collector.die();
        tell(&test.db, 0..100).await;
        until_told(&test.db, 100).await;
        collector.come_back(usize::MAX);
        until_read(&collector, 99).await;
        until_told(&test.db, 0).await;
        running.stop().await;
    });
}

#[test]
fn another_endpoint_gets_what_comes_after_it_was_set() {
    on_both(async |test| {
        let running = Running::start(&test.db);
        tell(&test.db, 0..10).await;
        until_told(&test.db, 10).await;
        tokio::time::sleep(impatient().poll * 5).await;
        let (first, second) = (Collector::start(), Collector::start());
        forward_to(&test.db, &first.address.to_string()).await;
        tell(&test.db, 10..20).await;
        until_read(&first, 19).await;
        until_kept(&test.db).await;
        forward_to(&test.db, &format!("tcp://{}", second.address)).await;
        tell(&test.db, 20..30).await;
        until_read(&second, 29).await;
        until_kept(&test.db).await;
        // Nobody wants it for a while: what happened then is not made up for.
        forward_to(&test.db, "").await;
        tell(&test.db, 30..40).await;
        until(async || {
            let mut reader = test.db.reader().await.unwrap();
            cursors::find(&mut reader, NAME).await.unwrap().is_none()
        })
        .await;
        until_told(&test.db, 40).await;
        tokio::time::sleep(impatient().poll * 5).await;
        forward_to(&test.db, &first.address.to_string()).await;
        tell(&test.db, 40..50).await;
        until_read(&first, 49).await;
        running.stop().await;
        let expected: Vec<u64> = (10..20).chain(40..50).collect();
        let got = numbers(&first.messages());
        assert!(got.ends_with(&expected[10..]), "{got:?}");
        assert!(
            got.iter().all(|number| expected.contains(number)),
            "{got:?}"
        );
        let got = numbers(&second.messages());
        assert!(got.starts_with(&[20]) || got.starts_with(&[19]), "{got:?}");
    });
}

#[test]
fn one_node_forwards_and_another_goes_on_when_it_ends() {
    on_postgres(async |test: &TestDatabase| {
        let collector = Collector::start();
        forward_to(&test.db, &collector.address.to_string()).await;
        let (one, two) = (test.node("first").await, test.node("second").await);
        let first = Running::start(&one);
        until_kept(&test.db).await;
        let second = Running::start(&two);
        tell(&test.db, 0..100).await;
        until_read(&collector, 99).await;
        first.stop().await;
        tell(&test.db, 100..200).await;
        until_read(&collector, 199).await;
        second.stop().await;
        let all: Vec<u64> = (0..200).collect();
        assert_eq!(numbers(&collector.messages()), all);
        one.close().await;
        two.close().await;
    });
}

#[test]
fn a_message_says_who_did_what_in_harbors_words() {
    let entry = Entry {
        cursor: Cursor::default(),
        at: Timestamp(1_767_323_045_678_900),
        project: None,
        actor: "robot$\"ci]".to_owned(),
        address: Some("192.0.2.7".to_owned()),
        event: "create_artifact".to_owned(),
        operation: "create".to_owned(),
        resource_type: "artifact".to_owned(),
        resource: "library/app:1.0".to_owned(),
        description: Some("push artifact:\nlibrary/app:1.0".to_owned()),
        succeeded: false,
        forward_only: false,
    };
    let mut line = Vec::new();
    message::write(&message::header("node one"), &mut line, &entry);
    let expected = format!(
        "<108>1 2026-01-02T03:04:05.678Z nodeone audit {} create_artifact [audit@32473 operator=\"robot$\\\"ci\\]\" \
         time=\"2026-01-02T03:04:05.678Z\" resourceType=\"artifact\" operation=\"create\" resource=\"library/app:1.0\" \
         result=\"false\" client=\"192.0.2.7\"] action:create, resource:library/app:1.0, \
         operation_description:push artifact: library/app:1.0\n",
        std::process::id()
    );
    assert_eq!(String::from_utf8(line).unwrap(), expected);
}
