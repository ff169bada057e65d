//! What a collection would do, without doing it.

use db::{
    blobs::{self, Blob, State},
    links,
};
use model::{Result, id::BlobId};
use oci::digest::Digest;
use serde::Serialize;

use crate::Registry;

/// A content that the next collection takes from a repository, or frees.
#[derive(Debug, Clone, Serialize)]
pub struct Candidate {
    pub digest: Digest,
    pub size: u64,
    /// Whose link ends; none when no repository holds the content any more.
    pub repository: Option<String>,
    /// Whether its bytes go too.
    pub frees_bytes: bool,
    pub why: String,
}

impl Registry {
    /// Up to `limit` of what a collection would take now, and why; what is nearest to its end first.
    pub async fn collect_preview(&self, limit: usize) -> Result<Vec<Candidate>> {
        let now = self.db().now().await?;
        let mut reader = self.db().reader().await?;
        let most = limit as i64;
        let mut all = Vec::new();
        for blob in blobs::claimed(&mut reader, now, BlobId(0), most).await? {
            all.push(unheld(
                &blob,
                "claimed by an earlier collection that did not come to its end",
            ));
        }
        for blob in blobs::in_state(&mut reader, State::Condemned, BlobId(0), most).await? {
            all.push(unheld(&blob, "no repository holds it any more"));
        }
        for link in links::unnamed(&mut reader, now, most).await? {
            let kept = if link.held_elsewhere {
                "; other repositories or the trash hold it, so its bytes stay"
            } else {
                ""
            };
            all.push(Candidate {
                digest: link.digest,
                size: link.size,
                why: format!(
                    "no manifest of `{}` names it; it came {} and was due {}{kept}",
                    link.repository_name,
                    link.added_at.rfc3339(),
                    link.check_at.rfc3339()
                ),
                repository: Some(link.repository_name),
                frees_bytes: !link.held_elsewhere,
            });
        }
        all.truncate(limit);
        Ok(all)
    }
}

fn unheld(blob: &Blob, why: &str) -> Candidate {
    Candidate {
        digest: blob.digest,
        size: blob.size,
        repository: None,
        frees_bytes: true,
        why: why.to_owned(),
    }
}
