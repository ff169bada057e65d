//! TLS: what the files say, as configurations for rustls, and their exchange while the server runs.
//!
//! The files are compared by content every few seconds, since a mounted secret changes through links without a new time on the
//! name. New connections take what was loaded last; a file that cannot be used leaves everything as it was.

use std::{
    collections::hash_map::DefaultHasher,
    fs,
    hash::{Hash, Hasher},
    io,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use anyhow::{Context, anyhow};
use arc_swap::ArcSwap;
use rustls::{
    RootCertStore, ServerConfig,
    crypto::{CryptoProvider, aws_lc_rs},
    server::{NoServerSessionStorage, WebPkiClientVerifier, danger::ClientCertVerifier},
    version::{TLS12, TLS13},
};
use rustls_pki_types::{CertificateRevocationListDer, UnixTime, pem::PemObject};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use x509_parser::{prelude::FromDer, revocation_list::CertificateRevocationList};

use super::{
    certificates::{Certificates, Expiry, Left, chain_from_pem},
    config::{ClientCertificates, MinVersion, TlsConfig},
};

const POLL: Duration = Duration::from_secs(10);
const DAY: Duration = Duration::from_hours(24);

/// The certificates in use, shared by all listeners.
pub struct Tls {
    config: TlsConfig,
    loaded: ArcSwap<Loaded>,
}

struct Loaded {
    fingerprint: u64,
    certificates: Arc<Certificates>,
    without_client: Arc<ServerConfig>,
    /// With client certificates optional and required; none without an authority for them.
    with_client: Option<[Arc<ServerConfig>; 2]>,
    /// The earliest `nextUpdate` of the revocation lists.
    crl_due: Option<i64>,
    /// Cancelled when other files take the place of these.
    replaced: CancellationToken,
}

/// The contents of all files.
struct Files {
    certificates: Vec<(PathBuf, Vec<u8>, Vec<u8>)>,
    client_ca: Option<Vec<u8>>,
    client_crl: Vec<Vec<u8>>,
}

impl Tls {
    /// Reads and checks all files; blocks for as long as they take.
    pub fn load(config: &TlsConfig) -> anyhow::Result<Arc<Self>> {
        let (fingerprint, files) = read(config);
        let loaded = build(config, fingerprint, &files?)?;
        Ok(Arc::new(Self {
            config: config.clone(),
            loaded: ArcSwap::from_pointee(loaded),
        }))
    }

    /// Reads the files again; true when they had changed. An error leaves everything as it was. Blocks.
    pub fn reload(&self) -> anyhow::Result<bool> {
        let Some((_, loaded)) = self.look() else {
            return Ok(false);
        };
        self.replace(loaded?);
        Ok(true)
    }

    /// When each certificate ends, the default one first.
    pub fn expiry(&self) -> Vec<Expiry> {
        self.loaded.load().certificates.expiry().to_vec()
    }

    pub fn config(&self) -> &TlsConfig {
        &self.config
    }

    fn replace(&self, loaded: Loaded) {
        self.loaded.swap(Arc::new(loaded)).replaced.cancel();
    }

    /// What a new connection is accepted with, and what is cancelled once it would be accepted with something else.
    pub(super) fn server_config(
        &self,
        clients: ClientCertificates,
    ) -> (Arc<ServerConfig>, CancellationToken) {
        let loaded = self.loaded.load();
        let config = match (clients, &loaded.with_client) {
            (ClientCertificates::Off, _) => Arc::clone(&loaded.without_client),
            (ClientCertificates::Optional, Some([optional, _])) => Arc::clone(optional),
            (ClientCertificates::Required, Some([_, required])) => Arc::clone(required),
            (ClientCertificates::Optional | ClientCertificates::Required, None) => {
                unreachable!("`Config::check` refuses client certificates without an authority")
            }
        };
        (config, loaded.replaced.clone())
    }

    /// Looks for changed files until the server stops, and tells the log of certificates that end soon.
    pub async fn watch(self: Arc<Self>, stop: CancellationToken) {
        let mut failed = None;
        let mut told = None;
        loop {
            if told.is_none_or(|told: Instant| told.elapsed() >= DAY) {
                told = Some(Instant::now());
                self.tell_expiry(UnixTime::now().as_secs() as i64);
            }
            let slept = stop.run_until_cancelled(tokio::time::sleep(POLL)).await;
            if slept.is_none() {
                return;
            }
            let tls = Arc::clone(&self);
            if let Ok(look) = tokio::task::spawn_blocking(move || tls.look()).await {
                failed = self.take_over(look, failed);
            }
        }
    }

    /// What is in the files now; none when it is what was loaded last.
    fn look(&self) -> Option<(u64, anyhow::Result<Loaded>)> {
        let (fingerprint, files) = read(&self.config);
        if fingerprint == self.loaded.load().fingerprint {
            return None;
        }
        let loaded = files.and_then(|files| build(&self.config, fingerprint, &files));
        Some((fingerprint, loaded))
    }

    /// Takes over what a look found, or gives back what is wrong with it. The second look at the same broken content tells the
    /// log, and no later one: the first may have come between the writing of a certificate and of its key.
    fn take_over(
        &self,
        look: Option<(u64, anyhow::Result<Loaded>)>,
        failed: Option<Failed>,
    ) -> Option<Failed> {
        let (fingerprint, loaded) = look?;
        match loaded {
            Ok(loaded) => {
                self.replace(loaded);
                tracing::info!("TLS certificates were reloaded");
                self.tell_expiry(UnixTime::now().as_secs() as i64);
                None
            }
            Err(error) => {
                let seen = failed.filter(|failed| failed.fingerprint == fingerprint);
                if seen.is_some_and(|failed| !failed.told) {
                    tracing::error!(
                        error = format!("{error:#}"),
                        "changed TLS files cannot be used, the ones loaded before stay"
                    );
                }
                let told = seen.is_some();
                Some(Failed { fingerprint, told })
            }
        }
    }

    fn tell_expiry(&self, now: i64) {
        let loaded = self.loaded.load();
        for expiry in loaded.certificates.expiry() {
            let file = expiry.file.display().to_string();
            metrics::gauge!("seawall_tls_certificate_not_after_seconds", "certificate" => file)
                .set(expiry.not_after as f64);
            match expiry.left(now) {
                Left::None => {
                    tracing::error!(certificate = expiry.name, "a TLS certificate has expired");
                }
                // Told every day.
                Left::Few(days) => tracing::warn!(
                    certificate = expiry.name,
                    days,
                    "a TLS certificate expires soon"
                ),
                Left::Many(_) => {}
            }
        }
        if loaded.crl_due.is_some_and(|due| due <= now) {
            tracing::warn!("a revocation list of `tls.client_crl` is past its next update");
        }
    }
}

/// Content that could not be used.
#[derive(Clone, Copy)]
struct Failed {
    fingerprint: u64,
    told: bool,
}

/// The files and a fingerprint of what they hold. That a file is missing is part of the fingerprint too.
fn read(config: &TlsConfig) -> (u64, anyhow::Result<Files>) {
    let mut hasher = DefaultHasher::new();
    let mut read = |path: &Path| -> anyhow::Result<Vec<u8>> {
        let content = fs::read(path).map_err(|error| error.kind());
        content.hash(&mut hasher);
        content
            .map_err(io::Error::from)
            .with_context(|| format!("cannot read `{}`", path.display()))
    };
    // Each is read, also after one that failed, so that the fingerprint covers them all.
    let certificates: Vec<_> = config
        .certificates
        .iter()
        .map(|files| {
            let chain = read(&files.certificate);
            let key = read(files.key.as_ref().unwrap_or(&files.certificate));
            Ok((files.certificate.clone(), chain?, key?))
        })
        .collect();
    let client_ca = config.client_ca.as_deref().map(&mut read);
    let client_crl: Vec<_> = config.client_crl.iter().map(|path| read(path)).collect();
    let files = || {
        Ok(Files {
            certificates: certificates.into_iter().collect::<anyhow::Result<_>>()?,
            client_ca: client_ca.transpose()?,
            client_crl: client_crl.into_iter().collect::<anyhow::Result<_>>()?,
        })
    };
    let files = files();
    (hasher.finish(), files)
}

fn build(config: &TlsConfig, fingerprint: u64, files: &Files) -> anyhow::Result<Loaded> {
    let provider = Arc::new(aws_lc_rs::default_provider());
    let chains = files.certificates.iter();
    let chains = chains.map(|(path, chain, key)| (path.as_path(), &chain[..], &key[..]));
    let certificates = Arc::new(Certificates::new(chains, &provider)?);
    let server_config = |verifier: Option<Arc<dyn ClientCertVerifier>>| {
        server_config(config.min_version, &provider, &certificates, verifier)
    };
    let crls = parse_crls(&files.client_crl)?;
    let with_client = match &files.client_ca {
        Some(ca) => {
            let [optional, required] = client_verifiers(ca, &crls, &provider)?;
            Some([
                server_config(Some(optional))?,
                server_config(Some(required))?,
            ])
        }
        None => None,
    };
    Ok(Loaded {
        fingerprint,
        without_client: server_config(None)?,
        with_client,
        crl_due: crls.iter().filter_map(|crl| next_update(crl)).min(),
        certificates,
        replaced: CancellationToken::new(),
    })
}

fn server_config(
    min_version: MinVersion,
    provider: &Arc<CryptoProvider>,
    certificates: &Arc<Certificates>,
    verifier: Option<Arc<dyn ClientCertVerifier>>,
) -> anyhow::Result<Arc<ServerConfig>> {
    let versions: &[_] = match min_version {
        MinVersion::Tls12 => &[&TLS13, &TLS12],
        MinVersion::Tls13 => &[&TLS13],
    };
    let builder = ServerConfig::builder_with_provider(Arc::clone(provider))
        .with_protocol_versions(versions)?;
    let resumable = verifier.is_none();
    let builder = match verifier {
        Some(verifier) => builder.with_client_cert_verifier(verifier),
        None => builder.with_no_client_auth(),
    };
    let mut config = builder.with_cert_resolver(Arc::<Certificates>::clone(certificates));
    if resumable {
        config.ticketer = aws_lc_rs::Ticketer::new()?;
    } else {
        // A resumed session is not verified again, so a certificate revoked meanwhile would go on working.
        config.session_storage = Arc::new(NoServerSessionStorage {});
        config.send_tls13_tickets = 0;
    }
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    Ok(Arc::new(config))
}

/// One that lets clients without a certificate pass, and one that does not.
fn client_verifiers(
    ca: &[u8],
    crls: &[CertificateRevocationListDer<'static>],
    provider: &Arc<CryptoProvider>,
) -> anyhow::Result<[Arc<dyn ClientCertVerifier>; 2]> {
    let mut roots = RootCertStore::empty();
    for certificate in chain_from_pem(ca).context("`tls.client_ca`")? {
        roots.add(certificate).context("`tls.client_ca`")?;
    }
    let mut builder =
        WebPkiClientVerifier::builder_with_provider(Arc::new(roots), Arc::clone(provider));
    if !crls.is_empty() {
        builder = builder
            .with_crls(crls.to_vec())
            .only_check_end_entity_revocation();
    }
    let optional = builder.clone().allow_unauthenticated().build();
    let required = builder.build();
    Ok([
        optional.context("`tls.client_ca` and `tls.client_crl`")?,
        required.context("`tls.client_ca` and `tls.client_crl`")?,
    ])
}

fn parse_crls(files: &[Vec<u8>]) -> anyhow::Result<Vec<CertificateRevocationListDer<'static>>> {
    let mut crls = Vec::new();
    for file in files {
        if file.starts_with(&[0x30]) {
            crls.push(CertificateRevocationListDer::from(file.clone()));
            continue;
        }
        let before = crls.len();
        for crl in CertificateRevocationListDer::pem_slice_iter(file) {
            crls.push(crl.context("`tls.client_crl`: the PEM text is broken")?);
        }
        if crls.len() == before {
            return Err(anyhow!("`tls.client_crl`: a file holds no revocation list"));
        }
    }
    Ok(crls)
}

fn next_update(crl: &CertificateRevocationListDer<'_>) -> Option<i64> {
    let (_, crl) = CertificateRevocationList::from_der(crl).ok()?;
    Some(crl.next_update()?.timestamp())
}
