//! From the tree to the typed sections, through serde. Ours rather than toml's, because the message must name key, value, place
//! and expected form, a variable's text takes the type its key wants, and `…_FILE` is known only beside the keys that exist.

use std::{borrow::Cow, collections::BTreeMap, fs};

use serde::{
    Deserializer,
    de::{
        self, DeserializeSeed, IntoDeserializer, MapAccess, SeqAccess, Unexpected, Visitor,
        value::MapAccessDeserializer,
    },
    forward_to_deserialize_any,
};

use super::{
    error::Fault,
    tree::{Kind, Node, Table},
};

impl<'de> Deserializer<'de> for &Node {
    type Error = Fault;

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Fault> {
        match &self.kind {
            Kind::Table(table) => visitor.visit_map(Entries::of_map(table)),
            Kind::List(items) => visitor.visit_seq(Items {
                items: items.iter().enumerate(),
            }),
            Kind::Text(text) | Kind::String(text) => visitor.visit_str(text),
            Kind::Integer(number) => visitor.visit_i64(*number),
            Kind::Float(number) => visitor.visit_f64(*number),
            Kind::Bool(value) => visitor.visit_bool(*value),
        }
    }

    fn deserialize_bool<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Fault> {
        match self.as_text() {
            Some(text) => match text.trim().parse() {
                Ok(value) => visitor.visit_bool(value),
                Err(_) => Err(de::Error::invalid_type(Unexpected::Str(text), &visitor)),
            },
            None => self.deserialize_any(visitor),
        }
    }

    fn deserialize_i64<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Fault> {
        match self.as_text() {
            Some(text) => match text.trim().parse() {
                Ok(value) => visitor.visit_i64(value),
                Err(_) => Err(de::Error::invalid_type(Unexpected::Str(text), &visitor)),
            },
            None => self.deserialize_any(visitor),
        }
    }

    fn deserialize_f64<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Fault> {
        match self.as_text() {
            Some(text) => match text.trim().parse() {
                Ok(value) => visitor.visit_f64(value),
                Err(_) => Err(de::Error::invalid_type(Unexpected::Str(text), &visitor)),
            },
            None => self.deserialize_any(visitor),
        }
    }

    fn deserialize_i8<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Fault> {
        self.deserialize_i64(visitor)
    }

    fn deserialize_i16<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Fault> {
        self.deserialize_i64(visitor)
    }

    fn deserialize_i32<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Fault> {
        self.deserialize_i64(visitor)
    }

    fn deserialize_u8<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Fault> {
        self.deserialize_i64(visitor)
    }

    fn deserialize_u16<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Fault> {
        self.deserialize_i64(visitor)
    }

    fn deserialize_u32<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Fault> {
        self.deserialize_i64(visitor)
    }

    fn deserialize_u64<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Fault> {
        self.deserialize_i64(visitor)
    }

    fn deserialize_f32<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Fault> {
        self.deserialize_f64(visitor)
    }

    /// An empty text is an absent value, so that a sample can show a key that has no default.
    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Fault> {
        if matches!(&self.kind, Kind::Text(text) | Kind::String(text) if text.is_empty()) {
            visitor.visit_none()
        } else {
            visitor.visit_some(self)
        }
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(
        self,
        name: &'static str,
        visitor: V,
    ) -> Result<V::Value, Fault> {
        if name == super::values::SECRET {
            self.secret.set(true);
        }
        visitor.visit_newtype_struct(self)
    }

    fn deserialize_seq<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Fault> {
        // `SEAWALL_LISTEN__0__ADDRESS` names the entries of a list by their numbers.
        if let Kind::Table(table) = &self.kind {
            let items = numbered(table)?.into_iter();
            return visitor.visit_seq(Items { items });
        }
        match self.parsed() {
            Some(node) if matches!(node.kind, Kind::List(_)) => node.deserialize_any(visitor),
            _ => self.deserialize_any(visitor),
        }
    }

    fn deserialize_tuple<V: Visitor<'de>>(
        self,
        _len: usize,
        visitor: V,
    ) -> Result<V::Value, Fault> {
        self.deserialize_seq(visitor)
    }

    fn deserialize_map<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Fault> {
        match self.parsed() {
            Some(node) if matches!(node.kind, Kind::Table(_)) => node.deserialize_any(visitor),
            _ => self.deserialize_any(visitor),
        }
    }

    fn deserialize_struct<V: Visitor<'de>>(
        self,
        _name: &'static str,
        fields: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Fault> {
        match &self.kind {
            Kind::Table(table) => visitor.visit_map(Entries::of_struct(table, fields)?),
            _ => self.deserialize_map(visitor),
        }
    }

    fn deserialize_enum<V: Visitor<'de>>(
        self,
        _name: &'static str,
        _variants: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Fault> {
        match &self.kind {
            Kind::Table(table) => {
                visitor.visit_enum(MapAccessDeserializer::new(Entries::of_map(table)))
            }
            Kind::Text(text) | Kind::String(text) => {
                visitor.visit_enum(text.as_str().into_deserializer())
            }
            Kind::List(_) | Kind::Integer(_) | Kind::Float(_) | Kind::Bool(_) => {
                self.deserialize_any(visitor)
            }
        }
    }

    forward_to_deserialize_any! {
        i128 u128 char str string bytes byte_buf unit unit_struct tuple_struct identifier ignored_any
    }
}

/// The entries of a table whose keys are the numbers of a list, in order.
fn numbered(table: &Table) -> Result<Vec<(usize, &Node)>, Fault> {
    let mut items = Vec::with_capacity(table.len());
    for (key, node) in table {
        let Ok(index) = key.parse::<usize>() else {
            return Err(Fault::unknown(&[]).at(key, node));
        };
        items.push((index, node));
    }
    items.sort_by_key(|(index, _)| *index);
    Ok(items)
}

struct Items<I> {
    items: I,
}

impl<'de, 'a, I: Iterator<Item = (usize, &'a Node)>> SeqAccess<'de> for Items<I> {
    type Error = Fault;

    fn next_element_seed<T: DeserializeSeed<'de>>(
        &mut self,
        seed: T,
    ) -> Result<Option<T::Value>, Fault> {
        let Some((index, node)) = self.items.next() else {
            return Ok(None);
        };
        seed.deserialize(node)
            .map(Some)
            .map_err(|fault| fault.at(index, node))
    }
}

struct Entries<'a> {
    entries: std::vec::IntoIter<(&'a str, Cow<'a, Node>)>,
    current: Option<(&'a str, Cow<'a, Node>)>,
}

impl<'a> Entries<'a> {
    fn of_map(table: &'a Table) -> Self {
        let entries: Vec<_> = table
            .iter()
            .map(|(key, node)| (key.as_str(), Cow::Borrowed(node)))
            .collect();
        Self {
            entries: entries.into_iter(),
            current: None,
        }
    }

    /// A variable `…_FILE` whose own name is no key gives the key without the ending, from the file it names.
    fn of_struct(table: &'a Table, fields: &[&str]) -> Result<Self, Fault> {
        let mut entries: BTreeMap<&str, Cow<'a, Node>> = BTreeMap::new();
        for (key, node) in table {
            let indirect = key
                .strip_suffix("_file")
                .filter(|base| !fields.contains(&key.as_str()) && fields.contains(base));
            match (indirect, node.origin.variable()) {
                (Some(base), Some(variable)) => {
                    let direct = table.get(base).and_then(|node| node.origin.variable());
                    if let Some(direct) = direct {
                        return Err(
                            Fault::other(format!("both {direct} and {variable} are set"))
                                .at(base, node),
                        );
                    }
                    let value = read_value(node).map_err(|fault| fault.at(key, node))?;
                    entries.insert(base, Cow::Owned(value));
                }
                _ => {
                    entries.entry(key).or_insert(Cow::Borrowed(node));
                }
            }
        }
        Ok(Self {
            entries: entries.into_iter().collect::<Vec<_>>().into_iter(),
            current: None,
        })
    }
}

/// Reads the file that a `…_FILE` variable names. Its content may be a secret, so a message never shows it.
fn read_value(node: &Node) -> Result<Node, Fault> {
    let Kind::Text(path) = &node.kind else {
        return Err(Fault::other("expected the path of a file".to_owned()));
    };
    let text = fs::read_to_string(path)
        .map_err(|error| Fault::other(format!("cannot read the file: {error}")))?;
    let text = text.strip_suffix('\n').map_or(text.as_str(), |text| {
        text.strip_suffix('\r').unwrap_or(text)
    });
    let value = Node::new(Kind::Text(text.to_owned()), node.origin.clone());
    value.secret.set(true);
    Ok(value)
}

impl<'de> MapAccess<'de> for Entries<'_> {
    type Error = Fault;

    fn next_key_seed<K: DeserializeSeed<'de>>(
        &mut self,
        seed: K,
    ) -> Result<Option<K::Value>, Fault> {
        self.current = self.entries.next();
        let Some((key, node)) = &self.current else {
            return Ok(None);
        };
        seed.deserialize((*key).into_deserializer())
            .map(Some)
            .map_err(|fault: Fault| fault.at(key, node))
    }

    fn next_value_seed<V: DeserializeSeed<'de>>(&mut self, seed: V) -> Result<V::Value, Fault> {
        let (key, node) = self
            .current
            .take()
            .expect("serde asks for a value only after its key");
        seed.deserialize(node.as_ref())
            .map_err(|fault| fault.at(key, &node))
    }
}
