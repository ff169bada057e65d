//! Copying artifacts from repository to repository.

use super::{
    artifacts::{attach, push_index},
    immutable_rules::make_immutable,
};
use crate::harness::{Image, on_both};

fn copy_to(repository: &str, from: &str) -> String {
    format!("/api/v2.0/projects/library/repositories/{repository}/artifacts?from={from}")
}

#[test]
fn an_artifact_is_copied_with_its_tags_and_can_be_pulled() {
    on_both(async |seawall| {
        let admin = seawall.admin();
        seawall.run(&["project", "create", "team"]);
        let image = Image::new("copied");
        let digest = admin.push("team/app", "v1", &image).await;
        admin
            .api(
                "POST",
                "/projects/team/repositories/app/artifacts/v1/tags",
                &serde_json::json!({ "name": "stable" }),
            )
            .await
            .expect(201);
        let path = copy_to("deep%252Fcopy", "team/app:v1");
        let copied = admin.post(&path).await.expect(201);
        assert_eq!(
            copied.header("location"),
            "/api/v2.0/projects/library/repositories/deep%252Fcopy/artifacts/v1"
        );
        for reference in ["v1", "stable", &digest] {
            admin.pull("library/deep/copy", reference, &image).await;
        }
        // The same again changes nothing.
        let path = copy_to("deep%252Fcopy", &format!("team/app@{digest}"));
        let again = admin.post(&path).await.expect(201);
        assert!(again.header("location").ends_with(&digest));
    });
}

#[test]
fn an_index_is_copied_with_its_parts_and_all_accessories() {
    on_both(async |seawall| {
        let admin = seawall.admin();
        let parts = [Image::new("part one"), Image::new("part two")];
        for part in &parts {
            admin.push("library/app", &part.digest(), part).await;
        }
        let index = push_index(&admin, "library/app", "v1", &parts).await;
        let note = attach(
            &admin,
            "library/app",
            &parts[1],
            "application/vnd.example.note",
        )
        .await;
        admin
            .post(&copy_to("copy", "library/app:v1"))
            .await
            .expect(201);
        for part in &parts {
            admin.pull("library/copy", &part.digest(), part).await;
        }
        for digest in [&index, &note] {
            let path = format!("/v2/library/copy/manifests/{digest}");
            admin.get(&path).await.expect(200);
        }
    });
}

#[test]
fn copies_need_rights_on_both_sides_and_a_source() {
    on_both(async |seawall| {
        let admin = seawall.admin();
        seawall.run(&["project", "create", "team"]);
        admin.push("team/app", "v1", &Image::new("one")).await;
        seawall.make_user("outsider");
        let outsider = seawall.user("outsider");
        let path = copy_to("copy", "team/app:v1");
        outsider.post(&path).await.refused(403, "FORBIDDEN");
        seawall
            .stranger()
            .post(&path)
            .await
            .refused(401, "UNAUTHORIZED");
        for (from, status, code) in [
            ("team/app:v2", 404, "NOT_FOUND"),
            ("team/none:v1", 404, "NOT_FOUND"),
            ("nowhere/app:v1", 404, "NOT_FOUND"),
            ("team/app", 404, "NOT_FOUND"),
            ("team/app@v1", 400, "BAD_REQUEST"),
            ("TEAM", 400, "BAD_REQUEST"),
            ("", 422, "UNPROCESSABLE_ENTITY"),
        ] {
            let refused = admin.post(&copy_to("copy", from)).await;
            refused.refused(status, code);
        }
    });
}

#[test]
fn nothing_is_copied_onto_an_immutable_tag() {
    on_both(async |seawall| {
        let admin = seawall.admin();
        seawall.run(&["project", "create", "team"]);
        admin.push("team/app", "v1", &Image::new("new")).await;
        let old = Image::new("old");
        admin.push("library/copy", "v1", &old).await;
        make_immutable(&admin, "**").await;
        let refused = admin.post(&copy_to("copy", "team/app:v1")).await;
        assert_eq!(
            refused.refused(412, "PRECONDITION").message(),
            "the tag v1 configured as immutable, cannot be updated"
        );
        admin.pull("library/copy", "v1", &old).await;
        // What is there already may be copied once more.
        admin
            .post(&copy_to("other", "library/copy:v1"))
            .await
            .expect(201);
        admin
            .post(&copy_to("other", "library/copy:v1"))
            .await
            .expect(201);
    });
}

#[test]
fn an_artifact_of_many_tags_is_copied_with_all_of_them() {
    on_both(async |seawall| {
        let admin = seawall.admin();
        admin.push("library/app", "v1", &Image::new("one")).await;
        seawall.sql(
            "WITH RECURSIVE numbers(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM numbers WHERE n < 150)
             INSERT INTO tags (repository_id, name, artifact_id, digest, clock, node, pushed_at, uid)
             SELECT t.repository_id, 't' || n, t.artifact_id, t.digest, 0, 'n', 0, 'u' || n FROM numbers, tags t WHERE t.name = 'v1'",
        );
        admin
            .post("/api/v2.0/projects/library/repositories/copy/artifacts?from=library/app:v1")
            .await
            .expect(201);
        let tags = "/projects/library/repositories/copy/artifacts/t150/tags?page_size=0";
        let tags = admin.api_get(tags).await.expect(200);
        assert_eq!(tags.json().as_array().map(Vec::len), Some(151));
    });
}
