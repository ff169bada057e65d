//! Every SQL text of this crate is explained on SQLite: none may read a whole table but those named here with their reason.

use std::{fs, path::Path};

/// Reads that are meant to run over a whole table or index, by what their text contains.
const WHOLE: &[(&str, &str)] = &[
    ("LIKE '%AUTOINCREMENT%'", "the catalogue's own tables"),
    (
        "DELETE FROM blobs WHERE state = 2 AND generation < 0",
        "at the end of a move of the contents: beside the one that renames them all",
    ),
    (
        "UPDATE uploads SET cancelled",
        "at the end of a move: all uploads in progress, some hundreds",
    ),
    (
        "FROM audit WHERE (tx, id) >",
        "at the end of a move, for each reader of the log",
    ),
    ("FROM cursors ORDER BY name", "a handful of rows"),
    ("FROM facts WHERE name <> $1", "a handful of rows"),
    (
        "AND +state <> 2 AND +state <> 3",
        "a move reads all contents, in order of their numbers",
    ),
    (
        "WHERE +state <> 2 AND +state <> 3",
        "how much a move has to carry, counted once",
    ),
    (
        "moving_state WHERE name <> 'constraints'",
        "some dozens of rows",
    ),
    (
        "UPDATE blobs SET location = CASE",
        "an index of those alone that lie elsewhere",
    ),
    ("sqlite_sequence", "a row for each table"),
    (
        "FROM keys ORDER BY id",
        "some keys, read when the key file is changed",
    ),
    (
        "FROM jobs ORDER BY id DESC LIMIT",
        "the newest rows by number, and no more than asked for",
    ),
    (
        "FROM changes ORDER BY id DESC LIMIT 1000",
        "the newest rows by number, and no more than asked for",
    ),
    (
        "FROM blobs WHERE freed_at IS NULL GROUP BY state",
        "the space report counts everything",
    ),
    ("SELECT 1 FROM users LIMIT 1", "asks for any one"),
    (
        "FROM users WHERE admin AND",
        "in order of numbers up to the first, who is among the very first",
    ),
    (
        "FROM user_groups WHERE ldap_dn",
        "there are hundreds of groups, not millions",
    ),
    (
        "GROUP BY p.public",
        "thousands of projects, each by its counter",
    ),
    (
        "WHERE r.name LIKE",
        "what a name contains no index knows; of names alone, and no more than asked for",
    ),
    (
        "FROM user_groups\n          WHERE LOWER",
        "there are hundreds of groups, and a part of a name is in no index",
    ),
    (
        "COUNT(*) FROM user_groups",
        "there are hundreds of groups, and a part of a name is in no index",
    ),
    (
        "deleted_at IS NULL AND LOWER(name) LIKE",
        "a part of a name is in no index",
    ),
    (
        "FROM audit WHERE forward_only ORDER BY id",
        "an index of the rows alone that wait to be forwarded",
    ),
    (
        "FROM audit WHERE NOT forward_only)",
        "for fsck and an administrator: counts everything anew",
    ),
    (
        "FROM users WHERE id <> $2 AND (name = $1 OR email = $1)",
        "when somebody is to be forgotten; there are thousands of people",
    ),
    ("FROM keys WHERE purpose", "a handful of rows"),
    ("UPDATE keys SET retired_at", "a handful of rows"),
    (
        "SET node = node || '/'",
        "when a process takes the name of one that is silent",
    ),
    ("FROM settings ORDER BY name", "a few dozen rows"),
    ("MAX(version)", "a handful of rows"),
    (
        "WHERE state = 'running' AND (lease_until",
        "an index of the jobs alone that run",
    ),
    (
        "WHERE state = 'running' AND node = COALESCE",
        "an index of the jobs alone that run",
    ),
    ("FROM paused_queues", "a handful of rows"),
    ("FROM nodes", "a handful of rows"),
    (
        "AS candidates\n           JOIN jobs j",
        "one candidate for each queue",
    ),
];

/// Reads of all rows that one parent has, or that are sorted, by what their text contains.
const PARTS: &[(&str, &str)] = &[
    ("LIKE '%AUTOINCREMENT%'", "the catalogue's own tables"),
    ("FROM artifact_children c", "of the artifacts of one page"),
    ("FROM artifact_labels l", "of the artifacts of one page"),
    (
        "FROM artifacts s\n           JOIN artifacts a",
        "of the artifacts of one page",
    ),
    (
        "FROM tags t WHERE t.artifact_id IN",
        "of the artifacts of one page",
    ),
    (
        "FROM immutable_rules",
        "a project has tens of rules, and they are read all or none",
    ),
    (
        "EXISTS (SELECT 1 FROM artifacts a WHERE a.repository_id",
        "asks for any one",
    ),
    (
        "SELECT 1 FROM repositories WHERE project_id",
        "asks for any one",
    ),
    (
        "EXISTS (SELECT 1 FROM repository_blobs o",
        "asks for any one",
    ),
    (
        "EXISTS (SELECT 1 FROM repository_blobs l WHERE l.blob_id = blobs.id",
        "asks for any one",
    ),
    (
        "NOT EXISTS (SELECT 1 FROM artifact_blobs n WHERE n.blob_id = b.id)",
        "asks for any one",
    ),
    (
        "ORDER BY l.repository_id\n          LIMIT",
        "read in the order of the index, and no more than asked for",
    ),
    (
        "FROM members m",
        "a project has hundreds of members, not millions",
    ),
    (
        "FROM repositories WHERE name IN",
        "of the few hundred that one flush names",
    ),
    (
        "ORDER BY a.digest\n          LIMIT",
        "read in the order of the index, and no more than asked for",
    ),
    (
        "ORDER BY l.blob_id\n              LIMIT",
        "read in the order of the index, and no more than asked for",
    ),
    ("FROM cve_allowlists", "a project has one"),
    (
        "(SELECT COUNT(*) FROM repositories r WHERE r.project_id = p.id)",
        "counts entries of an index, for the projects of one page",
    ),
    ("FROM quotas", "a project has one"),
    (
        "SELECT DISTINCT r.project_id",
        "who holds a content whose length was found wrong",
    ),
    (
        "AS both_sides",
        "for fsck and an administrator: counts a project anew",
    ),
    (
        "FROM counters WHERE name = 'project.",
        "for fsck and an administrator: counts a project anew",
    ),
    (
        "FROM audit WHERE project_id = $1 AND NOT forward_only",
        "for fsck and an administrator: counts a project anew",
    ),
    (
        "AS totals",
        "for fsck and an administrator: counts a project anew",
    ),
    ("AND NOT l.counted", "for fsck: counts a project anew"),
    (
        "SELECT SUM(b.size) FROM blobs b WHERE b.id IN",
        "for fsck and an administrator: counts a project anew",
    ),
    (
        "FROM project_metadata",
        "a project has a dozen keys at most",
    ),
    (
        "ORDER BY LENGTH(name), name",
        "a person types a part of a name: what fits best comes first",
    ),
    ("UNION ALL", "for fsck: of so many manifests as it asks for"),
    (
        "FROM audit WHERE forward_only ORDER BY id",
        "an index of the rows alone that wait to be forwarded",
    ),
    (
        "FROM audit WHERE NOT forward_only)",
        "for fsck and an administrator: counts everything anew",
    ),
    (
        "FROM users WHERE id <> $2 AND (name = $1 OR email = $1)",
        "when somebody is to be forgotten; there are thousands of people",
    ),
    ("FROM keys WHERE purpose", "a handful of rows"),
    ("FROM retention_policies", "a project has one"),
    (
        "SELECT COUNT(DISTINCT r.project_id)",
        "who holds the contents of one batch, for the space report",
    ),
    (
        "AS candidates\n           JOIN jobs j",
        "one candidate for each queue",
    ),
    (
        "AS ranked",
        "executions of one kind, of which a sweep leaves fifty a policy",
    ),
    ("ORDER BY given.kind", "a row for each kind of job"),
    (
        ") AS placed",
        "the tags of a page's things, of which each shows its first",
    ),
    (
        "FROM trash_blobs t LEFT JOIN blobs b",
        "the contents of one manifest",
    ),
    (
        "FROM trash_blobs t JOIN blobs b",
        "the contents of one manifest, or of some that go",
    ),
    (
        "FROM tags\n          WHERE (artifact_id, id) >",
        "of the artifacts of one batch",
    ),
];

/// Texts that only PostgreSQL understands.
const POSTGRES: &[&str] = &[
    "clock_timestamp",
    "pg_postmaster_start_time",
    "current_setting(",
    "pg_advisory",
    "to_regclass",
    "LOCK TABLE",
    "pg_stat_replication",
    "pg_settings",
    "pg_walfile_name",
    "json_to_recordset",
    "ALTER COLUMN",
    "pg_try_advisory",
    "pg_index",
    "pg_class",
    "pg_notify",
    "pg_trigger",
    "pg_constraint",
    "pg_get_serial_sequence",
    "setval(",
    "LATERAL",
];

#[test]
fn no_query_reads_a_whole_table() {
    testkit::on_sqlite(async |test| {
        let conn = rusqlite::Connection::open(test.sqlite().unwrap()).unwrap();
        // Made by a move alone.
        conn.execute_batch(
            "CREATE TABLE moved_rows (id INTEGER PRIMARY KEY AUTOINCREMENT, tbl TEXT NOT NULL, key TEXT NOT NULL);
             CREATE TABLE moving_state (name TEXT PRIMARY KEY, value TEXT NOT NULL);",
        )
        .unwrap();
        let tables = tables(&conn);
        let (mut explained, mut whole, mut parts) = (0, Vec::new(), Vec::new());
        for sql in texts(&Path::new(env!("CARGO_MANIFEST_DIR")).join("src")) {
            // A move puts texts together for any table.
            if sql.contains('{') || POSTGRES.iter().any(|word| sql.contains(word)) {
                continue;
            }
            explained += 1;
            let steps = plan(&conn, &sql);
            let of_parent = |step: &&String| {
                let keys = ["(repository_id=?)", "(project_id=?)", "(blob_id=?)"];
                keys.iter().any(|key| step.ends_with(key))
                    || step.contains("USE TEMP B-TREE FOR ORDER BY")
            };
            let wide: Vec<&String> = steps.iter().filter(of_parent).collect();
            let is_read = sql.trim_start().starts_with("SELECT");
            if is_read && !wide.is_empty() && !PARTS.iter().any(|(known, _)| sql.contains(known)) {
                parts.push(format!("{wide:?} {sql}"));
            }
            let scans = steps.into_iter().filter(|step| {
                let scanned = step
                    .strip_prefix("SCAN ")
                    .and_then(|rest| rest.split(' ').next());
                // An alias is at most two letters in this house, and is no virtual table.
                scanned
                    .is_some_and(|name| tables.iter().any(|table| table == name) || name.len() <= 2)
            });
            let scans: Vec<String> = scans.collect();
            if !scans.is_empty() && !WHOLE.iter().any(|(known, _)| sql.contains(known)) {
                whole.push(format!("{scans:?} {sql}"));
            }
        }
        assert!(explained > 100, "only {explained} texts were found");
        assert!(
            parts.is_empty(),
            "these read all rows of a parent, or sort:\n{}",
            parts.join("\n\n")
        );
        assert!(
            whole.is_empty(),
            "these read a whole table:\n{}",
            whole.join("\n\n")
        );
    });
}

fn tables(conn: &rusqlite::Connection) -> Vec<String> {
    let mut statement = conn
        .prepare("SELECT name FROM sqlite_master WHERE type = 'table'")
        .unwrap();
    statement
        .query_map([], |row| row.get(0))
        .unwrap()
        .map(Result::unwrap)
        .collect()
}

pub fn plan(conn: &rusqlite::Connection, sql: &str) -> Vec<String> {
    let mut statement = conn
        .prepare(&format!("EXPLAIN QUERY PLAN {sql}"))
        .unwrap_or_else(|error| panic!("{error}: {sql}"));
    // Its placeholders stay empty: nothing is run.
    let (mut steps, mut all) = (statement.raw_query(), Vec::new());
    while let Some(step) = steps.next().unwrap() {
        all.push(step.get(3).unwrap());
    }
    all
}

/// All SQL of the crate, as SQLite gets it.
fn texts(dir: &Path) -> Vec<String> {
    let mut all = Vec::new();
    for entry in fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            all.extend(texts(&path));
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            let source = fs::read_to_string(&path).unwrap();
            let source = source.split("#[cfg(test)]").next().unwrap_or_default();
            all.extend(
                calls(source)
                    .into_iter()
                    .filter_map(|literals| sqlite_text(&literals)),
            );
        }
    }
    all
}

/// Runs of string literals with nothing but a comma between them: the arguments of one call.
fn calls(source: &str) -> Vec<Vec<String>> {
    let code: Vec<&str> = source
        .lines()
        .map(|line| line.split("//").next().unwrap_or_default())
        .collect();
    let code = code.join("\n");
    let mut all: Vec<Vec<String>> = Vec::new();
    for (index, part) in code.split('"').enumerate() {
        match index % 2 {
            1 => all.last_mut().unwrap().push(part.to_owned()),
            _ if part.trim() == "," => {}
            _ => all.push(Vec::new()),
        }
    }
    all
}

fn sqlite_text(literals: &[String]) -> Option<String> {
    let first = literals.first()?;
    if !["SELECT ", "INSERT ", "UPDATE ", "DELETE "]
        .iter()
        .any(|verb| first.starts_with(verb))
    {
        return None;
    }
    // Lists and rows come as one JSON array, as the macros in `dialect` write them.
    let ends_with = |word| first.trim_end().ends_with(word);
    match literals {
        [_, param, after, ..] if ends_with(" IN") => Some(format!(
            "{first} (SELECT value FROM json_each({param})) {after}"
        )),
        [_, columns, _, after, ..] if ends_with(" FROM") => Some(format!(
            "{first} (SELECT {columns} FROM json_each($1)) AS given {after}"
        )),
        _ => Some(first.clone()),
    }
}
