//! People through the API.

use serde_json::{Value, json};

use crate::harness::{Browser, Client, PASSWORD, Seawall, on_both, on_both_with};

fn person(name: &str) -> Value {
    json!({
        "username": name,
        "email": format!("{name}@example.com"),
        "realname": format!("{name} Example"),
        "comment": "made by a test",
        "password": PASSWORD,
    })
}

/// Makes somebody as the administrator does; answers his number.
async fn made(seawall: &Seawall, name: &str) -> i64 {
    let answer = seawall
        .admin()
        .api("POST", "/users", &person(name))
        .await
        .expect(201);
    let location = answer.header("location");
    let id = location.strip_prefix("/api/v2.0/users/").expect("a path");
    id.parse().expect("a number")
}

/// A robot with these rights on the system.
async fn robot(seawall: &Seawall, actions: &[&str]) -> Client {
    let access: Vec<_> = actions
        .iter()
        .map(|action| json!({ "resource": "user", "action": action }))
        .collect();
    let body = json!({ "name": "people", "level": "system", "duration": -1, "permissions": [
        { "kind": "system", "namespace": "/", "access": access } ] });
    seawall.make_robot(&body).await.1
}

#[test]
fn somebody_is_made_and_shown_and_signs_in() {
    on_both(async |seawall| {
        let id = made(seawall, "alice").await;
        let shown = seawall
            .admin()
            .api_get(&format!("/users/{id}"))
            .await
            .expect(200)
            .json();
        for (key, value) in [
            ("user_id", json!(id)),
            ("username", json!("alice")),
            ("email", json!("alice@example.com")),
            ("realname", json!("alice Example")),
            ("comment", json!("made by a test")),
            ("sysadmin_flag", json!(false)),
            ("admin_role_in_auth", json!(false)),
        ] {
            assert_eq!(shown[key], value, "{key}");
        }
        assert!(
            shown["creation_time"]
                .as_str()
                .is_some_and(|time| time.ends_with('Z'))
        );
        assert_eq!(shown["password"], Value::Null);
        let me = seawall
            .user("alice")
            .api_get("/users/current")
            .await
            .expect(200);
        assert_eq!(me.json(), shown);
        let by_address = seawall.stranger().with_basic("alice@example.com", PASSWORD);
        by_address.api_get("/users/current").await.expect(200);
    });
}

#[test]
fn what_is_wrong_with_a_new_user_is_told_in_harbors_order() {
    on_both(async |seawall| {
        let admin = seawall.admin();
        let with = |key: &str, value: &str| {
            let mut body = person("alice");
            body[key] = json!(value);
            body
        };
        let long = "x".repeat(256);
        for (body, message) in [
            (json!({}), "password"),
            (with("password", "weak"), "password"),
            (with("email", ""), "email can't be empty"),
            (with("email", "alice"), "email with illegal format"),
            (with("realname", ""), "realname with illegal length"),
            (with("realname", &long), "realname with illegal length"),
            (
                with("realname", "a$b"),
                "realname contains illegal characters",
            ),
            (
                with("comment", &"x".repeat(31)),
                "comment with illegal length",
            ),
            (with("username", ""), "username with illegal length"),
            (
                with("username", "a,b"),
                "username contains illegal characters",
            ),
            (with("username", "a:b"), "invalid user name"),
        ] {
            let refused = admin.api("POST", "/users", &body).await;
            let refused = refused.refused(400, "BAD_REQUEST");
            assert!(
                refused.message().contains(message),
                "{body}: {}",
                refused.message()
            );
        }
        for key in ["username", "email"] {
            let refused = admin.api("POST", "/users", &with(key, &long)).await;
            refused.refused(422, "UNPROCESSABLE_ENTITY");
        }
        made(seawall, "alice").await;
        let mut same_address = person("bob");
        same_address["email"] = json!("alice@example.com");
        for taken in [person("alice"), same_address] {
            admin
                .api("POST", "/users", &taken)
                .await
                .refused(409, "CONFLICT");
        }
        let form = admin
            .request("POST", "/api/v2.0/users")
            .body("username=alice");
        form.send().await.refused(415, "UNSUPPORTED_MEDIA_TYPE");
    });
}

#[test]
fn only_administrators_and_robots_with_the_right_make_users() {
    on_both(async |seawall| {
        made(seawall, "alice").await;
        let new = person("bob");
        seawall
            .stranger()
            .api("POST", "/users", &new)
            .await
            .refused(401, "UNAUTHORIZED");
        let refused = seawall.user("alice").api("POST", "/users", &new).await;
        assert_eq!(refused.refused(403, "FORBIDDEN").message(), "alice");
        robot(seawall, &["create"])
            .await
            .api("POST", "/users", &new)
            .await
            .expect(201);
        let mut page = Browser::open(seawall.stranger()).await;
        page.api("POST", "/users", &person("carol"))
            .await
            .refused(401, "UNAUTHORIZED");
    });
}

#[test]
fn people_register_themselves_from_a_page_alone() {
    let open = [("SEAWALL_SETTINGS__SELF_REGISTRATION", "true")];
    on_both_with(&open, async |seawall| {
        let refused = seawall
            .stranger()
            .api("POST", "/users", &person("alice"))
            .await;
        assert_eq!(
            refused.refused(403, "FORBIDDEN").message(),
            "self-registration cannot be triggered via API"
        );
        let mut page = Browser::open(seawall.stranger()).await;
        let exists = |target| [("target", target), ("value", "alice")];
        let taken = page.form("/c/userExists", &exists("username")).await;
        assert_eq!(taken.expect(200).json(), json!(false));
        page.api("POST", "/users", &person("alice"))
            .await
            .expect(201);
        let taken = page.form("/c/userExists", &exists("username")).await;
        assert_eq!(taken.expect(200).json(), json!(true));
        page.form("/c/userExists", &exists("shoe"))
            .await
            .expect(400);
        page.login("alice", PASSWORD).await.expect(200);
        let me = page.get("/api/v2.0/users/current").await.expect(200).json();
        assert_eq!(me["sysadmin_flag"], json!(false));
        // Nobody makes accounts, or asks for names, without end.
        let mut refused = 0;
        let mut page = Browser::open(seawall.stranger()).await;
        for n in 0..12 {
            let answer = page
                .api("POST", "/users", &person(&format!("user{n}")))
                .await;
            refused += i32::from(answer.status == 429);
        }
        assert!(refused > 0);
    });
}

#[test]
fn names_are_asked_for_by_administrators_where_nobody_registers_himself() {
    on_both(async |seawall| {
        let fields = [("target", "email"), ("value", "alice@example.com")];
        let mut page = Browser::open(seawall.stranger()).await;
        page.form("/c/userExists", &fields)
            .await
            .refused(412, "PRECONDITION");
        made(seawall, "alice").await;
        let mut admin = Browser::signed_in(seawall.stranger(), "admin").await;
        let taken = admin.form("/c/userExists", &fields).await;
        assert_eq!(taken.expect(200).json(), json!(true));
    });
}

#[test]
fn the_list_has_pages_filters_and_no_first_administrator() {
    on_both(async |seawall| {
        for name in ["alice", "bob", "carol", "Bobby"] {
            made(seawall, name).await;
        }
        let admin = seawall.admin();
        let names = async |query: &str| {
            let answer = admin.api_get(&format!("/users{query}")).await.expect(200);
            let rows = answer.json();
            let names: Vec<String> = rows
                .as_array()
                .expect("a list")
                .iter()
                .map(|row| row["username"].as_str().expect("a name").to_owned())
                .collect();
            (names.join(" "), answer.header("x-total-count").to_owned())
        };
        for (query, expected, total) in [
            ("", "Bobby alice bob carol", "4"),
            ("?page_size=3", "Bobby alice bob", "4"),
            ("?page=2&page_size=3", "carol", "4"),
            ("?page=9&page_size=3", "", "4"),
            ("?page_size=0", "Bobby alice bob carol", "4"),
            ("?sort=-username", "carol bob alice Bobby", "4"),
            ("?sort=user_id", "alice bob carol Bobby", "4"),
            ("?username=bob", "Bobby bob", "2"),
            ("?email=carol@", "carol", "1"),
            ("?q=username%3D~BOB", "Bobby bob", "2"),
            ("?q=username%3Dbob", "bob", "1"),
            ("?q=user_id%3D1", "admin", "1"),
            ("?q=username%3D%7Balice%20carol%7D", "alice carol", "2"),
        ] {
            assert_eq!(
                names(query).await,
                (expected.to_owned(), total.to_owned()),
                "{query}"
            );
        }
        let link = admin.api_get("/users?page=2&page_size=1").await.expect(200);
        assert!(
            link.header("link")
                .contains("rel=\"prev\" , </api/v2.0/users?page=3")
        );
        for wrong in ["?page_size=101", "?page=x"] {
            admin
                .api_get(&format!("/users{wrong}"))
                .await
                .refused(422, "UNPROCESSABLE_ENTITY");
        }
        admin
            .api_get("/users?q=username")
            .await
            .refused(400, "BAD_REQUEST");
        seawall
            .stranger()
            .api_get("/users")
            .await
            .refused(401, "UNAUTHORIZED");
        seawall
            .user("alice")
            .api_get("/users")
            .await
            .refused(403, "FORBIDDEN");
        robot(seawall, &["list"])
            .await
            .api_get("/users")
            .await
            .expect(200);
    });
}

#[test]
fn whoever_signed_in_searches_people_by_name() {
    on_both(async |seawall| {
        for name in ["alice", "bob", "bobby", "100%"] {
            seawall.make_user(if name == "100%" { "a_b" } else { name });
        }
        let alice = seawall.user("alice");
        let found = alice.api_get("/users/search?username=OB").await.expect(200);
        assert_eq!(found.header("x-total-count"), "2");
        let rows = found.json();
        assert_eq!(
            (&rows[0]["username"], &rows[1]["username"]),
            (&json!("bob"), &json!("bobby"))
        );
        assert!(rows[0]["user_id"].is_number());
        assert_eq!(rows[0].as_object().expect("an object").len(), 2);
        let first = alice
            .api_get("/users/search?username=ob&page_size=1&page=2")
            .await;
        assert_eq!(
            first.expect(200).json()[0]["username"],
            "bob",
            "page is passed over"
        );
        for (query, count) in [("_", 1), ("%25", 0), ("nobody", 0)] {
            let found = alice
                .api_get(&format!("/users/search?username={query}"))
                .await;
            assert_eq!(
                found.expect(200).json().as_array().expect("a list").len(),
                count
            );
        }
        alice
            .api_get("/users/search")
            .await
            .refused(422, "UNPROCESSABLE_ENTITY");
        let stranger = seawall.stranger();
        stranger
            .api_get("/users/search?username=a")
            .await
            .refused(401, "UNAUTHORIZED");
    });
}

#[test]
fn each_sees_and_changes_himself_and_administrators_everybody() {
    on_both(async |seawall| {
        let (alice, bob) = (made(seawall, "alice").await, made(seawall, "bob").await);
        let (as_alice, admin) = (seawall.user("alice"), seawall.admin());
        as_alice
            .api_get(&format!("/users/{alice}"))
            .await
            .expect(200);
        let profile = json!({ "email": "a@example.com", "realname": "Alice", "comment": "" });
        let own = format!("/users/{alice}");
        as_alice.api("PUT", &own, &profile).await.expect(200);
        let shown = as_alice.api_get(&own).await.expect(200).json();
        assert_eq!(
            (&shown["email"], &shown["realname"], &shown["comment"]),
            (&json!("a@example.com"), &json!("Alice"), &json!(""))
        );
        for path in [format!("/users/{bob}"), "/users/1".to_owned()] {
            as_alice.api_get(&path).await.refused(403, "FORBIDDEN");
            as_alice
                .api("PUT", &path, &profile)
                .await
                .refused(403, "FORBIDDEN");
            seawall
                .stranger()
                .api_get(&path)
                .await
                .refused(401, "UNAUTHORIZED");
        }
        let mut taken = profile.clone();
        taken["email"] = json!("bob@example.com");
        as_alice
            .api("PUT", &own, &taken)
            .await
            .refused(409, "CONFLICT");
        let mut wrong = profile.clone();
        wrong["email"] = json!("bob");
        as_alice
            .api("PUT", &own, &wrong)
            .await
            .refused(400, "BAD_REQUEST");
        admin.api("PUT", &own, &profile).await.expect(200);
        let missing = admin.api_get("/users/4711").await.refused(404, "NOT_FOUND");
        assert_eq!(missing.message(), "user 4711 not found");
        admin
            .api("PUT", "/users/4711", &profile)
            .await
            .refused(404, "NOT_FOUND");
        admin
            .api_get("/users/seven")
            .await
            .refused(422, "UNPROCESSABLE_ENTITY");
    });
}

#[test]
fn robots_are_no_users() {
    on_both(async |seawall| {
        let robot = robot(seawall, &["read", "update"]).await;
        robot
            .api_get("/users/current")
            .await
            .refused(412, "PRECONDITION");
        robot.api_get("/users/1").await.expect(200);
        let password = json!({ "new_password": "Another12345" });
        robot
            .api("PUT", "/users/1/password", &password)
            .await
            .refused(403, "FORBIDDEN");
        let alice = made(seawall, "alice").await;
        let path = format!("/users/{alice}/password");
        robot.api("PUT", &path, &password).await.expect(200);
        seawall
            .stranger()
            .api_get("/users/current")
            .await
            .refused(401, "UNAUTHORIZED");
    });
}

#[test]
fn a_password_is_changed_by_its_owner_who_knows_it_or_by_an_administrator() {
    on_both(async |seawall| {
        let (alice, bob) = (made(seawall, "alice").await, made(seawall, "bob").await);
        let path = format!("/users/{alice}/password");
        let change = |old: &str, new: &str| json!({ "old_password": old, "new_password": new });
        let (as_alice, admin) = (seawall.user("alice"), seawall.admin());
        let refused = as_alice
            .api("PUT", &path, &change("Wrong12345", "Another12345"))
            .await;
        assert_eq!(
            refused.refused(403, "FORBIDDEN").message(),
            "Current password is incorrect"
        );
        as_alice
            .api("PUT", &path, &change(PASSWORD, "weak"))
            .await
            .refused(400, "BAD_REQUEST");
        let same = as_alice
            .api("PUT", &path, &change(PASSWORD, PASSWORD))
            .await;
        assert_eq!(
            same.refused(400, "BAD_REQUEST").message(),
            "New password is identical to old password"
        );
        let of_bob = format!("/users/{bob}/password");
        as_alice
            .api("PUT", &of_bob, &change(PASSWORD, "Another12345"))
            .await
            .refused(403, "FORBIDDEN");
        as_alice
            .api("PUT", &path, &change(PASSWORD, "Another12345"))
            .await
            .expect(200);
        as_alice
            .api_get("/users/current")
            .await
            .refused(401, "UNAUTHORIZED");
        admin
            .api("PUT", &path, &json!({ "new_password": PASSWORD }))
            .await
            .expect(200);
        as_alice.api_get("/users/current").await.expect(200);
        let own = change("", "Another12345");
        admin
            .api("PUT", "/users/1/password", &own)
            .await
            .refused(403, "FORBIDDEN");
        admin
            .api("PUT", "/users/4711/password", &own)
            .await
            .refused(404, "NOT_FOUND");
        seawall
            .stranger()
            .api("PUT", &path, &own)
            .await
            .refused(401, "UNAUTHORIZED");
    });
}

#[test]
fn administrators_make_administrators() {
    on_both(async |seawall| {
        let alice = made(seawall, "alice").await;
        let (as_alice, admin) = (seawall.user("alice"), seawall.admin());
        let path = format!("/users/{alice}/sysadmin");
        let flag = |on: bool| json!({ "sysadmin_flag": on });
        as_alice
            .api("PUT", &path, &flag(true))
            .await
            .refused(403, "FORBIDDEN");
        admin.api("PUT", &path, &flag(true)).await.expect(200);
        as_alice.api_get("/users").await.expect(200);
        as_alice
            .api("PUT", "/users/1/sysadmin", &flag(false))
            .await
            .refused(403, "FORBIDDEN");
        admin.api("PUT", &path, &flag(false)).await.expect(200);
        as_alice.api_get("/users").await.refused(403, "FORBIDDEN");
        admin
            .api("PUT", "/users/4711/sysadmin", &flag(true))
            .await
            .refused(404, "NOT_FOUND");
        admin
            .api("PUT", &path, &json!(null))
            .await
            .refused(422, "UNPROCESSABLE_ENTITY");
    });
}

#[test]
fn somebody_deleted_is_gone_and_his_name_is_free_again() {
    on_both(async |seawall| {
        let alice = made(seawall, "alice").await;
        let (as_alice, admin) = (seawall.user("alice"), seawall.admin());
        let path = format!("/api/v2.0/users/{alice}");
        as_alice.delete(&path).await.refused(403, "FORBIDDEN");
        seawall
            .stranger()
            .delete(&path)
            .await
            .refused(401, "UNAUTHORIZED");
        let refused = admin
            .delete("/api/v2.0/users/1")
            .await
            .refused(403, "FORBIDDEN");
        assert_eq!(refused.message(), "User with ID 1 cannot be deleted");
        admin.delete(&path).await.expect(200);
        as_alice
            .api_get("/users/current")
            .await
            .refused(401, "UNAUTHORIZED");
        admin.get(&path).await.refused(404, "NOT_FOUND");
        admin.delete(&path).await.refused(404, "NOT_FOUND");
        assert_ne!(made(seawall, "alice").await, alice);
    });
}

#[test]
fn nobody_has_a_secret_of_oidc() {
    on_both(async |seawall| {
        let refused = seawall
            .admin()
            .api("PUT", "/users/1/cli_secret", &json!({ "secret": PASSWORD }))
            .await
            .refused(412, "PRECONDITION");
        assert_eq!(
            refused.message(),
            "unable to update CLI secret under authmode: db_auth"
        );
    });
}
