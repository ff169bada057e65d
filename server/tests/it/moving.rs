//! Registries that go elsewhere while they are used: from one machine to PostgreSQL and a bucket, and back.

mod killed;

use std::{
    fs,
    process::Output,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
};

use bytes::Bytes;
use serde_json::{Value, json};

use crate::{
    harness::{
        Browser, Client, Image, Seawall, digest,
        image::{MANIFEST, content},
        server::bucket_on,
        until,
    },
    nodes::run,
};

const MIB: usize = 1 << 20;

/// A configuration of the place to move to.
fn written(
    seawall: &Seawall,
    name: &str,
    database: Option<&str>,
    storage: &[(&str, &str)],
) -> String {
    let mut lines = Vec::new();
    if let Some(url) = database {
        lines.push(format!("[database]\nurl = \"{url}\""));
    }
    if !storage.is_empty() {
        lines.push("[storage]".to_owned());
        let keys = storage.iter();
        lines.extend(keys.map(|(key, value)| format!("{key} = \"{value}\"")));
    }
    let path = seawall.data().join(name);
    fs::write(&path, lines.join("\n")).expect("written");
    path.display().to_string()
}

/// The section `storage` of a fresh bucket.
fn bucket(s3: &testkit::S3) -> Vec<(&'static str, String)> {
    let keys = bucket_on(s3.clone()).into_iter().map(|(key, value)| {
        let key = match key {
            "SEAWALL_STORAGE__URL" => "url",
            "SEAWALL_STORAGE__ENDPOINT" => "endpoint",
            "SEAWALL_STORAGE__ACCESS_KEY" => "access_key",
            _ => "secret_key",
        };
        (key, value)
    });
    keys.collect()
}

fn pairs<'a>(section: &'a [(&'static str, String)]) -> Vec<(&'a str, &'a str)> {
    let pairs = section.iter().map(|(key, value)| (*key, value.as_str()));
    pairs.collect()
}

#[track_caller]
fn moved(output: &Output) -> Value {
    assert!(
        output.status.success(),
        "{}{}",
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    );
    let status: Value = serde_json::from_slice(&output.stdout).expect("JSON");
    assert_eq!(status["state"], "done", "{status}");
    let pause = status["report"]["pause_ms"].as_u64().expect("a number");
    eprintln!("writers waited {pause} ms: {}", status["report"]);
    assert!(pause < 10_000, "{status}");
    assert_eq!(status["report"]["lost"], 0, "{status}");
    status
}

#[track_caller]
fn refused(output: &Output, words: &str) {
    let told = String::from_utf8_lossy(&output.stderr);
    assert!(!output.status.success() && told.contains(words), "{told}");
}

fn move_to(seawall: &Seawall, file: &str) -> Output {
    seawall.try_run(&["move", "--to-config", file, "--json"], "")
}

/// People at work, until they are told to stop.
#[derive(Default)]
struct Crowd {
    end: AtomicBool,
    pushed: AtomicUsize,
    /// Uploads that were in progress and began anew.
    anew: AtomicUsize,
    /// What was acknowledged: repository, tag, image; none where it was deleted.
    acknowledged: Mutex<Vec<(String, String, Option<Image>)>>,
}

impl Crowd {
    /// An upload that was in progress may have to begin anew, nothing else.
    async fn push_blob(&self, client: &Client, repository: &str, bytes: &Bytes) {
        for _ in 0..10 {
            let start = client
                .post(&format!("/v2/{repository}/blobs/uploads/"))
                .await;
            let location = start.expect(202).header("location").to_owned();
            let (first, rest) = bytes.split_at(bytes.len() / 2);
            let patched = client
                .request("PATCH", &location)
                .body(Bytes::copy_from_slice(first))
                .send()
                .await;
            let finished = if patched.status == 202 {
                let path = format!("{location}?digest={}", digest(bytes));
                client.put(&path, Bytes::copy_from_slice(rest)).await
            } else {
                patched
            };
            if finished.status == 201 {
                return;
            }
            finished.refused(404, "BLOB_UPLOAD_UNKNOWN");
            self.anew.fetch_add(1, Ordering::Relaxed);
        }
        panic!("an upload began anew again and again");
    }

    fn told(&self, repository: &str, tag: &str, image: Option<Image>) {
        let mut told = self.acknowledged.lock().expect("unpoisoned");
        told.push((repository.to_owned(), tag.to_owned(), image));
    }

    async fn work(self: Arc<Self>, client: Client, who: String) {
        let repository = format!("library/crowd-{who}");
        let mut kept: Option<(String, Image)> = None;
        for round in 0.. {
            if self.end.load(Ordering::Relaxed) {
                return;
            }
            let seed = format!("{who}-{round}");
            let length = if round % 8 == 3 { 9 * MIB } else { 50_000 };
            let image = Image::with_layer(&seed, content(&seed, length));
            self.push_blob(&client, &repository, &image.config).await;
            self.push_blob(&client, &repository, &image.layer).await;
            let tag = format!("r{round}");
            client
                .put_manifest(&repository, &tag, MANIFEST, &image.manifest)
                .await
                .expect(201);
            // What was written is read at once, wherever it is.
            client.pull(&repository, &tag, &image).await;
            self.told(&repository, &tag, Some(image.clone()));
            if let Some((tag, image)) = kept.take().filter(|_| round % 3 == 2) {
                let path = format!("/v2/{repository}/manifests/{}", image.digest());
                client.delete(&path).await.expect(202);
                self.told(&repository, &tag, None);
            }
            kept = Some((tag, image));
            self.pushed.fetch_add(1, Ordering::Relaxed);
        }
    }

    fn start(seawall: &Seawall, name: &str) -> (Arc<Self>, Vec<tokio::task::JoinHandle<()>>) {
        let crowd = Arc::new(Self::default());
        let tasks = (0..4).map(|who| {
            let work = crowd.clone().work(seawall.admin(), format!("{name}-{who}"));
            tokio::spawn(work)
        });
        (crowd.clone(), tasks.collect())
    }

    async fn has_pushed(&self, more: usize) {
        let before = self.pushed.load(Ordering::Relaxed);
        until("they push", async || {
            self.pushed.load(Ordering::Relaxed) >= before + more
        })
        .await;
    }

    async fn stop(&self, tasks: Vec<tokio::task::JoinHandle<()>>) {
        self.end.store(true, Ordering::Relaxed);
        for task in tasks {
            task.await.expect("nobody was refused anything");
        }
    }

    /// Everything that was acknowledged is as it was said.
    async fn check(&self, client: &Client) {
        let told = self.acknowledged.lock().expect("unpoisoned").clone();
        let mut last = std::collections::BTreeMap::new();
        for (repository, tag, image) in told {
            last.insert((repository, tag), image);
        }
        assert!(last.len() > 8);
        for ((repository, tag), image) in last {
            if let Some(image) = image {
                client.pull(&repository, &tag, &image).await;
            } else {
                let path = format!("/v2/{repository}/manifests/{tag}");
                client.get(&path).await.expect(404);
            }
        }
    }
}

/// What anybody can ask, but for what goes on by itself.
async fn asked(client: &Client) -> Vec<Value> {
    let mut all = Vec::new();
    for path in [
        "/projects?page_size=100",
        "/projects/library/summary",
        "/projects/library/repositories?page_size=100",
        "/statistics",
        "/users?page_size=100",
        "/robots?page_size=100",
        "/quotas?page_size=100",
        "/labels?scope=g",
        "/configurations",
    ] {
        all.push(client.api_get(path).await.expect(200).json());
    }
    all
}

/// The same while others go on.
fn move_beside(seawall: &Seawall, file: &str) -> Output {
    tokio::task::block_in_place(|| move_to(seawall, file))
}

fn fsck(seawall: &Seawall) {
    let report = seawall.try_run(&["fsck", "--deep", "--json"], "");
    assert!(
        report.status.success(),
        "{}{}",
        String::from_utf8_lossy(&report.stdout),
        String::from_utf8_lossy(&report.stderr)
    );
}

#[test]
fn a_registry_goes_to_a_cluster_and_back_while_it_is_used() {
    let (Some(s3), Some(postgres)) = (testkit::s3(), testkit::postgres()) else {
        return;
    };
    let database = postgres.fresh_database();
    let storage = bucket(&s3);
    run(async {
        let mut seawall = Seawall::start_alone(&[]);
        let admin = seawall.admin();
        let before = Image::with_layer("before", content("before", 20 * MIB));
        admin.push("library/app", "v1", &before).await;
        seawall.make_user("alice");
        let wanted = json!({
            "name": "ci", "level": "system", "duration": -1,
            "permissions": [{ "kind": "project", "namespace": "library",
                "access": [{ "resource": "repository", "action": "pull" }] }],
        });
        let (_, robot) = seawall.make_robot(&wanted).await;
        let token = admin.token("repository:library/app:pull,push").await;
        let mut browser = Browser::signed_in(seawall.stranger(), "alice").await;
        admin
            .api("POST", "/labels", &json!({ "name": "good", "scope": "g" }))
            .await
            .expect(201);

        let there = written(
            &seawall,
            "there.toml",
            Some(&database.url()),
            &pairs(&storage),
        );
        let (crowd, tasks) = Crowd::start(&seawall, "there");
        crowd.has_pushed(8).await;
        let output = move_beside(&seawall, &there);
        let status = moved(&output);
        assert!(status["report"]["contents"].as_u64() > Some(20), "{status}");
        crowd.has_pushed(8).await;
        crowd.stop(tasks).await;
        eprintln!("{} uploads began anew", crowd.anew.load(Ordering::Relaxed));
        let check = async |seawall: &Seawall| {
            crowd.check(&seawall.admin()).await;
            seawall.admin().pull("library/app", "v1", &before).await;
            seawall
                .user("alice")
                .api_get("/users/current")
                .await
                .expect(200);
        };
        check(&seawall).await;
        robot.pull("library/app", "v1", &before).await;
        token.pull("library/app", "v1", &before).await;
        browser.get("/api/v2.0/users/current").await.expect(200);
        fsck(&seawall);

        // The next start finds it, whatever the configuration says.
        seawall.stop();
        seawall.launch();
        check(&seawall).await;
        // What was pulled is counted by the end of the process.
        seawall.stop();
        seawall.launch();
        let asked_there = asked(&seawall.admin()).await;
        let record = seawall.data().join("moved.toml");
        {
            use std::os::unix::fs::PermissionsExt;
            let mode = fs::metadata(&record).expect("there").permissions().mode();
            assert_eq!(mode & 0o777, 0o600);
        }
        // Without it the old database says where it has gone.
        seawall.stop();
        let kept = fs::read(&record).expect("read");
        fs::remove_file(&record).expect("removed");
        let output = seawall.command().output().expect("runs");
        refused(&output, "was moved to postgres://");
        fs::write(&record, kept).expect("written");
        seawall.launch();

        // Back, into new places.
        let back = written(
            &seawall,
            "back.toml",
            Some("sqlite:DATA/back.sqlite"),
            &[("url", "file://DATA/back")],
        );
        assert_eq!(asked(&seawall.admin()).await, asked_there);
        let (second, tasks) = Crowd::start(&seawall, "back");
        second.has_pushed(8).await;
        moved(&move_beside(&seawall, &back));
        second.has_pushed(8).await;
        second.stop(tasks).await;
        check(&seawall).await;
        second.check(&seawall.admin()).await;
        seawall.stop();
        seawall.launch();
        check(&seawall).await;
        second.check(&seawall.admin()).await;
        fsck(&seawall);
        seawall.stop();
    });
}

#[test]
fn a_registry_at_rest_is_the_same_elsewhere() {
    let Some(postgres) = testkit::postgres() else {
        return;
    };
    let database = postgres.fresh_database();
    run(async {
        let mut seawall = Seawall::start_alone(&[]);
        let admin = seawall.admin();
        for number in 0..5 {
            let image = Image::new(&format!("image-{number}"));
            admin
                .push(&format!("library/app-{number}"), "v1", &image)
                .await;
            admin
                .pull(&format!("library/app-{number}"), "v1", &image)
                .await;
        }
        seawall.make_user("bob");
        // The database alone, by a server; what was asked before is answered the same.
        // What was pulled is counted by the end of the process.
        seawall.stop();
        seawall.launch();
        let before = asked(&seawall.admin()).await;
        let there = written(&seawall, "there.toml", Some(&database.url()), &[]);
        moved(&move_beside(&seawall, &there));
        assert_eq!(asked(&seawall.admin()).await, before);
        // The contents alone, without a server.
        seawall.stop();
        let there = written(
            &seawall,
            "store.toml",
            None,
            &[("url", "file://DATA/elsewhere")],
        );
        moved(&move_to(&seawall, &there));
        let old = seawall.data().join("storage/store-id");
        let old = fs::read_to_string(old).expect("an identity");
        assert!(old.contains(".moved"), "{old}");
        seawall.launch();
        assert_eq!(asked(&seawall.admin()).await, before);
        for number in 0..5 {
            let image = Image::new(&format!("image-{number}"));
            seawall
                .admin()
                .pull(&format!("library/app-{number}"), "v1", &image)
                .await;
        }
        fsck(&seawall);
        // And the database back, with no server either.
        seawall.stop();
        seawall.launch();
        let before = asked(&seawall.admin()).await;
        seawall.stop();
        let back = written(&seawall, "back.toml", Some("sqlite:DATA/back.sqlite"), &[]);
        moved(&move_to(&seawall, &back));
        seawall.launch();
        assert_eq!(asked(&seawall.admin()).await, before);
        fsck(&seawall);
        seawall.stop();
    });
}

#[test]
fn contents_alone_go_from_a_directory_to_one_bucket_and_another_while_they_are_pushed() {
    let Some(s3) = testkit::s3() else {
        return;
    };
    let (first, second) = (bucket(&s3), bucket(&s3));
    run(async {
        let mut seawall = Seawall::start_alone(&[]);
        let mut crowds = Vec::new();
        for (name, storage) in [("first", first), ("second", second)] {
            let there = written(&seawall, &format!("{name}.toml"), None, &pairs(&storage));
            let (crowd, tasks) = Crowd::start(&seawall, name);
            crowd.has_pushed(16).await;
            moved(&move_beside(&seawall, &there));
            crowd.has_pushed(16).await;
            crowd.stop(tasks).await;
            eprintln!("{} uploads began anew", crowd.anew.load(Ordering::Relaxed));
            crowds.push(crowd);
            for crowd in &crowds {
                crowd.check(&seawall.admin()).await;
            }
        }
        seawall.stop();
        seawall.launch();
        for crowd in &crowds {
            crowd.check(&seawall.admin()).await;
        }
        fsck(&seawall);
        seawall.stop();
    });
}

#[test]
fn what_cannot_be_moved_is_refused_and_nothing_changes() {
    let Some(postgres) = testkit::postgres() else {
        return;
    };
    let (used, fresh) = (postgres.fresh_database(), postgres.fresh_database());
    run(async {
        let in_use = used.url();
        let mut other = Seawall::start_on(used, &[]);
        other.stop();
        // Kept, and its database with it.
        let _other = other;
        let mut seawall = Seawall::start_alone(&[]);
        let image = Image::new("stays");
        seawall.admin().push("library/app", "v1", &image).await;
        let to = |name: &str, url: &str| written(&seawall, name, Some(url), &[]);
        refused(&move_to(&seawall, &to("used.toml", &in_use)), "is in use");
        refused(
            &move_to(
                &seawall,
                &to("away.toml", "postgres://nobody@127.0.0.1:1/none"),
            ),
            "cannot be used",
        );
        refused(
            &move_to(&seawall, &to("same.toml", "sqlite:DATA/seawall.sqlite")),
            "there already",
        );
        let stranger = seawall.data().join("stranger");
        fs::create_dir(&stranger).expect("made");
        fs::write(stranger.join("file"), "of somebody").expect("written");
        let there = written(
            &seawall,
            "full.toml",
            None,
            &[("url", "file://DATA/stranger")],
        );
        refused(&move_to(&seawall, &there), "not empty");
        let alias = seawall.data().join("alias");
        std::os::unix::fs::symlink(seawall.data().join("storage"), alias).expect("linked");
        let own = written(&seawall, "own.toml", None, &[("url", "file://DATA/alias")]);
        refused(&move_to(&seawall, &own), "the one in use");
        refused(&seawall.try_run(&["move"], ""), "say where to");
        refused(
            &seawall.try_run(&["move", "--abort"], ""),
            "no move has begun",
        );
        // Another version's schema.
        let later = fresh.url();
        let mut other = Seawall::start_on(fresh, &[]);
        other.stop();
        other.sql("INSERT INTO schema_migrations VALUES (9999, 'later', 0)");
        refused(&move_to(&seawall, &to("later.toml", &later)), "9999");
        // None of it has left anything.
        let state: Value =
            serde_json::from_str(&seawall.run(&["move", "--status", "--json"])).expect("JSON");
        assert_ne!(state["state"], "interrupted", "{state}");
        assert!(!seawall.data().join("moved.toml").exists());
        seawall.admin().pull("library/app", "v1", &image).await;
        seawall.stop();
        seawall.launch();
        seawall.admin().pull("library/app", "v1", &image).await;
        seawall.stop();
    });
}
