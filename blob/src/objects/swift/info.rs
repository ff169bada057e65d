//! What a Swift can do, as it says itself under `/info`.

use http::Method;
use serde::Deserialize;

use super::{
    super::{
        exchange::{Patience, QUICK, Question, ask_whole},
        fault::fault,
    },
    client::{Client, again, passes},
    temp_url::Digest,
};
use crate::Result;

/// Segments of one manifest, where nothing is said of that.
const SEGMENTS: u32 = 1000;
/// The most objects that one call is to delete, whatever is allowed: it answers when all are gone.
const DELETES: usize = 1000;

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Info {
    /// Segments of one manifest.
    pub(crate) segments: u32,
    /// Whether segments may be static large objects themselves.
    pub(crate) nests: bool,
    /// Objects that one call deletes; none where there is no such call.
    pub(crate) deletes: Option<usize>,
    /// What addresses for clients may be signed with; none where there are no such.
    pub(crate) digest: Option<Digest>,
}

impl Default for Info {
    /// What every OpenStack Swift has had for years, for those that do not tell.
    fn default() -> Self {
        Self {
            segments: SEGMENTS,
            nests: true,
            deletes: None,
            digest: Some(Digest::Sha256),
        }
    }
}

#[derive(Deserialize)]
struct Told {
    slo: Option<Slo>,
    bulk_delete: Option<BulkDelete>,
    tempurl: Option<TempUrl>,
}

#[derive(Deserialize)]
struct Slo {
    max_manifest_segments: Option<u32>,
    /// Ceph's gateway tells of none, and takes no manifest as a segment.
    max_manifest_size: Option<u64>,
}

#[derive(Deserialize)]
struct BulkDelete {
    max_deletes_per_request: Option<usize>,
}

#[derive(Deserialize)]
struct TempUrl {
    allowed_digests: Option<Vec<String>>,
}

/// `None` where it does not know static large objects: nothing larger than a part could be stored.
fn read(body: &[u8]) -> Result<Option<Info>, serde_json::Error> {
    let told: Told = serde_json::from_slice(body)?;
    let Some(slo) = told.slo else {
        return Ok(None);
    };
    let digest = told.tempurl.map(|tempurl| match tempurl.allowed_digests {
        None => Digest::Sha1,
        Some(allowed) => {
            let has = |name: &str| allowed.iter().any(|allowed| allowed == name);
            match () {
                () if has("sha256") => Digest::Sha256,
                () if has("sha512") => Digest::Sha512,
                () => Digest::Sha1,
            }
        }
    });
    Ok(Some(Info {
        segments: slo.max_manifest_segments.unwrap_or(SEGMENTS).max(1),
        nests: slo.max_manifest_size.is_some(),
        deletes: told.bulk_delete.map(|bulk| {
            let allowed = bulk.max_deletes_per_request.unwrap_or(DELETES);
            allowed.clamp(1, DELETES)
        }),
        digest,
    }))
}

/// `https://HOST/info` of `https://HOST/v1/AUTH_x`, and `/swift/info` of Ceph's `/swift/v1`.
fn address(storage: &str) -> Option<String> {
    let (scheme, rest) = storage.split_once("://")?;
    let (host, path) = rest.split_once('/')?;
    let before = path.split('/').take_while(|part| *part != "v1");
    let path: Vec<_> = [host].into_iter().chain(before).chain(["info"]).collect();
    Some(format!("{scheme}://{}", path.join("/")))
}

impl Info {
    /// What the store says, or what is usual where its operator does not let it say anything; none where it does not know
    /// static large objects.
    pub(crate) async fn ask(client: &Client, storage: &str) -> Result<Option<Self>> {
        let Some(url) = address(storage) else {
            return Ok(Some(Self::default()));
        };
        let question = Question::new(Method::GET, url);
        let mut patience = Patience::new(QUICK);
        let asked = loop {
            let asked = ask_whole(&client.wire, question.clone()).await;
            match asked {
                Ok(answer) => break Ok(answer),
                Err(error) => match again(&mut patience, error, false).await {
                    Ok(()) => {}
                    Err(error) => break Err(error),
                },
            }
        };
        let read = match asked {
            Ok(answer) => read(&answer.body).map_err(|error| error.to_string()),
            Err(error) if passes(&error) => return Err(fault("ask", &question.url, &error)),
            Err(error) => Err(error.to_string()),
        };
        Ok(read.unwrap_or_else(|error| {
            tracing::info!(
                error,
                "Swift does not say what it can do; taken is what is usual"
            );
            Some(Self::default())
        }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_told_is_read() {
        let openstack = br#"{"swift": {"version": "2.30.1"},
            "slo": {"max_manifest_segments": 500, "max_manifest_size": 8388608},
            "tempurl": {"allowed_digests": ["sha1", "sha256", "sha512"]},
            "bulk_delete": {"max_deletes_per_request": 10000}}"#;
        let expected = Info {
            segments: 500,
            nests: true,
            deletes: Some(1000),
            digest: Some(Digest::Sha256),
        };
        assert_eq!(read(openstack).unwrap(), Some(expected));
        let ceph = br#"{"bulk_delete": {}, "slo": {"max_manifest_segments": 1000}, "tempurl": {"methods": ["GET"]}}"#;
        let expected = Info {
            segments: 1000,
            nests: false,
            deletes: Some(1000),
            digest: Some(Digest::Sha1),
        };
        assert_eq!(read(ceph).unwrap(), Some(expected));
        assert_eq!(read(b"{}").unwrap(), None);
        assert!(read(b"<html>").is_err());
        assert_eq!(
            address("https://swift.lab:8080/v1/AUTH_a").unwrap(),
            "https://swift.lab:8080/info"
        );
        assert_eq!(
            address("http://ceph.lab/swift/v1").unwrap(),
            "http://ceph.lab/swift/info"
        );
    }
}
