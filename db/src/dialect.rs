//! What truly differs between the engines, as pairs of texts: row locks and lists of values.

/// A query that locks what it reads: PostgreSQL wants it said, SQLite has a single writer.
macro_rules! locking {
    ($conn:expr, $sql:literal, $lock:literal) => {
        if $conn.locks_rows() {
            concat!($sql, " ", $lock)
        } else {
            $sql
        }
    };
}

/// A query over a list that comes as one JSON array of strings: `… IN` + list + rest.
macro_rules! with_list {
    ($conn:expr, $before:literal, $param:literal, $after:literal, $lock:literal) => {
        if $conn.locks_rows() {
            concat!(
                $before,
                " (SELECT json_array_elements_text(CAST(",
                $param,
                " AS JSON))) ",
                $after,
                " ",
                $lock
            )
        } else {
            concat!(
                $before,
                " (SELECT value FROM json_each(",
                $param,
                ")) ",
                $after
            )
        }
    };
}

/// As `with_list`, over a JSON array of numbers.
macro_rules! with_numbers {
    ($conn:expr, $before:literal, $param:literal, $after:literal) => {
        with_numbers!($conn, $before, $param, $after, "")
    };
    ($conn:expr, $before:literal, $param:literal, $after:literal, $lock:literal) => {
        if $conn.locks_rows() {
            concat!(
                $before,
                " (SELECT CAST(json_array_elements_text(CAST(",
                $param,
                " AS JSON)) AS BIGINT)) ",
                $after,
                " ",
                $lock
            )
        } else {
            concat!(
                $before,
                " (SELECT value FROM json_each(",
                $param,
                ")) ",
                $after
            )
        }
    };
}

pub(crate) use {locking, with_list, with_numbers};
