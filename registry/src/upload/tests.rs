use std::{fs, time::Duration};

use blob::{Store, Verdict};
use bytes::Bytes;
use db::uploads::{self, Upload};
use futures_util::{Stream, StreamExt, stream};
use model::{Error, Result, id::ProjectId};
use oci::digest::{Algorithm, Digest};
use testkit::on_postgres;
use tokio::sync::{mpsc, oneshot};
use tokio_util::sync::CancellationToken;

use super::Chunk;
use crate::{
    Registry,
    push::Target,
    world::{World, config, digest_of, each},
};

const NAME: &str = "library/a";
const CALLER: &str = "user:1";
const MIB: usize = 1 << 20;

type Body = std::pin::Pin<Box<dyn Stream<Item = Result<Bytes>> + Send>>;

fn body(bytes: &[u8]) -> Chunk<Body> {
    let frames: Vec<_> = bytes
        .chunks(64 << 10)
        .map(|frame| Ok(Bytes::copy_from_slice(frame)))
        .collect();
    Chunk {
        is_limited: false,
        range: None,
        length: None,
        body: stream::iter(frames).boxed(),
    }
}

/// A request that is under way: says when its bytes are asked for, and brings what it is sent.
struct Sender {
    frames: mpsc::UnboundedSender<Bytes>,
    asked: oneshot::Receiver<()>,
}

impl Sender {
    async fn is_asked(&mut self) {
        (&mut self.asked).await.unwrap();
    }

    fn send(&self, bytes: &[u8]) {
        self.frames.send(Bytes::copy_from_slice(bytes)).unwrap();
    }
}

fn slow_body() -> (Sender, Chunk<Body>) {
    let (frames, received) = mpsc::unbounded_channel();
    let (ask, asked) = oneshot::channel();
    let next = |(mut received, ask): (
        mpsc::UnboundedReceiver<Bytes>,
        Option<oneshot::Sender<()>>,
    )| async move {
        if let Some(ask) = ask {
            let _ = ask.send(());
        }
        let bytes = received.recv().await?;
        Some((Ok(bytes), (received, None)))
    };
    let body = stream::unfold((received, Some(ask)), next).boxed();
    let chunk = Chunk {
        is_limited: false,
        range: None,
        length: None,
        body,
    };
    (Sender { frames, asked }, chunk)
}

/// A session, spoken of in verbs, at whichever node.
struct Session {
    id: String,
    key: String,
    target: Target,
}

impl Session {
    fn open(world: &World<'_>) -> Self {
        Self::open_in(world, NAME)
    }

    fn open_in(world: &World<'_>, name: &str) -> Self {
        let target = world.target(name);
        let registry = &world.registry;
        let id = registry.open_upload(target.name.borrowed(), CALLER, Algorithm::Sha256);
        let sessions = &registry.0.sessions;
        let session = sessions.verify(&id, target.name.borrowed(), CALLER);
        let key = session.unwrap().key;
        Self { id, key, target }
    }

    async fn append(&self, at: &Registry, chunk: Chunk<Body>) -> Result<u64> {
        at.append_upload(&self.target, CALLER, &self.id, chunk)
            .await
    }

    async fn finish(&self, at: &Registry, digest: &Digest, chunk: Chunk<Body>) -> Result<()> {
        at.finish_upload(&self.target, CALLER, &self.id, digest, chunk)
            .await
    }

    /// A PUT into a repository that nobody made before, whose transaction fails after the bytes were published.
    async fn fail_to_finish(&self, at: &Registry, digest: &Digest, chunk: Chunk<Body>) {
        let mut target = self.target.clone();
        target.project = ProjectId(4711);
        let failed = at.finish_upload(&target, CALLER, &self.id, digest, chunk);
        assert!(failed.await.is_err());
    }

    async fn received(&self, at: &Registry) -> Result<u64> {
        at.upload_received(self.target.name.borrowed(), CALLER, &self.id)
            .await
    }

    async fn can_read(&self, at: &Registry, digest: &Digest) -> bool {
        let found = at.find_blob(self.target.name.borrowed(), digest).await;
        found.unwrap().is_some()
    }

    async fn row(&self, at: &Registry) -> Option<Upload> {
        let reader = &mut *at.db().reader().await.unwrap();
        uploads::find(reader, &self.key).await.unwrap()
    }

    fn files(&self, world: &World<'_>) -> Vec<String> {
        let names = fs::read_dir(world.root.join("uploads")).unwrap();
        let mut names: Vec<_> = names
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .filter(|name| name.starts_with(&self.key))
            .collect();
        names.sort();
        names
    }
}

/// Another server, on its own connection to the database and over the same store.
async fn second_node(world: &World<'_>) -> Registry {
    let db = world.database.node("two").await;
    let store = Store::open(blob::Config::new(&world.root)).await.unwrap();
    Registry::new(db, store, config(), &[[1; 32]])
}

fn filled(len: usize, with: u8) -> Vec<u8> {
    (0..len)
        .map(|n| with.wrapping_add((n / 977) as u8))
        .collect()
}

fn is_unknown<T>(answer: &Result<T>) -> bool {
    matches!(answer, Err(Error::NotFound(..)))
}

#[test]
fn late_writes_of_a_node_that_lost_a_session_do_not_reach_its_content() {
    on_postgres(async |database| {
        let world = &World::new(database).await;
        let (one, two) = (&world.registry, second_node(world).await);
        for begun in [0, MIB] {
            let session = Session::open(world);
            let content = filled(2 * MIB, begun as u8 + 3);
            let digest = digest_of(&content);
            if begun > 0 {
                session.append(one, body(&content[..begun])).await.unwrap();
            }
            let (mut sender, chunk) = slow_body();
            let stuck = async {
                sender.is_asked().await;
                session
                    .finish(&two, &digest, body(&content[begun..]))
                    .await
                    .unwrap();
                for _ in 0..16 {
                    sender.send(&filled(256 << 10, 99));
                }
                drop(sender);
            };
            let (lost, ()) = tokio::join!(session.append(one, chunk), stuck);
            assert!(matches!(lost, Err(Error::Conflict(_))), "{lost:?}");
            let cancel = CancellationToken::new();
            let verdict = two.store().verify(&digest, "data", None, &cancel).await;
            let size = content.len() as u64;
            assert_eq!(verdict.unwrap(), Verdict::Good { size }, "{begun}");
        }
        two.db().close().await;
    });
}

#[test]
fn a_session_that_was_let_go_goes_on_in_its_file_on_any_node() {
    on_postgres(async |database| {
        let world = &World::new(database).await;
        let (one, two) = (&world.registry, second_node(world).await);
        let (session, content) = (Session::open(world), filled(4 * MIB, 1));
        for (part, node) in content.chunks(MIB).zip([one, &two, one, &two]) {
            session.append(node, body(part)).await.unwrap();
        }
        assert_eq!(session.files(world), [session.key.as_str()]);
        let row = session.row(one).await.unwrap();
        assert!(
            row.hash_state.is_some(),
            "small chunks save their hash as well"
        );
        session
            .finish(one, &digest_of(&content), body(&[]))
            .await
            .unwrap();
        two.db().close().await;
    });
}

#[test]
fn a_finish_is_repeated_on_another_node_when_the_first_died_before_its_commit() {
    on_postgres(async |database| {
        let world = &World::new(database).await;
        let (one, two) = (&world.registry, second_node(world).await);
        let (content, others) = (filled(2 * MIB, 7), filled(2 * MIB, 8));
        let (digest, of_others) = (digest_of(&content), digest_of(&others));
        let elsewhere = Session::open_in(world, "library/b");
        elsewhere.append(one, body(&others)).await.unwrap();
        elsewhere.finish(one, &of_others, body(&[])).await.unwrap();
        let session = Session::open(world);
        session.append(one, body(&content)).await.unwrap();
        // The bytes are under their digest, and no row says so.
        session.fail_to_finish(one, &digest, body(&[])).await;
        assert!(session.files(world).is_empty());
        // What somebody else brought is not his.
        let wrong = session.finish(&two, &of_others, body(&[])).await;
        assert!(is_unknown(&wrong), "{wrong:?}");
        assert!(!session.can_read(&two, &of_others).await);
        session.finish(&two, &digest, body(&[])).await.unwrap();
        assert!(session.can_read(&two, &digest).await);
        two.db().close().await;
    });
}

#[test]
fn a_finish_is_repeated_after_its_commit_failed() {
    each(async |world| {
        let registry = &world.registry;
        for (name, brought) in [(NAME, 0), ("library/b", 100)] {
            let session = Session::open_in(world, name);
            let content = filled(1000, brought as u8);
            let (first, rest) = content.split_at(1000 - brought);
            let digest = digest_of(&content);
            session.append(registry, body(first)).await.unwrap();
            session.fail_to_finish(registry, &digest, body(rest)).await;
            assert!(!session.can_read(registry, &digest).await);
            session.fail_to_finish(registry, &digest, body(rest)).await;
            let again = || session.finish(registry, &digest, body(rest));
            let (a, b) = tokio::join!(again(), again());
            a.unwrap();
            b.unwrap();
            assert!(session.can_read(registry, &digest).await);
        }
    });
}

#[test]
fn a_session_whose_bytes_are_gone_gives_nobody_the_content_of_others() {
    each(async |world| {
        let registry = &world.registry;
        let (secret, own) = (filled(1000, 7), filled(1000, 8));
        let secret = world.push_blob("library/private", &secret).await;
        let session = Session::open(world);
        session.append(registry, body(&own)).await.unwrap();
        // Not even when a finish of its own failed before.
        session
            .fail_to_finish(registry, &digest_of(&own), body(&[]))
            .await;
        assert!(session.files(world).is_empty());
        let stolen = session.finish(registry, &secret, body(&[])).await;
        assert!(is_unknown(&stolen), "{stolen:?}");
        assert!(!session.can_read(registry, &secret).await);
    });
}

#[test]
fn an_upload_whose_end_was_lost_goes_on_from_where_it_is_whole() {
    each(async |world| {
        let (registry, content) = (&world.registry, filled(3 * MIB, 5));
        let session = Session::open(world);
        for part in [&content[..MIB], &content[MIB..MIB + 1000]] {
            session.append(registry, body(part)).await.unwrap();
        }
        let file = fs::OpenOptions::new()
            .write(true)
            .open(world.root.join("uploads").join(&session.key))
            .unwrap();
        file.set_len(MIB as u64 + 10).unwrap();
        // Where others may go on with it, the first chunk was flushed and its hash saved.
        let whole = if registry.db().is_exclusive() { 0 } else { MIB };
        let answer = session.append(registry, body(&content[MIB..])).await;
        assert!(
            matches!(answer, Err(Error::RangeMismatch { have }) if have == whole as u64),
            "{answer:?}"
        );
        assert_eq!(session.received(registry).await.unwrap(), whole as u64);
        session
            .finish(registry, &digest_of(&content), body(&content[whole..]))
            .await
            .unwrap();
    });
}

#[test]
fn who_asks_how_far_it_came_is_told_what_the_cut_writer_left() {
    each(async |world| {
        let (registry, content) = (&world.registry, filled(MIB, 2));
        let session = Session::open(world);
        let (mut sender, chunk) = slow_body();
        sender.send(&content[..300_000]);
        let ask = async {
            sender.is_asked().await;
            session.received(registry).await.unwrap()
        };
        let (cut, received) = tokio::join!(session.append(registry, chunk), ask);
        assert!(matches!(cut, Err(Error::Conflict(_))), "{cut:?}");
        let rest = body(&content[received as usize..]);
        let range = oci::range::ByteRange {
            start: received,
            end: content.len() as u64 - 1,
        };
        let rest = Chunk {
            is_limited: false,
            range: Some(range),
            ..rest
        };
        session
            .finish(registry, &digest_of(&content), rest)
            .await
            .unwrap();
    });
}

#[test]
fn an_id_stands_as_long_as_bytes_keep_coming() {
    each(async |world| {
        let (registry, hour) = (&world.registry, Duration::from_hours(1));
        let (idle, lively) = (Session::open(world), Session::open(world));
        world.advance(hour * 23);
        lively.append(registry, body(b"one")).await.unwrap();
        assert_eq!(idle.received(registry).await.unwrap(), 0);
        world.advance(hour * 2);
        assert!(is_unknown(&idle.received(registry).await));
        assert!(is_unknown(&idle.append(registry, body(b"two")).await));
        assert_eq!(lively.append(registry, body(b"two")).await.unwrap(), 6);
        world.advance(hour * 25);
        assert!(is_unknown(&lively.append(registry, body(b"three")).await));
    });
}

#[test]
fn a_cancelled_session_is_gone_with_its_file() {
    each(async |world| {
        let registry = &world.registry;
        let session = Session::open(world);
        session.append(registry, body(b"bytes")).await.unwrap();
        let name = session.target.name.borrowed();
        let cancel = || registry.cancel_upload(name, CALLER, &session.id);
        cancel().await.unwrap();
        assert!(session.files(world).is_empty());
        assert!(is_unknown(&session.received(registry).await));
        assert!(is_unknown(&session.append(registry, body(b"more")).await));
        assert!(is_unknown(&cancel().await));
    });
}
