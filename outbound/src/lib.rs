//! Everything that Seawall calls goes through here: whom it believes ([`trust`]), which way it takes ([`proxy`]), and the clients
//! made of both: HTTP ([`Outbound`]), syslog, mail. It knows no database and nothing of registries.

mod http;
pub mod mail;
pub mod proxy;
pub mod syslog;
pub mod trust;

pub use http::{Limits, Outbound};
pub use proxy::Proxy;
pub use trust::Trust;
