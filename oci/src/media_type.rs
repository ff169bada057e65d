//! The media types that decide something. All others pass through as text.

pub const OCI_MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";
pub const OCI_INDEX: &str = "application/vnd.oci.image.index.v1+json";
pub const OCI_CONFIG: &str = "application/vnd.oci.image.config.v1+json";
/// The descriptor of `{}`, used where an artifact has no config or no layer.
pub const OCI_EMPTY: &str = "application/vnd.oci.empty.v1+json";

pub const DOCKER_MANIFEST: &str = "application/vnd.docker.distribution.manifest.v2+json";
pub const DOCKER_MANIFEST_LIST: &str = "application/vnd.docker.distribution.manifest.list.v2+json";
pub const DOCKER_CONFIG: &str = "application/vnd.docker.container.image.v1+json";

pub const DOCKER_SCHEMA1: &str = "application/vnd.docker.distribution.manifest.v1+json";
pub const DOCKER_SCHEMA1_SIGNED: &str = "application/vnd.docker.distribution.manifest.v1+prettyjws";

pub const OCTET_STREAM: &str = "application/octet-stream";

/// The media types that a manifest may have here.
pub const ACCEPTED: [&str; 4] = [
    OCI_MANIFEST,
    OCI_INDEX,
    DOCKER_MANIFEST,
    DOCKER_MANIFEST_LIST,
];

/// The accepted manifest type that this text means; letter case does not count in media types (RFC 6838).
pub fn accepted(media_type: &str) -> Option<&'static str> {
    ACCEPTED
        .into_iter()
        .find(|known| known.eq_ignore_ascii_case(media_type))
}

/// A list of manifests: an OCI index or Docker's manifest list.
pub fn is_index(media_type: &str) -> bool {
    matches!(accepted(media_type), Some(OCI_INDEX | DOCKER_MANIFEST_LIST))
}

/// A manifest of config and layers: OCI's or Docker's schema 2.
pub fn is_manifest(media_type: &str) -> bool {
    matches!(accepted(media_type), Some(OCI_MANIFEST | DOCKER_MANIFEST))
}

/// Docker's schema 1, which cannot be verified by digest and is refused.
pub fn is_schema1(media_type: &str) -> bool {
    [DOCKER_SCHEMA1, DOCKER_SCHEMA1_SIGNED]
        .iter()
        .any(|known| known.eq_ignore_ascii_case(media_type))
}

/// A layer that its author forbids to push: its bytes may be missing here, clients fetch it from its `urls`.
pub fn is_non_distributable(media_type: &str) -> bool {
    media_type.starts_with("application/vnd.oci.image.layer.nondistributable.")
        || media_type.starts_with("application/vnd.docker.image.rootfs.foreign.")
}

/// The media type of a `Content-Type` header, without parameters; `None` when nothing is left.
pub fn essence(content_type: &str) -> Option<&str> {
    let essence = content_type.split(';').next().unwrap_or_default().trim();
    (!essence.is_empty()).then_some(essence)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn types_fall_into_their_class() {
        for (media_type, index, manifest, schema1) in [
            (OCI_INDEX, true, false, false),
            (DOCKER_MANIFEST_LIST, true, false, false),
            (OCI_MANIFEST, false, true, false),
            (DOCKER_MANIFEST, false, true, false),
            (
                "Application/vnd.OCI.image.manifest.v1+JSON",
                false,
                true,
                false,
            ),
            (DOCKER_SCHEMA1, false, false, true),
            (DOCKER_SCHEMA1_SIGNED, false, false, true),
            (OCI_CONFIG, false, false, false),
            ("", false, false, false),
        ] {
            let class = (
                is_index(media_type),
                is_manifest(media_type),
                is_schema1(media_type),
            );
            assert_eq!(class, (index, manifest, schema1), "{media_type}");
        }
    }

    #[test]
    fn foreign_layers_are_not_distributable() {
        for (media_type, expected) in [
            (
                "application/vnd.oci.image.layer.nondistributable.v1.tar",
                true,
            ),
            (
                "application/vnd.oci.image.layer.nondistributable.v1.tar+gzip",
                true,
            ),
            (
                "application/vnd.oci.image.layer.nondistributable.v1.tar+zstd",
                true,
            ),
            (
                "application/vnd.docker.image.rootfs.foreign.diff.tar.gzip",
                true,
            ),
            ("application/vnd.oci.image.layer.v1.tar+gzip", false),
            ("application/vnd.docker.image.rootfs.diff.tar.gzip", false),
        ] {
            assert_eq!(is_non_distributable(media_type), expected, "{media_type}");
        }
    }

    #[test]
    fn parameters_of_a_content_type_are_ignored() {
        for (header, expected) in [
            ("a/b", Some("a/b")),
            (" a/b ; charset=utf-8", Some("a/b")),
            ("", None),
            (" ; x", None),
        ] {
            assert_eq!(essence(header), expected);
        }
    }
}
