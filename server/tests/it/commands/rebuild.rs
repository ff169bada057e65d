//! `seawall fsck --rebuild`: the database is gone, the store is whole.

use std::fs;

use super::{json, refused};
use crate::harness::{Image, Seawall, server::on_sqlite_with};

fn lose_database(seawall: &Seawall) {
    for suffix in ["", "-wal", "-shm"] {
        let _ = fs::remove_file(seawall.data().join(format!("seawall.sqlite{suffix}")));
    }
}

#[test]
fn a_lost_database_is_made_anew_from_the_store() {
    on_sqlite_with(&[], async |seawall| {
        let image = Image::new("rescued");
        seawall.admin().push("library/app", "v1", &image).await;
        let words = refused(seawall, &["fsck", "--rebuild"], "");
        assert!(words.contains("stop it first"), "{words}");
        seawall.stop();
        let words = refused(seawall, &["fsck", "--rebuild"], "");
        assert!(words.contains("not a new one"), "{words}");

        lose_database(seawall);
        let output = seawall.command().output().expect("runs");
        assert_eq!(output.status.code(), Some(1));
        let words = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(words.contains("fsck --rebuild"), "{words}");
        // The refused start has made an empty database, or none: either is rebuilt into.
        let done = json(seawall, &["fsck", "--rebuild"]);
        assert_eq!(
            (done["contents"].as_u64(), done["manifests"].as_u64()),
            (Some(3), Some(1)),
            "{done}"
        );
        let password = done["admin_password"].as_str().expect("made up").to_owned();

        seawall.launch();
        let admin = seawall.stranger().with_basic("admin", &password);
        admin
            .pull("recovered/manifests", &image.digest(), &image)
            .await;
        seawall
            .stranger()
            .get(&format!(
                "/v2/recovered/manifests/manifests/{}",
                image.digest()
            ))
            .await
            .expect(401);
        assert!(
            seawall
                .run(&["fsck", "--deep"])
                .ends_with("nothing is wrong\n")
        );
        // Pushed again it is where it was, and nothing had to be sent twice.
        admin
            .put_manifest(
                "library/app",
                "v1",
                crate::harness::image::MANIFEST,
                &image.manifest,
            )
            .await
            .expect(404);
        admin.push("library/app", "v1", &image).await;
    });
}

#[test]
fn damaged_content_is_not_taken_into_a_new_database_when_all_is_read() {
    on_sqlite_with(&[], async |seawall| {
        let image = Image::new("half");
        seawall.admin().push("library/app", "v1", &image).await;
        seawall.stop();
        let hex = crate::harness::digest(&image.layer).replace("sha256:", "");
        let file = seawall
            .data()
            .join("storage/docker/registry/v2/blobs/sha256")
            .join(&hex[..2])
            .join(&hex)
            .join("data");
        fs::write(file, b"something else").expect("written");
        lose_database(seawall);
        let done = json(seawall, &["fsck", "--rebuild", "--deep"]);
        assert_eq!(
            (
                done["contents"].as_u64(),
                done["refused"].as_u64(),
                done["incomplete"].as_u64()
            ),
            (Some(2), Some(1), Some(1)),
            "{done}"
        );
        seawall.launch();
    });
}
