//! Icons of artifacts: one for each kind, drawn by `scripts/draw-icons.py`, and those that artifacts bring as a layer, which are
//! made small before anybody gets them. Harbor shows them to everybody, so only what some artifact names as its icon is one.

use std::{io::Cursor, sync::LazyLock};

use bytes::Bytes;
use image::{DynamicImage, ImageFormat, ImageReader, Limits};
use model::{Error, Result, What};
use oci::{Algorithm, Digest};
use quick_cache::sync::Cache;

use crate::{
    Registry,
    describe::{Accessory, MOST_ICON},
};

/// Pixels of an icon's longer side, as it is shown.
const SIDE: u32 = 50;
/// Of a picture that becomes an icon: a megabyte of PNG can claim to be as large as it likes.
const MOST_SIDE: u32 = 4096;
const MOST_PIXELS: u64 = 64 << 20;
/// Small pictures kept; each has a few kilobytes.
const KEPT: usize = 64;

pub const CONTENT_TYPE: &str = "image/png";

macro_rules! drawn {
    ($($name:literal),+ $(,)?) => {
        [$(($name, &include_bytes!(concat!("icons/", $name, ".png"))[..])),+]
    };
}

static BUILT_IN: LazyLock<Vec<BuiltIn>> = LazyLock::new(|| {
    let drawn = drawn![
        "image",
        "chart",
        "cnab",
        "wasm",
        "sbom",
        "cnai",
        "signature",
        "accelerator",
        "default"
    ];
    let built_in = drawn.map(|(name, png)| BuiltIn {
        name,
        digest: blob::digest_of(Algorithm::Sha256, png),
        png,
    });
    built_in.into()
});

struct BuiltIn {
    name: &'static str,
    digest: Digest,
    png: &'static [u8],
}

/// Icons of artifacts, made small.
pub(crate) struct Small(Cache<Digest, Bytes>);

impl Default for Small {
    fn default() -> Self {
        Self(Cache::new(KEPT))
    }
}

/// The icon of a kind, as [`crate::describe::Kind::as_str`] spells it; all others share one.
pub fn of_kind(kind: &str) -> Digest {
    let known = ["IMAGE", "CHART", "CNAB", "WASM", "SBOM", "CNAI"];
    let name = known.contains(&kind).then(|| kind.to_ascii_lowercase());
    digest_of(name.as_deref().unwrap_or("default"))
}

/// The icon of an accessory; one that is only attached has none.
pub fn of_accessory(accessory: Accessory) -> Option<Digest> {
    let name = match accessory {
        Accessory::CosignSignature | Accessory::NotationSignature => "signature",
        Accessory::Sbom => "sbom",
        Accessory::Nydus => "accelerator",
        Accessory::Subject => return None,
    };
    Some(digest_of(name))
}

fn digest_of(name: &str) -> Digest {
    let known = BUILT_IN.iter().find(|icon| icon.name == name);
    known.expect("each name here was drawn").digest
}

/// Whether these bytes are a picture that can be shown as an icon: PNG, JPEG or GIF, of bearable size.
pub fn is_picture(bytes: &[u8]) -> bool {
    let Some(picture) = picture(bytes) else {
        return false;
    };
    let side = picture.into_dimensions();
    side.is_ok_and(|(width, height)| (1..=MOST_SIDE).contains(&width.max(height)))
}

impl Registry {
    /// The icon of this digest, as [`CONTENT_TYPE`].
    pub async fn icon(&self, digest: &Digest) -> Result<Bytes> {
        if let Some(icon) = BUILT_IN.iter().find(|icon| icon.digest == *digest) {
            return Ok(Bytes::from_static(icon.png));
        }
        let missing = || Error::not_found(What::Blob, format!("the icon {digest} not found"));
        let named = db::icons::find(&mut *self.db().reader().await?, digest).await?;
        let blob = named
            .filter(|blob| blob.state.is_readable() && blob.size <= MOST_ICON)
            .ok_or_else(missing)?;
        if let Some(small) = self.0.icons.0.get(digest) {
            return Ok(small);
        }
        let turn = self.turn().await?;
        let read = self
            .store()
            .read(digest, &blob.location, MOST_ICON as usize);
        let bytes = read.await.map_err(|_| missing())?;
        let made = tokio::task::spawn_blocking(move || {
            let _turn = turn;
            made_small(&bytes)
        });
        let small = made
            .await
            .map_err(model::error::internal("making an icon small"))?
            .ok_or_else(missing)?;
        self.0.icons.0.insert(*digest, small.clone());
        Ok(small)
    }
}

fn picture(bytes: &[u8]) -> Option<ImageReader<Cursor<&[u8]>>> {
    let reader = ImageReader::new(Cursor::new(bytes)).with_guessed_format();
    let mut reader = reader.ok()?;
    let mut limits = Limits::no_limits();
    limits.max_image_width = Some(MOST_SIDE);
    limits.max_image_height = Some(MOST_SIDE);
    limits.max_alloc = Some(MOST_PIXELS);
    reader.limits(limits);
    Some(reader)
}

/// A PNG that fits into the square of an icon; one that does so already is only written anew.
fn made_small(bytes: &[u8]) -> Option<Bytes> {
    let mut picture = picture(bytes)?.decode().ok()?;
    if picture.width().max(picture.height()) > SIDE {
        picture = picture.thumbnail(SIDE, SIDE);
    }
    let picture = DynamicImage::ImageRgba8(picture.into_rgba8());
    let mut png = Cursor::new(Vec::new());
    picture.write_to(&mut png, ImageFormat::Png).ok()?;
    Some(png.into_inner().into())
}

#[cfg(test)]
mod tests;
