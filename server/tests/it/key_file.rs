//! The key file is changed while the registry serves.

use std::{
    fs,
    path::{Path, PathBuf},
    sync::atomic::{AtomicBool, AtomicUsize, Ordering},
};

use serde_json::json;

use crate::{
    harness::{
        Client, Image, Seawall,
        image::{content, digest},
        server::on_sqlite_with,
        until,
    },
    nodes::{first, run},
};

const ROTATE: [&str; 3] = ["key", "rotate", "secretkey"];

fn next_to(key: &Path, suffix: &str) -> PathBuf {
    PathBuf::from(format!("{}.{suffix}", key.display()))
}

/// An upload with its first half, and what is still to come.
async fn begin(client: &Client, seed: &str) -> (String, Vec<u8>) {
    let bytes = content(seed, 40_000);
    let path = "/v2/library/app/blobs/uploads/";
    let place = client.post(path).await.expect(202);
    let half = client
        .request("PATCH", place.header("location"))
        .body(bytes.slice(..20_000));
    let half = half.send().await.expect(202);
    (half.header("location").to_owned(), bytes.to_vec())
}

async fn end(client: &Client, place: &str, bytes: &[u8]) {
    let path = format!("{place}?digest={}", digest(bytes));
    client
        .put(&path, bytes[20_000..].to_vec())
        .await
        .expect(201);
}

async fn token(client: &Client) -> String {
    let path = "/service/token?service=harbor-registry&scope=repository:library/app:pull";
    let told = client.get(path).await.expect(200).json();
    told["token"].as_str().expect("a token").to_owned()
}

/// Pushes until it is told to stop; each upload begins on one node and ends on the other.
async fn push(nodes: [&Client; 2], over: &AtomicBool, done: &AtomicUsize) {
    while !over.load(Ordering::Relaxed) {
        let n = done.fetch_add(1, Ordering::Relaxed);
        let (place, bytes) = begin(nodes[n % 2], &format!("load {n}")).await;
        end(nodes[(n + 1) % 2], &place, &bytes).await;
        let token = token(nodes[n % 2]).await;
        let path = format!("/v2/library/app/blobs/{}", digest(&bytes));
        let other = Client::new(nodes[(n + 1) % 2].address()).with_bearer(&token);
        assert_eq!(other.head(&path).await.status, 200);
    }
}

/// A node with a key file of its own.
fn beside(one: &Seawall, key: &Path) -> Seawall {
    fs::copy(one.data().join("secretkey"), key).expect("copied");
    let file = key.to_str().expect("text");
    one.start_beside(&[("SEAWALL_SERVER__SECRET_KEY_FILE", file)])
}

#[test]
fn the_key_file_is_changed_on_two_nodes_under_load() {
    let Some(mut one) = first(&[]) else { return };
    run(async {
        let home = tempfile::tempdir().expect("a directory");
        let (key, theirs) = (one.data().join("secretkey"), home.path().join("secretkey"));
        let mut two = beside(&one, &theirs);
        let (admin, other) = (one.admin(), two.admin());
        let wanted = json!({ "email_password": "secret of mine" });
        admin
            .api("PUT", "/configurations", &wanted)
            .await
            .expect(200);
        let before = begin(&admin, "begun before").await;

        let told = one.try_run(&ROTATE, "");
        let told = String::from_utf8_lossy(&told.stderr).into_owned();
        assert!(
            told.contains("`beside`") && told.contains("secretkey.next"),
            "{told}"
        );
        fs::copy(next_to(&key, "next"), next_to(&theirs, "next")).expect("copied");

        let (over, done) = (AtomicBool::new(false), AtomicUsize::new(0));
        let rotate = async {
            until("every node has the next key", async || {
                one.try_run(&ROTATE, "").status.success()
            })
            .await;
            until("the other has followed", async || {
                !next_to(&theirs, "next").exists()
            })
            .await;
            let so_far = done.load(Ordering::Relaxed);
            until("pushes go on", async || {
                done.load(Ordering::Relaxed) > so_far + 5
            })
            .await;
            over.store(true, Ordering::Relaxed);
        };
        tokio::join!(rotate, push([&admin, &other], &over, &done));
        eprintln!(
            "{} uploads crossed the change",
            done.load(Ordering::Relaxed)
        );
        assert_eq!(
            fs::read(&key).expect("read"),
            fs::read(&theirs).expect("read")
        );
        end(&other, &before.0, &before.1).await;

        // Both start again, one of them with the key that it had before the change and the next beside it.
        two.kill();
        fs::rename(&theirs, next_to(&theirs, "next")).expect("moved");
        fs::rename(next_to(&theirs, "previous"), &theirs).expect("moved");
        two.launch();
        two.admin()
            .push("library/app", "v2", &Image::new("two"))
            .await;
        one.stop();
        one.launch();
        one.admin()
            .pull("library/app", "v2", &Image::new("two"))
            .await;
        two.stop();
        one.stop();
    });
}

#[test]
fn a_node_that_lacks_the_new_key_ends_and_says_so() {
    let Some(mut one) = first(&[]) else { return };
    run(async {
        one.admin()
            .push("library/app", "v1", &Image::new("one"))
            .await;
        one.sql("UPDATE facts SET value = 'of another' WHERE name = 'secretkey.fingerprint'");
        assert!(!one.wait().success());
    });
}

#[test]
fn one_machine_changes_its_key_file_with_one_command_running_or_not() {
    on_sqlite_with(&[], async |seawall| {
        let key = seawall.data().join("secretkey");
        let admin = seawall.admin();
        let image = Image::new("app");
        admin.push("library/app", "v1", &image).await;
        let (place, bytes) = begin(&admin, "begun before").await;
        let first = fs::read(&key).expect("read");
        let told = seawall.run(&ROTATE);
        assert!(
            told.contains("encrypts the database's secrets now"),
            "{told}"
        );
        let second = fs::read(&key).expect("read");
        assert_ne!(first, second);
        assert_eq!(fs::read(next_to(&key, "previous")).expect("read"), first);
        end(&admin, &place, &bytes).await;
        let (place, bytes) = begin(&admin, "begun between").await;
        seawall.stop();
        let told = seawall.try_run(&ROTATE, "");
        let told = String::from_utf8_lossy(&told.stderr).into_owned();
        assert!(told.contains("`--early`"), "{told}");
        seawall.run(&["key", "rotate", "secretkey", "--early"]);
        let third = fs::read(&key).expect("read");
        assert_ne!(second, third);
        assert!(!next_to(&key, "next").exists());
        seawall.launch();
        let admin = seawall.admin();
        admin.pull("library/app", "v1", &image).await;
        end(&admin, &place, &bytes).await;
    });
}
