use serde_json::json;

use super::{
    judge::{Judge, Told, Verdict},
    *,
};
use crate::{id::ArtifactId, time::Timestamp};

const DAY: i64 = 86_400_000_000;
const NOW: Timestamp = Timestamp(1_000 * DAY);

fn selector(decoration: &str, pattern: &str, extras: &str) -> Selector {
    Selector::new("doublestar", decoration, pattern, extras).expect("a selector")
}

fn rule(template: Template, number: i64, tags: &[(&str, &str)]) -> Rule {
    Rule {
        id: 0,
        priority: 0,
        disabled: false,
        template,
        params: BTreeMap::from([(template.as_str().to_owned(), json!(number))]),
        tag_selectors: tags
            .iter()
            .map(|(decoration, pattern)| selector(decoration, pattern, ""))
            .collect(),
        scope_selectors: BTreeMap::from([(
            REPOSITORY.to_owned(),
            vec![selector("repoMatches", "**", "")],
        )]),
    }
}

fn policy(rules: Vec<Rule>) -> Policy {
    Policy {
        rules,
        trigger: "Schedule".to_owned(),
        cron: String::new(),
    }
}

fn told(name: &str, pushed: Timestamp, pulled: Option<Timestamp>) -> Told<'_> {
    Told {
        id: 1,
        name,
        pushed,
        pulled,
        is_immutable: false,
    }
}

/// Pushed and pulled so many days ago, with these tags.
type Row<'a> = (i64, Option<i64>, &'a [&'a str]);

/// Which of the artifacts stay, and by which rule.
fn kept(policy: &Policy, artifacts: &[Row<'_>]) -> Vec<Option<usize>> {
    let ago = |days: i64| Timestamp(NOW.0 - days * DAY);
    let mut judge = Judge::new(policy, "app", NOW)
        .expect("applies")
        .expect("is about it");
    for (number, (pushed, pulled, tags)) in artifacts.iter().enumerate() {
        let mut looking = judge.look(
            ArtifactId(number as i64),
            ago(*pushed),
            pulled.map(ago),
            false,
        );
        for tag in *tags {
            judge.tag(&mut looking, &told(tag, ago(*pushed), None));
        }
        judge.take(&looking);
    }
    let judged = judge.judge();
    judged
        .iter()
        .map(|one| match one.verdict {
            Verdict::Kept(rule) => Some(rule),
            Verdict::Goes => None,
            other => panic!("{other:?}"),
        })
        .collect()
}

fn stays(policy: &Policy, artifacts: &[Row<'_>]) -> Vec<bool> {
    kept(policy, artifacts)
        .iter()
        .map(Option::is_some)
        .collect()
}

#[test]
fn each_template_keeps_what_it_says() {
    let all: &[Row<'_>] = &[
        (9, Some(1), &["a"]),
        (5, Some(4), &["b"]),
        (3, None, &["c"]),
        (8, Some(7), &["d"]),
    ];
    for (template, number, expected) in [
        (Template::LatestPushedK, 2, [false, true, true, false]),
        (Template::LatestPushedK, 0, [false; 4]),
        (Template::LatestPushedK, 9, [true; 4]),
        // What nobody has pulled yet counts from its push.
        (Template::LatestPulledN, 2, [true, false, true, false]),
        (Template::LatestActiveK, 3, [true, true, true, false]),
        (Template::NDaysSinceLastPush, 5, [false, true, true, false]),
        (Template::LastXDays, 5, [false, true, true, false]),
        (Template::NDaysSinceLastPull, 4, [true, true, true, false]),
        (Template::NDaysSinceLastPull, 2, [true, false, false, false]),
        (Template::Always, 0, [true; 4]),
        (Template::Nothing, 0, [false; 4]),
    ] {
        let policy = policy(vec![rule(template, number, &[("matches", "**")])]);
        assert_eq!(stays(&policy, all), expected, "{template:?} {number}");
    }
}

#[test]
fn what_any_rule_keeps_stays_and_the_first_is_named() {
    let policy = policy(vec![
        rule(Template::LatestPushedK, 1, &[("matches", "ci-*")]),
        rule(Template::Always, 0, &[("matches", "v*")]),
    ]);
    let all: &[Row<'_>] = &[
        (1, None, &["ci-9", "v9"]),
        (2, None, &["ci-8"]),
        (3, None, &["v7"]),
        (4, None, &[]),
        (4, None, &["latest"]),
    ];
    assert_eq!(kept(&policy, all), [Some(0), None, Some(1), Some(1), None]);
}

#[test]
fn selectors_choose_by_any_tag_and_by_having_none() {
    let one = |decoration: &str, pattern: &str, extras: &str| {
        let mut rule = rule(Template::Always, 0, &[]);
        rule.tag_selectors = vec![selector(decoration, pattern, extras)];
        policy(vec![rule])
    };
    let all: &[Row<'_>] = &[(1, None, &["v1", "x"]), (1, None, &["x"]), (1, None, &[])];
    for (decoration, pattern, extras, expected) in [
        ("matches", "v*", "", [true, false, true]),
        (
            "matches",
            "v*",
            r#"{"untagged":false}"#,
            [true, false, false],
        ),
        ("excludes", "v*", "", [true, true, true]),
        (
            "excludes",
            "v*",
            r#"{"untagged":true}"#,
            [true, true, false],
        ),
        ("matches", "", "", [true, true, true]),
    ] {
        assert_eq!(
            stays(&one(decoration, pattern, extras), all),
            expected,
            "{decoration} {pattern} {extras}"
        );
    }
    // Without a selector everything is chosen; of several all must.
    assert_eq!(
        stays(&policy(vec![rule(Template::Always, 0, &[])]), all),
        [true; 3]
    );
    let both = policy(vec![rule(
        Template::Always,
        0,
        &[("matches", "v*"), ("excludes", "v1")],
    )]);
    assert_eq!(stays(&both, all), [true, false, true]);
}

#[test]
fn the_latest_of_the_times_of_an_artifact_and_its_tags_counts() {
    let policy = policy(vec![rule(Template::NDaysSinceLastPull, 2, &[])]);
    let mut judge = Judge::new(&policy, "app", NOW).unwrap().unwrap();
    let old = Timestamp(NOW.0 - 9 * DAY);
    let mut looking = judge.look(ArtifactId(1), old, Some(old), false);
    judge.tag(&mut looking, &told("a", old, None));
    judge.tag(&mut looking, &told("b", old, Some(Timestamp(NOW.0 - DAY))));
    judge.take(&looking);
    assert_eq!(judge.judge()[0].verdict, Verdict::Kept(0));
}

#[test]
fn a_pattern_that_cannot_be_judged_deletes_nothing() {
    let policy = policy(vec![rule(
        Template::Always,
        0,
        &[("matches", "*a*a*a*a*a*a*a*a*a*b")],
    )]);
    let mut judge = Judge::new(&policy, "app", NOW).unwrap().unwrap();
    let mut looking = judge.look(ArtifactId(1), NOW, None, false);
    judge.tag(&mut looking, &told(&"a".repeat(128), NOW, None));
    judge.take(&looking);
    assert_eq!(judge.judge()[0].verdict, Verdict::Unclear);
}

#[test]
fn a_repository_that_no_rule_is_about_is_left_alone() {
    let mut one = rule(Template::Nothing, 0, &[]);
    one.scope_selectors = BTreeMap::from([(
        REPOSITORY.to_owned(),
        vec![selector("repoExcludes", "app", "")],
    )]);
    let mut disabled = rule(Template::Always, 0, &[]);
    disabled.disabled = true;
    let policy = policy(vec![one, disabled]);
    assert!(Judge::new(&policy, "app", NOW).unwrap().is_none());
    assert!(Judge::new(&policy, "other", NOW).unwrap().is_some());
}

#[test]
fn what_is_immutable_or_part_of_an_index_stays_and_says_so() {
    let policy = policy(vec![rule(Template::Nothing, 0, &[])]);
    let mut judge = Judge::new(&policy, "app", NOW).unwrap().unwrap();
    let mut immutable = judge.look(ArtifactId(1), NOW, None, false);
    let fixed = Told {
        is_immutable: true,
        ..told("v1", NOW, None)
    };
    judge.tag(&mut immutable, &fixed);
    judge.take(&immutable);
    let part = judge.look(ArtifactId(2), NOW, None, true);
    judge.take(&part);
    let verdicts: Vec<Verdict> = judge.judge().iter().map(|one| one.verdict).collect();
    assert_eq!(verdicts, [Verdict::Immutable, Verdict::Part]);
}

#[test]
fn a_repository_pattern_that_cannot_be_judged_is_not_applied() {
    let mut unclear = rule(Template::Always, 0, &[]);
    unclear.scope_selectors = BTreeMap::from([(
        REPOSITORY.to_owned(),
        vec![selector("repoMatches", "*a*a*a*a*a*a*a*a*a*b", "")],
    )]);
    let policy = policy(vec![unclear, rule(Template::Nothing, 0, &[])]);
    let name = "a".repeat(128);
    assert!(policy.is_about(&name));
    let why = Judge::new(&policy, &name, NOW).err().expect("not applied");
    assert!(
        why.starts_with("rule 1: ") && why.contains("too complex"),
        "{why}"
    );
}

#[test]
fn a_rule_without_its_number_is_kept_and_not_applied() {
    let mut broken = rule(Template::LatestPushedK, 1, &[]);
    broken.params.clear();
    let policy = policy(vec![rule(Template::Always, 0, &[]), broken]);
    policy.check().expect("kept");
    let why = Judge::new(&policy, "app", NOW).err().expect("not applied");
    assert_eq!(why, "rule 2: `params` has no `latestPushedK`");
    for (told, number) in [
        (json!(10), Some(10)),
        (json!(10.0), Some(10)),
        (json!(0), Some(0)),
        (json!(-1), None),
        (json!(1.5), None),
        (json!("10"), None),
        (json!(1e12), None),
    ] {
        let mut one = rule(Template::LatestPushedK, 1, &[]);
        one.params.insert("latestPushedK".to_owned(), told.clone());
        assert_eq!(one.number().ok(), number, "{told}");
    }
}

#[test]
fn policies_that_cannot_be_kept_are_refused() {
    let same = rule(Template::Always, 0, &[("matches", "**")]);
    let conflict = policy(vec![
        same.clone(),
        Rule {
            id: 7,
            ..same.clone()
        },
    ]);
    match conflict.check() {
        Err(Error::Conflict(why)) => assert_eq!(why, "rule 1 is conflict with rule 0"),
        other => panic!("{other:?}"),
    }
    let many = (0..16)
        .map(|n| rule(Template::LatestPushedK, n, &[]))
        .collect();
    let cron = |cron: &str| Policy {
        cron: cron.to_owned(),
        ..policy(vec![same.clone()])
    };
    let mut of_repositories = same.clone();
    of_repositories.tag_selectors = vec![selector("repoMatches", "**", "")];
    let mut of_tags = same.clone();
    of_tags.scope_selectors =
        BTreeMap::from([(REPOSITORY.to_owned(), vec![selector("matches", "**", "")])]);
    let kind = Policy {
        trigger: "Event".to_owned(),
        ..policy(vec![])
    };
    for refused in [
        policy(many),
        cron("1 0 0 * * *"),
        cron("daily"),
        policy(vec![of_repositories]),
        policy(vec![of_tags]),
        kind,
    ] {
        assert!(
            matches!(refused.check(), Err(Error::Invalid(..))),
            "{refused:?}"
        );
    }
    // Terraform deletes a policy by taking its rules away.
    policy(vec![]).check().expect("empty");
    assert!(cron("0 0 0 * * *").schedule().unwrap().is_some());
    assert!(cron("").schedule().unwrap().is_none());
}

#[test]
fn a_rule_says_what_it_keeps() {
    for (rule, text) in [
        (
            rule(Template::LatestPushedK, 10, &[("matches", "v*")]),
            "the 10 most recently pushed, of tags like v*",
        ),
        (
            rule(Template::NDaysSinceLastPull, 7, &[("excludes", "latest")]),
            "pulled within the last 7 days, of tags unlike latest",
        ),
        (rule(Template::Always, 0, &[]), "all"),
    ] {
        assert_eq!(rule.describe(), text);
    }
}
