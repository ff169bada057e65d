//! `seawall`: the server, and the commands that look after it. One file per command in `commands/`.

mod boot;
mod checks;
mod commands;
mod config;
mod control;
mod listen;
mod memory;
mod moving;
mod presence;
mod serve;
mod starting;
mod telemetry;
mod timeline;

use std::process::ExitCode;

fn main() -> ExitCode {
    memory::bound_pools();
    commands::run()
}
