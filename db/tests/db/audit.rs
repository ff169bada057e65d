//! The audit: what changes tell in it, what tells itself, and who reads it.

use std::sync::Arc;

use db::{
    Conn, Db,
    audit::{self, Entry, New, Purge},
    changes,
    counters::{self, Counter},
    cursors::{self, Cursor},
    projects, recount, settings,
    tags::{self, Cause},
};
use model::{
    actor::Actor,
    audit::Event,
    change::Kind,
    id::ProjectId,
    settings::{Changes, Pinned},
};
use oci::name::Tag;
use serde_json::json;
use tokio::sync::Semaphore;

use crate::given::{self, NOW, digest, later, manifest, project, repository, tag};

async fn all(db: &Db) -> Vec<Entry> {
    let reader = &mut *db.reader().await.unwrap();
    settled(reader, "audit").await;
    let start = Cursor::default();
    audit::after(reader, start, 1000).await.unwrap()
}

/// Until a reader sees all rows: transactions of other tests on the same server hold it up too.
async fn settled(reader: &mut Conn, table: &str) {
    if !reader.locks_rows() {
        return;
    }
    let sql = match table {
        "audit" => {
            "SELECT 1 FROM audit WHERE tx >= pg_snapshot_xmin(pg_current_snapshot())::TEXT::BIGINT LIMIT 1"
        }
        _ => {
            "SELECT 1 FROM changes WHERE tx >= pg_snapshot_xmin(pg_current_snapshot())::TEXT::BIGINT LIMIT 1"
        }
    };
    while reader.exists(sql, &[]).await.unwrap() {
        tokio::task::yield_now().await;
    }
}

/// `event resource` of each row.
async fn told(db: &Db) -> Vec<String> {
    let rows = all(db).await;
    let texts = rows
        .iter()
        .map(|row| format!("{} {}", row.event, row.resource));
    texts.collect()
}

async fn set(db: &Db, name: &'static str, value: &str) {
    let wanted = Changes::from([(name, value.to_owned())]);
    transact!(db, [wanted], |tx| settings::set_all(tx, &wanted, NOW).await).unwrap();
}

fn sign_in(name: &str, succeeded: bool) -> New {
    New {
        at: NOW,
        project: None,
        actor: name.to_owned(),
        address: Some("192.0.2.1".parse().unwrap()),
        event: Event::LoginUser,
        resource: name.to_owned(),
        description: None,
        succeeded,
    }
}

#[test]
fn a_change_tells_who_made_it_and_from_where() {
    testkit::on_both(async |test| {
        let library = project(&test.db, "library").await;
        let before = all(&test.db).await.len();
        let alice = Actor::new("alice", Some("2001:db8::7".parse().unwrap()));
        let by_alice = test.db.by(Arc::new(alice));
        transact!(by_alice, [library], |tx| projects::set_public(
            tx, &library, true, NOW
        )
        .await)
        .unwrap();
        transact!(test.db, [library], |tx| projects::set_public(
            tx, &library, false, NOW
        )
        .await)
        .unwrap();
        let rows = all(&test.db).await;
        let row = &rows[before];
        assert_eq!(
            (row.actor.as_str(), row.address.as_deref()),
            ("alice", Some("2001:db8::7"))
        );
        assert_eq!(
            (
                row.event.as_str(),
                row.operation.as_str(),
                row.resource_type.as_str()
            ),
            ("update_project", "update", "project")
        );
        assert_eq!(
            (row.resource.as_str(), row.project, row.at),
            ("library", Some(library.id), NOW)
        );
        assert_eq!(row.description.as_deref(), Some("update project: library"));
        assert!(row.succeeded && !row.forward_only);
        assert_eq!(
            (
                rows[before + 1].actor.as_str(),
                rows[before + 1].address.as_deref()
            ),
            ("system", None)
        );
    });
}

#[test]
fn a_push_is_told_once_and_a_manifest_that_goes_takes_its_tags_in_silence() {
    testkit::on_both(async |test| {
        let app = repository(&test.db, "library/app").await;
        let before = told(&test.db).await.len();
        let image = manifest(&test.db, app, 1, &[], &[]).await;
        tag(&test.db, app, "v1", image, 1).await;
        let name: Tag = "v2".parse().unwrap();
        transact!(test.db, [name], |tx| {
            tags::set(tx, app, &name, image, &digest(1), Cause::Tagging, NOW).await
        })
        .unwrap();
        transact!(test.db, [name], |tx| tags::delete(
            tx, app, &name, None, None, NOW
        )
        .await)
        .unwrap();
        let found = crate::given::find(&test.db, app, 1).await.unwrap();
        transact!(test.db, [found], |tx| {
            given::delete(tx, app, &found, later(1), NOW).await
        })
        .unwrap();
        let whole = format!("library/app@{}", digest(1));
        assert_eq!(
            told(&test.db).await[before..],
            [
                format!("create_artifact {whole}"),
                "create_artifact library/app:v1".to_owned(),
                "create_tag library/app:v2".to_owned(),
                "delete_tag library/app:v2".to_owned(),
                format!("delete_artifact {whole}"),
            ]
        );
    });
}

#[test]
fn an_event_type_that_is_switched_off_leaves_no_trace_but_its_change_stays() {
    testkit::on_both(async |test| {
        set(
            &test.db,
            "disabled_audit_log_event_types",
            "create_user, create_project",
        )
        .await;
        let before = told(&test.db).await;
        project(&test.db, "library").await;
        transact!(test.db, |tx| {
            audit::append_all(
                tx,
                &[
                    sign_in("bob", true),
                    New {
                        event: Event::CreateUser,
                        ..sign_in("eve", true)
                    },
                ],
            )
            .await
        })
        .unwrap();
        let since = &told(&test.db).await[before.len()..];
        assert_eq!(since, ["login_user bob"]);
        let changes = crate::given::changes(&test.db).await;
        assert!(
            changes.contains(&"project.created library".to_owned()),
            "{changes:?}"
        );
        // `create_user` is not `create_users`.
        set(
            &test.db,
            "disabled_audit_log_event_types",
            "create_projects",
        )
        .await;
        project(&test.db, "other").await;
        assert_eq!(told(&test.db).await.last().unwrap(), "create_project other");
    });
}

#[test]
fn what_the_configuration_pins_counts_before_the_setting() {
    testkit::on_both(async |test| {
        set(&test.db, "disabled_audit_log_event_types", "create_project").await;
        let pinned = [
            ("disabled_audit_log_event_types", ""),
            ("skip_audit_log_database", "true"),
            ("audit_log_forward_endpoint", "collector.example:514"),
        ];
        let config = db::Config {
            pinned: Pinned {
                values: pinned
                    .map(|(name, value)| (name.to_owned(), value.to_owned()))
                    .into(),
                all: false,
            },
            ..test.config.clone()
        };
        let node = Db::open(&config, test.clock.clone()).await.unwrap();
        project(&node, "library").await;
        transact!(node, |tx| audit::append(tx, &sign_in("bob", false)).await).unwrap();
        node.close().await;
        let rows = all(&test.db).await;
        let [.., made, signed_in] = rows.as_slice() else {
            panic!("{rows:?}")
        };
        assert_eq!(
            (made.event.as_str(), made.forward_only),
            ("create_project", true)
        );
        assert_eq!(
            (signed_in.event.as_str(), signed_in.forward_only),
            ("login_user", true)
        );
        assert!(!signed_in.succeeded);
        let ids = [made.cursor.id, signed_in.cursor.id, rows[0].cursor.id];
        let gone = transact!(test.db, |tx| audit::forget_forwarded(tx, &ids).await);
        assert_eq!(gone.unwrap(), 2);
    });
}

#[test]
fn a_transaction_that_fails_tells_nothing() {
    testkit::on_both(async |test| {
        let library = project(&test.db, "library").await;
        let before = told(&test.db).await.len();
        let outcome = transact!(test.db, [library], |tx| {
            projects::set_public(tx, &library, true, NOW).await?;
            Err::<(), _>(model::Error::Conflict("no".to_owned()))
        });
        assert!(outcome.is_err());
        assert_eq!(told(&test.db).await.len(), before);
    });
}

#[test]
fn old_rows_go_in_batches_but_none_that_its_reader_has_not_read() {
    testkit::on_both(async |test| {
        for second in 0..10 {
            let event = if second % 2 == 0 {
                Event::LoginUser
            } else {
                Event::PullArtifact
            };
            let new = New {
                at: later(second),
                event,
                ..sign_in("bob", true)
            };
            transact!(test.db, [new], |tx| audit::append(tx, &new).await).unwrap();
        }
        let rows = all(&test.db).await;
        let purge = Purge {
            before: later(8),
            events: vec![Event::PullArtifact],
            read_until: Some(rows[6].cursor),
            dry_run: false,
        };
        let run = async |purge: Purge| {
            let (mut begin, mut gone, mut batches) = (Some((model::time::Timestamp(0), 0)), 0, 0);
            while let Some(from) = begin {
                let one = transact!(test.db, [purge], |tx| audit::trim(tx, &purge, from, 3)
                    .await);
                let one = one.unwrap();
                (begin, gone, batches) = (one.next, gone + one.gone, batches + 1);
            }
            (gone, batches)
        };
        let dry = Purge {
            dry_run: true,
            ..purge.clone()
        };
        assert_eq!(run(dry).await, (3, 3));
        assert_eq!(all(&test.db).await.len(), 10);
        assert_eq!(run(purge).await, (3, 3));
        let left: Vec<i64> = all(&test.db)
            .await
            .iter()
            .map(|row| (row.at.0 - NOW.0) / 1_000_000)
            .collect();
        assert_eq!(left, [0, 2, 4, 6, 7, 8, 9]);
        let rest = Purge {
            before: later(8),
            events: vec![],
            read_until: None,
            dry_run: false,
        };
        assert_eq!(run(rest).await.0, 5);
        assert_eq!(all(&test.db).await.len(), 2);
    });
}

#[test]
fn a_cursor_moves_forward_only() {
    testkit::on_both(async |test| {
        let place = |tx, id| Cursor { tx, id };
        let find = async || {
            let mut reader = test.db.reader().await.unwrap();
            cursors::find(&mut reader, "syslog").await.unwrap()
        };
        assert_eq!(find().await, None);
        for (to, stands) in [
            (place(3, 9), place(3, 9)),
            (place(4, 1), place(4, 1)),
            (place(3, 99), place(4, 1)),
        ] {
            transact!(test.db, |tx| cursors::set(tx, "syslog", to, NOW).await).unwrap();
            assert_eq!(find().await, Some(stands));
        }
        transact!(test.db, |tx| cursors::delete(tx, "syslog").await).unwrap();
        assert_eq!(find().await, None);
    });
}

/// Numbers are not in the order of commits: a reader that went on to the newest would miss what commits later.
#[test]
fn a_reader_waits_for_the_oldest_open_transaction() {
    testkit::on_postgres(async |test| {
        let (begun, go_on) = (Arc::new(Semaphore::new(0)), Arc::new(Semaphore::new(0)));
        let slow = async {
            transact!(test.db, [begun, go_on], |tx| {
                changes::append(tx, Kind::UserCreated, "slow", None, &json!({}), NOW).await?;
                begun.add_permits(1);
                let _ = go_on.acquire().await;
                Ok::<_, model::Error>(())
            })
        };
        let meanwhile = async {
            let _ = begun.acquire().await;
            transact!(test.db, |tx| {
                changes::append(
                    tx,
                    Kind::UserCreated,
                    "fast",
                    Some(ProjectId(7)),
                    &json!({}),
                    NOW,
                )
                .await
            })
            .unwrap();
            let reader = &mut *test.db.reader().await.unwrap();
            let early = changes::after(reader, Cursor::default(), 10).await.unwrap();
            assert!(early.is_empty(), "{early:?}");
            assert!(
                audit::after(reader, Cursor::default(), 10)
                    .await
                    .unwrap()
                    .is_empty()
            );
            assert_eq!(audit::end(reader).await.unwrap(), Cursor::default());
            go_on.add_permits(1);
        };
        let (slow, ()) = tokio::join!(slow, meanwhile);
        slow.unwrap();
        let reader = &mut *test.db.reader().await.unwrap();
        settled(reader, "changes").await;
        let later = changes::after(reader, Cursor::default(), 10).await.unwrap();
        let keys: Vec<&str> = later.iter().map(|change| change.key.as_str()).collect();
        assert_eq!(keys, ["slow", "fast"]);
        assert!(
            changes::after(reader, later[1].cursor, 10)
                .await
                .unwrap()
                .is_empty()
        );
        let end = audit::end(reader).await.unwrap();
        assert!(audit::after(reader, end, 10).await.unwrap().is_empty());
    });
}

#[test]
fn what_was_to_be_forwarded_is_shown_where_nobody_wants_it_any_more() {
    testkit::on_both(async |test| {
        project(&test.db, "library").await;
        let counted = async || {
            let mut reader = test.db.reader().await.unwrap();
            counters::value(&mut reader, Counter::Audit(None)).await
        };
        let before = counted().await.unwrap();
        transact!(test.db, |tx| tx
            .execute(
                "INSERT INTO audit (at, project_id, actor, event, operation, resource_type, resource, succeeded, forward_only)
                 SELECT at, project_id, actor, event, operation, resource_type, resource, succeeded, TRUE FROM audit",
                &[],
            )
            .await)
        .unwrap();
        let kept = u64::try_from(before).unwrap();
        for shown in [kept, 0] {
            let again = transact!(test.db, |tx| audit::show_unsent(tx, 1000).await);
            assert_eq!(again.unwrap(), shown);
        }
        assert_eq!(counted().await.unwrap(), 2 * before);
        let mut reader = test.db.reader().await.unwrap();
        assert_eq!(recount::missing_audit(&mut reader, None).await.unwrap(), 0);
    });
}
