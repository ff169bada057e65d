//! What a program can check about the house: who imports whom, where SQL stands, how long files are.

use std::{
    fs,
    path::{Path, PathBuf},
};

/// Each crate with what it may import of ours. Imports only go down the stair.
const MAY_IMPORT: &[(&str, &[&str])] = &[
    ("oci", &[]),
    ("outbound", &[]),
    ("cache", &["outbound"]),
    ("blob", &["oci", "outbound"]),
    ("model", &["oci"]),
    ("db", &["oci", "model", "outbound"]),
    ("auth", &["oci", "cache", "model", "db"]),
    ("registry", &["oci", "cache", "model", "db", "blob", "auth"]),
    (
        "jobs",
        &["oci", "outbound", "model", "db", "blob", "auth", "registry"],
    ),
    (
        "api",
        &["oci", "outbound", "model", "db", "blob", "auth", "registry"],
    ),
    (
        "server",
        &[
            "oci", "outbound", "cache", "model", "db", "blob", "auth", "registry", "jobs", "api",
        ],
    ),
];
const LONGEST: usize = 600;
/// Names that say nothing.
const FORBIDDEN: &[&str] = &[
    "util", "utils", "common", "helper", "helpers", "manager", "service", "misc", "base", "impl",
];

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .parent()
        .expect("the workspace")
        .to_owned()
}

/// All `.rs` files below a folder.
fn sources(folder: &Path) -> Vec<PathBuf> {
    let mut files = Vec::new();
    for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
        let path = entry.path();
        if path.is_dir() {
            files.extend(sources(&path));
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            files.push(path);
        }
    }
    files
}

#[test]
fn crates_import_only_what_lies_below_them() {
    let ours: Vec<&str> = MAY_IMPORT.iter().map(|(name, _)| *name).collect();
    for (name, allowed) in MAY_IMPORT {
        let manifest =
            fs::read_to_string(root().join(name).join("Cargo.toml")).expect("a manifest");
        let wanted = manifest
            .split("[dependencies]")
            .nth(1)
            .expect("dependencies")
            .split("\n[")
            .next()
            .expect("a section");
        for dependency in wanted
            .lines()
            .filter_map(|line| line.split(['.', ' ', '=']).next())
        {
            assert!(
                !ours.contains(&dependency) || allowed.contains(&dependency),
                "{name} must not import {dependency}"
            );
        }
    }
}

#[test]
fn sql_stands_in_db_alone() {
    for (name, _) in MAY_IMPORT.iter().filter(|(name, _)| *name != "db") {
        for file in sources(&root().join(name).join("src")) {
            if file.to_string_lossy().contains("test") {
                continue;
            }
            let text = fs::read_to_string(&file).expect("a source");
            for words in ["\"SELECT ", "\"INSERT INTO ", "\"UPDATE ", "\"DELETE FROM "] {
                assert!(!text.contains(words), "{} holds SQL", file.display());
            }
        }
    }
}

#[test]
fn files_are_short_and_their_names_say_something() {
    for (name, _) in MAY_IMPORT {
        for file in sources(&root().join(name)) {
            let lines = fs::read_to_string(&file).expect("a source").lines().count();
            assert!(lines <= LONGEST, "{} has {lines} lines", file.display());
            let stem = file
                .file_stem()
                .and_then(|stem| stem.to_str())
                .expect("a name");
            assert!(!FORBIDDEN.contains(&stem), "{}", file.display());
        }
    }
}

#[test]
fn every_metric_is_documented() {
    let page = fs::read_to_string(root().join("docs/operate.md")).expect("it is there");
    let mut found = 0;
    for (name, _) in MAY_IMPORT {
        for file in sources(&root().join(name).join("src")) {
            let text = fs::read_to_string(&file).expect("a source");
            for kind in ["counter!(", "gauge!(", "histogram!("] {
                for after in text.split(kind).skip(1) {
                    let literal = after.trim_start().strip_prefix('"');
                    let Some((metric, _)) = literal.and_then(|text| text.split_once('"')) else {
                        continue;
                    };
                    if metric.starts_with("seawall_") {
                        found += 1;
                        assert!(
                            page.contains(metric),
                            "docs/operate.md does not name {metric}"
                        );
                    }
                }
            }
        }
    }
    assert!(found > 20, "{found} are found");
}

#[test]
fn the_architecture_names_every_crate() {
    let text = fs::read_to_string(root().join("ARCHITECTURE.md")).expect("it is there");
    for (name, _) in MAY_IMPORT {
        assert!(text.contains(name), "ARCHITECTURE.md does not name {name}");
    }
}
