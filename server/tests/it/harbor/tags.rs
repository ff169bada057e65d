//! Tags through the API, and what may not happen to immutable ones on either face.

use serde_json::{Value, json};

use super::immutable_rules::make_immutable;
use crate::harness::{Image, image::MANIFEST, on_both};

const APP: &str = "library/nested/app";
const OF_APP: &str = "/projects/library/repositories/nested%252Fapp/artifacts";

fn names(listed: &Value) -> Vec<&str> {
    let rows = listed.as_array().expect("a list");
    rows.iter()
        .map(|row| row["name"].as_str().expect("a name"))
        .collect()
}

#[test]
fn tags_are_made_listed_and_removed() {
    on_both(async |seawall| {
        let admin = seawall.admin();
        let digest = admin.push(APP, "v1", &Image::new("one")).await;
        let tags = format!("{OF_APP}/v1/tags");
        let made = admin.api("POST", &tags, &json!({ "name": "stable" })).await;
        assert_eq!(made.expect(201).header("location"), "");
        let listed = admin.api_get(&tags).await.expect(200);
        assert_eq!(names(&listed.json()), ["v1", "stable"]);
        let paged = format!("{OF_APP}/{digest}/tags?page_size=1&page=2");
        let paged = admin.api_get(&paged).await.expect(200);
        assert_eq!(names(&paged.json()), ["stable"]);
        assert_eq!(paged.header("x-total-count"), "2");
        let filtered = admin.api_get(&format!("{tags}?q=name%3D~TAB")).await;
        assert_eq!(names(&filtered.expect(200).json()), ["stable"]);
        let path = format!("/api/v2.0{tags}/v1");
        admin.delete(&path).await.expect(200);
        let left = format!("{OF_APP}/stable/tags");
        let listed = admin.api_get(&left).await.expect(200);
        assert_eq!(names(&listed.json()), ["stable"]);
        admin
            .delete(&format!("/api/v2.0{left}/v1"))
            .await
            .refused(404, "NOT_FOUND");
    });
}

#[test]
fn a_tag_is_never_moved_by_making_it() {
    on_both(async |seawall| {
        let admin = seawall.admin();
        let first = admin.push(APP, "v1", &Image::new("one")).await;
        admin.push(APP, "v2", &Image::new("two")).await;
        let tags = format!("{OF_APP}/v2/tags");
        for (name, status, code) in [
            ("v1", 409, "CONFLICT"),
            ("v2", 409, "CONFLICT"),
            ("-v3", 400, "BAD_REQUEST"),
            ("", 400, "BAD_REQUEST"),
        ] {
            let refused = admin.api("POST", &tags, &json!({ "name": name })).await;
            refused.refused(status, code);
        }
        let told = admin.api_get(&format!("{OF_APP}/v1")).await.expect(200);
        assert_eq!(told.json()["digest"], first.as_str());
        admin
            .api(
                "POST",
                &format!("{OF_APP}/v9/tags"),
                &json!({ "name": "x" }),
            )
            .await
            .refused(404, "NOT_FOUND");
        seawall.make_user("outsider");
        seawall
            .user("outsider")
            .api("POST", &tags, &json!({ "name": "x" }))
            .await
            .refused(403, "FORBIDDEN");
        seawall
            .stranger()
            .delete(&format!("/api/v2.0{tags}/v2"))
            .await
            .refused(401, "UNAUTHORIZED");
    });
}

#[test]
fn a_tag_of_another_artifact_is_not_removed() {
    on_both(async |seawall| {
        let admin = seawall.admin();
        admin.push(APP, "v1", &Image::new("one")).await;
        admin.push(APP, "v2", &Image::new("two")).await;
        admin
            .delete(&format!("/api/v2.0{OF_APP}/v1/tags/v2"))
            .await
            .refused(404, "NOT_FOUND");
        admin.api_get(&format!("{OF_APP}/v2")).await.expect(200);
    });
}

#[test]
fn immutable_tags_are_neither_moved_nor_deleted() {
    on_both(async |seawall| {
        let admin = seawall.admin();
        let (one, two) = (Image::new("one"), Image::new("two"));
        let digest = admin.push(APP, "v1", &one).await;
        admin.push(APP, "latest", &two).await;
        make_immutable(&admin, "v*").await;
        for image in [&two, &one] {
            let moved = admin
                .put_manifest(APP, "v1", MANIFEST, &image.manifest)
                .await;
            assert_eq!(
                moved.refused(412, "PRECONDITION").message(),
                "Failed to process request due to 'nested/app:v1' configured as immutable."
            );
        }
        admin
            .put_manifest(APP, &digest, MANIFEST, &one.manifest)
            .await
            .expect(201);
        admin
            .put_manifest(APP, "latest", MANIFEST, &one.manifest)
            .await
            .expect(201);
        for path in [
            format!("/api/v2.0{OF_APP}/v1/tags/v1"),
            format!("/api/v2.0{OF_APP}/v1"),
            format!("/v2/{APP}/manifests/{digest}"),
        ] {
            let refused = admin.delete(&path).await.refused(412, "PRECONDITION");
            assert_eq!(
                refused.message(),
                "the tag v1 configured as immutable, cannot be deleted",
                "{path}"
            );
        }
        let told = admin
            .api_get(&format!("{OF_APP}/v1?with_immutable_status=true"))
            .await
            .expect(200)
            .json();
        let status = |name: &str| {
            let tags = told["tags"].as_array().expect("tags");
            let tag = tags.iter().find(|tag| tag["name"] == name);
            tag.expect(name)["immutable"].clone()
        };
        assert_eq!(
            (status("v1"), status("latest")),
            (json!(true), json!(false))
        );
        let listed = admin
            .api_get(&format!("{OF_APP}/v1/tags?with_immutable_status=true"))
            .await
            .expect(200)
            .json();
        assert_eq!(listed[0]["immutable"], true);
    });
}

#[test]
fn of_two_first_pushes_of_an_immutable_tag_one_wins() {
    on_both(async |seawall| {
        make_immutable(&seawall.admin(), "**").await;
        let admin = seawall.admin();
        for round in 0..5 {
            let images: Vec<Image> = (0..4)
                .map(|other| Image::new(&format!("{round} {other}")))
                .collect();
            for image in &images {
                admin.push(APP, &image.digest(), image).await;
            }
            let tag = format!("v{round}");
            let pushes = images
                .iter()
                .map(|image| admin.put_manifest(APP, &tag, MANIFEST, &image.manifest));
            let answers = futures_util::future::join_all(pushes).await;
            let won = answers.iter().filter(|answer| answer.status == 201).count();
            let lost = answers.iter().filter(|answer| {
                answer.status == 412 && answer.message().contains("configured as immutable")
            });
            assert_eq!((won, lost.count()), (1, 3));
        }
    });
}
