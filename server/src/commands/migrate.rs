//! `seawall migrate`: the schema by hand. `serve` does the same at its start.

use anyhow::Result;
use db::migrate::{self, Migration};
use serde_json::json;

use super::{
    Place, Told, block_on,
    screen::{self, say},
};
use crate::{
    boot::{self, DataDir},
    config::Config,
};

#[derive(clap::Args)]
pub struct Args {
    #[command(flatten)]
    place: Place,
    /// Say which migrations are pending; exit code 1 when there are any
    #[arg(long, conflicts_with = "dry_run")]
    check: bool,
    /// Run the pending migrations on this very data and take them back
    #[arg(long)]
    dry_run: bool,
}

pub fn run(args: &Args) -> Result<()> {
    let config = args.place.config()?;
    block_on(migrate(args, &config))
}

async fn migrate(args: &Args, config: &Config) -> Result<()> {
    let _data = DataDir::open(config)?;
    let db = boot::open_database(config, config.outbound().trust()).await?;
    let status = migrate::status(&db, migrate::ALL).await?;
    let (what, steps) = if args.check {
        ("pending", status.pending.to_vec())
    } else if args.dry_run {
        (
            "would work on your data",
            migrate::rehearse(&db, migrate::ALL).await?,
        )
    } else {
        ("applied", migrate::up(&db, migrate::ALL).await?)
    };
    db.close().await;
    show(status.version, what, &steps, args.place.json);
    if args.check && !steps.is_empty() {
        Err(Told.into())
    } else {
        Ok(())
    }
}

fn show(version: i64, what: &str, steps: &[Migration], json: bool) {
    let names: Vec<String> = steps
        .iter()
        .map(|step| format!("{:04} {}", step.version, step.name))
        .collect();
    if json {
        screen::json(&json!({ "version": version, "what": what, "migrations": names }));
    } else if names.is_empty() {
        say(&format!("schema version {version}: nothing to do"));
    } else {
        say(&format!(
            "schema version {version}, {what}: {}",
            names.join(", ")
        ));
    }
}
