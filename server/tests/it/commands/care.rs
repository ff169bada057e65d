//! Collection, scrub, check and jobs.

use std::{fs, path::PathBuf};

use serde_json::Value;

use super::json;
use crate::harness::{Image, Seawall, on_both_with, server::on_directories_with};

/// What was released may go at once, and nothing goes by itself meanwhile.
const NOW: &[(&str, &str)] = &[("SEAWALL_GC__GRACE", "0"), ("SEAWALL_GC__INTERVAL", "1h")];

async fn push_and_delete(seawall: &Seawall, seed: &str) {
    let image = Image::new(seed);
    let digest = seawall.admin().push("library/app", seed, &image).await;
    seawall
        .admin()
        .delete(&format!("/v2/library/app/manifests/{digest}"))
        .await
        .expect(202);
}

fn file_of(seawall: &Seawall, digest: &str) -> PathBuf {
    let hex = digest.strip_prefix("sha256:").expect("sha256");
    let storage = seawall
        .data()
        .join("storage/docker/registry/v2/blobs/sha256");
    storage.join(&hex[..2]).join(hex).join("data")
}

#[test]
fn collection_frees_what_it_said_it_would() {
    on_directories_with(NOW, async |seawall| {
        for is_served in [true, false] {
            let seed = if is_served { "beside" } else { "alone" };
            push_and_delete(seawall, seed).await;
            if !is_served {
                seawall.stop();
            }
            let preview = json(seawall, &["gc", "--dry-run"]);
            let candidates = preview["contents"].as_array().expect("a list");
            assert_eq!(candidates.len(), 3, "{preview}");
            let bytes: u64 = candidates
                .iter()
                .map(|candidate| candidate["size"].as_u64().expect("a size"))
                .sum();
            for candidate in candidates {
                assert!(file_of(seawall, candidate["digest"].as_str().expect("a digest")).exists());
            }
            let done = json(seawall, &["gc"]);
            assert_eq!(
                (&done["freed"], &done["bytes_freed"]),
                (&Value::from(3), &Value::from(bytes)),
                "{done}"
            );
            assert_eq!(done["job"].is_i64(), is_served, "{done}");
            for candidate in candidates {
                assert!(
                    !file_of(seawall, candidate["digest"].as_str().expect("a digest")).exists()
                );
            }
            assert_eq!(
                seawall.run(&["gc", "--dry-run"]),
                "nothing would be freed\n"
            );
            assert_eq!(seawall.run(&["gc"]), "nothing to collect\n");
        }
        seawall.launch();
    });
}

#[test]
fn damage_is_found_named_and_healed_by_a_push() {
    on_directories_with(NOW, async |seawall| {
        for is_served in [true, false] {
            let image = Image::new(if is_served { "beside" } else { "alone" });
            let admin = seawall.admin();
            admin.push("library/app", "v1", &image).await;
            let layer = crate::harness::digest(&image.layer);
            if !is_served {
                seawall.stop();
            }
            assert_eq!(json(seawall, &["scrub"])["lost"], 0);
            assert!(
                seawall
                    .run(&["fsck", "--deep"])
                    .ends_with("nothing is wrong\n")
            );

            let mut bytes = fs::read(file_of(seawall, &layer)).expect("there");
            bytes[100] ^= 1;
            fs::write(file_of(seawall, &layer), bytes).expect("written");
            assert!(
                seawall.run(&["fsck"]).ends_with("nothing is wrong\n"),
                "lengths alone are right"
            );
            let output = seawall.try_run(&["fsck", "--deep", "--json"], "");
            assert_eq!(output.status.code(), Some(1));
            let report: Value = serde_json::from_slice(&output.stdout).expect("JSON");
            assert_eq!(report["findings"]["damaged"]["count"], 1, "{report}");

            let output = seawall.try_run(&["scrub"], "");
            assert_eq!(output.status.code(), Some(1));
            let told = String::from_utf8_lossy(&output.stdout).into_owned();
            assert!(told.contains("1 lost") && told.contains(&layer), "{told}");
            let output = seawall.try_run(&["fsck"], "");
            assert_eq!(output.status.code(), Some(1));
            assert!(
                String::from_utf8_lossy(&output.stdout).contains("known to be missing or damaged")
            );

            if !is_served {
                seawall.launch();
            }
            // The server may have another address now.
            let admin = seawall.admin();
            admin.push_blob("library/app", &image.layer).await;
            admin.pull("library/app", "v1", &image).await;
            assert!(!seawall.run(&["fsck", "--deep"]).contains("known to be"));
        }
    });
}

#[test]
fn a_repair_removes_what_nobody_knows_and_then_all_is_well() {
    on_directories_with(NOW, async |seawall| {
        for is_served in [true, false] {
            let stray = crate::harness::digest(if is_served { b"beside" } else { b"alone" });
            let path = file_of(seawall, &stray);
            fs::create_dir_all(path.parent().expect("a directory")).expect("made");
            fs::write(&path, b"strange").expect("written");
            let output = seawall.try_run(&["fsck"], "");
            let told = String::from_utf8_lossy(&output.stdout).into_owned();
            assert!(
                output.status.success() && told.contains("may be on their way"),
                "{told}"
            );

            let file = fs::File::options().append(true).open(&path).expect("there");
            file.set_modified(std::time::UNIX_EPOCH).expect("aged");
            if !is_served {
                seawall.stop();
            }
            let output = seawall.try_run(&["fsck"], "");
            let told = String::from_utf8_lossy(&output.stdout).into_owned();
            assert!(!output.status.success() && told.contains(&stray), "{told}");
            assert!(path.exists(), "nothing changes without --repair");
            assert!(seawall.run(&["fsck", "--repair"]).contains("(1 put right)"));
            assert!(!path.exists());
            assert!(seawall.run(&["fsck"]).ends_with("nothing is wrong\n"));
        }
        seawall.launch();
    });
}

#[test]
fn jobs_are_listed_with_their_logs() {
    on_both_with(NOW, async |seawall| {
        push_and_delete(seawall, "logged").await;
        let done = json(seawall, &["gc"]);
        let id = done["job"].to_string();
        let log = json(seawall, &["job", "log", &id]);
        assert_eq!(
            (log["kind"].as_str(), log["state"].as_str()),
            (Some("gc"), Some("done")),
            "{log}"
        );
        let lines: Vec<_> = log["lines"]
            .as_array()
            .expect("lines")
            .iter()
            .map(|line| line["text"].as_str().expect("text").to_owned())
            .collect();
        assert_eq!(lines[0], "asked for by operator");
        assert_eq!(
            lines
                .iter()
                .filter(|line| line.starts_with("freed sha256:"))
                .count(),
            3,
            "{lines:?}"
        );
        seawall.stop();
        assert_eq!(json(seawall, &["job", "log", &id]), log);
        assert!(
            json(seawall, &["job", "list"])
                .as_array()
                .expect("a list")
                .iter()
                .any(|job| job["id"] == done["job"])
        );
        let words = super::refused(seawall, &["job", "stop", &id], "");
        assert!(words.contains("has ended already"), "{words}");
        seawall.launch();
    });
}
