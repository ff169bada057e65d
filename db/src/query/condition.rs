//! Conditions: what a client may see at all, and what he filters by.

use model::{
    listing::{Match, Term},
    time::Timestamp,
};

use super::{Field, Kind, Operator, Param};

/// An SQL text that is being built, and what is bound to its placeholders.
pub(super) struct Text {
    pub(super) sql: String,
    pub(super) params: Vec<Param>,
    pub(super) on_postgres: bool,
}

impl Text {
    pub(super) fn new(on_postgres: bool) -> Self {
        Self {
            sql: String::new(),
            params: Vec::new(),
            on_postgres,
        }
    }

    pub(super) fn push(&mut self, sql: &str) {
        self.sql.push_str(sql);
    }

    pub(super) fn bind(&mut self, param: Param) {
        self.params.push(param);
        self.push("$");
        self.push(&self.params.len().to_string());
    }

    /// A text whose placeholders count from 1 among its own values.
    pub(super) fn push_numbered(&mut self, sql: &str, params: &[Param]) {
        let before = self.params.len();
        let mut parts = sql.split('$');
        self.push(parts.next().unwrap_or_default());
        for part in parts {
            let digits = part
                .find(|c: char| !c.is_ascii_digit())
                .unwrap_or(part.len());
            let number: usize = part[..digits].parse().unwrap_or_default();
            self.push("$");
            self.push(&(before + number).to_string());
            self.push(&part[digits..]);
        }
        self.params.extend_from_slice(params);
    }

    /// A text column compared by bytes, as SQLite does it, whatever the language of the database.
    pub(super) fn push_by_bytes(&mut self, sql: &str, kind: Kind) {
        self.push(sql);
        if self.on_postgres && kind == Kind::Text {
            self.push(" COLLATE \"C\"");
        }
    }
}

/// The rows within which a client may look: conditions of ours, all of which hold.
#[derive(Debug, Clone, Default)]
pub struct Within(Vec<(&'static str, Vec<Param>)>);

impl Within {
    /// All rows of the list.
    pub fn all() -> Self {
        Self::default()
    }

    /// Those for which this holds too. Its placeholders are `$1`, `$2` … of its own values.
    #[must_use]
    pub fn and(mut self, sql: &'static str, params: impl IntoIterator<Item = Param>) -> Self {
        self.0.push((sql, params.into_iter().collect()));
        self
    }

    /// Those for which this and the other hold.
    #[must_use]
    pub fn within(mut self, other: Self) -> Self {
        self.0.extend(other.0);
        self
    }

    pub(super) fn conditions(&self) -> impl Iterator<Item = (&'static str, &[Param])> {
        self.0.iter().map(|(sql, params)| (*sql, params.as_slice()))
    }
}

/// What is wrong with a value, where it does not fit its field.
pub(super) fn check(field: &Field, operator: Operator, wanted: &Match) -> Result<(), &'static str> {
    let fits = |text: &str| bound(field.kind, text).map(|_| ());
    match wanted {
        Match::Exact(_) if operator == Operator::Contains => fuzzy_fits(field.kind),
        Match::Exact(text) => fits(text),
        Match::Fuzzy(_) => fuzzy_fits(field.kind),
        Match::Range { .. } if field.kind == Kind::Bool => Err("is true or false: it has no range"),
        Match::Range { least, most } => [least, most]
            .into_iter()
            .flatten()
            .try_for_each(|term| fits(term.text())),
        Match::AnyOf(terms) | Match::AllOf(terms) => {
            terms.iter().try_for_each(|term| fits(term.text()))
        }
    }
}

fn fuzzy_fits(kind: Kind) -> Result<(), &'static str> {
    match kind {
        Kind::Text | Kind::Number => Ok(()),
        Kind::Time | Kind::Bool => Err("is no text: it contains nothing"),
    }
}

/// A value as the field's column holds it.
fn bound(kind: Kind, text: &str) -> Result<Param, &'static str> {
    match kind {
        Kind::Text => Ok(Param::Text(text.to_owned())),
        Kind::Number => text
            .trim()
            .parse()
            .map(Param::Int)
            .map_err(|_| "must be a whole number"),
        Kind::Time => Timestamp::parse(text.trim())
            .map(|time| Param::Int(time.0))
            .ok_or("must be a time such as 2006-01-02T15:04:05"),
        Kind::Bool => match text.trim() {
            "1" | "t" | "T" | "true" | "True" | "TRUE" => Ok(Param::Bool(true)),
            "0" | "f" | "F" | "false" | "False" | "FALSE" => Ok(Param::Bool(false)),
            _ => Err("must be true or false"),
        },
    }
}

/// The condition for one key. What does not fit was refused by [`check`].
pub(super) fn push(text: &mut Text, field: &Field, operator: Operator, wanted: &Match) {
    match wanted {
        Match::Exact(value) => match operator {
            Operator::Is => push_exact(text, field, value),
            Operator::Contains => push_contains(text, field, value),
            Operator::AtLeast => push_compared(text, field, ">=", value),
            Operator::MoreThan => push_compared(text, field, ">", value),
            Operator::AtMost => push_compared(text, field, "<=", value),
            Operator::LessThan => push_compared(text, field, "<", value),
        },
        Match::Fuzzy(value) => push_contains(text, field, value),
        Match::Range { least, most } => {
            let sides = [(least, ">="), (most, "<=")];
            let sides = sides
                .iter()
                .filter_map(|(side, sign)| side.as_ref().map(|term| (term.text(), *sign)));
            for (index, (value, sign)) in sides.enumerate() {
                if index > 0 {
                    text.push(" AND ");
                }
                push_compared(text, field, sign, value);
            }
        }
        Match::AnyOf(terms) => push_any_of(text, field, terms),
        Match::AllOf(_) => text.push("TRUE"),
    }
}

fn push_exact(text: &mut Text, field: &Field, value: &str) {
    let Ok(param) = bound(field.kind, value) else {
        return text.push("FALSE");
    };
    if let Some(sql) = field.exact {
        text.push_numbered(sql, &[param]);
    } else {
        text.push(field.sql);
        text.push(" = ");
        text.bind(param);
    }
}

fn push_compared(text: &mut Text, field: &Field, sign: &str, value: &str) {
    let Ok(param) = bound(field.kind, value) else {
        return text.push("FALSE");
    };
    text.push_by_bytes(field.sql, field.kind);
    text.push(" ");
    text.push(sign);
    text.push(" ");
    text.bind(param);
}

/// Without regard to case: of the letters of ASCII on SQLite, of those that the column's collation knows on PostgreSQL.
fn push_contains(text: &mut Text, field: &Field, value: &str) {
    let mut pattern = String::with_capacity(value.len() + 2);
    pattern.push('%');
    for c in value.chars() {
        if matches!(c, '%' | '_' | '\\') {
            pattern.push('\\');
        }
        pattern.push(c);
    }
    pattern.push('%');
    match field.kind {
        Kind::Text => text.push(field.sql),
        Kind::Number | Kind::Time | Kind::Bool => {
            text.push("CAST(");
            text.push(field.sql);
            text.push(" AS TEXT)");
        }
    }
    text.push(if text.on_postgres {
        " ILIKE "
    } else {
        " LIKE "
    });
    text.bind(Param::Text(pattern));
    text.push(" ESCAPE '\\'");
}

/// The list is bound as one JSON array, so that its length makes no other text.
fn push_any_of(text: &mut Text, field: &Field, terms: &[Term]) {
    let values = terms.iter().filter_map(|term| {
        Some(match bound(field.kind, term.text()).ok()? {
            Param::Int(number) => serde_json::Value::from(number),
            Param::Text(text) => text.into(),
            Param::Bool(truth) => i64::from(truth).into(),
        })
    });
    let list = serde_json::Value::Array(values.collect()).to_string();
    let (before, after) = match (text.on_postgres, field.kind) {
        (false, _) => ("(SELECT value FROM json_each(", "))"),
        (true, Kind::Text) => ("(SELECT json_array_elements_text(CAST(", " AS JSON)))"),
        (true, Kind::Number | Kind::Time | Kind::Bool) => (
            "(SELECT CAST(json_array_elements_text(CAST(",
            " AS JSON)) AS BIGINT))",
        ),
    };
    match field.kind {
        Kind::Bool => {
            text.push("CAST(");
            text.push(field.sql);
            text.push(" AS INTEGER)");
        }
        Kind::Text | Kind::Number | Kind::Time => text.push(field.sql),
    }
    text.push(" IN ");
    text.push(before);
    text.bind(Param::Text(list));
    text.push(after);
}
