//! What the other tests of jobs wait with.

use std::time::{Duration, Instant};

use serde_json::Value;

use crate::harness::{Answer, Client};

/// Asks until the answer is as wanted.
pub async fn until(client: &Client, path: &str, is_so: impl Fn(&Value) -> bool) -> Value {
    let start = Instant::now();
    loop {
        let told = client.api_get(path).await.expect(200).json();
        if is_so(&told) {
            return told;
        }
        assert!(start.elapsed() < Duration::from_mins(1), "{path}: {told:#}");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

/// The path below the API that a `Location` header tells.
pub fn location(answer: &Answer) -> String {
    let path = answer.header("location").strip_prefix("/api/v2.0");
    path.expect("below the API").to_owned()
}
