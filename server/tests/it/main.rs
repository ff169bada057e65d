//! The server as its clients see it: the real binary, over real sockets, on both databases.

mod harness;

mod collection;
mod commands;
mod crash;
mod crowd;
mod disks;
mod frozen;
mod identity;
mod lists;
mod manifests;
mod pulls;
mod refusals;
mod uploads;
