//! The database and the store, once they are open: asked by the process that has them open, the command's or the server's.

use std::{
    path::Path,
    time::{Duration, Instant},
};

use blob::Store;
use db::{
    Conn, Db,
    blobs::{self, State},
    changes, facts,
    jobs::{self, JobRow},
    migrate,
    replicas::{self, Replication},
    store_id::{self, Known},
};
use model::Result;
use registry::import::Import;

use super::{Finding, Keys};

/// A part that does not answer in this time is taken as away.
const PATIENCE: Duration = Duration::from_secs(5);
/// By how much clocks may differ; and by how much they may before it is worth a word.
const FAR: Duration = Duration::from_secs(5);
const NEAR: Duration = Duration::from_secs(1);

/// Everything about an open database and its store; with the keys that were found.
pub async fn of_parts(db: &Db, store: &Store, keys: &Keys) -> Vec<Finding> {
    let mut findings = database(db).await;
    findings.push(key(db, keys).await);
    findings.push(identity(db, store).await);
    let health = health(db).await;
    findings.extend(health.unwrap_or_else(|error| vec![Finding::error("contents", &error)]));
    findings
}

/// A store that is not there, which a new database does not mind.
pub async fn missing_store(db: &Db, path: &Path) -> Finding {
    let part = "store";
    match known_store(db).await {
        Ok(Known { id: None, .. }) => Finding::ok(
            part,
            format!("`{}` is made at the first start", path.display()),
        ),
        Ok(_) => Finding::failed(
            part,
            format!("`{}` is not there", path.display()),
            "is its file system mounted? See storage.url",
        ),
        Err(error) => Finding::error(part, &error),
    }
}

/// Whether it answers, its schema, and its clock.
pub async fn database(db: &Db) -> Vec<Finding> {
    let start = Instant::now();
    let answer = tokio::time::timeout(PATIENCE, db.ping()).await;
    let took = start.elapsed();
    match answer {
        Ok(Ok(())) => {}
        Ok(Err(error)) => return vec![Finding::error("database", &error)],
        Err(_) => {
            let advice = "see whether it runs and what it waits for";
            return vec![Finding::failed(
                "database",
                format!("no answer within {} s", PATIENCE.as_secs()),
                advice,
            )];
        }
    }
    let millis = took.as_secs_f64() * 1000.0;
    let mut findings = vec![Finding::ok(
        "database",
        format!("{} answers in {millis:.1} ms", db.engine()),
    )];
    findings.push(schema(db).await);
    findings.push(
        clock(db)
            .await
            .unwrap_or_else(|error| Finding::error("clock", &error)),
    );
    let durable = durability(db).await;
    findings.extend(durable.unwrap_or_else(|error| vec![Finding::error("replicas", &error)]));
    findings
}

/// Whether what was acknowledged is still there when the database's server is not.
async fn durability(db: &Db) -> Result<Vec<Finding>> {
    let mut reader = db.reader().await?;
    let mut findings = Vec::new();
    if replicas::acknowledges_early(&mut reader).await? {
        findings.push(Finding::failed(
            "commits",
            "they are answered before they are on the server's disk (synchronous_commit = off): a power cut loses what was acknowledged",
            "set synchronous_commit to on for this role",
        ));
    }
    let part = "replicas";
    match replicas::replication(&mut reader).await? {
        Replication::None => {}
        Replication::Synchronous => findings.push(Finding::ok(
            part,
            "synchronous: one that takes over has all that was acknowledged",
        )),
        Replication::Asynchronous => findings.push(Finding::warning(
            part,
            "asynchronous: one that takes over may lack the last commits",
            "set synchronous_standby_names (Patroni: synchronous_mode) and leave synchronous_commit on, or keep in mind that the last pushes may have to be repeated",
        )),
        Replication::Unknown => findings.push(Finding::ok(
            part,
            "there are some; with `GRANT pg_monitor TO` its role seawall sees whether they are synchronous",
        )),
    }
    Ok(findings)
}

async fn schema(db: &Db) -> Finding {
    let part = "schema";
    match migrate::status(db, migrate::ALL).await {
        Err(error) => Finding::error(part, &error),
        Ok(status) if status.version == 0 => Finding::ok(part, "empty, made at the first start"),
        Ok(status) if status.pending.is_empty() => Finding::ok(
            part,
            format!("version {}, as this binary has it", status.version),
        ),
        Ok(status) => Finding::warning(
            part,
            format!(
                "version {}, {} migrations are pending",
                status.version,
                status.pending.len()
            ),
            "the next start of the server runs them; `seawall migrate --dry-run` tries them on your data",
        ),
    }
}

/// Leases and expiry are judged by the database's clock, tokens by this machine's.
async fn clock(db: &Db) -> Result<Finding> {
    let part = "clock";
    let advice = "synchronise the clocks (chrony, systemd-timesyncd)";
    let (before, database) = (db.clock().now(), db.now().await?);
    let after = db.clock().now();
    let apart = before.since(database).max(database.since(after));
    if apart > NEAR {
        let seen = format!(
            "{:.1} s between this machine and the database",
            apart.as_secs_f64()
        );
        return Ok(if apart > FAR {
            Finding::failed(part, seen, advice)
        } else {
            Finding::warning(part, seen, advice)
        });
    }
    let mut reader = db.reader().await?;
    if migrate::status(db, migrate::ALL).await?.version > 0
        && let Some(newest) = changes::list(&mut reader, None, 1).await?.first()
    {
        let ahead = newest.at.since(database);
        if ahead > FAR {
            let seen = format!(
                "the last change was made {:.0} s in the future: the clock went back",
                ahead.as_secs_f64()
            );
            return Ok(Finding::warning(part, seen, advice));
        }
    }
    Ok(Finding::ok(part, database.rfc3339()))
}

/// Whether the key file is the one of this database.
pub async fn key(db: &Db, keys: &Keys) -> Finding {
    let part = "key";
    let expected = match fact(db, facts::KEY_FINGERPRINT).await {
        Ok(expected) => expected,
        Err(error) => return Finding::error(part, &error),
    };
    let advice = "copy the right file there from a backup or another node (server.secret_key_file)";
    let Some(expected) = expected else {
        return Finding::ok(part, "the database has none yet");
    };
    let is_beside = keys.beside.contains(&expected);
    match &keys.file {
        Some(found) if *found == expected => Finding::ok(part, "the key file fits the database"),
        Some(_) if is_beside => Finding::ok(
            part,
            "a key beside the key file fits the database, and a server puts it in its place",
        ),
        None if is_beside => Finding::failed(
            part,
            "the key file is missing, and one beside it fits the database",
            "put the one beside it in its place (server.secret_key_file)",
        ),
        Some(_) => Finding::failed(
            part,
            "the key file is not the one this database was encrypted with",
            advice,
        ),
        None => Finding::failed(
            part,
            "the key file is missing, and the database was encrypted with it",
            advice,
        ),
    }
}

/// A store that no database uses yet.
pub async fn fresh_store(store: &Store) -> Finding {
    let part = "store";
    match (store.identity().await, store.is_empty().await) {
        (Ok(None), Ok(true)) if store.bucket().is_some() => match store.try_write().await {
            Ok(()) => Finding::ok(part, "empty, may be read and written"),
            Err(error) => Finding::error(part, &error),
        },
        (Ok(None), Ok(true)) => Finding::ok(part, "empty, made at the first start"),
        (Ok(Some(found)), _) => Finding::failed(
            part,
            format!("it belongs to another database (`{found}`)"),
            "correct database.url, or, if that database is lost, run `seawall fsck --rebuild`",
        ),
        (Ok(None), Ok(false)) if store.holds_tree().await.unwrap_or(false) => Finding::failed(
            part,
            "it holds the tree of another registry, Docker's or Harbor's",
            "stop that one and take it over with `seawall import blobs` (docs/migrate.md), or choose an empty directory or prefix (storage.url)",
        ),
        (Ok(None), Ok(false)) => Finding::failed(
            part,
            "it is not empty and was not made by seawall",
            "choose an empty directory or prefix (storage.url)",
        ),
        (Err(error), _) | (_, Err(error)) => Finding::error(part, &error),
    }
}

/// Whether the store is the one of this database, and can be written.
async fn identity(db: &Db, store: &Store) -> Finding {
    let part = "store";
    let known = match known_store(db).await {
        Ok(known) => known,
        Err(error) => return Finding::error(part, &error),
    };
    let Some(expected) = known.id else {
        let fresh = async {
            match store.identity().await {
                Ok(Some(found)) if known.tried.contains(&found) => {
                    Finding::ok(part, "marked by a start that did not use it yet")
                }
                _ => fresh_store(store).await,
            }
        };
        let found = tokio::time::timeout(PATIENCE, fresh).await;
        return found.unwrap_or_else(|_| hangs(store));
    };
    let probe = async {
        store.probe(&expected).await?;
        store.try_write().await
    };
    let lost = if store.bucket().is_some() {
        "see storage.url, storage.endpoint and the credentials"
    } else {
        "is its file system mounted? See storage.url"
    };
    match tokio::time::timeout(PATIENCE, probe).await {
        Ok(Ok(())) => Finding::ok(
            part,
            format!("belongs to this database (`{expected}`) and can be written"),
        ),
        Ok(Err(blob::Error::Full)) => Finding::failed(
            part,
            "the disk is full",
            "delete what is not needed and run `seawall gc`, or enlarge it",
        ),
        Ok(Err(error)) => Finding::failed(part, error.to_string(), lost),
        Err(_) => hangs(store),
    }
}

fn hangs(store: &Store) -> Finding {
    let advice = if store.bucket().is_some() {
        "see whether the object store is there, and storage.endpoint"
    } else {
        "its file system hangs: see whether its server is there"
    };
    let told = format!("no answer within {} s", PATIENCE.as_secs());
    Finding::failed("store", told, advice)
}

async fn known_store(db: &Db) -> Result<Known> {
    if migrate::status(db, migrate::ALL).await?.version == 0 {
        return Ok(Known::default());
    }
    store_id::known(db).await
}

async fn fact(db: &Db, name: &str) -> Result<Option<String>> {
    let mut reader = db.reader().await?;
    if migrate::status(db, migrate::ALL).await?.version == 0 {
        return Ok(None);
    }
    facts::find(&mut reader, name).await
}

/// Contents that were lost, and jobs that fail.
async fn health(db: &Db) -> Result<Vec<Finding>> {
    if migrate::status(db, migrate::ALL).await?.version == 0 {
        return Ok(Vec::new());
    }
    let mut reader = db.reader().await?;
    let mut findings = Vec::new();
    let totals = blobs::totals(&mut reader).await?;
    let of = |wanted| {
        totals
            .iter()
            .find(|(state, ..)| *state == wanted)
            .map_or((0, 0), |(_, count, bytes)| (*count, *bytes))
    };
    let ((live, live_bytes), (lost, _)) = (of(State::Live), of(State::Lost));
    let (adopted, adopted_bytes) = of(State::Adopted);
    let (count, bytes) = (live + adopted, live_bytes + adopted_bytes);
    findings.push(if lost == 0 {
        Finding::ok(
            "contents",
            format!("{count}, {}", indicatif::HumanBytes(bytes)),
        )
    } else {
        Finding::warning(
            "contents",
            format!(
                "{lost} of {} are missing or damaged and are not served",
                count + lost
            ),
            "push them again to heal them; `seawall fsck` names them",
        )
    });
    findings.extend(open_import(&mut reader, adopted).await?);
    findings.extend(failed_jobs(
        &jobs::list(&mut reader, jobs::NEWEST, 100).await?,
    ));
    Ok(findings)
}

/// An import that nobody has declared finished yet.
async fn open_import(reader: &mut Conn, unread: u64) -> Result<Option<Finding>> {
    let text = facts::find(reader, facts::IMPORT).await?;
    let import: Option<Import> = text.and_then(|text| serde_json::from_str(&text).ok());
    let open = import.filter(|import| import.finished_at.is_none());
    Ok(open.map(|import| {
        Finding::warning(
            "import",
            format!(
                "one from {}, begun {}, is open; {unread} contents were not read yet",
                import.source.as_str(),
                import.begun_at
            ),
            "nothing of it is collected until `seawall import finish`",
        )
    }))
}

/// Kinds of jobs whose last one failed.
fn failed_jobs(newest_first: &[JobRow]) -> Vec<Finding> {
    let mut seen = Vec::new();
    let mut findings = Vec::new();
    for job in newest_first.iter().filter(|job| job.ended_at.is_some()) {
        if seen.contains(&&job.kind) {
            continue;
        }
        seen.push(&job.kind);
        if job.state == jobs::State::Failed {
            let why = job.message.as_deref().unwrap_or("no reason is known");
            findings.push(Finding::warning(
                "jobs",
                format!("the last `{}` failed: {why}", job.kind),
                format!("`seawall job log {}` has more", job.id),
            ));
        }
    }
    findings
}
