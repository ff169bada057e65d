//! What handlers answer, in the shapes that Harbor's clients know.

use std::io;

use bytes::Bytes;
use futures_util::{
    StreamExt,
    stream::{self, BoxStream},
};
use http::{HeaderValue, Response, StatusCode, header};
use model::{Error as Cause, id::JobId};
use schemars::JsonSchema;
use serde::Serialize;

use super::{input::Json, openapi::Operation, page::Asked};
use crate::{
    admission::Permit,
    body::Body,
    error::{self, Dialect},
};

const JSON: &str = "application/json; charset=utf-8";

/// Something that a handler answers.
pub(crate) trait Answer: Send + 'static {
    fn response(self, asked: &Asked) -> Response<Body>;
    fn describe(operation: &mut Operation<'_>);
}

impl<T: Serialize + JsonSchema + Send + 'static> Answer for Json<T> {
    fn response(self, _: &Asked) -> Response<Body> {
        json(&self.0)
    }

    fn describe(operation: &mut Operation<'_>) {
        operation.answers::<T>(StatusCode::OK);
    }
}

/// Something that may not be there, which Harbor tells by a body of no bytes.
impl<T: Serialize + JsonSchema + Send + 'static> Answer for Option<Json<T>> {
    fn response(self, asked: &Asked) -> Response<Body> {
        self.map_or_else(|| Done.response(asked), |there| there.response(asked))
    }

    fn describe(operation: &mut Operation<'_>) {
        operation.answers::<Option<T>>(StatusCode::OK);
    }
}

/// A page of a list, and how many rows the whole list has.
pub(crate) struct Listed<T> {
    pub(crate) rows: Vec<T>,
    pub(crate) total: i64,
    /// What follows, where everything was asked for and is much.
    pub(crate) rest: Option<Rest<T>>,
}

/// Further rows, which are read while the answer is sent, and the room that this takes.
pub(crate) struct Rest<T> {
    pub(crate) rows: BoxStream<'static, Result<Vec<T>, Cause>>,
    pub(crate) room: Permit,
}

impl<T> Listed<T> {
    pub(crate) fn whole(rows: Vec<T>, total: i64) -> Self {
        Self {
            rows,
            total,
            rest: None,
        }
    }
}

impl<T: Serialize + JsonSchema + Send + 'static> Answer for Listed<T> {
    fn response(self, asked: &Asked) -> Response<Body> {
        let mut response = match self.rest {
            None => json(&self.rows),
            Some(rest) => streamed(self.rows, rest),
        };
        asked.add_pages(self.total, &mut response);
        response
    }

    fn describe(operation: &mut Operation<'_>) {
        operation.lists::<T>();
    }
}

/// A list that comes whole where no size of a page is asked for: then it has no neighbours to link to.
pub(crate) struct Whole<T>(pub(crate) Listed<T>);

impl<T: Serialize + JsonSchema + Send + 'static> Answer for Whole<T> {
    fn response(self, asked: &Asked) -> Response<Body> {
        let mut response = self.0.response(asked);
        if !asked.names_size() {
            response.headers_mut().remove(header::LINK);
        }
        response
    }

    fn describe(operation: &mut Operation<'_>) {
        operation.lists::<T>();
    }
}

/// One JSON array of many batches.
fn streamed<T: Serialize + Send + 'static>(first: Vec<T>, rest: Rest<T>) -> Response<Body> {
    let batches = stream::iter([Ok(first)]).chain(rest.rows).enumerate();
    let texts = batches.map(|(number, batch)| {
        let rows = batch.map_err(io::Error::other)?;
        let text = serde_json::to_vec(&rows)?;
        // Without the brackets, and after a comma where something stands before it.
        let inner = &text[1..text.len() - 1];
        let mut piece = Vec::with_capacity(inner.len() + 1);
        match number {
            0 => piece.push(b'['),
            _ if inner.is_empty() => {}
            _ => piece.push(b','),
        }
        piece.extend_from_slice(inner);
        Ok(Bytes::from(piece))
    });
    let end = stream::iter([Ok(Bytes::from_static(b"]"))]);
    let mut response = Response::new(Body::chunked(texts.chain(end), rest.room));
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(JSON));
    response
}

/// 201, with where the new thing is: its name below the request's path.
pub(crate) struct Created(pub(crate) String);

impl Answer for Created {
    fn response(self, asked: &Asked) -> Response<Body> {
        let mut response = empty(StatusCode::CREATED);
        let location = asked.location(&self.0);
        response.headers_mut().insert(header::LOCATION, location);
        response
    }

    fn describe(operation: &mut Operation<'_>) {
        operation.answers_new_without_body();
    }
}

/// 201 for a run that began beside the request's path.
pub(crate) struct Begun(pub(crate) JobId);

impl Answer for Begun {
    fn response(self, asked: &Asked) -> Response<Body> {
        let mut response = empty(StatusCode::CREATED);
        let location = asked.beside(&self.0.to_string());
        response.headers_mut().insert(header::LOCATION, location);
        response
    }

    fn describe(operation: &mut Operation<'_>) {
        operation.answers_new_without_body();
    }
}

/// 201 for something that has no address of its own.
pub(crate) struct Bare;

impl Answer for Bare {
    fn response(self, _: &Asked) -> Response<Body> {
        empty(StatusCode::CREATED)
    }

    fn describe(operation: &mut Operation<'_>) {
        operation.answers_nothing(StatusCode::CREATED);
    }
}

/// 201 with a body that tells of the new thing.
pub(crate) struct Made<T> {
    pub(crate) name: String,
    pub(crate) body: T,
}

impl<T: Serialize + JsonSchema + Send + 'static> Answer for Made<T> {
    fn response(self, asked: &Asked) -> Response<Body> {
        let mut response = json(&self.body);
        *response.status_mut() = StatusCode::CREATED;
        let location = asked.location(&self.name);
        response.headers_mut().insert(header::LOCATION, location);
        response
    }

    fn describe(operation: &mut Operation<'_>) {
        operation.answers_new::<T>();
    }
}

/// 200 without a word.
pub(crate) struct Done;

impl Answer for Done {
    fn response(self, _: &Asked) -> Response<Body> {
        empty(StatusCode::OK)
    }

    fn describe(operation: &mut Operation<'_>) {
        operation.answers_nothing(StatusCode::OK);
    }
}

/// 200 without a word, and a cookie to keep or to forget.
pub(crate) struct Kept(pub(crate) HeaderValue);

impl Answer for Kept {
    fn response(self, _: &Asked) -> Response<Body> {
        let mut response = empty(StatusCode::OK);
        response.headers_mut().insert(header::SET_COOKIE, self.0);
        response
    }

    fn describe(operation: &mut Operation<'_>) {
        operation.answers_nothing(StatusCode::OK);
    }
}

/// Bytes as they are.
pub(crate) struct Plain {
    pub(crate) media_type: &'static str,
    pub(crate) body: Body,
    /// Offered for download under this name.
    pub(crate) file_name: Option<&'static str>,
}

impl Plain {
    pub(crate) fn text(text: impl Into<Bytes>) -> Self {
        Self {
            media_type: "text/plain; charset=utf-8",
            body: Body::whole(text),
            file_name: None,
        }
    }
}

impl Answer for Plain {
    fn response(self, _: &Asked) -> Response<Body> {
        let mut response = Response::new(self.body);
        let headers = response.headers_mut();
        headers.insert(
            header::CONTENT_TYPE,
            HeaderValue::from_static(self.media_type),
        );
        headers.insert(
            header::X_CONTENT_TYPE_OPTIONS,
            HeaderValue::from_static("nosniff"),
        );
        if let Some(name) = self.file_name
            && let Ok(value) = HeaderValue::from_str(&format!("attachment; filename=\"{name}\""))
        {
            headers.insert(header::CONTENT_DISPOSITION, value);
        }
        response
    }

    fn describe(operation: &mut Operation<'_>) {
        operation.answers_bytes();
    }
}

fn json(body: &impl Serialize) -> Response<Body> {
    match serde_json::to_vec(body) {
        Ok(bytes) => {
            let mut response = Response::new(Body::whole(bytes));
            let headers = response.headers_mut();
            headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(JSON));
            response
        }
        Err(failed) => {
            let failed = model::error::internal("writing an answer")(failed);
            error::answer(&failed, Dialect::Harbor, "")
        }
    }
}

fn empty(status: StatusCode) -> Response<Body> {
    let mut response = Response::new(Body::empty());
    *response.status_mut() = status;
    response
}
