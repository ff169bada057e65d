//! What must hold between tables, and between sessions and their files.

use std::collections::HashSet;

use db::{blobs, consistency, uploads};
use model::{
    Result,
    id::{ArtifactId, TagId},
};

use super::{BATCH, Check, Kind, stored::is_older};
use crate::store_error;

impl Check<'_> {
    /// Every manifest's repository holds what the manifest names.
    pub(super) async fn manifests(&mut self) -> Result<()> {
        let mut after = ArtifactId(0);
        while !self.is_over() {
            let mut reader = self.registry.db().reader().await?;
            let Some((last, count)) =
                consistency::next_artifacts(&mut reader, after, BATCH).await?
            else {
                return Ok(());
            };
            let unlinked = consistency::unlinked(&mut reader, after, last).await?;
            drop(reader);
            for unlinked in unlinked {
                let what = format!(
                    "{}@{} names {}",
                    unlinked.repository_name, unlinked.manifest, unlinked.digest
                );
                if unlinked.state == blobs::State::Deleting {
                    self.found(Kind::GivenUp, false, || {
                        format!("{what}, whose bytes have been given up")
                    });
                    continue;
                }
                let mut repaired = false;
                if self.options.repair {
                    repaired = self
                        .registry
                        .db()
                        .write(move |tx| {
                            let unlinked = unlinked.clone();
                            Box::pin(async move {
                                let now = tx.now().await?;
                                consistency::link(tx, &unlinked, now).await
                            })
                        })
                        .await?;
                }
                self.found(Kind::Unlinked, repaired, || {
                    format!("{what}, which the repository does not hold")
                });
            }
            self.report.done.manifests += count;
            after = last;
            self.tell();
        }
        Ok(())
    }

    /// Every tag points at a manifest of its own repository, and says which.
    pub(super) async fn tags(&mut self) -> Result<()> {
        let mut after = TagId(0);
        while !self.is_over() {
            let mut reader = self.registry.db().reader().await?;
            let Some((last, count)) = consistency::next_tags(&mut reader, after, BATCH).await?
            else {
                return Ok(());
            };
            let loose = consistency::loose_tags(&mut reader, after, last).await?;
            drop(reader);
            for tag in loose {
                let points_at = tag
                    .points_at
                    .as_ref()
                    .map_or("nothing".to_owned(), ToString::to_string);
                let what = format!(
                    "{}:{} says {} and points at {points_at}",
                    tag.repository_name, tag.name, tag.digest
                );
                if self.options.repair {
                    self.registry
                        .db()
                        .write(move |tx| {
                            let tag = tag.clone();
                            Box::pin(async move { consistency::mend_tag(tx, &tag).await })
                        })
                        .await?;
                }
                self.found(Kind::LooseTag, self.options.repair, || what);
            }
            self.report.done.tags += count;
            after = last;
            self.tell();
        }
        Ok(())
    }

    /// Every upload's file has a session, and every session that received something a file.
    pub(super) async fn uploads(&mut self) -> Result<()> {
        let now = self.registry.db().now().await?;
        let files = self.registry.store().uploads().await.map_err(store_error)?;
        let expire = self.registry.config().uploads_expire;
        for file in &files {
            if self.is_over() {
                return Ok(());
            }
            let row = uploads::find(&mut *self.registry.db().reader().await?, &file.key).await?;
            if row.is_some_and(|row| row.finished.is_none() && !row.cancelled) {
                continue;
            }
            let what = format!(
                "uploads/{}: {} bytes that no session knows",
                file.key, file.size
            );
            if !is_older(file.modified, expire, now) {
                self.found(Kind::Young, false, || what);
                continue;
            }
            if self.options.repair {
                self.registry
                    .store()
                    .discard(&file.key)
                    .await
                    .map_err(store_error)?;
            }
            self.found(Kind::StrayUpload, self.options.repair, || what);
        }
        let keys: HashSet<&str> = files.iter().map(|file| file.key.as_str()).collect();
        let mut after = String::new();
        while !self.is_over() {
            let batch =
                uploads::list(&mut *self.registry.db().reader().await?, &after, BATCH).await?;
            let Some(last) = batch.last() else {
                return Ok(());
            };
            after.clone_from(&last.id);
            for row in batch {
                // One that was touched since the files were listed may have its file since then.
                let is_open = row.finished.is_none()
                    && !row.cancelled
                    && row.received > 0
                    && row.updated_at < now;
                if is_open && !keys.contains(row.id.as_str()) {
                    self.found(Kind::UploadWithoutFile, false, || {
                        format!(
                            "{} in `{}`: {} bytes were received",
                            row.id, row.repository, row.received
                        )
                    });
                }
            }
        }
        Ok(())
    }
}
