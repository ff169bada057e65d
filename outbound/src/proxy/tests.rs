use super::*;

fn proxy(no_proxy: &str) -> Proxy {
    Proxy {
        http: Some("proxy.example.com:3128".parse().unwrap()),
        https: Some("http://me:secret@proxy.example.com:3129".parse().unwrap()),
        direct: no_proxy.parse().unwrap(),
    }
}

fn is_direct(no_proxy: &str, url: &str) -> bool {
    proxy(no_proxy).for_url(&url.parse().unwrap()).is_none()
}

#[test]
fn each_scheme_has_its_proxy() {
    let proxy = proxy("");
    let peer = |url: &str| proxy.for_url(&url.parse().unwrap()).map(ProxyUrl::peer);
    assert_eq!(
        peer("http://a.test/").as_deref(),
        Some("proxy.example.com:3128")
    );
    assert_eq!(
        peer("https://a.test/").as_deref(),
        Some("proxy.example.com:3129")
    );
    assert_eq!(peer("ftp://a.test/"), None);
}

#[test]
fn entries_of_no_proxy_mean_what_they_mean_to_go() {
    for (entries, url, direct) in [
        ("", "http://a.test/", false),
        ("*", "http://a.test/", true),
        ("example.com", "https://example.com/", true),
        ("example.com", "https://www.Example.com./", true),
        ("example.com", "https://notexample.com/", false),
        (".example.com", "https://www.example.com/", true),
        (".example.com", "https://example.com/", false),
        ("*.example.com", "https://www.example.com/", true),
        ("example.com:8443", "https://example.com:8443/", true),
        ("example.com:8443", "https://example.com/", false),
        ("example.com:443", "https://example.com/", true),
        ("10.0.0.0/8", "http://10.1.2.3/", true),
        ("10.0.0.0/8", "http://11.1.2.3/", false),
        ("10.1.2.3", "http://10.1.2.3:5000/", true),
        ("10.1.2.3:80", "http://10.1.2.3:5000/", false),
        ("10.1.2.3:80", "http://10.1.2.3/", true),
        ("fd00::/8", "http://[fd00::1]:5000/", true),
        ("[fd00::1]", "http://[fd00::1]/", true),
        ("[fd00::1]:80", "http://[fd00::1]/", true),
        ("[fd00::1]:81", "http://[fd00::1]/", false),
        ("a.test, b.test ,c.test", "http://c.test/", true),
        ("a.test b.test", "http://b.test/", true),
    ] {
        assert_eq!(is_direct(entries, url), direct, "{entries} {url}");
    }
}

#[test]
fn this_machine_is_never_asked_through_a_proxy() {
    for url in [
        "http://localhost:8080/",
        "http://127.0.0.1/",
        "http://127.3.4.5/",
        "http://[::1]/",
        "http://169.254.169.254/latest/",
        "http://[fd00:ec2::254]/latest/",
        "http://metadata.google.internal/",
    ] {
        assert!(is_direct("", url), "{url}");
    }
}

#[test]
fn entries_that_cannot_be_read_are_named() {
    for text in [
        "a.test,http://b.test",
        "10.0.0.0/33",
        "a.test:port",
        "*a.test",
    ] {
        let entry = text.rsplit(',').next().unwrap();
        assert_eq!(text.parse::<NoProxy>(), Err(entry.to_owned()));
    }
}

#[test]
fn a_proxy_is_shown_without_its_password() {
    let proxy: ProxyUrl = "http://me:secret@proxy.example.com:3128".parse().unwrap();
    assert_eq!(proxy.to_string(), "http://***@proxy.example.com:3128");
    assert!(!format!("{proxy:?}").contains("secret"));
    assert_eq!(proxy.expose().password(), Some("secret"));
}

#[test]
fn other_kinds_of_proxies_are_refused() {
    for text in ["", "socks5://a:1080", "http://", "http://a/path", "ftp://a"] {
        assert_eq!(text.parse::<ProxyUrl>(), Err(()), "{text}");
    }
}
