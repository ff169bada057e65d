//! The server as its clients see it: the real binary, over real sockets, on both databases.

#![expect(
    clippy::disallowed_methods,
    reason = "a test's tasks end with its runtime"
)]
#![expect(
    clippy::print_stderr,
    reason = "what a failed test prints says on which database it ran"
)]
#![expect(
    clippy::needless_pass_by_value,
    reason = "a test reads best as a closure that is handed over"
)]

mod harness;

mod activity;
mod audit;
mod balanced;
mod buckets;
mod collection;
mod commands;
mod crash;
mod crowd;
mod database_away;
mod disks;
mod frozen;
mod harbor;
mod health;
mod identity;
mod imports;
mod interrupted;
mod key_file;
mod lists;
mod manifests;
mod membership;
mod moving;
mod nodes;
mod pulls;
mod redis;
mod refusals;
mod starts;
mod uploads;
