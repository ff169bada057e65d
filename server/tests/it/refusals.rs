//! What gets a clear refusal, with nothing lost.

use std::process::{Command, Stdio};

use bytes::Bytes;

use crate::harness::{Image, Seawall, digest, image::MANIFEST, on_both, server::on_sqlite_with};

#[test]
fn malformed_names_digests_and_references_are_told_apart() {
    on_both(async |seawall| {
        let admin = seawall.admin();
        for (method, path, status, code) in [
            ("GET", "/v2/Library/app/manifests/v1", 400, "NAME_INVALID"),
            ("GET", "/v2/library//app/manifests/v1", 400, "NAME_INVALID"),
            ("POST", "/v2/app/blobs/uploads/", 400, "NAME_INVALID"),
            (
                "GET",
                "/v2/library/app/blobs/sha256:xyz",
                400,
                "DIGEST_INVALID",
            ),
            (
                "GET",
                "/v2/library/app/blobs/md5:d41d8cd98f00b204e9800998ecf8427e",
                400,
                "DIGEST_INVALID",
            ),
            (
                "GET",
                "/v2/library/app/manifests/-bad",
                404,
                "MANIFEST_INVALID",
            ),
            (
                "PUT",
                "/v2/library/app/manifests/-bad",
                400,
                "MANIFEST_INVALID",
            ),
            ("GET", "/v2/library/app/nothing", 404, "NAME_UNKNOWN"),
            ("POST", "/v2/library/app/manifests/v1", 405, "UNSUPPORTED"),
            (
                "GET",
                "/v2/library/app/blobs/uploads/not-an-id",
                404,
                "BLOB_UPLOAD_UNKNOWN",
            ),
            ("GET", "/v2/library/none/tags/list", 404, "NAME_UNKNOWN"),
            (
                "GET",
                "/v2/library/none/manifests/v1",
                404,
                "MANIFEST_UNKNOWN",
            ),
        ] {
            let answer = admin.request(method, path).send().await;
            assert_eq!(
                (answer.status.as_u16(), answer.code().as_str()),
                (status, code),
                "{method} {path}: {}",
                answer.text()
            );
        }
    });
}

#[test]
fn manifests_that_cannot_be_right_are_refused() {
    on_both(async |seawall| {
        let (admin, image) = (seawall.admin(), Image::new("bad"));
        let put = async |reference: &str, kind: &str, bytes: Bytes| {
            admin
                .put_manifest("library/bad", reference, kind, &bytes)
                .await
        };
        put("v1", MANIFEST, Bytes::from_static(b"{broken"))
            .await
            .refused(400, "MANIFEST_INVALID");
        put(
            "v1",
            "application/vnd.docker.distribution.manifest.v1+prettyjws",
            Bytes::from_static(b"{\"schemaVersion\":1}"),
        )
        .await
        .refused(400, "MANIFEST_INVALID");
        let missing = put("v1", MANIFEST, image.manifest.clone())
            .await
            .refused(404, "MANIFEST_BLOB_UNKNOWN");
        assert!(missing.message().contains("sha256:"), "{}", missing.text());
        let wrong = digest(b"another");
        admin.push_blob("library/bad", &image.config).await;
        admin.push_blob("library/bad", &image.layer).await;
        put(&wrong, MANIFEST, image.manifest.clone())
            .await
            .refused(400, "DIGEST_INVALID");
        let huge = Bytes::from(vec![b' '; 4 * 1024 * 1024 + 1]);
        put("v1", MANIFEST, huge).await.refused(413, "SIZE_INVALID");
        admin.get("/v2/library/bad/manifests/v1").await.expect(404);
        put("v1", MANIFEST, image.manifest.clone())
            .await
            .expect(201);
    });
}

#[test]
fn unknown_paths_outside_v2_are_not_found() {
    on_both(async |seawall| {
        seawall
            .stranger()
            .get("/v1/_ping")
            .await
            .refused(404, "NOT_FOUND");
        seawall
            .stranger()
            .get("/api/v2.0/nothing")
            .await
            .refused(404, "NOT_FOUND");
        seawall.stranger().post("/livez").await.expect(405);
        assert_eq!(
            seawall.stranger().get("/livez").await.expect(200).text(),
            "ok\n"
        );
        assert_eq!(
            seawall.stranger().get("/readyz").await.expect(200).json()["status"],
            "ready"
        );
    });
}

/// Runs `seawall serve` until it ends by itself; its exit and its complaint.
fn complaint(command: &mut Command) -> (bool, String) {
    let output = command
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .output()
        .expect("runs");
    (
        output.status.success(),
        String::from_utf8_lossy(&output.stderr).into_owned(),
    )
}

#[test]
fn a_server_that_cannot_be_right_does_not_start_and_says_why() {
    on_sqlite_with(&[], async |seawall| {
        let (started, why) = complaint(&mut seawall.command());
        assert!(
            !started && why.contains("in use by another seawall"),
            "{why}"
        );

        let other = tempfile::tempdir().expect("a directory");
        let mut command = Command::new(env!("CARGO_BIN_EXE_seawall"));
        command
            .args(["serve", "--listen", seawall.address(), "--data"])
            .arg(other.path().join("d"));
        let (started, why) = complaint(&mut command);
        assert!(!started && why.contains(seawall.address()), "{why}");

        let (started, why) = complaint(seawall.command().env("SEAWALL_STORAGE__RESERV", "1"));
        assert!(!started && why.contains("storage.reserv"), "{why}");
    });
}

#[test]
fn a_missing_or_foreign_store_is_never_written() {
    on_sqlite_with(&[], async |seawall| {
        let (admin, image) = (seawall.admin(), Image::new("store"));
        admin.push("library/app", "v1", &image).await;
        seawall.stop();
        let storage = seawall.data().join("storage");
        let aside = seawall.data().join("aside");
        std::fs::rename(&storage, &aside).expect("moved");
        std::fs::create_dir(&storage).expect("an empty directory, as an unmounted share leaves it");
        let (started, why) = complaint(&mut seawall.command());
        assert!(!started && why.contains("identity"), "{why}");
        assert!(!storage.join("store-id").exists());
        // Another's store, not only its mark: without its tree it would count as away.
        std::fs::create_dir_all(storage.join("docker/registry/v2/blobs")).expect("a tree");
        std::fs::write(
            storage.join("store-id"),
            "01890000-0000-7000-8000-000000000000",
        )
        .expect("another's mark");
        let (started, why) = complaint(&mut seawall.command());
        assert!(!started && why.contains("belongs to"), "{why}");
        std::fs::remove_dir_all(&storage).expect("removed");
        std::fs::rename(&aside, &storage).expect("moved back");
        seawall.launch();
        seawall.admin().pull("library/app", "v1", &image).await;
    });
}

#[test]
fn another_key_file_is_refused_and_none_is_made_anew() {
    on_sqlite_with(&[], async |seawall: &mut Seawall| {
        seawall.stop();
        let key = seawall.data().join("secretkey");
        let aside = seawall.data().join("aside");
        std::fs::rename(&key, &aside).expect("moved");
        let (started, why) = complaint(&mut seawall.command());
        assert!(!started && why.contains("secretkey"), "{why}");
        assert!(!key.exists());
        std::fs::rename(&aside, &key).expect("moved back");
        seawall.launch();
    });
}
