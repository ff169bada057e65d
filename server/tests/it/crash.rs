//! Deaths of the process: what was acknowledged is whole, what was not blocks nothing.

use crate::harness::{Client, Image, image::content, on_both};

/// Pushes images until the server dies; gives those that were acknowledged.
async fn push_until_it_dies(client: Client, number: usize) -> Vec<(String, Image)> {
    let mut acknowledged = Vec::new();
    for round in 0.. {
        let image = Image::with_layer(
            &format!("{number}-{round}"),
            content(&format!("{number}-{round}"), 200_000),
        );
        let repository = format!("library/crash-{number}");
        let pushed = async {
            for part in [&image.config, &image.layer] {
                let start = client
                    .request("POST", &format!("/v2/{repository}/blobs/uploads/"))
                    .try_send()
                    .await?;
                let location = format!(
                    "{}?digest={}",
                    start.header("location"),
                    crate::harness::digest(part)
                );
                client
                    .request("PUT", &location)
                    .body(part.clone())
                    .try_send()
                    .await?;
            }
            let path = format!("/v2/{repository}/manifests/r{round}");
            let request = client
                .request("PUT", &path)
                .header("content-type", crate::harness::image::MANIFEST);
            request.body(image.manifest.clone()).try_send().await
        };
        match pushed.await {
            Ok(answer) if answer.status == 201 => {
                acknowledged.push((format!("{repository}:r{round}"), image));
            }
            _ => break,
        }
    }
    acknowledged
}

#[test]
fn a_server_killed_during_sixteen_pushes_keeps_every_acknowledged_one() {
    on_both(async |seawall| {
        let clients: Vec<_> = (0..16)
            .map(|number| tokio::spawn(push_until_it_dies(seawall.admin(), number)))
            .collect();
        // Killed once something was surely acknowledged, in the middle of everything else.
        let admin = seawall.admin();
        while admin.get("/v2/library/crash-15/manifests/r1").await.status != 200 {}
        seawall.kill();
        let mut acknowledged = Vec::new();
        for client in clients {
            acknowledged.extend(client.await.expect("a client"));
        }
        assert!(acknowledged.len() >= 2);
        seawall.launch();
        let admin = seawall.admin();
        for (name, image) in &acknowledged {
            let (repository, tag) = name.split_once(':').expect("a tag");
            admin.pull(repository, tag, image).await;
        }
        // And everybody can go on at once.
        for number in 0..16 {
            let image = Image::new(&format!("after-{number}"));
            admin
                .push(&format!("library/crash-{number}"), "after", &image)
                .await;
        }
        let report = seawall.try_run(&["fsck", "--deep", "--json"], "");
        assert!(
            report.status.success(),
            "{}{}",
            String::from_utf8_lossy(&report.stdout),
            String::from_utf8_lossy(&report.stderr)
        );
    });
}
