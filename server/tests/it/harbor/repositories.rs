//! Repositories through the API: who sees which, filters, pages, names of many segments.

use serde_json::json;

use crate::harness::{Answer, Client, Image, Seawall, on_both};

fn names(answer: &Answer) -> Vec<String> {
    let rows = answer.json();
    let rows = rows.as_array().expect("a list");
    rows.iter()
        .map(|row| row["name"].as_str().expect("a name").to_owned())
        .collect()
}

async fn push(client: &Client, repository: &str, reference: &str) -> String {
    client
        .push(repository, reference, &Image::new(repository))
        .await
}

/// A private project `team` with a repository, a public one with two, and somebody who is in neither.
async fn some_repositories(seawall: &Seawall) {
    seawall.run(&["project", "create", "team"]);
    let admin = seawall.admin();
    push(&admin, "library/one", "v1").await;
    push(&admin, "library/deep/er/two", "v1").await;
    push(&admin, "team/three", "v1").await;
    seawall.make_user("outsider");
}

#[test]
fn everybody_lists_the_repositories_that_he_may_look_into() {
    on_both(async |seawall| {
        some_repositories(seawall).await;
        let all = seawall.admin().api_get("/repositories").await.expect(200);
        assert_eq!(
            names(&all),
            ["team/three", "library/deep/er/two", "library/one"]
        );
        assert_eq!(all.header("x-total-count"), "3");
        for client in [seawall.user("outsider"), seawall.stranger()] {
            let public = client.api_get("/repositories").await.expect(200);
            assert_eq!(names(&public), ["library/deep/er/two", "library/one"]);
            assert_eq!(public.header("x-total-count"), "2");
        }
    });
}

#[test]
fn repositories_of_a_project_are_filtered_sorted_and_paged() {
    on_both(async |seawall| {
        some_repositories(seawall).await;
        let admin = seawall.admin();
        for (query, expected) in [
            ("", vec!["library/deep/er/two", "library/one"]),
            ("?sort=name", vec!["library/deep/er/two", "library/one"]),
            ("?sort=-name", vec!["library/one", "library/deep/er/two"]),
            ("?q=name%3D~two", vec!["library/deep/er/two"]),
            ("?q=name%3Dlibrary/one", vec!["library/one"]),
            ("?page_size=1&page=2", vec!["library/one"]),
            ("?page=7", vec![]),
            ("?page_size=-1", vec!["library/deep/er/two", "library/one"]),
        ] {
            let listed = admin
                .api_get(&format!("/projects/library/repositories{query}"))
                .await
                .expect(200);
            assert_eq!(names(&listed), expected, "{query}");
        }
        let page = admin
            .api_get("/projects/library/repositories?page_size=1")
            .await
            .expect(200);
        assert_eq!(
            page.header("link"),
            "</api/v2.0/projects/library/repositories?page=2&page_size=1>; rel=\"next\""
        );
        admin
            .api_get("/projects/library/repositories?page_size=101")
            .await
            .refused(422, "UNPROCESSABLE_ENTITY");
        admin
            .api_get("/projects/library/repositories?q=name")
            .await
            .refused(400, "BAD_REQUEST");
    });
}

#[test]
fn repositories_of_a_private_project_are_hidden_from_outsiders() {
    on_both(async |seawall| {
        some_repositories(seawall).await;
        for path in [
            "/projects/team/repositories",
            "/projects/team/repositories/three",
        ] {
            seawall.admin().api_get(path).await.expect(200);
            seawall
                .user("outsider")
                .api_get(path)
                .await
                .refused(403, "FORBIDDEN");
            seawall
                .stranger()
                .api_get(path)
                .await
                .refused(401, "UNAUTHORIZED");
        }
    });
}

#[test]
fn one_repository_is_found_by_its_name_escaped_once_or_twice() {
    on_both(async |seawall| {
        some_repositories(seawall).await;
        let admin = seawall.admin();
        for escaped in ["deep%252Fer%252Ftwo", "deep%2Fer%2Ftwo"] {
            let found = admin
                .api_get(&format!("/projects/library/repositories/{escaped}"))
                .await
                .expect(200)
                .json();
            assert_eq!(found["name"], "library/deep/er/two", "{escaped}");
            assert_eq!(found["artifact_count"], 1);
            assert_eq!(found["pull_count"], 0);
            assert!(found.get("description").is_none(), "{found}");
        }
        admin
            .api_get("/projects/library/repositories/nothing")
            .await
            .refused(404, "NOT_FOUND");
    });
}

#[test]
fn only_repositories_that_hold_a_content_are_told_to_hold_it() {
    on_both(async |seawall| {
        some_repositories(seawall).await;
        let layer = crate::harness::digest(&Image::new("team/three").layer);
        let path = format!("/repositories?q=blob_digest%3D{layer}&page_size=1&page_number=1");
        let holders = seawall.admin().api_get(&path).await.expect(200);
        assert_eq!(names(&holders), ["team/three"]);
        let hidden = seawall.user("outsider").api_get(&path).await.expect(200);
        assert_eq!(hidden.json(), json!([]));
        let nowhere = format!("/repositories?q=blob_digest%3Dsha256:{}", "0".repeat(64));
        let none = seawall.admin().api_get(&nowhere).await.expect(200);
        assert_eq!(none.json(), json!([]));
    });
}

#[test]
fn a_description_is_kept_without_markup() {
    on_both(async |seawall| {
        some_repositories(seawall).await;
        let path = "/projects/library/repositories/deep%252Fer%252Ftwo";
        let admin = seawall.admin();
        let words = json!({ "description": "<b>bold & \"loud\"</b>" });
        admin.api("PUT", path, &words).await.expect(200);
        assert_eq!(
            admin.api_get(path).await.json()["description"],
            "&lt;b&gt;bold &amp; &#34;loud&#34;&lt;/b&gt;"
        );
        let outsider = seawall.user("outsider");
        outsider
            .api("PUT", path, &words)
            .await
            .refused(403, "FORBIDDEN");
        let long = json!({ "description": "x".repeat(70_000) });
        admin
            .api("PUT", path, &long)
            .await
            .refused(400, "BAD_REQUEST");
        admin
            .api("PUT", "/projects/library/repositories/none", &words)
            .await
            .refused(404, "NOT_FOUND");
    });
}

#[test]
fn a_repository_goes_with_all_it_holds() {
    on_both(async |seawall| {
        let admin = seawall.admin();
        let image = Image::new("gone");
        admin.push("library/gone/app", "v1", &image).await;
        let path = "/api/v2.0/projects/library/repositories/gone%252Fapp";
        seawall.make_user("dev");
        seawall.run(&["project", "member", "set", "library", "dev", "developer"]);
        seawall
            .user("dev")
            .delete(path)
            .await
            .refused(403, "FORBIDDEN");
        admin.delete(path).await.expect(200);
        admin.delete(path).await.refused(404, "NOT_FOUND");
        admin
            .get("/v2/library/gone/app/manifests/v1")
            .await
            .expect(404);
        admin.push("library/gone/app", "v1", &image).await;
        admin
            .get("/v2/library/gone/app/manifests/v1")
            .await
            .expect(200);
    });
}
