//! A running `seawall` and people who talk to it.

pub mod browser;
pub mod client;
pub mod gate;
pub mod image;
pub mod server;

pub use browser::Browser;
pub use client::{Answer, Client};
pub use image::{Image, digest};
pub use server::{Seawall, on_both, on_both_with};

/// The administrator's password in every test.
pub const PASSWORD: &str = "Harbor12345";
