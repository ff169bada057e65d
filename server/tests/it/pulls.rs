//! Blobs as pulls read them: whole, in ranges, over broken stores.

use crate::harness::{digest, image::content, on_both, server::on_sqlite_with};

#[test]
fn ranges_give_exactly_what_was_asked() {
    on_both(async |seawall| {
        let (admin, bytes) = (seawall.admin(), content("range", 100_000));
        admin.push_blob("library/r", &bytes).await;
        let path = format!("/v2/library/r/blobs/{}", digest(&bytes));
        let ask = async |range: &str| {
            admin
                .request("GET", &path)
                .header("range", range)
                .send()
                .await
        };
        for (range, span, told) in [
            ("bytes=0-0", 0..1, "bytes 0-0/100000"),
            ("bytes=500-999", 500..1000, "bytes 500-999/100000"),
            ("bytes=99990-", 99_990..100_000, "bytes 99990-99999/100000"),
            ("bytes=-10", 99_990..100_000, "bytes 99990-99999/100000"),
            ("bytes=0-999999", 0..100_000, "bytes 0-99999/100000"),
        ] {
            let answer = ask(range).await.expect(206);
            assert_eq!(
                (&answer.body[..], answer.header("content-range")),
                (&bytes[span], told),
                "{range}"
            );
        }
        let past = ask("bytes=100000-").await.expect(416);
        assert_eq!(past.header("content-range"), "bytes */100000");
        assert_eq!(ask("lines=1-2").await.expect(200).body, bytes);
        // Not the content that the client has: everything again.
        let answer = admin
            .request("GET", &path)
            .header("range", "bytes=0-9")
            .header("if-range", "\"sha256:other\"")
            .send()
            .await;
        assert_eq!(answer.expect(200).body, bytes);
    });
}

#[test]
fn several_ranges_come_in_one_answer() {
    on_both(async |seawall| {
        let (admin, bytes) = (seawall.admin(), content("multi", 10_000));
        admin.push_blob("library/r", &bytes).await;
        let path = format!("/v2/library/r/blobs/{}", digest(&bytes));
        let answer = admin
            .request("GET", &path)
            .header("range", "bytes=0-9,5000-5009")
            .send()
            .await
            .expect(206);
        let boundary = answer
            .header("content-type")
            .strip_prefix("multipart/byteranges; boundary=")
            .expect("a boundary")
            .to_owned();
        assert_eq!(
            answer.header("content-length"),
            answer.body.len().to_string()
        );
        let mut expected = Vec::new();
        for (span, range) in [(0..10, "0-9"), (5000..5010, "5000-5009")] {
            let head = format!(
                "\r\n--{boundary}\r\nContent-Type: application/octet-stream\r\nContent-Range: bytes {range}/10000\r\n\r\n"
            );
            expected.extend_from_slice(head.as_bytes());
            expected.extend_from_slice(&bytes[span]);
        }
        expected.extend_from_slice(format!("\r\n--{boundary}--\r\n").as_bytes());
        assert_eq!(answer.body, expected);
    });
}

#[test]
fn damaged_content_is_not_served_and_the_next_push_heals_it() {
    on_sqlite_with(&[], async |seawall| {
        let (admin, bytes) = (seawall.admin(), content("damage", 50_000));
        admin.push_blob("library/r", &bytes).await;
        let digest = digest(&bytes);
        let hex = digest.strip_prefix("sha256:").expect("sha256");
        let folder = seawall.data().join(format!(
            "storage/docker/registry/v2/blobs/sha256/{}/{hex}",
            &hex[..2]
        ));
        for damage in ["shorter", "gone"] {
            // After a damage the content lies beside its old place.
            let file = std::fs::read_dir(&folder)
                .expect("there")
                .next()
                .expect("one file")
                .expect("read")
                .path();
            match damage {
                "shorter" => std::fs::write(&file, &bytes[..100]).expect("written"),
                _ => std::fs::remove_file(&file).expect("removed"),
            }
            let path = format!("/v2/library/r/blobs/{digest}");
            admin.get(&path).await.refused(404, "BLOB_UNKNOWN");
            admin.head(&path).await.expect(404);
            admin.push_blob("library/r", &bytes).await;
            assert_eq!(admin.get(&path).await.expect(200).body, bytes, "{damage}");
        }
    });
}

#[test]
fn an_empty_blob_is_content_like_any_other() {
    on_both(async |seawall| {
        let (admin, bytes) = (seawall.admin(), content("", 0));
        admin.push_blob("library/r", &bytes).await;
        let answer = admin
            .get(&format!("/v2/library/r/blobs/{}", digest(&bytes)))
            .await
            .expect(200);
        assert_eq!(
            (answer.header("content-length"), answer.body.len()),
            ("0", 0)
        );
    });
}
