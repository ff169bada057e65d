//! Errors as Harbor's API tells them: the house's own, and the two that only a request can make.

use http::{Response, StatusCode};

use crate::{
    body::Body,
    error::{self, Dialect},
    request::Ask,
};

pub(crate) type Result<T, E = Error> = std::result::Result<T, E>;

#[derive(Debug)]
pub(crate) enum Error {
    House(model::Error),
    /// What Harbor's generated server refuses before its handler runs (422).
    Unprocessable(String),
    /// A refusal (401) in Harbor's own words.
    Unauthorized(&'static str),
    /// A refusal (403) that Harbor tells apart from `FORBIDDEN`.
    Denied(String),
    /// A body that is no JSON (415).
    MediaType(String),
    /// A status without a word.
    Bare(StatusCode),
}

impl<E: Into<model::Error>> From<E> for Error {
    fn from(error: E) -> Self {
        Self::House(error.into())
    }
}

impl Error {
    pub(super) fn answer(&self, ask: &Ask) -> Response<Body> {
        match self {
            Self::House(failed) => error::answer(failed, Dialect::Harbor, ask.request_id.as_str()),
            Self::Unprocessable(why) => error::plain(
                StatusCode::UNPROCESSABLE_ENTITY,
                "UNPROCESSABLE_ENTITY",
                why,
            ),
            Self::Unauthorized(why) => error::plain(StatusCode::UNAUTHORIZED, "UNAUTHORIZED", why),
            Self::Denied(why) => error::plain(StatusCode::FORBIDDEN, "DENIED", why),
            Self::MediaType(why) => error::plain(
                StatusCode::UNSUPPORTED_MEDIA_TYPE,
                "UNSUPPORTED_MEDIA_TYPE",
                why,
            ),
            Self::Bare(status) => {
                let mut response = Response::new(Body::empty());
                *response.status_mut() = *status;
                response
            }
        }
    }
}
