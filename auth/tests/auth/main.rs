//! What callers see of `auth`, on SQLite and, where there is one, on PostgreSQL.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on ends")]

mod logins;
mod rights;
mod secret_key;
mod sessions;
mod settings;
mod tokens;
mod world;
