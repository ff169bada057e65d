//! What must hold between tables, and between sessions and their files.

use std::collections::HashSet;

use db::{
    blobs::State,
    consistency::{self, Linking, Unlinked},
    uploads,
};
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
                self.unlinked(unlinked).await?;
            }
            self.report.done.manifests += count;
            after = last;
            self.tell();
        }
        Ok(())
    }

    async fn unlinked(&mut self, unlinked: Unlinked) -> Result<()> {
        let what = format!(
            "{}@{} names {}",
            unlinked.repository_name, unlinked.manifest, unlinked.digest
        );
        let mut linking = None;
        if unlinked.state == State::Deleting {
            linking = Some(Linking::GivenUp);
        } else if self.options.repair {
            let link = self.registry.db().write(move |tx| {
                let unlinked = unlinked.clone();
                Box::pin(async move {
                    let now = tx.now().await?;
                    consistency::link(tx, &unlinked, now).await
                })
            });
            linking = Some(link.await?);
        }
        match linking {
            Some(Linking::Gone) => {}
            Some(Linking::GivenUp) => self.found(Kind::GivenUp, false, || {
                format!("{what}, whose bytes have been given up")
            }),
            Some(Linking::Linked) | None => self.found(Kind::Unlinked, linking.is_some(), || {
                format!("{what}, which the repository does not hold")
            }),
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
                let mut repaired = false;
                if self.options.repair {
                    repaired = self
                        .registry
                        .db()
                        .write(move |tx| {
                            let tag = tag.clone();
                            Box::pin(async move {
                                let now = tx.now().await?;
                                consistency::mend_tag(tx, &tag, now).await
                            })
                        })
                        .await?;
                    // It was pushed or deleted since it was read.
                    if !repaired {
                        continue;
                    }
                }
                self.found(Kind::LooseTag, repaired, || what);
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
            let row =
                uploads::find_by_file(&mut *self.registry.db().reader().await?, &file.key).await?;
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
                if is_open && !keys.contains(row.file.as_str()) {
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
