//! Retention, trash, space and jobs, as the operator sees them. Each beside a server and without one.

use serde_json::{Value, json};

use super::{json, refused};
use crate::harness::{Image, on_both_with};

const KEPT: &[(&str, &str)] = &[
    ("SEAWALL_TRASH__KEEP", "1d"),
    ("SEAWALL_GC__GRACE", "0"),
    ("SEAWALL_GC__UNTAGGED_GRACE", "0"),
    ("SEAWALL_GC__INTERVAL", "1h"),
    ("SEAWALL_SCRUB__RATE", "0"),
];

#[test]
fn a_policy_is_explained_before_it_is_applied() {
    on_both_with(KEPT, async |seawall| {
        let admin = seawall.admin();
        for tag in ["v1", "v2"] {
            admin.push("library/app", tag, &Image::new(tag)).await;
        }
        let words = refused(seawall, &["retention", "explain", "library"], "");
        assert!(words.contains("has no retention policy"), "{words}");
        let policy = crate::harbor::retentions::policy(1);
        admin.api("POST", "/retentions", &policy).await.expect(201);
        for is_served in [true, false] {
            if !is_served {
                seawall.stop();
            }
            let told = seawall.run(&["retention", "explain", "library"]);
            assert!(
                told.starts_with("library/app: 1 of 2 artifacts stay, 1 would be deleted\n")
                    && told.contains("rule 1 keeps the 1 most recently pushed, of tags like v*")
                    && told.contains("no rule keeps it"),
                "{told}"
            );
            let told = json(
                seawall,
                &["retention", "explain", "library/app", "--deleted"],
            );
            let artifacts = &told[0]["judged"]["artifacts"];
            assert_eq!(artifacts.as_array().map(Vec::len), Some(1), "{told}");
            assert_eq!(
                (&artifacts[0]["tags"], &artifacts[0]["stays"]),
                (&json!(["v1"]), &json!(false))
            );
            let told = seawall.run(&["retention", "explain", "library", "--limit", "1"]);
            assert!(
                told.ends_with("\n1 more are not named: see `--limit`\n"),
                "{told}"
            );
            let words = refused(seawall, &["retention", "explain", "library/nothing"], "");
            assert!(words.contains("`library/nothing` not found"), "{words}");
        }
        seawall.launch();
    });
}

#[test]
fn what_was_deleted_is_listed_brought_back_and_ended() {
    on_both_with(KEPT, async |seawall| {
        for is_served in [true, false] {
            let admin = seawall.admin();
            let image = Image::new(if is_served { "beside" } else { "alone" });
            let digest = admin.push("library/app", "v1", &image).await;
            let delete = async || {
                let path = format!("/v2/library/app/manifests/{digest}");
                seawall.admin().delete(&path).await.expect(202);
            };
            delete().await;
            if !is_served {
                seawall.stop();
            }
            let told = seawall.run(&["trash", "list", "library"]);
            assert!(
                told.contains("library/app") && told.contains("delete by admin"),
                "{told}"
            );
            let items = json(seawall, &["trash", "ls", "library"]);
            let id = items[0]["id"].to_string();
            assert_eq!(
                seawall.run(&["trash", "restore", &id]),
                "1 manifests and 1 tags are back\n"
            );
            assert_eq!(
                seawall.run(&["trash", "ls", "library"]),
                "the trash is empty\n"
            );
            if !is_served {
                seawall.launch();
            }
            seawall.admin().pull("library/app", "v1", &image).await;
            let path = format!("/v2/library/app/manifests/{digest}");
            seawall.admin().delete(&path).await.expect(202);
            let items = json(seawall, &["trash", "ls", "library"]);
            let id = items[0]["id"].to_string();
            seawall.run(&["trash", "delete", &id]);
            let words = refused(seawall, &["trash", "restore", &id], "");
            assert!(words.contains("in the trash"), "{words}");
        }
    });
}

#[test]
fn the_space_is_measured_and_shown_again() {
    on_both_with(KEPT, async |seawall| {
        let admin = seawall.admin();
        let image = Image::new("app");
        admin.push("library/app", "v1", &image).await;
        let bytes = image.config.len() + image.layer.len() + image.manifest.len();
        for is_served in [true, false] {
            if !is_served {
                seawall.stop();
            }
            let space = json(seawall, &["space"]);
            assert_eq!(
                (&space["projects"], &space["stored"]["bytes"]),
                (&json!({ "bytes": bytes, "files": 3 }), &json!(bytes))
            );
            assert_eq!(json(seawall, &["space", "--last"]), space);
            let told = seawall.run(&["space", "--last"]);
            assert!(
                told.contains("projects") && told.contains("Measured"),
                "{told}"
            );
        }
        seawall.launch();
    });
}

#[test]
fn a_job_is_listed_and_its_log_followed_to_its_end() {
    on_both_with(KEPT, async |seawall| {
        seawall
            .admin()
            .push("library/app", "v1", &Image::new("app"))
            .await;
        let tag = "/api/v2.0/projects/library/repositories/app/artifacts/v1/tags/v1";
        seawall.admin().delete(tag).await.expect(200);
        let told = seawall.run(&["gc", "--dry-run", "--untagged"]);
        assert!(
            told.starts_with("WITHOUT A TAG\nlibrary/app@sha256:")
                && told.ends_with("\n\nnothing would be freed\n"),
            "{told}"
        );
        let done = json(seawall, &["gc", "--untagged"]);
        assert_eq!(done["purged_manifests"], 1, "{done}");
        let id = done["job"].to_string();
        let told = seawall.run(&["job", "log", "--follow", &id]);
        assert!(
            told.contains("asked for by operator") && told.contains("1 manifests without a tag"),
            "{told}"
        );
        let jobs = json(seawall, &["job", "ls", "--limit", "500"]);
        let jobs = jobs.as_array().expect("a list");
        assert!(
            jobs.iter()
                .any(|job| job["id"] == done["job"] && job["kind"] == "gc")
        );
        let history = seawall
            .admin()
            .api_get("/system/gc")
            .await
            .expect(200)
            .json();
        assert_eq!(history[0]["id"], done["job"], "as in Harbor's API");
        assert_eq!(history[0].get("job_status"), Some(&Value::from("Success")));
    });
}
