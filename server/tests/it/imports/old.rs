//! What is pushed to the old registry, and how it is pulled from the new one.

use std::{
    collections::BTreeMap,
    fs,
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
};

use bytes::Bytes;
use serde_json::json;
use testkit::{DockerRegistry, Keeps};

use crate::harness::{
    Client, Image, digest,
    image::{INDEX, MANIFEST, content},
};

const CONFIG: &str = "application/vnd.oci.empty.v1+json";

/// A registry that was filled and stopped.
pub struct Old {
    /// Names here and there, reference, media type, bytes.
    manifests: Vec<(String, String, &'static str, Bytes)>,
    /// Repository here, bytes.
    contents: Vec<(String, Bytes)>,
    /// Repository and tag as they are here, and the manifest's digest.
    tags: Vec<(String, String, String)>,
    subject: String,
    damaged: Bytes,
}

/// All files below a directory, with their numbers.
pub fn files(root: &Path) -> BTreeMap<PathBuf, u64> {
    let mut found = BTreeMap::new();
    for entry in fs::read_dir(root).expect("a directory").flatten() {
        let meta = entry.metadata().expect("there");
        if meta.is_dir() {
            found.extend(files(&entry.path()));
        } else {
            found.insert(entry.path(), meta.ino());
        }
    }
    found
}

/// The old registry's clients.
struct Filling {
    client: Client,
    old: Old,
}

impl Filling {
    async fn upload(&self, name: &str) -> String {
        let path = format!("/v2/{name}/blobs/uploads/");
        let begun = self.client.post(&path).await.expect(202);
        begun.header("location").to_owned()
    }

    async fn blob(&mut self, name: &str, bytes: &Bytes) {
        let location = self.upload(name).await;
        let mark = if location.contains('?') { '&' } else { '?' };
        let path = format!("{location}{mark}digest={}", digest(bytes));
        self.client.put(&path, bytes.clone()).await.expect(201);
        self.old.contents.push((here(name), bytes.clone()));
    }

    async fn manifest(&mut self, name: &str, tag: Option<&str>, kind: &'static str, bytes: &Bytes) {
        let own = digest(bytes);
        let reference = tag.unwrap_or(&own);
        let put = self.client.put_manifest(name, reference, kind, bytes);
        put.await.expect(201);
        let name = here(name);
        if !self
            .old
            .manifests
            .iter()
            .any(|one| one.0 == name && one.1 == own)
        {
            let known = (name.clone(), own.clone(), kind, bytes.clone());
            self.old.manifests.push(known);
        }
        if let Some(tag) = tag {
            self.old
                .tags
                .retain(|one| (one.0.as_str(), one.1.as_str()) != (&name, tag));
            self.old.tags.push((name, tag.to_owned(), own));
        }
    }

    async fn image(&mut self, name: &str, tag: Option<&str>, image: &Image) {
        self.blob(name, &image.config).await;
        self.blob(name, &image.layer).await;
        self.manifest(name, tag, MANIFEST, &image.manifest).await;
    }
}

/// What the rules of the test make of a name.
fn here(name: &str) -> String {
    match name.strip_prefix("team/") {
        Some(rest) => format!("crew/{rest}"),
        None => format!("all/{name}"),
    }
}

fn descriptor(kind: &str, bytes: &Bytes) -> serde_json::Value {
    json!({ "mediaType": kind, "digest": digest(bytes), "size": bytes.len() })
}

impl Old {
    /// Pushes an image of one name, an image of many versions with a moved tag and two platforms, something attached, a nested name
    /// with a mounted layer; deletes a manifest; leaves an upload; and stops.
    pub async fn fill(program: &Path, keeps: &Keeps, home: &Path) -> Self {
        let registry = DockerRegistry::start(program, keeps, home);
        let damaged = Image::with_layer("damaged", content("damaged", 5000));
        let mut filling = Filling {
            client: Client::new(&registry.address),
            old: Self {
                manifests: Vec::new(),
                contents: Vec::new(),
                tags: Vec::new(),
                subject: String::new(),
                damaged: damaged.layer.clone(),
            },
        };
        filling.image("debian", Some("12"), &damaged).await;
        let large = Image::with_layer("large", content("large", 12 << 20));
        filling
            .image("team/app", Some("v1"), &Image::new("first"))
            .await;
        filling.image("team/app", Some("v1"), &large).await;
        filling.platforms().await;
        filling.attached().await;
        filling.mounted(&large).await;
        // Deleted there: it and its layer and its config are named by nothing, and so they are not here for long.
        let gone = Image::new("gone");
        let marks = (filling.old.manifests.len(), filling.old.contents.len());
        filling.image("debian", None, &gone).await;
        let path = format!("/v2/debian/manifests/{}", gone.digest());
        filling.client.delete(&path).await.expect(202);
        filling.old.manifests.truncate(marks.0);
        filling.old.contents.truncate(marks.1);
        let location = filling.upload("debian").await;
        let patch = filling.client.request("PATCH", &location);
        patch.body(content("half", 9000)).send().await.expect(202);
        drop(registry);
        filling.old
    }

    pub fn manifests(&self) -> usize {
        self.manifests.len()
    }

    pub fn tags(&self) -> &[(String, String, String)] {
        &self.tags
    }

    /// The digest of a layer whose bytes were damaged after the stop.
    pub fn damaged(&self) -> String {
        digest(&self.damaged)
    }

    pub fn damaged_bytes(&self) -> Bytes {
        self.damaged.clone()
    }

    /// Everything byte for byte, but for what was damaged; and the same tags, no more.
    pub async fn pull_all(&self, client: &Client) {
        for (name, own, kind, bytes) in &self.manifests {
            let path = format!("/v2/{name}/manifests/{own}");
            let pulled = client.get(&path).await.expect(200);
            assert_eq!(
                (&pulled.body, pulled.header("content-type")),
                (bytes, *kind)
            );
        }
        for (name, tag, own) in &self.tags {
            let path = format!("/v2/{name}/manifests/{tag}");
            let pulled = client.head(&path).await.expect(200);
            assert_eq!(pulled.header("docker-content-digest"), own, "{name}:{tag}");
        }
        for name in ["all/debian", "crew/app", "crew/app/nested/deep"] {
            let list = client
                .get(&format!("/v2/{name}/tags/list"))
                .await
                .expect(200);
            let mut tags: Vec<&str> = self
                .tags
                .iter()
                .filter(|one| one.0 == name)
                .map(|one| one.1.as_str())
                .collect();
            tags.sort_unstable();
            assert_eq!(list.json()["tags"], json!(tags), "{name}");
        }
        for (name, bytes) in self.contents.iter().filter(|one| one.1 != self.damaged) {
            let path = format!("/v2/{name}/blobs/{}", digest(bytes));
            let pulled = client.get(&path).await.expect(200);
            assert!(pulled.body == *bytes, "{path}");
        }
        let path = format!("/v2/crew/app/referrers/{}", self.subject);
        let list = client.get(&path).await.expect(200).json();
        assert_eq!(
            list["manifests"].as_array().map(Vec::len),
            Some(1),
            "{list}"
        );
    }
}

impl Filling {
    /// An index over two images.
    async fn platforms(&mut self) {
        let images = [Image::new("amd64"), Image::new("arm64")];
        for image in &images {
            self.image("team/app", None, image).await;
        }
        let [one, two] = images.map(|image| descriptor(MANIFEST, &image.manifest));
        let index = json!({ "schemaVersion": 2, "mediaType": INDEX, "manifests": [one, two] });
        let index = Bytes::from(index.to_string());
        for tag in ["multi", "latest"] {
            self.manifest("team/app", Some(tag), INDEX, &index).await;
        }
        self.old.subject = digest(&index);
    }

    /// A manifest that refers to the index.
    async fn attached(&mut self) {
        let (config, layer) = (Bytes::from_static(b"{}"), content("signature", 100));
        for bytes in [&config, &layer] {
            self.blob("team/app", bytes).await;
        }
        let index = self
            .old
            .manifests
            .iter()
            .find(|one| one.1 == self.old.subject);
        let subject = descriptor(INDEX, &index.expect("pushed").3);
        let manifest = json!({
            "schemaVersion": 2,
            "mediaType": MANIFEST,
            "artifactType": "application/vnd.example.signature",
            "config": descriptor(CONFIG, &config),
            "layers": [descriptor("application/octet-stream", &layer)],
            "subject": subject,
        });
        let manifest = Bytes::from(manifest.to_string());
        self.manifest("team/app", None, MANIFEST, &manifest).await;
    }

    /// The same image under another name, whose contents were mounted.
    async fn mounted(&mut self, image: &Image) {
        for bytes in [&image.config, &image.layer] {
            let path = format!(
                "/v2/team/app/nested/deep/blobs/uploads/?mount={}&from=team/app",
                digest(bytes)
            );
            self.client.post(&path).await.expect(201);
            self.old
                .contents
                .push((here("team/app/nested/deep"), bytes.clone()));
        }
        self.manifest(
            "team/app/nested/deep",
            Some("v1"),
            MANIFEST,
            &image.manifest,
        )
        .await;
    }
}
