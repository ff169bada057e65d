//! Small images to push, each unlike any other.

use serde_json::json;

use crate::{
    content::{digest, fill},
    http::{Body, Connection},
    registry::{Flow, MANIFEST, Repository},
};

const LAYER: usize = 4096;

/// Bytes with their digest.
pub struct Part {
    pub bytes: Vec<u8>,
    pub digest: String,
}

/// An image of a config, one or more layers of 4 KiB, and the manifest.
pub struct Image {
    pub tag: String,
    pub config: Part,
    pub layers: Vec<Part>,
    pub manifest: Part,
}

impl Part {
    fn new(bytes: Vec<u8>) -> Self {
        let digest = digest(&bytes);
        Self { bytes, digest }
    }
}

impl Image {
    pub fn new(serial: u64, layers: u64) -> Self {
        let layers: Vec<Part> = (0..layers)
            .map(|n| {
                let mut bytes = vec![0; LAYER];
                fill(&mut bytes, (serial << 8) + n + 1);
                Part::new(bytes)
            })
            .collect();
        let diff_ids: Vec<&str> = layers.iter().map(|layer| layer.digest.as_str()).collect();
        let config = json!({
            "architecture": "amd64",
            "os": "linux",
            "config": {"Env": [format!("SERIAL={serial}")], "Cmd": ["/bin/sh"]},
            "rootfs": {"type": "layers", "diff_ids": diff_ids},
        });
        let config = Part::new(config.to_string().into_bytes());
        let describe = |media_type: &str, part: &Part| json!({"mediaType": media_type, "digest": part.digest, "size": part.bytes.len()});
        let manifest = json!({
            "schemaVersion": 2,
            "mediaType": MANIFEST,
            "config": describe("application/vnd.oci.image.config.v1+json", &config),
            "layers": layers.iter()
                .map(|layer| describe("application/vnd.oci.image.layer.v1.tar", layer))
                .collect::<Vec<_>>(),
        });
        let manifest = Part::new(manifest.to_string().into_bytes());
        Self {
            tag: format!("v{serial}"),
            config,
            layers,
            manifest,
        }
    }

    /// Pushes as docker does: layers, config, manifest by tag, and a HEAD before each blob.
    pub fn push(
        &self,
        to: &Repository,
        connection: &mut Connection,
        flow: Flow,
    ) -> anyhow::Result<()> {
        for part in self.layers.iter().chain([&self.config]) {
            if !to.has_blob(connection, &part.digest)? {
                to.push_blob(connection, Body::Bytes(&part.bytes), &part.digest, flow)?;
            }
        }
        to.push_manifest(
            connection,
            &self.tag,
            &self.manifest.bytes,
            &self.manifest.digest,
        )
    }

    /// Pulls the image and compares all of it.
    pub fn verify(&self, from: &Repository, connection: &mut Connection) -> anyhow::Result<()> {
        let manifest = from.get_manifest(connection, &self.tag)?;
        anyhow::ensure!(
            manifest == self.manifest.bytes,
            "the manifest of `{}` came back changed",
            self.tag
        );
        for part in self.layers.iter().chain([&self.config]) {
            from.get_blob(connection, &part.digest)?;
        }
        Ok(())
    }
}
