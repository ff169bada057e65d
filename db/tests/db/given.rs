//! What a test finds when it begins.

use db::{
    Db, Tx,
    artifacts::{self, Artifact, Child, Deletion, NewArtifact},
    blobs, links,
    projects::{self, Project},
    repositories::{self, Repository},
    tags::{self, Cause},
    users::{self, NewUser, User},
};
use model::{
    Error,
    id::{ArtifactId, BlobId},
    time::Timestamp,
};
use oci::{
    digest::Digest,
    name::{RepoName, Tag},
};

pub const NOW: Timestamp = Timestamp(1_700_000_000_000_000);
pub const SECOND: i64 = 1_000_000;

pub fn later(seconds: i64) -> Timestamp {
    Timestamp(NOW.0 + seconds * SECOND)
}

/// A digest that no bytes have.
pub fn digest(number: u64) -> Digest {
    format!("sha256:{number:064x}").parse().unwrap()
}

/// Asserts what kind of error it is; the error's words are for people.
#[track_caller]
pub fn assert_kind<T: std::fmt::Debug>(outcome: Result<T, Error>, is: fn(&Error) -> bool) {
    match outcome {
        Err(error) if is(&error) => {}
        other => panic!("not the error that was expected: {other:?}"),
    }
}

pub async fn user(db: &Db, name: &str) -> User {
    let new = NewUser {
        name: name.parse().unwrap(),
        email: Some(format!("{name}@example.com")),
        realname: None,
        comment: None,
        password: Some("hash".to_owned()),
        admin: false,
    };
    transact!(db, [new], |tx| users::insert(tx, &new, NOW).await).unwrap();
    users::get_name(&mut db.reader().await.unwrap(), name)
        .await
        .unwrap()
}

/// A project of `alice`, who is made with the first one.
pub async fn project(db: &Db, name: &str) -> Project {
    let alice = users::find_name(&mut db.reader().await.unwrap(), "alice")
        .await
        .unwrap();
    let owner = match alice {
        Some(alice) => alice.id,
        None => user(db, "alice").await.id,
    };
    let new = projects::NewProject::named(name.parse().unwrap(), owner);
    transact!(db, [new], |tx| projects::insert(tx, &new, NOW).await).unwrap();
    projects::get_name(&mut db.reader().await.unwrap(), name)
        .await
        .unwrap()
}

/// A repository; its project is made with it when there is none.
pub async fn repository(db: &Db, name: &str) -> &'static Repository {
    let name: RepoName = name.parse().unwrap();
    let found = projects::find_name(&mut db.reader().await.unwrap(), name.project())
        .await
        .unwrap();
    let project = match found {
        Some(project) => project,
        None => project(db, name.project()).await,
    };
    let made = transact!(db, [name], |tx| repositories::ensure(
        tx, project.id, &name, NOW
    )
    .await);
    // As long as the test, so that closures may name it.
    Box::leak(Box::new(made.unwrap()))
}

/// A content in the store that no repository holds.
pub async fn blob(db: &Db, number: u64) -> BlobId {
    let digest = digest(number);
    transact!(db, |tx| blobs::insert(tx, &digest, 0, 100, "data", NOW)
        .await)
    .unwrap()
    .unwrap()
}

/// A content that a repository holds; the collector asks about it after a day.
pub async fn held(db: &Db, repository: &'static Repository, number: u64) -> BlobId {
    let blob = blob(db, number).await;
    transact!(db, |tx| links::add(
        tx,
        repository,
        blob,
        Some(later(86_400)),
        NOW
    )
    .await)
    .unwrap();
    blob
}

/// A manifest that was not pushed yet.
pub fn new_artifact(number: u64, own: BlobId, contents: &[BlobId]) -> NewArtifact {
    NewArtifact {
        digest: digest(number),
        blob: own,
        media_type: "application/vnd.oci.image.manifest.v1+json".to_owned(),
        artifact_type: None,
        config_media_type: None,
        size: 300,
        subject: None,
        annotations: None,
        blobs: contents.iter().copied().chain([own]).collect(),
        children: vec![],
        by_tag: false,
        attached: None,
        description: None,
    }
}

/// As an index names it, without a word.
pub fn child(id: ArtifactId) -> Child {
    Child {
        id,
        descriptor: None,
    }
}

/// One step of deleting a manifest; false when there is more to do.
pub async fn delete(
    tx: &mut Tx,
    repository: &Repository,
    artifact: &Artifact,
    check_at: Timestamp,
    now: Timestamp,
) -> model::Result<bool> {
    let mut deletion = Deletion::of(artifact, None);
    artifacts::delete_some(tx, repository, &mut deletion, check_at, now).await?;
    Ok(deletion.is_done())
}

/// A manifest whose bytes have this number, naming contents and manifests of the repository.
pub async fn manifest(
    db: &Db,
    repository: &'static Repository,
    number: u64,
    contents: &[BlobId],
    children: &[ArtifactId],
) -> ArtifactId {
    let own = held(db, repository, number).await;
    let new = NewArtifact {
        children: children.iter().copied().map(child).collect(),
        ..new_artifact(number, own, contents)
    };
    transact!(db, [new], |tx| artifacts::ensure(tx, repository, &new, NOW)
        .await)
    .unwrap()
    .0
}

pub async fn tag(
    db: &Db,
    repository: &'static Repository,
    name: &str,
    artifact: ArtifactId,
    number: u64,
) {
    let (name, digest): (Tag, Digest) = (name.parse().unwrap(), digest(number));
    transact!(db, [name], |tx| {
        tags::set(tx, repository, &name, artifact, &digest, Cause::Push, NOW).await
    })
    .unwrap();
}

pub async fn find(db: &Db, repository: &Repository, number: u64) -> Option<Artifact> {
    artifacts::find(
        &mut db.reader().await.unwrap(),
        repository.id,
        &digest(number),
    )
    .await
    .unwrap()
}

/// The kinds and keys of all changes, the oldest first.
pub async fn changes(db: &Db) -> Vec<String> {
    let newest = db::changes::list(&mut db.reader().await.unwrap(), None, 1000)
        .await
        .unwrap();
    newest
        .into_iter()
        .rev()
        .map(|change| format!("{} {}", change.kind, change.key))
        .collect()
}
