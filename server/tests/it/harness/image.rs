//! Small images, and the verbs of pushing and pulling them.

use bytes::Bytes;
use serde_json::json;

use super::Client;

pub const MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";
pub const INDEX: &str = "application/vnd.oci.image.index.v1+json";

pub fn digest(bytes: &[u8]) -> String {
    blob::digest_of(oci::Algorithm::Sha256, bytes).to_string()
}

/// Bytes that are the same for the same seed and differ for different ones.
pub fn content(seed: &str, length: usize) -> Bytes {
    let mut state = seed.bytes().fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
    });
    let mut bytes = Vec::with_capacity(length + 8);
    while bytes.len() < length {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        bytes.extend_from_slice(&state.to_le_bytes());
    }
    bytes.truncate(length);
    bytes.into()
}

/// An image of one config and one layer, its own for each seed.
#[derive(Clone)]
pub struct Image {
    pub config: Bytes,
    pub layer: Bytes,
    pub manifest: Bytes,
}

impl Image {
    pub fn new(seed: &str) -> Self {
        Self::with_layer(seed, content(seed, 4096))
    }

    pub fn with_layer(seed: &str, layer: Bytes) -> Self {
        let config = Bytes::from(
            json!({ "architecture": "amd64", "os": "linux", "seed": seed }).to_string(),
        );
        let manifest = json!({
            "schemaVersion": 2,
            "mediaType": MANIFEST,
            "config": { "mediaType": "application/vnd.oci.image.config.v1+json", "digest": digest(&config), "size": config.len() },
            "layers": [{ "mediaType": "application/vnd.oci.image.layer.v1.tar", "digest": digest(&layer), "size": layer.len() }],
        });
        Self {
            config,
            layer,
            manifest: manifest.to_string().into(),
        }
    }

    pub fn digest(&self) -> String {
        digest(&self.manifest)
    }
}

impl Client {
    /// POST, then PUT with the bytes.
    pub async fn push_blob(&self, repository: &str, bytes: &Bytes) -> String {
        let digest = digest(bytes);
        let start = self
            .post(&format!("/v2/{repository}/blobs/uploads/"))
            .await
            .expect(202);
        let location = start.header("location").to_owned();
        self.put(&format!("{location}?digest={digest}"), bytes.clone())
            .await
            .expect(201);
        digest
    }

    pub async fn put_manifest(
        &self,
        repository: &str,
        reference: &str,
        media_type: &str,
        bytes: &Bytes,
    ) -> super::Answer {
        let path = format!("/v2/{repository}/manifests/{reference}");
        self.request("PUT", &path)
            .header("content-type", media_type)
            .body(bytes.clone())
            .send()
            .await
    }

    /// Config, layer and manifest.
    pub async fn push(&self, repository: &str, reference: &str, image: &Image) -> String {
        self.push_blob(repository, &image.config).await;
        self.push_blob(repository, &image.layer).await;
        self.put_manifest(repository, reference, MANIFEST, &image.manifest)
            .await
            .expect(201);
        image.digest()
    }

    /// Fails unless the whole image comes back byte for byte.
    pub async fn pull(&self, repository: &str, reference: &str, image: &Image) {
        let manifest = self
            .get(&format!("/v2/{repository}/manifests/{reference}"))
            .await
            .expect(200);
        assert_eq!(manifest.body, image.manifest);
        for part in [&image.config, &image.layer] {
            let blob = self
                .get(&format!("/v2/{repository}/blobs/{}", digest(part)))
                .await
                .expect(200);
            assert_eq!(blob.body, *part);
        }
    }
}
