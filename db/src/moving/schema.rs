//! The tables as they are, asked of the database itself, and the statements over any of them.

use std::fmt::Write as _;

use model::{Error, Result, error::internal};
use serde_json::Value as Json;

use super::{MOVING, STATE};
use crate::{
    Conn,
    value::{Row, Value},
};

/// Values that one statement binds; SQLite takes 32,766.
const BOUND: usize = 20_000;
/// Rows of one batch.
const BATCH: usize = 500;
/// Tables that stay where they are: what versions a schema has, and what the move itself made.
const LEFT: [&str; 3] = ["schema_migrations", "moved_rows", STATE];

#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Table {
    pub name: String,
    pub columns: Vec<Column>,
    /// Positions of the columns of the primary key, in its order.
    pub key: Vec<usize>,
    /// Whether its numbers are given out by the database.
    pub counts: bool,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Column {
    pub name: String,
    kind: Kind,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Int,
    Text,
    Bytes,
    Bool,
}

/// A value on its way.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Cell {
    Int(Option<i64>),
    Text(Option<String>),
    Bytes(Option<Vec<u8>>),
    Bool(Option<bool>),
}

/// What the catalogue says of a column: table, name, type, place in the primary key from 1, whether it counts.
type Told = (String, String, String, i64, bool);

pub(super) async fn has_table(conn: &mut Conn, name: &str) -> Result<bool> {
    let sql = if conn.locks_rows() {
        "SELECT 1 WHERE to_regclass($1) IS NOT NULL"
    } else {
        "SELECT 1 FROM sqlite_master WHERE type = 'table' AND name = $1"
    };
    conn.exists(sql, &[name.into()]).await
}

/// All tables of ours in the order of their names.
pub(super) async fn tables(conn: &mut Conn) -> Result<Vec<Table>> {
    let sql = if conn.locks_rows() {
        "SELECT c.relname::TEXT, a.attname::TEXT, upper(format_type(a.atttypid, NULL)),
                COALESCE(array_position(i.indkey::INT2[], a.attnum) - array_lower(i.indkey::INT2[], 1) + 1, 0)::BIGINT,
                a.attidentity <> ''
           FROM pg_class c
           JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped
           LEFT JOIN pg_index i ON i.indrelid = c.oid AND i.indisprimary
          WHERE c.relkind = 'r' AND c.relnamespace = to_regnamespace(current_schema())
          ORDER BY c.relname, a.attname"
    } else {
        "SELECT m.name, c.name, c.type, c.pk, c.pk = 1 AND m.sql LIKE '%AUTOINCREMENT%'
           FROM sqlite_master m, pragma_table_info(m.name) c
          WHERE m.type = 'table' AND m.name NOT LIKE 'sqlite\\_%' ESCAPE '\\'
          ORDER BY m.name, c.name"
    };
    let told = conn
        .rows(sql, &[], |row| {
            Ok((
                row.text(0)?,
                row.text(1)?,
                row.text(2)?,
                row.int(3)?,
                row.bool(4)?,
            ))
        })
        .await?;
    let mut tables = put_together(told)?;
    tables.retain(|table| !LEFT.contains(&table.name.as_str()));
    tables.sort_by(|one, other| one.name.cmp(&other.name));
    Ok(tables)
}

fn put_together(told: Vec<Told>) -> Result<Vec<Table>> {
    let mut tables: Vec<(Table, Vec<(i64, usize)>)> = Vec::new();
    for (table, name, kind, place, counts) in told {
        let kind = match kind.as_str() {
            "INTEGER" | "BIGINT" => Kind::Int,
            "TEXT" => Kind::Text,
            "BLOB" | "BYTEA" => Kind::Bytes,
            "BOOLEAN" => Kind::Bool,
            other => {
                return Err(Error::Internal(anyhow::anyhow!(
                    "column `{table}.{name}` has the type `{other}`, which is none of ours"
                )));
            }
        };
        if tables.last().is_none_or(|(last, _)| last.name != table) {
            let new = Table {
                name: table,
                columns: Vec::new(),
                key: Vec::new(),
                counts: false,
            };
            tables.push((new, Vec::new()));
        }
        let (table, key) = tables.last_mut().expect("pushed above");
        if place > 0 {
            key.push((place, table.columns.len()));
        }
        table.counts |= counts;
        table.columns.push(Column { name, kind });
    }
    for (table, key) in &mut tables {
        key.sort_unstable();
        table.key = key.iter().map(|(_, position)| *position).collect();
        table
            .columns
            .iter()
            .for_each(|column| debug_assert!(!column.name.contains('"')));
    }
    Ok(tables.into_iter().map(|(table, _)| table).collect())
}

/// What the other one has that this one has not, or the other way round; none when they are the same.
pub(super) fn difference(ours: &[Table], theirs: &[Table]) -> Option<String> {
    for table in theirs {
        match ours.iter().find(|our| our.name == table.name) {
            None => return Some(format!("a table `{}` that is none of ours", table.name)),
            Some(our) if our != table => {
                return Some(format!("another table `{}` than this one", table.name));
            }
            Some(_) => {}
        }
    }
    let missing = ours
        .iter()
        .find(|our| theirs.iter().all(|table| table.name != our.name));
    missing.map(|table| format!("no table `{}`", table.name))
}

impl Table {
    pub fn has_key(&self) -> bool {
        !self.key.is_empty()
    }

    pub fn batch(&self) -> usize {
        BATCH.min(BOUND / self.columns.len().max(1))
    }

    fn columns_text(&self) -> String {
        let quoted: Vec<String> = self.columns.iter().map(|c| quote(&c.name)).collect();
        quoted.join(", ")
    }

    /// The columns of the key, each with something before it.
    pub fn key_text(&self, before: &str) -> String {
        let key = self.key.iter().map(|&position| &self.columns[position]);
        let quoted: Vec<String> = key
            .map(|column| format!("{before}{}", quote(&column.name)))
            .collect();
        quoted.join(", ")
    }

    /// The next batch after a key.
    pub async fn page(&self, conn: &mut Conn, after: Option<&[Cell]>) -> Result<Vec<Vec<Cell>>> {
        let (columns, name, key) = (self.columns_text(), quote(&self.name), self.key_text(""));
        let beyond = after.map_or_else(String::new, |after| {
            let values: Vec<String> = (1..=after.len()).map(|n| format!("${n}")).collect();
            format!("WHERE ({key}) > ({})", values.join(", "))
        });
        let sql = format!(
            "SELECT {columns} FROM {name} {beyond} ORDER BY {key} LIMIT {}",
            self.batch()
        );
        let values: Vec<Value<'_>> = after.into_iter().flatten().map(Cell::value).collect();
        conn.plain_rows(&sql, &values, |row| self.read(row)).await
    }

    /// The rows that have these keys, a JSON array of arrays.
    pub async fn with_keys(&self, conn: &mut Conn, keys: &str) -> Result<Vec<Vec<Cell>>> {
        let (columns, name) = (self.columns_text(), quote(&self.name));
        let sql = format!("SELECT {columns} FROM {name} WHERE {}", self.among(conn));
        conn.plain_rows(&sql, &[keys.into()], |row| self.read(row))
            .await
    }

    pub async fn delete_keys(&self, conn: &mut Conn, keys: &str) -> Result<u64> {
        let name = quote(&self.name);
        let sql = format!("DELETE FROM {name} WHERE {}", self.among(conn));
        conn.plain_execute(&sql, &[keys.into()]).await
    }

    /// Whether the key is one of $1.
    fn among(&self, conn: &Conn) -> String {
        let key = self.key_text("");
        let parts = self.key.iter().enumerate();
        let parts: Vec<String> = parts
            .map(|(n, &position)| match self.columns[position].kind {
                _ if !conn.locks_rows() => format!("value ->> {n}"),
                Kind::Int => format!("CAST(value ->> {n} AS BIGINT)"),
                _ => format!("value ->> {n}"),
            })
            .collect();
        let parts = parts.join(", ");
        if conn.locks_rows() {
            format!(
                "({key}) IN (SELECT {parts} FROM json_array_elements(CAST($1 AS JSON)) AS given(value))"
            )
        } else {
            format!("({key}) IN (SELECT {parts} FROM json_each($1))")
        }
    }

    /// Writes rows; with `unless_there` those that collide with another are left out.
    pub async fn insert(
        &self,
        conn: &mut Conn,
        rows: &[Vec<Cell>],
        unless_there: bool,
    ) -> Result<()> {
        for rows in rows.chunks(self.batch()) {
            let mut sql = format!(
                "INSERT INTO {} ({}) VALUES ",
                quote(&self.name),
                self.columns_text()
            );
            let mut values = Vec::with_capacity(rows.len() * self.columns.len());
            for (n, row) in rows.iter().enumerate() {
                sql.push_str(if n == 0 { "(" } else { ", (" });
                for (m, cell) in row.iter().enumerate() {
                    values.push(cell.value());
                    let comma = if m == 0 { "" } else { ", " };
                    let _ = write!(sql, "{comma}${}", values.len()); // a String takes everything
                }
                sql.push(')');
            }
            if unless_there {
                sql.push_str(" ON CONFLICT DO NOTHING");
            }
            let written = conn.plain_execute(&sql, &values).await;
            written.map_err(|error| self.told(error))?;
        }
        Ok(())
    }

    fn told(&self, error: Error) -> Error {
        match error {
            Error::Internal(cause) => Error::Internal(cause.context(format!(
                "rows of the table `{}` could not be written",
                self.name
            ))),
            Error::Invalid(what, why) => {
                Error::Invalid(what, format!("the table `{}`: {why}", self.name))
            }
            error => error,
        }
    }

    pub async fn count(&self, conn: &mut Conn) -> Result<i64> {
        self.count_up_to(i64::MAX, conn).await
    }

    /// The same where more than so many rows do not matter: those are not read.
    pub async fn count_up_to(&self, most: i64, conn: &mut Conn) -> Result<i64> {
        let name = quote(&self.name);
        let but = match self.name.as_str() {
            // What only the source has of its own move.
            "facts" => format!(" WHERE name <> '{MOVING}'"),
            // What a last round that was in vain has taken away already.
            "blobs" => " WHERE NOT (state = 2 AND generation < 0)".to_owned(),
            _ => String::new(),
        };
        let sql =
            format!("SELECT COUNT(*) FROM (SELECT 1 FROM {name}{but} LIMIT {most}) AS counted");
        let counted = conn.plain_rows(&sql, &[], |row| row.int(0)).await?;
        Ok(counted.first().copied().unwrap_or_default())
    }

    fn read(&self, row: &Row<'_>) -> Result<Vec<Cell>> {
        let columns = self.columns.iter().enumerate();
        columns
            .map(|(n, column)| match column.kind {
                // A transaction's number means nothing elsewhere: what has come with a move is older than all that follows.
                Kind::Int if column.name == "tx" => Ok(Cell::Int(Some(0))),
                Kind::Int => row.opt_int(n).map(Cell::Int),
                Kind::Text => row.opt_text(n).map(Cell::Text),
                Kind::Bytes => row.opt_bytes(n).map(Cell::Bytes),
                Kind::Bool => row.opt_bool(n).map(Cell::Bool),
            })
            .collect()
    }

    /// The key of a row.
    pub fn key_of(&self, row: &[Cell]) -> Vec<Cell> {
        self.key.iter().map(|&n| row[n].clone()).collect()
    }

    /// A key as it was written down.
    pub fn parse_key(&self, text: &str) -> Result<Vec<Cell>> {
        let parts: Vec<Json> =
            serde_json::from_str(text).map_err(internal("reading how far a move has come"))?;
        let parts = parts.into_iter().zip(&self.key);
        Ok(parts
            .map(|(part, &position)| match self.columns[position].kind {
                Kind::Int => Cell::Int(part.as_i64()),
                _ => Cell::Text(part.as_str().map(str::to_owned)),
            })
            .collect())
    }
}

/// A key as it is written down.
pub(super) fn key_json(key: &[Cell]) -> String {
    let parts = key.iter().map(|cell| match cell {
        Cell::Int(n) => Json::from(*n),
        Cell::Text(text) => Json::from(text.clone()),
        Cell::Bool(_) | Cell::Bytes(_) => Json::Null, // no key of ours has such
    });
    Json::Array(parts.collect()).to_string()
}

impl Cell {
    fn value(&self) -> Value<'_> {
        match self {
            Self::Int(n) => (*n).into(),
            Self::Text(text) => text.into(),
            Self::Bytes(bytes) => bytes.as_deref().into(),
            Self::Bool(Some(value)) => (*value).into(),
            Self::Bool(None) => Value::NoBool,
        }
    }
}

/// A name of the catalogue, in a statement.
pub(super) fn quote(name: &str) -> String {
    format!("\"{name}\"")
}
