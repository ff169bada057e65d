use std::{collections::BTreeMap, time::Duration};

use db::{artifacts::Spared, repositories, trash};
use model::{
    listing::Listing,
    retention::{Policy, Rule, Template, judge::Verdict},
    selector::Selector,
};
use oci::digest::Digest;
use tokio_util::sync::CancellationToken;

use super::{Judgement, Pruned};
use crate::world::{World, digest_of, each, image, index};

const SECOND: Duration = Duration::from_secs(1);

/// Keeps what is tagged `keep*`.
fn policy() -> Policy {
    let rule = Rule {
        id: 0,
        priority: 0,
        disabled: false,
        template: Template::Always,
        params: BTreeMap::new(),
        tag_selectors: vec![
            Selector::new("doublestar", "matches", "keep*", r#"{"untagged":false}"#).unwrap(),
        ],
        scope_selectors: BTreeMap::new(),
    };
    Policy {
        rules: vec![rule],
        trigger: String::new(),
        cron: String::new(),
    }
}

async fn repository(world: &World<'_>) -> repositories::Repository {
    let mut reader = world.database.db.reader().await.unwrap();
    let found = repositories::find(&mut reader, "library/a").await.unwrap();
    found.unwrap()
}

async fn judge(world: &World<'_>) -> Judgement {
    let (policy, repository) = (policy(), repository(world).await);
    let cancel = CancellationToken::new();
    let judged = world
        .registry
        .judge_retention(&policy, &repository, &cancel);
    judged.await.unwrap().unwrap()
}

async fn prune(world: &World<'_>, judgement: &Judgement) -> Pruned {
    let repository = repository(world).await;
    let cancel = CancellationToken::new();
    let pruned = world
        .registry
        .prune(&repository, judgement, None, &cancel, |_| ());
    pruned.await.unwrap()
}

async fn tags(world: &World<'_>) -> Vec<String> {
    let repository = repository(world).await;
    let mut reader = world.database.db.reader().await.unwrap();
    db::tags::list(&mut reader, repository.id, "", 1000)
        .await
        .unwrap()
}

async fn tag(world: &World<'_>, digest: &Digest, tag: &str) {
    let name = "library/a".parse().unwrap();
    let tag = tag.parse().unwrap();
    let tagged = world.registry.create_tag(&name, digest, &tag);
    tagged.await.unwrap();
}

#[test]
fn what_no_rule_keeps_goes_with_all_its_tags() {
    each(async |world| {
        let one = world.push_image("library/a", "old", &[b"one"]).await;
        tag(world, &one, "older").await;
        let two = world.push_image("library/a", "keep-1", &[b"two"]).await;
        tag(world, &two, "also").await;
        world.advance(SECOND);
        let judgement = judge(world).await;
        assert_eq!((judgement.verdicts.len(), judgement.retained()), (2, 1));
        assert_eq!(tags(world).await.len(), 4, "judging changes nothing");
        let pruned = prune(world, &judgement).await;
        assert_eq!((pruned.deleted, pruned.spared.len()), (1, 0));
        assert_eq!(tags(world).await, ["also", "keep-1"]);
        assert!(world.fsck(true, false).await.is_clean());
    });
}

#[test]
fn what_was_pushed_tagged_or_pulled_since_it_was_judged_stays() {
    each(async |world| {
        let mut digests = Vec::new();
        for name in ["pushed", "tagged", "pulled", "gone"] {
            digests.push(
                world
                    .push_image("library/a", name, &[name.as_bytes()])
                    .await,
            );
        }
        world.advance(SECOND);
        let judgement = judge(world).await;
        assert_eq!(judgement.retained(), 0);
        world.advance(SECOND);
        world.push_image("library/a", "pushed", &[b"pushed"]).await;
        tag(world, &digests[1], "now").await;
        assert!(
            world
                .serves_manifest(&world.registry, "library/a", "pulled")
                .await
        );
        let pull = "UPDATE artifacts SET pulled_at = $2 WHERE digest = $1";
        let (digest, now) = (
            digests[2].to_string(),
            world.database.db.now().await.unwrap(),
        );
        let pulled = world.database.db.write(move |tx| {
            let digest = digest.clone();
            Box::pin(async move { tx.execute(pull, &[(&digest).into(), now.into()]).await })
        });
        assert_eq!(pulled.await.unwrap(), 1);
        let pruned = prune(world, &judgement).await;
        assert_eq!(pruned.deleted, 1);
        let changed = |why: &Spared| *why == Spared::Changed;
        assert_eq!(
            pruned.spared.iter().filter(|(_, why)| changed(why)).count(),
            3
        );
        assert_eq!(tags(world).await, ["now", "pulled", "pushed", "tagged"]);
    });
}

#[test]
fn what_an_index_names_and_what_is_attached_follow_their_index() {
    each(async |world| {
        let config = b"{}";
        world.push_blob("library/a", config).await;
        world.push_blob("library/a", b"layer").await;
        let part = image(config, &[b"layer"]);
        let parts: Vec<&[u8]> = vec![&part];
        world.push_manifest("library/a", "part", part.clone()).await;
        world.push_manifest("library/a", "all", index(&parts)).await;
        world.advance(SECOND);
        let judgement = judge(world).await;
        let verdicts: Vec<Verdict> = judgement.verdicts.iter().map(|one| one.verdict).collect();
        assert_eq!(verdicts, [Verdict::Part, Verdict::Goes]);
        // The part, which has a tag, stays as long as its index is there.
        let mut left = judgement;
        for _ in 0..2 {
            prune(world, &left).await;
            left = judge(world).await;
        }
        assert!(left.verdicts.is_empty(), "{left:?}");
        assert!(tags(world).await.is_empty());
    });
}

#[test]
fn what_retention_deletes_is_in_the_trash_a_while_and_then_gone() {
    each(async |world| {
        let digest = world.push_image("library/a", "old", &[b"one"]).await;
        world.advance(SECOND);
        let judgement = judge(world).await;
        prune(world, &judgement).await;
        world.collect().await;
        assert_eq!(world.stored().await, 3, "its contents are kept");
        let item = {
            let mut reader = world.database.db.reader().await.unwrap();
            let all = trash::LIST.select(&Listing::default(), db::query::Within::all());
            let mut all = all.unwrap().page(&mut reader, 0, 10).await.unwrap();
            assert_eq!(all.len(), 1);
            all.remove(0)
        };
        assert_eq!((item.digest, item.cause.as_str()), (digest, "retention"));
        let cancel = CancellationToken::new();
        assert_eq!(world.registry.empty_trash(&cancel).await.unwrap(), 0);
        world.advance(Duration::from_hours(7 * 24) + SECOND);
        assert!(world.registry.has_expired_trash().await.unwrap());
        assert_eq!(world.registry.empty_trash(&cancel).await.unwrap(), 1);
        assert_eq!(world.collect().await.done.freed, 3);
        assert_eq!(world.stored().await, 0);
        assert!(!world.serves("library/a", &digest_of(b"one")).await);
    });
}

/// Of an artifact with more tags than one step takes, and of more artifacts than one step takes.
#[test]
fn many_tags_and_many_artifacts_are_judged_and_deleted_in_steps() {
    each(async |world| {
        let digest = world.push_image("library/a", "first", &[b"many"]).await;
        for number in 0..1200 {
            tag(world, &digest, &format!("t{number}")).await;
        }
        for number in 0..60 {
            let layer = format!("layer {number}");
            let tag = if number % 2 == 0 { "keep" } else { "drop" };
            world
                .push_image("library/a", &format!("{tag}-{number}"), &[layer.as_bytes()])
                .await;
        }
        world.advance(SECOND);
        let judgement = judge(world).await;
        assert_eq!((judgement.verdicts.len(), judgement.retained()), (61, 30));
        let (policy, repository) = (policy(), repository(world).await);
        let mut explained = Vec::new();
        let mut explanations = world.registry.explain(&repository, &judgement);
        while let Some(batch) = explanations.next().await.unwrap() {
            explained.extend(batch);
        }
        assert_eq!(explained.len(), 61);
        assert_eq!((explained[0].tag_count, explained[0].tags.len()), (1201, 5));
        assert_eq!(policy.reason(explained[0].verdict), "no rule keeps it");
        let pruned = prune(world, &judgement).await;
        assert_eq!((pruned.deleted, pruned.spared.len()), (31, 0));
        assert_eq!(tags(world).await.len(), 30);
    });
}

/// Prints how long a dry run takes on a repository of 100,000 tags.
#[test]
#[ignore = "owner: registry::retain; it measures, so it is run alone and by hand"]
fn a_hundred_thousand_tags_are_judged_in_seconds() {
    const COUNT: i64 = 100_000;
    each(async |world| {
        world.push_image("library/a", "keep-first", &[b"one"]).await;
        let grow = [
            "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < $1)
             INSERT INTO artifacts (uid, repository_id, digest, blob_id, media_type, size, pushed_at, kind, project_id, listed)
             SELECT 'u' || n.i, a.repository_id, 'sha256:' || SUBSTR('0000000000000000000000000000000000000000000000000000000000000000', 1, 64 - LENGTH(CAST(n.i AS TEXT))) || n.i,
                    a.blob_id, a.media_type, a.size, a.pushed_at + n.i, 'IMAGE', a.project_id, TRUE
               FROM n CROSS JOIN artifacts a WHERE a.id = 1",
            "INSERT INTO tags (uid, repository_id, name, artifact_id, digest, clock, node, pushed_at)
             SELECT 't' || a.id, a.repository_id, CASE WHEN a.id % 2 = 0 THEN 'keep-' ELSE 'drop-' END || a.id, a.id, a.digest, a.id, 'one', a.pushed_at
               FROM artifacts a WHERE a.id > $1 * 0 + 1",
        ];
        for sql in grow {
            let grown = world
                .database
                .db
                .write(move |tx| Box::pin(async move { tx.execute(sql, &[COUNT.into()]).await }));
            assert_eq!(grown.await.unwrap(), COUNT as u64);
        }
        world.database.settle();
        let start = std::time::Instant::now();
        let judgement = judge(world).await;
        let judged = start.elapsed();
        let repository = repository(world).await;
        let mut explanations = world.registry.explain(&repository, &judgement);
        let mut count = 0;
        while let Some(batch) = explanations.next().await.unwrap() {
            count += batch.len();
        }
        assert_eq!(count, COUNT as usize + 1);
        assert!(start.elapsed() < Duration::from_secs(5));
        println!(
            "{}: {} of {} stay; judged in {judged:?}, judged and explained in {:?}",
            world.database.db.engine(),
            judgement.retained(),
            judgement.verdicts.len(),
            start.elapsed()
        );
    });
}

/// A push that began before the verdict and ends after it: its times are those of its beginning.
#[test]
fn a_tag_that_was_set_with_an_older_time_is_no_less_new() {
    each(async |world| {
        let digest = world.push_image("library/a", "old", &[b"one"]).await;
        let judgement = judge(world).await;
        tag(world, &digest, "new").await;
        let sql = "UPDATE tags SET pushed_at = 0 WHERE name = 'new'";
        let aged = world
            .database
            .db
            .write(move |tx| Box::pin(async move { tx.execute(sql, &[]).await }));
        assert_eq!(aged.await.unwrap(), 1);
        let pruned = prune(world, &judgement).await;
        assert_eq!((pruned.deleted, pruned.spared[0].1), (0, Spared::Changed));
        assert_eq!(tags(world).await, ["new", "old"]);
    });
}

/// Of something attached to something attached.
#[test]
fn an_immutable_tag_further_down_spares_what_it_hangs_on_and_nothing_else() {
    each(async |world| {
        let first = world.push_image("library/a", "first", &[b"first"]).await;
        world.push_image("library/a", "second", &[b"second"]).await;
        let attach = async |subject: &Digest, tag: &str| {
            world.push_blob("library/a", b"{}").await;
            let manifest = serde_json::json!({
                "schemaVersion": 2,
                "mediaType": "application/vnd.oci.image.manifest.v1+json",
                "artifactType": "application/x.note",
                "config": { "mediaType": "application/vnd.oci.empty.v1+json", "digest": digest_of(b"{}").to_string(), "size": 2 },
                "layers": [],
                "annotations": { "tag": tag },
                "subject": { "mediaType": "application/vnd.oci.image.manifest.v1+json", "digest": subject.to_string(), "size": 100 },
            });
            world
                .push_manifest("library/a", tag, manifest.to_string().into())
                .await
        };
        let note = attach(&first, "note").await;
        attach(&note, "fixed").await;
        let fixed = "INSERT INTO immutable_rules (uid, project_id, disabled, rule, digest, created_at, updated_at)
            SELECT 'u', id, FALSE, '{\"action\":\"immutable\",\"template\":\"immutable_template\",\"tag_selectors\":[{\"kind\":\"doublestar\",\"decoration\":\"matches\",\"pattern\":\"fixed\"}],\"scope_selectors\":{\"repository\":[{\"kind\":\"doublestar\",\"decoration\":\"repoMatches\",\"pattern\":\"**\"}]}}', 'd', 0, 0
              FROM projects";
        let made = world
            .database
            .db
            .write(move |tx| Box::pin(async move { tx.execute(fixed, &[]).await }));
        assert_eq!(made.await.unwrap(), 1);
        let judgement = judge(world).await;
        assert_eq!(judgement.retained(), 0, "accessories are not judged");
        let pruned = prune(world, &judgement).await;
        assert_eq!((pruned.deleted, pruned.spared.len()), (1, 1));
        assert_eq!(pruned.spared[0].1, Spared::Immutable);
        assert_eq!(tags(world).await, ["first", "fixed", "note"]);
    });
}
