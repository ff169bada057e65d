//! What somebody may do, told in words.

use crate::harness::{Client, on_both};

#[test]
fn what_somebody_may_do_is_told_in_words() {
    on_both(async |seawall| {
        seawall.make_user("alice");
        seawall.run(&["project", "member", "set", "library", "alice", "developer"]);
        let pairs = async |client: &Client, query: &str| {
            let answer = client
                .api_get(&format!("/users/current/permissions{query}"))
                .await;
            let rows = answer.expect(200).json();
            let rows = rows.as_array().expect("a list").iter();
            rows.map(|row| {
                format!(
                    "{}:{}",
                    row["resource"].as_str().unwrap(),
                    row["action"].as_str().unwrap()
                )
            })
            .collect::<Vec<_>>()
        };
        let (alice, admin) = (seawall.user("alice"), seawall.admin());
        let relative = pairs(&alice, "?scope=/project/1&relative=true").await;
        for (pair, has) in [
            (".:read", true),
            (".:delete", false),
            ("repository:push", true),
            ("repository:delete", false),
            ("member:create", false),
        ] {
            assert_eq!(relative.iter().any(|known| known == pair), has, "{pair}");
        }
        let absolute = pairs(&alice, "?scope=/project/1").await;
        assert_eq!(absolute.len(), relative.len());
        assert!(absolute.contains(&"/project/1/repository:push".to_owned()));
        assert!(absolute.contains(&"/project/1:read".to_owned()));
        let all = pairs(&admin, "?scope=/project/1&relative=true").await;
        assert!(all.contains(&".:delete".to_owned()) && all.len() > relative.len());
        let system = pairs(&admin, "?scope=/system&relative=true").await;
        assert!(system.contains(&"user:create".to_owned()));
        for nothing in ["?scope=/system", "?scope=/project/4711", "?scope=/shoe", ""] {
            assert!(pairs(&alice, nothing).await.is_empty(), "{nothing}");
        }
        let stranger = seawall.stranger();
        stranger
            .api_get("/users/current/permissions")
            .await
            .refused(401, "UNAUTHORIZED");
    });
}
