//! Tags and catalog, a page at a time.

use crate::harness::{Client, Image, image::MANIFEST, on_both};

async fn walk(client: &Client, first: &str, list: &str) -> Vec<Vec<String>> {
    let (mut pages, mut next) = (Vec::new(), Some(first.to_owned()));
    while let Some(path) = next {
        let answer = client.get(&path).await.expect(200);
        pages.push(
            answer.json()[list]
                .as_array()
                .expect("a list")
                .iter()
                .map(|name| name.as_str().expect("text").to_owned())
                .collect(),
        );
        next = answer
            .header("link")
            .strip_prefix('<')
            .and_then(|link| link.split('>').next())
            .map(str::to_owned);
    }
    pages
}

#[test]
fn tags_are_sorted_by_byte_and_paged_by_the_last_name() {
    on_both(async |seawall| {
        let (admin, image) = (seawall.admin(), Image::new("list"));
        admin.push("library/app", "b", &image).await;
        for tag in ["a", "B", "_", "a-1", "a.1", "10", "9"] {
            admin
                .put_manifest("library/app", tag, MANIFEST, &image.manifest)
                .await
                .expect(201);
        }
        let sorted = ["10", "9", "B", "_", "a", "a-1", "a.1", "b"];
        let all = admin.get("/v2/library/app/tags/list").await.expect(200);
        assert_eq!(all.json()["name"], "library/app");
        assert_eq!(all.json()["tags"], serde_json::json!(sorted));
        let pages = walk(&admin, "/v2/library/app/tags/list?n=3", "tags").await;
        assert_eq!(pages.iter().map(Vec::len).collect::<Vec<_>>(), [3, 3, 2]);
        assert_eq!(pages.concat(), sorted);
        let after = admin
            .get("/v2/library/app/tags/list?last=a0")
            .await
            .expect(200);
        assert_eq!(after.json()["tags"], serde_json::json!(["b"]));
        assert_eq!(
            admin
                .get("/v2/library/app/tags/list?n=0")
                .await
                .expect(200)
                .json()["tags"],
            serde_json::json!([])
        );
        admin
            .get("/v2/library/app/tags/list?n=-1")
            .await
            .expect(400);
    });
}

#[test]
fn the_catalog_is_for_administrators_and_lists_what_holds_something() {
    on_both(async |seawall| {
        let admin = seawall.admin();
        for (n, name) in ["library/b", "library/a", "library/c"].iter().enumerate() {
            admin.push(name, "v1", &Image::new(&n.to_string())).await;
        }
        admin
            .push_blob("library/empty", &crate::harness::image::content("x", 10))
            .await;
        let pages = walk(&admin, "/v2/_catalog?n=2", "repositories").await;
        assert_eq!(
            pages,
            [
                vec!["library/a".to_owned(), "library/b".to_owned()],
                vec!["library/c".to_owned()]
            ]
        );
        seawall.stranger().get("/v2/_catalog").await.expect(401);
        admin
            .token("registry:catalog:*")
            .await
            .get("/v2/_catalog")
            .await
            .expect(401);
    });
}
