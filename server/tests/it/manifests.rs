//! Manifests and tags: push, pull, delete, referrers.

use bytes::Bytes;
use serde_json::json;

use crate::harness::{
    Image, digest,
    image::{INDEX, MANIFEST},
    on_both,
};

#[test]
fn an_image_comes_back_as_it_was_pushed_by_tag_and_by_digest() {
    on_both(async |seawall| {
        let (admin, image) = (seawall.admin(), Image::new("a"));
        let digest = admin.push("library/app", "v1", &image).await;
        for reference in ["v1", &digest] {
            admin.pull("library/app", reference, &image).await;
            let head = admin
                .head(&format!("/v2/library/app/manifests/{reference}"))
                .await
                .expect(200);
            assert_eq!(head.header("content-type"), MANIFEST);
            assert_eq!(
                head.header("content-length"),
                image.manifest.len().to_string()
            );
            assert_eq!(head.header("docker-content-digest"), digest);
        }
    });
}

#[test]
fn a_moved_tag_is_seen_by_the_next_request() {
    on_both(async |seawall| {
        let (admin, first, second) = (seawall.admin(), Image::new("first"), Image::new("second"));
        admin.push("library/app", "latest", &first).await;
        admin.pull("library/app", "latest", &first).await;
        admin.push("library/app", "latest", &second).await;
        admin.pull("library/app", "latest", &second).await;
        admin.pull("library/app", &first.digest(), &first).await;
    });
}

#[test]
fn one_push_may_set_many_tags() {
    on_both(async |seawall| {
        let (admin, image) = (seawall.admin(), Image::new("tags"));
        admin.push("library/app", "v1", &image).await;
        let query: Vec<String> = (0..12).map(|n| format!("tag=t{n}")).collect();
        let reference = format!("{}?{}", image.digest(), query.join("&"));
        let answer = admin
            .put_manifest("library/app", &reference, MANIFEST, &image.manifest)
            .await
            .expect(201);
        assert_eq!(answer.headers.get_all("oci-tag").iter().count(), 12);
        for n in 0..12 {
            admin.pull("library/app", &format!("t{n}"), &image).await;
        }
    });
}

#[test]
fn content_that_did_not_change_is_not_sent_again() {
    on_both(async |seawall| {
        let (admin, image) = (seawall.admin(), Image::new("etag"));
        let pushed = admin.push("library/app", "v1", &image).await;
        for path in [
            "/v2/library/app/manifests/v1".to_owned(),
            format!("/v2/library/app/blobs/{}", digest(&image.layer)),
        ] {
            let etag = admin.get(&path).await.expect(200).header("etag").to_owned();
            let answer = admin
                .request("GET", &path)
                .header("if-none-match", &etag)
                .send()
                .await
                .expect(304);
            assert!(answer.body.is_empty());
            admin
                .request("GET", &path)
                .header("if-none-match", "\"sha256:other\"")
                .send()
                .await
                .expect(200);
        }
        let by_digest = admin
            .get(&format!("/v2/library/app/manifests/{pushed}"))
            .await;
        assert!(by_digest.header("cache-control").contains("immutable"));
        assert_eq!(
            admin
                .get("/v2/library/app/manifests/v1")
                .await
                .header("cache-control"),
            ""
        );
    });
}

#[test]
fn deleting_a_tag_leaves_the_manifest_and_its_other_tags() {
    on_both(async |seawall| {
        let (admin, image) = (seawall.admin(), Image::new("delete"));
        let digest = admin.push("library/app", "one", &image).await;
        admin
            .put_manifest("library/app", "two", MANIFEST, &image.manifest)
            .await
            .expect(201);
        admin
            .delete("/v2/library/app/manifests/one")
            .await
            .expect(202);
        admin
            .get("/v2/library/app/manifests/one")
            .await
            .refused(404, "MANIFEST_UNKNOWN");
        admin.pull("library/app", "two", &image).await;
        admin
            .delete(&format!("/v2/library/app/manifests/{digest}"))
            .await
            .expect(202);
        admin
            .get("/v2/library/app/manifests/two")
            .await
            .refused(404, "MANIFEST_UNKNOWN");
        admin
            .get(&format!("/v2/library/app/manifests/{digest}"))
            .await
            .refused(404, "MANIFEST_UNKNOWN");
        admin
            .delete(&format!("/v2/library/app/manifests/{digest}"))
            .await
            .refused(404, "MANIFEST_UNKNOWN");
    });
}

#[test]
fn a_blob_goes_only_when_no_manifest_of_its_repository_names_it() {
    on_both(async |seawall| {
        let (admin, image) = (seawall.admin(), Image::new("blob"));
        let manifest = admin.push("library/app", "v1", &image).await;
        let layer = format!("/v2/library/app/blobs/{}", digest(&image.layer));
        admin.delete(&layer).await.refused(405, "UNSUPPORTED");
        admin
            .delete(&format!("/v2/library/app/manifests/{manifest}"))
            .await
            .expect(202);
        admin.delete(&layer).await.expect(202);
        admin.head(&layer).await.expect(404);
        admin.delete(&layer).await.refused(404, "BLOB_UNKNOWN");
        // And it can be pushed again.
        admin.push("library/app", "v1", &image).await;
        admin.pull("library/app", "v1", &image).await;
    });
}

#[test]
fn an_index_needs_its_children_and_keeps_them() {
    on_both(async |seawall| {
        let (admin, image) = (seawall.admin(), Image::new("child"));
        let index = Bytes::from(
            json!({
                "schemaVersion": 2,
                "mediaType": INDEX,
                "manifests": [{ "mediaType": MANIFEST, "digest": image.digest(), "size": image.manifest.len(), "platform": { "architecture": "amd64", "os": "linux" } }],
            })
            .to_string(),
        );
        let answer = admin
            .put_manifest("library/multi", "v1", INDEX, &index)
            .await
            .refused(404, "MANIFEST_BLOB_UNKNOWN");
        assert!(
            answer.message().contains(&image.digest()),
            "{}",
            answer.text()
        );
        admin.push("library/multi", &image.digest(), &image).await;
        admin
            .put_manifest("library/multi", "v1", INDEX, &index)
            .await
            .expect(201);
        admin
            .delete(&format!("/v2/library/multi/manifests/{}", image.digest()))
            .await
            .refused(412, "PRECONDITION");
        admin
            .delete(&format!("/v2/library/multi/manifests/{}", digest(&index)))
            .await
            .expect(202);
        // It had no tag and was in no other index: it went along, as with Harbor.
        admin
            .get(&format!("/v2/library/multi/manifests/{}", image.digest()))
            .await
            .refused(404, "MANIFEST_UNKNOWN");
    });
}

/// BuildKit writes its cache so.
#[test]
fn an_index_of_blobs_needs_and_keeps_them() {
    on_both(async |seawall| {
        let (admin, image) = (seawall.admin(), Image::new("cache"));
        let layer = digest(&image.layer);
        let index = Bytes::from(
            json!({
                "schemaVersion": 2,
                "mediaType": INDEX,
                "manifests": [{ "mediaType": "application/vnd.oci.image.layer.v1.tar+gzip", "digest": layer, "size": image.layer.len() }],
            })
            .to_string(),
        );
        let answer = admin
            .put_manifest("library/cache", "main", INDEX, &index)
            .await
            .refused(404, "MANIFEST_BLOB_UNKNOWN");
        assert!(answer.message().contains(&layer), "{}", answer.text());
        admin.push("library/cache", "image", &image).await;
        admin
            .put_manifest("library/cache", "main", INDEX, &index)
            .await
            .expect(201);
        admin
            .delete(&format!("/v2/library/cache/manifests/{}", image.digest()))
            .await
            .expect(202);
        admin
            .delete(&format!("/v2/library/cache/blobs/{layer}"))
            .await
            .refused(405, "UNSUPPORTED");
    });
}

#[test]
fn referrers_are_listed_filtered_and_paged_also_before_their_subject_comes() {
    on_both(async |seawall| {
        let (admin, image) = (seawall.admin(), Image::new("subject"));
        let subject = image.digest();
        let empty = admin
            .push_blob("library/ref", &Bytes::from_static(b"{}"))
            .await;
        let mut pushed = Vec::new();
        for (n, kind) in [
            "application/vnd.example.sbom+json",
            "application/vnd.example.sig",
            "application/vnd.example.sig",
        ]
        .iter()
        .enumerate()
        {
            let referrer = Bytes::from(
                json!({
                    "schemaVersion": 2, "mediaType": MANIFEST, "artifactType": kind,
                    "config": { "mediaType": "application/vnd.oci.empty.v1+json", "digest": empty, "size": 2 },
                    "layers": [],
                    "subject": { "mediaType": MANIFEST, "digest": subject, "size": image.manifest.len() },
                    "annotations": { "n": n.to_string() },
                })
                .to_string(),
            );
            let answer = admin
                .put_manifest("library/ref", &digest(&referrer), MANIFEST, &referrer)
                .await
                .expect(201);
            assert_eq!(answer.header("oci-subject"), subject);
            pushed.push(digest(&referrer));
        }
        let path = format!("/v2/library/ref/referrers/{subject}");
        let all = admin.get(&path).await.expect(200);
        assert_eq!(all.header("content-type"), INDEX);
        assert_eq!(all.json()["manifests"].as_array().expect("a list").len(), 3);
        assert_eq!(all.json()["manifests"][0]["annotations"]["n"], "0");
        for query in [
            "application/vnd.example.sbom%2Bjson",
            "application/vnd.example.sbom+json",
        ] {
            let some = admin
                .get(&format!("{path}?artifactType={query}"))
                .await
                .expect(200);
            assert_eq!(some.header("oci-filters-applied"), "artifactType");
            assert_eq!(
                some.json()["manifests"].as_array().expect("a list").len(),
                1,
                "{query}"
            );
        }
        // A page at a time.
        let mut next = Some(format!("{path}?n=2"));
        let mut seen = Vec::new();
        while let Some(page) = next {
            let answer = admin.get(&page).await.expect(200);
            let manifests = answer.json()["manifests"]
                .as_array()
                .expect("a list")
                .clone();
            assert!(manifests.len() <= 2);
            seen.extend(
                manifests
                    .iter()
                    .map(|manifest| manifest["digest"].as_str().expect("a digest").to_owned()),
            );
            next = answer
                .header("link")
                .strip_prefix('<')
                .and_then(|link| link.split('>').next())
                .map(str::to_owned);
        }
        assert_eq!(seen, pushed);
        let none = admin.get("/v2/library/nothing/referrers/sha256:0000000000000000000000000000000000000000000000000000000000000000").await;
        assert_eq!(none.expect(200).json()["manifests"], json!([]));
        admin
            .get("/v2/library/ref/referrers/sha256:short")
            .await
            .refused(400, "DIGEST_INVALID");
    });
}

#[test]
fn a_page_of_referrers_is_bounded_in_bytes_too() {
    on_both(async |seawall| {
        let (admin, image) = (seawall.admin(), Image::new("heavy"));
        let subject = image.digest();
        let empty = admin
            .push_blob("library/ref", &Bytes::from_static(b"{}"))
            .await;
        let mut pushed = Vec::new();
        let referrer = |n: usize, length: usize| {
            Bytes::from(
                json!({
                    "schemaVersion": 2, "mediaType": MANIFEST,
                    "config": { "mediaType": "application/vnd.oci.empty.v1+json", "digest": empty, "size": 2 },
                    "layers": [],
                    "subject": { "mediaType": MANIFEST, "digest": subject, "size": image.manifest.len() },
                    "annotations": { "n": n.to_string(), "note": "x".repeat(length) },
                })
                .to_string(),
            )
        };
        let heavy = referrer(0, 70_000);
        admin
            .put_manifest("library/ref", &digest(&heavy), MANIFEST, &heavy)
            .await
            .refused(413, "SIZE_INVALID");
        for n in 0..100 {
            let referrer = referrer(n, 60_000);
            admin
                .put_manifest("library/ref", &digest(&referrer), MANIFEST, &referrer)
                .await
                .expect(201);
            pushed.push(digest(&referrer));
        }
        let mut next = Some(format!("/v2/library/ref/referrers/{subject}"));
        let (mut seen, mut pages) = (Vec::new(), 0);
        while let Some(page) = next {
            let answer = admin.get(&page).await.expect(200);
            assert!(answer.body.len() < 5 << 20, "{}", answer.body.len());
            pages += 1;
            let list = answer.json();
            let manifests = list["manifests"].as_array().expect("a list");
            seen.extend(
                manifests
                    .iter()
                    .map(|manifest| manifest["digest"].as_str().expect("a digest").to_owned()),
            );
            next = answer
                .header("link")
                .strip_prefix('<')
                .and_then(|link| link.split('>').next())
                .map(str::to_owned);
        }
        assert_eq!(pages, 2);
        assert_eq!(seen, pushed);
    });
}
