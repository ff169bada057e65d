//! Reading what an artifact's manifest does not say itself. Nothing of it may fail a push: what cannot be read tells nothing.

use bytes::Bytes;
use db::artifacts;
use model::{Result, id::RepositoryId};
use oci::{Digest, Manifest, Tag, manifest::MAX_MANIFEST_BYTES};

use super::{ConfigSource, Described, Kind, MOST_CONFIG, MOST_ICON, describe};
use crate::{Registry, icons};

impl Registry {
    /// Describes a manifest whose contents the repository holds.
    pub async fn describe(
        &self,
        repository: RepositoryId,
        manifest: &Manifest,
        tags: &[Tag],
    ) -> Described {
        let config = match ConfigSource::of(&Kind::of(manifest), manifest) {
            ConfigSource::Nowhere => None,
            ConfigSource::Own(digest, size) => self.told(repository, &digest, size).await,
            ConfigSource::Child(child) => self.child_config(repository, &child).await,
        };
        let mut described = describe(manifest, tags, config.as_deref());
        if let Some(icon) = described.icon {
            let picture = self.told(repository, &icon, MOST_ICON).await;
            described.icon = picture
                .filter(|bytes| icons::is_picture(bytes))
                .map(|_| icon);
        }
        described
    }

    /// Describes a manifest of the repository by its stored bytes; none when they cannot be read.
    pub async fn describe_stored(
        &self,
        repository: RepositoryId,
        digest: &Digest,
    ) -> Result<Option<Described>> {
        let Some(manifest) = self.stored(repository, digest).await? else {
            return Ok(None);
        };
        Ok(Some(self.describe(repository, &manifest, &[]).await))
    }

    async fn child_config(&self, repository: RepositoryId, child: &Digest) -> Option<Bytes> {
        let manifest = self.stored(repository, child).await.ok()??;
        match ConfigSource::own(&manifest) {
            ConfigSource::Own(digest, size) => self.told(repository, &digest, size).await,
            _ => None,
        }
    }

    /// A manifest of the repository, as it is stored.
    async fn stored(&self, repository: RepositoryId, digest: &Digest) -> Result<Option<Manifest>> {
        let found = {
            let mut reader = self.db().reader().await?;
            artifacts::find(&mut reader, repository, digest).await?
        };
        let Some(artifact) = found.filter(|artifact| artifact.state.is_readable()) else {
            return Ok(None);
        };
        let read = self
            .store()
            .read(digest, &artifact.location, MAX_MANIFEST_BYTES);
        let bytes = read.await.ok();
        Ok(bytes.and_then(|bytes| Manifest::parse(&bytes, Some(&artifact.media_type)).ok()))
    }

    async fn told(&self, repository: RepositoryId, digest: &Digest, size: u64) -> Option<Bytes> {
        let most = size.min(MOST_CONFIG);
        match self.content(repository, digest, most).await {
            Ok(bytes) => Some(bytes),
            Err(error) => {
                tracing::debug!(%digest, %error, "an artifact is described without its config");
                None
            }
        }
    }
}
