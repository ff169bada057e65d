//! Pages of Harbor's API on a registry of 10,000 repositories, 100,000 artifacts and 500,000 tags: first and deep ones by one
//! client, and a page of artifacts by 32.

use std::time::Instant;

use super::{Place, Scale, Setup, Turn, progress, rounds};
use crate::{
    generate::{Amount, generate},
    load::{closed_loop, in_parallel},
    registry::Admin,
    report::{Case, Report, Unit},
    servers::Server,
};

const MEASURE: &str = "api-lists";
const CONNECTIONS: usize = 32;

pub(super) fn run(setup: &Setup, report: &mut Report) {
    let mut servers: Vec<Server> = setup.servers.clone();
    servers.retain(|server| server.kind.is_seawall());
    rounds(setup, report, MEASURE, Place::Scratch, &servers, |turn| {
        let amount = turn.setup.scale.generated;
        if turn.round == 0 {
            let took = generate(turn.server, &amount)?;
            progress(&format!(
                "{MEASURE}: made {} artifacts with {} tags in {:.0} s",
                amount.repositories * amount.artifacts,
                amount.repositories * amount.artifacts * amount.tags,
                took.as_secs_f64()
            ));
        }
        for (name, path) in pages(&amount) {
            page(turn, name, &path)?;
        }
        crowd(turn, &amount)
    });
}

/// What is listed, with its name in the table.
fn pages(amount: &Amount) -> Vec<(&'static str, String)> {
    let (project, full) = (Amount::project(0), amount.repository(0));
    let app = full.split_once('/').map_or("", |(_, app)| app);
    let artifacts = format!("/projects/{project}/repositories/{app}/artifacts");
    let deep = |rows: usize| (rows / 10).max(1);
    let of_project = amount.repositories / amount.projects;
    let all = [
        ("projects", "/projects?page=1".to_owned()),
        (
            "projects, deep",
            format!("/projects?page={}", deep(amount.projects)),
        ),
        ("projects by name", "/projects?q=name%3D~42".to_owned()),
        ("repositories", "/repositories?page=1".to_owned()),
        (
            "repositories, deep",
            format!("/repositories?page={}", deep(amount.repositories)),
        ),
        (
            "repositories of a project",
            format!("/projects/{project}/repositories?page=1"),
        ),
        (
            "repositories of a project, deep",
            format!("/projects/{project}/repositories?page={}", deep(of_project)),
        ),
        (
            "artifacts",
            format!("{artifacts}?with_label=true&with_accessory=true"),
        ),
        (
            "artifacts of a project",
            format!("/projects/{project}/artifacts?page=1"),
        ),
        (
            "artifacts of a project, deep",
            format!(
                "/projects/{project}/artifacts?page={}",
                deep(of_project * amount.artifacts)
            ),
        ),
        ("tags of an artifact", format!("{artifacts}/v0.0/tags")),
        ("members", format!("/projects/{project}/members")),
        ("quotas", "/quotas?page=1".to_owned()),
        ("audit", "/auditlog-exts?page=1".to_owned()),
        (
            "audit, deep",
            format!(
                "/auditlog-exts?page={}",
                deep(amount.repositories * amount.artifacts)
            ),
        ),
        ("search", "/search?q=app-00042".to_owned()),
    ];
    all.map(|(name, path)| (name, format!("/api/v2.0{path}")))
        .into()
}

fn page(turn: &mut Turn<'_>, name: &str, path: &str) -> anyhow::Result<()> {
    let case = Case {
        measure: MEASURE,
        name: name.to_owned(),
        unit: Unit::Milliseconds,
    };
    let Scale { pages, window, .. } = turn.setup.scale;
    let admin = Admin::of(turn.server);
    let mut connection = admin.connect()?;
    let rows = admin.rows(&mut connection, path)?;
    turn.measure(&case, || {
        let began = Instant::now();
        let mut work = in_parallel(vec![connection], |_, connection, tally| {
            for _ in (0..pages).take_while(|_| began.elapsed() < window) {
                tally.timed(|| admin.get(connection, path))?;
            }
            Ok(())
        })?;
        work.note = (rows == 0).then(|| "the page is empty".to_owned());
        Ok(work)
    })
}

fn crowd(turn: &mut Turn<'_>, amount: &Amount) -> anyhow::Result<()> {
    let case = Case {
        measure: MEASURE,
        name: format!("artifacts, {CONNECTIONS} conn."),
        unit: Unit::RequestsPerSecond,
    };
    let full = amount.repository(1);
    let (project, app) = full.split_once('/').unwrap_or_default();
    let path = format!("/api/v2.0/projects/{project}/repositories/{app}/artifacts");
    let admin = Admin::of(turn.server);
    let expected = admin.get(&mut admin.connect()?, &path)?;
    let (request, window) = (admin.request(&path), turn.setup.scale.window);
    let load = |window| {
        closed_loop(
            turn.server.address,
            &request,
            &expected,
            CONNECTIONS,
            window,
        )
    };
    load(window / 8)?;
    let loaded = || load(window);
    turn.measure(&case, loaded)
}
