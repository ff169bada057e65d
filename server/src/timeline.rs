//! A replica of PostgreSQL may become the primary without the last commits. What this node knows to be lost it tells by name, and one of
//! the nodes has everything compared with the store.

use anyhow::Result;
use auth::Auth;
use db::{Db, facts, failover::Acknowledged, jobs};
use model::job::Job;

/// How many lost changes are told by name.
const NAMED: usize = 100;

/// Which timeline the database had when this node looked last.
#[derive(Default)]
pub struct Timeline {
    known: Option<i64>,
    /// Which database it was, by how often it has changed.
    moves: u64,
}

impl Timeline {
    pub async fn follow(&mut self, db: &Db, auth: &Auth) -> Result<()> {
        // First: what is asked afterwards may be another database's.
        let moves = db.moves();
        let Some(now) = db.timeline().await? else {
            return Ok(());
        };
        metrics::gauge!("seawall_database_timeline").set(now as f64);
        if moves != self.moves {
            (self.known, self.moves) = (None, moves);
        }
        if let Some(before) = self.known.filter(|before| *before != now) {
            auth.forget_checks();
            let lost = db.lost_changes().await?;
            metrics::counter!("seawall_database_lost_changes_total").increment(lost.len() as u64);
            report(before, now, &lost);
        }
        self.known = Some(now);
        if compare_with_store(db, now).await? {
            tracing::warn!("database and store are compared: see `seawall job ls`");
        }
        Ok(())
    }
}

fn report(before: i64, now: i64, lost: &[Acknowledged]) {
    if lost.is_empty() {
        tracing::warn!(
            before,
            now,
            "PostgreSQL has another primary; nothing is lost that this node wrote within the last hour"
        );
        return;
    }
    tracing::error!(
        before,
        now,
        count = lost.len(),
        "PostgreSQL has another primary, without the last commits: what follows was acknowledged and is lost"
    );
    for change in lost.iter().take(NAMED) {
        let (kind, at) = (change.kind.as_str(), change.at.rfc3339());
        tracing::error!(kind, key = change.key, at, "lost");
    }
    if lost.len() > NAMED {
        tracing::error!(count = lost.len() - NAMED, "lost, and not named");
    }
}

/// Of several nodes that see a new timeline one has the job begun. The first timeline is merely written down.
async fn compare_with_store(db: &Db, now: i64) -> Result<bool> {
    let now_text = now.to_string();
    let known = facts::find(&mut *db.reader().await?, facts::TIMELINE).await?;
    if known.as_ref() == Some(&now_text) {
        return Ok(false);
    }
    let begun = db.write(move |tx| {
        let now_text = now_text.clone();
        Box::pin(async move {
            facts::settle(tx, facts::TIMELINE, &now_text).await?;
            let known = facts::lock(tx, facts::TIMELINE).await?;
            if known.as_ref() == Some(&now_text) {
                return Ok(false);
            }
            facts::set(tx, facts::TIMELINE, &now_text).await?;
            let at = tx.now().await?;
            jobs::enqueue(tx, &Job::Fsck {}, at, at).await?;
            Ok(true)
        })
    });
    Ok(begun.await?)
}
