//! The socket as HTTP sees it: bytes that were read ahead come first, writes that stall fail, and closing waits for a peer that
//! is still sending.

use std::{
    future::Future,
    io,
    mem::MaybeUninit,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
    time::Duration,
};

use api::idle_body::Silence;
use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, ReadBuf},
    time::Sleep,
};

use super::{activity::Activity, config::Limits};

/// What is read and thrown away at most before a connection is closed under a peer that goes on sending.
const LINGER_BYTES: usize = 256 << 20;

pub(super) struct Stream<S> {
    socket: S,
    /// Read ahead, to tell protocols apart; `ahead[at..]` is still to be handed out.
    ahead: Vec<u8>,
    at: usize,
    activity: Arc<Activity>,
    /// While a write makes no progress.
    silence: Silence,
    closing: Closing,
    linger: Duration,
}

enum Closing {
    No,
    /// Our side is shut, the peer's bytes are being thrown away.
    Discarding {
        until: Pin<Box<Sleep>>,
        bytes: usize,
    },
    Done,
}

impl<S: AsyncRead + AsyncWrite + Unpin> Stream<S> {
    pub(super) fn new(socket: S, activity: Arc<Activity>, limits: &Limits) -> Self {
        Self {
            socket,
            ahead: Vec::new(),
            at: 0,
            activity,
            silence: Silence::new(limits.write_timeout),
            closing: Closing::No,
            linger: limits.linger,
        }
    }

    /// What was read ahead and not handed out yet.
    pub(super) fn ahead(&self) -> &[u8] {
        &self.ahead[self.at..]
    }

    /// Reads further ahead; false at the end of the stream.
    pub(super) async fn read_ahead(&mut self) -> io::Result<bool> {
        self.ahead.reserve(1024);
        Ok(self.socket.read_buf(&mut self.ahead).await? > 0)
    }

    /// Takes so many of the bytes read ahead away.
    pub(super) fn consume(&mut self, count: usize) {
        self.at += count;
        debug_assert!(self.at <= self.ahead.len());
        if self.at == self.ahead.len() {
            self.ahead = Vec::new();
            self.at = 0;
        }
    }

    /// Ends a connection that cannot be served, without losing what was written to say why.
    pub(super) async fn turn_away(mut self) {
        self.activity.leave_unread();
        // An error here is the same end.
        let _ = self.shutdown().await;
    }

    fn wrote(
        &mut self,
        result: Poll<io::Result<usize>>,
        cx: &mut Context<'_>,
    ) -> Poll<io::Result<usize>> {
        match result {
            Poll::Ready(result) => {
                self.silence.moved();
                self.activity.wrote();
                Poll::Ready(result)
            }
            Poll::Pending => {
                ready!(self.silence.poll(cx));
                Poll::Ready(Err(io::Error::new(
                    io::ErrorKind::TimedOut,
                    "the client takes nothing of the answer",
                )))
            }
        }
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> AsyncRead for Stream<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if !self.ahead().is_empty() {
            let count = self.ahead().len().min(buf.remaining());
            buf.put_slice(&self.ahead()[..count]);
            self.consume(count);
            self.activity.read();
            return Poll::Ready(Ok(()));
        }
        let before = buf.filled().len();
        ready!(Pin::new(&mut self.socket).poll_read(cx, buf))?;
        if buf.filled().len() > before {
            self.activity.read();
        }
        Poll::Ready(Ok(()))
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> AsyncWrite for Stream<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        let result = Pin::new(&mut self.socket).poll_write(cx, buf);
        self.wrote(result, cx)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let result = Pin::new(&mut self.socket).poll_write_vectored(cx, bufs);
        self.wrote(result, cx)
    }

    /// True lets hyper hand over the pieces of an answer as they are, instead of copying them into one buffer.
    fn is_write_vectored(&self) -> bool {
        self.socket.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.socket).poll_flush(cx)
    }

    /// Shuts our side and then, when the peer may still be sending a body that was refused, reads on for a while. Closed at
    /// once, the kernel would answer its next bytes with a reset, and the client would report that instead of our answer.
    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = &mut *self;
        loop {
            match &mut this.closing {
                Closing::No => {
                    ready!(Pin::new(&mut this.socket).poll_shutdown(cx))?;
                    this.closing = if this.activity.unread() {
                        Closing::Discarding {
                            until: Box::pin(tokio::time::sleep(this.linger)),
                            bytes: 0,
                        }
                    } else {
                        Closing::Done
                    };
                }
                Closing::Discarding { until, bytes } => {
                    if until.as_mut().poll(cx).is_pending() && *bytes < LINGER_BYTES {
                        let read = ready!(poll_discard(&mut this.socket, cx));
                        *bytes += read;
                        if read > 0 {
                            continue;
                        }
                    }
                    this.closing = Closing::Done;
                }
                Closing::Done => return Poll::Ready(Ok(())),
            }
        }
    }
}

/// Reads and forgets; 0 at the end or on an error.
fn poll_discard<S: AsyncRead + Unpin>(socket: &mut S, cx: &mut Context<'_>) -> Poll<usize> {
    let mut scratch = [MaybeUninit::uninit(); 16 * 1024];
    let mut buf = ReadBuf::uninit(&mut scratch);
    match ready!(Pin::new(socket).poll_read(cx, &mut buf)) {
        Ok(()) => Poll::Ready(buf.filled().len()),
        Err(_) => Poll::Ready(0),
    }
}
