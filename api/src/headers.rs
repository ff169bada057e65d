//! Names of headers that `http` does not know, made once.

use http::{HeaderName, HeaderValue, Response};

pub(crate) const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");
/// Which node answered.
pub(crate) const NODE: HeaderName = HeaderName::from_static("x-seawall-node");
pub(crate) const API_VERSION: HeaderName =
    HeaderName::from_static("docker-distribution-api-version");
pub(crate) const CONTENT_DIGEST: HeaderName = HeaderName::from_static("docker-content-digest");
pub(crate) const UPLOAD_UUID: HeaderName = HeaderName::from_static("docker-upload-uuid");
pub(crate) const SUBJECT: HeaderName = HeaderName::from_static("oci-subject");
pub(crate) const TAG: HeaderName = HeaderName::from_static("oci-tag");
pub(crate) const FILTERS_APPLIED: HeaderName = HeaderName::from_static("oci-filters-applied");
/// A project is named in the path, also when the name is a number.
pub(crate) const IS_RESOURCE_NAME: HeaderName = HeaderName::from_static("x-is-resource-name");
/// What proxies add to a request that they pass on.
pub(crate) const OF_PROXIES: [HeaderName; 6] = [
    http::header::FORWARDED,
    http::header::VIA,
    HeaderName::from_static("x-forwarded-for"),
    HeaderName::from_static("x-forwarded-host"),
    HeaderName::from_static("x-forwarded-proto"),
    HeaderName::from_static("x-real-ip"),
];

/// By this header clients of the distribution API know that they speak to a registry.
pub(crate) fn add_api_version<B>(response: &mut Response<B>) {
    response
        .headers_mut()
        .insert(API_VERSION, HeaderValue::from_static("registry/2.0"));
}
/// The request is nobody's doing, and puts off no session's end.
pub(crate) const NO_SESSION_RENEWAL: HeaderName =
    HeaderName::from_static("x-harbor-no-session-renewal");
