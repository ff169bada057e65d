//! Around each request: its connection is put beside it, and its life is counted until the answer's last byte was handed over.

use std::{
    convert::Infallible,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
};

use api::{connection::Connection, forwarded};
use hyper::{
    Request, Response,
    body::{Body, Bytes, Frame, Incoming, SizeHint},
    service::Service,
};
use pin_project_lite::pin_project;

use super::{
    activity::{Activity, InFlight},
    redirect,
};

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
    /// Every request is sent on to this port on https.
    pub(super) redirect: Option<u16>,
}

impl<S, B> Service<Request<Incoming>> for Requests<S>
where
    S: Service<Request<Incoming>, Response = Response<B>, Error = Infallible>,
{
    type Response = Response<Counted<B>>;
    type Error = Infallible;
    type Future = Answering<S::Future>;

    fn call(&self, mut request: Request<Incoming>) -> Self::Future {
        let in_flight = Some(self.activity.request(!request.body().is_end_stream()));
        if let Some(port) = self.redirect {
            let origin = forwarded::origin(&self.connection, request.uri(), request.headers());
            // Behind a proxy that ended TLS the client is on https already.
            if origin.scheme == forwarded::Scheme::Http {
                let head = redirect::to_https(&origin, request.method(), request.uri(), port);
                return Answering::Redirect {
                    head: Some(head),
                    in_flight,
                };
            }
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
        Redirect { head: Option<Response<()>>, in_flight: Option<InFlight> },
    }
}

impl<F, B> Future for Answering<F>
where
    F: Future<Output = Result<Response<B>, Infallible>>,
{
    type Output = Result<Response<Counted<B>>, Infallible>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        match self.project() {
            AnsweringProjection::Inner { answer, in_flight } => answer.poll(cx).map(|answer| {
                let in_flight = in_flight.take();
                answer.map(|answer| {
                    answer.map(|body| Counted {
                        body: Some(body),
                        _in_flight: in_flight,
                    })
                })
            }),
            AnsweringProjection::Redirect { head, in_flight } => {
                let head = head.take().expect("a future is not polled after its end");
                let in_flight = in_flight.take();
                Poll::Ready(Ok(head.map(|()| Counted {
                    body: None,
                    _in_flight: in_flight,
                })))
            }
        }
    }
}

/// A body that counts as a running request for as long as it lives. Without a body inside it is empty.
pub(super) struct Counted<B> {
    body: Option<B>,
    _in_flight: Option<InFlight>,
}

impl<B: Body + Unpin> Body for Counted<B> {
    type Data = B::Data;
    type Error = B::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<B::Data>, B::Error>>> {
        match &mut self.body {
            Some(body) => Pin::new(body).poll_frame(cx),
            None => Poll::Ready(None),
        }
    }

    fn is_end_stream(&self) -> bool {
        self.body.as_ref().is_none_or(Body::is_end_stream)
    }

    fn size_hint(&self) -> SizeHint {
        self.body
            .as_ref()
            .map_or(SizeHint::with_exact(0), Body::size_hint)
    }
}
