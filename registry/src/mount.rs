//! Mounting: a content of one repository becomes content of another, without a byte being moved. Who may read the source
//! is the caller's question; that the content is alive is asked under its lock.

use db::{
    blobs::{self, Lock},
    links,
    repositories::{self, Repository},
};
use model::Result;
use oci::{digest::Digest, name::RepoName};

use crate::{Registry, push::Target};

impl Registry {
    /// False when the source does not hold the content (any more): the client uploads it then.
    pub async fn mount_blob(
        &self,
        target: &Target,
        digest: &Digest,
        from: &RepoName,
    ) -> Result<bool> {
        let (target, digest, from, expire) = (
            target.clone(),
            *digest,
            from.clone(),
            self.config().uploads_expire,
        );
        self.db()
            .write(move |tx| {
                let (target, from) = (target.clone(), from.clone());
                Box::pin(async move {
                    let Some(source) = repositories::find(tx, from.as_str()).await? else {
                        return Ok(false);
                    };
                    blobs::hold(tx, &[digest], Lock::Share).await?;
                    let held = links::held(tx, source.id, &[digest]).await?;
                    let Some(blob) = held.into_iter().find(|blob| blob.state.is_readable()) else {
                        return Ok(false);
                    };
                    // Last, although others take it before the content: a mount that fails leaves no repository behind.
                    let now = tx.now().await?;
                    let repository = target.ensure(tx, now).await?;
                    links::add(tx, &repository, blob.id, Some(now.plus(expire)), now).await?;
                    Ok(true)
                })
            })
            .await
    }

    /// Gives the destination those of these contents that the source holds, in one transaction. Whatever is missing is missed by the
    /// manifest that names it.
    pub(crate) async fn mount_all(
        &self,
        target: &Target,
        source: &Repository,
        contents: &[Digest],
    ) -> Result<()> {
        let (target, source, contents) = (target.clone(), source.id, contents.to_vec());
        let expire = self.config().uploads_expire;
        self.db()
            .write(move |tx| {
                let (target, contents) = (target.clone(), contents.clone());
                Box::pin(async move {
                    let now = tx.now().await?;
                    let repository = target.ensure(tx, now).await?;
                    blobs::hold(tx, &contents, Lock::Share).await?;
                    for blob in links::held(tx, source, &contents).await? {
                        if blob.state.is_readable() {
                            let check_at = Some(now.plus(expire));
                            links::add(tx, &repository, blob.id, check_at, now).await?;
                        }
                    }
                    Ok(())
                })
            })
            .await
    }
}
