//! What is counted of each request. The handles are made at the first request of a kind and kept: to look a metric up by its
//! labels costs more than to serve a manifest's HEAD.

use std::{sync::OnceLock, time::Duration};

use db::activity::Counts;
use http::StatusCode;
use metrics::{Counter, Histogram};

/// The kind of a request: a fixed and small set, the `route` of the access log and of metrics.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    Unknown,
    Root,
    Live,
    Ready,
    Metrics,
    Token,
    Ping,
    CatalogList,
    TagList,
    ReferrerList,
    ManifestGet,
    ManifestHead,
    ManifestPut,
    ManifestDelete,
    BlobGet,
    BlobHead,
    BlobDelete,
    UploadStart,
    UploadStatus,
    UploadAppend,
    UploadFinish,
    UploadCancel,
    Api,
}

const KINDS: usize = Kind::Api as usize + 1;

impl Kind {
    /// What a request that went well adds to the counts of its repository. Pulled manifests are counted where they are answered.
    pub(crate) fn traffic(self, received: u64, sent: u64) -> Counts {
        let (received, sent) = (received as i64, sent as i64);
        match self {
            Self::ManifestPut => Counts {
                pushes: 1,
                bytes_in: received,
                ..Counts::default()
            },
            Self::UploadStart | Self::UploadAppend | Self::UploadFinish => Counts {
                bytes_in: received,
                ..Counts::default()
            },
            Self::BlobGet => Counts {
                bytes_out: sent,
                ..Counts::default()
            },
            _ => Counts::default(),
        }
    }

    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Unknown => "unknown",
            Self::Root => "root",
            Self::Live => "health.live",
            Self::Ready => "health.ready",
            Self::Metrics => "metrics",
            Self::Token => "token",
            Self::Ping => "ping",
            Self::CatalogList => "catalog.list",
            Self::TagList => "tag.list",
            Self::ReferrerList => "referrer.list",
            Self::ManifestGet => "manifest.get",
            Self::ManifestHead => "manifest.head",
            Self::ManifestPut => "manifest.put",
            Self::ManifestDelete => "manifest.delete",
            Self::BlobGet => "blob.get",
            Self::BlobHead => "blob.head",
            Self::BlobDelete => "blob.delete",
            Self::UploadStart => "upload.start",
            Self::UploadStatus => "upload.status",
            Self::UploadAppend => "upload.append",
            Self::UploadFinish => "upload.finish",
            Self::UploadCancel => "upload.cancel",
            Self::Api => "api",
        }
    }
}

/// The handles of all requests' metrics.
#[derive(Default)]
pub struct Measures {
    kinds: [OfKind; KINDS],
    received: OnceLock<Counter>,
    sent: OnceLock<Counter>,
}

#[derive(Default)]
struct OfKind {
    duration: OnceLock<Histogram>,
    /// 1xx to 5xx.
    answers: [OnceLock<Counter>; CLASSES.len()],
}

const CLASSES: [&str; 5] = ["1xx", "2xx", "3xx", "4xx", "5xx"];

impl Measures {
    /// Counts a request that has ended.
    pub(crate) fn count(
        &self,
        kind: Kind,
        status: StatusCode,
        duration: Duration,
        received: u64,
        sent: u64,
    ) {
        let (of_kind, class) = (&self.kinds[kind as usize], class(status));
        of_kind
            .duration
            .get_or_init(
                || metrics::histogram!("seawall_request_duration_seconds", "route" => kind.as_str()),
            )
            .record(duration.as_secs_f64());
        of_kind.answers[class]
            .get_or_init(|| {
                metrics::counter!("seawall_requests_total", "route" => kind.as_str(), "status" => CLASSES[class])
            })
            .increment(1);
        self.received
            .get_or_init(|| metrics::counter!("seawall_request_bytes_total"))
            .increment(received);
        self.sent
            .get_or_init(|| metrics::counter!("seawall_response_bytes_total"))
            .increment(sent);
    }
}

fn class(status: StatusCode) -> usize {
    usize::from(status.as_u16() / 100).clamp(1, CLASSES.len()) - 1
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn statuses_fall_into_their_classes() {
        for (status, expected) in [
            (100, "1xx"),
            (204, "2xx"),
            (499, "4xx"),
            (507, "5xx"),
            (999, "5xx"),
        ] {
            let status = StatusCode::from_u16(status).expect("a status");
            assert_eq!(CLASSES[class(status)], expected, "{status}");
        }
    }
}
