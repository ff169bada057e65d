//! The configuration before it has types: tables, lists and values, each remembering where it was written.
//!
//! A variable's text has no type of its own: `10000` may be a number or a password. It stays `Text` until the key that takes
//! it says what it wants (see `decode.rs`).

use std::{
    cell::Cell,
    collections::{BTreeMap, btree_map::Entry},
    fmt,
    sync::Arc,
};

use toml::{
    Spanned,
    de::{DeTable, DeValue},
};

use super::ConfigError;

/// One value, with its place. No `Debug`: it may be a secret.
#[derive(Clone)]
pub(super) struct Node {
    pub(super) kind: Kind,
    pub(super) origin: Origin,
    /// Set when a secret is read from it; errors then leave the value out.
    pub(super) secret: Cell<bool>,
}

#[derive(Clone)]
pub(super) enum Kind {
    Table(Table),
    List(Vec<Node>),
    /// A variable's or a flag's text: its type is whatever the key wants.
    Text(String),
    String(String),
    Integer(i64),
    Float(f64),
    Bool(bool),
}

pub(super) type Table = BTreeMap<String, Node>;

/// Where a value was written, in the words of a message.
#[derive(Clone, Debug)]
pub(super) enum Origin {
    File { name: Arc<str>, line: usize },
    Variable(Arc<str>),
    Flag(&'static str),
}

impl Origin {
    pub(super) fn variable(&self) -> Option<&str> {
        match self {
            Self::Variable(name) => Some(name),
            Self::File { .. } | Self::Flag(_) => None,
        }
    }
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::File { name, line } => write!(f, "{name}, line {line}"),
            Self::Variable(name) => write!(f, "variable {name}"),
            Self::Flag(name) => write!(f, "flag {name}"),
        }
    }
}

impl Node {
    pub(super) fn new(kind: Kind, origin: Origin) -> Self {
        Self {
            kind,
            origin,
            secret: Cell::new(false),
        }
    }

    /// The value as a message may show it: short, one line, no secret.
    pub(super) fn shown(&self) -> String {
        if self.secret.get() {
            return "***".to_owned();
        }
        match &self.kind {
            Kind::Table(_) => "a table".to_owned(),
            Kind::List(_) => "a list".to_owned(),
            Kind::Text(text) | Kind::String(text) if text.chars().count() > 80 => {
                format!("{:?}…", text.chars().take(80).collect::<String>())
            }
            Kind::Text(text) | Kind::String(text) => format!("{text:?}"),
            Kind::Integer(number) => number.to_string(),
            Kind::Float(number) => number.to_string(),
            Kind::Bool(value) => value.to_string(),
        }
    }

    /// What a variable or a flag holds; `None` for values that have a type already.
    pub(super) fn as_text(&self) -> Option<&str> {
        match &self.kind {
            Kind::Text(text) => Some(text),
            _ => None,
        }
    }

    /// The text as a TOML value, for keys that want a list or a table; `None` where it is no such text.
    pub(super) fn parsed(&self) -> Option<Self> {
        let value = DeValue::parse(self.as_text()?.trim()).ok()?;
        Some(Self::from_value(value.get_ref(), &|_| self.origin.clone()))
    }

    fn from_value(value: &DeValue<'_>, origin: &dyn Fn(usize) -> Origin) -> Self {
        let kind = match value {
            DeValue::String(text) => Kind::String(text.to_string()),
            DeValue::Integer(number) => i64::from_str_radix(number.as_str(), number.radix())
                .map_or_else(|_| Kind::String(number.to_string()), Kind::Integer),
            DeValue::Float(number) => number
                .as_str()
                .parse()
                .map_or_else(|_| Kind::String(number.to_string()), Kind::Float),
            DeValue::Boolean(value) => Kind::Bool(*value),
            DeValue::Datetime(time) => Kind::String(time.to_string()),
            DeValue::Array(items) => Kind::List(
                items
                    .iter()
                    .map(|item| Self::from_spanned(item, origin))
                    .collect(),
            ),
            DeValue::Table(table) => Kind::Table(from_table(table, origin)),
        };
        Self::new(kind, origin(0))
    }

    fn from_spanned(value: &Spanned<DeValue<'_>>, origin: &dyn Fn(usize) -> Origin) -> Self {
        Self {
            origin: origin(value.span().start),
            ..Self::from_value(value.get_ref(), origin)
        }
    }
}

fn from_table(table: &DeTable<'_>, origin: &dyn Fn(usize) -> Origin) -> Table {
    table
        .iter()
        .map(|(key, value)| {
            let node = Node {
                origin: origin(key.span().start),
                ..Node::from_value(value.get_ref(), origin)
            };
            (key.get_ref().to_string(), node)
        })
        .collect()
}

/// Reads a file's text. A syntax error shows its line's number, not its text: that may be a secret.
pub(super) fn from_file(name: &str, text: &str) -> Result<Table, ConfigError> {
    let line_of = |offset: usize| {
        1 + text[..text.floor_char_boundary(offset)]
            .matches('\n')
            .count()
    };
    let name: Arc<str> = name.into();
    let table = DeTable::parse(text).map_err(|error| {
        let line = error.span().map_or(1, |span| line_of(span.start));
        ConfigError::new(format!(
            "{name}, line {line}: {}",
            error.message().replace('\n', ", ")
        ))
    })?;
    Ok(from_table(table.get_ref(), &|offset| Origin::File {
        name: name.clone(),
        line: line_of(offset),
    }))
}

/// Lays a variable's value over what stands in the table. A part of the path that is a number names an entry of a list.
pub(super) fn overlay(table: &mut Table, path: &[String], value: Node) -> Result<(), ConfigError> {
    let Some((first, rest)) = path.split_first() else {
        return Ok(());
    };
    let slot = match table.entry(first.clone()) {
        Entry::Occupied(entry) => entry.into_mut(),
        Entry::Vacant(entry) => {
            entry.insert(Node::new(Kind::Table(Table::new()), value.origin.clone()))
        }
    };
    if rest.is_empty() {
        *slot = value;
        return Ok(());
    }
    if let Kind::List(items) = &mut slot.kind {
        let numbered = std::mem::take(items)
            .into_iter()
            .enumerate()
            .map(|(i, item)| (i.to_string(), item));
        slot.kind = Kind::Table(numbered.collect());
    }
    match &mut slot.kind {
        Kind::Table(inner) => overlay(inner, rest, value),
        Kind::List(_)
        | Kind::Text(_)
        | Kind::String(_)
        | Kind::Integer(_)
        | Kind::Float(_)
        | Kind::Bool(_) => Err(ConfigError::new(format!(
            "{} sets a part of what {} sets as a whole",
            value.origin, slot.origin
        ))),
    }
}
