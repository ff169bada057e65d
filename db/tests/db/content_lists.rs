//! How lists of repositories, artifacts, tags and accessories are read: in the order of an index.

use db::{
    artifacts::details::{self as artifacts, Tagged},
    query::{List, Within},
    repositories::details::{self as repositories, Viewer},
    tags::details as tags,
};
use model::{
    id::{ArtifactId, ProjectId, RepositoryId, UserId},
    listing::Listing,
};

const PROJECT: ProjectId = ProjectId(1);
const REPOSITORY: RepositoryId = RepositoryId(1);

fn texts<T: Send>(list: &'static List<T>, within: Within, q: &str) -> [String; 3] {
    let asked = Listing::parse(q, "").unwrap();
    list.select(&asked, within).unwrap().texts()
}

#[test]
fn pages_of_content_come_out_of_their_indexes() {
    testkit::on_sqlite(async |test| {
        let conn = rusqlite::Connection::open(test.sqlite().unwrap()).unwrap();
        let (of_repository, of_project) = (
            || artifacts::of_repository(REPOSITORY),
            || artifacts::of_project(PROJECT),
        );
        let user = Viewer::User(UserId(7));
        let digest = format!("sha256:{}", "a".repeat(64)).parse().unwrap();
        for ([page, _, batch], index) in [
            (
                texts(&artifacts::LISTED, of_repository(), ""),
                "artifacts_listed",
            ),
            (
                texts(&artifacts::LISTED, of_repository(), "type=CHART"),
                "artifacts_listed",
            ),
            (
                texts(&artifacts::LISTED, of_project(), ""),
                "artifacts_of_project",
            ),
            (
                texts(
                    &artifacts::LISTED,
                    artifacts::tagged_in_repository(REPOSITORY, Tagged::With),
                    "",
                ),
                "artifacts_listed",
            ),
            (
                texts(
                    &repositories::LIST,
                    repositories::visible_to(Viewer::Everything),
                    "",
                ),
                "repositories_created",
            ),
            (
                texts(&repositories::LIST, repositories::visible_to(user), ""),
                "repositories_created",
            ),
            (
                texts(&repositories::LIST, repositories::of_project(PROJECT), ""),
                "repositories_project_created",
            ),
            (
                texts(&tags::LIST, tags::of(ArtifactId(1)), ""),
                "tags_artifact",
            ),
            (
                texts(
                    &artifacts::ACCESSORIES,
                    artifacts::attached_to(REPOSITORY, &digest),
                    "",
                ),
                "artifacts_accessory",
            ),
        ] {
            for text in [page, batch] {
                let plan = crate::plans::plan(&conn, &text).join("\n");
                assert!(
                    plan.contains(&format!("INDEX {index}")),
                    "{index}:\n{plan}\n{text}"
                );
            }
        }
    });
}
