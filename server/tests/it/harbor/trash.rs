//! The trash, and where the space went.

pub mod projects;

use serde_json::{Value, json};

use super::jobs::until;
use crate::harness::{
    Client, Image, Seawall, digest, on_both, on_both_with, server::on_directories_with,
};

/// What is deleted stays a day; nothing else does.
pub const KEPT: &[(&str, &str)] = &[
    ("SEAWALL_TRASH__KEEP", "1d"),
    ("SEAWALL_GC__GRACE", "0"),
    ("SEAWALL_SCRUB__RATE", "0"),
];
pub const TRASH: &str = "/projects/library/trash";

async fn trash(client: &Client) -> Vec<Value> {
    let list = client.api_get(TRASH).await.expect(200).json();
    list.as_array().expect("a list").clone()
}

async fn restore(client: &Client, item: &Value) -> Value {
    let path = format!("{TRASH}/{}/restore", item["id"]);
    client
        .api("POST", &path, &Value::Null)
        .await
        .expect(200)
        .json()
}

fn collect(seawall: &Seawall) {
    seawall.run(&["gc"]);
}

/// What the store holds, measured now.
async fn space(client: &Client) -> Value {
    let before = client.api_get("/system/space").await.expect(200).json();
    let begun = client
        .api("POST", "/system/space/measurements", &Value::Null)
        .await;
    let _job = begun.expect(201).json()["id"].clone();
    until(client, "/system/space", |space| {
        space["measured_at"].is_string() && space["measured_at"] != before["measured_at"]
    })
    .await
}

#[test]
fn nothing_is_kept_of_what_somebody_deletes_unless_it_is_configured() {
    on_both(async |seawall| {
        let admin = seawall.admin();
        let image = Image::new("gone");
        let digest = admin.push("library/app", "v1", &image).await;
        admin
            .delete(&format!("/v2/library/app/manifests/{digest}"))
            .await
            .expect(202);
        assert!(trash(&admin).await.is_empty());
    });
}

#[test]
fn an_artifact_comes_back_byte_for_byte_with_its_tags_and_labels() {
    on_both_with(KEPT, async |seawall| {
        let admin = seawall.admin();
        let image = Image::new("precious");
        let digest = admin.push("library/app", "v1", &image).await;
        admin
            .put_manifest(
                "library/app",
                "v2",
                crate::harness::image::MANIFEST,
                &image.manifest,
            )
            .await
            .expect(201);
        let label = json!({ "name": "good", "scope": "g" });
        let label = admin.api("POST", "/labels", &label).await.expect(201);
        let label = label
            .header("location")
            .rsplit_once('/')
            .unwrap()
            .1
            .parse::<i64>()
            .unwrap();
        let artifact = "/projects/library/repositories/app/artifacts";
        let label = json!({ "id": label });
        let labelled = format!("{artifact}/v1/labels");
        admin.api("POST", &labelled, &label).await.expect(200);
        let shown = async || {
            let path = format!("{artifact}/{digest}?with_label=true&with_tag=true");
            admin.api_get(&path).await.expect(200).json()
        };
        let before = shown().await;
        admin
            .delete(&format!("/api/v2.0{artifact}/{digest}"))
            .await
            .expect(200);
        admin.get("/v2/library/app/manifests/v1").await.expect(404);
        let used = admin
            .api_get("/projects/library/summary")
            .await
            .expect(200)
            .json();
        assert_eq!(used["quota"]["used"]["storage"], 0, "it is in no quota");
        // The collector leaves it alone.
        collect(seawall);
        let items = trash(&admin).await;
        assert_eq!(items.len(), 1, "{items:?}");
        assert_eq!(
            (
                &items[0]["repository"],
                &items[0]["digest"],
                &items[0]["tags"]
            ),
            (&json!("library/app"), &json!(digest), &json!(["v1", "v2"]))
        );
        assert_eq!(
            (
                &items[0]["manifest"],
                &items[0]["cause"],
                &items[0]["deleted_by"]
            ),
            (&json!(true), &json!("delete"), &json!("admin"))
        );
        let back = restore(&admin, &items[0]).await;
        assert_eq!(back, json!({ "manifests": 1, "tags": 2, "taken": [] }));
        for tag in ["v1", "v2"] {
            admin.pull("library/app", tag, &image).await;
        }
        let mut after = shown().await;
        for key in ["push_time", "labels", "size", "type", "media_type"] {
            assert_eq!(after[key].take(), before[key], "{key}");
        }
        assert!(trash(&admin).await.is_empty());
        admin
            .api(
                "POST",
                &format!("{TRASH}/{}/restore", items[0]["id"]),
                &Value::Null,
            )
            .await
            .refused(404, "NOT_FOUND");
        collect(seawall);
        admin.pull("library/app", "v1", &image).await;
    });
}

#[test]
fn a_tag_comes_back_unless_another_manifest_has_it() {
    on_both_with(KEPT, async |seawall| {
        let admin = seawall.admin();
        let (one, two) = (Image::new("one"), Image::new("two"));
        admin.push("library/app", "stays", &one).await;
        admin.push("library/app", "goes", &one).await;
        let tag = "/api/v2.0/projects/library/repositories/app/artifacts/stays/tags/goes";
        for taken in [false, true] {
            admin.delete(tag).await.expect(200);
            let items = trash(&admin).await;
            assert_eq!(
                (&items[0]["manifest"], &items[0]["tags"]),
                (&json!(false), &json!(["goes"]))
            );
            if taken {
                admin.push("library/app", "goes", &two).await;
            }
            let back = restore(&admin, &items[0]).await;
            let expected = if taken {
                json!({ "manifests": 0, "tags": 0, "taken": ["goes"] })
            } else {
                json!({ "manifests": 0, "tags": 1, "taken": [] })
            };
            assert_eq!(back, expected);
            let holder = if taken { &two } else { &one };
            admin.pull("library/app", "goes", holder).await;
            assert!(trash(&admin).await.is_empty());
        }
    });
}

#[test]
fn a_repository_comes_back_with_its_index_and_what_is_attached() {
    on_both_with(KEPT, async |seawall| {
        let admin = seawall.admin();
        let part = Image::new("part");
        admin.push("library/app", &part.digest(), &part).await;
        let index = bytes::Bytes::from(json!({
            "schemaVersion": 2, "mediaType": crate::harness::image::INDEX,
            "manifests": [{ "mediaType": crate::harness::image::MANIFEST, "digest": part.digest(), "size": part.manifest.len() }],
        }).to_string());
        admin
            .put_manifest("library/app", "all", crate::harness::image::INDEX, &index)
            .await
            .expect(201);
        let attached = bytes::Bytes::from(json!({
            "schemaVersion": 2, "mediaType": crate::harness::image::MANIFEST, "artifactType": "application/x.note",
            "config": { "mediaType": "application/vnd.oci.empty.v1+json", "digest": digest(b"{}"), "size": 2 },
            "layers": [{ "mediaType": "application/vnd.oci.empty.v1+json", "digest": digest(b"{}"), "size": 2 }],
            "subject": { "mediaType": crate::harness::image::INDEX, "digest": digest(&index), "size": index.len() },
        }).to_string());
        admin
            .push_blob("library/app", &bytes::Bytes::from_static(b"{}"))
            .await;
        admin
            .put_manifest(
                "library/app",
                &digest(&attached),
                crate::harness::image::MANIFEST,
                &attached,
            )
            .await
            .expect(201);
        admin
            .delete("/api/v2.0/projects/library/repositories/app")
            .await
            .expect(200);
        collect(seawall);
        let items = trash(&admin).await;
        assert_eq!(items.len(), 3, "{items:?}");
        assert!(items.iter().all(|item| item["act"] == items[0]["act"]));
        let own = items
            .iter()
            .find(|item| item["digest"] == digest(&index))
            .expect("the index");
        let back = restore(&admin, own).await;
        assert_eq!(back, json!({ "manifests": 3, "tags": 1, "taken": [] }));
        let pulled = admin.get("/v2/library/app/manifests/all").await.expect(200);
        assert_eq!(pulled.body, index);
        admin.pull("library/app", &part.digest(), &part).await;
        let referrers = format!("/v2/library/app/referrers/{}", digest(&index));
        let referrers = admin.get(&referrers).await.expect(200).json();
        assert_eq!(referrers["manifests"][0]["digest"], digest(&attached));
    });
}

#[test]
fn what_is_ended_for_good_goes_with_the_next_collection() {
    on_both_with(KEPT, async |seawall| {
        let admin = seawall.admin();
        let image = Image::new("done");
        let gone = admin.push("library/app", "v1", &image).await;
        admin.push("library/app", "v2", &Image::new("kept")).await;
        let kept = space(&admin).await;
        assert_eq!(kept["projects"]["files"], 6, "{kept}");
        admin
            .delete(&format!("/v2/library/app/manifests/{gone}"))
            .await
            .expect(202);
        collect(seawall);
        let trashed = space(&admin).await;
        assert_eq!(
            (&trashed["projects"]["files"], &trashed["trash"]["files"]),
            (&json!(3), &json!(3))
        );
        assert_eq!(trashed["stored"], kept["stored"]);
        let items = trash(&admin).await;
        let path = format!("/api/v2.0{TRASH}/{}", items[0]["id"]);
        admin.delete(&path).await.expect(200);
        admin.delete(&path).await.refused(404, "NOT_FOUND");
        collect(seawall);
        let done = space(&admin).await;
        assert_eq!(
            (
                &done["projects"]["files"],
                &done["trash"]["files"],
                &done["waiting"]["files"]
            ),
            (&json!(3), &json!(0), &json!(0))
        );
        let layer = format!("/v2/library/app/blobs/{}", digest(&image.layer));
        admin.get(&layer).await.expect(404);
        assert!(
            seawall
                .run(&["fsck", "--deep"])
                .ends_with("nothing is wrong\n")
        );
    });
}

#[test]
fn what_was_there_long_enough_ends_by_itself() {
    let short = &[
        ("SEAWALL_TRASH__KEEP", "10s"),
        ("SEAWALL_GC__GRACE", "0"),
        ("SEAWALL_GC__INTERVAL", "1s"),
    ];
    on_both_with(short, async |seawall| {
        let admin = seawall.admin();
        let gone = admin.push("library/app", "v1", &Image::new("brief")).await;
        admin
            .delete(&format!("/v2/library/app/manifests/{gone}"))
            .await
            .expect(202);
        let wanted = json!({ "project_name": "team" });
        admin.api("POST", "/projects", &wanted).await.expect(201);
        admin.delete("/api/v2.0/projects/team").await.expect(200);
        for path in [TRASH, projects::PROJECTS] {
            let there = admin.api_get(path).await.expect(200).json();
            assert_eq!(there.as_array().map(Vec::len), Some(1), "{path}");
        }
        for path in [TRASH, projects::PROJECTS] {
            until(&admin, path, |list| {
                list.as_array().is_some_and(Vec::is_empty)
            })
            .await;
        }
    });
}

/// The report adds up to what really lies in the store.
#[test]
fn the_parts_of_the_space_report_add_up_to_the_store() {
    on_directories_with(KEPT, async |seawall| {
        let admin = seawall.admin();
        let wanted = json!({ "project_name": "other", "public": false });
        admin.api("POST", "/projects", &wanted).await.expect(201);
        let (own, shared) = (Image::new("own"), Image::new("shared"));
        admin.push("library/app", "own", &own).await;
        admin.push("library/app", "shared", &shared).await;
        admin.push("other/app", "shared", &shared).await;
        let gone = admin.push("library/app", "gone", &Image::new("gone")).await;
        admin
            .delete(&format!("/v2/library/app/manifests/{gone}"))
            .await
            .expect(202);
        let begun = admin
            .post("/v2/library/app/blobs/uploads/")
            .await
            .expect(202);
        let upload = begun.header("location").to_owned();
        let patch = admin
            .request("PATCH", &upload)
            .header("content-type", "application/octet-stream");
        patch.body(vec![7; 1000]).send().await.expect(202);
        let space = space(&admin).await;
        let bytes = |part: &str| space[part]["bytes"].as_i64().expect("bytes");
        let size =
            |image: &Image| (image.config.len() + image.layer.len() + image.manifest.len()) as i64;
        assert_eq!(bytes("projects"), size(&own), "{space}");
        assert_eq!(bytes("shared"), size(&shared), "{space}");
        assert_eq!(bytes("trash"), size(&Image::new("gone")), "{space}");
        assert_eq!(
            (bytes("uploads"), bytes("waiting"), bytes("unknown")),
            (1000, 0, 0)
        );
        let on_disk = files(&seawall.data().join("storage/docker")) + 1000;
        assert_eq!(bytes("stored"), on_disk);
    });
}

fn files(dir: &std::path::Path) -> i64 {
    let entries = std::fs::read_dir(dir).expect("a directory");
    let sizes = entries.map(|entry| {
        let entry = entry.expect("an entry");
        let meta = entry.metadata().expect("read");
        if meta.is_dir() {
            files(&entry.path())
        } else {
            meta.len() as i64
        }
    });
    sizes.sum()
}

#[test]
fn the_trash_is_for_whoever_may_delete_there() {
    on_both_with(KEPT, async |seawall| {
        let admin = seawall.admin();
        let gone = admin.push("library/app", "v1", &Image::new("gone")).await;
        admin
            .delete(&format!("/v2/library/app/manifests/{gone}"))
            .await
            .expect(202);
        let id = trash(&admin).await[0]["id"].clone();
        let wanted = json!({ "project_name": "other" });
        admin.api("POST", "/projects", &wanted).await.expect(201);
        // Of another project there is none of this number.
        let elsewhere = format!("/projects/other/trash/{id}/restore");
        admin
            .api("POST", &elsewhere, &Value::Null)
            .await
            .refused(404, "NOT_FOUND");
        seawall.make_user("dev");
        seawall.run(&["project", "member", "set", "library", "dev", "developer"]);
        let restore = format!("{TRASH}/{id}/restore");
        let dev = seawall.user("dev");
        dev.api_get(TRASH).await.refused(403, "FORBIDDEN");
        dev.api("POST", &restore, &Value::Null)
            .await
            .refused(403, "FORBIDDEN");
        seawall.run(&["project", "member", "set", "library", "dev", "maintainer"]);
        dev.api("POST", &restore, &Value::Null).await.expect(200);
        // A quota may refuse what comes back.
        admin
            .delete(&format!("/v2/library/app/manifests/{gone}"))
            .await
            .expect(202);
        seawall.run(&["project", "set-quota", "library", "1KiB"]);
        let id = trash(&admin).await[0]["id"].clone();
        let restore = format!("{TRASH}/{id}/restore");
        admin
            .api("POST", &restore, &Value::Null)
            .await
            .refused(403, "DENIED");
        assert_eq!(trash(&admin).await.len(), 1, "it stays in the trash");
    });
}

#[test]
fn a_repository_comes_back_at_once() {
    on_both_with(KEPT, async |seawall| {
        let admin = seawall.admin();
        let images: Vec<Image> = (0..3).map(|n| Image::new(&format!("all {n}"))).collect();
        for (number, image) in images.iter().enumerate() {
            admin
                .push("library/app", &format!("v{number}"), image)
                .await;
        }
        admin
            .push("library/app", "before", &Image::new("before"))
            .await;
        let before = "/api/v2.0/projects/library/repositories/app/artifacts/before";
        admin.delete(before).await.expect(200);
        let repository = "/api/v2.0/projects/library/repositories/app";
        admin.delete(repository).await.expect(200);
        let items = trash(&admin).await;
        let of_repository = items.iter().find(|item| item["tags"] == json!(["v1"]));
        let id = of_repository.expect("it is in the trash")["id"].to_string();
        let path = format!("{TRASH}/{id}/restore?all=true");
        let back = admin.api("POST", &path, &Value::Null).await.expect(200);
        assert_eq!(
            back.json(),
            json!({ "manifests": 3, "tags": 3, "taken": [] })
        );
        for (number, image) in images.iter().enumerate() {
            admin
                .pull("library/app", &format!("v{number}"), image)
                .await;
        }
        assert_eq!(trash(&admin).await.len(), 1, "another act deleted that");
        admin.delete(repository).await.expect(200);
        let items: Value =
            serde_json::from_str(&seawall.run(&["trash", "ls", "library", "--json"]))
                .expect("JSON");
        let id = items[0]["id"].to_string();
        assert_eq!(
            seawall.run(&["trash", "restore", &id, "--all"]),
            "3 manifests and 3 tags are back\n"
        );
    });
}
