//! What a robot is to be allowed: read from the request, and compared with what its maker may give.

use auth::Subject;
use db::{projects, robots};
use model::{
    id::ProjectId,
    permission::{Action, Resource},
    robot::{Permission, Scope},
};

use super::{RobotPermission, invalid};
use crate::harbor::{
    access,
    call::Call,
    error::{Error, Result},
};

/// The most days a robot may live: a thousand years.
const MOST_DAYS: i64 = 365_000;
/// The most rights one request may name.
const MOST: usize = 10_000;

/// What was asked for, right in itself; whether its projects exist is not known yet.
pub(super) struct Wanted {
    /// The project that it belongs to; none for a robot of the system.
    project: Option<String>,
    rights: Vec<(Where, Resource, Action)>,
}

#[derive(Clone, PartialEq, Eq)]
enum Where {
    System,
    EveryProject,
    Project(String),
}

/// What the robot gets.
pub(super) struct Granted {
    pub(super) project: Option<ProjectId>,
    pub(super) project_name: Option<String>,
    pub(super) permissions: Vec<Permission>,
}

impl Wanted {
    pub(super) fn of(level: &str, duration: i64, permissions: &[RobotPermission]) -> Result<Self> {
        if duration != -1 && !(1..=MOST_DAYS).contains(&duration) {
            return Err(invalid(format!(
                "bad request error duration input: {duration}, duration must be either -1(Never) or a positive integer"
            )));
        }
        if permissions.is_empty() {
            return Err(invalid("a robot needs at least one permission"));
        }
        let mut rights = Vec::new();
        for permission in permissions {
            read(permission, &mut rights)?;
        }
        let project = match (level, &rights[0].0) {
            ("project", Where::Project(name)) if permissions.len() == 1 => Some(name.clone()),
            ("project", _) => {
                return Err(invalid(
                    "a robot of level project has one permission, of kind project and with the project's name",
                ));
            }
            ("system", _) => None,
            _ => return Err(invalid(format!("bad request error level input: {level}"))),
        };
        Ok(Self { project, rights })
    }

    /// Asks whether the caller may do this to such robots, and whether he may give what is wanted.
    pub(super) async fn grant(self, call: &Call, action: Action) -> Result<Granted> {
        match &self.project {
            Some(name) => access::require_in(call, name, Resource::Robot, action).await?,
            None => call.require_on_system(Resource::Robot, action).await?,
        }
        let mut reader = call.reader().await?;
        let mut known: Vec<(String, ProjectId)> = Vec::new();
        let mut permissions = Vec::with_capacity(self.rights.len());
        for (place, resource, action) in &self.rights {
            let scope = match place {
                Where::System => Scope::System,
                Where::EveryProject => Scope::EveryProject,
                Where::Project(name) => {
                    let id = match known.iter().find(|(known, _)| known == name) {
                        Some((_, id)) => *id,
                        None => projects::get_name(&mut reader, name).await?.id,
                    };
                    known.push((name.clone(), id));
                    Scope::Project(id)
                }
            };
            permissions.push(Permission {
                scope,
                resource: *resource,
                action: *action,
            });
        }
        if let Subject::Robot(robot) = &call.caller.subject {
            let own = robots::permissions(&mut reader, robot.id).await?;
            check_own(&own, &permissions)?;
        }
        let project = self.project.as_ref().and_then(|name| {
            let found = known.iter().find(|(known, _)| known == name);
            found.map(|(_, id)| *id)
        });
        Ok(Granted {
            project,
            project_name: self.project,
            permissions,
        })
    }
}

fn read(permission: &RobotPermission, rights: &mut Vec<(Where, Resource, Action)>) -> Result<()> {
    let (place, scope) = match (permission.kind.as_str(), permission.namespace.as_str()) {
        ("system", "/") => (Where::System, Scope::System),
        ("project", "*") => (Where::EveryProject, Scope::EveryProject),
        ("project", name) if !name.is_empty() => {
            (Where::Project(name.to_owned()), Scope::EveryProject)
        }
        (kind, namespace) => {
            return Err(invalid(format!(
                "bad request error permission: kind `{kind}` with namespace `{namespace}`: use `system` with `/`, or `project` with a name or `*`"
            )));
        }
    };
    if permission.access.is_empty() {
        return Err(invalid("bad request empty access"));
    }
    for access in &permission.access {
        if !matches!(access.effect.as_str(), "" | "allow") {
            return Err(invalid(format!(
                "effect `{}` is not supported: leave it empty",
                access.effect
            )));
        }
        let (resource, action) = (access.resource.parse()?, access.action.parse()?);
        // The catalogue is the same for all projects.
        Permission {
            scope,
            resource,
            action,
        }
        .check()?;
        rights.push((place.clone(), resource, action));
    }
    if rights.len() > MOST {
        return Err(invalid(format!(
            "a robot may have at most {MOST} permissions"
        )));
    }
    Ok(())
}

/// A robot gives no more than it has.
fn check_own(own: &[Permission], wanted: &[Permission]) -> Result<()> {
    let has = |wanted: &Permission| {
        own.iter().any(|own| {
            let reaches = own.scope == wanted.scope
                || (own.scope == Scope::EveryProject && matches!(wanted.scope, Scope::Project(_)));
            reaches && own.resource == wanted.resource && own.action == wanted.action
        })
    };
    match wanted.iter().find(|wanted| !has(wanted)) {
        None => Ok(()),
        Some(wanted) => Err(Error::Denied(format!(
            "permission scope is invalid. It must be equal to or more restrictive than the creator robot's permissions: it does not have `{}:{}` there itself",
            wanted.resource, wanted.action
        ))),
    }
}
