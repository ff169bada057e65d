//! Signing in from a browser, and what keeps other sites from using its session.

use serde_json::json;

use crate::harness::{Browser, PASSWORD, Seawall, on_both, on_both_with};

const CSRF: &str = "_gorilla_csrf";

#[test]
fn somebody_signs_in_goes_on_and_signs_out() {
    on_both(async |seawall| {
        seawall.make_user("alice");
        let mut browser = Browser::open(seawall.stranger()).await;
        let answer = browser.login("alice", PASSWORD).await.expect(200);
        let set: Vec<_> = answer.headers.get_all("set-cookie").iter().collect();
        let set = set[0].to_str().expect("a text");
        assert!(set.starts_with("sid="), "{set}");
        assert!(
            set.ends_with("; Path=/; Max-Age=3600; HttpOnly; SameSite=Lax"),
            "{set}"
        );
        let sid = browser.cookies["sid"].clone();
        assert_eq!(sid.len(), 43);
        for file in ["seawall.sqlite", "seawall.sqlite-wal"] {
            let bytes = std::fs::read(seawall.data().join(file)).unwrap_or_default();
            let found = bytes
                .windows(sid.len())
                .any(|window| window == sid.as_bytes());
            assert!(!found, "the database keeps a hash alone");
        }

        let me = browser.get("/api/v2.0/users/current").await.expect(200);
        assert_eq!(me.json()["username"], "alice");
        assert_eq!(me.header("set-cookie"), "", "nothing is renewed yet");

        browser.get("/c/log_out").await.expect(200);
        assert!(!browser.cookies.contains_key("sid"));
        browser.cookies.insert("sid".to_owned(), sid);
        browser.get("/api/v2.0/users/current").await.expect(401);
    });
}

#[test]
fn a_wrong_password_is_told_by_the_status_alone() {
    on_both(async |seawall| {
        let mut browser = Browser::open(seawall.stranger()).await;
        for (name, password) in [("admin", "Wrong12345"), ("nobody", PASSWORD), ("", "")] {
            let refused = browser.login(name, password).await.expect(401);
            assert!(refused.body.is_empty(), "{}", refused.text());
            assert_eq!(refused.header("set-cookie"), "");
        }
    });
}

#[test]
fn hostile_forms_and_cookies_are_refused_and_bounded() {
    on_both(async |seawall| {
        let mut browser = Browser::open(seawall.stranger()).await;
        let long = "x".repeat(20_000);
        browser.login(&long, PASSWORD).await.expect(413);
        browser.login("a\0b", PASSWORD).await.expect(401);
        browser.login("admin", &"x".repeat(2000)).await.expect(401);
        browser.form("/c/login", &[]).await.expect(401);
        let (token, cookie) = (browser.token.clone(), browser.cookies[CSRF].clone());
        let odd = seawall
            .stranger()
            .request("POST", "/c/login")
            .header("cookie", &format!("{CSRF}={cookie}"))
            .header("x-harbor-csrf-token", &token)
            .header("content-type", "multipart/form-data; boundary=x")
            .body("--x--")
            .send()
            .await;
        odd.refused(415, "UNSUPPORTED_MEDIA_TYPE");
        for sid in [
            "",
            "x",
            "\"",
            "'; DROP TABLE sessions",
            &"A".repeat(43),
            &"A".repeat(5000),
        ] {
            let answer = seawall
                .stranger()
                .request("GET", "/api/v2.0/users/current")
                .header("cookie", &format!("; ;=;sid={sid};;"))
                .send()
                .await;
            answer.refused(401, "UNAUTHORIZED");
        }
    });
}

#[test]
fn a_session_ends_with_the_password_it_began_with() {
    on_both(async |seawall| {
        seawall.make_user("alice");
        let mut browser = Browser::signed_in(seawall.stranger(), "alice").await;
        let mut other = Browser::signed_in(seawall.stranger(), "alice").await;
        let id = browser.get("/api/v2.0/users/current").await.json()["user_id"].clone();
        let change = json!({ "old_password": PASSWORD, "new_password": "Another12345" });
        browser
            .api("PUT", &format!("/users/{id}/password"), &change)
            .await
            .expect(200);
        for browser in [&mut browser, &mut other] {
            browser.get("/api/v2.0/users/current").await.expect(401);
        }
        browser.login("alice", "Another12345").await.expect(200);
        browser.get("/api/v2.0/users/current").await.expect(200);
        // A profile proves nothing: it changes and the session goes on.
        let profile = json!({ "email": "alice@example.com", "realname": "Alice" });
        browser
            .api("PUT", &format!("/users/{id}"), &profile)
            .await
            .expect(200);
        browser.get("/api/v2.0/users/current").await.expect(200);
        let admin = seawall.admin();
        admin
            .delete(&format!("/api/v2.0/users/{id}"))
            .await
            .expect(200);
        browser.get("/api/v2.0/users/current").await.expect(401);
    });
}

#[test]
fn a_session_goes_on_at_another_node() {
    let Some(server) = testkit::postgres() else {
        return;
    };
    let mut one = Seawall::start_on(server.fresh_database(), &[]);
    let mut two = one.start_beside(&[]);
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    runtime.block_on(async {
        let mut here = Browser::signed_in(one.stranger(), "admin").await;
        let mut there = here.at(two.stranger());
        there.get("/api/v2.0/users/current").await.expect(200);
        // The token of one node's answer proves as much at the other.
        let group = json!({ "group_name": "team", "group_type": 2 });
        there.api("POST", "/usergroups", &group).await.expect(201);
        there.get("/c/log_out").await.expect(200);
        here.get("/api/v2.0/users/current").await.expect(401);
    });
    two.stop();
    one.stop();
}

#[test]
fn no_cookie_comes_but_from_signing_in() {
    on_both(async |seawall| {
        let admin = seawall.admin();
        for path in [
            "/api/v2.0/users/current",
            "/v2/",
            "/service/token?service=harbor-registry",
        ] {
            let answer = admin.get(path).await.expect(200);
            assert_eq!(answer.header("set-cookie"), "", "{path}");
        }
        let group = json!({ "group_name": "team", "group_type": 2 });
        let made = admin.api("POST", "/usergroups", &group).await.expect(201);
        assert_eq!(made.header("set-cookie"), "");
        assert_eq!(made.header("x-harbor-csrf-token"), "");
    });
}

#[test]
fn what_a_foreign_page_sends_is_refused() {
    on_both(async |seawall| {
        let mut browser = Browser::signed_in(seawall.stranger(), "admin").await;
        let group = json!({ "group_name": "team", "group_type": 2 });
        let (token, csrf) = (browser.token.clone(), browser.cookies[CSRF].clone());
        let other = Browser::open(seawall.stranger()).await;

        for (token, cookie, message) in [
            ("", Some(&csrf), "CSRF token not found in request"),
            ("nonsense", Some(&csrf), "CSRF token invalid"),
            (other.token.as_str(), Some(&csrf), "CSRF token invalid"),
            (token.as_str(), None, "CSRF token invalid"),
            (
                token.as_str(),
                Some(&other.cookies[CSRF]),
                "CSRF token invalid",
            ),
            (token.as_str(), Some(&"A".repeat(86)), "CSRF token invalid"),
        ] {
            token.clone_into(&mut browser.token);
            match cookie {
                Some(cookie) => browser.cookies.insert(CSRF.to_owned(), cookie.clone()),
                None => browser.cookies.remove(CSRF),
            };
            let refused = browser
                .api("POST", "/usergroups", &group)
                .await
                .refused(403, "FORBIDDEN");
            assert_eq!(refused.message(), message);
            assert_ne!(refused.header("x-harbor-csrf-token"), "");
        }
        // The refusal brought what is needed, as Terraform's client expects.
        browser.api("POST", "/usergroups", &group).await.expect(201);
        // Of what only reads nothing is asked.
        browser.token.clear();
        browser.get("/api/v2.0/usergroups").await.expect(200);
    });
}

#[test]
fn each_answer_that_was_checked_brings_a_fresh_token() {
    on_both(async |seawall| {
        let mut browser = Browser::signed_in(seawall.stranger(), "admin").await;
        let mut seen = std::collections::HashSet::new();
        for _ in 0..3 {
            let answer = browser.get("/api/v2.0/users/current").await.expect(200);
            assert!(seen.insert(answer.header("x-harbor-csrf-token").to_owned()));
            assert_eq!(
                answer.header("set-cookie"),
                "",
                "the browser has its secret"
            );
        }
        let first = seawall.stranger().get("/c/log_out").await.expect(200);
        let set: Vec<_> = first
            .headers
            .get_all("set-cookie")
            .iter()
            .filter_map(|set| set.to_str().ok())
            .collect();
        let csrf = set.iter().find(|set| set.starts_with(CSRF));
        let csrf = csrf.expect("a secret");
        assert!(
            csrf.ends_with("; Path=/; Max-Age=43200; HttpOnly; SameSite=Strict"),
            "{csrf}"
        );
        let early = seawall.stranger().post("/c/login").await;
        assert_eq!(
            early.refused(403, "FORBIDDEN").message(),
            "CSRF token not found in request"
        );
    });
}

#[test]
fn a_session_counts_under_v2_too_and_is_checked_there() {
    on_both(async |seawall| {
        let mut browser = Browser::signed_in(seawall.stranger(), "admin").await;
        browser.get("/v2/").await.expect(200);
        browser.token.clear();
        let upload = browser.form("/v2/library/app/blobs/uploads/", &[]).await;
        upload.refused(403, "FORBIDDEN");
        browser
            .form("/v2/library/app/blobs/uploads/", &[])
            .await
            .expect(202);
    });
}

#[test]
fn the_cookie_is_for_https_alone_where_the_client_came_by_it() {
    let proxies = [("SEAWALL_SERVER__TRUSTED_PROXIES", "[\"127.0.0.1\"]")];
    on_both_with(&proxies, async |seawall| {
        let browser = Browser::open(seawall.stranger()).await;
        let answer = seawall
            .stranger()
            .request("POST", "/c/login")
            .header("x-forwarded-proto", "https")
            .header("x-forwarded-for", "192.0.2.1")
            .header("cookie", &format!("{CSRF}={}", browser.cookies[CSRF]))
            .header("x-harbor-csrf-token", &browser.token)
            .header("content-type", "application/x-www-form-urlencoded")
            .body(format!("principal=admin&password={PASSWORD}"))
            .send()
            .await
            .expect(200);
        let set = answer.header("set-cookie");
        assert!(set.ends_with("; SameSite=Lax; Secure"), "{set}");
    });
}

#[test]
fn the_first_administrator_is_renamed_by_himself_alone() {
    on_both(async |seawall| {
        seawall.make_user("other");
        seawall.run(&["user", "set-admin", "other", "on"]);
        let path = "/api/internal/renameadmin";
        seawall
            .stranger()
            .post(path)
            .await
            .refused(401, "UNAUTHORIZED");
        let other = seawall.user("other");
        other.post(path).await.refused(403, "FORBIDDEN");
        seawall.admin().post(path).await.expect(200);
        seawall.admin().api_get("/users/current").await.expect(401);
        let renamed = seawall.user("admin@harbor.local");
        renamed.api_get("/users/current").await.expect(200);
        renamed.post(path).await.expect(200);
    });
}

#[test]
fn a_page_of_another_site_changes_nothing() {
    on_both(async |seawall| {
        let admin = seawall.admin();
        let from = async |site: &str| {
            let request = admin.request("POST", "/api/internal/syncquota");
            request.header("sec-fetch-site", site).send().await
        };
        for site in ["cross-site", "same-site"] {
            from(site).await.refused(403, "FORBIDDEN");
        }
        for site in ["same-origin", "none"] {
            from(site).await.expect(200);
        }
        let read = admin.request("GET", "/api/v2.0/projects");
        let read = read.header("sec-fetch-site", "cross-site").send().await;
        read.expect(200);
    });
}

#[test]
fn failed_logins_from_one_address_leave_so_many_traces_and_no_more() {
    on_both(async |seawall| {
        seawall.make_user("ann");
        let mut browser = Browser::open(seawall.stranger()).await;
        for _ in 0..3 {
            browser.login("ann", "").await.expect(401);
            browser.login("", PASSWORD).await.expect(401);
        }
        let told = async || {
            let asked = "/auditlog-exts?page_size=100&q=operation%3Dlogin,operation_result%3Dfalse";
            let listed = seawall.admin().api_get(asked).await.expect(200);
            listed.json().as_array().map_or(0, Vec::len)
        };
        assert_eq!(told().await, 0, "nobody's password was tried");
        let mut refused = 0;
        for _ in 0..14 {
            // One that is known to be wrong is not tried again, but told of.
            match browser.login("ann", "Wrong12345").await.status.as_u16() {
                401 => {}
                429 => refused += 1,
                other => panic!("{other}"),
            }
        }
        assert!(refused > 0, "all of them were taken");
        assert_eq!(told().await, 14 - refused);
    });
}
