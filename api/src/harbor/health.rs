//! Whether the parts work, under the names that Harbor's containers have.

use schemars::JsonSchema;
use serde::Serialize;

use super::{call::Call, error::Result, input::Json};
use crate::health::{CACHE, Fault};

#[derive(Serialize, JsonSchema)]
pub(super) struct OverallHealthStatus {
    /// `healthy` when all components are.
    status: &'static str,
    components: Vec<ComponentHealthStatus>,
}

#[derive(Serialize, JsonSchema)]
struct ComponentHealthStatus {
    name: &'static str,
    /// `healthy` or `unhealthy`
    status: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<String>,
}

/// Harbor's components, by name, and which of our parts each stands for.
const COMPONENTS: [(&str, &[&str]); 5] = [
    ("core", &["clock"]),
    ("database", &["database", "database.write"]),
    ("jobservice", &["database"]),
    ("registry", &["storage"]),
    ("registryctl", &["storage"]),
];

/// Always 200, as with Harbor: a probe asks `/readyz`.
pub(super) async fn get(call: Call) -> Result<Json<OverallHealthStatus>> {
    let faults = call.app().health.faults();
    let tells_why = call.caller.is_admin();
    let redis = call.app().registry.cache().is_configured();
    let redis = redis.then_some((CACHE, &[CACHE] as &[&str]));
    let mut parts: Vec<_> = COMPONENTS.into_iter().chain(redis).collect();
    parts.sort_unstable_by_key(|(name, _)| *name);
    let components: Vec<_> = parts
        .into_iter()
        .map(|(name, parts)| component(name, parts, &faults, tells_why))
        .collect();
    let is_healthy = components.iter().all(|component| component.error.is_none());
    Ok(Json(OverallHealthStatus {
        status: word(is_healthy),
        components,
    }))
}

/// Why a part does not work tells of paths and addresses, so administrators alone read it.
fn component(
    name: &'static str,
    parts: &[&str],
    faults: &[Fault],
    tells_why: bool,
) -> ComponentHealthStatus {
    let fault = faults.iter().find(|fault| parts.contains(&fault.part));
    ComponentHealthStatus {
        name,
        status: word(fault.is_none()),
        error: fault.map(|fault| {
            if tells_why {
                fault.why.clone()
            } else {
                "does not work: the log says why".to_owned()
            }
        }),
    }
}

fn word(is_healthy: bool) -> &'static str {
    if is_healthy { "healthy" } else { "unhealthy" }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_fault_stands_beside_each_component_that_needs_the_part() {
        let faults = [Fault {
            part: "storage",
            why: "no such directory /srv".to_owned(),
        }];
        for (tells_why, expected) in [
            (true, "no such directory /srv"),
            (false, "does not work: the log says why"),
        ] {
            let told = COMPONENTS.map(|(name, parts)| component(name, parts, &faults, tells_why));
            let unhealthy: Vec<_> = told.iter().filter(|part| part.error.is_some()).collect();
            let names: Vec<_> = unhealthy.iter().map(|part| part.name).collect();
            assert_eq!(names, ["registry", "registryctl"]);
            assert_eq!(unhealthy[0].error.as_deref(), Some(expected));
            assert_eq!(unhealthy[0].status, "unhealthy");
        }
    }
}
