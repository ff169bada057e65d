//! Our words and pure rules: identifiers, names, time, errors, roles and permissions, jobs, changes, settings.
//! No I/O; everything above the ground floor may import this.

pub mod actor;
pub mod audit;
pub mod change;
pub mod cron;
pub mod error;
pub mod id;
pub mod immutable;
pub mod job;
pub mod listing;
pub mod metadata;
pub mod name;
pub mod permission;
pub mod retention;
pub mod robot;
pub mod role;
pub mod selector;
pub mod settings;
pub mod time;

pub use error::{Error, Result, What};
