//! Sessions and their files. The sweep of files that no session knows is also a job's: see [`Registry::stray_uploads`].

use std::{collections::HashSet, time::Duration};

use blob::Unfinished;
use db::uploads;
use model::{Result, time::Timestamp};

use super::{BATCH, Check, Kind, stored::is_older};
use crate::{Registry, store_error};

/// However soon uploads expire: what other nodes work on may have no row yet, and its file stand still while it is read back.
const YOUNGEST: Duration = Duration::from_hours(1);

/// An upload's file that no open session knows.
#[derive(Debug, Clone)]
pub struct StrayUpload {
    pub key: String,
    pub size: u64,
    /// Older than any request lasts, so that nobody comes back for it.
    pub is_old: bool,
}

impl Registry {
    /// Of the uploads' files those without an open session: of requests that ended before their row was made, of sessions
    /// that another node took over, and of crashes. Not those that this process works on.
    pub async fn stray_uploads(&self) -> Result<Vec<StrayUpload>> {
        let files = self.store().uploads().await.map_err(store_error)?;
        self.strays_of(&files).await
    }

    async fn strays_of(&self, files: &[Unfinished]) -> Result<Vec<StrayUpload>> {
        let now = self.db().now().await?;
        let age = self.config().uploads_expire.max(YOUNGEST);
        let mut strays = Vec::new();
        for file in files.iter().filter(|file| !file.is_busy) {
            let row = uploads::find_by_file(&mut *self.db().reader().await?, &file.key).await?;
            if row.is_some_and(|row| row.finished.is_none() && !row.cancelled) {
                continue;
            }
            strays.push(StrayUpload {
                key: file.key.clone(),
                size: file.size,
                is_old: is_older(file.modified, age, now),
            });
        }
        Ok(strays)
    }
}

impl Check<'_> {
    /// Every upload's file has a session, and every session that received something a file.
    pub(super) async fn uploads(&mut self) -> Result<()> {
        let store = self.registry.store();
        let now = self.registry.db().now().await?;
        let files = store.uploads().await.map_err(store_error)?;
        // In a bucket a session may lie in its row alone.
        if !store.shares_uploads() {
            self.sessions(&files, now).await?;
        }
        for stray in self.registry.strays_of(&files).await? {
            if self.is_over() {
                return Ok(());
            }
            let what = format!(
                "uploads/{}: {} bytes that no session knows",
                stray.key, stray.size
            );
            if !stray.is_old {
                self.found(Kind::Young, false, || what);
                continue;
            }
            if self.options.repair {
                let gone = store.discard(&stray.key, None).await;
                gone.map_err(store_error)?;
            }
            self.found(Kind::StrayUpload, self.options.repair, || what);
        }
        Ok(())
    }

    /// `listed` is no later than the files were listed.
    async fn sessions(&mut self, files: &[Unfinished], listed: Timestamp) -> Result<()> {
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
                // One that was touched since then may have its file since then.
                let is_open = row.finished.is_none()
                    && !row.cancelled
                    && row.received > 0
                    && row.updated_at < listed;
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
