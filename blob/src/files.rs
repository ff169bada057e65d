//! The store in a directory, local or shared: an upload is a file that grows, content is that file under its digest.

mod buffers;
pub mod config;
pub mod content;
mod durable;
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
pub(crate) mod tree;
pub mod upload;
pub mod verify;
mod windows;
pub mod writer;

pub use config::Config;
pub use list::Listing;
pub use read::Reader;
pub use space::Space;
pub use staged::Staged;
pub use store::Store;
pub use writer::Writer;
