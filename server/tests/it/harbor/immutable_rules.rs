//! Rules that make tags immutable, through the API. What may not happen to such tags stands in tags.rs.

use serde_json::{Value, json};

use crate::harness::{Client, Image, image::MANIFEST, on_both};

const RULES: &str = "/projects/library/immutabletagrules";

pub fn rule(repositories: (&str, &str), tags: (&str, &str)) -> Value {
    json!({
        "action": "immutable", "template": "immutable_template",
        "tag_selectors": [{ "kind": "doublestar", "decoration": tags.0, "pattern": tags.1 }],
        "scope_selectors": { "repository": [{ "kind": "doublestar", "decoration": repositories.0, "pattern": repositories.1 }] },
    })
}

/// Makes the tags that are like this immutable, in all repositories of `library`; the rule's path comes back.
pub async fn make_immutable(client: &Client, pattern: &str) -> String {
    let wanted = rule(("repoMatches", "**"), ("matches", pattern));
    let made = client.api("POST", RULES, &wanted).await.expect(201);
    let path = made.header("location").strip_prefix("/api/v2.0");
    path.expect("below the API").to_owned()
}

async fn all(client: &Client) -> Value {
    client.api_get(RULES).await.expect(200).json()
}

#[test]
fn a_rule_is_made_listed_changed_and_deleted() {
    on_both(async |seawall| {
        let admin = seawall.admin();
        let path = make_immutable(&admin, "v*").await;
        let mut shown = all(&admin).await[0].take();
        let id = shown["id"].as_i64().expect("a number");
        assert_eq!(path, format!("{RULES}/{id}"));
        assert_eq!(
            (&shown["priority"], shown.get("disabled"), &shown["params"]),
            (&json!(0), None, &json!({}))
        );
        assert_eq!(shown["tag_selectors"][0]["pattern"], "v*");
        assert_eq!(
            shown["scope_selectors"]["repository"][0]["decoration"],
            "repoMatches"
        );
        shown["tag_selectors"][0]["pattern"] = json!("release-*");
        shown["disabled"] = json!(true);
        admin.api("PUT", &path, &shown).await.expect(200);
        assert_eq!(all(&admin).await[0], shown);
        // As the portal switches a rule on.
        let bare = json!({ "id": id, "disabled": false });
        admin.api("PUT", &path, &bare).await.expect(200);
        let on = all(&admin).await[0].take();
        assert_eq!(
            (on.get("disabled"), &on["tag_selectors"]),
            (None, &shown["tag_selectors"])
        );
        let gone = format!("/api/v2.0{path}");
        admin.delete(&gone).await.expect(200);
        admin.delete(&gone).await.refused(404, "NOT_FOUND");
        assert_eq!(all(&admin).await, json!([]));
    });
}

#[test]
fn a_rule_is_in_force_while_it_is_enabled() {
    on_both(async |seawall| {
        let admin = seawall.admin();
        let (one, two) = (Image::new("one"), Image::new("two"));
        admin.push("library/app", "v1", &one).await;
        admin.push("library/app", "other", &two).await;
        let path = make_immutable(&admin, "v*").await;
        let id = all(&admin).await[0]["id"].clone();
        let push = || admin.put_manifest("library/app", "v1", MANIFEST, &two.manifest);
        let refused = push().await;
        assert_eq!(
            refused.message(),
            "Failed to process request due to 'app:v1' configured as immutable."
        );
        refused.refused(412, "PRECONDITION");
        let off = json!({ "id": id, "disabled": true });
        for _ in 0..2 {
            admin.api("PUT", &path, &off).await.expect(200);
        }
        push().await.expect(201);
    });
}

#[test]
fn rules_are_a_projects_own_and_stand_there_once() {
    on_both(async |seawall| {
        let admin = seawall.admin();
        let path = make_immutable(&admin, "v*").await;
        let same = rule(("repoMatches", "**"), ("matches", "v*"));
        admin
            .api("POST", RULES, &same)
            .await
            .refused(409, "CONFLICT");
        let other = rule(("repoMatches", "**"), ("matches", "x*"));
        let made = admin.api("POST", RULES, &other).await.expect(201);
        let (_, id) = made.header("location").rsplit_once('/').expect("a path");
        let id: i64 = id.parse().expect("a number");
        let mut as_the_first = same.clone();
        as_the_first["id"] = json!(id);
        admin
            .api("PUT", &format!("{RULES}/{id}"), &as_the_first)
            .await
            .refused(409, "CONFLICT");
        let team = json!({ "project_name": "team" });
        admin.api("POST", "/projects", &team).await.expect(201);
        let elsewhere = path.replace("library", "team");
        admin
            .delete(&format!("/api/v2.0{elsewhere}"))
            .await
            .refused(404, "NOT_FOUND");
        admin
            .api("POST", "/projects/team/immutabletagrules", &same)
            .await
            .expect(201);
        let paged = admin.api_get(&format!("{RULES}?page=2&page_size=1")).await;
        assert_eq!(paged.header("x-total-count"), "2");
        assert_eq!(paged.expect(200).json()[0]["id"], id);
    });
}

#[test]
fn what_is_no_rule_is_refused() {
    on_both(async |seawall| {
        let admin = seawall.admin();
        let path = make_immutable(&admin, "v*").await;
        let right = rule(("repoMatches", "**"), ("matches", "x"));
        let mut bad = vec![
            rule(("matches", "**"), ("matches", "x")),
            rule(("repoMatches", "**"), ("repoMatches", "x")),
            rule(("repoMatches", "**"), ("like", "x")),
            rule(("repoMatches", "{a"), ("matches", "x")),
            json!({}),
        ];
        for (field, value) in [
            ("action", json!("retain")),
            ("template", json!("always")),
            ("tag_selectors", json!([])),
            ("scope_selectors", json!({})),
        ] {
            let mut one = right.clone();
            one[field] = value;
            bad.push(one);
        }
        // A long one is a rule like others.
        let long = "v".repeat(1_000);
        let mut longest = rule(("repoMatches", "**"), ("matches", &long));
        longest["scope_selectors"]["repository"] = json!(vec![
            json!({ "kind": "doublestar", "decoration": "repoMatches", "pattern": long });
            10
        ]);
        admin.api("POST", RULES, &longest).await.expect(201);
        for body in &bad {
            admin
                .api("POST", RULES, body)
                .await
                .refused(400, "BAD_REQUEST");
        }
        // Whose number is not the path's.
        admin
            .api("PUT", &path, &right)
            .await
            .refused(400, "BAD_REQUEST");
        admin
            .api("PUT", &format!("{RULES}/0"), &Value::Null)
            .await
            .refused(404, "NOT_FOUND");
        admin
            .api("PUT", &path, &Value::Null)
            .await
            .refused(400, "BAD_REQUEST");
    });
}
