//! Our own certificates, chosen by the host name that the client asks for.

use std::{
    collections::HashMap,
    path::{Path, PathBuf},
    sync::Arc,
};

use anyhow::{Context, bail, ensure};
use rustls::{
    crypto::CryptoProvider,
    server::{ClientHello, ResolvesServerCert},
    sign::CertifiedKey,
};
use rustls_pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject};
use x509_parser::{certificate::X509Certificate, extensions::GeneralName, prelude::FromDer};

const SOON_DAYS: i64 = 30;

/// The certificates of one moment.
#[derive(Debug)]
pub(super) struct Certificates {
    /// In the order of the configuration; the first is the default.
    all: Vec<Arc<CertifiedKey>>,
    /// Indices into `all`, by lower-case host name. Several have one name when their keys differ in kind (RSA and ECDSA).
    exact: HashMap<String, Vec<usize>>,
    /// By what follows `*.`.
    wildcard: HashMap<String, Vec<usize>>,
    expiry: Vec<Expiry>,
}

/// When a certificate ends.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Expiry {
    pub file: PathBuf,
    /// The first name in the certificate, or its subject.
    pub name: String,
    /// Seconds since 1970.
    pub not_after: i64,
}

/// How many days a certificate has left.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Left {
    /// It has ended.
    None,
    /// So few that somebody should hear of it.
    Few(i64),
    Many(i64),
}

impl Expiry {
    /// `now` in seconds since 1970.
    pub fn left(&self, now: i64) -> Left {
        match (self.not_after - now).div_euclid(24 * 60 * 60) {
            _ if self.not_after <= now => Left::None,
            few if few < SOON_DAYS => Left::Few(few),
            many => Left::Many(many),
        }
    }
}

impl Certificates {
    /// Builds the choice from the contents of the files: chain and key of each, in PEM.
    pub(super) fn new<'a>(
        files: impl Iterator<Item = (&'a Path, &'a [u8], &'a [u8])>,
        provider: &CryptoProvider,
    ) -> anyhow::Result<Self> {
        let mut certificates = Self {
            all: Vec::new(),
            exact: HashMap::new(),
            wildcard: HashMap::new(),
            expiry: Vec::new(),
        };
        for (path, chain, key) in files {
            certificates
                .add(path, chain, key, provider)
                .with_context(|| format!("certificate `{}`", path.display()))?;
        }
        ensure!(!certificates.all.is_empty(), "there is no certificate");
        Ok(certificates)
    }

    pub(super) fn expiry(&self) -> &[Expiry] {
        &self.expiry
    }

    fn add(
        &mut self,
        path: &Path,
        chain: &[u8],
        key: &[u8],
        provider: &CryptoProvider,
    ) -> anyhow::Result<()> {
        let chain = chain_from_pem(chain)?;
        let Some(leaf) = chain.first() else {
            bail!("the file holds no certificate in PEM");
        };
        let (_, leaf) =
            X509Certificate::from_der(leaf).context("the certificate cannot be read")?;
        let names = names(&leaf);
        let not_after = leaf.validity().not_after.timestamp();
        let name = names
            .first()
            .cloned()
            .unwrap_or_else(|| leaf.subject().to_string());
        let key = PrivateKeyDer::from_pem_slice(key)
            .context("the key file holds no private key in PEM")?;
        let certified = CertifiedKey::from_der(chain, key, provider)
            .context("the key cannot be used with it")?;

        let index = self.all.len();
        self.all.push(Arc::new(certified));
        let file = path.to_owned();
        self.expiry.push(Expiry {
            file,
            name,
            not_after,
        });
        for name in names {
            match name.strip_prefix("*.") {
                Some(parent) => self
                    .wildcard
                    .entry(parent.to_owned())
                    .or_default()
                    .push(index),
                None => self.exact.entry(name).or_default().push(index),
            }
        }
        Ok(())
    }

    /// The indices to choose from, best first.
    fn named(&self, host: &str) -> Option<&[usize]> {
        let host = host.trim_end_matches('.').to_ascii_lowercase();
        let exact = self.exact.get(&host);
        // A wildcard stands for one label, not for several and not for none (RFC 6125).
        let found = exact.or_else(|| self.wildcard.get(host.split_once('.')?.1));
        found.map(Vec::as_slice)
    }
}

impl ResolvesServerCert for Certificates {
    fn resolve(&self, hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        let named = hello.server_name().and_then(|host| self.named(host));
        let named = named
            .unwrap_or_default()
            .iter()
            .map(|index| &self.all[*index]);
        let mut candidates = named.chain(&self.all);
        let usable = candidates.find(|certified| {
            certified
                .key
                .choose_scheme(hello.signature_schemes())
                .is_some()
        });
        usable.or(self.all.first()).cloned()
    }
}

pub(super) fn chain_from_pem(pem: &[u8]) -> anyhow::Result<Vec<CertificateDer<'static>>> {
    CertificateDer::pem_slice_iter(pem)
        .collect::<Result<_, _>>()
        .context("the PEM text is broken")
}

/// The host names and addresses of a certificate, in lower case. (A common name alone counts for no client any more.)
fn names(certificate: &X509Certificate<'_>) -> Vec<String> {
    let Ok(Some(alternative)) = certificate.subject_alternative_name() else {
        return Vec::new();
    };
    let names = alternative
        .value
        .general_names
        .iter()
        .filter_map(|name| match name {
            GeneralName::DNSName(name) => Some(name.to_ascii_lowercase()),
            _ => None,
        });
    names.collect()
}
