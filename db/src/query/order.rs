//! The order of a list, the same on both engines: texts by their bytes, what is missing before everything else. And where in it
//! a further batch begins.

use model::Result;

use super::{Field, Kind, Param, condition::Text};
use crate::value::Row;

/// One thing that rows are ordered by.
#[derive(Debug, Clone, Copy)]
pub(super) struct Key {
    pub(super) sql: &'static str,
    kind: Kind,
    descending: bool,
    nullable: bool,
    indexed: bool,
    unique: bool,
}

impl Key {
    pub(super) fn of(field: &'static Field, descending: bool) -> Self {
        Self {
            sql: field.sql,
            kind: field.kind,
            descending,
            nullable: field.nullable,
            indexed: field.indexed,
            unique: field.unique,
        }
    }

    pub(super) fn read(&self, row: &Row<'_>, column: usize) -> Result<Option<Param>> {
        Ok(match self.kind {
            Kind::Text => row.opt_text(column)?.map(Param::Text),
            Kind::Number | Kind::Time => row.opt_int(column)?.map(Param::Int),
            Kind::Bool => Some(Param::Bool(row.bool(column)?)),
        })
    }
}

/// An order in which no two rows are equal: the number breaks ties, in the direction of what it comes after, as an index has it.
pub(super) fn settled(mut wanted: Vec<Key>, id: &'static str) -> Vec<Key> {
    if let Some(unique) = wanted.iter().position(|key| key.unique || key.sql == id) {
        wanted.truncate(unique + 1);
        return wanted;
    }
    let descending = wanted.last().is_some_and(|key| key.descending);
    wanted.push(Key {
        sql: id,
        kind: Kind::Number,
        descending,
        nullable: false,
        indexed: true,
        unique: true,
    });
    wanted
}

/// Whether the rows come out of an index in this order. One that goes by two columns is none that we have.
pub(super) fn is_indexed(order: &[Key]) -> bool {
    match order {
        [only] => only.indexed,
        [first, tie] => first.indexed && tie.unique && first.descending == tie.descending,
        _ => false,
    }
}

pub(super) fn push(text: &mut Text, order: &[Key]) {
    for (index, key) in order.iter().enumerate() {
        if index > 0 {
            text.push(", ");
        }
        text.push_by_bytes(key.sql, key.kind);
        if key.descending {
            text.push(" DESC");
        }
        if key.nullable && text.on_postgres {
            text.push(if key.descending {
                " NULLS LAST"
            } else {
                " NULLS FIRST"
            });
        }
    }
}

/// The rows after one of which the values are these: `(a > 1 OR (a = 1 AND (b > 2 OR …)))`. `a >= 1` stands before it, so that an
/// index is entered there.
pub(super) fn push_after(text: &mut Text, order: &[Key], after: &[Option<Param>]) {
    if let (Some(key), Some(Some(value)), true) = (order.first(), after.first(), order.len() > 1)
        && !key.nullable
    {
        push_side(text, key, value, if key.descending { "<=" } else { ">=" });
        text.push(" AND ");
    }
    push_rest(text, order, after);
}

fn push_rest(text: &mut Text, order: &[Key], after: &[Option<Param>]) {
    let (Some((key, keys)), Some((value, values))) = (order.split_first(), after.split_first())
    else {
        return text.push("FALSE");
    };
    text.push("(");
    push_beyond(text, key, value.as_ref());
    if !keys.is_empty() {
        text.push(" OR (");
        if let Some(value) = value {
            push_side(text, key, value, "=");
        } else {
            text.push(key.sql);
            text.push(" IS NULL");
        }
        text.push(" AND ");
        push_rest(text, keys, values);
        text.push(")");
    }
    text.push(")");
}

/// What comes after a value of this key alone. What is missing comes first, or last where the greatest does.
fn push_beyond(text: &mut Text, key: &Key, value: Option<&Param>) {
    match (value, key.descending) {
        (Some(value), false) => push_side(text, key, value, ">"),
        (Some(value), true) if key.nullable => {
            text.push("(");
            push_side(text, key, value, "<");
            text.push(" OR ");
            text.push(key.sql);
            text.push(" IS NULL)");
        }
        (Some(value), true) => push_side(text, key, value, "<"),
        (None, false) => {
            text.push(key.sql);
            text.push(" IS NOT NULL");
        }
        (None, true) => text.push("FALSE"),
    }
}

fn push_side(text: &mut Text, key: &Key, value: &Param, sign: &str) {
    text.push_by_bytes(key.sql, key.kind);
    text.push(" ");
    text.push(sign);
    text.push(" ");
    text.bind(value.clone());
}
