//! A Docker registry is filled, stopped, and its tree taken over where it lies: in a directory and in a bucket.

mod old;

use std::path::Path;

use serde_json::{Value, json};
use testkit::{Database, Keeps, docker_registries};

use self::old::{Old, files};
use crate::{
    harness::{
        PASSWORD, Seawall,
        image::{MANIFEST, content, digest},
        server::{both, bucket_on},
        until,
    },
    nodes::run,
};

/// Nothing goes by itself, and what was released may go at once.
const NOW: &[(&str, &str)] = &[
    ("SEAWALL_GC__GRACE", "0"),
    ("SEAWALL_GC__INTERVAL", "1h"),
    ("SEAWALL_SCRUB__RATE", "0"),
    ("SEAWALL_ADMIN_PASSWORD", PASSWORD),
];
const IMPORT: &[&str] = &[
    "import",
    "blobs",
    "--from",
    "docker",
    "--old-registry-is-stopped",
];

/// On SQLite, and on PostgreSQL where there is one.
fn databases() -> Vec<Option<Database>> {
    let postgres = testkit::postgres().map(|server| Some(server.fresh_database()));
    std::iter::once(None).chain(postgres).collect()
}

/// What a command answers, whether or not it found something.
fn answer(seawall: &Seawall, arguments: &[&str]) -> (Value, bool) {
    let output = seawall.try_run(&[arguments, &["--json"]].concat(), "");
    let told = String::from_utf8_lossy(&output.stderr);
    let answer = serde_json::from_slice(&output.stdout);
    (
        answer.unwrap_or_else(|error| panic!("{arguments:?}: {error}: {told}")),
        output.status.success(),
    )
}

fn refused(seawall: &Seawall, arguments: &[&str]) -> String {
    let output = seawall.try_run(arguments, "");
    assert_eq!(output.status.code(), Some(1), "{arguments:?}");
    String::from_utf8_lossy(&output.stderr).into_owned()
}

#[test]
fn the_tree_of_a_stopped_registry_is_taken_over_in_its_directory() {
    for program in docker_registries() {
        for database in databases() {
            let home = tempfile::tempdir().expect("a directory");
            let root = home.path().join("old");
            std::fs::create_dir(&root).expect("made");
            let url = format!("file://{}", root.display());
            let store = [("SEAWALL_STORAGE__URL", url)];
            let settings = both(&store, NOW);
            run(async {
                let old = Old::fill(&program, &Keeps::Directory(root.clone()), home.path()).await;
                let before = files(&root);
                let seawall = Seawall::prepare(&settings, database);
                let seawall = adopted(seawall, &old, &|digest| damage_file(&root, digest)).await;
                let after = files(&root);
                for (file, inode) in &before {
                    let is_damaged = file.to_string_lossy().contains(&old.damaged()[7..]);
                    assert!(is_damaged || after.get(file) == Some(inode), "{file:?}");
                }
                finished(seawall, &old).await;
            });
        }
    }
}

#[test]
fn the_tree_of_a_stopped_registry_is_taken_over_in_its_bucket() {
    let Some(s3) = testkit::s3() else {
        return;
    };
    for program in docker_registries() {
        for database in databases() {
            let home = tempfile::tempdir().expect("a directory");
            let store = bucket_on(s3.clone());
            let bucket = store[0].1["s3://".len()..].replace("/registry", "");
            let settings = both(&store, NOW);
            let keeps = Keeps::Bucket {
                s3: s3.clone(),
                bucket: bucket.clone(),
                prefix: "registry".to_owned(),
            };
            run(async {
                let old = Old::fill(&program, &keeps, home.path()).await;
                let hex = &old.damaged()[7..];
                let key = format!(
                    "registry/docker/registry/v2/blobs/sha256/{}/{hex}/data",
                    &hex[..2]
                );
                s3.put(&bucket, &key, b"something else").await;
                let seawall = Seawall::prepare(&settings, database);
                let seawall = adopted(seawall, &old, &|_| ()).await;
                finished(seawall, &old).await;
            });
        }
    }
}

/// The other bytes have the same length.
fn damage_file(root: &Path, digest: &str) {
    let hex = &digest[7..];
    let path = format!("docker/registry/v2/blobs/sha256/{}/{hex}/data", &hex[..2]);
    let path = root.join(path);
    let mut bytes = std::fs::read(&path).expect("there");
    bytes[10] ^= 1;
    std::fs::write(path, bytes).expect("written");
}

/// Takes the tree over, and pulls everything.
async fn adopted(mut seawall: Seawall, old: &Old, damage: &dyn Fn(&str)) -> Seawall {
    let start = seawall.command().output().expect("runs");
    let told = String::from_utf8_lossy(&start.stderr).into_owned();
    assert!(
        !start.status.success() && told.contains("seawall import blobs"),
        "{told}"
    );
    let words = refused(&seawall, &IMPORT[..4]);
    assert!(words.contains("--old-registry-is-stopped"), "{words}");
    let (look, is_whole) = answer(&seawall, &[&IMPORT[..4], &["--dry-run"]].concat());
    assert_eq!(
        (
            &look["repositories"],
            &look["left"]["unplaced"]["count"],
            is_whole
        ),
        (&json!(0), &json!(3), false),
        "{look}"
    );
    damage(&old.damaged());

    let rules = ["--into", "all", "--map", "team=crew", "--create-projects"];
    let (report, is_whole) = answer(&seawall, &[IMPORT, &rules].concat());
    assert!(is_whole, "{report}");
    assert_eq!(
        (
            &report["repositories"],
            &report["manifests"],
            &report["tags"]
        ),
        (&json!(3), &json!(old.manifests()), &json!(old.tags().len())),
        "{report}"
    );
    assert_eq!(
        (&report["left"], &report["complete"]),
        (&json!({}), &json!(true))
    );
    assert_eq!(report["adopted"], report["contents"]);
    // In a bucket, parts of an upload that did not end are no object.
    assert!(report["uploads"].as_u64() <= Some(1), "{report}");
    seawall.launch();
    let admin = seawall.admin();
    old.pull_all(&admin).await;
    let damaged = format!("/v2/all/debian/blobs/{}", old.damaged());
    admin.get(&damaged).await.refused(404, "BLOB_UNKNOWN");
    assert_eq!(admin.head(&damaged).await.status, 404);
    seawall
}

/// Nothing goes before the end of the import, and then what nothing names.
async fn finished(mut seawall: Seawall, old: &Old) {
    assert_eq!(answer(&seawall, &["gc"]).0["freed"], 0);
    let words = refused(&seawall, &["import", "finish"]);
    assert!(words.contains("--yes"), "{words}");
    let (status, _) = answer(&seawall, &["import", "status"]);
    assert_eq!(
        (&status["finished_at"], &status["lost"]),
        (&Value::Null, &json!(1))
    );
    // The layer that no manifest names any more, and the manifest that was deleted there.
    assert_eq!(status["unneeded"], 3, "{status}");
    let check = seawall.try_run(&["check"], "");
    let told = String::from_utf8_lossy(&check.stdout).into_owned();
    assert!(told.contains("import finish"), "{told}");
    let own = digest(b"own");
    let path = format!("/v2/seawall-import/contents/blobs/uploads/?digest={own}");
    let admin = seawall.admin();
    let pushed = admin.request("POST", &path).body("own").send().await;
    pushed.refused(403, "DENIED");
    answer(&seawall, &["import", "finish", "--yes"]);
    assert_eq!(answer(&seawall, &["gc"]).0["freed"], 3);
    let (scrubbed, _) = answer(&seawall, &["scrub"]);
    assert_eq!(scrubbed["lost"], 0, "{scrubbed}");
    let admin = seawall.admin();
    old.pull_all(&admin).await;
    // Whoever has the damaged layer heals it.
    admin.push_blob("all/debian", &old.damaged_bytes()).await;
    let healed = format!("/v2/all/debian/blobs/{}", old.damaged());
    assert_eq!(
        admin.get(&healed).await.expect(200).body,
        old.damaged_bytes()
    );
    seawall.stop();
    let output = seawall.try_run(&["fsck", "--deep"], "");
    let told = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(told.ends_with("nothing is wrong\n"), "{told}");
    let projects = seawall.run(&["project", "list"]);
    assert!(!projects.contains("seawall-import"), "{projects}");
    assert!(projects.contains("crew"), "{projects}");
}

/// A tree with many contents and one image over some of them, as a registry would leave it.
fn large_tree(root: &Path, contents: usize) {
    let put = |bytes: &[u8]| {
        let digest = crate::harness::digest(bytes);
        let hex = &digest[7..];
        let file = root.join(format!(
            "docker/registry/v2/blobs/sha256/{}/{hex}/data",
            &hex[..2]
        ));
        std::fs::create_dir_all(file.parent().expect("a directory")).expect("made");
        std::fs::write(file, bytes).expect("written");
        digest
    };
    let link = |path: &str, digest: &str| {
        let file = root
            .join("docker/registry/v2/repositories/team/app")
            .join(path);
        std::fs::create_dir_all(file.parent().expect("a directory")).expect("made");
        std::fs::write(file, digest).expect("written");
    };
    for number in 0..contents {
        let layer = content(&number.to_string(), 64);
        let digest = put(&layer);
        if number % 10 == 0 {
            link(&format!("_layers/sha256/{}/link", &digest[7..]), &digest);
            let layer = json!({
                "mediaType": "application/vnd.oci.image.layer.v1.tar", "digest": digest, "size": layer.len(),
            });
            let manifest = json!({
                "schemaVersion": 2,
                "mediaType": MANIFEST,
                "config": { "mediaType": "application/vnd.oci.empty.v1+json", "digest": digest, "size": 64 },
                "layers": [layer],
            });
            let digest = put(manifest.to_string().as_bytes());
            link(
                &format!("_manifests/revisions/sha256/{}/link", &digest[7..]),
                &digest,
            );
            link(&format!("_manifests/tags/v{number}/current/link"), &digest);
        }
    }
}

/// Rows of a table, read beside whoever writes it; 0 while there is none.
fn count(data: &Path, table: &str) -> i64 {
    let flags = rusqlite::OpenFlags::SQLITE_OPEN_READ_ONLY;
    let counted = rusqlite::Connection::open_with_flags(data.join("seawall.sqlite"), flags)
        .and_then(|conn| {
            let sql = format!("SELECT COUNT(*) FROM {table}");
            conn.query_row(&sql, [], |row| row.get(0))
        });
    counted.unwrap_or(0)
}

#[test]
fn an_import_that_was_killed_is_started_again_and_nothing_was_lost_meanwhile() {
    const CONTENTS: usize = 4000;
    let home = tempfile::tempdir().expect("a directory");
    let root = home.path().join("old");
    large_tree(&root, CONTENTS);
    let store = [("SEAWALL_STORAGE__URL", format!("file://{}", root.display()))];
    let settings = both(&store, NOW);
    run(async {
        let mut seawall = Seawall::prepare(&settings, None);
        let arguments = [IMPORT, &["--create-projects"]].concat();
        let mut killed = 0;
        for (table, rows) in [
            ("blobs", 1),
            ("blobs", 1500),
            ("artifacts", 1),
            ("artifacts", 150),
        ] {
            let mut import = seawall.spawn(&arguments);
            let mut has_ended = || import.try_wait().expect("asked").is_some();
            until("it comes so far, or ends", async || {
                has_ended() || count(seawall.data(), table) >= rows
            })
            .await;
            killed += usize::from(!has_ended());
            let _ = import.kill();
            import.wait().expect("gone");
        }
        assert!(killed > 0, "all were faster than they were killed");
        // A server serves what is here, and takes nothing away; the import goes on beside it.
        seawall.launch();
        assert_eq!(answer(&seawall, &["gc"]).0["freed"], 0);
        seawall.try_run(&["fsck", "--repair"], "");
        let (report, is_whole) = answer(&seawall, &arguments);
        assert!(is_whole, "{report}");
        assert_eq!(
            (&report["contents"], &report["manifests"], &report["tags"]),
            (
                &json!(CONTENTS + CONTENTS / 10),
                &json!(CONTENTS / 10),
                &json!(CONTENTS / 10)
            ),
            "{report}"
        );
        let (status, _) = answer(&seawall, &["import", "status"]);
        assert_eq!(status["held"], report["contents"], "{status}");
        let (status, _) = answer(&seawall, &["import", "finish", "--yes"]);
        assert!(status["finished_at"].is_string(), "{status}");
        // A tenth is layers that manifests name, and another tenth these manifests. A collection that was due may be at the rest already.
        seawall.run(&["gc"]);
        until("the rest is collected", async || {
            count(seawall.data(), "blobs WHERE state <> 2") == CONTENTS as i64 / 10 * 2
        })
        .await;
        let told = seawall.run(&["fsck", "--deep"]);
        assert!(told.ends_with("nothing is wrong\n"), "{told}");
        seawall.stop();
    });
}

#[test]
fn harbors_tree_gives_contents_alone_and_a_directory_without_a_tree_nothing() {
    let home = tempfile::tempdir().expect("a directory");
    let root = home.path().join("old");
    large_tree(&root, 20);
    let store = [("SEAWALL_STORAGE__URL", format!("file://{}", root.display()))];
    let mut seawall = Seawall::prepare(&both(&store, &NOW[..2]), None);
    let arguments = [
        "import",
        "blobs",
        "--from",
        "harbor",
        "--old-registry-is-stopped",
    ];
    let told = seawall.run(&arguments);
    assert!(
        told.contains("Harbor keeps those in its database"),
        "{told}"
    );
    assert!(
        told.contains("22 contents") && told.contains("password"),
        "{told}"
    );
    seawall.launch();
    let words = refused(&seawall, &["import", "finish"]);
    assert!(
        words.contains("Harbor's database, which names them, was not imported"),
        "{words}"
    );
    assert!(
        seawall
            .run(&["repository", "list"])
            .contains("no repositories")
    );
    let words = refused(&seawall, &IMPORT[..5]);
    assert!(words.contains("of another kind (harbor)"), "{words}");
    seawall.stop();

    let empty = home.path().join("empty");
    std::fs::create_dir(&empty).expect("made");
    let store = [(
        "SEAWALL_STORAGE__URL",
        format!("file://{}", empty.display()),
    )];
    let seawall = Seawall::prepare(&both(&store, NOW), None);
    let words = refused(&seawall, IMPORT);
    assert!(words.contains("storage.url names the directory"), "{words}");
    assert!(
        !seawall.data().exists(),
        "a mistyped address leaves no registry"
    );
    let words = refused(&seawall, &["import", "status"]);
    assert!(words.contains("there is no registry"), "{words}");
}
