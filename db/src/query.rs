//! Lists as clients ask for them: filtered by Harbor's `q`, sorted, by page or whole. A list is declared beside its table (see
//! [`List`]); only what is declared reaches the SQL text, and every value is bound.
//!
//! A page takes the numbers of its rows first, from an index where there is one for the order, and then the rows: so that a page
//! deep in a list skips entries of an index and not rows. A whole list is read in batches, each beginning where the last ended.

mod condition;
mod order;

use model::{
    Error, Result, What,
    listing::{Listing, Match},
};

pub use self::condition::Within;
use self::{condition::Text, order::Key};
use crate::{
    Conn,
    value::{Row, Value},
};

/// Rows read at a time where everything is asked for.
const BATCH: i64 = 500;
/// Without an index for the order each batch sorts all rows again, so that only so many may be asked for at once.
const MOST_SORTED: i64 = 20_000;

/// By itself, since a text that is built is none that a test finds in the source: those are explained from [`Selection::texts`].
const SELECT: &str = concat!("SELECT", " ");

/// A list that clients filter, sort and page.
pub struct List<T: 'static> {
    /// The table and its alias; what conditions and order speak of. `users u`
    pub table: &'static str,
    /// What holds for every row of the list, or empty.
    pub always: &'static str,
    /// One row of the table to one row of each, for `columns` alone. ` JOIN users o ON o.id = p.owner_id`
    pub joins: &'static str,
    pub columns: &'static [&'static str],
    /// Reads these columns.
    pub read: fn(&Row<'_>) -> Result<T>,
    /// The row's number, which breaks ties. `u.id`
    pub id: &'static str,
    pub fields: &'static [Field],
    /// The order where none is asked for: names of fields, and whether the greatest comes first.
    pub order: &'static [(&'static str, bool)],
}

/// What clients may filter and sort by.
#[derive(Debug)]
pub struct Field {
    /// As the API has it in snake_case and CamelCase, and what else it is called.
    pub names: &'static [&'static str],
    /// The column, or an expression over the table.
    pub sql: &'static str,
    pub kind: Kind,
    /// A condition for one exact value, `$1`, that an index answers better than `sql = $1`.
    pub exact: Option<&'static str>,
    pub sortable: bool,
    /// An index of the table is in this order, at least among the rows that the list always has.
    pub indexed: bool,
    /// No two rows of the list have the same.
    pub unique: bool,
    pub nullable: bool,
}

/// What the values of a field are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    Text,
    Number,
    Time,
    Bool,
}

impl Field {
    /// One that may be filtered and sorted, and has nothing else to it.
    pub const fn new(names: &'static [&'static str], sql: &'static str, kind: Kind) -> Self {
        Self {
            names,
            sql,
            kind,
            exact: None,
            sortable: true,
            indexed: false,
            unique: false,
            nullable: false,
        }
    }

    #[must_use]
    pub const fn exact(self, sql: &'static str) -> Self {
        Self {
            exact: Some(sql),
            ..self
        }
    }

    #[must_use]
    pub const fn unsorted(self) -> Self {
        Self {
            sortable: false,
            ..self
        }
    }

    #[must_use]
    pub const fn indexed(self) -> Self {
        Self {
            indexed: true,
            ..self
        }
    }

    #[must_use]
    pub const fn unique(self) -> Self {
        Self {
            unique: true,
            ..self
        }
    }

    #[must_use]
    pub const fn nullable(self) -> Self {
        Self {
            nullable: true,
            ..self
        }
    }
}

/// A value to bind that needs nobody to keep it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Param {
    Int(i64),
    Text(String),
    Bool(bool),
}

impl From<i64> for Param {
    fn from(number: i64) -> Self {
        Self::Int(number)
    }
}

impl From<bool> for Param {
    fn from(truth: bool) -> Self {
        Self::Bool(truth)
    }
}

impl From<&str> for Param {
    fn from(text: &str) -> Self {
        Self::Text(text.to_owned())
    }
}

impl Param {
    fn value(&self) -> Value<'_> {
        match self {
            Self::Int(number) => Value::Int(*number),
            Self::Text(text) => Value::Text(text),
            Self::Bool(truth) => Value::Bool(*truth),
        }
    }
}

fn values(params: &[Param]) -> Vec<Value<'_>> {
    params.iter().map(Param::value).collect()
}

/// What a client asked of a list, understood.
pub struct Selection<T: 'static> {
    list: &'static List<T>,
    within: Within,
    filters: Vec<(&'static Field, Operator, Match)>,
    order: Vec<Key>,
}

/// What the suffix of a key asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Operator {
    Is,
    Contains,
    AtLeast,
    MoreThan,
    AtMost,
    LessThan,
}

impl Operator {
    /// A key without its suffix. What else stands after two underscores is no operator of ours, nor is such a key known.
    fn of(key: &str) -> (&str, Option<Self>) {
        match key.split_once("__") {
            None => (key, Some(Self::Is)),
            Some((name, suffix)) => {
                let operator = match suffix {
                    "exact" | "in" => Some(Self::Is),
                    "icontains" => Some(Self::Contains),
                    "gte" => Some(Self::AtLeast),
                    "gt" => Some(Self::MoreThan),
                    "lte" => Some(Self::AtMost),
                    "lt" => Some(Self::LessThan),
                    _ => None,
                };
                (name, operator)
            }
        }
    }
}

impl<T> List<T> {
    /// Understands what a client asked, of the rows within which he may look. Keys that the list has not are passed over, as
    /// Harbor does; values that do not fit their key are the client's mistake.
    pub fn select(&'static self, asked: &Listing, within: Within) -> Result<Selection<T>> {
        let mut filters = Vec::new();
        for (key, wanted) in &asked.filters {
            let (name, operator) = Operator::of(key);
            let (Some(field), Some(operator)) = (self.field(name), operator) else {
                continue;
            };
            // Harbor leaves lists of which all must hold to what knows them (labels of artifacts).
            if !matches!(wanted, Match::AllOf(_)) {
                condition::check(field, operator, wanted)
                    .map_err(|why| Error::invalid(What::Query, format!("`{key}` {why}")))?;
                filters.push((field, operator, wanted.clone()));
            }
        }
        Ok(Selection {
            list: self,
            within,
            filters,
            order: self.ordered(asked),
        })
    }

    fn ordered(&'static self, asked: &Listing) -> Vec<Key> {
        let mut wanted: Vec<Key> = asked
            .order
            .iter()
            .filter_map(|order| {
                let field = self.field(&order.key).filter(|field| field.sortable)?;
                Some(Key::of(field, order.descending))
            })
            .collect();
        if wanted.is_empty() {
            let defaults = self.order.iter();
            wanted = defaults
                .filter_map(|(name, descending)| Some(Key::of(self.field(name)?, *descending)))
                .collect();
        }
        order::settled(wanted, self.id)
    }

    fn field(&'static self, name: &str) -> Option<&'static Field> {
        self.fields.iter().find(|field| field.names.contains(&name))
    }
}

impl<T: Send> Selection<T> {
    /// Whether the client left rows out. What he may not see is not counted for that.
    pub fn is_filtered(&self) -> bool {
        !self.filters.is_empty()
    }

    /// How many rows there are on all pages. `known` is what a counter says of the unfiltered list.
    pub async fn total(&self, conn: &mut Conn, known: Option<i64>) -> Result<i64> {
        if let Some(total) = known.filter(|_| !self.is_filtered()) {
            return Ok(total);
        }
        let mut text = Text::new(conn.locks_rows());
        text.push(SELECT);
        text.push("COUNT(*) FROM ");
        self.push_conditions(&mut text);
        let rows = conn
            .built_rows(&text.sql, &values(&text.params), |row| row.int(0))
            .await?;
        Ok(rows.first().copied().unwrap_or_default())
    }

    /// `count` rows after the first `before`.
    pub async fn page(&self, conn: &mut Conn, before: i64, count: i64) -> Result<Vec<T>> {
        let text = self.page_text(conn.locks_rows(), before, count);
        conn.built_rows(&text.sql, &values(&text.params), self.list.read)
            .await
    }

    /// Everything, in batches. `total` is what [`Selection::total`] said.
    pub fn all(self, total: i64) -> Result<Batches<T>> {
        if total > MOST_SORTED && !order::is_indexed(&self.order) {
            return Err(Error::invalid(
                What::Query,
                format!(
                    "{total} rows are too many to be sorted this way all at once: ask for pages, or leave out `sort`"
                ),
            ));
        }
        Ok(Batches {
            selection: self,
            after: None,
            ended: false,
        })
    }

    /// The texts that are sent to SQLite for a page, for the count and for a further batch, for tests that explain them.
    pub fn texts(&self) -> [String; 3] {
        let mut count = Text::new(false);
        count.push(SELECT);
        count.push("COUNT(*) FROM ");
        self.push_conditions(&mut count);
        let after: Vec<_> = self.order.iter().map(|_| Some(Param::Int(0))).collect();
        let batch = self.batch_text(false, Some(&after));
        [self.page_text(false, 0, 10).sql, count.sql, batch.sql]
    }

    /// Numbers first: see the head of this file. `CROSS` makes SQLite begin with them.
    fn page_text(&self, on_postgres: bool, before: i64, count: i64) -> Text {
        let list = self.list;
        let mut text = Text::new(on_postgres);
        text.push(SELECT);
        text.push(&list.columns.join(", "));
        text.push(&format!(" FROM (SELECT {} AS id FROM ", list.id));
        self.push_conditions(&mut text);
        text.push(" ORDER BY ");
        order::push(&mut text, &self.order);
        text.push(" LIMIT ");
        text.bind(Param::Int(count));
        text.push(" OFFSET ");
        text.bind(Param::Int(before));
        text.push(&format!(
            ") AS page CROSS JOIN {}{} WHERE {} = page.id ORDER BY ",
            list.table, list.joins, list.id
        ));
        order::push(&mut text, &self.order);
        text
    }

    fn batch_text(&self, on_postgres: bool, after: Option<&[Option<Param>]>) -> Text {
        let list = self.list;
        let keys: Vec<&str> = self.order.iter().map(|key| key.sql).collect();
        let mut text = Text::new(on_postgres);
        text.push(SELECT);
        text.push(&format!(
            "{}, {} FROM {}{} WHERE ",
            list.columns.join(", "),
            keys.join(", "),
            list.table,
            list.joins
        ));
        self.push_where(&mut text);
        if let Some(after) = after {
            text.push(" AND ");
            order::push_after(&mut text, &self.order, after);
        }
        text.push(" ORDER BY ");
        order::push(&mut text, &self.order);
        text.push(" LIMIT ");
        text.bind(Param::Int(BATCH));
        text
    }

    /// The table, and which of its rows.
    fn push_conditions(&self, text: &mut Text) {
        text.push(self.list.table);
        text.push(" WHERE ");
        self.push_where(text);
    }

    fn push_where(&self, text: &mut Text) {
        let always = Some(self.list.always).filter(|always| !always.is_empty());
        text.push(always.unwrap_or("TRUE"));
        for (sql, params) in self.within.conditions() {
            text.push(" AND (");
            text.push_numbered(sql, params);
            text.push(")");
        }
        for (field, operator, wanted) in &self.filters {
            text.push(" AND ");
            condition::push(text, field, *operator, wanted);
        }
    }
}

/// A whole list, some rows at a time. No connection is held between two batches.
pub struct Batches<T: 'static> {
    selection: Selection<T>,
    /// The order's values of the last row that was read.
    after: Option<Vec<Option<Param>>>,
    ended: bool,
}

impl<T> Batches<T> {
    /// Whether nothing follows, as far as is known: a further batch may still be empty.
    pub fn is_over(&self) -> bool {
        self.ended
    }
}

impl<T: Send> Batches<T> {
    /// The next rows; none at the end.
    pub async fn next(&mut self, conn: &mut Conn) -> Result<Vec<T>> {
        if self.ended {
            return Ok(Vec::new());
        }
        let selection = &self.selection;
        let text = selection.batch_text(conn.locks_rows(), self.after.as_deref());
        let (read, first) = (selection.list.read, selection.list.columns.len());
        let rows = conn
            .built_rows(&text.sql, &values(&text.params), |row| {
                let keys = selection.order.iter().enumerate();
                let keys = keys.map(|(index, key)| key.read(row, first + index));
                Ok((read(row)?, keys.collect::<Result<Vec<_>>>()?))
            })
            .await?;
        self.ended = (rows.len() as i64) < BATCH;
        let (rows, mut keys): (Vec<T>, Vec<_>) = rows.into_iter().unzip();
        self.after = keys.pop();
        Ok(rows)
    }
}
