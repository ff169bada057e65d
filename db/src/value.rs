//! One value to bind and one row to read, whichever engine answers.

use std::error::Error as StdError;

use bytes::BytesMut;
use model::{Error, Result, error::internal, id, time::Timestamp};
use tokio_postgres::types::{IsNull, ToSql, Type};

/// A value bound to a placeholder. The `No…` forms are typed nulls: PostgreSQL wants to know which.
#[derive(Debug, Clone, Copy)]
pub enum Value<'a> {
    Int(i64),
    Text(&'a str),
    Bytes(&'a [u8]),
    Bool(bool),
    NoInt,
    NoText,
    NoBytes,
    NoBool,
}

macro_rules! value_from {
    ($($from:ty => |$it:ident| $to:expr),+ $(,)?) => {$(
        impl<'a> From<$from> for Value<'a> {
            fn from($it: $from) -> Self {
                $to
            }
        }
    )+};
}

value_from!(
    i64 => |n| Self::Int(n),
    bool => |b| Self::Bool(b),
    &'a str => |text| Self::Text(text),
    &'a String => |text| Self::Text(text),
    &'a [u8] => |bytes| Self::Bytes(bytes),
    &'a Vec<u8> => |bytes| Self::Bytes(bytes),
    Option<i64> => |n| n.map_or(Self::NoInt, Self::Int),
    Option<&'a str> => |text| text.map_or(Self::NoText, Self::Text),
    &'a Option<String> => |text| text.as_deref().map_or(Self::NoText, Self::Text),
    Option<&'a [u8]> => |bytes| bytes.map_or(Self::NoBytes, Self::Bytes),
    Timestamp => |time| Self::Int(time.0),
    Option<Timestamp> => |time| time.map_or(Self::NoInt, |time| Self::Int(time.0)),
    id::UserId => |id| Self::Int(id.0),
    id::GroupId => |id| Self::Int(id.0),
    id::ProjectId => |id| Self::Int(id.0),
    Option<id::ProjectId> => |id| id.map_or(Self::NoInt, |id| Self::Int(id.0)),
    id::MemberId => |id| Self::Int(id.0),
    id::RobotId => |id| Self::Int(id.0),
    id::LabelId => |id| Self::Int(id.0),
    id::RepositoryId => |id| Self::Int(id.0),
    id::BlobId => |id| Self::Int(id.0),
    id::ArtifactId => |id| Self::Int(id.0),
    id::TagId => |id| Self::Int(id.0),
    id::QuotaId => |id| Self::Int(id.0),
    id::RuleId => |id| Self::Int(id.0),
    id::JobId => |id| Self::Int(id.0),
    id::PolicyId => |id| Self::Int(id.0),
    id::ScheduleId => |id| Self::Int(id.0),
    id::TrashId => |id| Self::Int(id.0),
);

impl Value<'_> {
    pub(crate) fn postgres_type(&self) -> Type {
        match self {
            Self::Int(_) | Self::NoInt => Type::INT8,
            Self::Text(_) | Self::NoText => Type::TEXT,
            Self::Bytes(_) | Self::NoBytes => Type::BYTEA,
            Self::Bool(_) | Self::NoBool => Type::BOOL,
        }
    }
}

impl rusqlite::ToSql for Value<'_> {
    fn to_sql(&self) -> rusqlite::Result<rusqlite::types::ToSqlOutput<'_>> {
        use rusqlite::types::{ToSqlOutput::Borrowed, ValueRef};
        Ok(Borrowed(match self {
            Self::Int(n) => ValueRef::Integer(*n),
            Self::Text(text) => ValueRef::Text(text.as_bytes()),
            Self::Bytes(bytes) => ValueRef::Blob(bytes),
            Self::Bool(b) => ValueRef::Integer(i64::from(*b)),
            Self::NoInt | Self::NoText | Self::NoBytes | Self::NoBool => ValueRef::Null,
        }))
    }
}

impl ToSql for Value<'_> {
    fn to_sql(
        &self,
        ty: &Type,
        out: &mut BytesMut,
    ) -> std::result::Result<IsNull, Box<dyn StdError + Sync + Send>> {
        match self {
            Self::Int(n) => n.to_sql(ty, out),
            Self::Text(text) => text.to_sql(ty, out),
            Self::Bytes(bytes) => bytes.to_sql(ty, out),
            Self::Bool(b) => b.to_sql(ty, out),
            Self::NoInt | Self::NoText | Self::NoBytes | Self::NoBool => Ok(IsNull::Yes),
        }
    }

    fn accepts(_: &Type) -> bool {
        true // each value names its own type, see `postgres_type`
    }

    tokio_postgres::types::to_sql_checked!();
}

/// A row being read. Columns are counted from 0 in the order of the SELECT.
pub enum Row<'a> {
    Sqlite(&'a rusqlite::Row<'a>),
    Postgres(&'a tokio_postgres::Row),
}

impl Row<'_> {
    fn get<T>(&self, column: usize) -> Result<T>
    where
        T: rusqlite::types::FromSql + for<'r> tokio_postgres::types::FromSql<'r>,
    {
        match self {
            Self::Sqlite(row) => row.get(column).map_err(internal("reading a column")),
            Self::Postgres(row) => row.try_get(column).map_err(internal("reading a column")),
        }
    }

    pub fn int(&self, column: usize) -> Result<i64> {
        self.get(column)
    }

    pub fn opt_int(&self, column: usize) -> Result<Option<i64>> {
        self.get(column)
    }

    pub fn bool(&self, column: usize) -> Result<bool> {
        self.get(column)
    }

    pub fn text(&self, column: usize) -> Result<String> {
        self.get(column)
    }

    pub fn opt_text(&self, column: usize) -> Result<Option<String>> {
        self.get(column)
    }

    pub fn opt_bytes(&self, column: usize) -> Result<Option<Vec<u8>>> {
        self.get(column)
    }

    pub(crate) fn opt_bool(&self, column: usize) -> Result<Option<bool>> {
        self.get(column)
    }

    pub fn time(&self, column: usize) -> Result<Timestamp> {
        self.int(column).map(Timestamp)
    }

    pub fn opt_time(&self, column: usize) -> Result<Option<Timestamp>> {
        Ok(self.opt_int(column)?.map(Timestamp))
    }

    /// A text column parsed into one of our types; what does not parse was never written by us.
    pub fn parsed<T>(&self, column: usize) -> Result<T>
    where
        T: std::str::FromStr,
        T::Err: std::fmt::Display,
    {
        let text = self.text(column)?;
        text.parse().map_err(|error| {
            Error::Internal(anyhow::anyhow!("column {column} holds `{text}`: {error}"))
        })
    }
}
