//! Bytes by digest, and uploads in parts, on a file system. No database, no HTTP.
//!
//! Callers name content by digest and location, and uploads by key; paths stay inside. Which location of a digest
//! counts, and which uploads exist, is the database's knowledge: this crate never decides it.

mod buffers;
pub mod config;
pub mod content;
mod durable;
pub mod error;
pub mod hash;
pub mod identity;
mod kernel;
mod lane;
mod layout;
pub mod list;
pub mod network;
mod open;
pub mod read;
pub mod space;
pub mod staged;
pub mod store;
pub mod upload;
pub mod verify;
mod windows;
pub mod writer;

pub use config::Config;
pub use error::{Error, Result};
pub use hash::{HashState, digest_of};
pub use list::{Batch, Found, Listing};
pub use read::{ReadMode, Reader};
pub use space::Space;
pub use staged::Staged;
pub use store::Store;
pub use upload::Unfinished;
pub use verify::{Damage, Verdict};
pub use writer::Writer;
