//! Our document beside Harbor's: paths, methods, parameters, members of bodies and answers of the operations that are built.
//!
//! harbor-2.16.json has Harbor's side (scripts/harbor-facts.py makes it of the swagger), differences.txt each difference that is
//! meant and why. One that has no reason there fails, and so does a reason without its difference. The list is printed.

use std::{
    collections::{BTreeMap, BTreeSet},
    io::Write,
};

use serde::Deserialize;
use serde_json::Value;

use super::document;
use crate::harbor::routes;

/// An operation as both sides tell it. Members are paths: `[].metadata.public`.
#[derive(Debug, Default, Deserialize)]
struct Facts {
    operation: String,
    method: String,
    path: String,
    parameters: BTreeSet<String>,
    body: BTreeSet<String>,
    success: BTreeSet<u16>,
    headers: BTreeSet<String>,
    answer: BTreeSet<String>,
}

#[test]
fn every_difference_to_harbors_document_has_its_reason() {
    let harbor: Vec<Facts> = serde_json::from_str(include_str!("harbor-2.16.json")).expect("facts");
    let document = document(routes());
    let ours = facts(&document);
    let found: Vec<String> = harbor
        .iter()
        .flat_map(|theirs| match ours.get(&theirs.operation) {
            Some(ours) => differences(theirs, ours),
            None => vec![format!("{}: operation missing", theirs.operation)],
        })
        .collect();
    let reasons = reasons();
    let mut used = BTreeSet::new();
    let (mut told, mut unexplained) = (Vec::new(), Vec::new());
    for difference in &found {
        match reasons
            .iter()
            .find(|(pattern, _)| fits(pattern, difference))
        {
            Some((pattern, reason)) => {
                used.insert(*pattern);
                told.push(format!("{difference} | {reason}"));
            }
            None => unexplained.push(difference.as_str()),
        }
    }
    // Not `println!`, which is shown only when a test fails.
    let mut out = std::io::stdout().lock();
    for line in &told {
        writeln!(out, "differs from Harbor: {line}").expect("written");
    }
    let is_stale =
        |(pattern, reason): &&(&str, &str)| !used.contains(pattern) && *reason != "being built";
    let stale: Vec<_> = reasons.iter().filter(is_stale).collect();
    assert!(
        unexplained.is_empty() && stale.is_empty(),
        "mend the handler's types, or write the reason into api/src/harbor/openapi/differences.txt:\n{}\n\
         reasons without a difference, to be taken out there: {stale:#?}",
        unexplained.join("\n")
    );
}

fn differences(theirs: &Facts, ours: &Facts) -> Vec<String> {
    let name = &theirs.operation;
    let mut all = Vec::new();
    if (&theirs.method, &theirs.path) != (&ours.method, &ours.path) {
        all.push(format!(
            "{name}: {} {} at another place",
            ours.method, ours.path
        ));
    }
    for (what, theirs, ours) in [
        ("parameter", &theirs.parameters, &ours.parameters),
        ("body", &theirs.body, &ours.body),
        ("header", &theirs.headers, &ours.headers),
        ("answer", &theirs.answer, &ours.answer),
    ] {
        let missing = theirs
            .difference(ours)
            .filter(|path| is_top(path, theirs, ours));
        all.extend(missing.map(|path| format!("{name}: {what} {path} missing")));
        let added = ours
            .difference(theirs)
            .filter(|path| is_top(path, ours, theirs));
        all.extend(added.map(|path| format!("{name}: {what} {path} added")));
    }
    if theirs.success != ours.success {
        all.push(format!(
            "{name}: answers {:?} for {:?}",
            ours.success, theirs.success
        ));
    }
    all
}

/// Whether no member that holds this one is missing too: then that one says it.
fn is_top(path: &str, here: &BTreeSet<String>, there: &BTreeSet<String>) -> bool {
    !here.iter().any(|outer| {
        let inner = path.strip_prefix(outer.as_str());
        inner.is_some_and(|inner| inner.starts_with(['.', '['])) && !there.contains(outer)
    })
}

/// Our side, by operation.
fn facts(document: &Value) -> BTreeMap<String, Facts> {
    let mut all = BTreeMap::new();
    for (path, methods) in document["paths"].as_object().expect("paths") {
        for (method, operation) in methods.as_object().expect("methods") {
            let facts = Facts {
                operation: operation["operationId"]
                    .as_str()
                    .expect("a name")
                    .to_owned(),
                method: method.clone(),
                path: path.clone(),
                ..of_operation(document, operation)
            };
            all.insert(facts.operation.clone(), facts);
        }
    }
    all
}

fn of_operation(document: &Value, operation: &Value) -> Facts {
    let mut facts = Facts::default();
    for parameter in operation["parameters"].as_array().expect("a list") {
        let parameter = resolved(document, parameter);
        let text = |name: &str| parameter[name].as_str().expect("a text");
        facts
            .parameters
            .insert(format!("{} {}", text("in"), text("name")));
    }
    for content in values(&operation["requestBody"]["content"]) {
        members(document, &content["schema"], "", &[], &mut facts.body);
    }
    for (status, response) in operation["responses"].as_object().expect("answers") {
        if let Some(status) = status
            .parse()
            .ok()
            .filter(|status| (200..300).contains(status))
        {
            facts.success.insert(status);
            facts.headers.extend(names(&response["headers"]));
            for content in values(&response["content"]) {
                members(document, &content["schema"], "", &[], &mut facts.answer);
            }
        }
    }
    facts
}

/// The paths of all members of a schema. A type within itself is told once.
fn members(
    document: &Value,
    schema: &Value,
    path: &str,
    within: &[&str],
    all: &mut BTreeSet<String>,
) {
    let name = schema["$ref"].as_str();
    if name.is_some_and(|name| within.contains(&name)) {
        return;
    }
    let within: Vec<&str> = within.iter().copied().chain(name).collect();
    let schema = resolved(document, schema);
    for several in ["allOf", "anyOf", "oneOf"] {
        for part in schema[several].as_array().into_iter().flatten() {
            members(document, part, path, &within, all);
        }
    }
    if schema["items"].is_object() {
        members(
            document,
            &schema["items"],
            &format!("{path}[]"),
            &within,
            all,
        );
    }
    let below = |name: &str| match path {
        "" => name.to_owned(),
        path => format!("{path}.{name}"),
    };
    for (name, value) in schema["properties"].as_object().into_iter().flatten() {
        let inner = below(name);
        members(document, value, &inner, &within, all);
        all.insert(inner);
    }
    if schema["additionalProperties"].is_object() {
        all.insert(below("*"));
    }
}

fn resolved<'d>(document: &'d Value, thing: &'d Value) -> &'d Value {
    match thing["$ref"]
        .as_str()
        .and_then(|name| name.strip_prefix('#'))
    {
        Some(pointer) => document
            .pointer(pointer)
            .expect("what the document names is in it"),
        None => thing,
    }
}

fn values(map: &Value) -> impl Iterator<Item = &Value> {
    map.as_object().into_iter().flat_map(|map| map.values())
}

fn names(map: &Value) -> impl Iterator<Item = String> {
    map.as_object()
        .into_iter()
        .flat_map(|map| map.keys().cloned())
}

/// Lines of `difference | reason`; a `*` in the difference stands for anything.
fn reasons() -> Vec<(&'static str, &'static str)> {
    include_str!("differences.txt")
        .lines()
        .filter(|line| !line.trim().is_empty() && !line.starts_with('#'))
        .map(|line| {
            let (difference, reason) = line.split_once(" | ").expect("`difference | reason`");
            assert!(!reason.trim().is_empty(), "no reason: {line}");
            (difference.trim(), reason.trim())
        })
        .collect()
}

fn fits(pattern: &str, text: &str) -> bool {
    let mut parts = pattern.split('*');
    let Some(rest) = text.strip_prefix(parts.next().unwrap_or_default()) else {
        return false;
    };
    let parts: Vec<&str> = parts.collect();
    let Some((last, middle)) = parts.split_last() else {
        return rest.is_empty();
    };
    let mut rest = rest;
    for part in middle {
        let Some(at) = rest.find(part) else {
            return false;
        };
        rest = &rest[at + part.len()..];
    }
    rest.ends_with(last)
}

#[test]
fn a_star_stands_for_anything() {
    for (pattern, text, expected) in [
        ("a: b", "a: b", true),
        ("a: b", "a: bc", false),
        ("*: b", "any: b", true),
        ("a*c*e", "abcde", true),
        ("a*c*e", "abde", false),
        ("a*", "b", false),
    ] {
        assert_eq!(fits(pattern, text), expected, "{pattern} {text}");
    }
}

#[test]
fn a_member_is_told_by_the_outermost_that_is_missing() {
    let of = |all: &[&str]| all.iter().map(|path| (*path).to_owned()).collect();
    let theirs = Facts {
        operation: "list".to_owned(),
        answer: of(&["[].a", "[].b", "[].b.c", "[].b.d[].e"]),
        ..Facts::default()
    };
    let ours = Facts {
        answer: of(&["[].a", "[].x"]),
        ..Facts::default()
    };
    assert_eq!(
        differences(&theirs, &ours),
        ["list: answer [].b missing", "list: answer [].x added"]
    );
}
