//! What clients ask of a list: which rows (Harbor's `q` language), in which order (`sort`), and which page. What the keys mean
//! each list says for itself (`db::query`); here nothing is known but their form.
//!
//! `q` is `key=value` pairs with commas between them: `k=v` exactly, `k=~v` contains, `k=[a~b]` from a to b, `k={a b}` one of
//! them, `k=(a b)` all of them. A value cannot hold a comma.

use std::collections::BTreeMap;

use crate::{Error, Result, What, time::Timestamp};

/// The longest page that can be asked for by number.
pub const LONGEST_PAGE: i64 = 100;
/// Keys in one `q`, and in one `sort`.
const MOST_KEYS: usize = 32;
/// Values in one list.
const MOST_TERMS: usize = 1000;
/// Bytes of one value that is compared.
const LONGEST: usize = 2048;

/// What is wanted of a list, apart from the page.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Listing {
    pub filters: Filters,
    pub order: Vec<Order>,
}

/// Of a key that comes twice the last counts, as with Harbor.
pub type Filters = BTreeMap<String, Match>;

/// What a value must be like.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Match {
    /// The text as it was sent, quotes and all.
    Exact(String),
    /// Contained, whatever the case.
    Fuzzy(String),
    /// At least one side is there; both belong to it.
    Range {
        least: Option<Term>,
        most: Option<Term>,
    },
    AnyOf(Vec<Term>),
    AllOf(Vec<Term>),
}

/// A value within a range or a list. Its text is kept beside what it may mean, since that depends on the key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Term {
    Time(Timestamp, String),
    Int(i64, String),
    Text(String),
}

impl Term {
    pub fn text(&self) -> &str {
        match self {
            Self::Time(_, text) | Self::Int(_, text) | Self::Text(text) => text,
        }
    }
}

/// One key of `sort`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Order {
    pub key: String,
    pub descending: bool,
}

/// Which part of a list is wanted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Page {
    Rows {
        before: i64,
        count: i64,
    },
    /// Harbor's size of 0 or less.
    All,
}

impl Page {
    /// `number` counts from 1, and what is less is 1.
    pub fn new(number: i64, size: i64) -> Result<Self> {
        if size > LONGEST_PAGE {
            return Err(Error::invalid(
                What::Page,
                format!("page_size in query should be less than or equal to {LONGEST_PAGE}"),
            ));
        }
        if size <= 0 {
            return Ok(Self::All);
        }
        // What lies beyond any row is cut there, so that it fits the database's number.
        let before = (number.max(1) - 1).saturating_mul(size).min(1 << 53);
        Ok(Self::Rows {
            before,
            count: size,
        })
    }
}

impl Listing {
    /// Reads the parameters `q` and `sort`, each as it is after the query string was decoded; empty where it was not sent.
    pub fn parse(q: &str, sort: &str) -> Result<Self> {
        Ok(Self {
            filters: filters(q)?,
            order: order(sort)?,
        })
    }
}

fn filters(q: &str) -> Result<Filters> {
    let mut filters = Filters::new();
    if q.is_empty() {
        return Ok(filters);
    }
    let text = decoded_again(q);
    for pair in text.split(',') {
        let (key, value) = pair
            .split_once('=')
            .filter(|(key, value)| !key.is_empty() && !value.is_empty())
            .ok_or_else(|| {
                invalid(
                    r#"the query string must contain "=" and the key/value cannot be empty"#
                        .to_owned(),
                )
            })?;
        if key.contains('\0') || value.contains('\0') {
            return Err(invalid("the query string must not contain NUL".to_owned()));
        }
        let found = parse(value).map_err(|why| {
            let shown: String = value.chars().take(100).collect();
            invalid(format!("invalid query string value: {shown}: {why}"))
        })?;
        filters.insert(key.to_owned(), found);
        if filters.len() > MOST_KEYS {
            return Err(invalid(format!(
                "the query string names more than {MOST_KEYS} keys"
            )));
        }
    }
    Ok(filters)
}

/// Clients escape `q` by itself and then with everything else, so it is undone twice. What is no escape stays as it is.
fn decoded_again(q: &str) -> std::borrow::Cow<'_, str> {
    let mut escapes = q.split('%').skip(1);
    let whole = escapes.all(|rest| {
        let digits = rest.as_bytes().get(..2);
        digits.is_some_and(|digits| digits.iter().all(u8::is_ascii_hexdigit))
    });
    if whole {
        oci::query::decode(q)
    } else {
        q.into()
    }
}

fn parse(value: &str) -> Result<Match, &'static str> {
    let found = match value.as_bytes().first() {
        Some(b'~') => fuzzy(value),
        Some(b'[') => range(value),
        Some(b'{') => enclosed(value, '}')
            .ok_or(r#"or list must start with "{" and end with "}""#)
            .and_then(terms)
            .map(Match::AnyOf),
        Some(b'(') => enclosed(value, ')')
            .ok_or(r#"and list must start with "(" and end with ")""#)
            .and_then(terms)
            .map(Match::AllOf),
        // A value may begin with any of these after a backslash.
        _ => Ok(Match::Exact(
            value.strip_prefix('\\').unwrap_or(value).to_owned(),
        )),
    }?;
    if longest(&found) > LONGEST {
        return Err("it is too long");
    }
    Ok(found)
}

fn fuzzy(value: &str) -> Result<Match, &'static str> {
    match &value[1..] {
        "" => {
            Err(r#"fuzzy match value must start with "~" and contain at least 1 other characters"#)
        }
        text => Ok(Match::Fuzzy(text.to_owned())),
    }
}

fn range(value: &str) -> Result<Match, &'static str> {
    let (least, most) = enclosed(value, ']')
        .filter(|_| value.matches('~').count() == 1)
        .and_then(|inner| inner.split_once('~'))
        .ok_or(r#"range must start with "[", end with "]" and contains only one "~""#)?;
    let side = |text: &str| Some(text.trim()).filter(|text| !text.is_empty()).map(term);
    match (side(least), side(most)) {
        (None, None) => Err("min and max at least one should be set in range"),
        (least, most) => Ok(Match::Range { least, most }),
    }
}

/// What stands between a bracket of one byte and its end; a lone bracket is not its own end.
fn enclosed(value: &str, end: char) -> Option<&str> {
    value[1..].strip_suffix(end)
}

fn terms(inner: &str) -> Result<Vec<Term>, &'static str> {
    let terms: Vec<Term> = inner
        .split(' ')
        .map(term)
        .filter(|term| !term.text().is_empty())
        .take(MOST_TERMS + 1)
        .collect();
    if terms.len() > MOST_TERMS {
        return Err("it lists more than 1000 values");
    }
    Ok(terms)
}

fn term(text: &str) -> Term {
    let text = text.trim();
    if let Some(time) = Timestamp::parse(text) {
        return Term::Time(time, text.to_owned());
    }
    match text.parse() {
        Ok(number) => Term::Int(number, text.to_owned()),
        // Quotes force a text: `'123'`.
        Err(_) => Term::Text(text.trim_matches(['"', '\'']).to_owned()),
    }
}

fn longest(found: &Match) -> usize {
    let of = |terms: &[Term]| terms.iter().map(|term| term.text().len()).max();
    match found {
        Match::Exact(text) | Match::Fuzzy(text) => text.len(),
        Match::Range { least, most } => {
            let sides = [least, most].into_iter().flatten();
            sides.map(|term| term.text().len()).max().unwrap_or(0)
        }
        Match::AnyOf(terms) | Match::AllOf(terms) => of(terms).unwrap_or(0),
    }
}

fn order(sort: &str) -> Result<Vec<Order>> {
    let keys = sort.split(',').filter(|key| !key.is_empty());
    let order: Vec<Order> = keys
        .take(MOST_KEYS + 1)
        .map(|key| Order {
            key: key.strip_prefix('-').unwrap_or(key).to_owned(),
            descending: key.starts_with('-'),
        })
        .collect();
    if order.len() > MOST_KEYS {
        return Err(invalid(format!("sort names more than {MOST_KEYS} keys")));
    }
    Ok(order)
}

fn invalid(why: String) -> Error {
    Error::Invalid(What::Query, why)
}

#[cfg(test)]
mod tests;
