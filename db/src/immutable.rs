//! Rules of projects that say which tags are immutable. They are read in the transaction that moves or deletes a tag.

use model::{
    Result,
    id::ProjectId,
    immutable::{Rule, protects},
};

use crate::Conn;

/// Rules of one project that are looked at.
const MOST: i64 = 1000;

/// What of a project is immutable.
#[derive(Debug, Clone, Default)]
pub struct Rules(Vec<Rule>);

/// The rules of a project that are in force.
pub async fn rules(conn: &mut Conn, project: ProjectId) -> Result<Rules> {
    let texts = conn
        .rows(
            "SELECT rule FROM immutable_rules WHERE project_id = $1 AND NOT disabled ORDER BY id LIMIT $2",
            &[project.into(), MOST.into()],
            |row| row.text(0),
        )
        .await?;
    let parsed = texts.iter().map(|text| {
        serde_json::from_str(text).map_err(model::error::internal("reading an immutable rule"))
    });
    parsed.collect::<Result<_>>().map(Rules)
}

impl Rules {
    /// Whether a tag is immutable in the repository of this full name.
    pub fn hold(&self, repository: &str, tag: &str) -> bool {
        let (_, repository) = repository.split_once('/').unwrap_or_default();
        protects(&self.0, repository, tag)
    }

    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}
