//! How an image was built, from its config.

use serde::{Deserialize, Serialize};

use crate::describe::json::{Members, read_bounded};

/// Images have at most 127 layers, and some steps make none.
const MOST_STEPS: usize = 10_000;
/// A longer step is left out.
const LONGEST_STEP: usize = 64 << 10;

/// A step as image-spec's config.md has it.
#[derive(Serialize, Deserialize)]
struct Step {
    #[serde(skip_serializing_if = "Option::is_none")]
    created: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    created_by: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    author: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    comment: Option<String>,
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    empty_layer: bool,
}

/// A JSON list, empty when the config tells nothing.
pub(super) fn of_config(config: &[u8]) -> Vec<u8> {
    let text = std::str::from_utf8(config).unwrap_or_default();
    let members = Members::read(text);
    let steps = members.and_then(|members| members.entries("history", MOST_STEPS));
    let steps: Vec<Step> = steps
        .into_iter()
        .flatten()
        .filter_map(|step| read_bounded(step, LONGEST_STEP))
        .collect();
    serde_json::to_vec(&steps).expect("texts and flags serialise")
}
