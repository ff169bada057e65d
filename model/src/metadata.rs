//! A project's metadata: Harbor's keys, and what each may say. All values are texts, as Harbor's API has them.

use std::collections::BTreeMap;

use crate::{Error, Result, What};

/// Values by their keys.
pub type Metadata = BTreeMap<String, String>;

/// Whether everybody may see the project; kept in the project's own row.
pub const PUBLIC: &str = "public";
/// The tag retention policy of the project; set by that alone.
pub const RETENTION: &str = "retention_id";
/// Which scanner the project chose; Harbor keeps it here and does not show it with the project.
pub const SCANNER: &str = "projectScanner";

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Flag,
    Severity,
    /// A number of 32 bits.
    Speed,
    /// A number of 32 bits, at least 1, or -1.
    Connections,
    /// Only projects that cache another registry have it.
    OfProxies,
}

const KEYS: &[(&str, Kind)] = &[
    (PUBLIC, Kind::Flag),
    ("enable_content_trust", Kind::Flag),
    ("enable_content_trust_cosign", Kind::Flag),
    ("auto_sbom_generation", Kind::Flag),
    ("prevent_vul", Kind::Flag),
    ("auto_scan", Kind::Flag),
    ("reuse_sys_cve_allowlist", Kind::Flag),
    ("proxy_cache_local_on_not_found", Kind::Flag),
    ("proxy_referrer_api", Kind::Flag),
    ("severity", Kind::Severity),
    ("proxy_speed_kb", Kind::Speed),
    ("max_upstream_conn", Kind::Connections),
    ("proxy_cache_filter_pattern", Kind::OfProxies),
    ("proxy_cache_filter_kind", Kind::OfProxies),
];

/// What a request that makes or changes a project says of its metadata, as it is kept. What stands for nothing (an empty value), and what
/// only projects that cache another registry have, is passed over, as with Harbor.
pub fn of_request(wanted: &Metadata) -> Result<Metadata> {
    let of_proxies = |key: &str| {
        matches!(
            kind(key),
            Some(Kind::OfProxies | Kind::Speed | Kind::Connections)
        )
    };
    wanted
        .iter()
        .filter(|(key, value)| !value.is_empty() && kind(key).is_some() && !of_proxies(key))
        .map(|(key, value)| check(key, value))
        .collect()
}

/// One key and value of the metadata API, as they are kept.
pub fn check(key: &str, value: &str) -> Result<(String, String)> {
    let refused = |why: String| Err(Error::invalid(What::Project, why));
    let invalid = || refused(format!("invalid value: {}", shown(value)));
    let number = || value.parse::<i32>();
    let kept = match kind(key) {
        None => return refused(format!("invalid key: {}", shown(key))),
        Some(Kind::OfProxies) => {
            let why = "can not update the normal project with proxy cache filter metadata";
            return refused(why.to_owned());
        }
        Some(Kind::Flag) => match flag(value) {
            Some(flag) => flag.to_string(),
            None => return invalid(),
        },
        Some(Kind::Severity) => match severity(value) {
            "unknown" => return invalid(),
            known => known.to_owned(),
        },
        Some(Kind::Speed) => match number() {
            Ok(number) => number.to_string(),
            Err(_) => return invalid(),
        },
        Some(Kind::Connections) => match number() {
            Ok(number) if number > 0 || number == -1 => number.to_string(),
            _ => return invalid(),
        },
    };
    Ok((key.to_owned(), kept))
}

/// A truth as Go reads one.
pub fn flag(text: &str) -> Option<bool> {
    match text {
        "1" | "t" | "T" | "true" | "TRUE" | "True" => Some(true),
        "0" | "f" | "F" | "false" | "FALSE" | "False" => Some(false),
        _ => None,
    }
}

/// The severity that CVSS 3 has for a word.
pub fn severity(word: &str) -> &'static str {
    let word = word.to_ascii_lowercase();
    let known = ["none", "low", "medium", "high", "critical"];
    match known.into_iter().find(|known| *known == word) {
        Some(known) => known,
        None if word == "negligible" => "none",
        None => "unknown",
    }
}

/// What a pull must find signed, as the project's row keeps it: 1 by notation, 2 by cosign.
pub fn trust(metadata: &Metadata) -> i64 {
    let is_on = |key: &str| metadata.get(key).and_then(|value| flag(value)) == Some(true);
    i64::from(is_on("enable_content_trust")) + 2 * i64::from(is_on("enable_content_trust_cosign"))
}

fn kind(key: &str) -> Option<Kind> {
    let row = KEYS.iter().find(|(known, _)| *known == key);
    row.map(|(_, kind)| *kind)
}

fn shown(text: &str) -> String {
    text.chars().take(100).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_kept_in_one_way_of_writing() {
        for (key, value, kept) in [
            ("public", "1", "true"),
            ("auto_scan", "False", "false"),
            ("severity", "Critical", "critical"),
            ("severity", "negligible", "none"),
            ("proxy_speed_kb", "-1", "-1"),
            ("max_upstream_conn", "+7", "7"),
        ] {
            assert_eq!(check(key, value).expect("fits").1, kept, "{key}");
        }
        for (key, value) in [
            ("public", "maybe"),
            ("severity", "terrible"),
            ("severity", ""),
            ("proxy_speed_kb", "9999999999"),
            ("max_upstream_conn", "0"),
            ("proxy_cache_filter_kind", "regex"),
            ("retention_id", "1"),
            ("unheard-of", "true"),
        ] {
            assert!(check(key, value).is_err(), "{key} {value}");
        }
    }

    #[test]
    fn a_request_may_say_what_means_nothing_here() {
        let wanted = [
            ("auto_scan", "true"),
            ("severity", ""),
            ("proxy_speed_kb", "-1"),
            ("proxy_cache_filter_pattern", "**"),
            ("unheard-of", "x"),
        ];
        let wanted: Metadata = wanted
            .iter()
            .map(|(key, value)| ((*key).to_owned(), (*value).to_owned()))
            .collect();
        let kept = of_request(&wanted).expect("fits");
        assert_eq!(
            kept.into_iter().collect::<Vec<_>>(),
            [("auto_scan".to_owned(), "true".to_owned())]
        );
    }

    #[test]
    fn both_kinds_of_signatures_may_be_asked_for() {
        let mut metadata = Metadata::new();
        assert_eq!(trust(&metadata), 0);
        metadata.insert("enable_content_trust_cosign".to_owned(), "true".to_owned());
        assert_eq!(trust(&metadata), 2);
        metadata.insert("enable_content_trust".to_owned(), "true".to_owned());
        assert_eq!(trust(&metadata), 3);
    }
}
