mod owner;
mod tree;

use std::{
    fs,
    path::{Path, PathBuf},
    time::Duration,
};

use db::{artifacts, blobs::State, projects, repositories, tags};
use model::Error;
use oci::name::RepoName;
use tokio_util::sync::CancellationToken;

use self::tree::{CONFIG, Tree, into, on_tree};
use super::{
    ImportOptions, ImportReport, Left, PROJECT, REPOSITORY, Rules, Source, prepare,
    store::expect_open, survey,
};
use crate::{
    fsck::{FsckOptions, Kind},
    scrub::ScrubOptions,
    world::{digest_of, each, image, index},
};

fn inode(path: &Path) -> u64 {
    use std::os::unix::fs::MetadataExt;
    fs::metadata(path).unwrap().ino()
}

fn count(report: &ImportReport, left: Left) -> u64 {
    report.left.get(&left).map_or(0, |tally| tally.count)
}

#[test]
fn a_tree_is_taken_over_where_it_lies() {
    each(async |world| {
        on_tree(world, async |tree| {
            let (digest, bytes) = tree.image("team/app", "v1", &[b"one", b"two"]);
            let (other, other_bytes) = tree.image("team/app", "v2", &[b"three"]);
            let list = index(&[&bytes, &other_bytes]);
            let list_digest = tree.manifest("team/app", &list);
            tree.tag("team/app", "latest", &list_digest);
            tree.image("debian", "12", &[b"one"]);
            tree.write("repositories/debian/_uploads/1-2/data", b"half");
            tree.write("repositories/debian/_uploads/1-2/startedat", b"then");
            let lonely = tree.content(b"named by nobody");
            let files: Vec<PathBuf> = [&digest, &other, &list_digest, &lonely, &digest_of(b"one")]
                .map(|digest| tree.file(&Tree::data(digest)))
                .into();
            let before: Vec<u64> = files.iter().map(|file| inode(file)).collect();

            let report = tree.import(into("old")).await;
            assert!(report.complete && report.left.is_empty(), "{report:?}");
            let done = &report.done;
            assert_eq!((done.contents, done.adopted), (9, 9), "{report:?}");
            assert_eq!(
                (done.repositories, done.manifests, done.tags),
                (2, 4, 4),
                "{report:?}"
            );
            assert_eq!((done.uploads, done.upload_bytes, report.changed), (1, 4, 0));
            for (reference, wanted) in [
                ("v1", &bytes),
                ("v2", &other_bytes),
                ("latest", &list),
                (&digest.to_string(), &bytes),
            ] {
                let pulled = tree.pull_manifest("old/team/app", reference).await;
                assert_eq!(pulled.as_ref(), Some(wanted), "{reference}");
            }
            // A layer is read when it is pulled, a manifest was already.
            assert_eq!(tree.state(&digest_of(b"one")).await, Some(State::Adopted));
            assert_eq!(tree.state(&digest).await, Some(State::Live));
            let pulled = tree.pull("old/debian", &digest_of(b"one")).await;
            assert_eq!(pulled.as_deref(), Some(&b"one"[..]));
            assert_eq!(tree.state(&digest_of(b"one")).await, Some(State::Live));
            assert_eq!(tree.pull("old/debian", &digest_of(b"two")).await, None);
            let after: Vec<u64> = files.iter().map(|file| inode(file)).collect();
            assert_eq!(before, after, "nothing was written again");

            // Once more changes nothing.
            let again = tree.import(into("old")).await;
            assert_eq!((again.done.adopted, again.done.tags), (0, 4), "{again:?}");
            assert!(again.left.is_empty(), "{again:?}");
            let (options, cancel) = (FsckOptions::default(), CancellationToken::new());
            let report = tree.registry.fsck(&options, &cancel, |_| ()).await.unwrap();
            assert!(report.is_clean(), "{:?}", report.findings);
        })
        .await;
    });
}

#[test]
fn manifests_and_tags_keep_the_time_of_their_push() {
    each(async |world| {
        on_tree(world, async |tree| {
            let (digest, _) = tree.image("team/app", "v1", &[b"one"]);
            tree.import(into("old")).await;
            let mut reader = world.database.db.reader().await.unwrap();
            let repository = repositories::find(&mut reader, "old/team/app")
                .await
                .unwrap()
                .unwrap();
            let details = artifacts::details::find(&mut reader, repository.id, &digest).await;
            assert_eq!(details.unwrap().unwrap().pushed_at.seconds(), 1_700_000_000);
            let ids = [artifacts::find(&mut reader, repository.id, &digest)
                .await
                .unwrap()
                .unwrap()
                .id];
            let told = tags::details::of_all(&mut reader, &ids).await.unwrap();
            assert_eq!(told[0].pushed_at.seconds(), 1_700_000_000);
        })
        .await;
    });
}

#[test]
fn nothing_is_collected_before_the_import_is_finished_and_then_what_nothing_names() {
    each(async |world| {
        on_tree(world, async |tree| {
            tree.image("team/app", "v1", &[b"one"]);
            let (gone, _) = tree.image("team/app", "v2", &[b"two"]);
            let lonely = tree.content(b"named by nobody");
            let unnamed = tree.layer("team/app", b"of no manifest");
            tree.import(into("old")).await;
            let name: RepoName = "old/team/app".parse().unwrap();
            tree.registry.delete_manifest(&name, &gone).await.unwrap();
            world.advance(Duration::from_hours(1000 * 24));
            assert_eq!(tree.collect().await, 0);
            assert_eq!(
                tree.pull("old/team/app", &unnamed).await.as_deref(),
                Some(&b"of no manifest"[..])
            );
            let status = tree.registry.import_status().await.unwrap().unwrap();
            assert_eq!((status.held, status.unneeded), (7, 4), "{status:?}");
            let holder: RepoName = REPOSITORY.parse().unwrap();
            assert!(tree.registry.delete_repository(&holder).await.is_err());
            assert!(tree.registry.delete_blob(&holder, &lonely).await.is_err());

            // Once it is being finished nothing is added any more.
            let stopped = CancellationToken::new();
            stopped.cancel();
            let stopped = tree.registry.finish_import(&stopped, |_| ()).await;
            assert!(stopped.unwrap_err().to_string().contains("stopped"));
            let begun = tree.registry.begin_import(Source::Docker).await;
            assert!(begun.unwrap_err().to_string().contains("being finished"));
            let added = world
                .database
                .db
                .write(|tx| Box::pin(expect_open(tx)))
                .await;
            assert!(matches!(added, Err(Error::Unavailable(_))), "{added:?}");

            tree.finish().await;
            // The image, its layer and its config stay; what the other had alone, and what nobody named, goes.
            assert_eq!(tree.collect().await, 4);
            for digest in [&gone, &lonely, &unnamed, &digest_of(b"two")] {
                assert!(!tree.file(&Tree::data(digest)).exists());
            }
            assert!(tree.pull_manifest("old/team/app", "v1").await.is_some());
            assert!(
                tree.pull("old/team/app", &digest_of(b"one"))
                    .await
                    .is_some()
            );
            let mut reader = world.database.db.reader().await.unwrap();
            assert!(
                projects::find_name(&mut reader, PROJECT)
                    .await
                    .unwrap()
                    .is_none()
            );
            drop(reader);
            let cancel = CancellationToken::new();
            assert!(tree.registry.finish_import(&cancel, |_| ()).await.is_err());
        })
        .await;
    });
}

#[test]
fn what_was_damaged_before_is_never_served() {
    each(async |world| {
        on_tree(world, async |tree| {
            tree.image("team/app", "v1", &[b"one", b"two"]);
            let (lost, _) = tree.image("team/app", "v2", &[b"three"]);
            for digest in [digest_of(b"one"), digest_of(b"two"), lost] {
                tree.write(&Tree::data(&digest), b"xyz");
            }
            let report = tree.import(into("old")).await;
            assert_eq!(
                (count(&report, Left::Lost), count(&report, Left::LooseTag)),
                (1, 1),
                "{report:?}"
            );
            assert_eq!(tree.state(&lost).await, Some(State::Lost));
            assert_eq!(tree.pull("old/team/app", &digest_of(b"one")).await, None);
            assert_eq!(tree.state(&digest_of(b"one")).await, Some(State::Lost));
            let (options, cancel) = (ScrubOptions::default(), CancellationToken::new());
            let report = tree
                .registry
                .scrub(&options, &cancel, |_| ())
                .await
                .unwrap();
            assert_eq!(report.done.lost, 1, "{report:?}");
            assert_eq!(tree.state(&digest_of(b"two")).await, Some(State::Lost));
            assert_eq!(tree.state(&digest_of(b"three")).await, Some(State::Live));
            let status = tree.registry.import_status().await.unwrap().unwrap();
            assert_eq!((status.unread, status.lost), (0, 3));
        })
        .await;
    });
}

#[test]
fn many_who_ask_for_an_unread_content_wait_for_one_reading() {
    each(async |world| {
        on_tree(world, async |tree| {
            tree.image("team/app", "v1", &[b"one"]);
            tree.import(into("old")).await;
            let digest = digest_of(b"one");
            let asked = (0..20).map(|_| tree.pull("old/team/app", &digest));
            let pulled = futures_util::future::join_all(asked).await;
            assert!(
                pulled
                    .iter()
                    .all(|bytes| bytes.as_deref() == Some(&b"one"[..]))
            );
        })
        .await;
    });
}

#[test]
fn names_without_a_project_are_told_and_the_rest_is_taken_in() {
    each(async |world| {
        on_tree(world, async |tree| {
            tree.image("library/app", "v1", &[b"one"]);
            tree.image("debian", "12", &[b"two"]);
            tree.image("team/app", "v1", &[b"three"]);
            let report = tree.import(Rules::default()).await;
            assert_eq!(count(&report, Left::Unplaced), 2, "{report:?}");
            assert_eq!((report.done.repositories, report.done.contents), (1, 7));
            assert!(tree.pull_manifest("library/app", "v1").await.is_some());
            let rules = Rules {
                mappings: vec!["debian=library".parse().unwrap()],
                create_projects: true,
                ..Rules::default()
            };
            let report = tree.import(rules).await;
            assert!(report.left.is_empty(), "{report:?}");
            assert!(tree.pull_manifest("library/debian", "12").await.is_some());
            assert!(tree.pull_manifest("team/app", "v1").await.is_some());
            let missing = Rules {
                into: Some("nowhere".parse().unwrap()),
                ..Rules::default()
            };
            let options = ImportOptions {
                source: Source::Docker,
                rules: missing,
            };
            let cancel = CancellationToken::new();
            let refused = tree.registry.import_blobs(&options, &cancel, |_| ()).await;
            assert!(
                refused
                    .unwrap_err()
                    .to_string()
                    .contains("--create-projects")
            );
        })
        .await;
    });
}

#[test]
fn what_cannot_be_taken_in_is_told_and_the_rest_is() {
    each(async |world| {
        on_tree(world, async |tree| {
            tree.image("team/app", "v1", &[b"one"]);
            let old = tree.manifest("team/app", b"{\"schemaVersion\": 1, \"name\": \"app\"}");
            tree.tag("team/app", "ancient", &old);
            tree.manifest("team/app", b"no manifest at all");
            // Its layer was deleted there, and a child of an index never came.
            let sparse = image(CONFIG, &[b"gone"]);
            let sparse_digest = tree.manifest("team/app", &sparse);
            tree.tag("team/app", "sparse", &sparse_digest);
            let list = index(&[&sparse, b"{\"never\": \"here\"}"]);
            let list_digest = tree.manifest("team/app", &list);
            tree.tag("team/app", "list", &list_digest);
            // A layer that another repository holds is not this one's.
            tree.layer("team/other", b"secret");
            tree.manifest("team/app", &image(CONFIG, &[b"secret"]));
            let report = tree.import(into("old")).await;
            assert_eq!(
                [
                    Left::Schema1,
                    Left::Invalid,
                    Left::Incomplete,
                    Left::LooseTag
                ]
                .map(|left| count(&report, left)),
                [1, 1, 3, 1],
                "{report:?}"
            );
            assert_eq!(tree.pull_manifest("old/team/app", "list").await, Some(list));
            assert_eq!(
                tree.pull_manifest("old/team/app", "sparse").await,
                Some(sparse)
            );
            assert_eq!(tree.pull("old/team/app", &digest_of(b"secret")).await, None);
            // A repository that holds no manifest is not made.
            let mut reader = world.database.db.reader().await.unwrap();
            assert!(
                repositories::find(&mut reader, "old/team/other")
                    .await
                    .unwrap()
                    .is_none()
            );
        })
        .await;
    });
}

#[test]
fn a_tag_that_was_moved_here_stays() {
    each(async |world| {
        on_tree(world, async |tree| {
            tree.image("team/app", "v1", &[b"one"]);
            let (other, bytes) = tree.image("team/app", "v2", &[b"two"]);
            tree.import(into("old")).await;
            let mut reader = world.database.db.reader().await.unwrap();
            let project = projects::get_name(&mut reader, "old").await.unwrap().id;
            drop(reader);
            let target = crate::push::Target {
                project,
                name: "old/team/app".parse().unwrap(),
            };
            let new = crate::manifest::NewManifest {
                bytes: bytes.clone(),
                content_type: None,
                reference: oci::reference::Reference::Tag("v1".parse().unwrap()),
                tags: Vec::new(),
            };
            tree.registry.push_manifest(&target, new).await.unwrap();
            let report = tree.import(into("old")).await;
            assert_eq!(count(&report, Left::Kept), 1, "{report:?}");
            assert_eq!(tree.pull_manifest("old/team/app", "v1").await, Some(bytes));
            assert!(
                tree.pull_manifest("old/team/app", &other.to_string())
                    .await
                    .is_some()
            );
        })
        .await;
    });
}

#[test]
fn of_harbors_tree_only_contents_are_taken() {
    each(async |world| {
        on_tree(world, async |tree| {
            let (digest, _) = tree.image("team/app", "v1", &[b"one"]);
            tree.write("repositories/team/app/_uploads/1/data", b"half");
            let report = tree.import_from(Source::Harbor, Rules::default()).await;
            assert!(report.complete && report.left.is_empty(), "{report:?}");
            let done = &report.done;
            assert_eq!((done.adopted, done.uploads), (3, 1));
            assert_eq!((done.repositories, done.manifests, done.tags), (0, 0, 0));
            assert_eq!(tree.state(&digest).await, Some(State::Adopted));
            assert_eq!(tree.collect().await, 0);
            // They may be read where they are held, by who may read that project.
            assert!(tree.pull(REPOSITORY, &digest).await.is_some());
        })
        .await;
    });
}

#[test]
fn an_import_that_was_stopped_goes_on() {
    each(async |world| {
        on_tree(world, async |tree| {
            for n in 0..5 {
                let name = format!("team/app{n}");
                let layer = format!("layer {n}");
                tree.image(&name, "v1", &[layer.as_bytes()]);
            }
            prepare(&world.database.db, tree.registry.store())
                .await
                .unwrap();
            let options = ImportOptions {
                source: Source::Docker,
                rules: into("old"),
            };
            let cancel = CancellationToken::new();
            let stopped = tree
                .registry
                .import_blobs(&options, &cancel, |done| {
                    if done.manifests > 1 {
                        cancel.cancel();
                    }
                })
                .await
                .unwrap();
            assert!(
                !stopped.complete && stopped.done.manifests < 5,
                "{stopped:?}"
            );
            let status = tree.registry.import_status().await.unwrap().unwrap();
            assert_eq!(status.import.complete_at, None);
            let rest = tree.import(into("old")).await;
            assert!(rest.complete);
            assert_eq!(
                (rest.done.manifests, rest.done.tags, rest.done.adopted),
                (5, 5, 0)
            );
        })
        .await;
    });
}

#[test]
fn a_check_removes_nothing_that_an_open_import_has_not_come_by() {
    each(async |world| {
        on_tree(world, async |tree| {
            tree.image("team/app", "v1", &[b"one"]);
            tree.import(into("old")).await;
            let late = tree.content(b"came later");
            let options = FsckOptions {
                deep: false,
                repair: true,
            };
            let cancel = CancellationToken::new();
            let report = tree.registry.fsck(&options, &cancel, |_| ()).await.unwrap();
            assert_eq!(
                (report.count(Kind::Young), report.count(Kind::Stray)),
                (1, 0)
            );
            assert!(tree.file(&Tree::data(&late)).exists());
            tree.finish().await;
            let report = tree.registry.fsck(&options, &cancel, |_| ()).await.unwrap();
            assert_eq!(report.count(Kind::Stray), 1);
        })
        .await;
    });
}

#[test]
fn a_look_beforehand_changes_nothing() {
    each(async |world| {
        on_tree(world, async |tree| {
            tree.image("library/app", "v1", &[b"one"]);
            tree.image("debian", "12", &[b"two"]);
            tree.write("repositories/library/app/_layers/sha256/stray", b"x");
            let options = ImportOptions {
                source: Source::Docker,
                rules: Rules::default(),
            };
            let cancel = CancellationToken::new();
            let store = tree.registry.store();
            for db in [None, Some(&world.database.db)] {
                let report = survey(store, db, &options, &cancel, |_| ()).await.unwrap();
                assert_eq!(
                    (
                        report.done.contents,
                        report.done.repositories,
                        report.done.tags
                    ),
                    (5, 1, 1),
                    "{report:?}"
                );
                assert_eq!(count(&report, Left::Unplaced), 1);
                assert_eq!(count(&report, Left::Foreign), 1, "{report:?}");
            }
            assert_eq!(store.identity().await.unwrap(), None);
            assert_eq!(tree.registry.import().await.unwrap(), None);
        })
        .await;
    });
}
