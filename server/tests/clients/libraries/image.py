"""A small image, and the few requests that push it as docker does: a token first, then blobs, then the manifest."""

import gzip
import hashlib
import io
import json
import tarfile
from urllib.parse import urljoin

import httpx

OCI = "application/vnd.oci.image"
CREATED = "2026-01-02T03:04:05Z"


def digest_of(content):
    return "sha256:" + hashlib.sha256(content).hexdigest()


class Image:
    """One layer that holds `text`; `subject` makes it an artifact that belongs to another image."""

    def __init__(self, text, subject=None):
        layer = layer_with(text.encode())
        packed = gzip.compress(layer, mtime=0)
        config = {
            "created": CREATED,
            "author": "somebody@example.com",
            "architecture": "arm64",
            "os": "linux",
            "config": {"Cmd": ["/hello"], "Env": ["GREETING=hello"]},
            "rootfs": {"type": "layers", "diff_ids": [digest_of(layer)]},
            "history": [
                {"created": CREATED, "created_by": "COPY hello /hello"},
                {"created": CREATED, "created_by": 'CMD ["/hello"]', "empty_layer": True},
            ],
        }
        kind = f"{OCI}.config.v1+json"
        if subject:
            config, kind = {}, "application/vnd.oci.empty.v1+json"
        self.blobs = [json.dumps(config).encode(), packed]
        manifest = {
            "schemaVersion": 2,
            "mediaType": f"{OCI}.manifest.v1+json",
            "config": described(kind, self.blobs[0]),
            "layers": [described(f"{OCI}.layer.v1.tar+gzip", packed)],
            "annotations": {"org.example.text": text[:20]},
        }
        if subject:
            manifest["artifactType"] = "application/vnd.example.note"
            manifest["subject"] = described(f"{OCI}.manifest.v1+json", subject.manifest)
        self.manifest = json.dumps(manifest).encode()
        self.digest = digest_of(self.manifest)
        self.size = len(self.manifest) + sum(len(blob) for blob in self.blobs)


def described(kind, content):
    return {"mediaType": kind, "digest": digest_of(content), "size": len(content)}


def layer_with(content):
    file = tarfile.TarInfo("hello")
    file.size = len(content)
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w") as archive:
        archive.addfile(file, io.BytesIO(content))
    return packed.getvalue()


class Registry:
    """/v2 of the server, as somebody with a name and a secret."""

    def __init__(self, url, name, secret):
        self.url = url
        self.basic = (name, secret)

    def login(self):
        """The status of what `docker login` asks."""
        return httpx.get(f"{self.url}/v2/", auth=self.basic).status_code

    def push(self, repository, image, tag=None):
        """The answer to the manifest, or the first one that refuses."""
        with self.client(repository) as client:
            for blob in image.blobs:
                begun = client.post(f"/v2/{repository}/blobs/uploads/")
                if begun.status_code != 202:
                    return begun
                where = urljoin(f"{self.url}/", begun.headers["Location"])
                kept = client.put(httpx.URL(where).copy_merge_params({"digest": digest_of(blob)}), content=blob)
                if kept.status_code != 201:
                    return kept
            kind = {"Content-Type": f"{OCI}.manifest.v1+json"}
            return client.put(f"/v2/{repository}/manifests/{tag or image.digest}", content=image.manifest, headers=kind)

    def pull(self, repository, reference):
        """The answer that holds the manifest, or does not."""
        with self.client(repository) as client:
            kinds = {"Accept": f"{OCI}.manifest.v1+json"}
            return client.get(f"/v2/{repository}/manifests/{reference}", headers=kinds)

    def client(self, repository):
        asked = {"service": "harbor-registry", "scope": f"repository:{repository}:pull,push"}
        answer = httpx.get(f"{self.url}/service/token", params=asked, auth=self.basic).raise_for_status()
        return httpx.Client(base_url=self.url, headers={"Authorization": f"Bearer {answer.json()['token']}"})
