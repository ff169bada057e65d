//! Bytes by digest, and uploads in parts: in a directory ([`files`]) or in a bucket ([`objects`]). No database.
//!
//! Callers name content by digest and location, and uploads by key; paths stay inside. Which location of a digest
//! counts, and which uploads exist, is the database's knowledge: this crate never decides it.

mod carry;
pub mod error;
pub mod files;
mod found;
mod frames;
pub mod hash;
mod names;
pub mod objects;
mod reader;
mod staged;
mod store;
pub mod tree;
mod verify;
mod writer;

pub use error::{Error, Result};
pub use files::{Space, network};
pub use found::{Batch, Found, Unfinished};
pub use hash::{HashState, digest_of};
pub use reader::{ReadMode, Reader};
pub use staged::Staged;
pub use store::{Config, Listing, Store, TreeWalk};
pub use verify::{Damage, Verdict};
pub use writer::{Saved, Writer};
