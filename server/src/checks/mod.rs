//! What `seawall check` looks at. Each look gives findings that say what was seen and, where something is to be done, what.
//! Nothing is made or changed.

mod files;
mod network;
mod parts;

use serde::{Deserialize, Serialize};

pub use self::{
    files::{data_directory, file_system, key_file, log_target, open_files, space},
    network::{addresses, authorities, certificates, proxies, redis},
    parts::{database, fresh_store, key, missing_store, of_parts},
};

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum State {
    Ok,
    Warning,
    Failed,
}

impl State {
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::Warning => "warning",
            Self::Failed => "failed",
        }
    }
}

/// The fingerprints of the keys that were found.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct Keys {
    /// Of the key file.
    pub file: Option<String>,
    /// Of those beside it, which may take its place.
    pub beside: Vec<String>,
}

/// What was seen of one part.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Finding {
    pub part: String,
    pub state: State,
    pub seen: String,
    /// What to do about it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub advice: Option<String>,
}

impl Finding {
    pub fn ok(part: &str, seen: impl Into<String>) -> Self {
        Self {
            part: part.to_owned(),
            state: State::Ok,
            seen: seen.into(),
            advice: None,
        }
    }

    pub fn warning(part: &str, seen: impl Into<String>, advice: impl Into<String>) -> Self {
        Self {
            state: State::Warning,
            advice: Some(advice.into()),
            ..Self::ok(part, seen)
        }
    }

    pub fn failed(part: &str, seen: impl Into<String>, advice: impl Into<String>) -> Self {
        Self {
            state: State::Failed,
            advice: Some(advice.into()),
            ..Self::ok(part, seen)
        }
    }

    /// An error that says itself what to do.
    pub fn error(part: &str, error: &dyn std::fmt::Display) -> Self {
        Self {
            state: State::Failed,
            ..Self::ok(part, format!("{error:#}"))
        }
    }
}
