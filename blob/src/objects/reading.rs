//! The bytes of a range as they come, however long that takes. Where a connection breaks they are asked for from there on: clients pull
//! for hours, and no vendor keeps a connection that long.

#[cfg(test)]
mod tests;

use std::{ops::Range, sync::Arc};

use bytes::Bytes;
use futures_util::{Stream, StreamExt, stream, stream::BoxStream};

use super::bucket::{Backend, soon};
use crate::{Error, Result};

/// How often in a row a read is taken up again that brought nothing.
const TRIES: u32 = 4;

/// A read that has begun.
pub(crate) struct Opened {
    /// Of the whole object.
    pub(crate) size: u64,
    /// By which an object is known that was replaced meanwhile.
    pub(crate) tag: Option<String>,
    pub(crate) body: BoxStream<'static, Result<Bytes>>,
}

/// The whole size, and the bytes of the range, or all: as many as were promised, or an error. `shown` is how errors name the key.
pub(super) async fn read(
    backend: Arc<Backend>,
    key: String,
    shown: String,
    range: Option<Range<u64>>,
) -> Result<(u64, impl Stream<Item = Result<Bytes>> + Send + 'static)> {
    let opened = soon("get", &shown, backend.open(&key, range.clone())).await?;
    let size = opened.size;
    let (at, end) = range.map_or((0, size), |range| (range.start, range.end.min(size)));
    let reading = Reading {
        backend,
        key,
        shown,
        at,
        end,
        size,
        tag: opened.tag,
        body: Some(opened.body),
        tries: 0,
    };
    let bytes = stream::try_unfold(reading, |mut reading| async move {
        let next = reading.next().await?;
        Ok(next.map(|bytes| (bytes, reading)))
    });
    Ok((size, bytes))
}

struct Reading {
    backend: Arc<Backend>,
    key: String,
    shown: String,
    at: u64,
    end: u64,
    size: u64,
    tag: Option<String>,
    body: Option<BoxStream<'static, Result<Bytes>>>,
    tries: u32,
}

impl Reading {
    async fn next(&mut self) -> Result<Option<Bytes>> {
        while self.at < self.end {
            let body = match self.body.take() {
                Some(body) => body,
                None => self.take_up().await?,
            };
            let body = self.body.insert(body);
            let error = match body.next().await {
                Some(Ok(bytes)) if bytes.is_empty() => continue,
                Some(Ok(mut bytes)) => {
                    bytes.truncate(usize::try_from(self.end - self.at).unwrap_or(usize::MAX));
                    self.at += bytes.len() as u64;
                    self.tries = 0;
                    return Ok(Some(bytes));
                }
                Some(Err(error)) => error,
                None => self.fault("it ends early"),
            };
            self.body = None;
            self.tries += 1;
            if self.tries > TRIES {
                return Err(error);
            }
        }
        Ok(None)
    }

    async fn take_up(&mut self) -> Result<BoxStream<'static, Result<Bytes>>> {
        let asked = self.backend.open(&self.key, Some(self.at..self.end));
        let opened = soon("get", &self.shown, asked).await?;
        // The rest of another object is none of this one's.
        if opened.size != self.size || opened.tag != self.tag {
            return Err(self.fault("it was replaced while it was read"));
        }
        Ok(opened.body)
    }

    fn fault(&self, why: &str) -> Error {
        Error::Remote {
            what: "get",
            key: self.shown.clone(),
            why: why.to_owned(),
            is_ours: false,
        }
    }
}
