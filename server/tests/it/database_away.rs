//! PostgreSQL goes away, and comes back: here, or as a replica that takes over.

use std::sync::{
    Arc,
    atomic::{AtomicBool, AtomicUsize, Ordering},
};

use tokio::task::JoinSet;

use crate::{
    harness::{Answer, Client, Image, Seawall, digest, image::MANIFEST, image::content, until},
    nodes::run,
};

fn is_stale(answer: &Answer) -> bool {
    answer.headers.contains_key("warning")
}

#[test]
fn pulls_of_what_a_node_resolved_go_on_while_the_database_is_away() {
    let Some(postgres) = testkit::private_postgres() else {
        return;
    };
    let database = postgres.server.fresh_database();
    run(async {
        let mut seawall = Seawall::start_on(database, &[]);
        let (admin, image) = (seawall.admin(), Image::new("known"));
        admin.push("library/app", "v1", &image).await;
        let (layer, manifest) = (
            format!("/v2/library/app/blobs/{}", digest(&image.layer)),
            "/v2/library/app/manifests/v1",
        );
        let token = "/service/token?service=harbor-registry&scope=repository:library/app:pull";
        for path in [manifest, &layer, token] {
            assert!(!is_stale(&admin.get(path).await.expect(200)));
        }
        let bearer = admin.get(token).await.json()["token"].clone();
        let bearer = seawall
            .stranger()
            .with_bearer(bearer.as_str().expect("a token"));
        bearer.get(manifest).await.expect(200);

        postgres.crash();
        for client in [&admin, &bearer] {
            let answer = client.get(manifest).await.expect(200);
            assert_eq!(answer.body, image.manifest);
            assert!(is_stale(&answer));
        }
        assert_eq!(admin.get(&layer).await.expect(200).body, image.layer);
        admin.get(token).await.expect(200);
        // What it does not know is away, not missing; and nobody else is let in.
        admin.get("/v2/library/app/manifests/v2").await.expect(503);
        admin
            .get("/v2/library/other/manifests/v1")
            .await
            .expect(503);
        seawall
            .stranger()
            .with_basic("admin", "Wrong12345")
            .get(manifest)
            .await
            .expect(503);
        // Whoever changes something is not judged by what was known.
        let delete = admin.request("DELETE", manifest);
        delete.send().await.expect(503);
        admin.get("/api/v2.0/projects").await.expect(503);
        let refused = admin.put_manifest("library/app", "v2", MANIFEST, &image.manifest);
        assert!(
            refused
                .await
                .expect(503)
                .headers
                .contains_key("retry-after")
        );
        let mut state = String::new();
        until("it says that it is degraded", async || {
            let answer = admin.get("/readyz").await.expect(200);
            state = answer.json()["status"]
                .as_str()
                .unwrap_or_default()
                .to_owned();
            state == "degraded"
        })
        .await;

        postgres.start();
        until("it writes again", async || {
            let pushed = admin.put_manifest("library/app", "v2", MANIFEST, &image.manifest);
            pushed.await.status == 201
        })
        .await;
        let answer = admin.get(manifest).await.expect(200);
        assert!(!is_stale(&answer));
        seawall.stop();
    });
}

/// Pushes small images until told to stop; gives those that were acknowledged.
async fn push_on(
    client: Client,
    number: usize,
    stop: Arc<AtomicBool>,
    pushed: Arc<AtomicUsize>,
) -> Vec<(String, String, Image)> {
    let mut acknowledged = Vec::new();
    let repository = format!("library/on-{number}");
    for round in 0.. {
        if stop.load(Ordering::Relaxed) {
            break;
        }
        let seed = format!("{number}-{round}");
        let image = Image::with_layer(&seed, content(&seed, 20_000));
        let tag = format!("r{round}");
        if push_once(&client, &repository, &tag, &image).await {
            acknowledged.push((repository.clone(), tag, image));
            pushed.fetch_add(1, Ordering::Relaxed);
        }
    }
    acknowledged
}

/// Whether a whole push was acknowledged. Whatever is not is refused as it should be.
async fn push_once(client: &Client, repository: &str, tag: &str, image: &Image) -> bool {
    let fine = |answer: &Answer| {
        let status = answer.status.as_u16();
        assert!(
            matches!(status, 201 | 202 | 503),
            "{status}: {}",
            answer.text()
        );
        status != 503
    };
    for part in [&image.config, &image.layer] {
        let path = format!("/v2/{repository}/blobs/uploads/?digest={}", digest(part));
        let request = client.request("POST", &path).body(part.clone());
        if !fine(&request.send().await) {
            return false;
        }
    }
    let put = client.put_manifest(repository, tag, MANIFEST, &image.manifest);
    fine(&put.await)
}

#[test]
fn nothing_acknowledged_is_lost_when_a_synchronous_standby_takes_over() {
    let Some(postgres) = testkit::private_postgres() else {
        return;
    };
    let database = postgres.server.fresh_database();
    let replica = postgres.replica(true);
    let both = database.url_with(&replica);
    run(async {
        let url = [("SEAWALL_DATABASE__URL", both.as_str())];
        let mut one = Seawall::start_on(database, &url);
        let mut two = one.start_beside(&url);
        let known = Image::new("known");
        one.admin().push("library/app", "v1", &known).await;
        for node in [&one, &two] {
            node.admin().pull("library/app", "v1", &known).await;
        }
        let (stop, pushed) = (Arc::<AtomicBool>::default(), Arc::<AtomicUsize>::default());
        let mut clients = JoinSet::new();
        for number in 0..8 {
            let node = if number % 2 == 0 { &one } else { &two };
            clients.spawn(push_on(node.admin(), number, stop.clone(), pushed.clone()));
        }
        let reach = async |count: usize| {
            until("clients push", async || {
                pushed.load(Ordering::Relaxed) >= count
            })
            .await;
        };
        reach(40).await;
        postgres.crash();
        for node in [&one, &two] {
            node.admin().pull("library/app", "v1", &known).await;
        }
        replica.promote();
        let before = pushed.load(Ordering::Relaxed);
        reach(before + 40).await;
        stop.store(true, Ordering::Relaxed);
        let mut count = 0;
        while let Some(acknowledged) = clients.join_next().await {
            for (repository, tag, image) in acknowledged.expect("a client") {
                two.admin().pull(&repository, &tag, &image).await;
                count += 1;
            }
        }
        assert_eq!(count, pushed.load(Ordering::Relaxed));
        let report = one.try_run(&["fsck", "--deep"], "");
        assert!(
            report.status.success(),
            "{}",
            String::from_utf8_lossy(&report.stdout)
        );
        two.stop();
        one.stop();
    });
}

/// Of an asynchronous replica the last commits may be missing: that is counted, and nothing worse comes of it.
#[test]
fn what_an_asynchronous_replica_lost_is_told_and_can_be_pushed_again() {
    let Some(postgres) = testkit::private_postgres() else {
        return;
    };
    let database = postgres.server.fresh_database();
    let replica = postgres.replica(false);
    let both = database.url_with(&replica);
    run(async {
        let mut one = Seawall::start_on(database, &[("SEAWALL_DATABASE__URL", both.as_str())]);
        let admin = one.admin();
        let (kept, lost) = (Image::new("kept"), Image::new("lost"));
        admin.push("library/app", "v1", &kept).await;
        let told = one.run(&["check"]);
        assert!(told.contains("asynchronous"), "{told}");
        replica.catch_up(&postgres);
        replica.cut_off();
        admin.push("library/app", "v2", &lost).await;
        one.make_user("late");
        one.user("late").get("/v2/").await.expect(200);

        postgres.crash();
        replica.promote();
        let count = async || {
            let metrics = admin.get("/metrics").await.expect(200).text();
            let line = metrics
                .lines()
                .find_map(|line| line.strip_prefix("seawall_database_lost_changes_total "));
            line.map_or(0, |count| count.parse::<u64>().expect("a number"))
        };
        until("the loss is counted", async || count().await > 0).await;
        eprintln!("{} changes are lost", count().await);
        admin.pull("library/app", "v1", &kept).await;
        admin
            .get("/v2/library/app/manifests/v2")
            .await
            .refused(404, "MANIFEST_UNKNOWN");
        one.user("late").get("/v2/").await.expect(401);
        until("everything was compared", async || {
            let jobs = one.run(&["job", "ls", "--json"]);
            let jobs: serde_json::Value = serde_json::from_str(&jobs).expect("JSON");
            let mut jobs = jobs.as_array().expect("a list").iter();
            jobs.any(|job| job["kind"] == "fsck" && job["state"] == "done")
        })
        .await;
        admin.push("library/app", "v2", &lost).await;
        admin.pull("library/app", "v2", &lost).await;
        assert_eq!(count().await, 3, "an artifact, its tag, and a user");
        one.stop();
    });
}
