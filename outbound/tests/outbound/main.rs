//! Calls to real servers: HTTP, by way of a proxy, with authorities that change; mail.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on ends")]

mod calls;
mod letters;
mod trusted;
