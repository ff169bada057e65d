//! A request's body that gives up when nothing comes for a while. The limit is on silence, not on the whole: a slow upload that
//! moves is fine.

use std::{
    fmt,
    future::Future,
    pin::Pin,
    task::{Context, Poll, ready},
    time::Duration,
};

use http_body::{Body, Frame, SizeHint};
use tokio::time::{Instant, Sleep};

/// Tells when nothing has moved for so long. Its timer is made at the first wait and moved on only when it fires, so that waits
/// that end cost nothing.
pub struct Silence {
    limit: Duration,
    /// When the present wait began.
    since: Option<Instant>,
    timer: Option<Pin<Box<Sleep>>>,
}

impl Silence {
    pub fn new(limit: Duration) -> Self {
        Self {
            limit,
            since: None,
            timer: None,
        }
    }

    /// Something came or went: the wait is over.
    pub fn moved(&mut self) {
        self.since = None;
    }

    /// Asked while nothing moves: ready once the present wait has lasted too long.
    pub fn poll(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let deadline = *self.since.get_or_insert_with(Instant::now) + self.limit;
        let timer = self
            .timer
            .get_or_insert_with(|| Box::pin(tokio::time::sleep_until(deadline)));
        loop {
            ready!(timer.as_mut().poll(cx));
            if Instant::now() >= deadline {
                return Poll::Ready(());
            }
            timer.as_mut().reset(deadline);
        }
    }
}

/// A body whose reads end with [`IdleError::Silent`] when nothing has come for too long.
pub struct IdleBody<B> {
    body: B,
    silence: Silence,
}

/// Why a read of an [`IdleBody`] failed.
#[derive(Debug)]
pub enum IdleError<E> {
    Body(E),
    Silent(Duration),
}

impl<B> IdleBody<B> {
    pub fn new(body: B, idle: Duration) -> Self {
        Self {
            body,
            silence: Silence::new(idle),
        }
    }
}

impl<B: Body + Unpin> Body for IdleBody<B> {
    type Data = B::Data;
    type Error = IdleError<B::Error>;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<B::Data>, Self::Error>>> {
        match Pin::new(&mut self.body).poll_frame(cx) {
            Poll::Ready(frame) => {
                self.silence.moved();
                Poll::Ready(frame.map(|frame| frame.map_err(IdleError::Body)))
            }
            Poll::Pending => {
                ready!(self.silence.poll(cx));
                Poll::Ready(Some(Err(IdleError::Silent(self.silence.limit))))
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

impl<E: fmt::Display> fmt::Display for IdleError<E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Body(error) => error.fmt(f),
            Self::Silent(idle) => write!(f, "nothing came for {} seconds", idle.as_secs()),
        }
    }
}

impl<E: std::error::Error + 'static> std::error::Error for IdleError<E> {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Body(error) => error.source(),
            Self::Silent(_) => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use futures_util::{StreamExt, stream};
    use http_body_util::{BodyExt, StreamBody};

    use super::*;

    const IDLE: Duration = Duration::from_mins(1);

    type Chunk = Result<Frame<Bytes>, std::io::Error>;

    /// A body that sends a byte after each of the pauses, then ends or, with `hangs`, stays silent.
    fn paused(
        pauses: Vec<u64>,
        hangs: bool,
    ) -> impl Body<Data = Bytes, Error = std::io::Error> + Unpin {
        let chunks = stream::iter(pauses).then(|seconds| async move {
            tokio::time::sleep(Duration::from_secs(seconds)).await;
            Chunk::Ok(Frame::data(Bytes::from_static(b"x")))
        });
        let end = if hangs {
            stream::pending().left_stream()
        } else {
            stream::empty().right_stream()
        };
        StreamBody::new(Box::pin(chunks.chain(end)))
    }

    #[tokio::test(start_paused = true)]
    async fn a_slow_body_that_moves_is_read_to_its_end() {
        let body = IdleBody::new(paused(vec![59, 59, 1, 59], false), IDLE);
        let bytes = body.collect().await.expect("it moves").to_bytes();
        assert_eq!(bytes.len(), 4);
    }

    #[tokio::test(start_paused = true)]
    async fn a_silent_body_fails_after_the_idle_time_and_not_before() {
        let start = Instant::now();
        let body = IdleBody::new(paused(vec![30, 30], true), IDLE);
        let error = body.collect().await.expect_err("it hangs");
        assert!(matches!(error, IdleError::Silent(_)), "{error}");
        assert_eq!(start.elapsed().as_secs(), 30 + 30 + 60);
    }
}
