//! Members of projects.

use serde_json::{Value, json};

use crate::harness::{Client, on_both};

const AT: &str = "/projects/library/members";

async fn join(client: &Client, wanted: &Value) -> String {
    let made = client.api("POST", AT, wanted).await.expect(201);
    let location = made.header("location");
    let id = location.strip_prefix("/api/v2.0/projects/library/members/");
    id.expect("below the members").to_owned()
}

#[test]
fn a_member_is_added_shown_changed_and_removed() {
    on_both(async |seawall| {
        seawall.make_user("bob");
        let (admin, bob) = (seawall.admin(), seawall.user("bob"));
        let wanted = json!({ "role_id": 3, "member_user": { "username": "bob" } });
        let id = join(&admin, &wanted).await;
        let member = admin
            .api_get(&format!("{AT}/{id}"))
            .await
            .expect(200)
            .json();
        assert_eq!(
            (
                &member["entity_name"],
                &member["entity_type"],
                &member["role_name"]
            ),
            (&json!("bob"), &json!("u"), &json!("guest"))
        );
        assert_eq!(
            (&member["role_id"], &member["project_id"]),
            (&json!(3), &json!(1))
        );
        bob.api_get(AT).await.expect(200);
        let path = format!("{AT}/{id}");
        admin
            .api("PUT", &path, &json!({ "role_id": 1 }))
            .await
            .expect(200);
        let shown = bob.api_get("/projects/library").await.expect(200).json();
        assert_eq!(shown["current_user_role_id"], 1);
        let own = bob.delete(&format!("/api/v2.0{path}")).await;
        own.expect(200);
        bob.api_get(AT).await.refused(403, "FORBIDDEN");
        admin.api_get(&path).await.refused(404, "NOT_FOUND");
    });
}

#[test]
fn members_are_listed_by_name_and_page() {
    on_both(async |seawall| {
        let admin = seawall.admin();
        for name in ["carl", "bob", "bobby"] {
            seawall.make_user(name);
            let wanted = json!({ "role_id": 2, "member_user": { "username": name } });
            join(&admin, &wanted).await;
        }
        let list = async |query: &str| {
            let answer = admin.api_get(&format!("{AT}{query}")).await.expect(200);
            let rows = answer.json();
            let rows = rows.as_array().expect("a list").iter();
            let names: Vec<String> = rows
                .map(|row| row["entity_name"].as_str().expect("a name").to_owned())
                .collect();
            (names.join(" "), answer.header("x-total-count").to_owned())
        };
        let expect = |names: &str| (names.to_owned(), "4".to_owned());
        assert_eq!(list("").await, expect("admin bob bobby carl"));
        assert_eq!(list("?page=2&page_size=3").await, expect("carl"));
        assert_eq!(list("?entityname=bob").await, expect("bob"));
        assert_eq!(list("?entityname=BOB").await, expect(""));
        assert_eq!(list("?page=7").await, expect(""));
        assert_eq!(list("?page_size=-1").await, expect("admin bob bobby carl"));
    });
}

#[test]
fn a_request_that_means_nobody_is_refused() {
    on_both(async |seawall| {
        seawall.make_user("bob");
        let admin = seawall.admin();
        for (wanted, status) in [
            (json!({ "role_id": 1 }), 400),
            (json!(null), 400),
            (
                json!({ "role_id": 1, "member_user": { "user_id": 4711 } }),
                400,
            ),
            (json!({ "role_id": 1, "member_group": { "id": 4711 } }), 400),
            (
                json!({ "role_id": 1, "member_user": { "username": "nobody" } }),
                404,
            ),
            (
                json!({ "role_id": 1, "member_group": { "group_name": "none", "group_type": 3 } }),
                404,
            ),
            (
                json!({ "role_id": 9, "member_user": { "username": "bob" } }),
                400,
            ),
            (
                json!({ "role_id": 9, "member_user": { "username": "admin" } }),
                409,
            ),
        ] {
            let refused = admin.api("POST", AT, &wanted).await;
            assert_eq!(refused.status.as_u16(), status, "{wanted}");
        }
        let role = json!({ "role_id": 2 });
        admin
            .api("PUT", "/projects/library/members/4711", &role)
            .await
            .expect(200);
        admin
            .delete("/api/v2.0/projects/library/members/4711")
            .await
            .expect(200);
        admin
            .api_get("/projects/library/members/0")
            .await
            .refused(400, "BAD_REQUEST");
        admin
            .api_get("/projects/library/members/x")
            .await
            .refused(422, "UNPROCESSABLE_ENTITY");
        let id = join(
            &admin,
            &json!({ "role_id": 3, "member_user": { "username": "bob" } }),
        )
        .await;
        let none = json!({ "role_id": 9 });
        admin
            .api("PUT", &format!("{AT}/{id}"), &none)
            .await
            .refused(400, "BAD_REQUEST");
    });
}

#[test]
fn only_project_administrators_change_members() {
    on_both(async |seawall| {
        for name in ["bob", "eve"] {
            seawall.make_user(name);
        }
        seawall.run(&["project", "member", "set", "library", "bob", "maintainer"]);
        let (bob, eve) = (seawall.user("bob"), seawall.user("eve"));
        let wanted = json!({ "role_id": 1, "member_user": { "username": "eve" } });
        bob.api("POST", AT, &wanted).await.refused(403, "FORBIDDEN");
        bob.api_get(AT).await.expect(200);
        eve.api_get(AT).await.refused(403, "FORBIDDEN");
        seawall
            .stranger()
            .api_get(AT)
            .await
            .refused(401, "UNAUTHORIZED");
    });
}
