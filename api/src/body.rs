//! Bodies: what a request brings, as bytes with limits, and what an answer sends, with its line in the access log.

use std::{
    io,
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    task::{Context, Poll},
    time::Duration,
};

use bytes::{Bytes, BytesMut};
use futures_util::{Stream, StreamExt};
use http_body::{Body as HttpBody, Frame, SizeHint};
use hyper::body::Incoming;
use model::{Error, Result, What};

use crate::{
    admission::Permit,
    idle_body::{IdleBody, IdleError},
    notes::Finish,
};

/// What a request brings. Nothing of it is asked for before the first read, so a client that waits for `100 Continue`
/// hears a refusal before it sends.
pub struct RequestBody {
    body: IdleBody<Incoming>,
    /// None for a request that brings nothing.
    read: Option<Arc<AtomicU64>>,
    /// What was read is kept when the rest does not come.
    resumable: bool,
}

impl RequestBody {
    pub(crate) fn new(body: Incoming, idle: Duration) -> Self {
        Self {
            read: (!body.is_end_stream()).then(Arc::default),
            body: IdleBody::new(body, idle),
            resumable: false,
        }
    }

    /// Counts the bytes that were read so far.
    pub(crate) fn counter(&self) -> Option<Arc<AtomicU64>> {
        self.read.clone()
    }

    /// The same body as a piece of an upload: a client that falls silent is told that it may go on.
    pub(crate) fn resumable(mut self) -> Self {
        self.resumable = true;
        self
    }

    /// The length that the request says, when it says one.
    pub(crate) fn length(&self) -> Option<u64> {
        self.body.size_hint().exact()
    }

    /// All of it, when it is not longer than `most`.
    pub(crate) async fn all(mut self, most: usize, what: &str) -> Result<Bytes> {
        self.rest(most, what).await
    }

    /// All that is left of it, when that is not longer than `most`.
    pub(crate) async fn rest(&mut self, most: usize, what: &str) -> Result<Bytes> {
        let too_large = || Error::TooLarge(format!("{what} may have at most {most} bytes"));
        let told = self.length().unwrap_or(0);
        if told > most as u64 {
            return Err(too_large());
        }
        let mut all = BytesMut::with_capacity(told as usize);
        while let Some(bytes) = self.next().await {
            let bytes = bytes?;
            if all.len() + bytes.len() > most {
                return Err(too_large());
            }
            all.extend_from_slice(&bytes);
        }
        Ok(all.freeze())
    }

    fn broken(&self, error: &IdleError<hyper::Error>) -> Error {
        let why = match error {
            IdleError::Silent(_) => error.to_string(),
            IdleError::Body(error) => format!("the request's body broke off: {error}"),
        };
        let then = if self.resumable {
            ": what came before is kept, ask for the upload's status and go on"
        } else {
            ""
        };
        Error::invalid(What::Request, format!("{why}{then}"))
    }
}

impl Stream for RequestBody {
    type Item = Result<Bytes>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Bytes>>> {
        loop {
            return Poll::Ready(
                match std::task::ready!(Pin::new(&mut self.body).poll_frame(cx)) {
                    None => None,
                    Some(Ok(frame)) => match frame.into_data() {
                        Ok(bytes) => {
                            if let Some(read) = &self.read {
                                read.fetch_add(bytes.len() as u64, Ordering::Relaxed);
                            }
                            Some(Ok(bytes))
                        }
                        Err(_) => continue, // trailers
                    },
                    Some(Err(error)) => Some(Err(self.broken(&error))),
                },
            );
        }
    }
}

type Streamed = Pin<Box<dyn Stream<Item = io::Result<Bytes>> + Send>>;

enum Content {
    Empty,
    Whole(Bytes),
    /// With what is left of it, where that is known.
    Streamed(Streamed, Option<u64>),
}

/// What an answer sends.
pub struct Body {
    content: Content,
    /// Room that the answer takes while it is sent.
    permit: Option<Permit>,
    finish: Option<Box<Finish>>,
    sent: u64,
}

impl Body {
    pub fn empty() -> Self {
        Self::of(Content::Empty)
    }

    pub fn whole(bytes: impl Into<Bytes>) -> Self {
        Self::of(Content::Whole(bytes.into()))
    }

    /// The same, of many bytes: as long as they are sent they take room.
    pub fn held(bytes: impl Into<Bytes>, permit: Permit) -> Self {
        Self::whole(bytes).with(permit)
    }

    /// Exactly `length` bytes; an error of the stream cuts the connection.
    pub fn streamed(
        stream: impl Stream<Item = io::Result<Bytes>> + Send + 'static,
        length: u64,
        permit: Permit,
    ) -> Self {
        Self::of(Content::Streamed(stream.boxed(), Some(length))).with(permit)
    }

    /// As many bytes as come; an error of the stream cuts the connection.
    pub fn chunked(
        stream: impl Stream<Item = io::Result<Bytes>> + Send + 'static,
        permit: Permit,
    ) -> Self {
        Self::of(Content::Streamed(stream.boxed(), None)).with(permit)
    }

    fn with(mut self, permit: Permit) -> Self {
        self.permit = Some(permit);
        self
    }

    fn of(content: Content) -> Self {
        Self {
            content,
            permit: None,
            finish: None,
            sent: 0,
        }
    }

    /// The request is finished when this body is: then its line goes to the access log.
    pub(crate) fn attach(&mut self, finish: Box<Finish>) {
        self.finish = Some(finish);
    }

    /// Nobody is there any more to hear this answer.
    pub(crate) fn unheard(mut self) {
        if let Some(finish) = self.finish.take() {
            finish.end(0, true);
        }
    }

    fn is_over(&self) -> bool {
        match &self.content {
            Content::Empty => true,
            Content::Whole(bytes) => bytes.is_empty(),
            Content::Streamed(_, left) => *left == Some(0),
        }
    }
}

impl HttpBody for Body {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<io::Result<Frame<Bytes>>>> {
        let next = match &mut self.content {
            Content::Empty => None,
            Content::Whole(bytes) => Some(Ok(std::mem::take(bytes)))
                .filter(|bytes| bytes.as_ref().is_ok_and(|bytes| !bytes.is_empty())),
            Content::Streamed(stream, left) => {
                let next = std::task::ready!(stream.poll_next_unpin(cx));
                if let (Some(Ok(bytes)), Some(left)) = (&next, left) {
                    *left = left.saturating_sub(bytes.len() as u64);
                } else if next.is_none() {
                    self.content = Content::Empty;
                }
                next
            }
        };
        if let Some(Ok(bytes)) = &next {
            self.sent += bytes.len() as u64;
        }
        if let Some(Err(error)) = &next {
            tracing::warn!(%error, "an answer was cut: its content could not be read");
        }
        Poll::Ready(next.map(|bytes| bytes.map(Frame::data)))
    }

    fn is_end_stream(&self) -> bool {
        self.is_over()
    }

    fn size_hint(&self) -> SizeHint {
        match &self.content {
            Content::Empty => SizeHint::with_exact(0),
            Content::Whole(bytes) => SizeHint::with_exact(bytes.len() as u64),
            Content::Streamed(_, Some(left)) => SizeHint::with_exact(*left),
            Content::Streamed(_, None) => SizeHint::new(),
        }
    }
}

impl Drop for Body {
    fn drop(&mut self) {
        if let Some(finish) = self.finish.take() {
            finish.end(self.sent, !self.is_over());
        }
    }
}
