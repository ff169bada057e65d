//! What a caller may do in a project: his role there, what everybody may in a public one, or a robot's own permissions. A
//! token's scopes narrow that further, see [`scope_allows`].

use db::last_known::LastKnown;
use model::{
    Result,
    id::{ProjectId, RobotId, UserId},
    permission::{Action, Actions, Resource},
    robot::{Permission, Scope},
    role::{Role, public_actions},
};
use quick_cache::Equivalent;

use crate::{Auth, Caller, RobotFacts, Subject, Via, remembered::Remembered};

const RESOURCES: usize = Resource::ALL.len();

/// All that a system administrator may do anywhere: everything but what only scanners do.
const EVERYTHING: Actions = Actions::of(&[
    Action::Create,
    Action::Read,
    Action::Update,
    Action::Delete,
    Action::List,
    Action::Pull,
    Action::Push,
    Action::Stop,
    Action::Operate,
]);

/// A project that exists, and what one caller may do there.
#[derive(Debug, Clone, Copy)]
pub struct Rights {
    pub project: ProjectId,
    /// What a pull from here must find signed: bit 1 by notation, bit 2 by cosign.
    pub trust: i64,
    /// Whether a quota limits what the project may hold.
    pub is_limited: bool,
    actions: [Actions; RESOURCES],
}

impl Rights {
    pub fn may(&self, resource: Resource, action: Action) -> bool {
        self.actions[resource as usize].has(action)
    }

    fn add(&mut self, actions: impl Fn(Resource) -> Actions) {
        for &resource in Resource::ALL {
            self.actions[resource as usize].add(actions(resource));
        }
    }
}

/// Whether the caller's token, if he came with one, reaches this action on this repository.
pub fn scope_allows(caller: &Caller, repository: &str, action: &str) -> bool {
    caller.scopes.as_ref().is_none_or(|scopes| {
        scopes.iter().any(|scope| {
            scope.name == repository && scope.kind == "repository" && scope.allows(action)
        })
    })
}

/// On whose rights an answer depends. All administrators have the same.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Holder {
    Nobody,
    Everybody,
    User(UserId),
    Robot(RobotId),
    Admin,
}

/// A key to look up with, as the remembered `(Holder, Box<str>)` but without its allocation.
#[derive(Hash)]
struct Place<'a>(Holder, &'a str);

impl Equivalent<(Holder, Box<str>)> for Place<'_> {
    fn equivalent(&self, key: &(Holder, Box<str>)) -> bool {
        self.0 == key.0 && *self.1 == *key.1
    }
}

pub(crate) struct Standings(
    Remembered<(Holder, Box<str>), Rights>,
    LastKnown<(Holder, Box<str>), Rights>,
);

impl Default for Standings {
    fn default() -> Self {
        Self(Remembered::new(20_000), LastKnown::new(20_000))
    }
}

impl Auth {
    /// The project of this name and what the caller may do there; none when there is no such project.
    pub async fn standing(&self, caller: &Caller, project: &str) -> Result<Option<Rights>> {
        let generation = self.generation();
        let holder = self.holder(caller);
        if let Some(rights) = self.0.standings.0.get(generation, &Place(holder, project)) {
            return Ok(Some(rights));
        }
        let place = Place(holder, project);
        let read = || self.read_standing(caller, holder, project);
        let last = &self.0.standings.1;
        let rights = last.read(&self.1, &place, || (holder, project.into()), read);
        let rights = rights.await?;
        if let Some(rights) = &rights {
            let key = (holder, project.into());
            self.0.standings.0.keep(generation, key, rights);
        }
        Ok(rights)
    }

    async fn read_standing(
        &self,
        caller: &Caller,
        holder: Holder,
        project: &str,
    ) -> Result<Option<Rights>> {
        let mut reader = self.1.reader().await?;
        let user = if let Holder::User(id) = holder {
            Some(id)
        } else {
            None
        };
        let Some(standing) = db::rights::standing(&mut reader, project, user).await? else {
            return Ok(None);
        };
        let mut rights = Rights {
            project: standing.project,
            trust: standing.trust,
            is_limited: standing.is_limited,
            actions: [Actions::NONE; RESOURCES],
        };
        match (holder, &caller.subject) {
            (Holder::Admin, _) => rights.add(|_| EVERYTHING),
            (_, Subject::Robot(robot)) => {
                of_robot(&mut reader, robot, standing.public, &mut rights).await?;
            }
            (Holder::Nobody, _) => {}
            _ => of_person(&standing.roles, standing.public, &mut rights),
        }
        Ok(Some(rights))
    }

    /// Whether the caller may do this on the whole system: administrators may, and robots of the system that were given it. A
    /// token never suffices, as in Harbor.
    pub async fn may_on_system(
        &self,
        caller: &Caller,
        resource: Resource,
        action: Action,
    ) -> Result<bool> {
        match &caller.subject {
            _ if caller.via == Via::Bearer => Ok(false),
            Subject::Robot(robot) if robot.project.is_none() => {
                let wanted = Permission {
                    scope: Scope::System,
                    resource,
                    action,
                };
                Ok(
                    db::robots::permissions(&mut *self.1.reader().await?, robot.id)
                        .await?
                        .contains(&wanted),
                )
            }
            _ => Ok(caller.is_admin()),
        }
    }

    /// Whether the caller sees public projects at all: callers without a name may be shut out.
    pub fn sees_public(&self, caller: &Caller) -> bool {
        self.holder(caller) != Holder::Nobody
    }

    fn holder(&self, caller: &Caller) -> Holder {
        match &caller.subject {
            _ if caller.is_admin() => Holder::Admin,
            Subject::User(user) => Holder::User(user.id),
            Subject::Robot(robot) => Holder::Robot(robot.id),
            Subject::Anonymous if self.0.config.anonymous => Holder::Everybody,
            Subject::Anonymous => Holder::Nobody,
        }
    }
}

fn of_person(roles: &[Role], public: bool, rights: &mut Rights) {
    for role in roles {
        rights.add(|resource| role.actions(resource));
    }
    if public {
        rights.add(public_actions);
    }
}

/// Push implies pull for a project's own robot, not for one of the system. In public projects a robot has everybody's rights
/// when it has a permission in any project, so that one made for the system alone sees no content (Harbor's rules).
async fn of_robot(
    reader: &mut db::Conn,
    robot: &RobotFacts,
    public: bool,
    rights: &mut Rights,
) -> Result<()> {
    let permissions = db::rights::of_robot(reader, robot.id, rights.project).await?;
    for permission in &permissions {
        rights.actions[permission.resource as usize].add(Actions::of(&[permission.action]));
    }
    let images = &mut rights.actions[Resource::Repository as usize];
    if robot.project.is_some() && images.has(Action::Push) {
        images.add(Actions::of(&[Action::Pull]));
    }
    if !public {
        return Ok(());
    }
    let in_projects = robot.project.is_some()
        || !permissions.is_empty()
        || db::robots::permissions(reader, robot.id)
            .await?
            .iter()
            .any(|permission| permission.scope != Scope::System);
    if in_projects {
        rights.add(public_actions);
    }
    Ok(())
}
