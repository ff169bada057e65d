//! Collection while the world goes on: nothing acknowledged is ever missing.

use std::sync::{
    Arc,
    atomic::{AtomicBool, AtomicUsize, Ordering},
};

use crate::harness::{Client, Image, digest, image::MANIFEST, on_both_with};

#[test]
fn what_nothing_names_goes_and_what_something_names_stays() {
    on_both_with(
        &[("SEAWALL_GC__GRACE", "0s"), ("SEAWALL_GC__INTERVAL", "1h")],
        async |seawall| {
            let (admin, kept, dropped) =
                (seawall.admin(), Image::new("kept"), Image::new("dropped"));
            admin.push("library/app", "kept", &kept).await;
            let manifest = admin.push("library/app", "dropped", &dropped).await;
            admin
                .delete(&format!("/v2/library/app/manifests/{manifest}"))
                .await
                .expect(202);
            let report: serde_json::Value =
                serde_json::from_str(&seawall.run(&["gc", "--json"])).expect("JSON");
            assert!(report.to_string().contains("freed"), "{report}");
            admin
                .head(&format!("/v2/library/app/blobs/{}", digest(&dropped.layer)))
                .await
                .expect(404);
            admin.pull("library/app", "kept", &kept).await;
            admin.push("library/app", "again", &dropped).await;
            admin.pull("library/app", "again", &dropped).await;
        },
    );
}

/// Pushes, mounts, tags, pulls and deletes the same few images over and over.
async fn churn(client: Client, number: usize, stop: Arc<AtomicBool>, rounds: Arc<AtomicUsize>) {
    let mut round = 0;
    while !stop.load(Ordering::Relaxed) || round == 0 {
        let image = Image::new(&format!("shared-{}", (number + round) % 7));
        let (repository, tag) = (
            format!("library/churn-{}", number % 5),
            format!("t{number}"),
        );
        // Another client may delete the manifest, and with a grace of zero the collector takes its blobs, between our
        // pushes; then the manifest is refused, never accepted without its blobs.
        for part in [&image.config, &image.layer] {
            let from = format!("library/churn-{}", (number + 1) % 5);
            let path = format!(
                "/v2/{repository}/blobs/uploads/?mount={}&from={from}",
                digest(part)
            );
            let answer = client.post(&path).await;
            if answer.status == 202 {
                let location = answer.header("location").to_owned();
                client
                    .put(&format!("{location}?digest={}", digest(part)), part.clone())
                    .await
                    .expect(201);
            } else {
                answer.expect(201);
            }
        }
        let pushed = client
            .put_manifest(&repository, &tag, MANIFEST, &image.manifest)
            .await;
        match pushed.status.as_u16() {
            201 => {
                // Acknowledged under a tag that only this client moves: whole, unless somebody deleted the manifest by digest.
                let answer = client
                    .get(&format!("/v2/{repository}/manifests/{tag}"))
                    .await;
                if answer.status == 200 {
                    assert_eq!(answer.body, image.manifest);
                    for part in [&image.config, &image.layer] {
                        let blob = client
                            .get(&format!("/v2/{repository}/blobs/{}", digest(part)))
                            .await;
                        let still = client
                            .get(&format!("/v2/{repository}/manifests/{tag}"))
                            .await;
                        assert!(
                            blob.status == 200 || still.status == 404,
                            "an acknowledged manifest lost a blob: {}",
                            blob.text()
                        );
                    }
                }
            }
            404 => assert_eq!(pushed.code(), "MANIFEST_BLOB_UNKNOWN"),
            other => panic!("{other}: {}", pushed.text()),
        }
        if number.is_multiple_of(4) {
            let gone = client
                .delete(&format!("/v2/{repository}/manifests/{}", image.digest()))
                .await;
            assert!(matches!(gone.status.as_u16(), 202 | 404), "{}", gone.text());
        }
        round += 1;
        rounds.fetch_add(1, Ordering::Relaxed);
    }
}

#[test]
fn fifty_clients_and_a_collector_without_grace_lose_nothing() {
    on_both_with(
        &[
            ("SEAWALL_GC__GRACE", "0s"),
            ("SEAWALL_UPLOADS__EXPIRE", "1h"),
        ],
        async |seawall| {
            let (stop, rounds) = (
                Arc::new(AtomicBool::new(false)),
                Arc::new(AtomicUsize::new(0)),
            );
            let clients: Vec<_> = (0..50)
                .map(|number| {
                    tokio::spawn(churn(seawall.admin(), number, stop.clone(), rounds.clone()))
                })
                .collect();
            let mut collections = 0;
            while rounds.load(Ordering::Relaxed) < 600 {
                let output = tokio::task::block_in_place(|| seawall.try_run(&["gc", "--json"], ""));
                assert!(
                    output.status.success(),
                    "{}",
                    String::from_utf8_lossy(&output.stderr)
                );
                collections += 1;
                assert!(collections < 2000, "the clients do not get on");
            }
            stop.store(true, Ordering::Relaxed);
            for client in clients {
                client.await.expect("a client found something missing");
            }
            let report = seawall.try_run(&["fsck", "--deep", "--json"], "");
            assert!(
                report.status.success(),
                "{}{}",
                String::from_utf8_lossy(&report.stdout),
                String::from_utf8_lossy(&report.stderr)
            );
        },
    );
}
