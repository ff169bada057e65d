//! Artifacts through the API, pushed as clients push them.

use bytes::Bytes;
use serde_json::{Value, json};

use crate::harness::{
    Client, Image, Seawall, digest,
    image::{INDEX, MANIFEST},
    on_both,
};

const OF_APP: &str = "/projects/library/repositories/nested%252Fapp/artifacts";

pub fn digests(listed: &Value) -> Vec<&str> {
    let rows = listed.as_array().expect("a list");
    rows.iter()
        .map(|row| row["digest"].as_str().expect("a digest"))
        .collect()
}

/// A manifest of no layers with this type that is attached to a subject; its config is there already.
pub async fn attach(client: &Client, repository: &str, subject: &Image, kind: &str) -> String {
    let config = Bytes::from_static(b"{}");
    client.push_blob(repository, &config).await;
    let manifest = Bytes::from(
        json!({
            "schemaVersion": 2,
            "mediaType": MANIFEST,
            "artifactType": kind,
            "config": { "mediaType": "application/vnd.oci.empty.v1+json", "digest": digest(&config), "size": config.len() },
            "layers": [],
            "subject": { "mediaType": MANIFEST, "digest": subject.digest(), "size": subject.manifest.len() },
        })
        .to_string(),
    );
    let name = digest(&manifest);
    client
        .put_manifest(repository, &name, MANIFEST, &manifest)
        .await
        .expect(201);
    name
}

/// An index of these images, pushed under a tag.
pub async fn push_index(client: &Client, repository: &str, tag: &str, images: &[Image]) -> String {
    let entries: Vec<Value> = images
        .iter()
        .map(|image| {
            json!({
                "mediaType": MANIFEST, "digest": image.digest(), "size": image.manifest.len(),
                "platform": { "architecture": "arm64", "os": "linux", "variant": "v8", "os.version": "7" },
                "annotations": { "a": "b" },
            })
        })
        .collect();
    let index = Bytes::from(
        json!({ "schemaVersion": 2, "mediaType": INDEX, "manifests": entries }).to_string(),
    );
    client
        .put_manifest(repository, tag, INDEX, &index)
        .await
        .expect(201);
    digest(&index)
}

/// `one` as `v1` and `latest`, then `two` without a tag.
async fn two_artifacts(seawall: &Seawall) -> (String, String) {
    let admin = seawall.admin();
    let (one, two) = (Image::new("one"), Image::new("two"));
    let first = admin.push("library/nested/app", "v1", &one).await;
    admin
        .put_manifest("library/nested/app", "latest", MANIFEST, &one.manifest)
        .await
        .expect(201);
    let name = two.digest();
    let second = admin.push("library/nested/app", &name, &two).await;
    (first, second)
}

#[test]
fn an_artifact_tells_what_harbors_clients_read() {
    on_both(async |seawall| {
        let (first, _) = two_artifacts(seawall).await;
        let admin = seawall.admin();
        for reference in ["v1", "latest", &first] {
            let told = admin
                .api_get(&format!("{OF_APP}/{reference}"))
                .await
                .expect(200)
                .json();
            assert_eq!(told["digest"], first.as_str());
            assert_eq!(
                told["media_type"],
                "application/vnd.oci.image.config.v1+json"
            );
            assert_eq!(told["manifest_media_type"], MANIFEST);
            assert_eq!(told["repository_name"], "library/nested/app");
            assert_eq!(told["pull_time"], "0001-01-01T00:00:00.000Z");
            for nothing in ["labels", "references", "accessories"] {
                assert!(told[nothing].is_null(), "{told}");
            }
            let tags = told["tags"].as_array().expect("tags");
            assert_eq!(tags.len(), 2);
            assert_eq!(tags[0]["name"], "v1");
            assert_eq!(tags[0]["immutable"], false);
            assert!(tags[0]["artifact_id"].as_i64() > Some(0));
            assert!(
                told["icon"]
                    .as_str()
                    .is_some_and(|icon| icon.starts_with("sha256:"))
            );
        }
        let plain = admin
            .api_get(&format!("{OF_APP}/v1?with_tag=false"))
            .await
            .expect(200)
            .json();
        assert!(plain["tags"].is_null());
    });
}

#[test]
fn an_artifact_that_is_not_there_is_told_in_harbors_words() {
    on_both(async |seawall| {
        two_artifacts(seawall).await;
        let admin = seawall.admin();
        let gone = admin.api_get(&format!("{OF_APP}/v9")).await;
        let gone = gone.refused(404, "NOT_FOUND");
        assert_eq!(gone.message(), "artifact library/nested/app:v9 not found");
        admin
            .api_get("/projects/library/repositories/none/artifacts/v1")
            .await
            .refused(404, "NOT_FOUND");
        admin
            .api_get(&format!("{OF_APP}/sha256:zz"))
            .await
            .refused(404, "NOT_FOUND");
        let none = admin
            .api_get("/projects/library/repositories/none/artifacts")
            .await
            .expect(200);
        assert_eq!(
            (none.json(), none.header("x-total-count")),
            (json!([]), "0")
        );
    });
}

#[test]
fn artifacts_are_listed_newest_first_filtered_and_paged() {
    on_both(async |seawall| {
        let (first, second) = two_artifacts(seawall).await;
        let (first, second) = (first.as_str(), second.as_str());
        let admin = seawall.admin();
        let exact = format!("?q=digest%3D{first}");
        for (query, expected) in [
            ("", vec![second, first]),
            ("?sort=push_time", vec![first, second]),
            ("?page_size=1", vec![second]),
            ("?page_size=1&page=2", vec![first]),
            ("?page=3", vec![]),
            ("?page_size=0", vec![second, first]),
            ("?q=tags%3D*", vec![first]),
            ("?q=tags%3Dnil", vec![second]),
            ("?q=tags%3Dlatest", vec![first]),
            ("?q=tags%3Dnone", vec![]),
            ("?q=tags%3D~ate", vec![first]),
            ("?q=tags%3D~ATE", vec![]),
            ("?q=base%3D*", vec![second, first]),
            ("?q=type%3DCHART", vec![]),
            ("?q=labels%3D(7)", vec![]),
            (&exact, vec![first]),
        ] {
            let listed = admin.api_get(&format!("{OF_APP}{query}")).await.expect(200);
            assert_eq!(digests(&listed.json()), expected, "{query}");
            if !query.contains("page") {
                let total = expected.len().to_string();
                assert_eq!(listed.header("x-total-count"), total, "{query}");
            }
        }
        for refused in ["tags%3D{a b}", "labels%3D7", "labels%3D(a)", "base%3Dx"] {
            let query = refused.replace(' ', "%20");
            admin
                .api_get(&format!("{OF_APP}?q={query}"))
                .await
                .refused(400, "BAD_REQUEST");
        }
    });
}

#[test]
fn lists_hide_accessories_and_untagged_parts_of_an_index() {
    on_both(async |seawall| {
        let admin = seawall.admin();
        let parts = [Image::new("part one"), Image::new("part two")];
        for part in &parts {
            let name = part.digest();
            admin.push("library/nested/app", &name, part).await;
        }
        let index = push_index(&admin, "library/nested/app", "v1", &parts).await;
        let note = attach(
            &admin,
            "library/nested/app",
            &parts[0],
            "application/vnd.example.note",
        )
        .await;
        let listed = admin.api_get(OF_APP).await.expect(200);
        assert_eq!(digests(&listed.json()), [index.as_str()]);
        assert_eq!(listed.header("x-total-count"), "1");
        let all = admin
            .api_get(&format!("{OF_APP}?q=base%3D*"))
            .await
            .expect(200);
        assert_eq!(digests(&all.json()).len(), 3);
        let told = admin
            .api_get(&format!("{OF_APP}/v1"))
            .await
            .expect(200)
            .json();
        let references = told["references"].as_array().expect("references");
        assert_eq!(references.len(), 2);
        assert_eq!(references[0]["child_digest"], parts[0].digest());
        let part = format!("{OF_APP}/{}", parts[0].digest());
        let told = admin.api_get(&part).await.expect(200).json();
        let accessory = &told["accessories"][0];
        assert_eq!(accessory["digest"], note.as_str());
        assert_eq!(accessory["type"], "subject.accessory");
        assert_eq!(accessory["subject_artifact_digest"], parts[0].digest());
        assert_eq!(accessory["subject_artifact_repo"], "library/nested/app");
        let hidden = format!("{part}?with_accessory=false");
        let told = admin.api_get(&hidden).await.expect(200).json();
        assert!(told["accessories"].is_null());
    });
}

#[test]
fn accessories_are_listed_by_page() {
    on_both(async |seawall| {
        let admin = seawall.admin();
        let image = Image::new("noted");
        admin.push("library/nested/app", "v1", &image).await;
        let mut notes = Vec::new();
        for kind in ["application/vnd.example.a", "application/vnd.example.b"] {
            notes.push(attach(&admin, "library/nested/app", &image, kind).await);
        }
        let path = format!("{OF_APP}/v1/accessories");
        let listed = admin.api_get(&path).await.expect(200);
        assert_eq!(digests(&listed.json()), notes);
        let second = admin
            .api_get(&format!("{path}?page_size=1&page=2"))
            .await
            .expect(200);
        assert_eq!(digests(&second.json()), [notes[1].as_str()]);
        assert_eq!(second.header("x-total-count"), "2");
        seawall.make_user("outsider");
        seawall.run(&["project", "create", "closed"]);
        seawall
            .user("outsider")
            .api_get("/projects/closed/repositories/x/artifacts/v1/accessories")
            .await
            .refused(403, "FORBIDDEN");
        admin
            .api_get(&format!("{OF_APP}/v2/accessories"))
            .await
            .refused(404, "NOT_FOUND");
    });
}

#[test]
fn artifacts_of_a_whole_project_are_listed_for_whoever_signed_in() {
    on_both(async |seawall| {
        let (first, second) = two_artifacts(seawall).await;
        let admin = seawall.admin();
        let third = admin
            .push("library/other", "v1", &Image::new("three"))
            .await;
        let path = "/projects/library/artifacts";
        let listed = admin.api_get(path).await.expect(200);
        let all = [third.as_str(), second.as_str(), first.as_str()];
        assert_eq!(digests(&listed.json()), all);
        seawall
            .stranger()
            .api_get(path)
            .await
            .refused(401, "UNAUTHORIZED");
        // `q` is unescaped once more than a query is.
        let config = "application/vnd.oci.image.config.v1%252Bjson";
        let latest = format!("{path}?latest_in_repository=true&q=media_type%3D{config}");
        let listed = admin.api_get(&latest).await.expect(200);
        assert_eq!(digests(&listed.json()), [third.as_str(), second.as_str()]);
        assert_eq!(listed.header("x-total-count"), "2");
        for refused in ["", "&q=tags%3Dv1"] {
            admin
                .api_get(&format!("{path}?latest_in_repository=true{refused}"))
                .await
                .refused(400, "BAD_REQUEST");
        }
        let tagged = admin
            .api_get(&format!("{path}?q=tags%3D~v1"))
            .await
            .expect(200);
        assert_eq!(digests(&tagged.json()), [third.as_str(), first.as_str()]);
        let tagged = admin
            .api_get(&format!("{path}?q=tags%3Dlatest"))
            .await
            .expect(200);
        assert_eq!(digests(&tagged.json()), [first.as_str()]);
    });
}

#[test]
fn additions_are_read_and_refused_as_harbor_does() {
    on_both(async |seawall| {
        two_artifacts(seawall).await;
        let admin = seawall.admin();
        let told = admin
            .api_get(&format!("{OF_APP}/v1/additions/build_history"))
            .await;
        assert_eq!(
            told.expect(200).header("content-type"),
            "application/json; charset=utf-8"
        );
        for (addition, status, code) in [
            ("dependencies", 400, "BAD_REQUEST"),
            ("values.yaml", 400, "BAD_REQUEST"),
            ("nonsense", 422, "UNPROCESSABLE_ENTITY"),
        ] {
            admin
                .api_get(&format!("{OF_APP}/v1/additions/{addition}"))
                .await
                .refused(status, code);
        }
        let none = admin
            .api_get(&format!("{OF_APP}/v1/additions/vulnerabilities"))
            .await
            .expect(200);
        assert_eq!(none.json(), json!({}));
    });
}

#[test]
fn the_icon_of_an_artifact_is_a_picture() {
    on_both(async |seawall| {
        two_artifacts(seawall).await;
        let told = seawall
            .admin()
            .api_get(&format!("{OF_APP}/v1"))
            .await
            .json();
        let icon = told["icon"].as_str().expect("an icon");
        let shown = seawall
            .stranger()
            .api_get(&format!("/icons/{icon}"))
            .await
            .expect(200)
            .json();
        assert_eq!(shown["content-type"], "image/png");
        assert!(
            shown["content"]
                .as_str()
                .is_some_and(|text| !text.is_empty())
        );
        let unknown = format!("/icons/sha256:{}", "0".repeat(64));
        for path in [unknown.as_str(), "/icons/nonsense"] {
            seawall
                .stranger()
                .api_get(path)
                .await
                .refused(404, "NOT_FOUND");
        }
    });
}

#[test]
fn of_each_repository_the_newest_of_a_type_is_found() {
    on_both(async |seawall| {
        let admin = seawall.admin();
        let mut newest = Vec::new();
        for app in ["one", "two"] {
            for number in 0..3 {
                let image = Image::new(&format!("{app} {number}"));
                let name = format!("library/{app}");
                let digest = admin.push(&name, &format!("v{number}"), &image).await;
                if number == 2 {
                    newest.push(digest);
                }
            }
        }
        let path = |q: &str| format!("/projects/library/artifacts?latest_in_repository=true&q={q}");
        let kind = "media_type%3Dapplication/vnd.oci.image.config.v1%252Bjson";
        let found = admin.api_get(&path(kind)).await.expect(200);
        let found = found.json();
        let mut shown = digests(&found);
        shown.sort_unstable();
        newest.sort_unstable();
        assert_eq!(shown, newest);
        for q in ["", "media_type%3Da,artifact_type%3Db"] {
            admin.api_get(&path(q)).await.refused(400, "BAD_REQUEST");
        }
    });
}

#[test]
fn lists_keep_so_much_of_what_a_manifest_says_of_itself() {
    on_both(async |seawall| {
        let admin = seawall.admin();
        let image = Image::new("one");
        let mut manifest: Value = serde_json::from_slice(&image.manifest).expect("JSON");
        manifest["annotations"] = json!({ "short": "kept", "long": "x".repeat(1 << 20) });
        for blob in [&image.config, &image.layer] {
            admin.push_blob("library/nested/app", blob).await;
        }
        let bytes = Bytes::from(manifest.to_string());
        admin
            .put_manifest("library/nested/app", "v1", MANIFEST, &bytes)
            .await
            .expect(201);
        let shown = admin.api_get(&format!("{OF_APP}/v1")).await.expect(200);
        assert_eq!(shown.json()["annotations"], json!({ "short": "kept" }));
        let pulled = admin.get("/v2/library/nested/app/manifests/v1").await;
        assert_eq!(pulled.expect(200).body, bytes);
    });
}

#[test]
fn a_long_list_is_sent_whole_as_it_is_read() {
    on_both(async |seawall| {
        let admin = seawall.admin();
        admin
            .push("library/nested/app", "v1", &Image::new("one"))
            .await;
        // More than are read at a time.
        seawall.sql(
            "WITH RECURSIVE numbers(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM numbers WHERE n < 1200)
             INSERT INTO tags (repository_id, name, artifact_id, digest, clock, node, pushed_at, uid)
             SELECT t.repository_id, 't' || n, t.artifact_id, t.digest, 0, 'n', 0, 'u' || n FROM numbers, tags t WHERE t.name = 'v1'",
        );
        for size in ["0", "-1"] {
            let path = format!("{OF_APP}/v1/tags?page_size={size}");
            let all = admin.api_get(&path).await.expect(200);
            assert_eq!(all.header("x-total-count"), "1201");
            assert_eq!(all.header("content-length"), "", "it is not known before");
            let all = all.json();
            let names: std::collections::BTreeSet<_> = all
                .as_array()
                .expect("a list")
                .iter()
                .map(|tag| tag["name"].as_str().expect("a name"))
                .collect();
            assert_eq!(names.len(), 1201);
        }
    });
}
