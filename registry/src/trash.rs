//! Bringing back what was deleted, and ending what was in the trash long enough.

#[cfg(test)]
mod tests;

use std::collections::HashSet;

use db::trash::{self, Item, Restored, projects};
use model::{
    Result,
    id::{ProjectId, TrashId},
};
use tokio_util::sync::CancellationToken;

use crate::Registry;

/// Things that end in one transaction, and things of one act looked at in one query.
const BATCH: i64 = 50;
/// Tags that somebody has given away meanwhile and that are told.
const NAMED: usize = 20;

/// What a restoration brought back.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Return {
    pub manifests: u64,
    pub tags: u64,
    /// The first of the tags that somebody has given to another manifest meanwhile.
    pub taken: Vec<String>,
}

impl Registry {
    /// Brings back one thing with what went with it: the manifests of an index before it, and what is attached to it after it. In
    /// several transactions; what a step left in the trash can be restored again.
    pub async fn restore(&self, id: TrashId) -> Result<Return> {
        let item = {
            let mut reader = self.db().reader().await?;
            trash::find(&mut reader, id).await?
        };
        let item = item.ok_or_else(|| trash::not_found(id))?;
        let mut done = Return::default();
        self.restore_item(&item, &mut done, &mut HashSet::new())
            .await?;
        Ok(done)
    }

    /// Brings back all that was deleted from its repository by the same act: all of a repository, say.
    pub async fn restore_all(&self, id: TrashId) -> Result<Return> {
        let item = {
            let mut reader = self.db().reader().await?;
            trash::find(&mut reader, id).await?
        };
        let item = item.ok_or_else(|| trash::not_found(id))?;
        let (act, repository) = (item.act.as_str(), item.repository.as_str());
        let (mut done, mut seen) = (Return::default(), HashSet::new());
        let mut before = TrashId(i64::MAX);
        loop {
            let batch = {
                let mut reader = self.db().reader().await?;
                trash::of_act(&mut reader, act, repository, before, BATCH).await?
            };
            let Some(last) = batch.last() else {
                return Ok(done);
            };
            before = last.id;
            for item in batch {
                self.restore_item(&item, &mut done, &mut seen).await?;
            }
        }
    }

    /// With all that belongs to it, each once: an index may name itself through others by mistake.
    async fn restore_item(
        &self,
        item: &Item,
        done: &mut Return,
        seen: &mut HashSet<TrashId>,
    ) -> Result<()> {
        let mut order = Vec::new();
        let mut open = vec![(item.clone(), false)];
        while let Some((item, is_open)) = open.pop() {
            if is_open {
                order.push(item);
                continue;
            }
            if !seen.insert(item.id) {
                continue;
            }
            let parts = trash::parts(&mut *self.db().reader().await?, &item).await?;
            // The last comes first.
            open.extend(parts.attached.into_iter().map(|part| (part, false)));
            open.push((item, true));
            open.extend(parts.children.into_iter().map(|part| (part, false)));
        }
        for item in order {
            let found = trash::find(&mut *self.db().reader().await?, item.id).await?;
            if found.is_some() {
                self.restore_one(&item, done).await?;
            }
        }
        Ok(())
    }

    async fn restore_one(&self, item: &Item, done: &mut Return) -> Result<()> {
        let id = item.id;
        loop {
            let step: Restored = self
                .db()
                .write(move |tx| {
                    Box::pin(async move {
                        let now = tx.now().await?;
                        trash::restore_some(tx, id, now).await
                    })
                })
                .await?;
            done.tags += step.tags;
            let room = NAMED.saturating_sub(done.taken.len());
            done.taken.extend(step.taken.into_iter().take(room));
            if !step.has_more {
                done.manifests += u64::from(item.is_manifest);
                return Ok(());
            }
        }
    }

    /// Brings back a project with what belonged to it; its repositories stay in the trash until somebody restores them.
    pub async fn restore_project(&self, id: ProjectId) -> Result<()> {
        self.db()
            .write(move |tx| {
                Box::pin(async move {
                    let now = tx.now().await?;
                    projects::restore(tx, id, now).await
                })
            })
            .await
    }

    /// Ends what has been in the trash for as long as it was to be; answers how many things went.
    pub async fn empty_trash(&self, cancel: &CancellationToken) -> Result<u64> {
        let mut gone = 0;
        while !cancel.is_cancelled() {
            let (ended, has_more) = self
                .db()
                .write(|tx| {
                    Box::pin(async move {
                        let now = tx.now().await?;
                        let projects = projects::expire_some(tx, now, BATCH).await?;
                        let things = trash::expire_some(tx, now, BATCH).await?;
                        let has_more = projects.max(things) == BATCH.unsigned_abs();
                        Ok((projects + things, has_more))
                    })
                })
                .await?;
            gone += ended;
            if !has_more {
                break;
            }
        }
        Ok(gone)
    }

    /// Whether anything in the trash has been there long enough.
    pub async fn has_expired_trash(&self) -> Result<bool> {
        let now = self.db().now().await?;
        trash::any_expired(&mut *self.db().reader().await?, now).await
    }
}
