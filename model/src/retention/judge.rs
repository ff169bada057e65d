//! Judging the artifacts of one repository by a policy. They come one after another with their tags, of which nothing is kept but
//! which rules choose the artifact: 72 bytes for each, however many tags it has.

use std::cmp::Reverse;

use super::{Policy, Rule, Template};
use crate::{id::ArtifactId, selector::Selector, time::Timestamp};

const DAY: i64 = 86_400_000_000;

/// A bit for each rule of a policy.
type Rules = u16;

/// What is judged.
pub struct Judge<'a> {
    rules: Vec<(usize, &'a Rule, i64)>,
    all: Vec<Seen>,
    now: Timestamp,
}

struct Seen {
    artifact: ArtifactId,
    pushed: i64,
    pulled: Option<i64>,
    tags: i64,
    tag_ids: i64,
    chosen: Rules,
    unclear: bool,
    immutable: bool,
    part: bool,
}

impl Seen {
    /// When it was last used: pulled, or as long as nobody has pulled it, pushed. (With Harbor what was never pulled is the first to
    /// go, and that is what was pushed a minute ago.)
    fn used(&self) -> i64 {
        self.pulled.unwrap_or(self.pushed)
    }
}

/// An artifact whose tags are being told.
pub struct Looking {
    artifact: ArtifactId,
    pushed: i64,
    pulled: Option<i64>,
    tags: i64,
    tag_ids: i64,
    immutable: bool,
    part: bool,
    /// By rule, which of its selectors (a bit each) have found a tag that they choose.
    found: Vec<u16>,
    unclear: bool,
}

/// A tag of it.
#[derive(Debug, Clone, Copy)]
pub struct Told<'a> {
    /// The number of its row.
    pub id: i64,
    pub name: &'a str,
    pub pushed: Timestamp,
    pub pulled: Option<Timestamp>,
    pub is_immutable: bool,
}

/// Why an artifact stays or goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// The rule at this place of the policy keeps it.
    Kept(usize),
    /// A selector is too complex to be compared with its tags: that is no reason to delete.
    Unclear,
    /// One of its tags is immutable.
    Immutable,
    /// It is part of an index, and stays as long as that.
    Part,
    Goes,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Judged {
    pub artifact: ArtifactId,
    pub verdict: Verdict,
    /// What was known of it: how many tags it had and the sum of their numbers, and the latest of its own and its tags' times.
    pub tags: i64,
    pub tag_ids: i64,
    pub pushed: Timestamp,
    pub pulled: Option<Timestamp>,
}

impl<'a> Judge<'a> {
    /// For a repository, which is named without its project. None when no rule in force is about it: then nothing goes there. An
    /// error names the rule that cannot be applied.
    pub fn new(
        policy: &'a Policy,
        repository: &'a str,
        now: Timestamp,
    ) -> Result<Option<Self>, String> {
        let mut rules = Vec::new();
        for (place, rule) in policy.rules.iter().enumerate() {
            let refused = |why: String| format!("rule {}: {why}", place + 1);
            if rule.disabled || !rule.is_about(repository).map_err(refused)? {
                continue;
            }
            rules.push((place, rule, rule.number().map_err(refused)?));
        }
        Ok((!rules.is_empty()).then(|| Self {
            rules,
            all: Vec::new(),
            now,
        }))
    }

    /// Begins with an artifact. What is told of its tags counts for it: of all their times the latest.
    pub fn look(
        &self,
        artifact: ArtifactId,
        pushed: Timestamp,
        pulled: Option<Timestamp>,
        is_part: bool,
    ) -> Looking {
        Looking {
            artifact,
            pushed: pushed.0,
            pulled: pulled.map(|at| at.0),
            tags: 0,
            tag_ids: 0,
            immutable: false,
            part: is_part,
            found: vec![0; self.rules.len()],
            unclear: false,
        }
    }

    pub fn tag(&self, looking: &mut Looking, tag: &Told<'_>) {
        looking.tags += 1;
        looking.tag_ids += tag.id;
        looking.pushed = looking.pushed.max(tag.pushed.0);
        looking.pulled = looking.pulled.max(tag.pulled.map(|at| at.0));
        looking.immutable |= tag.is_immutable;
        for ((_, rule, _), found) in self.rules.iter().zip(&mut looking.found) {
            for (bit, selector) in rule.tag_selectors.iter().enumerate() {
                if *found & (1 << bit) != 0 {
                    continue;
                }
                match selector.selects_tags(&[tag.name]) {
                    Ok(true) => *found |= 1 << bit,
                    Ok(false) => {}
                    Err(_) => looking.unclear = true,
                }
            }
        }
    }

    /// All its tags were told.
    pub fn take(&mut self, looking: &Looking) {
        let mut chosen = 0;
        for (bit, ((_, rule, _), found)) in self.rules.iter().zip(&looking.found).enumerate() {
            let selectors = &rule.tag_selectors;
            let is_chosen = if looking.tags == 0 {
                selectors.iter().all(chooses_untagged)
            } else {
                *found == (1 << selectors.len()) - 1
            };
            chosen |= Rules::from(is_chosen) << bit;
        }
        self.all.push(Seen {
            artifact: looking.artifact,
            pushed: looking.pushed,
            pulled: looking.pulled,
            tags: looking.tags,
            tag_ids: looking.tag_ids,
            chosen,
            unclear: looking.unclear,
            immutable: looking.immutable,
            part: looking.part,
        });
    }

    /// In the order in which they came.
    pub fn judge(mut self) -> Vec<Judged> {
        let mut kept: Vec<Option<u8>> = vec![None; self.all.len()];
        let rules = std::mem::take(&mut self.rules);
        for (bit, (_, rule, number)) in rules.iter().enumerate() {
            for index in self.kept_by(bit, rule.template, *number) {
                kept[index].get_or_insert(bit as u8);
            }
        }
        let all = self.all.iter().zip(kept);
        all.map(|(seen, kept)| Judged {
            artifact: seen.artifact,
            verdict: match kept {
                Some(bit) => Verdict::Kept(rules[usize::from(bit)].0),
                None if seen.unclear => Verdict::Unclear,
                None if seen.immutable => Verdict::Immutable,
                None if seen.part => Verdict::Part,
                None => Verdict::Goes,
            },
            tags: seen.tags,
            tag_ids: seen.tag_ids,
            pushed: Timestamp(seen.pushed),
            pulled: seen.pulled.map(Timestamp),
        })
        .collect()
    }

    fn kept_by(&self, bit: usize, template: Template, number: i64) -> Vec<usize> {
        let chosen = self.all.iter().enumerate();
        let chosen = chosen.filter(|(_, seen)| seen.chosen & (1 << bit) != 0);
        let since = self.now.0.saturating_sub(number.saturating_mul(DAY));
        let latest = |time: fn(&Seen) -> i64| {
            let mut all: Vec<usize> = chosen.clone().map(|(index, _)| index).collect();
            let most = usize::try_from(number).unwrap_or(usize::MAX);
            if most < all.len() {
                // Of two of the same moment the one that came later.
                let order = |index: &usize| Reverse((time(&self.all[*index]), *index));
                all.select_nth_unstable_by_key(most, order);
                all.truncate(most);
            }
            all
        };
        let within = |time: fn(&Seen) -> i64| {
            let young = chosen.clone().filter(|(_, seen)| time(seen) >= since);
            young.map(|(index, _)| index).collect()
        };
        match template {
            Template::LatestPushedK => latest(|seen| seen.pushed),
            Template::LatestPulledN => latest(Seen::used),
            Template::LatestActiveK => latest(|seen| seen.pushed.max(seen.used())),
            Template::NDaysSinceLastPush | Template::LastXDays => within(|seen| seen.pushed),
            Template::NDaysSinceLastPull => within(Seen::used),
            Template::Always => chosen.map(|(index, _)| index).collect(),
            Template::Nothing => Vec::new(),
        }
    }
}

fn chooses_untagged(selector: &Selector) -> bool {
    selector.selects_tags(&[]).unwrap_or(false)
}
