//! The store itself: opened once, cloned freely.
//!
//! Opening makes the root, and where a store has its identity the directories for uploads and quarantine when a copy left
//! out empty ones. The blob tree is made with the identity and never again: a mount point whose share is away must not
//! be filled.

use std::{
    fs, io,
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::Instant,
};

use parking_lot::Mutex;

use super::{
    Config,
    buffers::Buffers,
    durable::{Known, sync_dir},
    lane::Lane,
    layout::Layout,
    network::network_of,
    space::Gauge,
    upload::Claims,
    windows::Windows,
};
use crate::{Error, Result};

/// Calls at once. A hung mount swallows this many threads and no more; a local disk needs many flushes at once, since
/// those share a journal commit.
const NETWORK_WIDTH: usize = 48;
const LOCAL_WIDTH: usize = 128;

/// Content by digest, and uploads by key, below one directory.
#[derive(Clone)]
pub struct Store {
    pub(crate) shared: Arc<Shared>,
}

pub(crate) struct Shared {
    pub(crate) layout: Layout,
    pub(crate) network: Option<&'static str>,
    /// Turned off for good when the kernel cannot populate a mapping.
    pub(crate) mapped: AtomicBool,
    /// Whether files may be opened on the calling thread if no disk has to be asked: not on a network, and turned off for
    /// good when the kernel cannot tell.
    pub(crate) opens_cached: AtomicBool,
    pub(crate) windows: Windows,
    pub(crate) buffers: Arc<Buffers>,
    pub(crate) reads: Lane,
    pub(crate) writes: Lane,
    pub(crate) known: Known,
    pub(crate) gauge: Arc<Gauge>,
    pub(crate) claims: Claims,
    pub(crate) probing: AtomicBool,
    /// When a probe last wrote and all was well.
    pub(crate) wrote: Mutex<Option<Instant>>,
    /// Names temporary files apart: `tag` from other processes, `count` within this one.
    tag: String,
    count: AtomicU64,
}

impl Store {
    /// Looks at the root, makes it when its parent exists, and refuses one that cannot be read and written.
    pub async fn open(config: Config) -> Result<Self> {
        let opened = tokio::task::spawn_blocking(move || Shared::open(config)).await;
        Ok(Self {
            shared: Arc::new(opened.map_err(crate::error::stopped)??),
        })
    }

    /// The kind of network file system that the store lies on.
    pub fn network(&self) -> Option<&'static str> {
        self.shared.network
    }

    /// Whether pulls may map files here.
    pub fn is_mapped(&self) -> bool {
        self.shared.mapped.load(Ordering::Relaxed)
    }
}

impl Shared {
    fn open(config: Config) -> Result<Self> {
        let Config {
            root,
            reserve,
            mapped,
        } = config;
        let layout = Layout { root };
        let tag = uuid::Uuid::new_v4().simple().to_string()[..12].to_owned();
        make_root(&layout.root)?;
        try_dir(&layout.root, &tag)?;
        let network = network_of(&layout.root).map_err(|e| unusable(&layout.root, &e))?;
        if layout.identity().exists() {
            make_dirs(&layout, &[layout.uploads(), layout.quarantine()])?;
        }
        let local = network.is_none();
        let width = if local { LOCAL_WIDTH } else { NETWORK_WIDTH };
        Ok(Self {
            gauge: Gauge::new(layout.root.clone(), reserve, !local)?,
            layout,
            network,
            mapped: AtomicBool::new(mapped.unwrap_or(local)),
            opens_cached: AtomicBool::new(local),
            windows: Windows::default(),
            buffers: Arc::default(),
            reads: Lane::new(width),
            writes: Lane::new(width),
            known: Known::default(),
            claims: Claims::default(),
            probing: AtomicBool::new(false),
            wrote: Mutex::new(None),
            tag,
            count: AtomicU64::new(0),
        })
    }

    /// An upload key that no one else has. What a crash leaves under it shows in [`Store::uploads`].
    pub(crate) fn temporary(&self, purpose: &str) -> String {
        let count = self.count.fetch_add(1, Ordering::Relaxed);
        format!("{purpose}-{}-{count}", self.tag)
    }
}

fn make_root(root: &Path) -> Result<()> {
    match fs::create_dir(root) {
        Ok(()) => {
            let parent = root.parent().filter(|p| !p.as_os_str().is_empty());
            sync_dir(parent.unwrap_or(Path::new(".")))
        }
        Err(e) if e.kind() == io::ErrorKind::AlreadyExists => Ok(()),
        Err(e) if e.kind() == io::ErrorKind::NotFound => Err(Error::Unusable {
            root: root.display().to_string(),
            why: "its parent directory does not exist".to_owned(),
        }),
        Err(e) => Err(unusable(root, &e)),
    }
}

/// Permission bits do not tell (root, read-only mounts, squashed ids), so it is tried whether a directory can be used.
pub(crate) fn try_dir(dir: &Path, tag: &str) -> Result<()> {
    let attempt = || {
        for entry in fs::read_dir(dir)?.take(1) {
            entry?;
        }
        let trial = dir.join(format!(".trial-{tag}"));
        fs::File::create_new(&trial)?;
        fs::remove_file(&trial)
    };
    attempt().map_err(|e| unusable(dir, &e))
}

/// Makes directories below the root that are missing, durably.
pub(crate) fn make_dirs(layout: &Layout, dirs: &[PathBuf]) -> Result<()> {
    for dir in dirs {
        match fs::create_dir(dir) {
            Ok(()) => sync_dir(dir.parent().expect("all lie below the root"))?,
            Err(e) if e.kind() == io::ErrorKind::AlreadyExists => {}
            Err(e) => return Err(unusable(&layout.root, &e)),
        }
    }
    Ok(())
}

fn unusable(root: &Path, why: &io::Error) -> Error {
    if why.kind() == io::ErrorKind::PermissionDenied {
        let owner = fs::symlink_metadata(root).map_or(String::new(), |meta| {
            let (owner, own) = (meta.uid(), rustix::process::geteuid().as_raw());
            format!("; it belongs to user {owner}, this is user {own}")
        });
        return Error::Unusable {
            root: root.display().to_string(),
            why: format!("this user may not read and write it ({why}{owner})"),
        };
    }
    let what = match why.kind() {
        io::ErrorKind::ReadOnlyFilesystem => "it is read-only",
        io::ErrorKind::NotADirectory => "it is not a directory",
        _ => "it cannot be used",
    };
    Error::Unusable {
        root: root.display().to_string(),
        why: format!("{what} ({why})"),
    }
}
