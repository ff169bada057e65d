//! PostgreSQL over TLS: verified against the authority that the URL names, or refused.

use std::{path::Path, process::Command, time::Duration};

use db::{Config, Db, Engine};
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

#[test]
fn a_connection_that_must_be_encrypted_is_verified() {
    let Some(server) = testkit::private_postgres() else {
        return;
    };
    let database = server.server.fresh_database();
    let dir = testkit::scratch_directory().unwrap();
    certificates(dir.path());
    for (setting, file) in [
        ("ssl_cert_file", "server.pem"),
        ("ssl_key_file", "server.key"),
    ] {
        database.execute(&format!(
            "ALTER SYSTEM SET {setting} = '{}'",
            dir.path().join(file).display()
        ));
    }
    database.execute("ALTER SYSTEM SET ssl = on");
    server.crash();
    server.start();
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .unwrap();
    runtime.block_on(async {
        let open_trusting = async |options: &str, trust: Trust| {
            let engine = Engine::Postgres(format!("{}?{options}", database.url()));
            let config = Config {
                engine,
                node: "one".to_owned(),
                pool_size: 2,
                timeout: Duration::from_secs(5),
                pinned: Pinned::default(),
                trust,
            };
            Db::open(&config, Clock::default()).await
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
        assert_kind(open("sslmode=perhaps").await.map(|_| ()), |error| {
            matches!(error, Error::Internal(_))
        });
        let missing = open("sslmode=require&sslrootcert=/nowhere.pem")
            .await
            .map(|_| ());
        assert_kind(missing, |error| error.to_string().contains("/nowhere.pem"));
    });
}
