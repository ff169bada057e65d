//! Each kind of place, and who we are there: users, TLS, Sentinels, a Cluster.

use std::{path::Path, time::Duration};

use cache::{Config, place::Login};
use testkit::{Alike, MASTER};

use crate::{Node, config, run, until};

/// Writes an authority, a certificate of it for 127.0.0.1, and one for a client.
fn certificates(dir: &Path) {
    let mut parameters = rcgen::CertificateParams::new(Vec::new()).unwrap();
    // Redis looks for a certificate's authority by this name.
    parameters
        .distinguished_name
        .push(rcgen::DnType::CommonName, "authority");
    parameters.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
    let key = rcgen::KeyPair::generate().unwrap();
    let authority = rcgen::CertifiedIssuer::self_signed(parameters, key).unwrap();
    std::fs::write(dir.join("ca.pem"), authority.pem()).unwrap();
    for (name, host) in [("server", "127.0.0.1"), ("client", "seawall")] {
        let key = rcgen::KeyPair::generate().unwrap();
        let parameters = rcgen::CertificateParams::new(vec![host.to_owned()]).unwrap();
        let certificate = parameters.signed_by(&key, &authority).unwrap();
        std::fs::write(dir.join(format!("{name}.pem")), certificate.pem()).unwrap();
        std::fs::write(dir.join(format!("{name}.key")), key.serialize_pem()).unwrap();
    }
}

/// Settings for TLS with a client certificate, and how redis-cli gets in then.
fn tls(dir: &Path) -> (String, Vec<String>) {
    certificates(dir);
    let file = |name: &str| dir.join(name).display().to_string();
    let settings = format!(
        "tls-cert-file {}\ntls-key-file {}\ntls-ca-cert-file {}\ntls-auth-clients yes\ntls-replication yes\ntls-cluster yes",
        file("server.pem"),
        file("server.key"),
        file("ca.pem")
    );
    let words = [
        "--tls",
        "--cacert",
        &file("ca.pem"),
        "--cert",
        &file("client.pem"),
        "--key",
    ];
    let mut cli: Vec<String> = words.map(str::to_owned).into();
    cli.push(file("client.key"));
    (settings, cli)
}

/// What a user needs, as docs/redis.md has it.
const ALONE: &str = "+getrange +set";
const WATCHED: &str = "+getrange +set +role";
const CLUSTER: &str = "+getrange +set +cluster|slots +ping";
const SENTINELS: &str = "+role +sentinel|masters";

fn user(commands: &str) -> String {
    format!("user seawall on >eigen ~seawall:* {commands}")
}

/// As that user, with all that [`tls`] asks for.
fn as_user(url: &str, dir: &Path) -> Config {
    Config {
        login: seawall(),
        ca_file: Some(dir.join("ca.pem")),
        client: Some((dir.join("client.pem"), dir.join("client.key"))),
        ..config(url)
    }
}

fn seawall() -> Login {
    Login {
        user: Some("seawall".to_owned()),
        password: Some("eigen".to_owned()),
    }
}

#[test]
fn a_user_with_few_rights_gets_in_over_tls_with_our_own_certificate() {
    let dir = tempfile::tempdir().unwrap();
    let (settings, cli) = tls(dir.path());
    let settings = format!("{settings}\n{}", user(ALONE));
    let cli: Vec<&str> = cli.iter().map(String::as_str).collect();
    let Some(redis) = testkit::redis(&settings, &cli) else {
        return;
    };
    run(async {
        let config = as_user(&format!("rediss://{}", redis.address()), dir.path());
        let node = Node::start(&config).await;
        assert!(node.works().await);
        assert!(cache::look(&config).await.unwrap().refused.is_none());

        // Each of these is needed, and what is missing is said.
        let mut without = config.clone();
        without.client = None;
        cache::look(&without).await.unwrap_err();
        without = config.clone();
        without.ca_file = None;
        let why = cache::look(&without).await.unwrap_err();
        assert!(why.contains("certificate"), "{why}");
        without = config.clone();
        without.ca_file = Some(dir.path().join("none.pem"));
        let why = cache::look(&without).await.unwrap_err();
        assert!(
            why.contains("redis.ca_file") && why.contains("none.pem"),
            "{why}"
        );
        without = config.clone();
        without.login.password = Some("falsch".to_owned());
        let why = cache::look(&without).await.unwrap_err();
        assert!(
            why.to_lowercase().contains("auth") && !why.contains("falsch"),
            "{why}"
        );
        without = config.clone();
        without.prefix = "other".to_owned();
        let why = cache::look(&without).await.unwrap_err();
        assert!(
            why.contains("NOPERM") || why.contains("permission"),
            "{why}"
        );
    });
}

#[test]
fn a_password_that_changes_in_its_file_counts_with_the_next_connection() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("password");
    let Some(redis) = testkit::redis("requirepass one", &["-a", "one", "--no-auth-warning"]) else {
        return;
    };
    run(async {
        std::fs::write(&file, "one\n").unwrap();
        let mut config = config(&format!("redis://{}", redis.address()));
        config.password_file = Some(file.clone());
        let node = Node::start(&config).await;
        redis.ask(&["ACL", "SETUSER", "default", "resetpass", ">two"]);
        std::fs::write(&file, "two\n").unwrap();
        let two = ["-a", "two", "CLIENT", "KILL", "TYPE", "normal"];
        redis.ask(&two);
        until("it is back", async || node.works().await).await;
    });
}

#[test]
fn the_master_that_the_sentinels_name_is_followed_when_it_dies() {
    let Some(mut watched) = testkit::watched("geheim", "wachsam", Alike::default()) else {
        return;
    };
    run(async {
        let sentinels: Vec<_> = watched
            .sentinels
            .iter()
            .map(testkit::Redis::address)
            .collect();
        let mut config = config(&format!(
            "redis+sentinel://:geheim@127.0.0.1:1,{}/{MASTER}/2",
            sentinels.join(",")
        ));
        config.sentinel_login = Login {
            user: None,
            password: Some("wachsam".to_owned()),
        };
        let node = Node::start(&config).await;
        node.put("before", "it").await;
        watched.master.kill();
        until("it is told", async || {
            node.get("before").await;
            node.cache.fault().is_some()
        })
        .await;
        until("the replica has taken over", async || node.works().await).await;
        assert_eq!(node.cache.fault(), None);
        let moved = watched
            .replica
            .ask(&["-n", "2", "EXISTS", "seawall:store:content:works"]);
        assert_eq!(moved, "1");

        // Without the Sentinels' own password none of them says where the master is.
        config.sentinel_login = Login::default();
        cache::look(&config).await.unwrap_err();
    });
}

#[test]
fn the_nodes_of_a_cluster_share_the_keys_and_one_may_die() {
    let Some(mut nodes) = testkit::redis_cluster("geheim", Alike::default()) else {
        return;
    };
    run(async {
        let config = config(&format!("redis-cluster://:geheim@{}", nodes[0].address()));
        let node = Node::start(&config).await;
        for name in 0..60 {
            node.put(&format!("name-{name}"), format!("value {name}"))
                .await;
        }
        for server in &nodes {
            assert!(server.keys().len() > 5, "each has its part");
        }
        for name in 0..60 {
            let found = node.get(&format!("name-{name}")).await.unwrap();
            assert_eq!(found, format!("value {name}"));
        }
        nodes[2].kill();
        for name in 0..200 {
            let asked = tokio::time::Instant::now();
            node.get(&format!("name-{name}")).await;
            assert!(asked.elapsed() < Duration::from_secs(1));
        }
        nodes[2].restart();
        until("it is whole again", async || {
            let mut well = true;
            for name in 0..20 {
                let name = format!("again-{name}");
                node.cache.put(cache::Kind::Content, &name, "it".into());
                well &= node.get(&name).await.is_some();
            }
            well
        })
        .await;
        assert_eq!(node.cache.fault(), None);
    });
}

#[test]
fn sentinels_and_their_master_are_reached_over_tls_by_users_with_few_rights() {
    let dir = tempfile::tempdir().unwrap();
    let (settings, cli) = tls(dir.path());
    let cli: Vec<&str> = cli.iter().map(String::as_str).collect();
    let alike = Alike {
        settings: &settings,
        cli: &cli,
    };
    let Some(watched) = testkit::watched("geheim", "wachsam", alike) else {
        return;
    };
    for server in [&watched.master, &watched.replica] {
        grant(server, WATCHED);
    }
    for sentinel in &watched.sentinels {
        grant(sentinel, SENTINELS);
    }
    run(async {
        let url = format!(
            "rediss+sentinel://{}/{MASTER}",
            watched.sentinels[1].address()
        );
        let mut config = as_user(&url, dir.path());
        config.sentinel_login = seawall();
        let node = Node::start(&config).await;
        assert!(node.works().await);
        assert!(cache::look(&config).await.unwrap().refused.is_none());
    });
}

#[test]
fn a_cluster_is_reached_over_tls_by_a_user_with_few_rights() {
    let dir = tempfile::tempdir().unwrap();
    let (settings, cli) = tls(dir.path());
    let cli: Vec<&str> = cli.iter().map(String::as_str).collect();
    let alike = Alike {
        settings: &settings,
        cli: &cli,
    };
    let Some(nodes) = testkit::redis_cluster("geheim", alike) else {
        return;
    };
    for node in &nodes {
        grant(node, CLUSTER);
    }
    run(async {
        let url = format!(
            "rediss-cluster://{},{}",
            nodes[0].address(),
            nodes[1].address()
        );
        let config = as_user(&url, dir.path());
        let node = Node::start(&config).await;
        for name in 0..30 {
            node.put(&format!("name-{name}"), format!("value {name}"))
                .await;
        }
        assert!(cache::look(&config).await.unwrap().refused.is_none());
    });
}

/// Makes that user at a server that runs.
fn grant(server: &testkit::Redis, commands: &str) {
    let user = user(commands);
    let words: Vec<&str> = user.split(' ').skip(1).collect();
    let words: Vec<&str> = ["ACL", "SETUSER"].into_iter().chain(words).collect();
    assert_eq!(server.ask(&words), "OK");
}
