//! Labels through the API.

use serde_json::{Value, json};

use crate::harness::{Client, on_both};

/// Makes a label; its path comes back.
async fn made(client: &Client, body: Value) -> String {
    let answer = client.api("POST", "/labels", &body).await.expect(201);
    let location = answer.header("location");
    location
        .strip_prefix("/api/v2.0")
        .expect("below the API")
        .to_owned()
}

#[test]
fn a_label_is_made_shown_changed_and_deleted() {
    on_both(async |seawall| {
        let admin = seawall.admin();
        let path = made(
            &admin,
            json!({ "name": "good", "color": "#00FF00", "scope": "g" }),
        )
        .await;
        let mut label = admin.api_get(&path).await.expect(200).json();
        assert_eq!(
            (&label["name"], &label["scope"]),
            (&json!("good"), &json!("g"))
        );
        label["name"] = json!("better");
        label["description"] = json!("as it should be");
        admin.api("PUT", &path, &label).await.expect(200);
        let changed = admin.api_get(&path).await.expect(200).json();
        assert_eq!(
            (&changed["name"], &changed["description"]),
            (&label["name"], &label["description"])
        );
        assert_eq!(changed["color"], "#00FF00");
        admin.delete(&format!("/api/v2.0{path}")).await.expect(200);
        admin.api_get(&path).await.refused(404, "NOT_FOUND");
        admin
            .delete(&format!("/api/v2.0{path}"))
            .await
            .refused(404, "NOT_FOUND");
    });
}

#[test]
fn a_labels_name_is_its_own_where_it_belongs() {
    on_both(async |seawall| {
        let admin = seawall.admin();
        let global = json!({ "name": "good", "scope": "g" });
        let of_project = json!({ "name": "good", "scope": "p", "project_id": 1 });
        let path = made(&admin, global.clone()).await;
        made(&admin, of_project.clone()).await;
        admin
            .api("POST", "/labels", &global)
            .await
            .refused(409, "CONFLICT");
        admin
            .api("POST", "/labels", &of_project)
            .await
            .refused(409, "CONFLICT");
        made(&admin, json!({ "name": "other", "scope": "g" })).await;
        let taken = json!({ "name": "other" });
        admin
            .api("PUT", &path, &taken)
            .await
            .refused(409, "CONFLICT");
    });
}

#[test]
fn what_is_no_label_is_refused() {
    on_both(async |seawall| {
        let admin = seawall.admin();
        for bad in [
            json!({ "name": "x", "scope": "q" }),
            json!({ "name": "", "scope": "g" }),
            json!({ "name": "x".repeat(129), "scope": "g" }),
            json!({ "name": "x", "scope": "g", "color": "green" }),
            json!({ "name": "x", "scope": "g", "description": "d".repeat(2000) }),
        ] {
            admin
                .api("POST", "/labels", &bad)
                .await
                .refused(400, "BAD_REQUEST");
        }
        let nowhere = json!({ "name": "x", "scope": "p", "project_id": 4711 });
        admin
            .api("POST", "/labels", &nowhere)
            .await
            .refused(404, "NOT_FOUND");
        admin
            .api_get("/labels/seven")
            .await
            .refused(422, "UNPROCESSABLE_ENTITY");
        let form = admin
            .request("POST", "/api/v2.0/labels")
            .body("name=x")
            .send()
            .await;
        form.refused(415, "UNSUPPORTED_MEDIA_TYPE");
    });
}

#[test]
fn labels_of_the_system_are_the_administrators_and_a_projects_its_maintainers() {
    on_both(async |seawall| {
        let admin = seawall.admin();
        for (name, role) in [("mia", "maintainer"), ("dev", "developer")] {
            seawall.make_user(name);
            seawall.run(&["project", "member", "set", "library", name, role]);
        }
        let (maintainer, developer) = (seawall.user("mia"), seawall.user("dev"));
        let global = json!({ "name": "g", "scope": "g" });
        let of_project = json!({ "name": "p", "scope": "p", "project_id": 1 });
        maintainer
            .api("POST", "/labels", &global)
            .await
            .refused(403, "FORBIDDEN");
        developer
            .api("POST", "/labels", &of_project)
            .await
            .refused(403, "FORBIDDEN");
        seawall
            .stranger()
            .api("POST", "/labels", &of_project)
            .await
            .refused(401, "UNAUTHORIZED");
        let path = made(&maintainer, of_project).await;
        developer.api_get(&path).await.expect(200);
        developer
            .delete(&format!("/api/v2.0{path}"))
            .await
            .refused(403, "FORBIDDEN");
        seawall
            .stranger()
            .api_get(&path)
            .await
            .refused(401, "UNAUTHORIZED");
        let global = made(&admin, global).await;
        maintainer.api_get(&global).await.refused(403, "FORBIDDEN");
        maintainer
            .delete(&format!("/api/v2.0{path}"))
            .await
            .expect(200);
    });
}

#[test]
fn labels_are_listed_by_scope_and_name() {
    on_both(async |seawall| {
        let admin = seawall.admin();
        for name in ["alpha", "beta", "gamma"] {
            made(&admin, json!({ "name": name, "scope": "g" })).await;
        }
        made(
            &admin,
            json!({ "name": "local", "scope": "p", "project_id": 1 }),
        )
        .await;
        let stranger = seawall.stranger();
        let page = stranger
            .api_get("/labels?scope=g&page_size=2&page=2")
            .await
            .expect(200);
        assert_eq!(page.header("x-total-count"), "3");
        assert_eq!(
            page.header("link"),
            "</api/v2.0/labels?scope=g&page=1&page_size=2>; rel=\"prev\""
        );
        assert_eq!(names(&page.json()), ["gamma"]);
        let found = stranger
            .api_get("/labels?scope=g&name=ET")
            .await
            .expect(200);
        assert_eq!(names(&found.json()), ["beta"]);
        let sorted = stranger
            .api_get("/labels?scope=g&sort=-name")
            .await
            .expect(200);
        assert_eq!(names(&sorted.json()), ["gamma", "beta", "alpha"]);
        let local = stranger
            .api_get("/labels?scope=p&project_id=1")
            .await
            .expect(200);
        assert_eq!(names(&local.json()), ["local"]);
        assert_eq!(
            stranger
                .api_get("/labels?scope=g&page=9")
                .await
                .expect(200)
                .json(),
            json!([])
        );
        for bad in ["", "?scope=x", "?scope=p"] {
            stranger
                .api_get(&format!("/labels{bad}"))
                .await
                .refused(400, "BAD_REQUEST");
        }
        seawall.run(&["project", "create", "hidden"]);
        stranger
            .api_get("/labels?scope=p&project_id=2")
            .await
            .refused(401, "UNAUTHORIZED");
    });
}

fn names(labels: &Value) -> Vec<&str> {
    let labels = labels.as_array().expect("a list");
    labels
        .iter()
        .filter_map(|label| label["name"].as_str())
        .collect()
}

#[test]
fn of_labels_that_are_renamed_alike_at_once_one_gets_the_name() {
    on_both(async |seawall| {
        let admin = seawall.admin();
        let mut paths = Vec::new();
        for number in 0..8 {
            let label = json!({ "name": format!("l{number}"), "scope": "g" });
            paths.push(made(&admin, label).await);
        }
        let wanted = json!({ "name": "same" });
        let renames = paths.iter().map(|path| admin.api("PUT", path, &wanted));
        let answers = futures_util::future::join_all(renames).await;
        let statuses: Vec<u16> = answers.iter().map(|one| one.status.as_u16()).collect();
        let count = |status| statuses.iter().filter(|one| **one == status).count();
        assert_eq!((count(200), count(409)), (1, 7), "{statuses:?}");
    });
}
