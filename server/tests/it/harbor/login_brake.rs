//! The brake on guessing passwords, as whoever guesses and whoever owns the account see it.

use testkit::Database;

use crate::harness::{Answer, Browser, Client, PASSWORD, Seawall, on_both_with};

/// So that a test may come from many addresses.
const PROXY: (&str, &str) = ("SEAWALL_SERVER__TRUSTED_PROXIES", "[\"127.0.0.1\"]");

/// A try from an address, over the way that docker takes.
async fn try_from(seawall: &Seawall, address: &str, name: &str, password: &str) -> Answer {
    let client: Client = seawall.stranger().with_basic(name, password);
    client
        .request("GET", "/service/token?service=harbor-registry")
        .header("x-forwarded-for", address)
        .send()
        .await
}

/// Sixteen guesses at once, each from an address of its own.
async fn guess(seawall: &Seawall, name: &str) {
    let guesses: Vec<_> = (0..16)
        .map(|n| (format!("198.51.100.{n}"), format!("Guess{n}")))
        .collect();
    let tries = guesses
        .iter()
        .map(|(address, guess)| try_from(seawall, address, name, guess));
    let answers = futures_util::future::join_all(tries).await;
    assert!(answers.iter().all(|answer| answer.status != 200));
}

#[test]
fn who_guesses_waits_and_the_owner_does_not() {
    on_both_with(&[PROXY], async |seawall| {
        seawall.make_user("alice");
        let mut session = Browser::signed_in(seawall.stranger(), "alice").await;
        try_from(seawall, "192.0.2.1", "alice", PASSWORD)
            .await
            .expect(200);

        guess(seawall, "alice").await;
        // Many addresses are one guesser to the account.
        let refused = try_from(seawall, "198.51.100.100", "alice", "Guess").await;
        let refused = refused.refused(429, "TOO_MANY_REQUEST");
        let wait: u64 = refused.header("retry-after").parse().expect("seconds");
        assert!((1..=60).contains(&wait), "{wait}");
        // Also with the right password: the answer must not tell.
        try_from(seawall, "198.51.100.101", "alice", PASSWORD)
            .await
            .expect(429);

        // From where she signed in lately, and with her session, Alice goes on.
        try_from(seawall, "192.0.2.1", "alice", PASSWORD)
            .await
            .expect(200);
        session.get("/api/v2.0/users/current").await.expect(200);
        // Others come in from anywhere.
        try_from(seawall, "198.51.100.2", "admin", PASSWORD)
            .await
            .expect(200);
    });
}

#[test]
fn a_name_that_nobody_has_is_braked_alike() {
    on_both_with(&[PROXY], async |seawall| {
        for name in ["admin", "nobody"] {
            guess(seawall, name).await;
            try_from(seawall, "198.51.100.100", name, "Guess")
                .await
                .expect(429);
        }
    });
}

#[test]
fn a_machine_that_goes_on_with_an_old_password_holds_up_nobody() {
    on_both_with(&[PROXY], async |seawall| {
        for _ in 0..40 {
            try_from(seawall, "192.0.2.1", "admin", "Outdated12345")
                .await
                .expect(401);
        }
        try_from(seawall, "192.0.2.1", "admin", PASSWORD)
            .await
            .expect(200);
    });
}

#[test]
fn two_nodes_count_together_and_the_page_counts_too() {
    let Some(server) = testkit::postgres() else {
        return;
    };
    let database: Database = server.fresh_database();
    let mut one = Seawall::start_on(database, &[PROXY]);
    let mut two = one.start_beside(&[PROXY]);
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    runtime.block_on(async {
        guess(&one, "admin").await;
        try_from(&two, "198.51.100.100", "admin", "Guess")
            .await
            .expect(429);
        let mut browser = Browser::open(two.stranger()).await;
        browser.login("admin", PASSWORD).await.expect(429);
        // A start forgets nothing.
        two.stop();
        two.launch();
        try_from(&two, "198.51.100.101", "admin", "Guess")
            .await
            .expect(429);
    });
    two.stop();
    one.stop();
}
