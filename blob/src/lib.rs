//! Bytes by digest, and uploads in parts, on a file system. No database.
//!
//! Callers name content by digest and location, and uploads by key; paths stay inside. Which location of a digest
//! counts, and which uploads exist, is the database's knowledge: this crate never decides it.

pub mod error;
pub mod files;
pub mod hash;

pub use error::{Error, Result};
pub use files::{
    Batch, Config, Damage, Found, Listing, ReadMode, Reader, Space, Staged, Store, Unfinished,
    Verdict, Writer, network,
};
pub use hash::{HashState, digest_of};
