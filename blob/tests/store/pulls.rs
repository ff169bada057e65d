//! Pulls, through a socket as a server does it: mapped bytes are for the kernel alone.

use std::{
    fs::{self, OpenOptions},
    io::{self, IoSlice, Read, Write},
    os::unix::net::UnixStream,
    pin::pin,
    thread,
};

use blob::{
    Error, ReadMode,
    files::{Config, Store},
};
use bytes::Bytes;
use futures_util::{Stream, StreamExt};

use crate::{Home, content};

const MODES: [ReadMode; 2] = [ReadMode::Mapped, ReadMode::Copied];

/// What arrives at the other end when each piece goes out by `writev`.
async fn receive(stream: impl Stream<Item = io::Result<Bytes>>) -> (Vec<u8>, io::Result<()>) {
    let (mut server, mut client) = UnixStream::pair().unwrap();
    let received = thread::spawn(move || {
        let mut all = Vec::new();
        client.read_to_end(&mut all).unwrap();
        all
    });
    let sent = send(&mut server, stream).await;
    drop(server);
    (received.join().unwrap(), sent)
}

async fn send(
    socket: &mut UnixStream,
    stream: impl Stream<Item = io::Result<Bytes>>,
) -> io::Result<()> {
    let mut stream = pin!(stream);
    while let Some(piece) = stream.next().await {
        let mut piece = piece?;
        while !piece.is_empty() {
            let sent = socket.write_vectored(&[IoSlice::new(&piece)])?;
            drop(piece.split_to(sent));
        }
    }
    Ok(())
}

#[tokio::test]
async fn any_range_comes_as_it_is() {
    let home = Home::new().await;
    let len = (9 << 20) + 4_321;
    let all = content(len);
    let digest = home.store(&all).await;
    let ranges = [
        0..len,
        0..0,
        0..1,
        len - 1..len,
        1..70_000,
        4_095..4_097,
        4_097..(5 << 20) + 3,
        (4 << 20) - 1..(4 << 20) + 100_000,
    ];
    for mode in MODES {
        for range in ranges.clone() {
            let reader = home
                .store
                .open_blob(&digest, "data", len as u64)
                .await
                .unwrap();
            assert_eq!(reader.len, len as u64);
            let wanted = range.start as u64..range.end as u64;
            let (received, sent) = receive(reader.stream(wanted, mode)).await;
            sent.unwrap();
            assert!(received == all[range.clone()], "{range:?} {mode:?}");
        }
        let reader = home
            .store
            .open_blob(&digest, "data", len as u64)
            .await
            .unwrap();
        let beyond = len as u64 - 5..u64::MAX;
        let (received, sent) = receive(reader.stream(beyond, mode)).await;
        sent.unwrap();
        assert_eq!(received, all[len - 5..]);
    }
}

#[tokio::test]
async fn what_is_not_in_memory_comes_from_the_disk() {
    let home = Home::new().await;
    let all = content(9 << 20);
    let digest = home.store(&all).await;
    for mode in MODES {
        let file = fs::File::open(home.blob(&digest, "data")).unwrap();
        rustix::fs::fadvise(&file, 0, None, rustix::fs::Advice::DontNeed).unwrap();
        let reader = home
            .store
            .open_blob(&digest, "data", 9 << 20)
            .await
            .unwrap();
        let (received, sent) = receive(reader.stream(0..9 << 20, mode)).await;
        sent.unwrap();
        assert!(received == all, "{mode:?}");
    }
}

#[tokio::test]
async fn a_store_told_not_to_map_copies() {
    let home = Home::new().await;
    let all = content(1 << 20);
    let digest = home.store(&all).await;
    let mut config = Config::new(home.dir.path());
    config.mapped = Some(false);
    let store = Store::open(config).await.unwrap();
    assert!(!store.is_mapped());
    assert_eq!(home.store.is_mapped(), home.is_local());
    let reader = store.open_blob(&digest, "data", 1 << 20).await.unwrap();
    let (received, sent) = receive(reader.stream(0..1 << 20, ReadMode::Mapped)).await;
    sent.unwrap();
    assert_eq!(received, all);
}

#[tokio::test]
async fn content_of_another_length_is_damaged() {
    let home = Home::new().await;
    let digest = home.store(b"four").await;
    let longer = home.store.open_blob(&digest, "data", 5).await;
    assert!(matches!(longer.err(), Some(Error::Damaged(_))));
    let missing = home.store.open_blob(&digest, "data.1", 4).await;
    assert!(matches!(missing.err(), Some(Error::NotFound)));
}

#[tokio::test]
async fn a_file_cut_short_under_a_pull_ends_that_answer_and_nothing_else() {
    let len = 12 << 20;
    for mode in MODES {
        let home = Home::new().await;
        let all = content(len);
        let digest = home.store(&all).await;
        let reader = home
            .store
            .open_blob(&digest, "data", len as u64)
            .await
            .unwrap();
        let mut stream = pin!(reader.stream(0..len as u64, mode));
        let first = stream.next().await.unwrap().unwrap();
        let file = OpenOptions::new()
            .write(true)
            .open(home.blob(&digest, "data"));
        file.unwrap().set_len(10_000).unwrap();

        let (mut received, sent) = receive(futures_util::stream::iter([Ok(first.clone())])).await;
        if mode == ReadMode::Mapped && home.is_local() {
            assert!(sent.is_err(), "pages beyond the end cannot be sent");
            assert!(received.len() < first.len());
        } else {
            sent.unwrap();
        }
        received.truncate(10_000);
        assert!(received == all[..received.len()]);
        let mut rest = stream.collect::<Vec<_>>().await;
        assert!(rest.pop().unwrap().is_err(), "{mode:?}");
    }
}

#[tokio::test]
async fn a_pull_outlives_the_delete_of_its_content() {
    let home = Home::new().await;
    let all = content(6 << 20);
    let digest = home.store(&all).await;
    for mode in MODES {
        home.store(&all).await;
        let reader = home
            .store
            .open_blob(&digest, "data", 6 << 20)
            .await
            .unwrap();
        home.store
            .delete(&[(digest, "data".to_owned())])
            .await
            .remove(0)
            .unwrap();
        let (received, sent) = receive(reader.stream(0..6 << 20, mode)).await;
        sent.unwrap();
        assert!(received == all, "{mode:?}");
    }
}

#[tokio::test]
async fn content_that_was_pulled_gives_its_room_back_when_it_is_deleted() {
    let home = Home::new().await;
    let digest = home.store(&content(6 << 20)).await;
    let reader = home
        .store
        .open_blob(&digest, "data", 6 << 20)
        .await
        .unwrap();
    let (_, sent) = receive(reader.stream(0..6 << 20, ReadMode::Mapped)).await;
    sent.unwrap();
    let is_mapped = || {
        let maps = fs::read_to_string("/proc/self/maps").unwrap();
        maps.contains(&digest.hex())
    };
    assert_eq!(is_mapped(), home.is_local(), "for the next pull");
    let freed = home.store.delete(&[(digest, "data".to_owned())]).await;
    assert_eq!(*freed[0].as_ref().unwrap(), 6 << 20);
    assert!(!is_mapped());
}

#[tokio::test]
async fn one_reader_serves_several_ranges() {
    let home = Home::new().await;
    let all = content(300_000);
    let digest = home.store(&all).await;
    let reader = home
        .store
        .open_blob(&digest, "data", 300_000)
        .await
        .unwrap();
    let both = reader
        .clone()
        .stream(0..100, ReadMode::Copied)
        .chain(reader.stream(200_000..300_000, ReadMode::Mapped));
    let (received, sent) = receive(both).await;
    sent.unwrap();
    assert_eq!(received[..100], all[..100]);
    assert_eq!(received[100..], all[200_000..]);
}
