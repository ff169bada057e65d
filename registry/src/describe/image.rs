//! What the config of an image tells: when and by whom it was made, for which machine, and how it runs.

use serde_json::{Map, Value};

use super::{MOST_ATTRS, json::Members};

/// What image-spec's config.md names; other members of `config` are leftovers of old clients.
const RUN_MEMBERS: [&str; 10] = [
    "User",
    "ExposedPorts",
    "Env",
    "Entrypoint",
    "Cmd",
    "Volumes",
    "WorkingDir",
    "Labels",
    "StopSignal",
    "ArgsEscaped",
];
/// Where an author may stand when there is no `author`; the second is of Dockerfile's MAINTAINER.
const AUTHOR_LABELS: [&str; 2] = ["org.opencontainers.image.authors", "maintainer"];

pub(super) fn attrs(config: &Members<'_>) -> Map<String, Value> {
    let run = config.members("config");
    let text = |name| config.text(name, MOST_ATTRS).unwrap_or_default();
    let mut attrs = Map::new();
    // Go's programs leave it out as null, and read it so.
    let created = config.text("created", MOST_ATTRS);
    attrs.insert("created".to_owned(), created.into());
    attrs.insert("architecture".to_owned(), text("architecture").into());
    attrs.insert("os".to_owned(), text("os").into());
    attrs.insert("author".to_owned(), author(config, run.as_ref()).into());
    attrs.insert("config".to_owned(), Value::Object(how_it_runs(run)));
    attrs
}

fn author(config: &Members<'_>, run: Option<&Members<'_>>) -> String {
    let stated = |members: &Members<'_>, name| {
        let text = members.text(name, MOST_ATTRS);
        text.filter(|text| !text.is_empty())
    };
    let labels = || {
        let labels = run?.members("Labels")?;
        AUTHOR_LABELS
            .into_iter()
            .find_map(|name| stated(&labels, name))
    };
    stated(config, "author").or_else(labels).unwrap_or_default()
}

/// The known members that say something. Half of the room is for them, so that the rest is always told.
fn how_it_runs(run: Option<Members<'_>>) -> Map<String, Value> {
    let Some(run) = run else {
        return Map::new();
    };
    let mut known = run.only(&RUN_MEMBERS).all(MOST_ATTRS / 2);
    known.retain(|_, value| match value {
        Value::Null | Value::Bool(false) => false,
        Value::String(text) => !text.is_empty(),
        Value::Array(items) => !items.is_empty(),
        Value::Object(members) => !members.is_empty(),
        Value::Bool(true) | Value::Number(_) => true,
    });
    known
}
