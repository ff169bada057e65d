//! The store as everybody else sees it: in a directory, or in a bucket. What differs stays below.

use std::{
    path::PathBuf,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use arc_swap::{ArcSwap, ArcSwapOption};
use bytes::Bytes;
use oci::digest::{Algorithm, Digest};
use tokio_util::sync::CancellationToken;

use crate::{
    Batch, Error, Reader, Result, Saved, Space, Unfinished, Verdict, Writer, files,
    objects::{self, Objects},
    staged::Staged,
    tree::HeldBatch,
};

/// Where the bytes live.
#[derive(Clone)]
pub enum Config {
    Files(files::Config),
    Objects(Box<objects::Config>),
}

impl Config {
    /// A directory, with what is usual.
    pub fn new(root: impl Into<PathBuf>) -> Self {
        Self::Files(files::Config::new(root))
    }
}

impl From<files::Config> for Config {
    fn from(config: files::Config) -> Self {
        Self::Files(config)
    }
}

impl From<objects::Config> for Config {
    fn from(config: objects::Config) -> Self {
        Self::Objects(Box::new(config))
    }
}

/// Content by digest, and uploads by key. Opened once, cloned freely.
#[derive(Clone)]
pub struct Store(Arc<Place>);

struct Place {
    /// Another one once the contents were moved.
    kind: ArcSwap<Kind>,
    /// What it was before, for a read that learned a location just before that.
    former: ArcSwapOption<Kind>,
    moves: AtomicU64,
}

pub(crate) enum Kind {
    Files(files::Store),
    Objects(Arc<Objects>),
}

/// A walk over all stored content.
pub struct Listing(Walk);

/// A walk over what a Docker registry wrote of its repositories; see [`crate::tree`].
pub struct TreeWalk(Links);

enum Links {
    Files(files::tree::TreeWalk),
    Objects(objects::TreeWalk),
}

enum Walk {
    Files(files::Listing),
    Objects(objects::Listing),
}

impl Store {
    /// Looks at the directory or the bucket, and refuses one that cannot be used.
    pub async fn open(config: impl Into<Config>) -> Result<Self> {
        let kind = match config.into() {
            Config::Files(config) => Kind::Files(files::Store::open(config).await?),
            Config::Objects(config) => Kind::Objects(Arc::new(Objects::open(&config).await?)),
        };
        Ok(Self::of(Arc::new(kind)))
    }

    fn of(kind: Arc<Kind>) -> Self {
        Self(Arc::new(Place {
            kind: ArcSwap::new(kind),
            former: ArcSwapOption::empty(),
            moves: AtomicU64::new(0),
        }))
    }

    /// A handle of what this store is now, which stays that whatever this one becomes.
    #[must_use]
    pub fn as_it_is(&self) -> Self {
        Self::of(self.kind())
    }

    pub(crate) fn kind(&self) -> Arc<Kind> {
        self.0.kind.load_full()
    }

    /// From now on all handles of this store are of `other`. Reads that do not find something there look where it was before, until
    /// [`Store::forget_former`]; nothing else does.
    pub fn become_other(&self, other: &Self) {
        // First, so that nobody finds something in neither.
        self.0.former.store(Some(self.kind()));
        self.0.kind.store(other.kind());
        self.0.moves.fetch_add(1, Ordering::AcqRel);
    }

    /// Lets go of the store that this one was.
    pub fn forget_former(&self) {
        self.0.former.store(None);
    }

    /// How often this store has become another. An upload that began before knows a store that does not count any more.
    pub fn moves(&self) -> u64 {
        self.0.moves.load(Ordering::Acquire)
    }

    /// Puts another identity in the place of this one; the caller knows that nobody uses the store.
    pub async fn change_identity(&self, from: &str, to: &str) -> Result<()> {
        match &*self.kind() {
            Kind::Files(files) => files.change_identity(from, to).await,
            Kind::Objects(objects) => objects.change_identity(from, to).await,
        }
    }

    /// As a person knows it: a bucket's address; none for a directory.
    pub fn bucket(&self) -> Option<String> {
        match &*self.kind() {
            Kind::Files(_) => None,
            Kind::Objects(objects) => Some(objects.shown().to_owned()),
        }
    }

    /// The kind of network file system that the store lies on.
    pub fn network(&self) -> Option<&'static str> {
        match &*self.kind() {
            Kind::Files(files) => files.network(),
            Kind::Objects(_) => None,
        }
    }

    /// Whether pulls may map files here.
    pub fn is_mapped(&self) -> bool {
        match &*self.kind() {
            Kind::Files(files) => files.is_mapped(),
            Kind::Objects(_) => false,
        }
    }

    /// Whose store this is, if anybody's.
    pub async fn identity(&self) -> Result<Option<String>> {
        match &*self.kind() {
            Kind::Files(files) => files.identity().await,
            Kind::Objects(objects) => objects.identity().await,
        }
    }

    /// Whether nothing is stored here.
    pub async fn is_empty(&self) -> Result<bool> {
        match &*self.kind() {
            Kind::Files(files) => files.is_empty().await,
            Kind::Objects(objects) => objects.is_empty().await,
        }
    }

    /// Gives the store its identity, durably; never replaces another.
    pub async fn adopt(&self, id: &str) -> Result<()> {
        match &*self.kind() {
            Kind::Files(files) => files.adopt(id).await,
            Kind::Objects(objects) => objects.adopt(id).await,
        }
    }

    /// Whether a registry's blob tree lies here, ours or another's.
    pub async fn holds_tree(&self) -> Result<bool> {
        match &*self.kind() {
            Kind::Files(files) => files.holds_tree().await,
            Kind::Objects(objects) => objects.holds_tree().await,
        }
    }

    /// What a Docker registry wrote here of its repositories.
    pub fn tree(&self) -> TreeWalk {
        TreeWalk(match &*self.kind() {
            Kind::Files(files) => Links::Files(files.tree()),
            Kind::Objects(objects) => Links::Objects(objects::TreeWalk::new(objects.clone())),
        })
    }

    /// The digest that a tag of that registry stands for; none when its link is missing or says none.
    pub async fn tag_in_tree(&self, repository: &str, tag: &str) -> Result<Option<Digest>> {
        match &*self.kind() {
            Kind::Files(files) => files.tag_in_tree(repository, tag).await,
            Kind::Objects(objects) => objects.tag_in_tree(repository, tag).await,
        }
    }

    /// Whether this is still our store and takes bytes. The caller sets the time-out.
    pub async fn probe(&self, expected_id: &str) -> Result<()> {
        match &*self.kind() {
            Kind::Files(files) => files.probe(expected_id).await,
            Kind::Objects(objects) => objects.probe(expected_id).await,
        }
    }

    /// Room in the file system; none in a bucket, which has no end.
    pub fn space(&self) -> Result<Option<Space>> {
        match &*self.kind() {
            Kind::Files(files) => files.space().map(Some),
            Kind::Objects(_) => Ok(None),
        }
    }

    /// Whether `bytes` more fit without touching the reserve. When it cannot be told, it is for the write to find out.
    pub fn has_room(&self, bytes: u64) -> bool {
        match &*self.kind() {
            Kind::Files(files) => files.has_room(bytes),
            Kind::Objects(_) => true,
        }
    }

    /// Whether a session that another node had may go on in that node's file. In a bucket nothing is appended to, so that
    /// what another node still sends is in nobody's way; in a directory it goes on in a copy.
    pub fn shares_uploads(&self) -> bool {
        matches!(*self.kind(), Kind::Objects(_))
    }

    /// Begins an upload; costs no write.
    pub async fn begin(&self, key: &str, algorithm: Algorithm) -> Result<Writer> {
        match &*self.kind() {
            Kind::Files(files) => files.begin(key, algorithm).await.map(Writer::from),
            Kind::Objects(objects) => Ok(objects.begin(key, algorithm).into()),
        }
    }

    /// Goes on with an upload at byte `at`; `Short` when the store does not reach it.
    pub async fn resume(
        &self,
        key: &str,
        at: u64,
        saved: Option<&Saved>,
        algorithm: Algorithm,
    ) -> Result<Writer> {
        match (&*self.kind(), saved) {
            (Kind::Files(files), saved) => {
                let hash = saved.and_then(Saved::hash);
                let resumed = files.resume(key, at, hash, algorithm).await;
                resumed.map(Writer::from)
            }
            (Kind::Objects(objects), Some(Saved::Parts(progress))) => {
                let resumed = objects.resume(key, at, Some(progress)).await;
                resumed.map(Writer::from)
            }
            (Kind::Objects(objects), _) => objects.resume(key, at, None).await.map(Writer::from),
        }
    }

    /// In a directory: goes on with the first `at` bytes of the upload `from` under the fresh key `key`.
    pub async fn resume_copy(
        &self,
        from: &str,
        key: &str,
        at: u64,
        algorithm: Algorithm,
    ) -> Result<Writer> {
        match &*self.kind() {
            Kind::Files(files) => {
                let resumed = files.resume_copy(from, key, at, algorithm).await;
                resumed.map(Writer::from)
            }
            Kind::Objects(_) => Err(Error::Invalid(
                key.to_owned(),
                "upload: in a bucket nothing is copied",
            )),
        }
    }

    /// For a PUT that is repeated after a failed commit: the upload is gone because its bytes lie at `location` already. None when they
    /// do not. In a bucket they were checked before, in this very object.
    pub async fn restage(
        &self,
        key: &str,
        digest: &Digest,
        location: &str,
        size: u64,
    ) -> Result<Option<Staged>> {
        match &*self.kind() {
            Kind::Files(files) => {
                let staged = files.restage(key, digest, location, size).await?;
                Ok(staged.map(Staged::from))
            }
            Kind::Objects(objects) => match objects.look(digest, location, size).await {
                Ok(()) => {
                    let staged = objects::Staged::again(objects.clone(), *digest, size, location);
                    Ok(Some(staged.into()))
                }
                Err(Error::NotFound | Error::Damaged(_)) => Ok(None),
                Err(error) => Err(error),
            },
        }
    }

    /// Gives up an upload; one that is not there is given up already. In a bucket what it has made an object of stays: see
    /// [`Store::own_locations`]. `saved` is what its row said.
    pub async fn discard(&self, key: &str, saved: Option<&Saved>) -> Result<()> {
        match (&*self.kind(), saved) {
            (Kind::Files(files), _) => files.discard(key).await,
            (Kind::Objects(objects), Some(Saved::Parts(progress))) => {
                objects.discard(key, Some(progress)).await
            }
            (Kind::Objects(objects), _) => objects.discard(key, None).await,
        }
    }

    /// In a bucket: where contents would lie that objects of this upload became. Which of them did, the database knows; the others
    /// are removed by [`Store::remove_own`], once nobody writes to the upload any more.
    pub async fn own_locations(&self, key: &str) -> Result<Vec<String>> {
        match &*self.kind() {
            // Its file was renamed, or is gone.
            Kind::Files(_) => Ok(Vec::new()),
            Kind::Objects(objects) => objects.own_locations(key).await,
        }
    }

    /// Removes objects that are no content. `digest` is what they were marked as, if that is known.
    pub async fn remove_own(&self, locations: &[String], digest: Option<&Digest>) -> Result<()> {
        match &*self.kind() {
            Kind::Files(_) => Ok(()),
            Kind::Objects(objects) => objects.remove_own(locations, digest).await,
        }
    }

    /// Whether content is there with this length, without a look at its bytes.
    pub async fn look(&self, digest: &Digest, location: &str, expected_len: u64) -> Result<()> {
        match (
            self.kind().look(digest, location, expected_len).await,
            self.former(),
        ) {
            (Err(Error::NotFound | Error::Invalid(..)), Some(former)) => {
                former.look(digest, location, expected_len).await
            }
            (looked, _) => looked,
        }
    }

    fn former(&self) -> Option<Arc<Kind>> {
        self.0.former.load_full()
    }

    /// Writes a little and takes it away again: whether this node may.
    pub async fn try_write(&self) -> Result<()> {
        match &*self.kind() {
            // Opening it has tried.
            Kind::Files(_) => Ok(()),
            Kind::Objects(objects) => objects.try_write().await,
        }
    }

    /// Uploads that lie in the store, also those of other nodes and what crashes left behind. Of a bucket those in parts.
    pub async fn uploads(&self) -> Result<Vec<Unfinished>> {
        match &*self.kind() {
            Kind::Files(files) => files.uploads().await,
            Kind::Objects(objects) => objects.uploads().await,
        }
    }

    /// Opens content whose length the caller knows; `Damaged` when it is another. In a bucket it is looked for
    /// when its first bytes are asked for.
    pub async fn open_blob(
        &self,
        digest: &Digest,
        location: &str,
        expected_len: u64,
    ) -> Result<Reader> {
        let (kind, former) = (self.kind(), self.former());
        if let Some(former) = former
            && let Err(Error::NotFound | Error::Invalid(..)) =
                kind.look(digest, location, expected_len).await
        {
            return former.open_blob(digest, location, expected_len).await;
        }
        kind.open_blob(digest, location, expected_len).await
    }

    /// Stores small content (manifests) in one step, durable on return. Replaces what lies there. `Withdrawn` when a
    /// delete of that location was faster, `Full` when only the reserve is left.
    pub async fn put(&self, digest: &Digest, location: &str, bytes: Bytes) -> Result<()> {
        match &*self.kind() {
            Kind::Files(files) => files.put(digest, location, bytes).await,
            Kind::Objects(objects) => objects.put(digest, location, bytes).await,
        }
    }

    /// Reads content of at most `max` bytes whole and checks its digest.
    pub async fn read(&self, digest: &Digest, location: &str, max: usize) -> Result<Bytes> {
        match (self.kind().read(digest, location, max).await, self.former()) {
            (Err(Error::NotFound | Error::Invalid(..)), Some(former)) => {
                former.read(digest, location, max).await
            }
            (read, _) => read,
        }
    }

    /// Deletes, and says for each how many bytes that freed; what is not there freed none. Of a bucket that is not known.
    pub async fn delete(&self, items: &[(Digest, String)]) -> Vec<Result<Option<u64>>> {
        match &*self.kind() {
            Kind::Files(files) => {
                let deleted = files.delete(items).await;
                deleted.into_iter().map(|freed| freed.map(Some)).collect()
            }
            Kind::Objects(objects) => {
                let deleted = objects.delete(items).await;
                deleted
                    .into_iter()
                    .map(|gone| gone.map(|()| None))
                    .collect()
            }
        }
    }

    /// Takes damaged content out of the way, so that the next push heals it, and keeps it for a person to look at. In a bucket
    /// it stays where it is: a push heals it there, or beside it.
    pub async fn quarantine(&self, digest: &Digest, location: &str) -> Result<()> {
        match &*self.kind() {
            Kind::Files(files) => files.quarantine(digest, location).await,
            Kind::Objects(_) => Ok(()),
        }
    }

    /// Reads stored content and compares its digest, at most `rate` bytes a second.
    pub async fn verify(
        &self,
        digest: &Digest,
        location: &str,
        rate: Option<u64>,
        cancel: &CancellationToken,
    ) -> Result<Verdict> {
        match &*self.kind() {
            Kind::Files(files) => files.verify(digest, location, rate, cancel).await,
            Kind::Objects(objects) => objects.verify(digest, location, rate, cancel).await,
        }
    }

    pub fn list(&self) -> Listing {
        Listing(match &*self.kind() {
            Kind::Files(files) => Walk::Files(files.list()),
            Kind::Objects(objects) => Walk::Objects(objects::Listing::new(objects.clone())),
        })
    }
}

impl Kind {
    async fn look(&self, digest: &Digest, location: &str, expected_len: u64) -> Result<()> {
        match self {
            Self::Files(files) => {
                let opened = files.open_blob(digest, location, expected_len).await;
                opened.map(|_| ())
            }
            Self::Objects(objects) => objects.look(digest, location, expected_len).await,
        }
    }

    async fn open_blob(
        &self,
        digest: &Digest,
        location: &str,
        expected_len: u64,
    ) -> Result<Reader> {
        match self {
            Self::Files(files) => {
                let opened = files.open_blob(digest, location, expected_len).await;
                opened.map(Reader::from)
            }
            Self::Objects(objects) => {
                objects::Reader::new(objects.clone(), digest, location, expected_len)
                    .map(Reader::from)
            }
        }
    }

    async fn read(&self, digest: &Digest, location: &str, max: usize) -> Result<Bytes> {
        match self {
            Self::Files(files) => files.read(digest, location, max).await,
            Self::Objects(objects) => objects.read(digest, location, max).await,
        }
    }
}

impl Listing {
    /// The next batch, in no order; `None` at the end. After an error the walk begins again.
    pub async fn next(&mut self) -> Result<Option<Batch>> {
        match &mut self.0 {
            Walk::Files(walk) => walk.next().await,
            Walk::Objects(walk) => walk.next().await,
        }
    }
}

impl TreeWalk {
    /// The next batch, at times an empty one; `None` at the end. After an error the walk begins again.
    pub async fn next(&mut self) -> Result<Option<HeldBatch>> {
        match &mut self.0 {
            Links::Files(walk) => walk.next().await,
            Links::Objects(walk) => walk.next().await,
        }
    }
}
