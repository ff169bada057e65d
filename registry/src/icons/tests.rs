use db::value::Value;
use image::{GenericImageView, RgbaImage};

use super::*;
use crate::{describe::Kind, world::each};

fn drawn(width: u32, height: u32, format: ImageFormat) -> Vec<u8> {
    let picture = RgbaImage::from_fn(width, height, |x, _| image::Rgba([x as u8, 9, 9, 255]));
    let mut bytes = Cursor::new(Vec::new());
    // JPEG has no transparency.
    let picture = DynamicImage::ImageRgba8(picture).into_rgb8();
    picture.write_to(&mut bytes, format).unwrap();
    bytes.into_inner()
}

fn size(png: &[u8]) -> (u32, u32) {
    let picture = image::load_from_memory_with_format(png, ImageFormat::Png);
    picture.unwrap().dimensions()
}

#[test]
fn each_kind_has_an_icon_of_the_usual_size() {
    each(async |world| {
        let kinds = ["IMAGE", "CHART", "CNAB", "WASM", "SBOM", "CNAI", "UNKNOWN"];
        let mut digests: Vec<_> = kinds.iter().map(|kind| of_kind(kind)).collect();
        digests.extend(Accessory::ALL.into_iter().filter_map(of_accessory));
        for digest in &digests {
            let png = world.registry.icon(digest).await.unwrap();
            assert_eq!(size(&png), (SIDE, SIDE));
            assert!(png.len() < 1000);
        }
        assert_eq!(
            of_kind(Kind::Named("MODEL".to_owned()).as_str()),
            of_kind("UNKNOWN")
        );
        digests.sort();
        digests.dedup();
        assert_eq!(digests.len(), 9);
    });
}

#[test]
fn a_picture_is_made_small_and_a_png() {
    for (width, height, format, expected) in [
        (200, 100, ImageFormat::Png, (50, 25)),
        (64, 512, ImageFormat::Jpeg, (6, 50)),
        (51, 51, ImageFormat::Gif, (50, 50)),
        (20, 30, ImageFormat::Gif, (20, 30)),
    ] {
        let bytes = drawn(width, height, format);
        assert!(is_picture(&bytes));
        assert_eq!(size(&made_small(&bytes).unwrap()), expected, "{format:?}");
    }
}

#[test]
fn what_is_no_bearable_picture_is_no_icon() {
    // One that is too wide, one that only claims to be.
    let wide = drawn(MOST_SIDE + 1, 1, ImageFormat::Png);
    let mut claims = drawn(1, 1, ImageFormat::Png);
    claims[16..24].copy_from_slice(&[0x7f, 0xff, 0xff, 0xff, 0x7f, 0xff, 0xff, 0xff]);
    let svg = b"<svg xmlns='http://www.w3.org/2000/svg'/>".to_vec();
    let bmp = b"BM\x3a\0\0\0\0\0\0\0\x36\0\0\0".to_vec();
    for bytes in [wide, claims, svg, bmp, Vec::new(), b"GIF89a".to_vec()] {
        assert!(!is_picture(&bytes), "{:?}", &bytes[..bytes.len().min(30)]);
        assert!(made_small(&bytes).is_none());
    }
}

#[test]
fn only_what_an_artifact_names_as_its_icon_is_shown() {
    each(async |world| {
        let png = drawn(100, 100, ImageFormat::Png);
        let digest = world.push_blob("library/app", &png).await;
        let manifest = world.push_image("library/app", "v1", &[&png]).await;
        let refused = world.registry.icon(&digest).await;
        assert!(matches!(refused, Err(Error::NotFound(..))), "{refused:?}");
        set_icon(world, &manifest, Some(&digest)).await;
        for _ in 0..2 {
            let icon = world.registry.icon(&digest).await.unwrap();
            assert_eq!(size(&icon), (50, 50));
        }
        // Remembered, but not shown once nobody names it.
        set_icon(world, &manifest, None).await;
        let gone = world.registry.icon(&digest).await;
        assert!(matches!(gone, Err(Error::NotFound(..))), "{gone:?}");
    });
}

async fn set_icon(world: &crate::world::World<'_>, manifest: &Digest, icon: Option<&Digest>) {
    let (manifest, icon) = (manifest.to_string(), icon.map(ToString::to_string));
    let written = world.database.db.write(move |tx| {
        let (manifest, icon) = (manifest.clone(), icon.clone());
        Box::pin(async move {
            let values: &[Value<'_>] = &[(&manifest).into(), (&icon).into()];
            tx.execute("UPDATE artifacts SET icon = $2 WHERE digest = $1", values)
                .await
        })
    });
    assert_eq!(written.await.unwrap(), 1);
}
