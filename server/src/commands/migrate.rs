//! `seawall migrate`: the schema by hand. `serve` does the same at its start.

use anyhow::Result;
use db::migrate;

use crate::{
    boot::{self, DataDir},
    config::{Config, Flags, Sources},
};

#[derive(clap::Args)]
pub struct Args {
    #[command(flatten)]
    flags: Flags,
    /// Say which migrations are pending; exit code 1 when there are any
    #[arg(long, conflicts_with = "dry_run")]
    check: bool,
    /// Run the pending migrations on this very data and take them back
    #[arg(long)]
    dry_run: bool,
}

pub fn run(args: Args) -> Result<()> {
    let config = Config::load(Sources::of_process(args.flags.clone())?)?;
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build()?;
    runtime.block_on(migrate(&args, &config))
}

async fn migrate(args: &Args, config: &Config) -> Result<()> {
    let _data = DataDir::open(&config.server.data)?;
    let db = boot::open_database(config).await?;
    let status = migrate::status(&db, migrate::ALL).await?;
    let pending = names(status.pending);
    let text = if status.pending.is_empty() {
        format!("schema version {}: nothing to do", status.version)
    } else if args.check {
        anyhow::bail!("schema version {}, pending: {pending}", status.version);
    } else if args.dry_run {
        format!("schema version {}, these would work on your data: {}", status.version, names(&migrate::rehearse(&db, migrate::ALL).await?))
    } else {
        format!("schema version {}, applied: {}", status.version, names(&migrate::up(&db, migrate::ALL).await?))
    };
    super::screen::say(&text);
    db.close().await;
    Ok(())
}

fn names(migrations: &[migrate::Migration]) -> String {
    migrations.iter().map(|migration| format!("{:04} {}", migration.version, migration.name)).collect::<Vec<_>>().join(", ")
}
