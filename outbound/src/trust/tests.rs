use std::{fs, path::Path};

use rcgen::{CertificateParams, DnType, KeyPair};
use tempfile::TempDir;

use super::*;

/// A certificate authority in PEM.
fn authority(name: &str) -> String {
    let mut params = CertificateParams::new(vec![]).unwrap();
    params.distinguished_name.push(DnType::CommonName, name);
    params.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
    params
        .self_signed(&KeyPair::generate().unwrap())
        .unwrap()
        .pem()
}

fn looking_always(file: &Path) -> Trust {
    Trust::looking_every(&[file.to_owned()], Duration::ZERO)
}

fn given(text: &str) -> (TempDir, PathBuf, Trust) {
    let home = tempfile::tempdir().unwrap();
    let file = home.path().join("ca.pem");
    fs::write(&file, text).unwrap();
    let trust = looking_always(&file);
    trust.roots();
    (home, file, trust)
}

/// How many authorities count from the file, and whether it can be read.
fn of_file(trust: &Trust) -> (usize, bool) {
    let sources = trust.sources();
    (sources[1].count, sources[1].fault.is_none())
}

#[test]
fn a_file_that_changes_is_read_again() {
    let (_home, file, trust) = given(&authority("one"));
    let before = trust.roots();
    fs::write(&file, authority("one") + &authority("two")).unwrap();
    let after = trust.roots();
    assert_eq!(after.certificates.len(), before.certificates.len() + 1);
    assert_eq!(after.version, before.version + 1);
    assert_eq!(trust.roots().version, after.version);
}

#[test]
fn a_file_put_in_the_place_of_another_is_read() {
    let (home, file, trust) = given(&authority("one"));
    let before = trust.roots();
    let next = home.path().join("next");
    fs::write(&next, authority("two")).unwrap();
    fs::rename(&next, &file).unwrap();
    let after = trust.roots();
    assert_eq!(after.certificates.len(), before.certificates.len());
    assert_ne!(after.certificates, before.certificates);
}

#[test]
fn a_broken_or_missing_file_leaves_what_was_read_before() {
    let (_home, file, trust) = given(&authority("one"));
    let before = trust.roots();
    for broken in [
        "",
        "no certificate",
        "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n",
        &authority("half")[..200],
    ] {
        fs::write(&file, broken).unwrap();
        assert_eq!(trust.roots().certificates, before.certificates, "{broken}");
        assert_eq!(of_file(&trust), (1, false), "{broken}");
    }
    fs::remove_file(&file).unwrap();
    assert_eq!(trust.roots().certificates, before.certificates);
    assert_eq!(of_file(&trust), (1, false));
    fs::write(&file, authority("new")).unwrap();
    assert_ne!(trust.roots().certificates, before.certificates);
    assert_eq!(of_file(&trust), (1, true));
}

#[test]
fn a_file_that_is_missing_at_first_counts_once_it_is_there() {
    let home = tempfile::tempdir().unwrap();
    let file = home.path().join("later.pem");
    let trust = looking_always(&file);
    let system = trust.roots().certificates.len();
    assert_eq!(of_file(&trust), (0, false));
    fs::write(&file, authority("late")).unwrap();
    assert_eq!(trust.roots().certificates.len(), system + 1);
}

#[test]
fn files_are_not_looked_at_for_each_use() {
    let home = tempfile::tempdir().unwrap();
    let file = home.path().join("ca.pem");
    fs::write(&file, authority("one")).unwrap();
    let trust = Trust::looking_every(std::slice::from_ref(&file), Duration::from_hours(1));
    let before = trust.roots().version;
    fs::write(&file, authority("two")).unwrap();
    assert_eq!(trust.roots().version, before);
    trust.reload();
    assert_eq!(trust.roots().version, before + 1);
}
