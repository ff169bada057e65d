//! What callers see of `auth`, on SQLite and, where TEST_POSTGRES_URL names a server, on PostgreSQL.

mod logins;
mod rights;
mod tokens;
mod world;
