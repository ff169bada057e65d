//! Whose a tree is and becomes.

use std::fs;

use db::nodes;
use tokio_util::sync::CancellationToken;

use super::{
    super::{ImportOptions, Rules, Source, prepare},
    tree::{Tree, on_tree},
};
use crate::{
    fsck::adopt_store,
    world::{World, each},
};

/// It would go on in the store that it has.
#[test]
fn a_registry_that_is_served_gets_no_other_store() {
    testkit::on_postgres(async |database| {
        let world = &World::new(database).await;
        let tree = Tree::new(world).await;
        tree.content(b"theirs");
        let db = &world.database.db;
        let node = testkit::node("serving", "first", db.now().await.unwrap());
        let entered = db.write(move |tx| {
            let node = node.clone();
            Box::pin(async move { nodes::enter(tx, &node, None, true).await })
        });
        assert!(entered.await.unwrap());
        let refused = prepare(db, tree.registry.store()).await.unwrap_err();
        assert!(refused.to_string().contains("`serving`"), "{refused}");
        assert!(tree.registry.begin_import(Source::Docker).await.is_err());
        let left = adopt_store(db, tree.registry.store()).await.unwrap_err();
        assert!(left.to_string().contains("`serving`"), "{left}");
        assert!(!tree.root.join("store-id").exists());
    });
}

/// Killed as it marked the store, which did so later; and another run that was told of no mark.
#[test]
fn a_mark_that_came_late_is_the_imports_all_the_same() {
    each(async |world| {
        on_tree(world, async |tree| {
            tree.content(b"theirs");
            let db = &world.database.db;
            for id in ["first", "second"] {
                let given = db.write(move |tx| Box::pin(db::store_id::set(tx, id)));
                given.await.unwrap();
            }
            tree.registry.store().adopt("first").await.unwrap();
            prepare(db, tree.registry.store()).await.unwrap();
            let report = tree.import(Rules::default()).await;
            assert!(report.complete);
            let reader = &mut *db.reader().await.unwrap();
            let known = db::facts::find(reader, db::facts::STORE_ID).await.unwrap();
            assert_eq!(known.as_deref(), Some("first"));
        })
        .await;
    });
}

/// A share that went away under a running server, or the old registry's mounted in its place.
#[test]
fn a_registry_with_contents_gives_no_other_tree_its_identity() {
    each(async |world| {
        world.push_blob("library/app", b"mine").await;
        let before = fs::read_to_string(world.root.join("store-id")).unwrap();
        fs::rename(&world.root, world.root.with_extension("away")).unwrap();
        fs::create_dir_all(world.root.join("docker/registry/v2/blobs")).unwrap();
        let options = ImportOptions {
            source: Source::Docker,
            rules: Rules::default(),
        };
        let cancel = CancellationToken::new();
        let run = world.registry.import_blobs(&options, &cancel, |_| {});
        let refused = run.await.unwrap_err();
        assert!(
            refused.to_string().contains("another store already"),
            "{refused}"
        );
        assert!(!world.root.join("store-id").exists());
        let reader = &mut *world.database.db.reader().await.unwrap();
        let known = db::facts::find(reader, db::facts::STORE_ID).await.unwrap();
        assert_eq!(known.as_deref(), Some(before.trim()));
    });
}

#[test]
fn a_registry_with_contents_and_a_store_without_a_tree_are_refused() {
    each(async |world| {
        world.push_blob("library/app", b"mine").await;
        let db = &world.database.db;
        // Its own store is no matter; another tree is.
        prepare(db, world.registry.store()).await.unwrap();
        let tree = Tree::new(world).await;
        tree.content(b"theirs");
        let refused = prepare(db, tree.registry.store()).await.unwrap_err();
        assert!(
            refused.to_string().contains("another store already"),
            "{refused}"
        );
        tree.registry.store().adopt("somebody").await.unwrap();
        let refused = prepare(db, tree.registry.store()).await.unwrap_err();
        assert!(
            refused.to_string().contains("belongs to another database"),
            "{refused}"
        );
    });
    each(async |world| {
        on_tree(world, async |tree| {
            fs::remove_dir_all(tree.root.join("docker")).unwrap();
            let refused = prepare(&world.database.db, tree.registry.store()).await;
            assert!(refused.unwrap_err().to_string().contains("storage.url"));
        })
        .await;
    });
}
