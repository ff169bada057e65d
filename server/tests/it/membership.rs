//! Nodes that share a PostgreSQL and a store know of each other: names, drains, and what they must have alike.

use std::{
    io::Read,
    path::Path,
    process::Stdio,
    time::{Duration, Instant},
};

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use serde_json::{Value, json};

use crate::{
    harness::{
        Client, Image, Seawall,
        server::{bucket_on, on_each_with, on_sqlite_with},
        until,
    },
    nodes::{first, run},
};

/// Who said nothing for so long has lost his name.
const SILENT: Duration = Duration::from_secs(15);
const PATIENCE: Duration = Duration::from_mins(1);

fn nodes(seawall: &Seawall) -> Value {
    serde_json::from_str(&seawall.run(&["node", "ls", "--json"])).expect("JSON")
}

/// Asks until the node says so of itself.
async fn ready(client: &Client, status: u16) -> Value {
    let start = Instant::now();
    loop {
        let answer = client.get("/readyz").await;
        if answer.status == status {
            return answer.json();
        }
        assert!(start.elapsed() < PATIENCE, "{}", answer.text());
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// What a process says that does not start.
pub fn refused(seawall: &Seawall) -> String {
    let mut command = seawall.command();
    command.stdout(Stdio::null()).stderr(Stdio::piped());
    let mut child = command.spawn().expect("the binary starts");
    let start = Instant::now();
    let status = loop {
        if let Some(status) = child.try_wait().expect("waited for") {
            break status;
        }
        if start.elapsed() > PATIENCE {
            let _ = child.kill();
            panic!("it runs");
        }
        std::thread::sleep(Duration::from_millis(20));
    };
    assert!(!status.success());
    let mut told = String::new();
    let mut errors = child.stderr.take().expect("piped");
    errors.read_to_string(&mut told).expect("text");
    told
}

#[test]
fn nodes_are_listed_drained_and_resumed_from_each_other() {
    let Some(mut one) = first(&[("SEAWALL_SERVER__NODE", "one")]) else {
        return;
    };
    run(async {
        let mut two = one.start_beside(&[("SEAWALL_GC__GRACE", "5m")]);
        let names = nodes(&one);
        let names: Vec<_> = names
            .as_array()
            .expect("a list")
            .iter()
            .map(|node| (&node["name"], &node["alive"], &node["differs"]))
            .collect();
        let (yes, none) = (json!(true), json!([]));
        let grace = json!(["gc.grace"]);
        assert_eq!(
            names,
            [
                (&json!("beside"), &yes, &grace),
                (&json!("one"), &yes, &none)
            ]
        );
        let (admin, other) = (one.admin(), two.admin());
        let image = Image::new("shared");
        admin.push("library/app", "v1", &image).await;
        let answer = other.get("/v2/library/app/manifests/v1").await.expect(200);
        assert_eq!(answer.header("x-seawall-node"), "beside");
        assert_eq!(admin.get("/v2/").await.header("x-seawall-node"), "one");

        assert_eq!(
            one.run(&["node", "drain", "beside"]),
            "node beside is drained\n"
        );
        assert_eq!(ready(&other, 503).await["status"], "draining");
        // It serves whoever comes all the same, and begins no jobs.
        other.pull("library/app", "v1", &image).await;
        ready(&admin, 200).await;
        for _ in 0..5 {
            one.run(&["gc"]);
        }
        let jobs = one.run(&["job", "ls", "--json"]);
        let jobs: Value = serde_json::from_str(&jobs).expect("JSON");
        let collections = jobs.as_array().expect("a list").iter();
        let collections: Vec<_> = collections.filter(|job| job["kind"] == "gc").collect();
        assert_eq!(collections.len(), 5);
        assert!(
            collections.iter().all(|job| job["node"] == "one"),
            "{collections:#?}"
        );
        let told = two.run(&["node", "ls"]);
        assert!(told.contains("beside  drained"), "{told}");

        let resume = admin.api("POST", "/system/nodes/beside/resume", &Value::Null);
        resume.await.expect(200);
        assert_eq!(ready(&other, 200).await["status"], "ready");
        let nowhere = admin.api("POST", "/system/nodes/nowhere/drain", &Value::Null);
        nowhere.await.refused(404, "NOT_FOUND");
        let listed = other.api_get("/system/nodes").await.expect(200).json();
        assert_eq!(listed.as_array().map(Vec::len), Some(2), "{listed}");
        two.stop();
        assert_eq!(nodes(&one).as_array().map(Vec::len), Some(1));
        one.stop();
    });
}

#[test]
fn one_node_alone_is_drained_too() {
    on_each_with(&[("SEAWALL_SERVER__NODE", "one")], async |seawall| {
        let admin = seawall.admin();
        until("it is ready", async || {
            nodes(seawall)[0]["state"] == "ready"
        })
        .await;
        seawall.run(&["node", "drain", "one"]);
        assert_eq!(ready(&admin, 503).await["status"], "draining");
        let told = seawall.try_run(&["gc"], "");
        let told = String::from_utf8_lossy(&told.stderr).into_owned();
        assert!(told.contains("all nodes are drained"), "{told}");
        seawall.run(&["node", "resume", "one"]);
        ready(&admin, 200).await;
        seawall.run(&["gc"]);
        seawall.stop();
        assert_eq!(
            seawall.run(&["node", "ls"]),
            "no node serves this registry\n"
        );
        seawall.launch();
    });
}

#[test]
fn a_node_that_is_not_to_be_named_is_not() {
    on_sqlite_with(
        &[("SEAWALL_SERVER__NODE_HEADER", "false")],
        async |seawall| {
            let answer = seawall.admin().get("/v2/").await.expect(200);
            assert!(!answer.headers.contains_key("x-seawall-node"));
        },
    );
}

#[test]
fn a_name_belongs_to_one_process() {
    let Some(mut one) = first(&[("SEAWALL_SERVER__NODE", "one")]) else {
        return;
    };
    run(async {
        let mut two = one.start_beside(&[]);
        let pid = two.pid();
        let third = one.prepare_beside(&[]);
        let told = refused(&third);
        assert!(
            told.contains("a node named `beside` runs already")
                && told.contains(&format!("(process {pid})")),
            "{told}"
        );
        // Killed and started again where it was, it has its name at once; elsewhere it waits until the old one is silent.
        two.kill();
        let start = Instant::now();
        two.launch();
        assert!(start.elapsed() < SILENT / 2, "{:?}", start.elapsed());
        two.signal("STOP");
        let mut third = third;
        third.launch();
        two.signal("CONT");
        // What it was in the middle of is the other's now: it ends.
        assert!(!two.wait().success());
        let image = Image::new("late");
        third.admin().push("library/late", "v1", &image).await;
        third.stop();
        one.stop();
    });
}

#[test]
fn a_node_with_another_key_or_another_store_does_not_start_and_says_who_has_the_right_one() {
    let Some(mut one) = first(&[("SEAWALL_SERVER__NODE", "one")]) else {
        return;
    };
    run(async {
        let home = tempfile::tempdir().expect("a temporary directory");
        let key = home.path().join("secretkey");
        std::fs::write(&key, "0123456789abcdef0123456789abcdef").expect("written");
        let key = key.display().to_string();
        let wrong_key = one.prepare_beside(&[("SEAWALL_SERVER__SECRET_KEY_FILE", &key)]);
        let told = refused(&wrong_key);
        assert!(
            told.contains(
                "is not the one this database was encrypted with: copy the right file there from a backup or another node, such as node `one` on"
            ),
            "{told}"
        );
        let mut stranger = Seawall::start_in(&home.path().join("stranger"), &[]);
        stranger.stop();
        let storage = format!("file://{}/storage", stranger.data().display());
        let wrong_store = one.prepare_beside(&[("SEAWALL_STORAGE__URL", &storage)]);
        let told = refused(&wrong_store);
        assert!(
            told.contains("the database belongs to") && told.contains("(used by node `one` on"),
            "{told}"
        );
        let none = home.path().join("none").display().to_string();
        let no_key = one.prepare_beside(&[("SEAWALL_SERVER__SECRET_KEY_FILE", &none)]);
        let told = refused(&no_key);
        assert!(
            told.contains("node `one` on") && told.contains("has the right one"),
            "{told}"
        );
        assert!(!Path::new(&none).exists());
        one.stop();
    });
}

/// Before the first push nothing else tells a store that is not mounted from a new one.
#[test]
fn a_node_with_an_empty_store_of_its_own_does_not_start_beside_another() {
    let Some(mut one) = first(&[("SEAWALL_SERVER__NODE", "one")]) else {
        return;
    };
    run(async {
        let home = tempfile::tempdir().expect("a temporary directory");
        let storage = format!("file://{}/storage", home.path().display());
        let two = one.prepare_beside(&[("SEAWALL_STORAGE__URL", &storage)]);
        let told = refused(&two);
        assert!(
            told.contains(
                "has no contents, and this database has another one (used by node `one` on"
            ) && told.contains("is its file system mounted"),
            "{told}"
        );
        assert!(!home.path().join("storage/store-id").exists());
        // Nor does it when the other has gone.
        one.stop();
        let told = refused(&two);
        assert!(
            told.contains("has no contents, and this database has another one: "),
            "{told}"
        );
        one.launch();
        let image = Image::new("app");
        one.admin().push("library/app", "v1", &image).await;
        one.stop();
    });
}

#[test]
fn nodes_that_start_at_once_find_one_store() {
    let home = tempfile::tempdir().expect("a temporary directory");
    let directory = format!("file://{}/storage", home.path().display());
    let mut stores = vec![vec![("SEAWALL_STORAGE__URL", directory)]];
    stores.extend(testkit::s3().map(bucket_on));
    for mut store in stores {
        let Some(mut one) = first(&[("SEAWALL_SERVER__NODE", "one")]) else {
            return;
        };
        run(async {
            one.stop();
            // As before the first start, but for the key file.
            one.sql("DELETE FROM facts WHERE name LIKE 'store.%'");
            for (key, value) in store.drain(..) {
                one.set(key, &value);
            }
            let nodes = ["two", "three", "four"];
            let nodes = nodes.map(|name| one.prepare_beside(&[("SEAWALL_SERVER__NODE", name)]));
            std::thread::scope(|scope| {
                let all = nodes.into_iter().map(|mut node| {
                    scope.spawn(move || {
                        node.launch();
                        node
                    })
                });
                let all: Vec<_> = all.collect();
                for node in all {
                    node.join().expect("it started").stop();
                }
            });
            one.launch();
            let image = Image::new("app");
            one.admin().push("library/app", "v1", &image).await;
            one.stop();
        });
    }
}

/// Killed between two steps: it has said with which mark, and has put it into a store of its own.
#[test]
fn a_node_that_was_killed_as_it_marked_its_store_is_waited_for_and_forgotten() {
    let Some(mut one) = first(&[("SEAWALL_SERVER__NODE", "one")]) else {
        return;
    };
    run(async {
        one.stop();
        let home = tempfile::tempdir().expect("a temporary directory");
        let elsewhere = home.path().join("storage");
        let wrong = format!("file://{}", elsewhere.display());
        let wrong = one.prepare_beside(&[("SEAWALL_STORAGE__URL", &wrong)]);
        std::fs::rename(one.data().join("storage"), &elsewhere).expect("moved");
        let start = Instant::now();
        one.sql(
            "DELETE FROM facts WHERE name = 'store.id';
             INSERT INTO leases (name, holder, until, term)
             VALUES ('store', 'killed', (EXTRACT(EPOCH FROM clock_timestamp()) * 1000000)::BIGINT + 3000000, 1)",
        );
        one.launch();
        assert!(start.elapsed() > Duration::from_secs(3));
        let told = refused(&wrong);
        assert!(
            told.contains("this database has another one (used by node `one` on"),
            "{told}"
        );
        let image = Image::new("app");
        one.admin().push("library/app", "v1", &image).await;
        one.stop();
    });
}

/// In the right store, and killed before it said that it has.
#[test]
fn a_mark_that_nobody_has_told_of_is_found() {
    let Some(mut one) = first(&[("SEAWALL_SERVER__NODE", "one")]) else {
        return;
    };
    let mark = one.data().join("storage/store-id");
    let before = std::fs::read_to_string(&mark).expect("a mark");
    one.kill();
    one.sql("DELETE FROM facts WHERE name = 'store.id'");
    let told = one.run(&["check"]);
    assert!(told.contains("marked by a start"), "{told}");
    one.launch();
    let after = std::fs::read_to_string(&mark).expect("a mark");
    assert_eq!(after, before);
    one.stop();
}

/// What the one process of an SQLite file takes for its store is not sure before something was pushed.
#[test]
fn a_server_alone_may_take_another_store_until_something_is_pushed() {
    let home = tempfile::tempdir().expect("a temporary directory");
    let place = |name: &str| format!("file://{}/{name}", home.path().display());
    let (first, second) = (place("first"), place("second"));
    let mut seawall = Seawall::start_alone(&[("SEAWALL_STORAGE__URL", &first)]);
    run(async {
        seawall.stop();
        seawall.set("SEAWALL_STORAGE__URL", &second);
        // A command takes none.
        let told = seawall.try_run(&["user", "list"], "");
        let told = String::from_utf8_lossy(&told.stderr).into_owned();
        assert!(told.contains("is not the one of this database"), "{told}");
        seawall.launch();
        seawall.stop();
        seawall.set("SEAWALL_STORAGE__URL", &first);
        seawall.launch();
        let image = Image::new("app");
        seawall.admin().push("library/app", "v1", &image).await;
        seawall.stop();
        seawall.set("SEAWALL_STORAGE__URL", &second);
        let told = refused(&seawall);
        assert!(told.contains("the database belongs to"), "{told}");
        seawall.set("SEAWALL_STORAGE__URL", &first);
        seawall.launch();
        seawall.admin().pull("library/app", "v1", &image).await;
    });
}

/// An import gives a database without contents another store. A node that opened the one before may still start, or have been silent so long.
#[test]
fn nodes_notice_that_the_database_has_another_store() {
    let Some(mut one) = first(&[("SEAWALL_SERVER__NODE", "one")]) else {
        return;
    };
    run(async {
        let mut two = one.start_beside(&[]);
        // Whoever is to have its name waits until it is silent.
        two.signal("STOP");
        let third = one.prepare_beside(&[]);
        let noted = third.data().join("seawall.run");
        let told = std::thread::scope(|scope| {
            let third = scope.spawn(|| refused(&third));
            let start = Instant::now();
            while !noted.exists() {
                assert!(start.elapsed() < PATIENCE);
                std::thread::sleep(Duration::from_millis(20));
            }
            one.sql("UPDATE facts SET value = 'anothers' WHERE name = 'store.id'");
            third.join().expect("it ends")
        });
        assert!(told.contains("the database names another store"), "{told}");
        // Those that serve end as soon as they look.
        two.signal("CONT");
        assert!(!two.wait().success());
        assert!(!one.wait().success());
    });
}

/// A token, and the key that signed it.
async fn token(seawall: &Seawall) -> (String, String) {
    let path = "/service/token?service=harbor-registry&scope=repository:library/app:pull";
    let told = seawall.admin().get(path).await.expect(200).json();
    let token = told["token"].as_str().expect("a token").to_owned();
    let head = token.split('.').next().expect("a head");
    let head = URL_SAFE_NO_PAD.decode(head).expect("base64");
    let head: Value = serde_json::from_slice(&head).expect("JSON");
    (token, head["kid"].as_str().expect("a name").to_owned())
}

#[test]
fn the_key_of_tokens_is_changed_on_all_nodes() {
    let Some(mut one) = first(&[]) else { return };
    run(async {
        let image = Image::new("app");
        one.admin().push("library/app", "v1", &image).await;
        let mut two = one.start_beside(&[]);
        let (old, first_key) = token(&two).await;
        let told = one.run(&["key", "rotate", "token"]);
        let second_key = token(&one).await.1;
        assert_ne!(first_key, second_key);
        assert!(told.contains(&second_key), "{told}");
        until("the other signs with it", async || {
            token(&two).await.1 == second_key
        })
        .await;
        let path = "/v2/library/app/manifests/v1";
        let ask = async |node: &Seawall, token: &str| {
            node.stranger().with_bearer(token).get(path).await.status
        };
        for node in [&one, &two] {
            assert_eq!(ask(node, &old).await, 200, "it counts until it ends");
        }
        one.run(&["key", "rotate", "token", "--revoke"]);
        assert_eq!(ask(&one, &old).await, 401);
        until("the old one ends", async || ask(&two, &old).await == 401).await;
        let (new, _) = token(&two).await;
        for node in [&one, &two] {
            assert_eq!(ask(node, &new).await, 200);
        }
        two.stop();
        one.stop();
    });
}
