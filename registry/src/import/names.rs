//! What repositories are called here: a registry without projects has names such as `app` or `team/app`, and here the first part
//! is a project.

use std::str::FromStr;

use model::{Error, What, name::ProjectName};
use oci::name::RepoName;
use serde::{Deserialize, Serialize};

use super::PROJECT;

/// `PREFIX=PROJECT`
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Mapping {
    /// Whole parts of a name, without a slash at its end.
    pub prefix: String,
    pub project: ProjectName,
}

impl FromStr for Mapping {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self, Error> {
        let wrong = || {
            Error::invalid(
                What::Request,
                format!("`{text}` is not a mapping such as `team/tools=tools`"),
            )
        };
        let (prefix, project) = text.split_once('=').ok_or_else(wrong)?;
        let prefix = prefix.trim_matches('/');
        if prefix.is_empty() {
            return Err(wrong());
        }
        Ok(Self {
            prefix: prefix.to_owned(),
            project: project.parse()?,
        })
    }
}

impl TryFrom<String> for Mapping {
    type Error = Error;

    fn try_from(text: String) -> Result<Self, Error> {
        text.parse()
    }
}

impl From<Mapping> for String {
    fn from(mapping: Mapping) -> Self {
        format!("{}={}", mapping.prefix, mapping.project)
    }
}

/// Which project each repository goes into.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct Rules {
    /// Those that no mapping is about, with their whole names.
    pub into: Option<ProjectName>,
    /// Of several the longest prefix counts.
    pub mappings: Vec<Mapping>,
    /// Makes projects that are not there, private ones.
    pub create_projects: bool,
}

/// Where a repository goes.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Place {
    pub project: ProjectName,
    pub name: RepoName,
}

impl Rules {
    /// Projects that the rules themselves name.
    pub(super) fn projects(&self) -> impl Iterator<Item = &ProjectName> {
        let mapped = self.mappings.iter().map(|mapping| &mapping.project);
        mapped.chain(&self.into)
    }

    /// Where a repository goes, or why nowhere, with what to do.
    pub(super) fn place(&self, old: &str) -> Result<Place, String> {
        let under = |mapping: &&Mapping| {
            let rest = old.strip_prefix(&mapping.prefix);
            rest.is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
        };
        let mapping = self.mappings.iter().filter(under);
        let mapping = mapping.max_by_key(|mapping| mapping.prefix.len());
        let (project, rest) = if let Some(mapping) = mapping {
            let rest = old[mapping.prefix.len()..].trim_start_matches('/');
            // The prefix is the repository itself: its last part is what it is called.
            let last = old.rsplit('/').next().unwrap_or(old);
            let rest = if rest.is_empty() { last } else { rest };
            (mapping.project.clone(), rest)
        } else if let Some(into) = &self.into {
            (into.clone(), old)
        } else {
            let (first, rest) = old.split_once('/').ok_or_else(|| {
                format!("`{old}` has no project: --into PROJECT, or --map {old}=PROJECT")
            })?;
            let project = first.parse().map_err(|_| {
                format!("`{first}` of `{old}` cannot be a project: --map {first}=PROJECT")
            })?;
            (project, rest)
        };
        if project.as_str() == PROJECT {
            return Err(format!(
                "`{old}` would be in `{PROJECT}`, which is the import's own: --map {old}=PROJECT"
            ));
        }
        let name = RepoName::parse(format!("{project}/{rest}"))
            .map_err(|error| format!("`{old}` cannot be called `{project}/{rest}`: {error}"))?;
        Ok(Place {
            name: name.borrowed().owned(),
            project,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rules(into: Option<&str>, mappings: &[&str]) -> Rules {
        Rules {
            into: into.map(|name| name.parse().unwrap()),
            mappings: mappings.iter().map(|text| text.parse().unwrap()).collect(),
            create_projects: false,
        }
    }

    #[test]
    fn the_longest_mapping_counts_then_the_one_project_then_the_first_part() {
        let maps = ["team=t", "team/tools=tools", "app=apps"];
        for (into, old, new) in [
            (None, "team/x", "t/x"),
            (None, "team/x/y", "t/x/y"),
            (None, "team/tools/hammer", "tools/hammer"),
            (None, "team/tools", "tools/tools"),
            (None, "app", "apps/app"),
            (None, "application/x", "application/x"),
            (Some("all"), "application/x", "all/application/x"),
            (Some("all"), "debian", "all/debian"),
            (Some("all"), "team/x", "t/x"),
        ] {
            let place = rules(into, &maps).place(old).unwrap();
            assert_eq!(place.name.as_str(), new, "{old}");
            assert_eq!(place.project.as_str(), new.split('/').next().unwrap());
        }
    }

    #[test]
    fn a_name_without_a_project_is_told_what_to_do() {
        let why = rules(None, &[]).place("debian").unwrap_err();
        assert!(why.contains("--into PROJECT"), "{why}");
        let why = rules(None, &[]).place("a__b/x").unwrap_err();
        assert!(why.contains("--map a__b=PROJECT"), "{why}");
        assert!(rules(None, &[]).place("seawall-import/x").is_err());
        let long = format!("x/{}", "y".repeat(300));
        assert!(rules(Some("all"), &[]).place(&long).is_err());
    }

    #[test]
    fn mappings_are_read_and_written() {
        let mapping: Mapping = "/team/tools/=tools".parse().unwrap();
        assert_eq!(String::from(mapping), "team/tools=tools");
        for bad in ["team", "=tools", "/=tools", "team=Tools"] {
            assert!(bad.parse::<Mapping>().is_err(), "{bad}");
        }
    }
}
