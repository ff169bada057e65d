//! Robots through the API.

use serde_json::{Value, json};

use crate::harness::{Image, on_both};

fn of_project(name: &str, project: &str, access: &[(&str, &str)]) -> Value {
    json!({ "name": name, "level": "project", "duration": 30, "permissions": [
        { "kind": "project", "namespace": project, "access": pairs(access) } ] })
}

fn of_system(name: &str, access: &[(&str, &str)]) -> Value {
    json!({ "name": name, "level": "system", "duration": -1, "permissions": [
        { "kind": "system", "namespace": "/", "access": pairs(access) } ] })
}

fn pairs(access: &[(&str, &str)]) -> Value {
    let pair =
        |(resource, action): &(&str, &str)| json!({ "resource": resource, "action": action });
    access.iter().map(pair).collect()
}

#[test]
fn a_robot_of_a_project_pushes_there() {
    on_both(async |seawall| {
        let body = of_project(
            "ci",
            "library",
            &[("repository", "push"), ("repository", "pull")],
        );
        let answer = seawall
            .admin()
            .api("POST", "/robots", &body)
            .await
            .expect(201);
        let told = answer.json();
        assert_eq!(
            answer.header("location"),
            format!("/api/v2.0/robots/{}", told["id"])
        );
        assert_eq!(told["name"], "robot$library+ci");
        assert_eq!(told["secret"].as_str().expect("a secret").len(), 32);
        let robot = seawall.stranger().with_basic(
            "robot$library+ci",
            told["secret"].as_str().expect("a secret"),
        );
        robot.push("library/app", "v1", &Image::new("robot")).await;
    });
}

#[test]
fn a_robot_is_shown_as_it_was_made_but_without_its_secret() {
    on_both(async |seawall| {
        let access = [("repository", "pull"), ("artifact", "list")];
        let (told, _) = seawall
            .make_robot(&of_project("ci", "library", &access))
            .await;
        let robot = seawall
            .admin()
            .api_get(&format!("/robots/{}", told["id"]))
            .await
            .expect(200)
            .json();
        assert_eq!(robot["name"], "robot$library+ci");
        assert_eq!(
            (&robot["level"], &robot["duration"]),
            (&json!("project"), &json!(30))
        );
        assert_eq!(
            (&robot["editable"], &robot["disable"]),
            (&json!(true), &json!(false))
        );
        assert_eq!(robot["expires_at"], told["expires_at"]);
        assert_eq!(
            (&robot["creator_type"], &robot["creator_ref"]),
            (&json!("local"), &json!(1))
        );
        assert!(robot.get("secret").is_none());
        let permission = &robot["permissions"][0];
        assert_eq!(
            (&permission["kind"], &permission["namespace"]),
            (&json!("project"), &json!("library"))
        );
        assert_eq!(permission["access"].as_array().expect("pairs").len(), 2);
    });
}

#[test]
fn a_mistake_is_told_before_the_caller_is_asked_who_he_is() {
    on_both(async |seawall| {
        let good = of_project("ci", "library", &[("repository", "pull")]);
        let stranger = seawall.stranger();
        stranger
            .api("POST", "/robots", &good)
            .await
            .refused(401, "UNAUTHORIZED");
        for (field, value) in [
            ("name", json!("Not A Name")),
            ("name", json!("")),
            ("duration", json!(0)),
            ("duration", json!(-2)),
            ("level", json!("galaxy")),
            ("permissions", json!([])),
            (
                "permissions",
                json!([{ "kind": "project", "namespace": "library", "access": [] }]),
            ),
            (
                "permissions",
                json!([{ "kind": "project", "namespace": "*", "access": pairs(&[("repository", "pull")]) }]),
            ),
            (
                "permissions",
                json!([{ "kind": "project", "namespace": "library", "access": pairs(&[("robot", "update")]) }]),
            ),
            (
                "permissions",
                json!([{ "kind": "system", "namespace": "/", "access": pairs(&[("repository", "pull")]) }]),
            ),
        ] {
            let mut bad = good.clone();
            bad[field] = value;
            stranger
                .api("POST", "/robots", &bad)
                .await
                .refused(400, "BAD_REQUEST");
        }
        let elsewhere = of_project("ci", "nope", &[("repository", "pull")]);
        seawall
            .admin()
            .api("POST", "/robots", &elsewhere)
            .await
            .refused(404, "NOT_FOUND");
        seawall
            .admin()
            .api("POST", "/robots", &good)
            .await
            .expect(201);
        seawall
            .admin()
            .api("POST", "/robots", &good)
            .await
            .refused(409, "CONFLICT");
    });
}

#[test]
fn a_robot_gives_no_more_than_it_has() {
    on_both(async |seawall| {
        let access = [("robot", "create"), ("repository", "pull")];
        let (_, robot) = seawall
            .make_robot(&of_project("maker", "library", &access))
            .await;
        let same = of_project("child", "library", &[("repository", "pull")]);
        robot.api("POST", "/robots", &same).await.expect(201);
        let more = of_project("greedy", "library", &[("repository", "push")]);
        robot
            .api("POST", "/robots", &more)
            .await
            .refused(403, "DENIED");
        let system = of_system("big", &[("robot", "create")]);
        robot
            .api("POST", "/robots", &system)
            .await
            .refused(403, "FORBIDDEN");
    });
}

#[test]
fn a_robot_of_the_system_does_what_it_was_given() {
    on_both(async |seawall| {
        let (_, robot) = seawall
            .make_robot(&of_system("ops", &[("robot", "read"), ("catalog", "read")]))
            .await;
        let (other, _) = seawall
            .make_robot(&of_system("other", &[("catalog", "read")]))
            .await;
        robot
            .api_get(&format!("/robots/{}", other["id"]))
            .await
            .expect(200);
        let path = format!("/robots/{}", other["id"]);
        robot
            .delete(&format!("/api/v2.0{path}"))
            .await
            .refused(403, "FORBIDDEN");
        robot
            .api_get("/robots/4711")
            .await
            .refused(404, "NOT_FOUND");
        robot
            .api_get("/robots/seven")
            .await
            .refused(422, "UNPROCESSABLE_ENTITY");
    });
}

#[test]
fn an_update_replaces_permissions_and_takes_effect_at_once() {
    on_both(async |seawall| {
        let image = Image::new("update");
        let (told, robot) = seawall
            .make_robot(&of_project("ci", "library", &[("repository", "push")]))
            .await;
        robot.push("library/app", "v1", &image).await;
        let path = format!("/robots/{}", told["id"]);
        let admin = seawall.admin();
        let mut edit = admin.api_get(&path).await.expect(200).json();
        edit["permissions"][0]["access"] = pairs(&[("repository", "pull")]);
        edit["description"] = json!("only looks");
        admin.api("PUT", &path, &edit).await.expect(200);
        robot.pull("library/app", "v1", &image).await;
        robot
            .post("/v2/library/app/blobs/uploads/")
            .await
            .refused(401, "UNAUTHORIZED");
        edit["disable"] = json!(true);
        admin.api("PUT", &path, &edit).await.expect(200);
        robot.get("/v2/").await.refused(401, "UNAUTHORIZED");
        assert_eq!(
            admin.api_get(&path).await.expect(200).json()["description"],
            "only looks"
        );
        for (field, value) in [
            ("name", json!("robot$library+new")),
            ("level", json!("system")),
        ] {
            let mut bad = edit.clone();
            bad[field] = value;
            admin
                .api("PUT", &path, &bad)
                .await
                .refused(400, "BAD_REQUEST");
        }
    });
}

#[test]
fn a_changed_duration_counts_from_the_robots_creation() {
    on_both(async |seawall| {
        let (told, _) = seawall
            .make_robot(&of_project("ci", "library", &[("repository", "pull")]))
            .await;
        let path = format!("/robots/{}", told["id"]);
        let admin = seawall.admin();
        let mut edit = admin.api_get(&path).await.expect(200).json();
        let before = edit["expires_at"].as_i64().expect("seconds");
        edit["duration"] = json!(31);
        admin.api("PUT", &path, &edit).await.expect(200);
        let after = admin.api_get(&path).await.expect(200).json();
        assert_eq!(after["expires_at"].as_i64(), Some(before + 86_400));
        edit.as_object_mut().expect("an object").remove("duration");
        admin.api("PUT", &path, &edit).await.expect(200);
        let kept = admin.api_get(&path).await.expect(200).json();
        assert_eq!(kept["expires_at"], after["expires_at"]);
    });
}

#[test]
fn a_new_secret_ends_the_old_one() {
    on_both(async |seawall| {
        let (told, old) = seawall
            .make_robot(&of_project("ci", "library", &[("repository", "pull")]))
            .await;
        let path = format!("/robots/{}", told["id"]);
        let admin = seawall.admin();
        old.get("/v2/").await.expect(200);
        let fresh = admin
            .api("PATCH", &path, &json!({ "secret": "" }))
            .await
            .expect(200)
            .json();
        old.get("/v2/").await.refused(401, "UNAUTHORIZED");
        let name = told["name"].as_str().expect("a name");
        let new = fresh["secret"].as_str().expect("a secret");
        seawall
            .stranger()
            .with_basic(name, new)
            .get("/v2/")
            .await
            .expect(200);
        let own = json!({ "secret": "Chosen4Myself" });
        assert_eq!(
            admin.api("PATCH", &path, &own).await.expect(200).json(),
            json!({})
        );
        seawall
            .stranger()
            .with_basic(name, "Chosen4Myself")
            .get("/v2/")
            .await
            .expect(200);
        admin
            .api("PATCH", &path, &json!({ "secret": "weak" }))
            .await
            .refused(400, "BAD_REQUEST");
    });
}

#[test]
fn a_deleted_robot_is_gone() {
    on_both(async |seawall| {
        let (told, robot) = seawall
            .make_robot(&of_project("ci", "library", &[("repository", "pull")]))
            .await;
        let path = format!("/api/v2.0/robots/{}", told["id"]);
        robot.get("/v2/").await.expect(200);
        seawall.admin().delete(&path).await.expect(200);
        robot.get("/v2/").await.refused(401, "UNAUTHORIZED");
        seawall
            .admin()
            .delete(&path)
            .await
            .refused(404, "NOT_FOUND");
        seawall
            .stranger()
            .delete(&path)
            .await
            .refused(401, "UNAUTHORIZED");
    });
}

#[test]
fn robots_are_listed_where_they_belong() {
    on_both(async |seawall| {
        for name in ["one", "two"] {
            seawall
                .make_robot(&of_project(name, "library", &[("repository", "pull")]))
                .await;
        }
        let (_, ops) = seawall
            .make_robot(&of_system("ops", &[("robot", "list")]))
            .await;
        let admin = seawall.admin();
        let system = ops.api_get("/robots").await.expect(200);
        assert_eq!(system.header("x-total-count"), "1");
        assert_eq!(system.json()[0]["name"], "robot$ops");
        let q = "/robots?q=Level%3Dproject%2CProjectID%3D1";
        let listed = admin.api_get(&format!("{q}&sort=-name")).await.expect(200);
        let names: Vec<_> = listed
            .json()
            .as_array()
            .expect("robots")
            .iter()
            .map(|one| one["name"].clone())
            .collect();
        assert_eq!(names, ["robot$library+two", "robot$library+one"]);
        assert_eq!(
            listed.json()[0]["permissions"][0]["access"][0]["action"],
            "pull"
        );
        for bad in [
            "Level%3Dproject",
            "Level%3Dproject%2CProjectID%3D0",
            "Level%3Dgalaxy",
            "nonsense",
        ] {
            admin
                .api_get(&format!("/robots?q={bad}"))
                .await
                .refused(400, "BAD_REQUEST");
        }
        seawall.make_user("somebody");
        seawall
            .user("somebody")
            .api_get("/robots")
            .await
            .refused(403, "FORBIDDEN");
        seawall
            .user("somebody")
            .api_get(q)
            .await
            .refused(403, "FORBIDDEN");
        seawall
            .stranger()
            .api_get("/robots")
            .await
            .refused(401, "UNAUTHORIZED");
    });
}
