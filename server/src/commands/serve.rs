//! `seawall serve`.

use std::sync::Arc;

use anyhow::Result;

use crate::{
    config::{Config, Flags, Sources},
    moving,
    telemetry::Telemetry,
};

#[derive(clap::Args)]
pub struct Args {
    #[command(flatten)]
    flags: Flags,
}

pub fn run(args: Args) -> Result<()> {
    let config = moving::apply(Config::load(Sources::of_process(args.flags)?)?)?;
    let outbound = config.outbound();
    let telemetry = Arc::new(Telemetry::start(
        &config.log,
        &config.server.node,
        outbound.trust(),
    )?);
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .thread_name("seawall")
        .build()?;
    let done = runtime.block_on(crate::serve::run(config, outbound, telemetry.clone()));
    // Blocking work that hangs (a dead mount) must not keep the process.
    runtime.shutdown_timeout(std::time::Duration::from_secs(2));
    telemetry.close();
    done
}
