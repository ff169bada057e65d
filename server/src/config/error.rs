//! What is wrong with a configuration, said so that the reader can mend it: the key, its value, where it stands, what was expected.

use std::fmt;

use serde::de::{self, Expected, Unexpected};

use super::tree::Node;

/// A configuration that cannot be used. The text is meant for the person who wrote it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConfigError {
    message: String,
}

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for ConfigError {}

impl ConfigError {
    pub(super) fn new(message: String) -> Self {
        Self { message }
    }
}

impl From<Fault> for ConfigError {
    fn from(fault: Fault) -> Self {
        Self::new(fault.message())
    }
}

/// An error on its way out of the tree, which learns its key and place as it passes them.
#[derive(Debug)]
pub(super) struct Fault {
    what: What,
    /// The key's parts, innermost first.
    path: Vec<String>,
    /// The value as it may be shown, and where it stands.
    found: Option<(String, String)>,
}

#[derive(Debug)]
enum What {
    UnknownKey(&'static [&'static str]),
    MissingKey(&'static str),
    Expected(String),
    Other(String),
}

impl Fault {
    fn new(what: What) -> Self {
        Self {
            what,
            path: Vec::new(),
            found: None,
        }
    }

    pub(super) fn unknown(known: &'static [&'static str]) -> Self {
        Self::new(What::UnknownKey(known))
    }

    pub(super) fn other(message: String) -> Self {
        Self::new(What::Other(message))
    }

    pub(super) fn at(mut self, key: impl fmt::Display, node: &Node) -> Self {
        self.path.push(key.to_string());
        self.found
            .get_or_insert_with(|| (node.shown(), node.origin.to_string()));
        self
    }

    pub(super) fn message(&self) -> String {
        let parts: Vec<&str> = self.path.iter().rev().map(String::as_str).collect();
        let key = parts.join(".");
        let (value, place) = self
            .found
            .as_ref()
            .map_or(("", "the configuration"), |(value, place)| (value, place));
        match &self.what {
            What::UnknownKey(known) => {
                let (section, name) = parts.split_at(parts.len().saturating_sub(1));
                let hint = hint(&section.join("."), name.first().unwrap_or(&""), known);
                format!("unknown key `{key}` ({place}){hint}")
            }
            What::MissingKey(name) if key.is_empty() => format!("`{name}` is missing"),
            What::MissingKey(name) => format!("`{key}` ({place}) needs `{name}`"),
            What::Expected(form) => {
                format!("`{key}` is {value} ({place}): expected {}", in_words(form))
            }
            What::Other(message) => format!("`{key}` is {value} ({place}): {message}"),
        }
    }
}

/// The known key that was probably meant, else all that the section knows.
fn hint(section: &str, name: &str, known: &[&str]) -> String {
    let full = |name: &str| {
        if section.is_empty() {
            name.to_owned()
        } else {
            format!("{section}.{name}")
        }
    };
    let near = known
        .iter()
        .map(|known| (distance(name, known), known))
        .min();
    match near {
        Some((distance, known)) if distance <= 2.max(name.len() / 3) && distance < known.len() => {
            format!("; did you mean `{}`?", full(known))
        }
        Some(_) => format!(
            "; known here: {}",
            known
                .iter()
                .map(|key| format!("`{key}`"))
                .collect::<Vec<_>>()
                .join(", ")
        ),
        None => String::new(),
    }
}

/// How many letters must be put in, taken out, changed or swapped with their neighbour to make one word of the other.
fn distance(a: &str, b: &str) -> usize {
    let (a, b): (Vec<char>, Vec<char>) = (a.chars().collect(), b.chars().collect());
    let mut rows = vec![(0..=b.len()).collect::<Vec<usize>>()];
    for i in 1..=a.len() {
        let mut row = vec![i];
        for j in 1..=b.len() {
            let changed = rows[i - 1][j - 1] + usize::from(a[i - 1] != b[j - 1]);
            let mut best = changed.min(rows[i - 1][j] + 1).min(row[j - 1] + 1);
            if i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1] {
                best = best.min(rows[i - 2][j - 2] + 1);
            }
            row.push(best);
        }
        rows.push(row);
    }
    rows[a.len()][b.len()]
}

/// serde names Rust's types; a person reads forms.
fn in_words(form: &str) -> &str {
    match form {
        "u8" | "u16" | "u32" | "u64" | "usize" => "a whole number, zero or more",
        "i8" | "i16" | "i32" | "i64" => "a whole number",
        "f32" | "f64" => "a number",
        "a boolean" => "`true` or `false`",
        "a sequence" => "a list such as [\"one\", \"two\"]",
        "a map" => "a table",
        form if form.starts_with("struct ") => "a table",
        form => form,
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message())
    }
}

impl std::error::Error for Fault {}

impl de::Error for Fault {
    fn custom<T: fmt::Display>(message: T) -> Self {
        Self::other(message.to_string())
    }

    fn invalid_type(_found: Unexpected<'_>, expected: &dyn Expected) -> Self {
        Self::new(What::Expected(expected.to_string()))
    }

    fn invalid_value(_found: Unexpected<'_>, expected: &dyn Expected) -> Self {
        Self::new(What::Expected(expected.to_string()))
    }

    fn invalid_length(_found: usize, expected: &dyn Expected) -> Self {
        Self::new(What::Expected(expected.to_string()))
    }

    fn unknown_variant(_found: &str, known: &'static [&'static str]) -> Self {
        let known: Vec<String> = known.iter().map(|name| format!("`{name}`")).collect();
        Self::new(What::Expected(known.join(" or ")))
    }

    fn unknown_field(_found: &str, known: &'static [&'static str]) -> Self {
        Self::unknown(known)
    }

    fn missing_field(name: &'static str) -> Self {
        Self::new(What::MissingKey(name))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn near_misses_are_named_and_others_are_not() {
        let known = ["url", "pool_size", "timeout"];
        assert_eq!(
            hint("database", "uri", &known),
            "; did you mean `database.url`?"
        );
        assert_eq!(
            hint("database", "poolsize", &known),
            "; did you mean `database.pool_size`?"
        );
        assert_eq!(
            hint("database", "tiemout", &known),
            "; did you mean `database.timeout`?"
        );
        assert_eq!(
            hint("", "databse", &["database"]),
            "; did you mean `database`?"
        );
        assert_eq!(
            hint("database", "colour", &known),
            "; known here: `url`, `pool_size`, `timeout`"
        );
    }
}
