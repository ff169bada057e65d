//! Whom Seawall believes: the system's certificate authorities and those of `trust.ca_files`. Files that change are read again;
//! what a file held last counts for as long as it is broken or gone, so that a slip of an editor cuts no connection.

#[cfg(test)]
mod tests;

use std::{
    fmt, fs, io,
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
    sync::Arc,
    time::{Duration, Instant},
};

use arc_swap::ArcSwap;
use parking_lot::Mutex;
use rustls::{ClientConfig, RootCertStore};
use rustls_pki_types::{CertificateDer, pem::PemObject};

/// How often the files are looked at, when there is use for them.
const LOOK_EVERY: Duration = Duration::from_secs(5);
/// A look that takes longer hangs on a mount; what is known counts meanwhile.
const PATIENCE: Duration = Duration::from_secs(2);
/// No bundle is larger; the largest of the public ones have a quarter of a megabyte.
const LARGEST: u64 = 16 << 20;
/// The version before the first look: nobody is believed yet.
const NOTHING_READ: u64 = 0;

/// The trust store. A clone is another handle on the same.
#[derive(Clone)]
pub struct Trust(Arc<Inner>);

struct Inner {
    every: Duration,
    current: ArcSwap<Roots>,
    /// Held while files are read; nobody waits for it who has something else to do.
    look: Mutex<Look>,
}

/// The authorities at one time.
pub struct Roots {
    pub certificates: Vec<CertificateDer<'static>>,
    /// What connects to whoever shows a certificate of theirs.
    pub tls: Arc<ClientConfig>,
    /// Grows when the authorities change.
    pub version: u64,
}

struct Look {
    /// None before the first.
    at: Option<Instant>,
    sources: Vec<Kept>,
}

/// What is known of a place that authorities come from.
struct Kept {
    place: Place,
    stamp: Vec<Option<Stamp>>,
    certificates: Vec<CertificateDer<'static>>,
    fault: Option<String>,
}

#[derive(Clone, PartialEq, Eq)]
enum Place {
    System,
    File(PathBuf),
}

/// What changes when a file is replaced or rewritten.
type Stamp = (u64, u64, u64, i64, i64);

/// What `seawall check` shows of a place that authorities come from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Source {
    /// The file; none for the system's own.
    pub file: Option<PathBuf>,
    /// How many authorities count from there.
    pub count: usize,
    /// Why it cannot be read now; what counts then was read before.
    pub fault: Option<String>,
}

impl Trust {
    /// Nothing is read before somebody needs it. A file that cannot be used is logged, and looked at again later.
    pub fn new(files: &[PathBuf]) -> Self {
        Self::looking_every(files, LOOK_EVERY)
    }

    pub(crate) fn looking_every(files: &[PathBuf], every: Duration) -> Self {
        let places = [Place::System]
            .into_iter()
            .chain(files.iter().cloned().map(Place::File));
        let look = Look {
            at: None,
            sources: places.map(Kept::new).collect(),
        };
        Self(Arc::new(Inner {
            every,
            current: ArcSwap::from_pointee(Roots::of(&[], NOTHING_READ)),
            look: Mutex::new(look),
        }))
    }

    /// What counts now, after a look at the files when one is due. Blocks while they are read.
    pub fn roots(&self) -> Arc<Roots> {
        // Whoever comes while another reads again takes what is known.
        let look = match self.known().version {
            NOTHING_READ => Some(self.0.look.lock()),
            _ => self.0.look.try_lock(),
        };
        if let Some(mut look) = look
            && look.is_due(self.0.every)
        {
            self.refresh(&mut look);
        }
        self.known()
    }

    /// The same from a task, which no hanging mount may hold up.
    pub async fn roots_soon(&self) -> Arc<Roots> {
        let is_due = self.known().version == NOTHING_READ
            || self
                .0
                .look
                .try_lock()
                .is_some_and(|look| look.is_due(self.0.every));
        if is_due {
            let trust = self.clone();
            let look = tokio::task::spawn_blocking(move || drop(trust.roots()));
            let _ = tokio::time::timeout(PATIENCE, look).await;
        }
        self.known()
    }

    /// What counted at the last look.
    pub(crate) fn known(&self) -> Arc<Roots> {
        self.0.current.load_full()
    }

    /// Looks at once, as after a SIGHUP. Blocks.
    pub fn reload(&self) {
        self.refresh(&mut self.0.look.lock());
    }

    /// What is known of each place. Blocks for the first look.
    pub fn sources(&self) -> Vec<Source> {
        self.roots();
        let look = self.0.look.lock();
        look.sources.iter().map(Kept::shown).collect()
    }

    fn refresh(&self, look: &mut Look) {
        let before = self.known().version;
        let mut changed = before == NOTHING_READ;
        for source in &mut look.sources {
            changed |= source.refresh();
        }
        if changed {
            let roots = Roots::of(&look.sources, before + 1);
            if before != NOTHING_READ {
                tracing::info!(
                    authorities = roots.certificates.len(),
                    "certificate authorities were read again"
                );
            }
            self.0.current.store(Arc::new(roots));
        }
        look.at = Some(Instant::now());
    }
}

/// The system's authorities alone.
impl Default for Trust {
    fn default() -> Self {
        Self::new(&[])
    }
}

impl fmt::Debug for Trust {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Trust({})", self.0.current.load().certificates.len())
    }
}

impl Roots {
    fn of(sources: &[Kept], version: u64) -> Self {
        let mut certificates: Vec<CertificateDer<'static>> = Vec::new();
        let mut store = RootCertStore::empty();
        for certificate in sources.iter().flat_map(|source| &source.certificates) {
            if store.add(certificate.clone()).is_ok() {
                certificates.push(certificate.clone());
            }
        }
        Self {
            certificates,
            tls: Arc::new(client_config(store)),
            version,
        }
    }
}

fn client_config(store: RootCertStore) -> ClientConfig {
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .expect("the provider has suites for TLS 1.2 and 1.3")
        .with_root_certificates(store)
        .with_no_client_auth()
}

impl Look {
    fn is_due(&self, every: Duration) -> bool {
        self.at.is_none_or(|at| at.elapsed() >= every)
    }
}

impl Kept {
    fn new(place: Place) -> Self {
        Self {
            place,
            stamp: Vec::new(),
            certificates: Vec::new(),
            fault: None,
        }
    }

    /// Reads the place again when it changed, or could not be read; says whether what counts changed.
    fn refresh(&mut self) -> bool {
        let stamp = self.place.stamp();
        if self.fault.is_none() && stamp == self.stamp && !stamp.is_empty() {
            return false;
        }
        // Taken before the content: what is written meanwhile is seen at the next look.
        self.stamp = stamp;
        match self.place.read() {
            Ok(certificates) => {
                if self.fault.take().is_some() {
                    tracing::info!(
                        "the certificate authorities of {} can be read again",
                        self.place
                    );
                }
                let changed = certificates != self.certificates;
                self.certificates = certificates;
                changed
            }
            Err(fault) => {
                if self.fault.as_ref() != Some(&fault) {
                    tracing::warn!(
                        fault,
                        kept = self.certificates.len(),
                        "the certificate authorities of {} cannot be used; what was read before still counts",
                        self.place
                    );
                }
                self.fault = Some(fault);
                false
            }
        }
    }

    fn shown(&self) -> Source {
        Source {
            file: match &self.place {
                Place::System => None,
                Place::File(path) => Some(path.clone()),
            },
            count: self.certificates.len(),
            fault: self.fault.clone(),
        }
    }
}

impl Place {
    fn stamp(&self) -> Vec<Option<Stamp>> {
        match self {
            Self::System => {
                let found = openssl_probe::probe();
                found
                    .cert_file
                    .iter()
                    .chain(&found.cert_dir)
                    .map(|path| stamp(path))
                    .collect()
            }
            Self::File(path) => vec![stamp(path)],
        }
    }

    fn read(&self) -> Result<Vec<CertificateDer<'static>>, String> {
        let found = match self {
            Self::System => system()?,
            Self::File(path) => read_file(path)?,
        };
        let mut store = RootCertStore::empty();
        let usable: Vec<_> = found
            .into_iter()
            .filter(|certificate| store.add(certificate.clone()).is_ok())
            .collect();
        if usable.is_empty() {
            Err("it holds no certificate that can be used".to_owned())
        } else {
            Ok(usable)
        }
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::System => f.write_str("the system"),
            Self::File(path) => write!(f, "`{}`", path.display()),
        }
    }
}

fn stamp(path: &Path) -> Option<Stamp> {
    let seen = fs::metadata(path).ok()?;
    Some((
        seen.dev(),
        seen.ino(),
        seen.len(),
        seen.mtime() * 1_000_000_000 + seen.mtime_nsec(),
        seen.ctime() * 1_000_000_000 + seen.ctime_nsec(),
    ))
}

fn system() -> Result<Vec<CertificateDer<'static>>, String> {
    let found = rustls_native_certs::load_native_certs();
    match found.errors.first() {
        Some(error) if found.certs.is_empty() => Err(error.to_string()),
        _ => Ok(found.certs),
    }
}

fn read_file(path: &Path) -> Result<Vec<CertificateDer<'static>>, String> {
    let text = read_bounded(path).map_err(|error| error.to_string())?;
    CertificateDer::pem_slice_iter(&text)
        .collect::<Result<_, _>>()
        .map_err(|error| format!("it is not PEM: {error}"))
}

fn read_bounded(path: &Path) -> io::Result<Vec<u8>> {
    let seen = fs::metadata(path)?;
    if !seen.is_file() || seen.len() > LARGEST {
        return Err(io::Error::other("it is not a file of certificates"));
    }
    fs::read(path)
}
