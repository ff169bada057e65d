//! Who PostgreSQL is, and who we are to it: TLS verified against the authority that the URL names, client certificates, passwords that change.

use std::{path::Path, process::Command, time::Duration};

use db::{Config, Db, Engine, Ways};
use model::{Error, settings::Pinned, time::Clock};
use outbound::Trust;

use crate::given::assert_kind;

/// Writes an authority and a certificate for 127.0.0.1, both readable by the server's user alone where they must be.
fn certificates(dir: &Path) {
    let authority = {
        let mut parameters = rcgen::CertificateParams::new(Vec::new()).unwrap();
        parameters.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
        rcgen::CertifiedIssuer::self_signed(parameters, rcgen::KeyPair::generate().unwrap())
            .unwrap()
    };
    let key = rcgen::KeyPair::generate().unwrap();
    let server = rcgen::CertificateParams::new(vec!["127.0.0.1".to_owned()])
        .unwrap()
        .signed_by(&key, &authority)
        .unwrap();
    let own_key = rcgen::KeyPair::generate().unwrap();
    let mut own = rcgen::CertificateParams::new(Vec::new()).unwrap();
    own.distinguished_name
        .push(rcgen::DnType::CommonName, "postgres");
    let own = own.signed_by(&own_key, &authority).unwrap();
    std::fs::write(dir.join("own.pem"), own.pem()).unwrap();
    std::fs::write(dir.join("own.key"), own_key.serialize_pem()).unwrap();
    std::fs::write(dir.join("ca.pem"), authority.pem()).unwrap();
    std::fs::write(dir.join("server.pem"), server.pem()).unwrap();
    std::fs::write(dir.join("server.key"), key.serialize_pem()).unwrap();
    let mut private = vec![("chmod", "600".to_owned())];
    private.extend(testkit::unprivileged().map(|user| ("chown", user.to_owned())));
    for (program, argument) in private {
        let done = Command::new(program)
            .arg(argument)
            .arg(dir.join("server.key"))
            .status()
            .unwrap();
        assert!(done.success());
    }
}

/// A server with TLS, and the files of [`certificates`].
fn with_tls() -> Option<(testkit::Private, testkit::Database, tempfile::TempDir)> {
    let server = testkit::private_postgres()?;
    let database = server.server.fresh_database();
    let dir = testkit::scratch_directory().unwrap();
    certificates(dir.path());
    for (setting, file) in [
        ("ssl_cert_file", "server.pem"),
        ("ssl_key_file", "server.key"),
        ("ssl_ca_file", "ca.pem"),
    ] {
        database.execute(&format!(
            "ALTER SYSTEM SET {setting} = '{}'",
            dir.path().join(file).display()
        ));
    }
    database.execute("ALTER SYSTEM SET ssl = on");
    server.crash();
    server.start();
    Some((server, database, dir))
}

/// Lets in whom these lines say, from now on.
fn admit(database: &testkit::Database, lines: &str) {
    let file = database.value("SHOW hba_file");
    std::fs::write(file, lines).unwrap();
    database.execute("SELECT pg_reload_conf()");
}

async fn open(url: String, trust: Trust, ways: Ways) -> model::Result<Db> {
    let config = Config {
        engine: Engine::Postgres(url),
        node: "one".to_owned(),
        pool_size: 2,
        timeout: Duration::from_secs(5),
        pinned: Pinned::default(),
        trust,
        ways,
    };
    Db::open(&config, Clock::default()).await
}

fn run(test: impl Future<Output = ()>) {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .unwrap();
    runtime.block_on(test);
}

#[test]
fn a_connection_that_must_be_encrypted_is_verified() {
    let Some((_server, database, dir)) = with_tls() else {
        return;
    };
    run(async {
        let open_trusting = async |options: &str, trust: Trust| {
            let url = format!("{}?{options}", database.url());
            open(url, trust, Ways::default()).await
        };
        let open = async |options: &str| open_trusting(options, Trust::default()).await;
        let root = format!("sslrootcert={}", dir.path().join("ca.pem").display());
        let db = open(&format!("sslmode=verify-full&{root}")).await.unwrap();
        let encrypted = "SELECT ssl FROM pg_stat_ssl WHERE pid = pg_backend_pid()";
        let read = db
            .reader()
            .await
            .unwrap()
            .row(encrypted, &[], |row| row.bool(0))
            .await
            .unwrap();
        let written = transact!(db, |tx| tx.row(encrypted, &[], |row| row.bool(0)).await).unwrap();
        assert_eq!((read, written), (Some(true), Some(true)));
        db.close().await;
        // The system's authorities do not know ours.
        assert_kind(open("sslmode=require").await.map(|_| ()), |error| {
            matches!(error, Error::Unavailable(_))
        });
        // Those of `trust.ca_files` are asked where the URL names none.
        let ours = Trust::new(&[dir.path().join("ca.pem")]);
        let db = open_trusting("sslmode=require", ours).await.unwrap();
        db.close().await;
        for (options, words) in [
            ("sslmode=perhaps", "unknown sslmode"),
            ("sslmode=require&sslrootcert=/nowhere.pem", "/nowhere.pem"),
            ("sslmode=require&sslcert=/nowhere.pem", "go together"),
            ("sslcert=/a.pem&sslkey=/a.key", "sslmode=verify-full"),
        ] {
            let refused = open(options).await.map(|_| ()).unwrap_err();
            assert!(format!("{refused:?}").contains(words), "{refused:?}");
        }
    });
}

#[test]
fn a_server_that_wants_a_certificate_of_ours_gets_it() {
    let Some((_server, database, dir)) = with_tls() else {
        return;
    };
    // The socket stays open to the tests themselves.
    admit(
        &database,
        "local all all trust\nhostssl all all 127.0.0.1/32 cert\n",
    );
    run(async {
        let path = |file: &str| dir.path().join(file).display().to_string();
        let trust = || Trust::new(&[dir.path().join("ca.pem")]);
        let mode = format!("{}?sslmode=verify-full", database.url());
        let own = format!("&sslcert={}&sslkey={}", path("own.pem"), path("own.key"));
        let db = open(format!("{mode}{own}"), trust(), Ways::default());
        let db = db.await.unwrap();
        transact!(db, |tx| tx.execute("SELECT 1", &[]).await).unwrap();
        db.close().await;
        let root = format!("&sslrootcert={}", path("ca.pem"));
        let db = open(
            format!("{mode}{root}{own}"),
            Trust::default(),
            Ways::default(),
        );
        db.await.unwrap().close().await;
        let refused = open(mode.clone(), trust(), Ways::default()).await;
        assert_kind(refused.map(|_| ()), |error| {
            matches!(error, Error::Unavailable(_))
        });
    });
}

#[test]
fn a_password_that_changes_counts_without_a_restart() {
    let Some(server) = testkit::private_postgres() else {
        return;
    };
    let database = server.server.fresh_database();
    database.execute("ALTER ROLE postgres PASSWORD 'first'");
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("password");
    std::fs::write(&file, "first\n").unwrap();
    run(async {
        let ways = Ways {
            password_file: Some(file.clone()),
            direct: Some(database.url()),
            ..Ways::default()
        };
        let db = open(database.url(), Trust::default(), ways).await.unwrap();
        // What the tests themselves do has no password, so that comes first.
        database.execute("ALTER ROLE postgres PASSWORD 'second'");
        std::fs::write(&file, "second").unwrap();
        admit(&database, "host all all 127.0.0.1/32 scram-sha-256\n");
        server.crash();
        server.start();
        let one = async || transact!(db, |tx| tx.execute("SELECT 1", &[]).await);
        one().await.unwrap();
        std::fs::write(&file, "wrong").unwrap();
        server.crash();
        server.start();
        let refused = one().await.unwrap_err();
        assert!(matches!(refused, Error::Unavailable(_)), "{refused:?}");
        std::fs::write(&file, "second").unwrap();
        one().await.unwrap();
        db.close().await;
    });
}

#[test]
fn both_ways_lead_to_one_database() {
    let Some(server) = testkit::postgres() else {
        return;
    };
    let (database, other) = (server.fresh_database(), server.fresh_database());
    run(async {
        let ways = |url: String| Ways {
            direct: Some(url),
            ..Ways::default()
        };
        let refused = open(database.url(), Trust::default(), ways(other.url())).await;
        assert_kind(
            refused.map(|_| ()),
            |error| matches!(error, Error::Precondition(why) if why.contains("two databases")),
        );
        let db = open(database.url(), Trust::default(), ways(database.url()));
        db.await.unwrap().close().await;
    });
}
