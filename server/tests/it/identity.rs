//! Who may do what under `/v2`, and what each is told.

use crate::harness::{Image, digest, image::MANIFEST, on_both};

#[test]
fn a_stranger_is_told_where_to_get_a_token() {
    on_both(async |seawall| {
        let stranger = seawall.stranger();
        let host = seawall.address().to_owned();
        let realm =
            format!("Bearer realm=\"http://{host}/service/token\",service=\"harbor-registry\"");
        for (method, path, scope) in [
            ("GET", "/v2/", ""),
            (
                "GET",
                "/v2/library/x/manifests/v1",
                ",scope=\"repository:library/x:pull\"",
            ),
            (
                "HEAD",
                "/v2/library/x/manifests/v1",
                ",scope=\"repository:library/x:pull\"",
            ),
            (
                "POST",
                "/v2/library/x/blobs/uploads/",
                ",scope=\"repository:library/x:pull,push\"",
            ),
            (
                "DELETE",
                "/v2/library/x/manifests/v1",
                ",scope=\"repository:library/x:delete\"",
            ),
            (
                "POST",
                "/v2/library/x/blobs/uploads/?mount=sha256:0000000000000000000000000000000000000000000000000000000000000000&from=library/y",
                ",scope=\"repository:library/x:pull,push repository:library/y:pull\"",
            ),
        ] {
            let answer = stranger.request(method, path).send().await.expect(401);
            assert_eq!(
                answer.header("www-authenticate"),
                format!("{realm}{scope}"),
                "{method} {path}"
            );
            assert_eq!(
                answer.header("docker-distribution-api-version"),
                "registry/2.0"
            );
        }
        assert_eq!(
            stranger
                .get("/v2/_catalog")
                .await
                .expect(401)
                .header("www-authenticate"),
            "Basic realm=\"harbor\""
        );
        assert_eq!(seawall.admin().get("/v2/").await.expect(200).text(), "{}");
    });
}

#[test]
fn anonymous_people_pull_from_public_projects_with_a_token() {
    on_both(async |seawall| {
        seawall.run(&["project", "create", "private"]);
        let (admin, image) = (seawall.admin(), Image::new("public"));
        admin.push("library/app", "v1", &image).await;
        admin.push("private/app", "v1", &image).await;
        let anonymous = seawall.stranger();
        anonymous
            .token("repository:library/app:pull")
            .await
            .pull("library/app", "v1", &image)
            .await;
        let token = anonymous.token("repository:private/app:pull").await;
        let refused = token
            .get("/v2/private/app/manifests/v1")
            .await
            .refused(401, "UNAUTHORIZED");
        assert!(
            refused
                .message()
                .contains("unauthorized to access repository: private/app, action: pull"),
            "{}",
            refused.text()
        );
        let token = anonymous.token("repository:library/app:pull,push").await;
        token
            .post("/v2/library/app/blobs/uploads/")
            .await
            .refused(401, "UNAUTHORIZED");
    });
}

#[test]
fn each_role_may_do_what_harbors_matrix_says() {
    on_both(async |seawall| {
        seawall.run(&["project", "create", "team"]);
        let (admin, image) = (seawall.admin(), Image::new("roles"));
        admin.push("team/app", "v1", &image).await;
        for (role, push, delete) in [
            ("limited-guest", false, false),
            ("guest", false, false),
            ("developer", true, false),
            ("maintainer", true, true),
            ("project-admin", true, true),
        ] {
            seawall.make_user(role);
            let user = seawall.stranger().with_basic(role, "Harbor12345");
            user.get("/v2/team/app/manifests/v1")
                .await
                .refused(401, "UNAUTHORIZED");
            seawall.run(&["project", "member", "set", "team", role, role]);
            user.pull("team/app", "v1", &image).await;
            let pushed = user
                .put_manifest("team/app", role, MANIFEST, &image.manifest)
                .await;
            assert_eq!(pushed.status == 201, push, "{role} push: {}", pushed.status);
            let tag = admin
                .put_manifest("team/app", "gone", MANIFEST, &image.manifest)
                .await;
            tag.expect(201);
            let deleted = user.delete("/v2/team/app/manifests/gone").await;
            assert_eq!(
                deleted.status == 202,
                delete,
                "{role} delete: {}",
                deleted.status
            );
            // Taken away, it is taken away from the next request on.
            seawall.run(&["project", "member", "remove", "team", role]);
            user.get("/v2/team/app/manifests/v1")
                .await
                .refused(401, "UNAUTHORIZED");
        }
    });
}

#[test]
fn a_token_that_is_too_narrow_or_no_good_gets_a_new_challenge() {
    on_both(async |seawall| {
        let (admin, image) = (seawall.admin(), Image::new("narrow"));
        admin.push("library/app", "v1", &image).await;
        let pull = admin.token("repository:library/app:pull").await;
        pull.get("/v2/library/app/manifests/v1").await.expect(200);
        for (method, path, scope) in [
            (
                "POST",
                "/v2/library/app/blobs/uploads/",
                "repository:library/app:pull,push",
            ),
            (
                "GET",
                "/v2/library/other/manifests/v1",
                "repository:library/other:pull",
            ),
        ] {
            let answer = pull
                .request(method, path)
                .send()
                .await
                .refused(401, "UNAUTHORIZED");
            assert!(
                answer.header("www-authenticate").starts_with("Bearer ")
                    && answer.header("www-authenticate").contains(scope)
            );
        }
        for token in ["nonsense", "eyJhbGciOiJub25lIn0.eyJzdWIiOiJhZG1pbiJ9."] {
            let answer = seawall
                .stranger()
                .with_bearer(token)
                .get("/v2/library/app/manifests/v1")
                .await
                .expect(401);
            assert!(answer.header("www-authenticate").starts_with("Bearer "));
        }
    });
}

#[test]
fn the_token_service_answers_as_harbors_does() {
    on_both(async |seawall| {
        let (admin, stranger) = (seawall.admin(), seawall.stranger());
        let login = admin
            .get("/service/token?service=harbor-registry&account=admin")
            .await
            .expect(200);
        assert!(login.json()["expires_in"].as_u64().expect("seconds") > 0);
        let wrong = stranger
            .clone()
            .with_basic("admin", "wrong")
            .get("/service/token?service=harbor-registry")
            .await
            .expect(401);
        assert!(
            wrong.body.is_empty(),
            "docker prints its own words for an empty body"
        );
        stranger
            .get("/service/token?service=harbor-registry")
            .await
            .expect(401);
        stranger.post("/service/token").await.expect(405);
        assert!(
            stranger
                .get("/service/token?service=other")
                .await
                .expect(400)
                .text()
                .contains("Unable to handle service: other")
        );
    });
}

#[test]
fn a_missing_project_is_named() {
    on_both(async |seawall| {
        let answer = seawall
            .admin()
            .post("/v2/nope/app/blobs/uploads/")
            .await
            .refused(401, "UNAUTHORIZED");
        assert!(answer.message().contains("project nope not found"));
        assert_eq!(answer.header("www-authenticate"), "");
    });
}

#[test]
fn a_robot_does_what_it_was_given() {
    on_both(async |seawall| {
        seawall.run(&["project", "create", "team"]);
        let made: serde_json::Value = serde_json::from_str(&seawall.run(&[
            "robot",
            "create",
            "ci",
            "--project",
            "team",
            "--push",
            "--json",
        ]))
        .expect("JSON");
        let (name, secret) = (
            made["name"].as_str().expect("a name"),
            made["secret"].as_str().expect("a secret"),
        );
        assert_eq!(name, "robot$team+ci");
        let (robot, image) = (
            seawall.stranger().with_basic(name, secret),
            Image::new("robot"),
        );
        robot.push("team/app", "v1", &image).await;
        robot.pull("team/app", "v1", &image).await;
        robot
            .delete("/v2/team/app/manifests/v1")
            .await
            .refused(401, "UNAUTHORIZED");
        robot
            .post("/v2/library/app/blobs/uploads/")
            .await
            .refused(401, "UNAUTHORIZED");
        robot
            .token("repository:team/app:pull")
            .await
            .pull("team/app", "v1", &image)
            .await;
        seawall.run(&["robot", "disable", name]);
        robot
            .get(&format!("/v2/team/app/blobs/{}", digest(&image.layer)))
            .await
            .refused(401, "UNAUTHORIZED");
    });
}
