//! What callers see of `auth`, on SQLite and, where there is one, on PostgreSQL.

mod logins;
mod rights;
mod tokens;
mod world;
