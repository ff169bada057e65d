//! Rates of the store on the file system of a directory: `cargo run --release -p blob --example transfers [DIR [small|large|pull]]`.
#![expect(
    clippy::print_stdout,
    clippy::unwrap_used,
    reason = "a measuring program"
)]

use std::{
    io::IoSlice,
    net::{TcpListener, TcpStream},
    path::{Path, PathBuf},
    pin::pin,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use blob::{
    ReadMode, digest_of,
    files::{Config, Store},
};
use bytes::Bytes;
use futures_util::StreamExt;
use oci::digest::{Algorithm, Digest};
use rustix::net::RecvFlags;
use tokio::task::JoinSet;

const SECONDS: u64 = 3;
const MIB: u64 = 1 << 20;

#[tokio::main]
async fn main() {
    let parent = std::env::args().nth(1).unwrap_or_else(|| "/tmp".to_owned());
    let root = PathBuf::from(parent).join(format!("measure-{}", std::process::id()));
    let mut config = Config::new(&root);
    config.reserve = Some(0);
    let store = Store::open(config).await.unwrap();
    store.adopt("measure").await.unwrap();

    let only = std::env::args().nth(2);
    let wanted = |part: &str| only.as_deref().is_none_or(|only| only == part);
    for writers in [1, 16] {
        if wanted("small") {
            small(&store, writers, false).await;
            small(&store, writers, true).await;
        }
    }
    if wanted("large") {
        large(&store, 16 << 10).await;
        large(&store, 256 << 10).await;
    }
    if wanted("pull") || wanted("cold") {
        pulls(&store, &root, wanted("pull")).await;
    }
    std::fs::remove_dir_all(root).unwrap();
}

async fn pulls(store: &Store, root: &Path, warm: bool) {
    let (digest, size) = large(store, 400 << 10).await;
    let warm_connections: &[usize] = if warm { &[1, 16] } else { &[] };
    for &connections in warm_connections {
        for mode in [ReadMode::Mapped, ReadMode::Copied] {
            pull(store, &digest, size, connections, mode).await;
        }
    }
    for mode in [
        ReadMode::Copied,
        ReadMode::Mapped,
        ReadMode::Copied,
        ReadMode::Mapped,
    ] {
        let path = root.join(format!(
            "docker/registry/v2/blobs/sha256/{}/{}/data",
            &digest.hex()[..2],
            digest.hex()
        ));
        let file = std::fs::File::open(path).unwrap();
        rustix::fs::fadvise(&file, 0, None, rustix::fs::Advice::DontNeed).unwrap();
        print!("cold: ");
        pull(store, &digest, size, 1, mode).await;
    }
}

/// Uploads (or puts) of 4 KiB, each durable before the next.
async fn small(store: &Store, writers: u64, put: bool) {
    let (count, start) = (Arc::new(AtomicU64::new(0)), Instant::now());
    let mut tasks = JoinSet::new();
    for writer in 0..writers {
        let (store, count) = (store.clone(), Arc::clone(&count));
        tasks.spawn(async move {
            while start.elapsed() < Duration::from_secs(SECONDS) {
                let number = count.fetch_add(1, Ordering::Relaxed);
                let mut content = vec![0; 4096];
                content[..8].copy_from_slice(&number.to_le_bytes());
                content[8..24].copy_from_slice(
                    format!("{put:5} {writers:4} {writer:4} ")
                        .as_bytes()
                        .get(..16)
                        .unwrap(),
                );
                let content = Bytes::from(content);
                let digest = digest_of(Algorithm::Sha256, &content);
                if put {
                    store.put(&digest, "data", content).await.unwrap();
                    continue;
                }
                let key = format!("m-{writers}-{writer}-{number}");
                let mut upload = store.begin(&key, Algorithm::Sha256).await.unwrap();
                upload.write(content).await.unwrap();
                upload
                    .finish(&digest)
                    .await
                    .unwrap()
                    .publish("data")
                    .await
                    .unwrap();
            }
        });
    }
    tasks.join_all().await;
    let rate = count.load(Ordering::Relaxed) as f64 / start.elapsed().as_secs_f64();
    println!(
        "small, {} with {writers} writers: {rate:.0}/s",
        if put { "put" } else { "upload" }
    );
}

async fn large(store: &Store, frame: usize) -> (Digest, u64) {
    let size = 1024 * MIB;
    let content = Bytes::from((0..frame).map(|n| (n % 251) as u8).collect::<Vec<_>>());
    let frames = size / frame as u64;
    // The digest is found by a first, wrong finish: this measures the writer and nothing else.
    let start = Instant::now();
    let key = format!("large-{frame}");
    let mut upload = store.begin(&key, Algorithm::Sha256).await.unwrap();
    for _ in 0..frames {
        upload.write(content.clone()).await.unwrap();
    }
    let at = upload.offset();
    let state = upload.state().await.unwrap();
    let wrong = digest_of(Algorithm::Sha256, b"wrong");
    let Err(blob::Error::DigestMismatch { actual, .. }) = upload.finish(&wrong).await else {
        panic!("that digest was wrong");
    };
    let written = start.elapsed();
    let upload = store
        .resume(&key, at, Some(&state), Algorithm::Sha256)
        .await
        .unwrap();
    upload
        .finish(&actual)
        .await
        .unwrap()
        .publish("data")
        .await
        .unwrap();
    let total = start.elapsed();
    let rate = |time: Duration| (at / MIB) as f64 / time.as_secs_f64();
    println!(
        "large, frames of {frame}: {:.0} MiB/s written, {:.0} MiB/s durable",
        rate(written),
        rate(total)
    );
    (*actual, at)
}

/// Sends the blob over loopback connections whose other ends discard it in the kernel.
async fn pull(store: &Store, digest: &Digest, size: u64, connections: usize, mode: ReadMode) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let (before, start) = (process_cpu(), Instant::now());
    let mut sinks = Vec::new();
    let mut tasks = JoinSet::new();
    for _ in 0..connections {
        sinks.push(std::thread::spawn(move || discard(address)));
        let socket = listener.accept().unwrap().0;
        let store = store.clone();
        let digest = *digest;
        tasks.spawn(async move {
            let reader = store.open_blob(&digest, "data", size).await.unwrap();
            send(socket, reader.stream(0..size, mode)).await;
        });
    }
    tasks.join_all().await;
    let sink_cpu: f64 = sinks.into_iter().map(|sink| sink.join().unwrap()).sum();
    let gib = (connections as u64 * size) as f64 / f64::from(1 << 30);
    let seconds = start.elapsed().as_secs_f64();
    println!(
        "pull {mode:?}, {connections} connections: {:.2} GiB/s, {:.3} CPU-s/GiB sending, {:.3} receiving",
        gib / seconds,
        (process_cpu() - before - sink_cpu) / gib,
        sink_cpu / gib
    );
}

async fn send(socket: TcpStream, stream: impl futures_util::Stream<Item = std::io::Result<Bytes>>) {
    socket.set_nonblocking(true).unwrap();
    let socket = tokio::net::TcpStream::from_std(socket).unwrap();
    let mut stream = pin!(stream);
    while let Some(piece) = stream.next().await {
        let mut piece = piece.unwrap();
        while !piece.is_empty() {
            socket.writable().await.unwrap();
            match socket.try_write_vectored(&[IoSlice::new(&piece)]) {
                Ok(sent) => drop(piece.split_to(sent)),
                Err(e) if e.kind() == std::io::ErrorKind::WouldBlock => {}
                Err(e) => panic!("{e}"),
            }
        }
    }
}

fn discard(address: std::net::SocketAddr) -> f64 {
    let socket = TcpStream::connect(address).unwrap();
    let mut buffer = vec![0; MIB as usize];
    while rustix::net::recv(&socket, &mut buffer[..], RecvFlags::TRUNC)
        .unwrap()
        .1
        > 0
    {}
    nanoseconds("/proc/thread-self/schedstat")
}

/// CPU seconds of a thread, by the first number of its scheduler statistics.
fn nanoseconds(path: &str) -> f64 {
    let text = std::fs::read_to_string(path).unwrap_or_default();
    let spent = text.split(' ').next().and_then(|n| n.parse::<f64>().ok());
    spent.unwrap_or_default() / 1e9
}

fn process_cpu() -> f64 {
    let text = std::fs::read_to_string("/proc/self/stat").unwrap();
    let fields: Vec<&str> = text
        .rsplit(')')
        .next()
        .unwrap()
        .split_whitespace()
        .collect();
    let ticks = fields[11].parse::<f64>().unwrap() + fields[12].parse::<f64>().unwrap();
    ticks / rustix::param::clock_ticks_per_second() as f64
}
