//! Moves whose server was killed on the way.

use std::fs;

use serde_json::{Value, json};

use super::{MIB, bucket, fsck, move_beside, move_to, moved, pairs, refused, written};
use crate::{
    harness::{Image, Seawall, digest, image::content, until},
    membership::refused as not_started,
    nodes::run,
};

#[test]
fn a_move_that_was_killed_goes_on_where_it_was() {
    let (Some(s3), Some(postgres)) = (testkit::s3(), testkit::postgres()) else {
        return;
    };
    let database = postgres.fresh_database();
    let storage = bucket(&s3);
    run(async {
        let mut seawall = Seawall::start_alone(&[]);
        let mut images = Vec::new();
        for number in 0..50 {
            let seed = format!("killed-{number}");
            let image = Image::with_layer(&seed, content(&seed, 5 * MIB));
            seawall.admin().push("library/app", &seed, &image).await;
            images.push((seed, image));
        }
        let there = written(
            &seawall,
            "there.toml",
            Some(&database.url()),
            &pairs(&storage),
        );
        let state = |seawall: &Seawall| -> Value {
            serde_json::from_str(&seawall.run(&["move", "--status", "--json"])).expect("JSON")
        };
        for doing in ["", "contents"] {
            let mut command = seawall.spawn(&["move", "--to-config", &there]);
            let mut seen = Value::Null;
            until("it has begun", async || {
                seen = state(&seawall);
                let text = seen["doing"].as_str().unwrap_or_default();
                let is_under_way = seen["done"].as_u64() > Some(0);
                text.starts_with(doing) && is_under_way
            })
            .await;
            seawall.kill();
            let _ = command.wait();
            eprintln!("killed at {seen}");
            seawall.launch();
            assert_eq!(state(&seawall)["state"], "interrupted");
            let late = Image::new(&format!("late-{doing}"));
            seawall.admin().push("library/late", "v1", &late).await;
            images.push(("library/late".to_owned(), late));
        }
        let other = written(
            &seawall,
            "other.toml",
            None,
            &[("url", "file://DATA/other")],
        );
        refused(&move_to(&seawall, &other), "has begun");
        moved(&move_beside(&seawall, &there));
        for (tag, image) in images.iter().filter(|(tag, _)| tag.starts_with("killed")) {
            seawall.admin().pull("library/app", tag, image).await;
        }
        let (_, late) = images.last().expect("pushed");
        seawall.admin().pull("library/late", "v1", late).await;
        fsck(&seawall);
        seawall.stop();
    });
}

/// A database beside its server.
fn opened(seawall: &Seawall, file: &str) -> rusqlite::Connection {
    rusqlite::Connection::open(seawall.data().join(file)).expect("the database opens")
}

#[test]
fn what_a_kill_in_the_last_moment_has_left_is_mended() {
    run(async {
        let mut seawall = Seawall::start_alone(&[]);
        let image = Image::new("first");
        seawall.admin().push("library/app", "v1", &image).await;
        seawall.stop();
        let store = |name: &str| {
            let url = format!("file://DATA/{name}");
            written(&seawall, &format!("{name}.toml"), None, &[("url", &url)])
        };
        let (second, third) = (store("second"), store("third"));
        let data = seawall.data().to_owned();
        let mark = |name: &str| data.join(name).join("store-id");
        let first = fs::read_to_string(mark("storage")).expect("an identity");
        moved(&move_to(&seawall, &second));
        let own = fs::read_to_string(mark("second")).expect("an identity");

        // Killed when the next store had its identity and the database did not say so yet.
        let record = seawall.data().join("moved.toml");
        let before = fs::read_to_string(&record).expect("a record");
        let mut torn: toml::Table = before.parse().expect("TOML");
        torn.insert("before".to_owned(), toml::Value::Table(torn.clone()));
        torn.insert("contents_moved_by".to_owned(), "killed".into());
        torn["storage"]["url"] = "file://DATA/third".into();
        fs::write(&record, torn.to_string()).expect("written");
        let blobs = seawall.data().join("third/docker/registry/v2/blobs");
        fs::create_dir_all(blobs).expect("made");
        fs::write(mark("third"), "killed\n").expect("written");
        let place = format!("file://{}", seawall.data().join("third").display());
        let begun = json!({ "id": "killed", "database": null, "storage": place });
        opened(&seawall, "seawall.sqlite")
            .execute(
                "INSERT INTO facts (name, value) VALUES ('moving', ?1)",
                [begun.to_string()],
            )
            .expect("noted");
        let mark_second = mark("second");
        seawall.launch();
        seawall.admin().pull("library/app", "v1", &image).await;
        let later = Image::new("later");
        seawall.admin().push("library/app", "v2", &later).await;
        seawall.stop();
        moved(&move_to(&seawall, &third));
        let moved_on = fs::read_to_string(&mark_second).expect("an identity");
        assert!(moved_on.contains(".moved"), "{moved_on}");

        // Killed before the store that contents came from was marked: it is not the database's any more all the same.
        fs::write(&mark_second, &own).expect("written");
        let now = fs::read_to_string(mark("third")).expect("an identity");
        assert_eq!(now, "killed\n");
        assert_ne!(now, own);
        // Nor the first one, by a configuration that says nothing of the moves.
        let aside = record.with_extension("aside");
        fs::rename(&record, &aside).expect("renamed");
        let moved_long_ago = fs::read_to_string(mark("storage")).expect("an identity");
        fs::write(mark("storage"), &first).expect("written");
        let told = not_started(&seawall);
        assert!(told.contains("the database belongs to"), "{told}");
        fs::write(mark("storage"), moved_long_ago).expect("written");
        fs::rename(&aside, &record).expect("renamed");
        seawall.launch();
        until("it is marked", async || {
            fs::read_to_string(&mark_second).expect("an identity") == moved_on
        })
        .await;
        seawall.stop();
        // And before the database was.
        for (name, from) in [("fourth", "seawall.sqlite"), ("fifth", "fourth.sqlite")] {
            let url = format!("sqlite:DATA/{name}.sqlite");
            let to = written(&seawall, &format!("{name}-db.toml"), Some(&url), &[]);
            moved(&move_to(&seawall, &to));
            let place = format!("sqlite:{}", data.join(format!("{name}.sqlite")).display());
            let begun = json!({ "id": "x", "database": place, "storage": null });
            let sealed = opened(&seawall, from);
            let fact = "UPDATE facts SET name = 'moving', value = ?1 WHERE name = 'moved_to'";
            let changed = sealed.execute(fact, [begun.to_string()]).expect("changed");
            assert_eq!(changed, 1, "{from}");
            seawall.launch();
            until("it is marked", async || {
                let sql = "SELECT COUNT(*) FROM facts WHERE name = 'moved_to'";
                let marked: i64 = sealed.query_row(sql, [], |row| row.get(0)).expect("read");
                marked == 1
            })
            .await;
            for (tag, image) in [("v1", &image), ("v2", &later)] {
                seawall.admin().pull("library/app", tag, image).await;
            }
            seawall.stop();
        }
        // A store that was left is no ground for a rebuild.
        fs::remove_file(&record).expect("removed");
        for name in ["seawall", "fourth", "fifth"] {
            fs::remove_file(data.join(format!("{name}.sqlite"))).expect("removed");
        }
        refused(
            &seawall.try_run(&["fsck", "--rebuild"], ""),
            "were moved elsewhere",
        );
    });
}

#[test]
fn what_is_damaged_is_named_and_everything_else_moves() {
    run(async {
        let mut seawall = Seawall::start_alone(&[]);
        // More than is carried while writers wait.
        let damaged = Image::with_layer("damaged", content("damaged", 70 * MIB));
        let whole = Image::new("whole");
        for (tag, image) in [("damaged", &damaged), ("whole", &whole)] {
            seawall.admin().push("library/app", tag, image).await;
        }
        seawall.stop();
        let layer = digest(&damaged.layer);
        let hex = layer.strip_prefix("sha256:").expect("SHA-256");
        let blobs = seawall
            .data()
            .join("storage/docker/registry/v2/blobs/sha256");
        let file = blobs.join(&hex[..2]).join(hex).join("data");
        let mut bytes = fs::read(&file).expect("read");
        bytes[MIB] ^= 1;
        fs::write(&file, bytes).expect("written");
        let there = written(
            &seawall,
            "there.toml",
            None,
            &[("url", "file://DATA/there")],
        );
        let output = move_to(&seawall, &there);
        let status: Value = serde_json::from_slice(&output.stdout).expect("JSON");
        assert_eq!(status["state"], "done", "{status}");
        assert_eq!(status["report"]["lost"], 1, "{status}");
        let named = status["report"]["examples"][0].as_str().expect("a text");
        assert!(named.starts_with(&layer), "{named}");

        // The operator writes down where the contents are, in other words, and has not deleted the record yet.
        let alias = seawall.data().join("alias");
        std::os::unix::fs::symlink(seawall.data().join("there"), &alias).expect("linked");
        seawall.set(
            "SEAWALL_STORAGE__URL",
            &format!("file://{}", alias.display()),
        );
        for _ in 0..2 {
            seawall.launch();
            seawall.admin().pull("library/app", "whole", &whole).await;
            let admin = seawall.admin();
            admin.push("library/app", "damaged", &damaged).await;
            admin.pull("library/app", "damaged", &damaged).await;
            seawall.stop();
        }
        let own = fs::read_to_string(alias.join("store-id")).expect("an identity");
        assert!(!own.contains(".moved"), "{own}");
    });
}
