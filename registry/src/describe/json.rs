//! JSON of strangers, of which a few members are wanted: the rest is passed over without being built, since four megabytes of
//! brackets are a hundred as values. What is built is checked by the parser, depth and all.

use std::{borrow::Cow, collections::BTreeMap, fmt};

use serde::{
    Deserialize, Deserializer,
    de::{DeserializeOwned, Error as _, MapAccess, SeqAccess, Visitor},
};
use serde_json::{Map, Value, value::RawValue};

/// An object with more members is not read.
const MOST_MEMBERS: usize = 1000;

/// An object's members, each as its text. Of two with the same name the later counts.
pub(crate) struct Members<'a>(BTreeMap<Cow<'a, str>, &'a RawValue>);

impl<'a> Members<'a> {
    /// None when it is no object, or no JSON.
    pub(crate) fn read(text: &'a str) -> Option<Self> {
        serde_json::from_str(text).ok()
    }

    fn get(&self, name: &str) -> Option<&'a RawValue> {
        self.0.get(name).copied()
    }

    pub(crate) fn members(&self, name: &str) -> Option<Self> {
        Self::read(self.get(name)?.get())
    }

    pub(crate) fn text(&self, name: &str, most: usize) -> Option<String> {
        read_bounded(self.get(name)?, most)
    }

    /// The entries of a list that has at most `most`.
    pub(crate) fn entries(&self, name: &str, most: usize) -> Option<Vec<&'a RawValue>> {
        let entries = self.get(name)?.get();
        let mut deserializer = serde_json::Deserializer::from_str(entries);
        deserializer.deserialize_seq(Entries(most)).ok()
    }

    #[must_use]
    pub(crate) fn only(mut self, names: &[&str]) -> Self {
        self.0.retain(|name, _| names.contains(&name.as_ref()));
        self
    }

    #[must_use]
    pub(crate) fn without(mut self, names: &[Cow<'_, str>]) -> Self {
        self.0.retain(|name, _| !names.contains(name));
        self
    }

    /// The members as values, without the largest ones when all together have more than `most` bytes.
    pub(crate) fn all(self, most: usize) -> Map<String, Value> {
        let length = |(name, raw): &(Cow<'_, str>, &RawValue)| name.len() + raw.get().len();
        let mut members: Vec<_> = self.0.into_iter().collect();
        members.sort_by_key(length);
        let mut room = most;
        let mut values = Map::new();
        for member in members {
            let Some(left) = room.checked_sub(length(&member)) else {
                break;
            };
            room = left;
            let (name, raw) = member;
            if let Some(value) = read_bounded(raw, most) {
                values.insert(name.into_owned(), value);
            }
        }
        values
    }
}

/// Removes the largest members until the object's text fits.
pub(crate) fn fit(object: &mut Map<String, Value>, most: usize) {
    let length = |(name, value): (&String, &Value)| name.len() + value.to_string().len() + 4;
    let mut lengths: Vec<_> = object
        .iter()
        .map(|member| (length(member), member.0.clone()))
        .collect();
    lengths.sort();
    let mut total: usize = 2 + lengths.iter().map(|(length, _)| length).sum::<usize>();
    while total > most
        && let Some((length, name)) = lengths.pop()
    {
        object.remove(&name);
        total -= length;
    }
}

/// A value whose text has at most `most` bytes.
pub(crate) fn read_bounded<T: DeserializeOwned>(raw: &RawValue, most: usize) -> Option<T> {
    let text = raw.get();
    (text.len() <= most)
        .then(|| serde_json::from_str(text).ok())
        .flatten()
}

impl<'de> Deserialize<'de> for Members<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(Object)
    }
}

struct Object;

impl<'de> Visitor<'de> for Object {
    type Value = Members<'de>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "an object of at most {MOST_MEMBERS} members")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        let mut members = BTreeMap::new();
        while let Some(Name(name)) = map.next_key()? {
            if members.len() == MOST_MEMBERS {
                return Err(A::Error::custom("too many members"));
            }
            members.insert(name, map.next_value()?);
        }
        Ok(Members(members))
    }
}

/// A member's name, borrowed unless it has escapes.
#[derive(Deserialize)]
struct Name<'a>(#[serde(borrow)] Cow<'a, str>);

struct Entries(usize);

impl<'de> Visitor<'de> for Entries {
    type Value = Vec<&'de RawValue>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a list")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Self::Value, A::Error> {
        let mut entries = Vec::new();
        while entries.len() < self.0
            && let Some(entry) = list.next_element()?
        {
            entries.push(entry);
        }
        // One more is left to the parser, which then refuses the list.
        Ok(entries)
    }
}
