//! api

pub mod access;
pub mod connection;
pub mod forwarded;
pub mod idle_body;
