//! What an artifact brings to read beside its manifest: an image's history, a chart's files, a model's, an SBOM.
//!
//! All of it was written by strangers: what is read has a bound in bytes, entries and depth, and few are read at once.

mod archive;
mod chart;
mod history;
mod model;

use std::{sync::Arc, time::Duration};

use ::model::{Error, Result, What, id::RepositoryId};
use bytes::Bytes;
use db::{blobs::State, links};
use oci::{Descriptor, Digest, Manifest, manifest::Kind as Form};
use tokio::{
    sync::{OwnedSemaphorePermit, Semaphore},
    time::timeout,
};

use crate::{
    Registry,
    describe::{ConfigSource, Kind, SBOM},
    store_error,
};

/// Additions read at once; each may hold some tens of megabytes.
const AT_ONCE: usize = 4;
/// How long one waits for its turn.
const PATIENCE: Duration = Duration::from_secs(10);

const TEXT: &str = "text/plain; charset=utf-8";
const MARKDOWN: &str = "text/markdown; charset=utf-8";
const JSON: &str = "application/json; charset=utf-8";

/// What may be asked for, by Harbor's names.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Addition {
    BuildHistory,
    Values,
    Readme,
    Dependencies,
    License,
    Files,
    Sbom,
}

/// An addition as it is answered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Content {
    pub content_type: &'static str,
    pub bytes: Bytes,
}

/// An addition that was read, or one that is to be sent from the store as it is.
pub enum Shown {
    Read(Content),
    Stored {
        content_type: &'static str,
        reader: blob::Reader,
        size: u64,
    },
}

/// Turns for reading additions.
pub(crate) struct Turns(Arc<Semaphore>);

impl Default for Turns {
    fn default() -> Self {
        Self(Arc::new(Semaphore::new(AT_ONCE)))
    }
}

impl Addition {
    pub const ALL: [Self; 7] = [
        Self::BuildHistory,
        Self::Values,
        Self::Readme,
        Self::Dependencies,
        Self::License,
        Self::Files,
        Self::Sbom,
    ];

    pub const fn as_str(self) -> &'static str {
        match self {
            Self::BuildHistory => "build_history",
            Self::Values => "values.yaml",
            Self::Readme => "readme.md",
            Self::Dependencies => "dependencies",
            Self::License => "license",
            Self::Files => "files",
            Self::Sbom => "sbom",
        }
    }

    /// In whatever case it is written.
    pub fn parse(name: &str) -> Option<Self> {
        let mut known = Self::ALL.into_iter();
        known.find(|known| known.as_str().eq_ignore_ascii_case(name))
    }

    /// Those that an artifact of this kind has; `is_index` when it is a list of manifests.
    pub fn of(kind: &str, is_index: bool) -> &'static [Self] {
        match kind {
            _ if is_index => &[],
            "IMAGE" | "WASM" => &[Self::BuildHistory],
            "CHART" => &[Self::Values, Self::Readme, Self::Dependencies],
            "CNAI" => &[Self::Readme, Self::License, Self::Files],
            "SBOM" => &[Self::Sbom],
            _ => &[],
        }
    }
}

impl Registry {
    /// Reads an addition of the artifact that these bytes are the manifest of.
    pub async fn addition(
        &self,
        repository: RepositoryId,
        manifest: &[u8],
        addition: Addition,
    ) -> Result<Shown> {
        let manifest = Manifest::parse(manifest, None)
            .map_err(|error| Error::invalid(What::Manifest, error.to_string()))?;
        let kind = Kind::of(&manifest);
        let is_index = manifest.kind == Form::Index;
        if !Addition::of(kind.as_str(), is_index).contains(&addition) {
            return Err(unsupported(addition, &kind));
        }
        if addition == Addition::Sbom {
            return self.sbom(repository, &manifest).await;
        }
        let turn = self.turn().await?;
        let read = match addition {
            Addition::BuildHistory => {
                let config = match ConfigSource::own(&manifest) {
                    ConfigSource::Own(digest, size) => {
                        self.content(repository, &digest, size).await?
                    }
                    _ => Bytes::new(),
                };
                Ok(content(JSON, history::of_config(&config)))
            }
            Addition::Files => Ok(content(JSON, model::files(&manifest)?)),
            Addition::License | Addition::Readme if kind == Kind::Cnai => {
                self.model_text(repository, &manifest, addition).await
            }
            _ => self.chart_file(repository, &manifest, addition, turn).await,
        };
        read.map(Shown::Read)
    }

    /// An SBOM is its only layer. Nothing of it is looked at, so it is not read into memory either.
    async fn sbom(&self, repository: RepositoryId, manifest: &Manifest) -> Result<Shown> {
        let [layer] = &*manifest.layers else {
            return Err(missing(
                "an SBOM has exactly one layer: the sbom is not found",
            ));
        };
        let blob = self.held(repository, &layer.digest).await?;
        let reader = self
            .store()
            .open_blob(&layer.digest, &blob.location, blob.size);
        Ok(Shown::Stored {
            content_type: SBOM,
            reader: reader.await.map_err(unreadable)?,
            size: blob.size,
        })
    }

    pub(crate) async fn turn(&self) -> Result<OwnedSemaphorePermit> {
        let turn = timeout(PATIENCE, self.0.additions.0.clone().acquire_owned());
        match turn.await {
            Ok(Ok(turn)) => Ok(turn),
            _ => Err(Error::TooMany {
                retry_after: PATIENCE,
            }),
        }
    }

    async fn model_text(
        &self,
        repository: RepositoryId,
        manifest: &Manifest,
        addition: Addition,
    ) -> Result<Content> {
        let (layer, content_type) = match addition {
            Addition::License => (model::license(manifest), TEXT),
            _ => (model::readme(manifest), MARKDOWN),
        };
        let layer = layer
            .ok_or_else(|| missing(&format!("the model has no {} layer", addition.as_str())))?;
        let bytes = self.layer(repository, layer, model::MOST_TEXT).await?;
        Ok(content(content_type, model::text(layer, bytes)?))
    }

    async fn chart_file(
        &self,
        repository: RepositoryId,
        manifest: &Manifest,
        addition: Addition,
        turn: OwnedSemaphorePermit,
    ) -> Result<Content> {
        let layer = chart::layer(manifest)
            .ok_or_else(|| missing("the chart has no layer with its files"))?;
        within(layer.size, chart::MOST_PACKED)?;
        let blob = self.held(repository, &layer.digest).await?;
        let store = self.store();
        let reader = store.open_blob(&layer.digest, &blob.location, blob.size);
        let reader = reader.await.map_err(unreadable)?;
        let packed = archive::sync_reader(reader);
        let read = tokio::task::spawn_blocking(move || {
            // Kept also when nobody waits any more: the work goes on.
            let _turn = turn;
            match addition {
                Addition::Values => chart::values(packed).map(|text| content(TEXT, text)),
                Addition::Readme => chart::readme(packed).map(|text| content(MARKDOWN, text)),
                _ => chart::dependencies(packed).map(|list| content(JSON, list)),
            }
        });
        read.await
            .map_err(::model::error::internal("reading a chart"))?
    }

    /// A layer whole, when it has at most `most` bytes.
    async fn layer(
        &self,
        repository: RepositoryId,
        layer: &Descriptor,
        most: u64,
    ) -> Result<Bytes> {
        within(layer.size, most)?;
        self.content(repository, &layer.digest, most).await
    }

    /// A content that the repository holds, whole and checked, when it has at most `most` bytes.
    pub(crate) async fn content(
        &self,
        repository: RepositoryId,
        digest: &Digest,
        most: u64,
    ) -> Result<Bytes> {
        let blob = self.held(repository, digest).await?;
        within(blob.size, most)?;
        let read = self.store().read(digest, &blob.location, most as usize);
        read.await.map_err(unreadable)
    }

    async fn held(&self, repository: RepositoryId, digest: &Digest) -> Result<db::blobs::Blob> {
        let found = links::find(&mut *self.db().reader().await?, repository, digest).await?;
        let found = match found {
            Some(blob) if blob.state == State::Adopted => {
                let read = self.after_first_read(repository, digest).await?;
                read.map(|blob| (*blob).clone())
            }
            found => found.filter(|blob| blob.state.is_readable()),
        };
        found.ok_or_else(|| missing(&format!("blob `{digest}` is not in the repository")))
    }
}

fn content(content_type: &'static str, bytes: impl Into<Bytes>) -> Content {
    Content {
        content_type,
        bytes: bytes.into(),
    }
}

fn within(size: u64, most: u64) -> Result<()> {
    if size <= most {
        return Ok(());
    }
    Err(Error::TooLarge(format!(
        "only what has at most {most} bytes is shown, and this has {size}: pull the artifact to read it"
    )))
}

/// Harbor's words.
fn unsupported(addition: Addition, kind: &Kind) -> Error {
    let (addition, kind) = (addition.as_str(), kind.as_str());
    Error::invalid(
        What::Request,
        format!("addition {addition} isn't supported for {kind}"),
    )
}

fn missing(which: &str) -> Error {
    Error::not_found(What::Blob, which)
}

/// Bytes that are missing or damaged are not there; a pull tells whoever keeps the store.
fn unreadable(error: blob::Error) -> Error {
    match error {
        blob::Error::NotFound | blob::Error::Damaged(_) | blob::Error::TooLarge { .. } => {
            missing("its bytes are not in the store")
        }
        other => store_error(other),
    }
}

#[cfg(test)]
mod tests;
