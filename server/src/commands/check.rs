//! `seawall check`: everything that the server needs, looked at one by one. It makes and changes nothing of its own
//! accord; SQLite, asked what is in a database that nobody has open, puts its `-wal` and `-shm` files beside it meanwhile.

use std::{
    borrow::Cow,
    io::{self, IsTerminal},
    path::Path,
};

use anyhow::Result;
use outbound::Outbound;

use super::{
    Told, block_on,
    screen::{self, printable, say},
};
use crate::{
    boot::{self, DataDir},
    checks::{self, Finding, Keys, State},
    config::{Config, DatabaseUrl, Flags, Sources},
    control::{Session, request::Request},
    moving,
};

#[derive(clap::Args)]
pub struct Args {
    #[command(flatten)]
    flags: Flags,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

/// Fails when a check has failed; a warning is none.
pub fn run(args: &Args) -> Result<()> {
    let findings = block_on(async { Ok(look(args).await) })?;
    if args.json {
        screen::json(&findings);
    } else {
        show(&findings);
    }
    if findings
        .iter()
        .any(|finding| finding.state == State::Failed)
    {
        Err(Told.into())
    } else {
        Ok(())
    }
}

async fn look(args: &Args) -> Vec<Finding> {
    let part = "configuration";
    let loaded = Sources::of_process(args.flags.clone()).and_then(|sources| {
        let file = sources.file.as_ref().map(|file| file.name.clone());
        Ok((Config::load(sources)?, file))
    });
    let loaded = loaded
        .map_err(anyhow::Error::new)
        .and_then(|(config, file)| Ok((moving::apply(config)?, file)));
    let (config, file) = match loaded {
        Ok(found) => found,
        Err(error) => {
            return vec![Finding::failed(
                part,
                format!("{error:#}"),
                "nothing else was looked at",
            )];
        }
    };
    let seen = file.map_or_else(
        || "no file; defaults, environment and flags".to_owned(),
        |file| format!("`{file}` is read"),
    );
    let mut findings = vec![Finding::ok(part, seen)];
    findings.extend(files(&newest(&config)));
    let outbound = config.outbound();
    findings.extend(checks::authorities(outbound.trust()));
    findings.extend(checks::proxies(outbound.proxy()));
    findings.extend(checks::redis(&config.redis, outbound.trust()).await);
    let (key_file, keys) = checks::key_file(&config.server.secret_key_file);
    findings.push(key_file);
    let served = Session::is_served(&config).await;
    let is_served = matches!(served, Ok(true));
    match served {
        Ok(true) => findings.extend(ask(&config, keys).await),
        Ok(false) => findings.extend(open(&config, &outbound, &keys).await),
        Err(error) => findings.push(Finding::error("server", &error)),
    }
    findings.extend(checks::addresses(&config.listening(), is_served));
    findings.extend(checks::certificates(
        &config.tls,
        model::time::Clock::default().now(),
    ));
    findings.push(checks::open_files(config.limits.max_connections));
    findings
}

/// With the contents where the last move was to bring them: whether it did the database says, which is not open yet.
fn newest(config: &Config) -> Cow<'_, Config> {
    match config.moved.storages.first() {
        None => Cow::Borrowed(config),
        Some(to) => Cow::Owned(Config {
            storage: to.storage.clone(),
            ..config.clone()
        }),
    }
}

fn files(config: &Config) -> Vec<Finding> {
    let data = &config.server.data;
    let mut findings = vec![checks::data_directory(data)];
    if let DatabaseUrl::Sqlite(path) = &config.database.url {
        let folder = path
            .parent()
            .filter(|folder| !folder.as_os_str().is_empty())
            .unwrap_or(Path::new("."));
        findings.push(checks::file_system("database files", folder, true));
    }
    if let Some(storage) = config.storage.directory() {
        findings.push(checks::file_system("store files", storage, false));
        findings.push(checks::space("room", storage, config.storage.reserve));
    }
    findings.extend(checks::log_target(&config.log.target));
    findings.extend(
        config
            .log
            .access_target
            .as_ref()
            .and_then(checks::log_target),
    );
    findings
}

/// A server runs: it looks at what it has open.
async fn ask(config: &Config, keys: Keys) -> Vec<Finding> {
    let mut findings = vec![Finding::ok(
        "server",
        format!(
            "runs, and answers at `{}`",
            DataDir::socket(&config.server.data).display()
        ),
    )];
    let session = Session::Server(DataDir::socket(&config.server.data));
    match session.ask::<Vec<Finding>>(Request::Check { keys }).await {
        Ok(seen) => findings.extend(seen),
        Err(error) => findings.push(Finding::error("server", &error)),
    }
    findings
}

/// No server runs: each part is opened here, as far as it is there.
async fn open(config: &Config, outbound: &Outbound, keys: &Keys) -> Vec<Finding> {
    let mut findings = vec![Finding::ok("server", "does not run on this data directory")];
    // Held while the database is open, so that no server starts on it meanwhile.
    let _data = match DataDir::hold(config) {
        Ok(data) => data,
        Err(error) => {
            findings.push(Finding::error("server", &error));
            return findings;
        }
    };
    if let DatabaseUrl::Sqlite(path) = &config.database.url
        && !path.exists()
    {
        findings.push(Finding::ok(
            "database",
            format!("`{}` is made at the first start", path.display()),
        ));
        let config = newest(config);
        if config.storage.directory().is_none() {
            findings.push(match boot::open_store(&config, outbound).await {
                Ok(store) => checks::fresh_store(&store).await,
                Err(error) => Finding::error("store", &error),
            });
        }
        return findings;
    }
    let db = match boot::open_database(config, outbound.trust()).await {
        Ok(db) => db,
        Err(error) => {
            findings.push(Finding::failed(
                "database",
                format!("{error:#}"),
                "see whether it runs, and database.url",
            ));
            return findings;
        }
    };
    let config = match moving::settled(config, &db).await {
        Ok((config, _)) => config,
        Err(_) => newest(config),
    };
    match config
        .storage
        .directory()
        .filter(|storage| !storage.exists())
    {
        None => match boot::open_store(&config, outbound).await {
            Ok(store) => findings.extend(checks::of_parts(&db, &store, keys).await),
            Err(error) => findings.push(Finding::error("store", &error)),
        },
        Some(storage) => {
            findings.extend(checks::database(&db).await);
            findings.push(checks::key(&db, keys).await);
            findings.push(checks::missing_store(&db, storage).await);
        }
    }
    db.close().await;
    findings
}

fn show(findings: &[Finding]) {
    let colours = io::stdout().is_terminal() && std::env::var_os("NO_COLOR").is_none();
    let width = findings
        .iter()
        .map(|finding| finding.part.len())
        .max()
        .unwrap_or(0);
    for finding in findings {
        say(&line(finding, width, colours));
        if let Some(advice) = &finding.advice {
            say(&format!("{:9}{:width$}  → {}", "", "", printable(advice)));
        }
    }
    let count = |state| {
        findings
            .iter()
            .filter(|finding| finding.state == state)
            .count()
    };
    say(&match (count(State::Failed), count(State::Warning)) {
        (0, 0) => "\nall is well".to_owned(),
        (0, warnings) => format!("\nnothing failed, {warnings} warnings"),
        (failed, warnings) => format!("\n{failed} failed, {warnings} warnings"),
    });
}

fn line(finding: &Finding, width: usize, colours: bool) -> String {
    let word = format!("{:7}", finding.state.as_str());
    let word = match finding.state {
        _ if !colours => word,
        State::Ok => format!("\x1b[32m{word}\x1b[0m"),
        State::Warning => format!("\x1b[33m{word}\x1b[0m"),
        State::Failed => format!("\x1b[31m{word}\x1b[0m"),
    };
    format!(
        "{word}  {:width$}  {}",
        finding.part,
        printable(&finding.seen)
    )
}
