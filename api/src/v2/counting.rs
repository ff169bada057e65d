//! What counts as a pull, as far as the request shows it. The rest stands in `registry::activity`.

use http::header;
use oci::{name::NameRef, reference::ReferenceRef, route::ManifestVerb};
use registry::{activity::Pull, pull::Manifest};

use super::guard::Granted;
use crate::{forwarded, request::Ask};

/// Another Harbor that replicates from here: it pulls for nobody.
const REPLICATION: &str = "harbor-registry-client";

/// A manifest is answered, by GET or HEAD.
pub(super) fn pulled(
    ask: &Ask,
    granted: &Granted,
    name: NameRef<'_>,
    reference: &ReferenceRef<'_>,
    verb: ManifestVerb,
    manifest: &Manifest,
) {
    if ask.header(header::USER_AGENT) == Some(REPLICATION) {
        return;
    }
    let is_head = verb == ManifestVerb::Head;
    let connection = ask.connection.as_ref();
    ask.app.registry.activity().pulled(&Pull {
        repository: name.as_str(),
        project: granted.project,
        artifact: &manifest.artifact,
        bytes: if is_head { 0 } else { manifest.bytes.len() },
        tag: match reference {
            ReferenceRef::Tag(tag) => Some(tag.as_str()),
            ReferenceRef::Digest(_) => None,
        },
        caller: &granted.caller.subject,
        address: connection.and_then(|connection| forwarded::client(connection, &ask.head.headers)),
        is_scanner: granted.is_scanner,
        is_head,
        at: ask.time,
    });
}
