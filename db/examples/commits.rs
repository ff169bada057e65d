//! How fast SQLite commits and reads through this crate: `cargo run -p db --release --example commits [DIRECTORY]`.

use std::{
    io::Write,
    path::PathBuf,
    time::{Duration, Instant},
};

use db::{Config, Db, Engine, artifacts, changes, migrate, rights, tags};
use futures_util::future::join_all;
use model::{
    change::Kind,
    id::{RepositoryId, UserId},
    time::Clock,
};
use serde_json::json;

const LASTS: Duration = Duration::from_secs(3);
const READS: u32 = 200_000;

#[tokio::main]
async fn main() -> model::Result<()> {
    let directory = std::env::args_os()
        .nth(1)
        .map_or_else(std::env::temp_dir, PathBuf::from);
    let file = directory.join(format!("measure-{}.sqlite", std::process::id()));
    let config = Config {
        engine: Engine::Sqlite(file.clone()),
        node: "measure".to_owned(),
        pool_size: 8,
        timeout: Duration::from_secs(10),
        pinned: model::settings::Pinned::default(),
        trust: outbound::Trust::default(),
        ways: db::Ways::default(),
    };
    let db = Db::open(&config, Clock::default()).await?;
    migrate::up(&db, migrate::ALL).await?;
    for writers in [1, 16, 64, 256] {
        say(&commits(&db, writers).await?);
    }
    fill(&db).await?;
    reads(&db).await?;
    db.close().await;
    for suffix in ["", "-wal", "-shm"] {
        let _ = std::fs::remove_file(format!("{}{suffix}", file.display()));
    }
    Ok(())
}

fn say(line: &str) {
    let _ = writeln!(std::io::stdout(), "{line}");
}

/// Transactions of four inserts each, all of them durable when they are counted.
async fn commits(db: &Db, writers: usize) -> model::Result<String> {
    let begin = Instant::now();
    let write = async || {
        let mut done: u64 = 0;
        while begin.elapsed() < LASTS {
            db.write(|tx| {
                Box::pin(async move {
                    let now = tx.now().await?;
                    for key in ["one", "two", "three", "four"] {
                        changes::append(
                            tx,
                            Kind::TagMoved,
                            key,
                            None,
                            &json!({ "digest": "sha256:0" }),
                            now,
                        )
                        .await?;
                    }
                    Ok(())
                })
            })
            .await?;
            done += 1;
        }
        Ok::<_, model::Error>(done)
    };
    let all = join_all((0..writers).map(|_| write())).await;
    let done: u64 = all.into_iter().sum::<model::Result<u64>>()?;
    let rate = done as f64 / begin.elapsed().as_secs_f64();
    Ok(format!(
        "{writers:4} writers: {rate:8.0} transactions of 4 inserts a second"
    ))
}

/// One repository with 100,000 tags.
async fn fill(db: &Db) -> model::Result<()> {
    db.write(|tx| {
        Box::pin(async move {
            for sql in [
                "INSERT INTO users (uid, name, created_at, updated_at) VALUES ('u', 'alice', 0, 0)",
                "INSERT INTO projects (uid, name, owner_id, created_at, updated_at) VALUES ('p', 'library', 1, 0, 0)",
                "INSERT INTO repositories (uid, project_id, name, created_at, updated_at) VALUES ('r', 1, 'library/app', 0, 0)",
                "INSERT INTO blobs (digest, generation, size, location, state_at, checked_at, created_at)
                 VALUES ('sha256:0000000000000000000000000000000000000000000000000000000000000001', 0, 1, 'data', 0, 0, 0)",
                "INSERT INTO artifacts (uid, repository_id, digest, blob_id, media_type, size, pushed_at)
                 SELECT 'a', 1, digest, id, 'application/vnd.oci.image.manifest.v1+json', 1, 0 FROM blobs",
                "WITH RECURSIVE n (n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM n WHERE n < 100000)
                 INSERT INTO tags (uid, repository_id, name, artifact_id, digest, clock, node, pushed_at)
                 SELECT 'tag' || n, 1, 'v' || n, 1, 'sha256:0', n, 'measure', 0 FROM n",
            ] {
                tx.execute(sql, &[]).await?;
            }
            Ok(())
        })
    })
    .await
}

/// Reads run on the calling thread, so its own time on the processor is what they cost, however busy the machine is.
fn on_processor() -> Duration {
    let told = std::fs::read_to_string("/proc/thread-self/schedstat").unwrap_or_default();
    Duration::from_nanos(
        told.split(' ')
            .next()
            .and_then(|nanos| nanos.parse().ok())
            .unwrap_or_default(),
    )
}

async fn timed(count: u32, read: impl AsyncFn(u32) -> model::Result<()>) -> model::Result<String> {
    let (begin, processor) = (Instant::now(), on_processor());
    for number in 0..count {
        read(number).await?;
    }
    Ok(format!(
        "{:?} ({:?} of processor)",
        begin.elapsed() / count,
        on_processor().saturating_sub(processor) / count
    ))
}

async fn reads(db: &Db) -> model::Result<()> {
    const POINT: &str = "SELECT value FROM facts WHERE name = $1";
    let repository = RepositoryId(1);
    let point = timed(READS, async |_| {
        db.reader()
            .await?
            .row(POINT, &["missing".into()], |row| row.text(0))
            .await
            .map(|_| ())
    });
    say(&format!("point read: {}", point.await?));
    let tagged = timed(READS, async |number| {
        // Far apart, as clients ask.
        let tag = format!("v{}", u64::from(number) * 7919 % 100_000 + 1);
        artifacts::find_tagged(&mut *db.reader().await?, repository, &tag)
            .await
            .map(|_| ())
    });
    say(&format!("tag to manifest among 100,000: {}", tagged.await?));
    let standing = timed(READS, async |_| {
        rights::standing(&mut *db.reader().await?, "library", Some(UserId(1)))
            .await
            .map(|_| ())
    });
    say(&format!("standing in a project: {}", standing.await?));
    let page = timed(1000, async |number| {
        tags::list(
            &mut *db.reader().await?,
            repository,
            &format!("v{}", number * 90),
            100,
        )
        .await
        .map(|_| ())
    });
    say(&format!("page of 100 tags among 100,000: {}", page.await?));
    Ok(())
}
