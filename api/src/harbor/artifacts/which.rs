//! Which artifacts a list shows: beside what every list knows, `q` has three words here: `tags`, `labels` and `base`.

use db::{
    artifacts::details::{self, Details, Tagged},
    query::{Selection, Within},
};
use model::{
    Error, Result, What,
    id::{ProjectId, RepositoryId},
    listing::{Listing, Match, Term},
};

/// A selection, and whether it is the whole of the list so that a counter knows its length.
pub(super) struct Selected {
    pub(super) rows: Selection<Details>,
    pub(super) is_whole: bool,
}

pub(super) fn of_repository(repository: RepositoryId, asked: &Listing) -> Result<Selected> {
    let within = match tagged(asked)? {
        None => details::of_repository(repository),
        Some(tagged) => details::tagged_in_repository(repository, tagged),
    };
    select(asked, within)
}

pub(super) fn of_project(project: ProjectId, asked: &Listing, latest: bool) -> Result<Selected> {
    let within = match tagged(asked)? {
        None => details::of_project(project),
        Some(tagged) => details::tagged_in_project(project, tagged),
    };
    if !latest {
        return select(asked, within);
    }
    let exact = |name| match find(asked, name) {
        Some(Match::Exact(text)) => Some(text.as_str()),
        _ => None,
    };
    let newest = match (exact("media_type"), exact("artifact_type")) {
        (Some(media_type), None) => details::latest_with_media_type(project, media_type),
        (None, Some(artifact_type)) => details::latest_with_artifact_type(project, artifact_type),
        _ => {
            return Err(invalid(
                "either 'media_type' or 'artifact_type' must be specified, but not both, when querying with latest_in_repository",
            ));
        }
    };
    let within = within.within(newest);
    let mut selected = select(asked, within)?;
    selected.is_whole = false;
    Ok(selected)
}

fn select(asked: &Listing, within: Within) -> Result<Selected> {
    let labels = labels(asked)?;
    let is_whole = labels.is_empty() && find(asked, "tags").is_none();
    let within = labels.into_iter().fold(within, details::labelled);
    match find(asked, "base") {
        None => Ok(Selected {
            rows: details::LISTED.select(asked, within)?,
            is_whole,
        }),
        Some(Match::Exact(text)) if text == "*" => Ok(Selected {
            rows: details::ALL.select(asked, within)?,
            is_whole: false,
        }),
        Some(_) => Err(invalid(
            "the value of \"base\" query can only be exact match value with \"*\"",
        )),
    }
}

/// A word of `q`, as it is written in the API and with a capital.
fn find<'a>(asked: &'a Listing, name: &str) -> Option<&'a Match> {
    let capital = name[..1].to_uppercase() + &name[1..];
    asked
        .filters
        .get(name)
        .or_else(|| asked.filters.get(&capital))
}

fn tagged(asked: &Listing) -> Result<Option<Tagged<'_>>> {
    Ok(match find(asked, "tags") {
        None => None,
        Some(Match::Exact(text)) => Some(match text.as_str() {
            "*" => Tagged::With,
            "nil" => Tagged::Without,
            name => Tagged::As(name),
        }),
        Some(Match::Fuzzy(part)) => Some(Tagged::Containing(part)),
        Some(_) => {
            return Err(invalid(
                "the value of \"tags\" query can only be fuzzy match value or exact match value",
            ));
        }
    })
}

fn labels(asked: &Listing) -> Result<Vec<i64>> {
    let number = |term: &Term| match term {
        Term::Int(number, _) => Some(*number),
        Term::Time(..) | Term::Text(_) => None,
    };
    let numbers = match find(asked, "labels") {
        None => Some(Vec::new()),
        Some(Match::AllOf(terms)) => terms.iter().map(number).collect(),
        Some(_) => None,
    };
    numbers.filter(|all| all.len() <= MOST_LABELS).ok_or_else(|| {
        invalid("the value of \"labels\" query can only be integer list with intersetion relationship")
    })
}

/// Each is a condition of its own.
const MOST_LABELS: usize = 50;

fn invalid(why: &str) -> Error {
    Error::invalid(What::Query, why)
}
