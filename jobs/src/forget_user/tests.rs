use db::{
    audit::{self, Entry},
    members, projects,
    users::{self, Forget, NewUser, User},
};
use model::{job::Job, role::Role};

use crate::{
    Outcome,
    world::{World, audit_until, each},
};

async fn made(world: &World<'_>, name: &'static str) -> User {
    world
        .write(move |tx| {
            Box::pin(async move {
                let new = NewUser {
                    name: name.parse()?,
                    email: Some(format!("{name}@example.com")),
                    realname: None,
                    comment: None,
                    password: None,
                    admin: false,
                };
                let now = tx.now().await?;
                users::insert(tx, &new, now).await?;
                users::get_name(tx, name).await
            })
        })
        .await
}

/// What `user` did, was done to him, and is told of him in a project; then he is deleted.
async fn deleted(world: &World<'_>, user: &User, what: Forget) {
    let user = user.clone();
    world
        .write(move |tx| {
            let user = user.clone();
            Box::pin(async move {
                let now = tx.now().await?;
                let pull = audit::New {
                    at: now,
                    project: None,
                    actor: user.name.clone(),
                    address: None,
                    event: model::audit::Event::PullArtifact,
                    resource: "library/app:1".to_owned(),
                    description: None,
                    succeeded: true,
                };
                audit::append(tx, &pull).await?;
                let library = projects::NewProject::named("library".parse()?, user.id);
                projects::insert(tx, &library, now).await?;
                let project = projects::get_name(tx, "library").await?;
                members::set(tx, &project, &user, Role::Developer, now).await?;
                users::delete(tx, &user, now).await?;
                users::forget(tx, &user, what, now).await
            })
        })
        .await;
}

/// The audit up to the last row, which is this event of hers.
async fn rows(world: &World<'_>, event: &str) -> Vec<Entry> {
    let is_last = |rows: &[Entry]| rows.last().is_some_and(|row| row.event == event);
    audit_until(&world.database.db, is_last).await
}

fn job(user: &User, what: Forget) -> Job {
    Job::ForgetUser {
        user: user.id.0,
        account: what.account,
        audit: what.audit,
    }
}

#[test]
fn a_deleted_users_name_goes_from_his_row_and_from_the_audit() {
    each(async |world| {
        let what = Forget {
            account: true,
            audit: true,
        };
        let alice = made(world, "alice").await;
        deleted(world, &alice, what).await;
        let before = rows(world, "delete_user").await.len();
        // The name is free again; what the next one does with it is his.
        world.advance(std::time::Duration::from_secs(1));
        let next = made(world, "alice").await;
        let (_, outcome) = world.run(job(&alice, what)).await;
        assert!(matches!(outcome.unwrap(), Outcome::Done(_)));

        let all = rows(world, "create_user").await;
        for row in &all[..before] {
            assert!(!format!("{row:?}").contains("alice"), "{row:?}");
        }
        assert_eq!(all.last().unwrap().resource, "alice");
        let mut reader = world.database.db.reader().await.unwrap();
        let left = users::find_deleted(&mut reader, alice.id).await.unwrap();
        let left = left.unwrap();
        assert!(left.is_forgotten(alice.id), "{}", left.name);
        let hash = left.name.split('#').next().unwrap();
        let member = all.iter().find(|row| row.resource_type == "member");
        assert_eq!(member.unwrap().resource, format!("library/{hash}"));
        let same = users::find(&mut reader, next.id).await.unwrap().unwrap();
        assert_eq!(same.name, "alice");
        assert_eq!(same.email.as_deref(), Some("alice@example.com"));
        drop(reader);
        let (_, outcome) = world.run(job(&alice, what)).await;
        assert_eq!(
            outcome.unwrap(),
            Outcome::Done("forgotten already".to_owned())
        );
    });
}

#[test]
fn only_what_is_asked_for_is_forgotten() {
    each(async |world| {
        let alice = made(world, "alice").await;
        let what = Forget {
            account: true,
            audit: false,
        };
        deleted(world, &alice, what).await;
        world.run(job(&alice, what)).await.1.unwrap();
        let told = rows(world, "delete_user").await;
        assert!(told.iter().any(|row| row.actor == "alice"));
        let mut reader = world.database.db.reader().await.unwrap();
        let left = users::find_deleted(&mut reader, alice.id).await.unwrap();
        assert!(left.unwrap().is_forgotten(alice.id));
        drop(reader);

        let bob = made(world, "bob").await;
        let (_, outcome) = world.run(job(&bob, what)).await;
        assert!(
            matches!(outcome.unwrap(), Outcome::GiveUp(_)),
            "he is there"
        );
    });
}

#[test]
fn an_address_goes_where_nobody_else_is_called_so() {
    each(async |world| {
        let what = Forget {
            account: false,
            audit: true,
        };
        let (alice, bob) = (made(world, "alice").await, made(world, "bob").await);
        let _called_as_bobs_address = made(world, "bob@example.com").await;
        for user in [alice, bob] {
            let (name, told) = (user.name.clone(), user.clone());
            world
                .write(move |tx| {
                    let user = told.clone();
                    Box::pin(async move {
                        let now = tx.now().await?;
                        let failed = audit::New {
                            at: now,
                            project: None,
                            actor: user.email.clone().unwrap_or_default(),
                            address: None,
                            event: model::audit::Event::LoginUser,
                            resource: user.email.clone().unwrap_or_default(),
                            description: None,
                            succeeded: false,
                        };
                        audit::append(tx, &failed).await?;
                        users::delete(tx, &user, now).await
                    })
                })
                .await;
            let (_, outcome) = world.run(job(&user, what)).await;
            assert!(
                matches!(outcome, Ok(Outcome::Done(_))),
                "{name}: {outcome:?}"
            );
        }
        let rows = audit_until(&world.database.db, |rows| rows.len() >= 7).await;
        let failed = rows.iter().filter(|row| row.event == "login_user");
        let actors: Vec<_> = failed.map(|row| row.actor.as_str()).collect();
        assert!(!actors[0].contains("alice"), "{actors:?}");
        assert_eq!(actors[1], "bob@example.com");
    });
}
