//! The store in a directory, local or shared: an upload is a file that grows, content is that file under its digest.

mod buffers;
pub mod config;
pub mod content;
mod durable;
pub mod identity;
mod kernel;
mod lane;
pub(crate) mod layout;
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

use crate::{
    error::{self, Error, Result},
    hash::{self, HashState, digest_of},
};

pub use config::Config;
pub(crate) use lane::stopped;
pub use list::{Batch, Found, Listing};
pub use read::{ReadMode, Reader};
pub use space::Space;
pub use staged::Staged;
pub use store::Store;
pub use upload::Unfinished;
pub(crate) use verify::pause;
pub use verify::{Damage, Verdict};
pub use writer::Writer;
