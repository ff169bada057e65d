//! Behind pgbouncer in transaction mode, where two statements of a connection may meet two different servers' sessions.

use db::{Config, Db, Engine, Ways, facts, migrate};
use futures_util::future::join_all;
use model::time::Clock;
use testkit::{Companion, Database};

fn behind_pgbouncer(database: &Database) -> Option<(Companion, tempfile::TempDir, String)> {
    let Some(program) = testkit::program("pgbouncer") else {
        testkit::left_out(
            "pgbouncer",
            "pgbouncer is not installed (Debian: apt-get install pgbouncer)",
        );
        return None;
    };
    let dir = testkit::scratch_directory().unwrap();
    let port = testkit::free_port().unwrap();
    let (address, name) = database
        .url()
        .rsplit_once('/')
        .map(|(server, name)| (server.to_owned(), name.to_owned()))
        .unwrap();
    let server_port = address.rsplit_once(':').unwrap().1.to_owned();
    let settings = format!(
        "[databases]\n{name} = host=127.0.0.1 port={server_port} user=postgres\n[pgbouncer]\nlisten_addr = 127.0.0.1\n\
         listen_port = {port}\nunix_socket_dir =\nauth_type = any\npool_mode = transaction\ndefault_pool_size = 4\n\
         max_client_conn = 100\n"
    );
    let file = dir.path().join("pgbouncer.ini");
    std::fs::write(&file, settings).unwrap();
    let mut arguments = vec![file.display().to_string()];
    if let Some(user) = testkit::unprivileged() {
        arguments.extend(["-u".to_owned(), user.to_owned()]);
    }
    let running = Companion::start(&program, arguments, &dir.path().join("log")).unwrap();
    Some((
        running,
        dir,
        format!("postgres://postgres@127.0.0.1:{port}/{name}"),
    ))
}

#[test]
fn all_goes_through_pgbouncer_in_transaction_mode() {
    testkit::on_both_empty(async |test| {
        let Some(database) = test.postgres() else {
            return;
        };
        let Some((_running, dir, url)) = behind_pgbouncer(database) else {
            return;
        };
        let config = Config {
            engine: Engine::Postgres(url),
            ..test.config.clone()
        };
        let db = loop {
            match Db::open(&config, Clock::default()).await {
                Ok(db) => break db,
                // It may not listen yet; the whole test has a limit.
                Err(error) if error.to_string().contains("refused") => {
                    tokio::task::yield_now().await;
                }
                Err(error) => panic!(
                    "{error}: {}",
                    std::fs::read_to_string(dir.path().join("log")).unwrap()
                ),
            }
        };
        migrate::up(&db, migrate::ALL).await.unwrap();
        let all = (0..64).map(async |number: u32| {
            let name = number.to_string();
            transact!(db, [name], |tx| facts::set(tx, &name, "x").await).unwrap();
            for _ in 0..20 {
                let found = facts::find(&mut db.reader().await.unwrap(), &name)
                    .await
                    .unwrap();
                assert_eq!(found.as_deref(), Some("x"));
            }
        });
        join_all(all).await;
        // Nothing of ours stays behind in a session that another client gets next.
        let limit = db
            .reader()
            .await
            .unwrap()
            .row("SHOW statement_timeout", &[], |row| row.text(0))
            .await
            .unwrap();
        assert_eq!(limit.as_deref(), Some("0"));
        // What other nodes say does not come through, and that is noticed.
        let hearing = tokio::time::timeout(std::time::Duration::from_secs(7), db.hear_jobs());
        assert!(hearing.await.is_err());
        assert!(!db.hears_all_jobs());
        db.close().await;
        // Past it they are heard.
        let ways = Ways {
            direct: Some(database.url()),
            ..Ways::default()
        };
        let db = Db::open(&Config { ways, ..config }, Clock::default()).await;
        let db = db.unwrap();
        let heard = async {
            while !db.hears_all_jobs() {
                tokio::task::yield_now().await;
            }
        };
        tokio::select! {
            () = db.hear_jobs() => panic!("it listens until it is dropped"),
            heard = tokio::time::timeout(std::time::Duration::from_secs(10), heard) => heard.unwrap(),
        }
        db.close().await;
    });
}
