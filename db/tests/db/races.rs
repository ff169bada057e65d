//! What only PostgreSQL can do: two transactions at once, each in the other's way.
//!
//! A statement that waited for a lock sees its other tables as they were before it waited. So whoever adds a reference
//! locks first and asks in a second statement, and so does whoever takes something away.

use std::{sync::Arc, time::Duration};

use db::tags::Cause;
use db::{
    artifacts,
    blobs::{self, Lock},
    links, members, projects, repositories, tags,
};
use model::{Error, role::Role};
use oci::name::RepoName;
use testkit::TestDatabase;
use tokio::sync::Semaphore;

use crate::given::{
    self, NOW, assert_kind, digest, find, held, later, manifest, new_artifact, project, repository,
    user,
};

/// Two signs between two transactions.
struct Signs {
    begun: Arc<Semaphore>,
    go_on: Arc<Semaphore>,
}

impl Signs {
    fn new() -> Self {
        Self {
            begun: Arc::new(Semaphore::new(0)),
            go_on: Arc::new(Semaphore::new(0)),
        }
    }

    /// Runs `second` once the first has begun, sees it wait, and lets the first go on.
    async fn waits<T: std::fmt::Debug>(
        &self,
        test: &TestDatabase,
        second: impl Future<Output = T>,
    ) -> T {
        let _ = self.begun.acquire().await;
        let mut second = std::pin::pin!(second);
        tokio::select! {
            early = &mut second => panic!("the second did not wait for the first: {early:?}"),
            () = somebody_waits(test) => {}
        }
        self.go_on.add_permits(1);
        second.await
    }
}

/// Until the server says that a transaction waits for a lock of another.
async fn somebody_waits(test: &TestDatabase) {
    let waiting = "SELECT 1 FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'";
    while !test
        .db
        .reader()
        .await
        .unwrap()
        .exists(waiting, &[])
        .await
        .unwrap()
    {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
}

/// In the first transaction: says that its locks are taken, and waits.
async fn hold(begun: &Semaphore, go_on: &Semaphore) {
    begun.add_permits(1);
    let _ = go_on.acquire().await;
}

#[test]
fn a_push_that_waited_for_the_collector_sees_what_it_took() {
    testkit::on_postgres(async |test| {
        let app = repository(&test.db, "library/app").await;
        let layer = held(&test.db, app, 1).await;
        let signs = Signs::new();
        let (begun, go_on) = (&signs.begun, &signs.go_on);
        let collect = async {
            transact!(test.db, [begun, go_on], |tx| {
                blobs::lock(tx, &[digest(1)]).await?;
                hold(&begun, &go_on).await;
                links::remove_unless_named(tx, app, layer).await
            })
        };
        let push = signs.waits(test, async {
            transact!(test.db, |tx| {
                blobs::hold(tx, &[digest(1)], Lock::Share).await?;
                links::held(tx, app.id, &[digest(1)]).await
            })
        });
        let (collected, held) = tokio::join!(collect, push);
        assert!(collected.unwrap());
        assert!(
            held.unwrap().is_empty(),
            "it was told that the repository still holds the content"
        );
    });
}

#[test]
fn the_collector_waits_for_a_push_and_then_leaves_its_content_alone() {
    testkit::on_postgres(async |test| {
        let app = repository(&test.db, "library/app").await;
        let (layer, own) = (held(&test.db, app, 1).await, held(&test.db, app, 10).await);
        let new = new_artifact(10, own, &[layer]);
        let signs = Signs::new();
        let (begun, go_on) = (&signs.begun, &signs.go_on);
        let push = async {
            transact!(test.db, [new, begun, go_on], |tx| {
                blobs::hold(tx, &[digest(1)], Lock::Share).await?;
                hold(&begun, &go_on).await;
                artifacts::ensure(tx, app, &new, NOW).await
            })
        };
        let collect = signs.waits(test, async {
            transact!(test.db, |tx| {
                blobs::lock(tx, &[digest(1)]).await?;
                links::collect(tx, app, &[layer], later(1_000_000)).await
            })
        });
        let (pushed, taken) = tokio::join!(push, collect);
        pushed.unwrap();
        assert_eq!(taken.unwrap(), []);
    });
}

#[test]
fn a_manifest_is_not_deleted_while_it_is_tagged() {
    testkit::on_postgres(async |test| {
        let app = repository(&test.db, "library/app").await;
        let image = manifest(&test.db, app, 10, &[], &[]).await;
        let found = find(&test.db, app, 10).await.unwrap();
        let own = blobs::newest(&mut test.db.reader().await.unwrap(), &digest(10)).await;
        let new = new_artifact(10, own.unwrap().unwrap().id, &[]); // it is there already
        let signs = Signs::new();
        let (begun, go_on) = (&signs.begun, &signs.go_on);
        let push = async {
            transact!(test.db, [new, begun, go_on], |tx| {
                let (artifact, _) = artifacts::ensure(tx, app, &new, NOW).await?;
                hold(&begun, &go_on).await;
                let tag = "v1".parse().unwrap();
                tags::set(tx, app, &tag, artifact, &digest(10), Cause::Push, NOW).await?;
                Ok(artifact)
            })
        };
        let delete = signs.waits(test, async {
            transact!(test.db, [found], |tx| {
                given::delete(tx, app, &found, NOW, NOW).await
            })
        });
        let (pushed, deleted) = tokio::join!(push, delete);
        assert_eq!(pushed.unwrap(), image);
        deleted.unwrap();
        // The deletion came second, so the tag went with the manifest.
        let reader = &mut *test.db.reader().await.unwrap();
        assert!(
            artifacts::find_tagged(reader, app.id, "v1")
                .await
                .unwrap()
                .is_none()
        );
    });
}

#[test]
fn a_manifest_that_was_deleted_meanwhile_is_made_again() {
    testkit::on_postgres(async |test| {
        let app = repository(&test.db, "library/app").await;
        let own = held(&test.db, app, 10).await;
        let new = new_artifact(10, own, &[]);
        let first = transact!(test.db, [new], |tx| artifacts::ensure(tx, app, &new, NOW)
            .await);
        let found = find(&test.db, app, 10).await.unwrap();
        let signs = Signs::new();
        let (begun, go_on) = (&signs.begun, &signs.go_on);
        let delete = async {
            transact!(test.db, [found, begun, go_on], |tx| {
                given::delete(tx, app, &found, NOW, NOW).await?;
                hold(&begun, &go_on).await;
                Ok(())
            })
        };
        let push = signs.waits(test, async {
            transact!(test.db, [new], |tx| {
                let (artifact, _) = artifacts::ensure(tx, app, &new, NOW).await?;
                let tag = "v1".parse().unwrap();
                tags::set(tx, app, &tag, artifact, &digest(10), Cause::Push, NOW).await?;
                Ok(artifact)
            })
        });
        let (deleted, pushed) = tokio::join!(delete, push);
        deleted.unwrap();
        assert_ne!(pushed.unwrap(), first.unwrap().0);
        assert!(find(&test.db, app, 10).await.is_some());
    });
}

#[test]
fn an_index_is_not_left_without_the_manifest_it_names() {
    testkit::on_postgres(async |test| {
        let app = repository(&test.db, "library/app").await;
        let image = manifest(&test.db, app, 10, &[], &[]).await;
        let found = find(&test.db, app, 10).await.unwrap();
        let own = held(&test.db, app, 11).await;
        let new = artifacts::NewArtifact {
            children: vec![given::child(image)],
            ..new_artifact(11, own, &[])
        };
        let signs = Signs::new();
        let (begun, go_on) = (&signs.begun, &signs.go_on);
        let push = async {
            transact!(test.db, [new, begun, go_on], |tx| {
                artifacts::hold(tx, app.id, &[digest(10)]).await?;
                hold(&begun, &go_on).await;
                artifacts::ensure(tx, app, &new, NOW).await
            })
        };
        let delete = signs.waits(test, async {
            transact!(test.db, [found], |tx| {
                given::delete(tx, app, &found, NOW, NOW).await
            })
        });
        let (pushed, deleted) = tokio::join!(push, delete);
        pushed.unwrap();
        assert_kind(deleted, |error| matches!(error, Error::Precondition(_)));
    });
}

#[test]
fn a_project_is_not_deleted_while_a_repository_is_made_in_it() {
    testkit::on_postgres(async |test| {
        let library = project(&test.db, "library").await;
        let name: RepoName = "library/app".parse().unwrap();
        let signs = Signs::new();
        let (begun, go_on) = (&signs.begun, &signs.go_on);
        let push = async {
            transact!(test.db, [name, begun, go_on], |tx| {
                let id = repositories::ensure(tx, library.id, &name, NOW).await?;
                hold(&begun, &go_on).await;
                Ok(id)
            })
        };
        let delete = signs.waits(test, async {
            transact!(test.db, [library], |tx| projects::delete(tx, &library, NOW)
                .await)
        });
        let (pushed, deleted) = tokio::join!(push, delete);
        pushed.unwrap();
        assert_kind(deleted, |error| matches!(error, Error::Precondition(_)));
    });
}

#[test]
fn who_is_being_deleted_becomes_no_member() {
    testkit::on_postgres(async |test| {
        let (library, bob) = (
            project(&test.db, "library").await,
            user(&test.db, "bob").await,
        );
        let signs = Signs::new();
        let (begun, go_on) = (&signs.begun, &signs.go_on);
        let delete = async {
            transact!(test.db, [bob, begun, go_on], |tx| {
                db::users::delete(tx, &bob, NOW).await?;
                hold(&begun, &go_on).await;
                Ok(())
            })
        };
        let join = signs.waits(test, async {
            transact!(test.db, [library, bob], |tx| members::set(
                tx,
                &library,
                &bob,
                Role::Guest,
                NOW
            )
            .await)
        });
        let (deleted, joined) = tokio::join!(delete, join);
        deleted.unwrap();
        assert_kind(joined, |error| matches!(error, Error::NotFound(..)));
    });
}
