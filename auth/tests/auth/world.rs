//! A fresh database with people, projects and robots in it, spoken of in verbs.

use std::{sync::Arc, time::Duration};

use auth::{Auth, Caller, Config, Keyring, Rights, SecretKey, password};
use db::{Db, Tx, keys, members, projects, robots, users};
use futures_util::future::BoxFuture;
use model::{
    Result,
    id::ProjectId,
    name::ProjectName,
    permission::{Action, Resource},
    robot::{NAME_PREFIX, Permission, Scope as Reach, parse_full_name},
    role::Role,
    time::Timestamp,
};
use oci::Scope;
use tempfile::TempDir;
use testkit::{TestDatabase, on_both};

pub struct World<'a> {
    pub db: Db,
    pub auth: Auth,
    /// Opened at the same moment as `auth`, when the database held no key yet.
    pub others: [Auth; 2],
    pub key: Keyring,
    pub directory: TempDir,
    database: &'a TestDatabase,
}

/// Runs the test on each database that this machine has.
pub fn each(test: impl AsyncFn(&World<'_>)) {
    on_both(async move |database| test(&World::new(database).await).await);
}

impl<'a> World<'a> {
    async fn new(database: &'a TestDatabase) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let (db, key) = (
            database.db.clone(),
            Keyring::open(&directory.path().join("secretkey"), None).unwrap(),
        );
        let node = || Auth::open(db.clone(), key.clone(), Config::default());
        let (auth, one, two) = tokio::join!(node(), node(), node());
        let (auth, others) = (auth.unwrap(), [one.unwrap(), two.unwrap()]);
        Self {
            db,
            auth,
            others,
            key,
            directory,
            database,
        }
    }

    /// The key file's content.
    pub fn secret(&self) -> SecretKey {
        SecretKey::load_or_create(&self.directory.path().join("secretkey"), false).unwrap()
    }

    /// The same node with another configuration.
    pub async fn configured(&self, config: Config) -> Auth {
        Auth::open(self.db.clone(), self.key.clone(), config)
            .await
            .unwrap()
    }

    /// Another process on the same database; none on SQLite, which has one.
    pub async fn second_node(&self) -> Option<(Db, Auth)> {
        if self.db.is_exclusive() {
            return None;
        }
        let db = self.database.node("two").await;
        let auth = Auth::open(db.clone(), self.key.clone(), Config::default())
            .await
            .unwrap();
        Some((db, auth))
    }

    pub async fn user(&self, name: &str, password: &str) {
        self.user_with_hash(name, &password::hash(password).unwrap(), false)
            .await;
    }

    pub async fn admin(&self, name: &str) {
        self.user_with_hash(name, &password::hash("Harbor12345").unwrap(), true)
            .await;
    }

    pub async fn user_with_hash(&self, name: &str, hash: &str, admin: bool) {
        let new = Arc::new(users::NewUser {
            name: name.parse().unwrap(),
            email: Some(format!("{name}@example.com")),
            realname: None,
            comment: None,
            password: Some(hash.to_owned()),
            admin,
        });
        self.write(move |tx, now| {
            let new = new.clone();
            Box::pin(async move { users::insert(tx, &new, now).await.map(|_| ()) })
        })
        .await;
    }

    pub async fn row(&self, user: &str) -> users::User {
        users::get_name(&mut self.db.reader().await.unwrap(), user)
            .await
            .unwrap()
    }

    pub async fn change_password(&self, user: &str, password: &str) {
        let (user, hash) = (self.row(user).await, password::hash(password).unwrap());
        self.write(move |tx, now| {
            let (user, hash) = (user.clone(), hash.clone());
            Box::pin(async move { users::set_password(tx, &user, &hash, now).await })
        })
        .await;
    }

    pub async fn set_admin(&self, user: &str, admin: bool) {
        let user = self.row(user).await;
        self.write(move |tx, now| {
            let user = user.clone();
            Box::pin(async move { users::set_admin(tx, &user, admin, now).await })
        })
        .await;
    }

    pub async fn delete_user(&self, user: &str) {
        let user = self.row(user).await;
        self.write(move |tx, now| {
            let user = user.clone();
            Box::pin(async move { users::delete(tx, &user, now).await })
        })
        .await;
    }

    /// Its owner is the administrator `root`, who is made when he is not there.
    pub async fn project(&self, name: &str, public: bool) -> ProjectId {
        if users::find_name(&mut self.db.reader().await.unwrap(), "root")
            .await
            .unwrap()
            .is_none()
        {
            self.user_with_hash("root", "", true).await;
        }
        let owner = self.row("root").await.id;
        let new = projects::NewProject {
            public,
            ..projects::NewProject::named(name.parse().unwrap(), owner)
        };
        self.write(move |tx, now| {
            let new = new.clone();
            Box::pin(async move { projects::insert(tx, &new, now).await })
        })
        .await
    }

    async fn project_row(&self, name: &str) -> projects::Project {
        projects::get_name(&mut self.db.reader().await.unwrap(), name)
            .await
            .unwrap()
    }

    pub async fn set_public(&self, project: &str, public: bool) {
        let project = self.project_row(project).await;
        self.write(move |tx, now| {
            let project = project.clone();
            Box::pin(async move { projects::set_public(tx, &project, public, now).await })
        })
        .await;
    }

    pub async fn delete_project(&self, project: &str) {
        let project = self.project_row(project).await;
        self.write(move |tx, now| {
            let project = project.clone();
            Box::pin(async move { projects::delete(tx, &project, now).await })
        })
        .await;
    }

    /// Without a role the membership ends.
    pub async fn member(&self, project: &str, user: &str, role: Option<Role>) {
        let (project, user) = (self.project_row(project).await, self.row(user).await);
        self.write(move |tx, now| {
            let (project, user) = (project.clone(), user.clone());
            Box::pin(async move {
                match role {
                    Some(role) => members::set(tx, &project, &user, role, now).await,
                    None => members::remove(tx, &project, &user, now).await,
                }
            })
        })
        .await;
    }

    /// A robot of the project, or of the system; answers its secret.
    pub async fn robot(
        &self,
        full_name: &str,
        permissions: &[(Reach, Resource, Action)],
    ) -> String {
        let secret = auth::robots::new_secret().unwrap();
        self.robot_with(full_name, &secret.hash, None, permissions)
            .await;
        secret.text
    }

    pub async fn robot_with(
        &self,
        full_name: &str,
        hash: &str,
        expires_at: Option<Timestamp>,
        permissions: &[(Reach, Resource, Action)],
    ) {
        let name = parse_full_name(NAME_PREFIX, full_name).unwrap();
        let project = match &name.project {
            Some(project) => Some(self.project_row(project.as_str()).await.id),
            None => None,
        };
        let permissions = permissions
            .iter()
            .map(|&(scope, resource, action)| Permission {
                scope,
                resource,
                action,
            });
        let new = Arc::new(robots::NewRobot {
            project,
            name: name.name,
            description: None,
            secret: hash.to_owned(),
            duration: -1,
            creator: robots::Creator::User(1),
            expires_at,
            permissions: permissions.collect(),
        });
        let full_name = full_name.to_owned();
        self.write(move |tx, now| {
            let (new, full_name) = (new.clone(), full_name.clone());
            Box::pin(async move { robots::insert(tx, &new, &full_name, now).await.map(|_| ()) })
        })
        .await;
    }

    pub async fn robot_row(&self, full_name: &str) -> robots::Robot {
        let name = parse_full_name(NAME_PREFIX, full_name).unwrap();
        let project = name.project.as_ref().map(ProjectName::as_str);
        let mut reader = self.db.reader().await.unwrap();
        robots::find_name(&mut reader, project, name.name.as_str())
            .await
            .unwrap()
            .unwrap()
    }

    pub async fn disable_robot(&self, full_name: &str, disabled: bool) {
        let robot = self.robot_row(full_name).await;
        self.write(move |tx, now| {
            let robot = robot.clone();
            Box::pin(async move { robots::set_disabled(tx, &robot, "robot", disabled, now).await })
        })
        .await;
    }

    pub async fn delete_robot(&self, full_name: &str) {
        let robot = self.robot_row(full_name).await;
        self.write(move |tx, now| {
            let robot = robot.clone();
            Box::pin(async move { robots::delete(tx, &robot, "robot", now).await })
        })
        .await;
    }

    pub async fn insert_key(&self, key: keys::Key) {
        self.write(move |tx, now| {
            let (key, later) = (key.clone(), now.plus(Duration::from_secs(1)));
            Box::pin(async move { keys::insert(tx, "token", &key, later).await })
        })
        .await;
    }

    pub async fn write<T, F>(&self, work: F) -> T
    where
        T: Send + 'static,
        F: for<'t> Fn(&'t mut Tx, Timestamp) -> BoxFuture<'t, Result<T>> + Send + Sync + 'static,
    {
        let work = Arc::new(work);
        let written = self.db.write(move |tx| {
            let work = work.clone();
            Box::pin(async move {
                let now = tx.now().await?;
                work(tx, now).await
            })
        });
        written.await.unwrap()
    }

    /// Signs in with a password or secret that must be right.
    pub async fn login(&self, name: &str, password: &str) -> Caller {
        self.auth
            .basic(name, password, None)
            .await
            .unwrap()
            .expect("the right password")
    }

    pub async fn is_login(&self, name: &str, password: &str) -> bool {
        self.auth
            .basic(name, password, None)
            .await
            .unwrap()
            .is_some()
    }

    pub async fn token(&self, caller: &Caller, scopes: &str) -> String {
        self.auth
            .issue(caller, &scopes_of(scopes))
            .await
            .unwrap()
            .token
    }

    pub async fn rights(&self, caller: &Caller, project: &str) -> Option<Rights> {
        self.auth.standing(caller, project).await.unwrap()
    }

    /// What the caller may do with images of the project, as words.
    pub async fn images(&self, caller: &Caller, project: &str) -> String {
        let Some(rights) = self.rights(caller, project).await else {
            return "no project".to_owned();
        };
        let may = [Action::Pull, Action::Push, Action::Delete]
            .into_iter()
            .filter(|&action| rights.may(Resource::Repository, action));
        may.map(Action::as_str).collect::<Vec<_>>().join(",")
    }

    pub async fn by_token(&self, token: &str) -> Option<Caller> {
        let now = self.db.clock().now();
        self.auth.bearer(token, now).await.unwrap()
    }

    /// The name of the caller that a token stands for, or `nobody`.
    pub async fn bearer(&self, token: &str) -> String {
        let caller = self.by_token(token).await;
        caller.map_or_else(|| "nobody".to_owned(), |caller| caller.name().to_owned())
    }
}

pub fn scopes_of(text: &str) -> Vec<Scope> {
    oci::scope::parse_scopes(text).map(Result::unwrap).collect()
}
