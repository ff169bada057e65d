//! Search, statistics, and the system's allowlist.

use serde_json::json;

use crate::harness::{Image, on_both};

#[test]
fn a_search_finds_what_its_caller_may_see() {
    on_both(async |seawall| {
        seawall.make_user("bob");
        let admin = seawall.admin();
        let wanted = json!({ "project_name": "libra" });
        admin.api("POST", "/projects", &wanted).await.expect(201);
        for name in ["library/app", "library/a_b", "libra/app"] {
            admin.push(name, "v1", &Image::new(name)).await;
        }
        let found = async |client: &crate::harness::Client, query: &str| {
            let answer = client.api_get(&format!("/search?q={query}")).await;
            let answer = answer.expect(200).json();
            let all = |list: &str, key: &str| {
                let rows = answer[list].as_array().expect("a list").iter();
                let names: Vec<String> = rows
                    .map(|row| row[key].as_str().expect("a name").to_owned())
                    .collect();
                names.join(" ")
            };
            (all("project", "name"), all("repository", "repository_name"))
        };
        let expect =
            |projects: &str, repositories: &str| (projects.to_owned(), repositories.to_owned());
        let everything = "libra/app library/a_b library/app";
        assert_eq!(
            found(&admin, "libra").await,
            expect("libra library", everything)
        );
        assert_eq!(found(&admin, "").await, expect("libra library", everything));
        assert_eq!(
            found(&admin, "LIBRARY/A").await,
            expect("", "library/a_b library/app")
        );
        assert_eq!(found(&admin, "_").await, expect("", "library/a_b"));
        let (bob, stranger) = (seawall.user("bob"), seawall.stranger());
        for client in [&bob, &stranger] {
            assert_eq!(found(client, "app").await, expect("", "library/app"));
        }
        seawall.run(&["project", "member", "set", "libra", "bob", "guest"]);
        assert_eq!(
            found(&bob, "app").await,
            expect("", "libra/app library/app")
        );
        stranger
            .api_get("/search")
            .await
            .refused(422, "UNPROCESSABLE_ENTITY");
    });
}

#[test]
fn statistics_count_what_concerns_the_caller() {
    on_both(async |seawall| {
        seawall.make_user("bob");
        let (admin, bob) = (seawall.admin(), seawall.user("bob"));
        for name in ["one", "two"] {
            let wanted = json!({ "project_name": name });
            admin.api("POST", "/projects", &wanted).await.expect(201);
        }
        admin.push("one/app", "v1", &Image::new("one")).await;
        admin.push("library/app", "v1", &Image::new("lib")).await;
        seawall.run(&["project", "member", "set", "one", "bob", "guest"]);
        let all = admin.api_get("/statistics").await.expect(200).json();
        for (key, value) in [
            ("private_project_count", 2),
            ("private_repo_count", 1),
            ("public_project_count", 1),
            ("public_repo_count", 1),
            ("total_project_count", 3),
            ("total_repo_count", 2),
        ] {
            assert_eq!(all[key], value, "{key}");
        }
        assert!(all["total_storage_consumption"].is_i64());
        let own = bob.api_get("/statistics").await.expect(200).json();
        assert_eq!(
            (&own["private_project_count"], &own["private_repo_count"]),
            (&json!(1), &json!(1))
        );
        assert_eq!(own["total_project_count"], 0);
        seawall
            .stranger()
            .api_get("/statistics")
            .await
            .refused(401, "UNAUTHORIZED");
    });
}

#[test]
fn a_series_is_for_those_whom_it_concerns() {
    on_both(async |seawall| {
        seawall.make_user("bob");
        let (admin, bob) = (seawall.admin(), seawall.user("bob"));
        let at = "/statistics/series";
        assert!(admin.api_get(at).await.expect(200).json().is_array());
        admin
            .api_get(&format!("{at}?project=library&span=hour"))
            .await
            .expect(200);
        for (query, status) in [
            ("?span=year", 422),
            ("?from=yesterday", 422),
            ("?repository=app", 400),
            ("?project=nope", 404),
            ("?project=library&repository=nope", 404),
        ] {
            let refused = admin.api_get(&format!("{at}{query}")).await;
            assert_eq!(refused.status.as_u16(), status, "{query}");
        }
        bob.api_get(at).await.refused(403, "FORBIDDEN");
        let own = format!("{at}?project=library");
        bob.api_get(&own).await.refused(403, "FORBIDDEN");
        seawall.run(&["project", "member", "set", "library", "bob", "guest"]);
        bob.api_get(&own).await.expect(200);
        seawall
            .stranger()
            .api_get(&own)
            .await
            .refused(401, "UNAUTHORIZED");
    });
}

#[test]
fn the_systems_allowlist_is_read_by_all_and_written_by_administrators() {
    on_both(async |seawall| {
        seawall.make_user("bob");
        let (admin, bob) = (seawall.admin(), seawall.user("bob"));
        let at = "/system/CVEAllowlist";
        let empty = bob.api_get(at).await.expect(200).json();
        assert_eq!(empty["items"], json!([]));
        let list = json!({ "items": [{ "cve_id": "CVE-2024-1" }], "expires_at": null });
        bob.api("PUT", at, &list).await.refused(403, "FORBIDDEN");
        admin.api("PUT", at, &list).await.expect(200);
        let shown = bob.api_get(at).await.expect(200).json();
        assert_eq!(shown["items"], json!([{ "cve_id": "CVE-2024-1" }]));
        assert!(shown.get("expires_at").is_none());
        let twice = json!({ "items": [{ "cve_id": "CVE-2024-1" }, { "cve_id": "CVE-2024-1" }] });
        admin
            .api("PUT", at, &twice)
            .await
            .refused(400, "BAD_REQUEST");
        seawall
            .stranger()
            .api_get(at)
            .await
            .refused(401, "UNAUTHORIZED");
    });
}
