//! The sample file is a promise: it shows every key, and each with the default that the code has.

use super::{load, refusal};

const SAMPLE: &str = include_str!("../../../../seawall.sample.toml");

/// The sample with every key switched on. Explanations begin with `# `, keys with `#` alone.
fn uncommented() -> String {
    let switched_on = |line: &str| match line.strip_prefix('#') {
        Some(rest) if !rest.is_empty() && !rest.starts_with(' ') => rest.to_owned(),
        _ => line.to_owned(),
    };
    SAMPLE
        .lines()
        .map(switched_on)
        .collect::<Vec<_>>()
        .join("\n")
}

fn shown(text: &str) -> String {
    format!("{:?}", load(text, &[]))
}

#[test]
fn the_sample_as_it_is_changes_nothing() {
    assert_eq!(shown(SAMPLE), shown(""));
}

#[test]
fn each_default_in_the_sample_is_the_codes() {
    let defaults = shown("");
    let table: toml::Table = uncommented().parse().unwrap();
    for (section, keys) in &table {
        let Some(keys) = keys.as_table() else {
            let alone = toml::Table::from_iter([(section.clone(), keys.clone())]);
            assert_eq!(shown(&alone.to_string()), defaults, "[[{section}]]");
            continue;
        };
        for (key, value) in keys {
            let alone = toml::Table::from_iter([(key.clone(), value.clone())]);
            let alone = toml::Table::from_iter([(section.clone(), alone.into())]);
            assert_eq!(
                shown(&alone.to_string()),
                defaults,
                "{section}.{key} = {value}"
            );
        }
    }
}

#[test]
fn every_key_of_the_code_stands_in_the_sample() {
    let sample: toml::Table = uncommented().parse().unwrap();
    let mut missing = Vec::new();
    let mut sections = vec![(String::new(), sample)];
    while let Some((path, table)) = sections.pop() {
        for known in known_keys(&path) {
            if !table.contains_key(&known) {
                missing.push(format!("{path}{known}"));
            }
        }
        for (key, value) in table {
            match value {
                toml::Value::Table(inner) if !inner.is_empty() => {
                    sections.push((format!("{path}{key}."), inner));
                }
                toml::Value::Array(items) => {
                    for item in items
                        .into_iter()
                        .filter_map(|item| item.as_table().cloned())
                    {
                        sections.push((format!("{path}{key}.0."), item));
                    }
                }
                _ => {}
            }
        }
    }
    assert_eq!(missing, Vec::<String>::new());
}

/// What the code knows at a place, as its refusal of an unknown key there names it.
fn known_keys(path: &str) -> Vec<String> {
    let message = if path.is_empty() {
        refusal("zzzzzz = 1", &[])
    } else {
        let variable = format!("SEAWALL_{}zzzzzz", path.replace('.', "__"));
        refusal("", &[(&variable, "1")])
    };
    let (_, known) = message.split_once("; known here: ").expect(&message);
    known
        .split(", ")
        .map(|key| key.trim_matches('`').to_owned())
        .collect()
}
