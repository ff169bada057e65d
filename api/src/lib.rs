//! api

pub mod access;
