//! Whom the server believes and which way it calls.

use super::{load, refusal};

#[test]
fn proxies_are_those_of_the_environment_unless_we_are_told_otherwise() {
    let environment = [
        ("HTTP_PROXY", "proxy.test:3128"),
        ("https_proxy", "http://me:secret@proxy.test:3129"),
        ("NO_PROXY", "example.com, 10.0.0.0/8"),
    ];
    let shown = |text: &str, variables: &[(&str, &str)]| {
        let proxy = load(text, &[&environment, variables].concat()).proxy;
        (
            proxy.http.map(|url| url.to_string()),
            proxy.https.map(|url| url.to_string()),
            proxy.no_proxy.is_empty(),
        )
    };
    let url = |text: &str| Some(text.to_owned());
    assert_eq!(
        shown("", &[]),
        (
            url("http://proxy.test:3128"),
            url("http://***@proxy.test:3129"),
            false
        )
    );
    assert_eq!(
        shown(
            "[proxy]\nhttp = 'http://other.test:1'\nhttps = ''\nno_proxy = ''",
            &[]
        ),
        (url("http://other.test:1"), None, true)
    );
    assert_eq!(
        shown("", &[("SEAWALL_PROXY__HTTP", "http://ours.test:1")]).0,
        url("http://ours.test:1")
    );
}

#[test]
fn a_proxy_that_cannot_be_used_is_refused_without_its_password() {
    let text = refusal("", &[("HTTPS_PROXY", "socks5://me:secret@proxy.test")]);
    assert!(
        text.contains("proxy.https") && text.contains("variable HTTPS_PROXY"),
        "{text}"
    );
    assert!(!text.contains("secret"), "{text}");
    let text = refusal("proxy.no_proxy = 'a.test,http://b.test'", &[]);
    assert!(text.contains("http://b.test"), "{text}");
}

#[test]
fn authorities_may_lie_in_the_data_directory() {
    let config = load(
        "server.data = '/srv'\ntrust.ca_files = ['DATA/ca.pem', '/etc/ca.pem']",
        &[],
    );
    let files: Vec<_> = config.trust.ca_files.iter().collect();
    assert_eq!(
        files,
        [
            std::path::Path::new("/srv/ca.pem"),
            std::path::Path::new("/etc/ca.pem")
        ]
    );
}
