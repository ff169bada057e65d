//! What must hold between tables.

use db::{
    blobs::State,
    consistency::{self, Linking, Mislisted, Unlinked},
    projects::{self, Project},
    recount,
};
use model::{
    Result,
    id::{ArtifactId, TagId},
};

use super::{BATCH, Check, Kind};

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
            let mislisted = consistency::mislisted(&mut reader, after, last).await?;
            drop(reader);
            for unlinked in unlinked {
                self.unlinked(unlinked).await?;
            }
            for mislisted in mislisted {
                self.mislisted(mislisted).await?;
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
            unlinked.repository.name, unlinked.manifest, unlinked.digest
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

    async fn mislisted(&mut self, mislisted: Mislisted) -> Result<()> {
        let what = format!(
            "{}@{} {}",
            mislisted.repository.name,
            mislisted.digest,
            if mislisted.is_listed {
                "is shown by lists and should not be"
            } else {
                "is left out of lists"
            }
        );
        if self.options.repair {
            self.registry
                .db()
                .write(move |tx| {
                    let mislisted = mislisted.clone();
                    Box::pin(async move { consistency::relist(tx, &mislisted).await })
                })
                .await?;
        }
        self.found(Kind::Mislisted, self.options.repair, || what);
        Ok(())
    }

    /// Every project uses and holds what is said of it. After the manifests, whose being listed counts.
    pub(super) async fn totals(&mut self) -> Result<()> {
        let mut after = String::new();
        loop {
            let mut reader = self.registry.db().reader().await?;
            let projects = projects::list(&mut reader, &after, BATCH).await?;
            drop(reader);
            let Some(last) = projects.last() else {
                return self.audit().await;
            };
            after.clone_from(&last.name);
            for project in projects {
                if self.is_over() {
                    return Ok(());
                }
                self.totals_of(&project).await?;
                self.report.done.projects += 1;
            }
            self.tell();
        }
    }

    async fn audit(&mut self) -> Result<()> {
        let db = self.registry.db();
        let missing = if self.options.repair {
            let mend = db.write(|tx| Box::pin(async move { recount::mend_audit(tx, None).await }));
            mend.await?
        } else {
            recount::missing_audit(&mut *db.reader().await?, None).await?
        };
        if missing != 0 {
            let what = format!("the audit: {missing:+} rows");
            self.found(Kind::Miscounted, self.options.repair, || what);
        }
        Ok(())
    }

    async fn totals_of(&mut self, project: &Project) -> Result<()> {
        let (db, id) = (self.registry.db(), project.id);
        let found = if self.options.repair {
            let mend = db.write(move |tx| Box::pin(async move { recount::mend(tx, id).await }));
            mend.await?
        } else {
            recount::find(&mut *db.reader().await?, id).await?
        };
        if !found.is_exact() {
            let what = format!("{}: {found}", project.name);
            self.found(Kind::Miscounted, self.options.repair, || what);
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
                    tag.repository.name, tag.name, tag.digest
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
}
