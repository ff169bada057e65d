//! The same tables and columns on both engines, and an index for whatever is asked often.

use std::collections::BTreeMap;

use testkit::TestDatabase;

type Columns = BTreeMap<String, (String, bool)>;

/// Type and whether it may be null of each column, the type in words of ours.
async fn columns(test: &TestDatabase) -> Columns {
    let sql = match test.db.engine() {
        "sqlite" => {
            "SELECT t.name, c.name, c.type, c.\"notnull\" = 0 AND c.pk = 0 FROM sqlite_master t, pragma_table_info(t.name) c
              WHERE t.type = 'table' AND t.name NOT LIKE 'sqlite%'"
        }
        _ => {
            "SELECT table_name::TEXT, column_name::TEXT, upper(data_type::TEXT), is_nullable = 'YES'
               FROM information_schema.columns WHERE table_schema = 'public'"
        }
    };
    let mut reader = test.db.reader().await.unwrap();
    let rows = reader.rows(sql, &[], |row| {
        let kind = match row.text(2)?.as_str() {
            "INTEGER" | "BIGINT" => "number",
            "TEXT" => "text",
            "BOOLEAN" => "boolean",
            "BLOB" | "BYTEA" => "bytes",
            other => panic!("a type that the engines do not share: {other}"),
        };
        Ok((
            format!("{}.{}", row.text(0)?, row.text(1)?),
            (kind.to_owned(), row.bool(3)?),
        ))
    });
    rows.await.unwrap().into_iter().collect()
}

#[test]
fn both_engines_have_the_same_columns() {
    let seen = std::sync::Mutex::new(Vec::new());
    testkit::on_both(async |test| {
        let columns = columns(test).await;
        assert!(columns.len() > 100, "{}", columns.len());
        seen.lock().unwrap().push(columns);
    });
    let seen = seen.into_inner().unwrap();
    if let [sqlite, postgres] = seen.as_slice() {
        assert_eq!(sqlite, postgres);
    }
}

#[test]
fn both_engines_have_the_same_indexes() {
    let seen = std::sync::Mutex::new(Vec::new());
    testkit::on_both(async |test| {
        let sql = match test.db.engine() {
            "sqlite" => "SELECT name FROM sqlite_master WHERE type = 'index' AND sql IS NOT NULL ORDER BY name",
            _ => {
                "SELECT c.relname::TEXT COLLATE \"C\" FROM pg_index i JOIN pg_class c ON c.oid = i.indexrelid
                   JOIN pg_namespace n ON n.oid = c.relnamespace
                   LEFT JOIN pg_constraint k ON k.conindid = i.indexrelid AND k.contype IN ('p', 'u')
                  WHERE n.nspname = 'public' AND k.oid IS NULL ORDER BY 1"
            }
        };
        let names = test
            .db
            .reader()
            .await
            .unwrap()
            .rows(sql, &[], |row| row.text(0))
            .await
            .unwrap();
        seen.lock().unwrap().push(names);
    });
    let seen = seen.into_inner().unwrap();
    if let [sqlite, postgres] = seen.as_slice() {
        assert_eq!(sqlite, postgres);
    }
}
