//! The certificate of the authority that clients must trust to trust this server, for them to download.

use std::{fs::File, io::Read, path::Path, sync::Arc};

use api::Authority;
use rustls_pki_types::CertificateDer;
use x509_parser::{certificate::X509Certificate, prelude::FromDer};

use super::{certificates::chain_from_pem, config::TlsConfig};

/// More is no file of certificates.
const MOST: u64 = 1 << 20;

/// What `tls.ca_file` holds, else the last certificate of the first chain, when that is an authority's own. Read from the file
/// each time, so that an exchange is seen.
pub fn authority(config: &TlsConfig) -> Option<Authority> {
    if let Some(file) = config.ca_file.clone() {
        return Some(Arc::new(move || certificates_of(&file)));
    }
    let file = config.certificates.first()?.certificate.clone();
    Some(Arc::new(move || root_of(&file)))
}

fn certificates_of(file: &Path) -> Option<bytes::Bytes> {
    let pem = read(file)?;
    // A file that holds a key by mistake is not handed out.
    let chain = chain_from_pem(&pem).ok()?;
    let texts: String = chain
        .iter()
        .map(|certificate| pem_of(certificate))
        .collect();
    (!texts.is_empty()).then(|| texts.into())
}

fn root_of(file: &Path) -> Option<bytes::Bytes> {
    let chain = chain_from_pem(&read(file)?).ok()?;
    let last = chain.last()?;
    let (_, certificate) = X509Certificate::from_der(last).ok()?;
    let is_root = certificate.is_ca() && certificate.subject() == certificate.issuer();
    is_root.then(|| pem_of(last).into())
}

fn read(file: &Path) -> Option<Vec<u8>> {
    let mut bytes = Vec::new();
    let read = File::open(file).and_then(|file| file.take(MOST).read_to_end(&mut bytes));
    match read {
        Ok(_) => Some(bytes),
        Err(error) => {
            tracing::warn!(file = %file.display(), %error, "the authority's certificate cannot be read");
            None
        }
    }
}

fn pem_of(certificate: &CertificateDer<'_>) -> String {
    use base64::{Engine, engine::general_purpose::STANDARD};
    let text = STANDARD.encode(certificate);
    let lines: Vec<&str> = text
        .as_bytes()
        .chunks(64)
        .filter_map(|line| std::str::from_utf8(line).ok())
        .collect();
    format!(
        "-----BEGIN CERTIFICATE-----\n{}\n-----END CERTIFICATE-----\n",
        lines.join("\n")
    )
}

#[cfg(test)]
mod tests {
    use std::fs;

    use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};

    use super::*;
    use crate::listen::config::CertificateFiles;

    fn files() -> (tempfile::TempDir, String, String, String) {
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let root = CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap();
        let key = KeyPair::generate().unwrap();
        let leaf = CertificateParams::new(vec!["registry.example".to_owned()])
            .unwrap()
            .signed_by(&key, &root)
            .unwrap();
        let home = tempfile::tempdir().unwrap();
        (home, root.pem(), leaf.pem(), key.serialize_pem())
    }

    fn normal(pem: &str) -> Vec<CertificateDer<'static>> {
        chain_from_pem(pem.as_bytes()).unwrap()
    }

    fn served(config: &TlsConfig) -> Option<String> {
        let read = authority(config)?;
        read().map(|bytes| String::from_utf8(bytes.to_vec()).unwrap())
    }

    #[test]
    fn the_file_that_is_named_is_served_without_a_key_that_strayed_into_it() {
        let (home, root, _, key) = files();
        let path = home.path().join("ca.pem");
        fs::write(&path, format!("{key}{root}")).unwrap();
        let config = TlsConfig {
            ca_file: Some(path.clone()),
            ..TlsConfig::default()
        };
        let told = served(&config).unwrap();
        assert_eq!(normal(&told), normal(&root));
        assert!(!told.contains("PRIVATE"));
        fs::remove_file(path).unwrap();
        assert_eq!(served(&config), None);
    }

    #[test]
    fn else_the_root_at_the_end_of_the_chain_is() {
        let (home, root, leaf, _) = files();
        let path = home.path().join("chain.pem");
        let config = TlsConfig {
            certificates: vec![CertificateFiles {
                certificate: path.clone(),
                key: None,
            }],
            ..TlsConfig::default()
        };
        fs::write(&path, &leaf).unwrap();
        assert_eq!(served(&config), None, "a leaf is nothing to trust");
        fs::write(&path, format!("{leaf}{root}")).unwrap();
        assert_eq!(normal(&served(&config).unwrap()), normal(&root));
        assert_eq!(served(&TlsConfig::default()), None);
    }
}
