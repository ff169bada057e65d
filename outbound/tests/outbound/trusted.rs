//! Clients believe a new authority without being made by hand again.

use std::{fs, sync::Arc, time::Duration};

use outbound::{Limits, Outbound, Proxy, Trust};
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use rustls_pki_types::{PrivateKeyDer, pem::PemObject};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpListener,
};

/// An authority in PEM, and what serves with a certificate of it.
fn certified() -> (String, tokio_rustls::TlsAcceptor) {
    let mut params = CertificateParams::new(Vec::new()).unwrap();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let authority = CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap();
    let key = KeyPair::generate().unwrap();
    let certificate = CertificateParams::new(vec!["127.0.0.1".to_owned()])
        .unwrap()
        .signed_by(&key, &authority)
        .unwrap();
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let config = rustls::ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(
            vec![certificate.der().clone()],
            PrivateKeyDer::from_pem_slice(key.serialize_pem().as_bytes()).unwrap(),
        )
        .unwrap();
    (authority.pem(), Arc::new(config).into())
}

#[tokio::test]
async fn an_authority_that_is_added_counts_for_the_next_call() {
    let (authority, acceptor) = certified();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("https://{}/", listener.local_addr().unwrap());
    let serve = async {
        loop {
            let (stream, _) = listener.accept().await.unwrap();
            let Ok(mut stream) = acceptor.accept(stream).await else {
                continue;
            };
            let _ = stream.read(&mut [0; 4096]).await;
            let answer = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close\r\n\r\nok";
            let _ = stream.write_all(answer).await;
            let _ = stream.shutdown().await;
        }
    };
    let home = tempfile::tempdir().unwrap();
    let file = home.path().join("ca.pem");
    let outbound = Outbound::new(Trust::new(std::slice::from_ref(&file)), Proxy::default());
    let call = async || {
        let client = outbound.client(Limits::QUESTION).await.unwrap();
        client.get(&url).send().await
    };
    let calls = async {
        let refused = call().await.unwrap_err();
        assert!(
            format!("{refused:?}").contains("UnknownIssuer"),
            "{refused:?}"
        );
        fs::write(&file, authority).unwrap();
        outbound.trust().reload();
        assert_eq!(call().await.unwrap().status(), 200);
    };
    tokio::select! {
        () = serve => {}
        done = tokio::time::timeout(Duration::from_secs(20), calls) => done.unwrap(),
    }
}
