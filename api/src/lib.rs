//! Every HTTP face: the distribution API (`/v2`), the token service, health and metrics. Only this crate knows status
//! codes; rules live in `registry`, rights in `auth`.

// The ground: what every face stands on, in reading order.
pub mod access;
pub mod admission;
pub mod app;
pub mod body;
pub mod connection;
mod cookies;
mod csrf;
pub mod error;
pub mod forwarded;
mod headers;
mod identity;
pub mod idle_body;
mod measure;
mod notes;
mod read_only;
mod request;

// The faces.
mod harbor;
pub mod health;
mod token;
mod v2;

pub use app::{App, Authority, Config};
pub use measure::Measures;
pub use request::Api;
