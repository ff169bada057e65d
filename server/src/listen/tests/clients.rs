//! Clients that do what a test needs and nothing more: HTTP/1 as text, HTTP/2 through hyper, TLS through rustls.

use std::{net::SocketAddr, sync::Arc};

use http_body_util::{BodyExt, Empty};
use hyper::{Request, body::Bytes, client::conn::http2};
use hyper_util::rt::{TokioExecutor, TokioIo};
use rcgen::{
    BasicConstraints, CertificateParams, CertificateRevocationListParams, DistinguishedName,
    DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyIdMethod, KeyPair, KeyUsagePurpose,
    RevocationReason, RevokedCertParams, SerialNumber, date_time_ymd,
};
use rustls::{ClientConfig, RootCertStore, crypto::aws_lc_rs};
use rustls_pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt},
    net::TcpStream,
};
use tokio_rustls::{TlsConnector, client::TlsStream};

pub(super) async fn connect(address: SocketAddr) -> TcpStream {
    TcpStream::connect(address).await.expect("the port is open")
}

/// All that comes until the server closes.
pub(super) async fn read_all(stream: &mut (impl AsyncRead + Unpin)) -> String {
    let mut bytes = Vec::new();
    stream
        .read_to_end(&mut bytes)
        .await
        .expect("closed in order");
    String::from_utf8(bytes).expect("text")
}

/// Reads until `end` was read.
pub(super) async fn read_to(stream: &mut (impl AsyncRead + Unpin), end: &str) -> String {
    let mut text = String::new();
    while !text.ends_with(end) {
        text.push(char::from(stream.read_u8().await.expect(end)));
    }
    text
}

/// One request on a connection of its own.
pub(super) async fn get(mut stream: impl AsyncRead + AsyncWrite + Unpin, path: &str) -> String {
    let request = format!("GET {path} HTTP/1.1\r\nhost: reg.example\r\nconnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).await.expect("sent");
    read_all(&mut stream).await
}

/// One request over HTTP/2: the answer's body.
pub(super) async fn get_http2(
    stream: impl AsyncRead + AsyncWrite + Send + Unpin + 'static,
    path: &str,
) -> String {
    let tasks = tokio_util::task::TaskTracker::new();
    let (mut sender, connection) = http2::handshake(TokioExecutor::new(), TokioIo::new(stream))
        .await
        .expect("HTTP/2");
    tasks.spawn(connection);
    let uri = format!("http://reg.example{path}");
    let request = Request::get(uri)
        .body(Empty::<Bytes>::new())
        .expect("request");
    let answer = sender.send_request(request).await.expect("answer");
    let body = answer.into_body().collect().await.expect("body");
    String::from_utf8(body.to_bytes().to_vec()).expect("text")
}

/// An authority that makes certificates for a test.
pub(super) struct Authority {
    issuer: Issuer<'static, KeyPair>,
    pub(super) pem: String,
    der: CertificateDer<'static>,
}

pub(super) struct Identity {
    pub(super) certificate_pem: String,
    pub(super) key_pem: String,
    certificate: CertificateDer<'static>,
    key: PrivateKeyDer<'static>,
    serial: SerialNumber,
}

impl Authority {
    pub(super) fn new() -> Self {
        let mut params = CertificateParams::default();
        let name = format!("authority {}", rand::random::<u32>());
        params.distinguished_name.push(DnType::CommonName, name);
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        let key = KeyPair::generate().expect("key");
        let certificate = params.self_signed(&key).expect("certificate");
        Self {
            pem: certificate.pem(),
            der: certificate.der().clone(),
            issuer: Issuer::new(params, key),
        }
    }

    pub(super) fn server(&self, names: &[&str]) -> Identity {
        let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
        let mut params = CertificateParams::new(names).expect("names");
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
        self.sign(params)
    }

    pub(super) fn client(&self, common_name: &str) -> Identity {
        let mut params = CertificateParams::default();
        params.distinguished_name = DistinguishedName::new();
        params
            .distinguished_name
            .push(DnType::OrganizationName, "x");
        params
            .distinguished_name
            .push(DnType::CommonName, common_name);
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
        self.sign(params)
    }

    fn sign(&self, mut params: CertificateParams) -> Identity {
        let serial = SerialNumber::from(rand::random::<u64>() >> 1);
        params.serial_number = Some(serial.clone());
        let key = KeyPair::generate().expect("key");
        let certificate = params.signed_by(&key, &self.issuer).expect("certificate");
        Identity {
            certificate_pem: certificate.pem(),
            key_pem: key.serialize_pem(),
            certificate: certificate.der().clone(),
            key: PrivateKeyDer::try_from(key.serialize_der()).expect("key"),
            serial,
        }
    }

    pub(super) fn revocation_list(&self, revoked: &[&Identity]) -> String {
        let revoked_certs = revoked.iter().map(|identity| RevokedCertParams {
            serial_number: identity.serial.clone(),
            revocation_time: date_time_ymd(2025, 1, 1),
            reason_code: Some(RevocationReason::KeyCompromise),
            invalidity_date: None,
        });
        let params = CertificateRevocationListParams {
            this_update: date_time_ymd(2025, 1, 1),
            next_update: date_time_ymd(2045, 1, 1),
            crl_number: SerialNumber::from(1_u64),
            issuing_distribution_point: None,
            revoked_certs: revoked_certs.collect(),
            key_identifier_method: KeyIdMethod::Sha256,
        };
        params
            .signed_by(&self.issuer)
            .expect("list")
            .pem()
            .expect("pem")
    }
}

/// A TLS client that trusts an authority.
#[derive(Clone)]
pub(super) struct TlsClient(ClientConfig, Arc<RootCertStore>);

impl TlsClient {
    pub(super) fn new(authority: &Authority, identity: Option<&Identity>) -> Self {
        let mut roots = RootCertStore::empty();
        roots.add(authority.der.clone()).expect("a root");
        let roots = Arc::new(roots);
        let builder = ClientConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
            .with_safe_default_protocol_versions()
            .expect("versions")
            .with_root_certificates(Arc::clone(&roots));
        let config = match identity {
            Some(identity) => builder
                .with_client_auth_cert(vec![identity.certificate.clone()], identity.key.clone_key())
                .expect("identity"),
            None => builder.with_no_client_auth(),
        };
        Self(config, roots)
    }

    pub(super) fn with_alpn(mut self, protocol: &str) -> Self {
        self.0.alpn_protocols = vec![protocol.as_bytes().to_vec()];
        self
    }

    pub(super) fn with_tls12_only(&self) -> Self {
        let builder = ClientConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
            .with_protocol_versions(&[&rustls::version::TLS12])
            .expect("version");
        let roots = Arc::clone(&self.1);
        Self(
            builder
                .with_root_certificates(Arc::clone(&roots))
                .with_no_client_auth(),
            roots,
        )
    }

    pub(super) async fn connect(
        &self,
        address: SocketAddr,
        host: &str,
    ) -> std::io::Result<TlsStream<TcpStream>> {
        let connector = TlsConnector::from(Arc::new(self.0.clone()));
        let host = ServerName::try_from(host.to_owned()).expect("a name");
        connector.connect(host, connect(address).await).await
    }
}

/// The first host name of the certificate that the server showed.
pub(super) fn shown_name(stream: &TlsStream<TcpStream>) -> String {
    use x509_parser::prelude::FromDer;
    let chain = stream
        .get_ref()
        .1
        .peer_certificates()
        .expect("a certificate");
    let (_, leaf) =
        x509_parser::certificate::X509Certificate::from_der(&chain[0]).expect("a certificate");
    let names = leaf
        .subject_alternative_name()
        .expect("readable")
        .expect("names");
    names.value.general_names[0].to_string()
}
