//! Users, projects and robots.

use serde_json::{Value, json};

use super::{json, refused, with_input};
use crate::harness::{Image, Seawall, on_both};

const PASSWORD: &str = "Harbor12345";

/// Everything that can be done to accounts, under names of its own; the answers with what is different each time taken out.
fn lifecycle(seawall: &Seawall, name: &str) -> Vec<String> {
    let commands: &[&[&str]] = &[
        &[
            "user",
            "create",
            "NAME",
            "--email",
            "NAME@example.com",
            "--realname",
            "A Name",
        ],
        &["user", "set-admin", "NAME", "on"],
        &["user", "set-admin", "NAME", "off"],
        &["user", "reset-password", "NAME"],
        &[
            "project",
            "create",
            "NAME-project",
            "--owner",
            "NAME",
            "--public",
        ],
        &["project", "set-private", "NAME-project"],
        &["project", "member", "set", "NAME-project", "admin", "guest"],
        &["project", "member", "list", "NAME-project"],
        &[
            "robot",
            "create",
            "ci",
            "--project",
            "NAME-project",
            "--push",
        ],
        &[
            "robot",
            "create",
            "NAME-all",
            "--everywhere",
            "--pull",
            "--system-permission",
            "catalog:read",
            "--expires",
            "never",
        ],
        &["robot", "disable", "NAME-project+ci"],
        &["robot", "list", "--project", "NAME-project"],
        &["robot", "enable", "robot$NAME-project+ci"],
        &["robot", "refresh-secret", "NAME-all"],
        &["project", "member", "remove", "NAME-project", "NAME"],
        &["robot", "delete", "NAME-all"],
        &["repository", "list", "NAME-project"],
        &["project", "delete", "NAME-project"],
        &["user", "delete", "NAME"],
    ];
    let mut answers = Vec::new();
    for command in commands {
        let command: Vec<String> = command
            .iter()
            .map(|word| word.replace("NAME", name))
            .collect();
        let mut words: Vec<&str> = command.iter().map(String::as_str).collect();
        answers.push(neutral(&seawall.run(&words), name));
        // What has been done cannot be done again, a list can.
        if words.contains(&"list") {
            words.push("--json");
            answers.push(neutral(&seawall.run(&words), name));
        }
    }
    answers
}

/// With what is different each time masked: names, numbers, times, secrets.
fn neutral(answer: &str, name: &str) -> String {
    let mask = |word: &str| {
        let bare = word.trim_matches(|c: char| c.is_whitespace() || "\",.".contains(c));
        let is_secret = bare.len() == 32 && bare.bytes().all(|byte| byte.is_ascii_alphanumeric());
        if is_secret || bare.starts_with(|c: char| c.is_ascii_digit()) {
            word.replace(bare, "…")
        } else {
            word.to_owned()
        }
    };
    answer
        .replace(name, "NAME")
        .split_inclusive([' ', '\n'])
        .map(mask)
        .collect()
}

#[test]
fn commands_answer_the_same_with_and_without_a_server() {
    on_both(async |seawall| {
        let beside = lifecycle(seawall, "anna");
        seawall.stop();
        let alone = lifecycle(seawall, "bert");
        assert_eq!(beside, alone);
        assert!(
            beside
                .iter()
                .any(|answer| answer.contains("NAME-project: repository:pull, repository:push")),
            "{beside:#?}"
        );
        seawall.launch();
    });
}

#[test]
fn what_one_way_has_changed_the_other_shows() {
    on_both(async |seawall| {
        with_input(
            seawall,
            &["user", "create", "online", "--admin", "--password-stdin"],
            "Harbor12345\n",
        );
        seawall.run(&["project", "create", "team", "--owner", "online"]);
        seawall.run(&["robot", "create", "ci", "--project", "team", "--pull"]);
        let image = Image::new("seen");
        seawall.admin().push("team/app", "v1", &image).await;
        let lists: &[&[&str]] = &[
            &["user", "list"],
            &["project", "list"],
            &["project", "member", "list", "team"],
            &["robot", "list"],
            &["repository", "list"],
            &["artifact", "list", "team/app"],
            &["artifact", "tags", "team/app"],
            &["gc", "--dry-run"],
        ];
        let beside: Vec<Value> = lists.iter().map(|list| json(seawall, list)).collect();
        seawall.stop();
        let alone: Vec<Value> = lists.iter().map(|list| json(seawall, list)).collect();
        assert_eq!(beside, alone);
        assert_eq!(alone[0].as_array().expect("a list").len(), 2);
        assert_eq!(alone[0][1]["admin"], true);
        assert_eq!(
            alone[2],
            json!([{ "user": "online", "role": "projectAdmin" }])
        );
        assert_eq!(
            alone[3][0]["permissions"],
            json!([{ "scope": "team", "resource": "repository", "action": "pull" }])
        );
        assert_eq!(alone[4], json!(["team/app"]));
        for of_app in [&alone[5], &alone[6]] {
            assert_eq!(of_app[0]["digest"], image.digest());
        }
        assert_eq!(alone[5][0]["tags"], json!(["v1"]));
        assert_eq!(alone[5][0]["kind"], "IMAGE");

        with_input(
            seawall,
            &["user", "create", "offline", "--password-stdin"],
            "Harbor12345\n",
        );
        seawall.launch();
        seawall
            .stranger()
            .with_basic("offline", PASSWORD)
            .get("/v2/")
            .await
            .expect(200);
    });
}

#[test]
fn a_projects_quota_is_set_and_shown() {
    on_both(async |seawall| {
        let admin = seawall.admin();
        let image = Image::new("one");
        admin.push("library/app", "v1", &image).await;
        let library = |seawall: &Seawall| json(seawall, &["project", "list"])[0].clone();
        let before = library(seawall);
        assert_eq!(before["quota"], -1);
        let used = image.config.len() + image.layer.len() + image.manifest.len();
        assert_eq!(before["used"], used);
        seawall.run(&["project", "set-quota", "library", "1KiB"]);
        assert_eq!(library(seawall)["quota"], 1024);
        admin
            .post("/v2/library/app/blobs/uploads/")
            .await
            .refused(403, "DENIED");
        seawall.run(&["project", "set-quota", "library", "unlimited"]);
        admin
            .post("/v2/library/app/blobs/uploads/")
            .await
            .expect(202);
        let refused = seawall.try_run(&["project", "set-quota", "library", "much"], "");
        let told = String::from_utf8_lossy(&refused.stderr).into_owned();
        assert!(told.contains("write a size such as `10GiB`"), "{told}");
    });
}

#[test]
fn a_list_longer_than_a_page_is_whole_and_in_order() {
    on_both(async |seawall| {
        let image = Image::new("many");
        let admin = seawall.admin();
        admin.push("library/many", "tag-0000", &image).await;
        for number in 1..520 {
            let tag = format!("tag-{number:04}");
            admin
                .put_manifest(
                    "library/many",
                    &tag,
                    crate::harness::image::MANIFEST,
                    &image.manifest,
                )
                .await
                .expect(201);
        }
        let tags = json(seawall, &["artifact", "tags", "library/many"]);
        let names: Vec<_> = tags
            .as_array()
            .expect("a list")
            .iter()
            .map(|tag| tag["name"].as_str().expect("a name").to_owned())
            .collect();
        assert_eq!(
            names,
            (0..520)
                .map(|number| format!("tag-{number:04}"))
                .collect::<Vec<_>>()
        );
    });
}

#[test]
fn a_user_signs_in_as_soon_as_he_is_made_and_no_longer_than_he_is_there() {
    on_both(async |seawall| {
        let made = json(seawall, &["user", "create", "alice"]);
        let password = made["secret"].as_str().expect("made up").to_owned();
        let sign_in = async |password: &str| {
            seawall
                .stranger()
                .with_basic("alice", password)
                .get("/service/token?service=harbor-registry")
                .await
        };
        sign_in(&password).await.expect(200);
        let token = sign_in(&password).await.json()["token"]
            .as_str()
            .expect("a token")
            .to_owned();
        let bearer = seawall.stranger().with_bearer(&token);
        bearer.get("/v2/").await.expect(200);

        with_input(
            seawall,
            &["user", "reset-password", "alice", "--password-stdin"],
            "Another12345\r\n",
        );
        sign_in(&password).await.expect(401);
        sign_in("Another12345").await.expect(200);

        seawall.run(&["user", "delete", "alice"]);
        sign_in("Another12345").await.expect(401);
        bearer.get("/v2/").await.expect(401);
    });
}

#[test]
fn an_administrator_is_one_from_the_next_request_on() {
    on_both(async |seawall| {
        with_input(
            seawall,
            &["user", "create", "boss", "--password-stdin"],
            "Harbor12345\n",
        );
        let boss = seawall.stranger().with_basic("boss", PASSWORD);
        boss.get("/v2/_catalog").await.expect(401);
        seawall.run(&["user", "set-admin", "boss", "on"]);
        boss.get("/v2/_catalog").await.expect(200);
        seawall.run(&["user", "set-admin", "boss", "off"]);
        boss.get("/v2/_catalog").await.expect(401);
    });
}

#[test]
fn a_lost_administrators_password_is_replaced_also_when_nothing_runs() {
    on_both(async |seawall| {
        seawall.stop();
        let made = json(seawall, &["user", "reset-password", "admin"]);
        seawall.launch();
        seawall.admin().get("/v2/").await.expect(401);
        let password = made["secret"].as_str().expect("made up");
        seawall
            .stranger()
            .with_basic("admin", password)
            .get("/v2/_catalog")
            .await
            .expect(200);
    });
}

#[test]
fn a_robot_does_what_it_may_and_nothing_else() {
    on_both(async |seawall| {
        seawall.run(&["project", "create", "team"]);
        seawall.run(&["project", "create", "other"]);
        let image = Image::new("robots");
        seawall.admin().push("team/app", "v1", &image).await;
        seawall.admin().push("other/app", "v1", &image).await;
        let robot = |arguments: &[&str]| {
            let made = json(seawall, &[&["robot", "create"], arguments].concat());
            let (name, secret) = (
                made["name"].as_str().expect("a name"),
                made["secret"].as_str().expect("a secret"),
            );
            seawall.stranger().with_basic(name, secret)
        };
        let push = async |client: &crate::harness::Client, repository: &str| {
            client
                .post(&format!("/v2/{repository}/blobs/uploads/"))
                .await
                .status
                .as_u16()
        };

        let puller = robot(&["reader", "--project", "team", "--pull"]);
        puller.pull("team/app", "v1", &image).await;
        assert_eq!(push(&puller, "team/app").await, 401);
        puller.get("/v2/other/app/manifests/v1").await.expect(401);

        let pusher = robot(&["writer", "--project", "team", "--push"]);
        pusher.push("team/app", "v2", &image).await;
        pusher.pull("team/app", "v2", &image).await;
        assert_eq!(push(&pusher, "other/app").await, 401);
        pusher.delete("/v2/team/app/manifests/v2").await.expect(401);

        let named = robot(&["named", "--on", "team", "other", "--push"]);
        named.push("other/app", "v3", &image).await;
        named.push("team/app", "v3", &image).await;
        assert_eq!(push(&named, "library/app").await, 401);
        named.get("/v2/_catalog").await.expect(401);

        let everywhere = robot(&[
            "everywhere",
            "--everywhere",
            "--pull",
            "--system-permission",
            "catalog:read",
        ]);
        everywhere.pull("team/app", "v1", &image).await;
        everywhere.get("/v2/_catalog").await.expect(200);
        assert_eq!(push(&everywhere, "team/app").await, 401);
    });
}

#[test]
fn a_robot_is_refused_as_soon_as_it_is_disabled_renewed_or_gone() {
    on_both(async |seawall| {
        let made = json(
            seawall,
            &["robot", "create", "ci", "--project", "library", "--pull"],
        );
        assert_eq!(made["name"], "robot$library+ci");
        assert!(made["expires_at"].is_string());
        let with = |secret: &str| seawall.stranger().with_basic("robot$library+ci", secret);
        let robot = with(made["secret"].as_str().expect("a secret"));
        robot.get("/v2/").await.expect(200);
        seawall.run(&["robot", "disable", "library+ci"]);
        robot.get("/v2/").await.expect(401);
        assert_eq!(json(seawall, &["robot", "list"])[0]["state"], "disabled");
        seawall.run(&["robot", "enable", "library+ci"]);
        robot.get("/v2/").await.expect(200);

        let made = json(seawall, &["robot", "refresh-secret", "library+ci"]);
        robot.get("/v2/").await.expect(401);
        with(made["secret"].as_str().expect("a secret"))
            .get("/v2/")
            .await
            .expect(200);
        with_input(
            seawall,
            &["robot", "refresh-secret", "library+ci", "--secret-stdin"],
            "Chosen12345\n",
        );
        with("Chosen12345").get("/v2/").await.expect(200);

        seawall.run(&["robot", "delete", "library+ci"]);
        with("Chosen12345").get("/v2/").await.expect(401);
    });
}

/// A command, what stands on its standard input, and some of the words with which it is refused.
#[rustfmt::skip]
const REFUSED: &[(&[&str], &str, &str)] = &[
    (&["user", "create", "taken"], "", "already exists"),
    (&["user", "create", "weak", "--password-stdin"], "weak\n", "8 to 128 characters"),
    (&["user", "create", "none", "--password-stdin"], "", "no password on standard input"),
    (&["user", "create", "odd", "--email", "odd"], "", "not an e-mail address"),
    (&["user", "delete", "nobody"], "", "user `nobody` not found"),
    (&["user", "delete", "admin"], "", "cannot be deleted"),
    (&["user", "set-admin", "admin", "off"], "", "stays one"),
    (&["user", "reset-password", "nobody"], "", "user `nobody` not found"),
    (&["project", "create", "library"], "", "already exists"),
    (&["project", "create", "new", "--owner", "nobody"], "", "user `nobody` not found"),
    (&["project", "delete", "library"], "", "contains repositories"),
    (&["project", "set-public", "nowhere"], "", "project `nowhere` not found"),
    (&["project", "member", "remove", "library", "taken"], "", "not a member"),
    (&["robot", "create", "taken", "--project", "library", "--pull"], "", "`robot$library+taken` already exists"),
    (&["robot", "create", "new", "--project", "nowhere", "--pull"], "", "project `nowhere` not found"),
    (&["robot", "create", "new", "--project", "library"], "", "at least one permission"),
    (&["robot", "create", "new", "--pull"], "", "name the projects"),
    (&["robot", "create", "new", "--everywhere", "--system-permission", "catalog:read"], "", "no permission for the projects"),
    (&["robot", "create", "new", "--everywhere", "--permission", "catalog:read"], "", "`catalog:read` cannot be given to a robot on a project"),
    (&["robot", "create", "new", "--system-permission", "repository:push"], "", "cannot be given to a robot on the system"),
    (&["robot", "refresh-secret", "library+taken", "--secret-stdin"], "weak\n", "8 to 128 characters"),
    (&["robot", "delete", "library+other"], "", "`robot$library+other` not found"),
    (&["artifact", "list", "library/nothing"], "", "repository `library/nothing` not found"),
    (&["job", "log", "999999"], "", "job 999999 not found"),
    (&["job", "stop", "999999"], "", "job 999999 not found"),
];

#[test]
fn what_cannot_be_is_refused_in_words_that_help() {
    on_both(async |seawall| {
        seawall.run(&["user", "create", "taken"]);
        seawall.run(&["robot", "create", "taken", "--project", "library", "--pull"]);
        seawall
            .admin()
            .push("library/app", "v1", &Image::new("kept"))
            .await;
        let refuse = |seawall: &Seawall| -> Vec<String> {
            let refused = REFUSED.iter().map(|(arguments, input, expected)| {
                let words = refused(seawall, arguments, input);
                assert!(words.contains(expected), "{arguments:?}: {words}");
                words
            });
            refused.collect()
        };
        let beside = refuse(seawall);
        seawall.stop();
        assert_eq!(refuse(seawall), beside);
        let users = json(seawall, &["user", "list"]);
        assert_eq!(users.as_array().map(Vec::len), Some(2), "nothing was made");
        seawall.launch();
    });
}
