//! `seawall fsck`: does the database say what the store holds, and the other way round?

use std::collections::BTreeMap;

use anyhow::{Result, bail};
use indicatif::HumanBytes;
use model::id::UserId;
use registry::{
    fsck::{Kind, Tally},
    rebuild::{RebuildOptions, RebuildProgress, RebuildReport},
};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use tokio_util::sync::CancellationToken;

use super::{
    Place, Told, block_on, on_registry,
    screen::{self, Bar, printable, say},
};
use crate::{
    boot::{self, ADMIN},
    config::Config,
    control::{Progress, Session, request::Request},
};

#[derive(clap::Args)]
pub struct Args {
    #[command(flatten)]
    place: Place,
    /// Read all bytes and compare digests, instead of lengths alone
    #[arg(long)]
    deep: bool,
    /// Put right what can be: mark what is lost, remove what nobody knows, mend links and tags
    #[arg(long, conflicts_with = "rebuild")]
    repair: bool,
    /// The database is lost: make a new one from the store (tags, users and projects are not in the store)
    #[arg(long)]
    rebuild: bool,
}

/// What a check found.
#[derive(Serialize, Deserialize)]
struct Report {
    identity: Option<String>,
    contents: u64,
    bytes: u64,
    stored: u64,
    manifests: u64,
    tags: u64,
    findings: BTreeMap<Kind, Tally>,
    complete: bool,
    #[serde(flatten)]
    more: Map<String, Value>,
}

/// Fails when something is left that is wrong.
pub fn run(args: &Args) -> Result<()> {
    if args.rebuild {
        let config = args.place.config()?;
        return block_on(rebuild(&config, args));
    }
    on_registry(&args.place, async |session| {
        let bar = Bar::new();
        let request = Request::Fsck {
            deep: args.deep,
            repair: args.repair,
        };
        let report: Report = session
            .follow(request, |progress| bar.show(progress))
            .await?;
        drop(bar);
        if args.place.json {
            screen::json(&report);
        } else {
            show(&report, args.repair);
        }
        if report.is_well() {
            Ok(())
        } else {
            Err(Told.into())
        }
    })
}

impl Report {
    fn is_well(&self) -> bool {
        let is_well = self.findings.iter().all(|(kind, tally)| {
            !kind.is_fault() || (!kind.is_beyond_repair() && tally.repaired == tally.count)
        });
        is_well && self.complete && self.identity.is_none()
    }
}

fn show(report: &Report, repair: bool) {
    if let Some(why) = &report.identity {
        return say(&format!("{why}\nNothing else was looked at."));
    }
    say(&format!(
        "{} contents ({}), {} files, {} manifests, {} tags",
        report.contents,
        HumanBytes(report.bytes),
        report.stored,
        report.manifests,
        report.tags
    ));
    let mut faults = 0;
    for (kind, tally) in &report.findings {
        let mut repaired = String::new();
        if kind.is_fault() {
            faults += tally.count;
            if repair {
                repaired = format!(" ({} put right)", tally.repaired);
            }
        }
        say(&format!("{} {}{repaired}", tally.count, kind.words()));
        for line in tally.lines() {
            say(&printable(&line));
        }
    }
    if faults == 0 {
        say("nothing is wrong");
    } else if !repair {
        say("`seawall fsck --repair` puts right what can be");
    }
}

/// Makes a new database from the store. No server may run meanwhile, so nobody is asked.
async fn rebuild(config: &Config, args: &Args) -> Result<()> {
    if Session::is_served(config).await? {
        bail!("a server runs on this data directory: stop it first");
    }
    let opened = boot::open_to_rebuild(config).await?;
    let options = RebuildOptions {
        verify: args.deep,
        owner: UserId(1),
    };
    let bar = Bar::new();
    let show = |done: &RebuildProgress| {
        let text = format!(
            "{} files, {} contents, {} manifests",
            done.found, done.contents, done.manifests
        );
        bar.show(Progress {
            text,
            done: done.found,
            total: None,
        });
    };
    let report = opened
        .registry
        .rebuild(&options, &CancellationToken::new(), show)
        .await;
    drop(bar);
    opened.registry.db().close().await;
    show_rebuilt(&report?, opened.new_password.as_deref(), args.place.json)
}

fn show_rebuilt(report: &RebuildReport, password: Option<&str>, json: bool) -> Result<()> {
    if json {
        let mut answer = serde_json::to_value(report)?;
        answer["admin_password"] = password.into();
        screen::json(&answer);
        return Ok(());
    }
    let done = &report.done;
    say(&format!(
        "{} contents ({}) and {} manifests are back, in the private repository {}",
        done.contents,
        HumanBytes(done.bytes),
        done.manifests,
        registry::rebuild::REPOSITORY
    ));
    if done.incomplete > 0 {
        say(&format!(
            "{} manifests name something that is not in the store",
            done.incomplete
        ));
    }
    if done.refused > 0 {
        say(&format!("{} files were left out", done.refused));
    }
    if done.unreadable > 0 {
        say(&format!(
            "{} files and directories are not shown by the disk: what they hold is not back",
            done.unreadable
        ));
    }
    for example in &report.examples {
        say(&format!("  {}", printable(example)));
    }
    if let Some(password) = password {
        say(&format!(
            "Sign in as user `{ADMIN}` with password `{password}`. It is not shown again."
        ));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_is_well_again_when_everything_that_can_be_was_put_right() {
        let report = |kind: Kind, repaired| Report {
            identity: None,
            contents: 1,
            bytes: 1,
            stored: 1,
            manifests: 1,
            tags: 1,
            findings: BTreeMap::from([(
                kind,
                Tally {
                    count: 2,
                    repaired,
                    examples: Vec::new(),
                },
            )]),
            complete: true,
            more: Map::new(),
        };
        for (kind, repaired, well) in [
            (Kind::Stray, 0, false),
            (Kind::Stray, 1, false),
            (Kind::Stray, 2, true),
            (Kind::Damaged, 2, false),
            (Kind::Young, 0, true),
        ] {
            assert_eq!(
                report(kind, repaired).is_well(),
                well,
                "{kind:?} {repaired}"
            );
        }
    }
}
