use std::fmt::Debug;

use serde::de::DeserializeOwned;

use super::*;

fn read<T: DeserializeOwned>(text: &str) -> Result<T, String> {
    toml::from_str(text).map_err(|error| error.to_string())
}

fn refusal<T: DeserializeOwned + Debug>(text: &str) -> String {
    read::<T>(text).expect_err(text)
}

#[test]
fn a_listener_has_defaults_for_all_but_its_address() {
    let listener: ListenerConfig = read("address = '[::1]:443'").expect("an address is enough");
    assert_eq!(listener.address.0, "[::1]:443".parse().expect("address"));
    assert!(!listener.tls && !listener.ipv6_only);
    assert_eq!(listener.proxy_protocol, ProxyProtocol::Off);
    assert_eq!(
        (
            listener.redirect,
            listener.only,
            listener.client_certificates
        ),
        (None, None, None)
    );
}

#[test]
fn every_key_is_read() {
    let listener: ListenerConfig = read(
        "address = '0.0.0.0:80'\ntls = true\nredirect = 'https'\nredirect_port = 8443\nonly = 'metrics'\nipv6_only = true\n\
         proxy_protocol = 'require'\nclient_certificates = 'optional'",
    )
    .expect("all keys");
    assert_eq!(listener.proxy_protocol, ProxyProtocol::Require);
    assert_eq!(
        listener.client_certificates,
        Some(ClientCertificates::Optional)
    );
    assert_eq!(
        (listener.redirect, listener.redirect_port),
        (Some(Redirect::Https), Some(8443))
    );
    assert_eq!(listener.only, Some(Only::Metrics));

    let tls: TlsConfig = read(
        "client_certificates = 'required'\nclient_ca = 'ca.pem'\nclient_crl = ['a.crl', 'b.crl']\nmin_version = '1.3'\n\
         [[certificates]]\ncertificate = 'a.pem'\nkey = 'a.key'\n[[certificates]]\ncertificate = 'both.pem'\n\
         [client_map]\nfrom = 'san-email'\nstrip_suffix = '@example.com'\nnames = { 'CN=ci,O=x' = 'robot$ci' }",
    )
    .expect("all keys");
    assert_eq!(tls.certificates.len(), 2);
    assert_eq!(tls.certificates[1].key, None);
    assert_eq!(tls.min_version, MinVersion::Tls13);
    assert_eq!(tls.client_map.from, NameSource::SanEmail);
    assert_eq!(tls.client_map.names["CN=ci,O=x"], "robot$ci");
}

#[test]
fn unknown_keys_and_wrong_values_are_refused() {
    assert!(refusal::<ListenerConfig>("address = '[::]:1'\ntsl = true").contains("tsl"));
    assert!(refusal::<TlsConfig>("ciphers = 'x'").contains("ciphers"));
    assert!(refusal::<ListenerConfig>("tls = true").contains("address"));
    for address in [
        "localhost:80",
        "8080",
        ":8080",
        "[::]",
        "1.2.3.4",
        "1.2.3.4:65536",
        "",
    ] {
        let refused = refusal::<ListenerConfig>(&format!("address = '{address}'"));
        assert!(refused.contains("[::]:8080"), "{refused}");
    }
    refusal::<ListenerConfig>("address = '[::]:1'\nproxy_protocol = 'on'");
    refusal::<TlsConfig>("min_version = '1.1'");
}

#[test]
fn keys_that_need_others_say_so() {
    let base = |listener: &str| Config {
        listeners: vec![read(listener).expect("listener")],
        ..Config::default()
    };
    let with_certificate = |mut config: Config| {
        config.tls.certificates = vec![CertificateFiles {
            certificate: "a.pem".into(),
            key: None,
        }];
        config
    };
    let cases = [
        (
            base("address = '[::]:1'\ntls = true"),
            "`[[tls.certificates]]`",
        ),
        (
            base("address = '[::]:1'\nredirect = 'https'"),
            "`redirect_port`",
        ),
        (
            base("address = '[::]:1'\nredirect_port = 443"),
            "`redirect_port` without",
        ),
        (
            base("address = '[::]:1'\nproxy_protocol = 'accept'"),
            "`trusted_proxies`",
        ),
        (
            base("address = '[::]:1'\nclient_certificates = 'required'"),
            "without `tls = true`",
        ),
        (
            with_certificate(base(
                "address = '[::]:1'\ntls = true\nclient_certificates = 'required'",
            )),
            "`tls.client_ca`",
        ),
        (
            with_certificate(base(
                "address = '[::]:1'\ntls = true\nredirect = 'https'\nredirect_port = 1",
            )),
            "both `tls` and `redirect`",
        ),
    ];
    for (config, words) in cases {
        let refused = config.check().expect_err(words).to_string();
        assert!(
            refused.contains(words) && refused.contains("`[::]:1`"),
            "{refused}"
        );
    }
    Config::default().check().expect("the default is valid");
    base("address = '[::]:1'\nredirect = 'https'\nredirect_port = 443")
        .check()
        .expect("the port is named");
}
