use rcgen::{
    CertificateParams, CustomExtension, DistinguishedName, DnType, DnValue, KeyPair, SanType,
    string::Ia5String,
};

use super::*;

/// A certificate with that subject, general parts first as certificates have them, and those alternative names.
fn certificate(subject: &[(DnType, &str)], alternative: Vec<SanType>) -> Vec<u8> {
    let mut params = CertificateParams::default();
    params.distinguished_name = DistinguishedName::new();
    for (kind, value) in subject {
        params
            .distinguished_name
            .push(kind.clone(), DnValue::Utf8String((*value).to_owned()));
    }
    params.subject_alt_names = alternative;
    let key = KeyPair::generate().expect("key");
    params
        .self_signed(&key)
        .expect("certificate")
        .der()
        .to_vec()
}

fn ia5(text: &str) -> Ia5String {
    Ia5String::try_from(text).expect("ascii")
}

fn ci() -> Vec<u8> {
    certificate(
        &[(DnType::OrganizationName, "x"), (DnType::CommonName, "ci")],
        vec![
            SanType::IpAddress([127, 0, 0, 1].into()),
            SanType::DnsName(ia5("ci.example.com")),
            SanType::DnsName(ia5("second.example.com")),
            SanType::Rfc822Name(ia5("ci@example.com")),
            SanType::URI(ia5("spiffe://example.com/ci")),
        ],
    )
}

fn map(from: NameSource, strip_suffix: Option<&str>, names: &[(&str, &str)]) -> ClientMap {
    ClientMap {
        from,
        strip_suffix: strip_suffix.map(str::to_owned),
        names: names
            .iter()
            .map(|(from, to)| ((*from).to_owned(), (*to).to_owned()))
            .collect(),
    }
}

fn name(der: &[u8], map: &ClientMap) -> Option<String> {
    read(der, map).expect("a certificate").name
}

#[test]
fn each_source_gives_its_name() {
    let der = ci();
    for (from, expected) in [
        (NameSource::Cn, "ci"),
        (NameSource::Subject, "CN=ci,O=x"),
        (NameSource::SanDns, "ci.example.com"),
        (NameSource::SanEmail, "ci@example.com"),
        (NameSource::SanUri, "spiffe://example.com/ci"),
    ] {
        assert_eq!(name(&der, &map(from, None, &[])).as_deref(), Some(expected));
    }
}

#[test]
fn a_suffix_is_taken_off_and_must_be_there() {
    let der = ci();
    let email = |suffix| name(&der, &map(NameSource::SanEmail, Some(suffix), &[]));
    assert_eq!(email("@example.com").as_deref(), Some("ci"));
    assert_eq!(email("@other.com"), None);
    assert_eq!(email("ci@example.com"), None, "nothing is left");
}

#[test]
fn the_table_wins_over_the_rule() {
    let der = ci();
    let table = [("CN=ci,O=x", "robot$ci")];
    assert_eq!(
        name(&der, &map(NameSource::Cn, None, &table)).as_deref(),
        Some("robot$ci")
    );
    let by_value = [("ci@example.com", "robot$mail")];
    let map = map(NameSource::SanEmail, Some("@nowhere"), &by_value);
    assert_eq!(name(&der, &map).as_deref(), Some("robot$mail"));
}

#[test]
fn what_a_certificate_lacks_names_nobody() {
    let bare = certificate(&[(DnType::OrganizationName, "x")], vec![]);
    for from in [
        NameSource::Cn,
        NameSource::SanDns,
        NameSource::SanEmail,
        NameSource::SanUri,
    ] {
        assert_eq!(name(&bare, &map(from, None, &[])), None, "{from:?}");
    }
    assert_eq!(read(b"no certificate", &ClientMap::default()), None);
}

#[test]
fn names_that_could_deceive_are_nobodys() {
    for common_name in ["", "admin\0.evil", "two\nlines", &"x".repeat(256)] {
        let der = certificate(&[(DnType::CommonName, common_name)], vec![]);
        assert_eq!(name(&der, &ClientMap::default()), None, "{common_name:?}");
    }
}

#[test]
fn subjects_are_written_as_rfc_4514_says() {
    let department = DnType::OrganizationalUnitName;
    let custom = DnType::CustomDnType(vec![1, 2, 3, 4]);
    let email = DnType::CustomDnType(vec![1, 2, 840, 113_549, 1, 9, 1]);
    for (subject, expected) in [
        (vec![], ""),
        (
            vec![
                (DnType::CountryName, "DE"),
                (DnType::OrganizationName, "A, B"),
                (DnType::CommonName, "ci"),
            ],
            r"CN=ci,O=A\, B,C=DE",
        ),
        (vec![(DnType::CommonName, " a ")], r"CN=\ a\ "),
        (
            vec![(DnType::CommonName, "#1+<2>;\"\\#")],
            r#"CN=\#1\+\<2\>\;\"\\#"#,
        ),
        (
            vec![(DnType::CommonName, "ä=ö"), (department, "build")],
            "OU=build,CN=ä=ö",
        ),
        (vec![(DnType::CommonName, "a\0b")], r"CN=a\00b"),
        (vec![(email, "a@b")], "emailAddress=a@b"),
        (vec![(custom, "x")], "1.2.3.4=#0c0178"),
    ] {
        let read =
            read(&certificate(&subject, vec![]), &ClientMap::default()).expect("a certificate");
        assert_eq!(read.subject, expected);
    }
}

#[test]
fn a_foreign_extension_does_not_matter() {
    let mut params = CertificateParams::default();
    params.distinguished_name.push(DnType::CommonName, "ci");
    params.custom_extensions = vec![CustomExtension::from_oid_content(
        &[1, 2, 3],
        vec![0xff, 0xff],
    )];
    let der = params
        .self_signed(&KeyPair::generate().expect("key"))
        .expect("certificate");
    assert_eq!(
        name(der.der(), &ClientMap::default()).as_deref(),
        Some("ci")
    );
}
