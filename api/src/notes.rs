//! What is found out about a request on its way, and the line of the access log that it becomes. The line is written when the
//! value is dropped, so that a request whose client went away is told of too.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Instant,
};

use auth::Subject;
use http::{HeaderValue, Method, StatusCode, Version, header};
use oci::{Digest, ReferenceRef, route::Route};

use crate::{access::AccessRecord, measure::Kind, request::Ask};

/// What is found out about a request, for the access log and metrics.
pub(crate) struct Notes {
    pub kind: Kind,
    /// Of Harbor's API: which operation.
    pub operation: Option<&'static str>,
    /// Who asked, once that is known.
    pub subject: Subject,
    /// What it is about: named by it, or found behind its tag.
    pub digest: Option<Digest>,
    /// A session's cookie whose end was put off.
    pub renewed: Option<HeaderValue>,
    /// How long the repository's name is, which stands after `/v2/`.
    name: usize,
    /// How long the tag is, which stands at the path's end.
    tag: usize,
}

impl Notes {
    fn new() -> Self {
        Self {
            kind: Kind::Unknown,
            operation: None,
            subject: Subject::Anonymous,
            digest: None,
            renewed: None,
            name: 0,
            tag: 0,
        }
    }

    /// What the path of a request under `/v2` names.
    pub(crate) fn names(&mut self, route: &Route<'_>) {
        self.name = route.name().map_or(0, |name| name.as_str().len());
        match route {
            Route::Manifest {
                reference: ReferenceRef::Tag(tag),
                ..
            } => self.tag = tag.as_str().len(),
            Route::Manifest {
                reference: ReferenceRef::Digest(digest),
                ..
            }
            | Route::Blob { digest, .. }
            | Route::Referrers { digest, .. } => self.digest = Some(*digest),
            _ => {}
        }
    }

    fn repository<'p>(&self, path: &'p str) -> Option<&'p str> {
        path.strip_prefix("/v2/")?
            .get(..self.name)
            .filter(|name| !name.is_empty())
    }

    fn tag<'p>(&self, path: &'p str) -> Option<&'p str> {
        path.get(path.len().checked_sub(self.tag)?..)
            .filter(|tag| !tag.is_empty())
    }
}

/// A request on its way to its line in the access log, which is written when this is dropped.
pub(crate) struct Finish {
    started: Instant,
    /// What is logged when there is no answer: the client went away (nginx's number for it).
    pub(crate) status: StatusCode,
    read: Option<Arc<AtomicU64>>,
    sent: u64,
    aborted: bool,
    pub(crate) ask: Arc<Ask>,
    pub(crate) notes: Notes,
}

impl Finish {
    pub(crate) fn begin(ask: Arc<Ask>, read: Option<Arc<AtomicU64>>) -> Self {
        Self {
            started: Instant::now(),
            status: StatusCode::from_u16(499).expect("a status has three digits"),
            read,
            sent: 0,
            aborted: true,
            ask,
            notes: Notes::new(),
        }
    }

    /// The answer has ended, whole or cut.
    pub(crate) fn end(mut self: Box<Self>, sent: u64, cut: bool) {
        self.sent = sent;
        self.aborted = cut && self.ask.head.method != Method::HEAD;
    }
}

impl Drop for Finish {
    fn drop(&mut self) {
        let (ask, notes) = (&self.ask, &self.notes);
        let duration = self.started.elapsed();
        let read = self.read.as_ref();
        let received = read.map_or(0, |read| read.load(Ordering::Relaxed));
        ask.app
            .measures
            .count(notes.kind, self.status, duration, received, self.sent);
        let path = ask.head.uri.path();
        let repository = notes.repository(path);
        if let Some(repository) = repository.filter(|_| self.status.is_success()) {
            let traffic = notes.kind.traffic(received, self.sent);
            ask.app.registry.activity().add(repository, traffic);
        }
        let Some(access) = &ask.app.access else {
            return;
        };
        let digest = notes.digest.map(|digest| digest.to_string());
        access(&AccessRecord {
            time: ask.time,
            request_id: ask.request_id.as_str(),
            client: ask.client(),
            identity: notes.subject.name(),
            method: ask.head.method.as_str(),
            host: ask.header(header::HOST).or_else(|| ask.head.uri.host()),
            path,
            route: notes.operation.unwrap_or(notes.kind.as_str()),
            project: repository.and_then(|name| name.split('/').next()),
            repository,
            digest: digest.as_deref(),
            reference: notes.tag(path),
            status: self.status.as_u16(),
            bytes_in: received,
            bytes_out: self.sent,
            duration,
            protocol: if ask.head.version == Version::HTTP_2 {
                "HTTP/2"
            } else {
                "HTTP/1.1"
            },
            user_agent: ask.header(header::USER_AGENT),
            aborted: self.aborted,
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_log_finds_name_and_tag_in_the_path() {
        let digest = format!("sha256:{}", "0".repeat(64));
        for (path, repository, tag, has_digest) in [
            ("/v2/", None, None, false),
            ("/v2/_catalog", None, None, false),
            ("/v2/a/b/c/tags/list", Some("a/b/c"), None, false),
            ("/v2/a/b/manifests/v1.2", Some("a/b"), Some("v1.2"), false),
            (
                &format!("/v2/a/b/manifests/{digest}"),
                Some("a/b"),
                None,
                true,
            ),
            (&format!("/v2/a/b/blobs/{digest}"), Some("a/b"), None, true),
        ] {
            let mut notes = Notes::new();
            notes.names(&oci::route::parse("GET", path).expect("a route"));
            assert_eq!(
                (
                    notes.repository(path),
                    notes.tag(path),
                    notes.digest.is_some()
                ),
                (repository, tag, has_digest),
                "{path}"
            );
        }
    }
}
