use std::{fs, path::PathBuf};

use db::{
    blobs::{self, State},
    links, projects, repositories, users,
};
use model::job::Job;
use oci::digest::{Algorithm, Digest};

use crate::{
    Outcome,
    world::{World, each},
};

/// A content of a repository that nothing names, and whose time has come.
async fn plant(world: &World<'_>, bytes: &'static [u8]) -> Digest {
    let digest = blob::digest_of(Algorithm::Sha256, bytes);
    world
        .registry
        .store()
        .put(&digest, "data", bytes.into())
        .await
        .unwrap();
    world
        .write(move |tx| {
            Box::pin(async move {
                let now = tx.now().await?;
                let new = users::NewUser {
                    name: "admin".parse()?,
                    email: None,
                    realname: None,
                    comment: None,
                    password: None,
                    admin: true,
                };
                let owner = users::insert(tx, &new, now).await?;
                let library = projects::NewProject {
                    public: true,
                    ..projects::NewProject::named("library".parse()?, owner)
                };
                let project = projects::insert(tx, &library, now).await?;
                let repository =
                    repositories::ensure(tx, project, &"library/a".parse().expect("a name"), now)
                        .await?;
                let id = blobs::insert(tx, &digest, 0, bytes.len() as u64, "data", now)
                    .await?
                    .expect("new");
                links::add(tx, &repository, id, Some(now), now).await
            })
        })
        .await;
    digest
}

fn file(world: &World<'_>, digest: &Digest) -> PathBuf {
    let hex = digest.hex();
    world.root.join(format!(
        "docker/registry/v2/blobs/sha256/{}/{hex}/data",
        &hex[..2]
    ))
}

#[test]
fn a_collection_frees_and_tells_how_much() {
    each(async |world| {
        let digest = plant(world, b"unneeded").await;
        let (id, outcome) = world.run(Job::Collect {}).await;
        assert_eq!(
            outcome.unwrap(),
            Outcome::Done("1 links ended, 1 contents with 8 bytes freed".to_owned())
        );
        // One comes each minute.
        assert!(world.log(id).await.is_empty());
        assert!(!file(world, &digest).exists());
    });
}

#[test]
fn a_collection_that_could_not_delete_everything_is_tried_again() {
    each(async |world| {
        let digest = plant(world, b"stuck").await;
        fs::remove_file(file(world, &digest)).unwrap();
        fs::create_dir(file(world, &digest)).unwrap();
        let (_, outcome) = world.run(Job::Collect {}).await;
        assert!(outcome.is_err());
        fs::remove_dir(file(world, &digest)).unwrap();
        let (_, outcome) = world.run(Job::Collect {}).await;
        assert!(outcome.is_ok());
    });
}

#[test]
fn a_scrub_that_a_person_asked_for_reads_everything_and_tells_what_is_lost() {
    each(async |world| {
        let digest = plant(world, b"content").await;
        fs::write(file(world, &digest), b"CONTENT").unwrap();
        let (_, outcome) = world.run(Job::Scrub { requested_by: None }).await;
        assert_eq!(
            outcome.unwrap(),
            Outcome::Done("0 contents with 0 bytes read, 0 lost".to_owned())
        );
        let (id, outcome) = world
            .run(Job::Scrub {
                requested_by: Some("admin".to_owned()),
            })
            .await;
        assert_eq!(
            outcome.unwrap(),
            Outcome::Done("1 contents with 0 bytes read, 1 lost".to_owned())
        );
        assert!(
            world.log(id).await[1].starts_with(&format!("{digest}: its 7 bytes have the digest"))
        );
        let newest = blobs::newest(&mut world.database.db.reader().await.unwrap(), &digest)
            .await
            .unwrap();
        assert_eq!(newest.unwrap().state, State::Lost);
    });
}
