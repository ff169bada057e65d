//! Connections that break under a read, on the way to each kind of object store.

use std::net::SocketAddr;

use blob::{Config, ReadMode, Store, objects::config::Redirect};
use bytes::Bytes;
use futures_util::TryStreamExt;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt, copy},
    net::{TcpListener, TcpStream},
};

use crate::{PART, append, begin, content, finish, on_buckets, sha256};

/// Bytes that each connection brings before it breaks.
const LASTS: u64 = 3 << 20;

/// Hands on what comes to `there`, until the runtime ends; its address.
#[expect(clippy::disallowed_methods, reason = "it ends with the test's runtime")]
async fn breaking(there: SocketAddr) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((here, _)) = listener.accept().await {
            tokio::spawn(async move {
                let Ok(server) = TcpStream::connect(there).await else {
                    return;
                };
                let ((mut asks, mut gets), (answers, mut takes)) =
                    (here.into_split(), server.into_split());
                let mut answers = answers.take(LASTS);
                tokio::select! {
                    _ = copy(&mut asks, &mut takes) => {}
                    _ = copy(&mut answers, &mut gets) => {}
                }
                let _ = gets.shutdown().await;
            });
        }
    });
    format!("http://{address}")
}

fn host(address: &str) -> SocketAddr {
    let (_, rest) = address.split_once("://").unwrap();
    rest.split('/').next().unwrap().parse().unwrap()
}

#[test]
fn a_pull_goes_on_where_its_connection_broke() {
    on_buckets(async |world| {
        // The one has parts, the other was put with one call.
        let (large, small) = (content(1, 2 * PART + 10), content(2, PART - 10));
        let (digest, put) = (sha256(&large), sha256(&small));
        let mut writer = begin(&world.store, "broken").await;
        append(&mut writer, &large).await;
        let staged = finish(&mut writer, &digest).await.unwrap();
        let location = staged.location("data").to_owned();
        let bytes = Bytes::from(small.clone());
        world.store.put(&put, "data", bytes).await.unwrap();

        let Config::Objects(mut config) = world.config.clone() else {
            unreachable!("it is a bucket");
        };
        let there = config.endpoint.as_ref().or(config.swift.auth_url.as_ref());
        config.endpoint = Some(breaking(host(there.unwrap())).await);
        config.redirect = Redirect::Never;
        let store = Store::open(*config).await.unwrap();
        let len = large.len() as u64;
        let reader = store.open_blob(&digest, &location, len).await.unwrap();
        let stream = reader.start(1000..len, ReadMode::Copied).await.unwrap();
        let pulled: Vec<Bytes> = stream.try_collect().await.unwrap();
        assert!(pulled.concat() == large[1000..]);
        let read = store.read(&put, "data", PART).await.unwrap();
        assert!(read == small);
    });
}
