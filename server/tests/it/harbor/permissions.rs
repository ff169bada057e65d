//! Who may do what, asked of the running server for every route; and what every mutation leaves behind.
//!
//! Both walks go over the document that the server makes of its routes. The first needs nothing from who adds a route. The second
//! needs an example of each mutating one: a row in [`examples`].

mod examples;

use std::collections::BTreeSet;

use serde_json::{Value, json};

use self::examples::{EXAMPLES, NO_CHANGE};
use crate::harness::{Answer, Client, Image, Seawall, on_both, on_both_with};

/// Harbor's matrix as its documentation has it (`rbac_role.go`): C create, R read, U update, D delete, L list, and other actions
/// by their names. Not taken from our code: that is what it is compared with.
const MATRIX: &str = "
project             | R U D                 | R                     | R                 | R        | R        | R
member              | C R U D L             | R L                   | R L               | R L      | -        | -
metadata            | C R U D               | R                     | -                 | -        | -        | -
log                 | L                     | -                     | -                 | -        | -        | -
label               | C R U D L             | C R U D L             | R L               | R L      | -        | R L
quota               | R                     | R                     | R                 | R        | R        | -
repository          | C R U D L pull push   | C R U D L pull push   | C R U L pull push | R L pull | R L pull | L pull
tag-retention       | C R U D L operate     | C R U D L operate     | C R U D L operate | -        | -        | -
immutable-tag       | C U D L               | C U D L               | -                 | -        | -        | -
configuration       | R U                   | R                     | R                 | R        | R        | -
robot               | C R U D L             | R L                   | R L               | R L      | -        | -
notification-policy | C R U D L             | R L                   | -                 | -        | -        | -
scan                | C R stop              | C R stop              | R                 | R        | R        | R
sbom                | C R stop              | C R stop              | R                 | R        | R        | -
scanner             | C R                   | R                     | R                 | R        | R        | R
artifact            | C R D L               | C R D L               | C R L             | R L      | R L      | R L
artifact-addition   | R                     | R                     | R                 | R        | R        | R
tag                 | C D L                 | C D L                 | C L               | L        | L        | L
accessory           | L                     | L                     | L                 | L        | L        | L
artifact-label      | C D                   | C D                   | C D               | -        | -        | -
preheat-policy      | C R U D L             | -                     | -                 | -        | -        | -
export-cve          | C R L                 | C R L                 | C R L             | -        | -        | -
";

const ROLES: [&str; 5] = [
    "project-admin",
    "maintainer",
    "developer",
    "guest",
    "limited-guest",
];

/// Routes that want a name of everybody, also where the matrix lets strangers in.
const FOR_NAMES: &[&str] = &["getScannerOfProject", "listArtifactsOfProject"];

/// Whether a column of the matrix (0 to 4 the roles, 5 everybody in a public project) has a right.
fn has(column: usize, resource: &str, action: &str) -> bool {
    let row = MATRIX
        .lines()
        .find(|line| line.split('|').next().map(str::trim) == Some(resource));
    let row = row.unwrap_or_else(|| panic!("the matrix does not know `{resource}`"));
    let cell = row.split('|').nth(column + 1).expect("seven columns");
    cell.split_whitespace().any(|word| {
        let word = match word {
            "C" => "create",
            "R" => "read",
            "U" => "update",
            "D" => "delete",
            "L" => "list",
            other => other,
        };
        word == action
    })
}

/// One operation of the document.
struct Operation {
    id: String,
    method: String,
    path: String,
    description: String,
}

impl Operation {
    /// The right in a project that it needs, when it needs one.
    fn needs(&self) -> Option<(&str, &str)> {
        let rest = self.description.strip_prefix("For whoever has `")?;
        rest.strip_suffix("` in the project.")?.split_once(':')
    }

    /// On something that is not there, so that nobody who may call it changes anything.
    fn path_in(&self, project: &str) -> String {
        let parts = self.path.split('/').map(|part| match part {
            "{project_name_or_id}" | "{project_name}" => project,
            "{repository_name}" => "nothing",
            "{reference}" | "{tag_name}" => "none",
            "{meta_name}" => "unheard-of",
            "{addition}" => "build_history",
            variable if variable.starts_with('{') => "4711",
            other => other,
        });
        parts.collect::<Vec<_>>().join("/")
    }
}

async fn operations(seawall: &Seawall) -> Vec<Operation> {
    let document = seawall.stranger().get("/api/openapi.json").await;
    let document = document.expect(200).json();
    let mut all = Vec::new();
    for (path, methods) in document["paths"].as_object().expect("paths") {
        for (method, operation) in methods.as_object().expect("methods") {
            let text = |key: &str| operation[key].as_str().unwrap_or_default().to_owned();
            all.push(Operation {
                id: text("operationId"),
                method: method.to_ascii_uppercase(),
                path: path.clone(),
                description: text("description"),
            });
        }
    }
    all
}

/// A caller, and which columns of the matrix he has in the public and in the private project.
struct Walker {
    name: String,
    client: Client,
    public: Vec<usize>,
    private: Vec<usize>,
    has_name: bool,
    is_admin: bool,
}

async fn walkers(seawall: &Seawall) -> Vec<Walker> {
    let admin = seawall.admin();
    let walker = |name: &str, client: Client, public: &[usize], private: &[usize]| Walker {
        name: name.to_owned(),
        client,
        public: public.to_vec(),
        private: private.to_vec(),
        has_name: name != "anonymous",
        is_admin: name == "admin",
    };
    let mut all = vec![
        walker("admin", admin.clone(), &[], &[]),
        walker("anonymous", seawall.stranger(), &[5], &[]),
    ];
    for (column, role) in ROLES.iter().enumerate() {
        seawall.make_user(role);
        for project in ["open", "shut"] {
            seawall.run(&["project", "member", "set", project, role, role]);
        }
        all.push(walker(role, seawall.user(role), &[column, 5], &[column]));
    }
    seawall.make_user("outsider");
    all.push(walker("outsider", seawall.user("outsider"), &[5], &[]));
    // Robots that hold nothing there: one of another project, one of the system.
    for (name, level, kind, namespace, resource, action, public) in [
        (
            "elsewhere",
            "project",
            "project",
            "library",
            "log",
            "list",
            vec![5],
        ),
        ("above", "system", "system", "/", "catalog", "read", vec![]),
    ] {
        let robot = json!({
            "name": name, "level": level, "duration": -1, "permissions": [
                { "kind": kind, "namespace": namespace, "access": [{ "resource": resource, "action": action }] },
            ],
        });
        let (_, client) = seawall.make_robot(&robot).await;
        all.push(walker(name, client, &public, &[]));
    }
    all
}

/// With a body that no handler takes: who may goes first, so whoever may is told about the body.
async fn knock(client: &Client, operation: &Operation, project: &str) -> Answer {
    let path = operation.path_in(project);
    let request = client.request(&operation.method, &path);
    if operation.method == "GET" || operation.method == "HEAD" {
        return request.send().await;
    }
    let request = request.header("content-type", "text/plain").body("x");
    request.send().await
}

#[test]
fn everybody_may_do_what_the_matrix_says_and_nothing_else() {
    on_both(async |seawall| {
        let admin = seawall.admin();
        for (name, public) in [("open", true), ("shut", false)] {
            let wanted = json!({ "project_name": name, "public": public });
            admin.api("POST", "/projects", &wanted).await.expect(201);
            // So that nobody can delete it.
            admin
                .push(&format!("{name}/app"), "v1", &Image::new(name))
                .await;
        }
        let walkers = walkers(seawall).await;
        let (mut wrong, mut asked) = (Vec::new(), 0);
        for operation in operations(seawall).await {
            let Some((resource, action)) = operation.needs() else {
                continue;
            };
            for walker in &walkers {
                for (project, columns) in [("open", &walker.public), ("shut", &walker.private)] {
                    asked += 1;
                    let mut may = walker.is_admin
                        || columns.iter().any(|column| has(*column, resource, action));
                    if !walker.has_name && FOR_NAMES.contains(&operation.id.as_str()) {
                        may = false;
                    }
                    let answer = knock(&walker.client, &operation, project).await;
                    let status = answer.status.as_u16();
                    let was_let_in = !matches!(status, 401 | 403);
                    let refusal = if walker.has_name { 403 } else { 401 };
                    if was_let_in != may || (!may && status != refusal) || status >= 500 {
                        wrong.push(format!(
                            "{} ({resource}:{action}) for {} in {project}: {status}, {}",
                            operation.id,
                            walker.name,
                            if may { "but he may" } else { "but he may not" }
                        ));
                    }
                }
            }
        }
        assert!(wrong.is_empty(), "{}", wrong.join("\n"));
        assert!(asked > 300, "only {asked} questions were asked");
    });
}

#[test]
fn a_token_of_the_token_service_opens_nothing_here() {
    on_both(async |seawall| {
        seawall.make_user("bob");
        let admin = seawall.admin();
        let wanted = json!({ "project_name": "shut", "public": false });
        admin.api("POST", "/projects", &wanted).await.expect(201);
        let tokens = [
            seawall.user("bob").token("repository:library/x:pull").await,
            admin.token("repository:library/x:pull,push").await,
        ];
        for operation in operations(seawall).await {
            // Everybody's to read.
            if operation.description.starts_with("Open to everybody") {
                continue;
            }
            for token in &tokens {
                let answer = knock(token, &operation, "shut").await;
                let status = answer.status.as_u16();
                assert!(
                    !(200..300).contains(&status) && status < 500,
                    "{} {}: {status}",
                    operation.method,
                    operation.path
                );
            }
        }
        let profile = json!({ "email": "x@example.com", "realname": "X" });
        tokens[0]
            .api("PUT", "/users/2", &profile)
            .await
            .refused(401, "UNAUTHORIZED");
    });
}

#[test]
fn every_mutation_is_told_to_the_change_log_and_the_audit() {
    on_both_with(&[("SEAWALL_TRASH__KEEP", "1d")], async |seawall| {
        seawall.make_user("bob");
        let (admin, mut newest) = (seawall.admin(), String::new());
        admin.push("library/app", "v1", &Image::new("walk")).await;
        let mut wrong = Vec::new();
        for (operation, method, path, body) in EXAMPLES {
            let before = seawall.count_told().await;
            let path = path.replace("{id}", &newest);
            let body = body.replace("{id}", &newest);
            let answer = call(&admin, method, &path, &body).await;
            let status = answer.status.as_u16();
            assert!(
                (200..300).contains(&status),
                "{operation}: {status} {}",
                answer.text()
            );
            if let Some(id) = told_id(&answer) {
                newest = id;
            }
            let after = seawall.count_told().await;
            if after.0 <= before.0 || after.1 <= before.1 {
                wrong.push(format!(
                    "{operation}: changes, audit {before:?} -> {after:?}"
                ));
            }
        }
        assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    });
}

async fn call(client: &Client, method: &str, path: &str, body: &str) -> Answer {
    let request = client.request(method, &format!("/api/v2.0{path}"));
    if body.is_empty() {
        return request.send().await;
    }
    let request = request.header("content-type", "application/json");
    request.body(body.to_owned()).send().await
}

fn told_id(answer: &Answer) -> Option<String> {
    let location = answer.header("location");
    if let Some((_, id)) = location.rsplit_once('/') {
        return Some(id.to_owned());
    }
    let body: Value = serde_json::from_slice(&answer.body).ok()?;
    body["id"].as_i64().map(|id| id.to_string())
}

#[test]
fn every_mutating_route_has_an_example() {
    on_both(async |seawall| {
        let known: BTreeSet<&str> = EXAMPLES
            .iter()
            .map(|(operation, ..)| *operation)
            .chain(NO_CHANGE.iter().map(|(operation, _)| *operation))
            .collect();
        let all = operations(seawall).await;
        let mutating = all
            .iter()
            .filter(|one| !matches!(one.method.as_str(), "GET" | "HEAD"));
        let mutating: BTreeSet<&str> = mutating.map(|one| one.id.as_str()).collect();
        let missing: Vec<_> = mutating.difference(&known).collect();
        assert!(missing.is_empty(), "no example in EXAMPLES of: {missing:?}");
        let gone: Vec<_> = known.difference(&mutating).collect();
        assert!(gone.is_empty(), "no such mutating route: {gone:?}");
    });
}
