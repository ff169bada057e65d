//! What truly differs between the engines, as pairs of texts: row locks, lists of values, and rows of them.

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

/// A statement over rows that come as one JSON array of objects, $1: `… FROM` + rows, called `given`, + rest. A column is named for
/// SQLite as `value ->> 'name' AS name` and for PostgreSQL as `name TYPE`; with `by id`, of each id the greatest `at` is given.
macro_rules! with_rows {
    ($conn:expr, $before:literal, $sqlite:literal, $postgres:literal, $after:literal) => {
        if $conn.locks_rows() {
            concat!(
                $before,
                " json_to_recordset(CAST($1 AS JSON)) AS given(",
                $postgres,
                ") ",
                $after
            )
        } else {
            concat!(
                $before,
                " (SELECT ",
                $sqlite,
                " FROM json_each($1)) AS given ",
                $after
            )
        }
    };
    ($conn:expr, $before:literal, $sqlite:literal, $postgres:literal, $after:literal, by id) => {
        if $conn.locks_rows() {
            concat!(
                $before,
                " (SELECT id, MAX(at) AS at FROM json_to_recordset(CAST($1 AS JSON)) AS one(",
                $postgres,
                ") GROUP BY id) AS given ",
                $after
            )
        } else {
            concat!(
                $before,
                " (SELECT ",
                $sqlite,
                " FROM json_each($1) GROUP BY 1) AS given ",
                $after
            )
        }
    };
}

/// A query over a log that ends before the oldest transaction which is still open: its rows have lower numbers than some that
/// are there already. SQLite commits in the order of numbers. The text before ends in a WHERE.
macro_rules! settled {
    ($conn:expr, $before:literal, $after:literal) => {
        if $conn.locks_rows() {
            concat!(
                $before,
                " AND tx < CAST(CAST(pg_snapshot_xmin(pg_current_snapshot()) AS TEXT) AS BIGINT) ",
                $after
            )
        } else {
            concat!($before, " ", $after)
        }
    };
}

/// A pattern for `LOWER(…) LIKE … ESCAPE '!'`: texts that hold this one, whatever the size of their letters.
pub(crate) fn contains(text: &str) -> String {
    let mut pattern = "%".to_owned();
    for c in text.to_ascii_lowercase().chars() {
        if matches!(c, '%' | '_' | '!') {
            pattern.push('!');
        }
        pattern.push(c);
    }
    pattern.push('%');
    pattern
}

pub(crate) use {locking, settled, with_list, with_numbers, with_rows};

/// PostgreSQL's advisory locks, each held until its transaction ends. Any number will do as long as no two are the same.
pub(crate) mod advisory {
    pub(crate) const MIGRATION: i64 = 5_734_926;
    pub(crate) const INDEXES: i64 = 5_734_927;
    /// What of changes a move has written down.
    pub(crate) const WATCHING: i64 = 5_734_928;

    /// Waits for it.
    pub(crate) fn lock(number: i64) -> String {
        format!("SELECT pg_advisory_xact_lock({number})")
    }
}
