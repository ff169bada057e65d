//! A running `seawall` and people who talk to it.

use std::time::Duration;

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

/// Asks until it is so, for a minute at most.
pub async fn until(what: &str, mut is_so: impl AsyncFnMut() -> bool) {
    let wait = async {
        while !is_so().await {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    tokio::time::timeout(Duration::from_mins(1), wait)
        .await
        .unwrap_or_else(|_| panic!("{what}"));
}
