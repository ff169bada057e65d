//! Around each request: its connection is put beside it, and its life is counted until the answer's last byte was handed over.

use std::{
    convert::Infallible,
    mem,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
};

use api::connection::Connection;
use hyper::{
    Request, Response,
    body::{Body, Bytes, Frame, Incoming, SizeHint},
    service::Service,
};
use pin_project_lite::pin_project;

use super::{
    activity::{Activity, InFlight},
    redirect::Redirects,
};

/// What is handed over at once on HTTP/2. The next is asked for when the client has made room for it: a client so slow that this
/// takes `write_timeout` counts as one that takes nothing.
const SLICE: usize = 32 << 10;

/// What a listener serves. Made for the router of `api`, whatever its body type is.
pub trait Handler<B>:
    Service<Request<Incoming>, Response = Response<B>, Error = Infallible, Future: Send + 'static>
    + Clone
    + Send
    + Sync
    + 'static
{
}

impl<B, S> Handler<B> for S where
    S: Service<
            Request<Incoming>,
            Response = Response<B>,
            Error = Infallible,
            Future: Send + 'static,
        > + Clone
        + Send
        + Sync
        + 'static
{
}

/// An answer's body that hyper can send from any thread.
pub trait Answer:
    Body<Data = Bytes, Error: Into<Box<dyn std::error::Error + Send + Sync>>> + Send + Unpin + 'static
{
}

impl<B> Answer for B where
    B: Body<Data = Bytes, Error: Into<Box<dyn std::error::Error + Send + Sync>>>
        + Send
        + Unpin
        + 'static
{
}

/// The service of one connection.
pub(super) struct Requests<S> {
    pub(super) inner: S,
    pub(super) connection: Connection,
    pub(super) activity: Arc<Activity>,
    /// Every request is sent on to https.
    pub(super) redirects: Option<Redirects>,
}

impl<S, B> Service<Request<Incoming>> for Requests<S>
where
    S: Service<Request<Incoming>, Response = Response<B>, Error = Infallible>,
    B: Answer,
{
    type Response = Response<Counted<B>>;
    type Error = Infallible;
    type Future = Answering<S::Future>;

    fn call(&self, mut request: Request<Incoming>) -> Self::Future {
        let in_flight = Some(self.activity.request(!request.body().is_end_stream()));
        let sent_on = self.redirects.as_ref();
        if let Some(answer) = sent_on.and_then(|sent_on| sent_on.answer(&self.connection, &request))
        {
            return Answering::Redirect {
                answer: Some(answer),
                in_flight,
            };
        }
        request.extensions_mut().insert(self.connection.clone());
        Answering::Inner {
            answer: self.inner.call(request),
            in_flight,
        }
    }
}

pin_project! {
    /// The future of a request.
    #[project = AnsweringProjection]
    pub(super) enum Answering<F> {
        Inner { #[pin] answer: F, in_flight: Option<InFlight> },
        Redirect { answer: Option<Response<Bytes>>, in_flight: Option<InFlight> },
    }
}

impl<F, B> Future for Answering<F>
where
    F: Future<Output = Result<Response<B>, Infallible>>,
    B: Body,
{
    type Output = Result<Response<Counted<B>>, Infallible>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        match self.project() {
            AnsweringProjection::Inner { answer, in_flight } => answer.poll(cx).map(|answer| {
                let in_flight = in_flight.take();
                answer.map(|answer| {
                    if let Some(in_flight) = &in_flight {
                        in_flight.handed(!answer.body().is_end_stream());
                    }
                    answer.map(|body| Counted {
                        content: Content::Inner(body),
                        rest: Bytes::new(),
                        in_flight,
                    })
                })
            }),
            AnsweringProjection::Redirect { answer, in_flight } => {
                let answer = answer.take().expect("a future is not polled after its end");
                let in_flight = in_flight.take();
                Poll::Ready(Ok(answer.map(|text| Counted {
                    content: Content::Text(text),
                    rest: Bytes::new(),
                    in_flight,
                })))
            }
        }
    }
}

/// A body that counts as a running request for as long as it lives.
pub(super) struct Counted<B> {
    content: Content<B>,
    /// Of the last frame, what was not handed over yet.
    rest: Bytes,
    in_flight: Option<InFlight>,
}

enum Content<B> {
    Inner(B),
    /// Of an answer that was made here.
    Text(Bytes),
}

impl<B: Body<Data = Bytes> + Unpin> Body for Counted<B> {
    type Data = Bytes;
    type Error = B::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, B::Error>>> {
        let this = &mut *self;
        match &mut this.content {
            Content::Inner(body) => {
                let Some(in_flight) = this.in_flight.as_ref().filter(|one| one.is_stream()) else {
                    return Pin::new(body).poll_frame(cx);
                };
                let polled = if this.rest.is_empty() {
                    Pin::new(&mut *body).poll_frame(cx)
                } else {
                    Poll::Ready(Some(Ok(Frame::data(mem::take(&mut this.rest)))))
                };
                let polled = polled.map_ok(|frame| first_slice(frame, &mut this.rest));
                let more = !this.rest.is_empty() || !body.is_end_stream();
                in_flight.handed(polled.is_ready() && more);
                polled
            }
            Content::Text(text) if text.is_empty() => Poll::Ready(None),
            Content::Text(text) => Poll::Ready(Some(Ok(Frame::data(mem::take(text))))),
        }
    }

    fn is_end_stream(&self) -> bool {
        match &self.content {
            Content::Inner(body) => self.rest.is_empty() && body.is_end_stream(),
            Content::Text(text) => text.is_empty(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match &self.content {
            Content::Inner(body) => {
                let (inner, rest) = (body.size_hint(), self.rest.len() as u64);
                let mut hint = SizeHint::new();
                hint.set_lower(inner.lower() + rest);
                if let Some(upper) = inner.upper() {
                    hint.set_upper(upper + rest);
                }
                hint
            }
            Content::Text(text) => SizeHint::with_exact(text.len() as u64),
        }
    }
}

/// Takes so much of a frame that it is seen whether the client takes it.
fn first_slice(frame: Frame<Bytes>, rest: &mut Bytes) -> Frame<Bytes> {
    match frame.into_data() {
        Ok(mut bytes) => {
            *rest = bytes.split_off(bytes.len().min(SLICE));
            Frame::data(bytes)
        }
        Err(other) => other,
    }
}
