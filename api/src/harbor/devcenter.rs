//! The API's document as a page to browse and to try, where Harbor has its own. It comes whole from here (RapiDoc stands in
//! assets/rapidoc), and may load nothing from elsewhere.

use bytes::Bytes;
use http::{HeaderName, HeaderValue, Response, header};

use super::{answer::Answer, call::Call, error::Result, openapi::Operation, page::Asked};
use crate::body::Body;

/// RapiDoc writes styles into its elements; scripts and requests stay with us, and nobody may frame the page.
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self' 'unsafe-inline'; img-src 'self' data:; \
     connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

/// A file of the page.
pub(super) struct Asset {
    bytes: &'static [u8],
    headers: &'static [(HeaderName, &'static str)],
}

impl Answer for Asset {
    fn response(self, _: &Asked) -> Response<Body> {
        let mut response = Response::new(Body::whole(Bytes::from_static(self.bytes)));
        let headers = response.headers_mut();
        for (name, value) in self.headers {
            headers.insert(name.clone(), HeaderValue::from_static(value));
        }
        let nosniff = HeaderValue::from_static("nosniff");
        headers.insert(header::X_CONTENT_TYPE_OPTIONS, nosniff);
        response
    }

    fn describe(operation: &mut Operation<'_>) {
        operation.answers_bytes();
    }
}

pub(super) async fn page(_: Call) -> Result<Asset> {
    Ok(Asset {
        bytes: include_bytes!("../../assets/devcenter.html"),
        headers: &[
            (header::CONTENT_TYPE, "text/html; charset=utf-8"),
            (header::CONTENT_SECURITY_POLICY, POLICY),
            (header::REFERRER_POLICY, "no-referrer"),
            (header::CACHE_CONTROL, "no-cache"),
        ],
    })
}

/// Kept compressed, which every browser takes. Its name has its version, so that it may be kept.
pub(super) async fn script(_: Call) -> Result<Asset> {
    Ok(Asset {
        bytes: include_bytes!("../../assets/rapidoc/rapidoc-min.js.gz"),
        headers: &[
            (header::CONTENT_TYPE, "text/javascript; charset=utf-8"),
            (header::CONTENT_ENCODING, "gzip"),
            (header::CACHE_CONTROL, "public, max-age=31536000, immutable"),
        ],
    })
}
