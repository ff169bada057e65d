//! Open content as a stream of pieces.

use std::{io, ops::Range};

use bytes::Bytes;
use futures_util::{FutureExt, Stream, TryFutureExt, TryStreamExt, future::Either};

use crate::{Result, files, objects};

/// Who will look at the bytes of a stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ReadMode {
    /// The kernel alone, through `writev`.
    Mapped,
    /// Anybody.
    Copied,
}

/// Open content. Cloning is cheap: one answer of several ranges is a stream each.
#[derive(Clone)]
pub struct Reader {
    pub len: u64,
    kind: Kind,
}

#[derive(Clone)]
enum Kind {
    Files(files::Reader),
    Objects(objects::Reader),
}

impl From<files::Reader> for Reader {
    fn from(reader: files::Reader) -> Self {
        Self {
            len: reader.len,
            kind: Kind::Files(reader),
        }
    }
}

impl From<objects::Reader> for Reader {
    fn from(reader: objects::Reader) -> Self {
        Self {
            len: reader.len,
            kind: Kind::Objects(reader),
        }
    }
}

impl Reader {
    /// The bytes of `range` (within `len`) in order. Content that turns out short, or that the store does not give, ends the
    /// stream with an error.
    pub fn stream(
        self,
        range: Range<u64>,
        mode: ReadMode,
    ) -> impl Stream<Item = io::Result<Bytes>> + Send + 'static {
        match self.kind {
            Kind::Files(reader) => Either::Left(reader.stream(range, mode)),
            Kind::Objects(reader) => Either::Right(
                reader
                    .start(range)
                    .map_err(io::Error::other)
                    .into_stream()
                    .try_flatten(),
            ),
        }
    }

    /// As [`Reader::stream`], once it is known that the content is there and as long as it should be.
    pub async fn start(
        self,
        range: Range<u64>,
        mode: ReadMode,
    ) -> Result<impl Stream<Item = io::Result<Bytes>> + Send + 'static> {
        match self.kind {
            // It was opened.
            Kind::Files(reader) => Ok(Either::Left(reader.stream(range, mode))),
            Kind::Objects(reader) => reader.start(range).await.map(Either::Right),
        }
    }

    /// Where a client may get it from the store itself, for some minutes; none where it is to get it here.
    pub async fn signed(&self) -> Result<Option<String>> {
        match &self.kind {
            Kind::Files(_) => Ok(None),
            Kind::Objects(reader) => reader.signed().await,
        }
    }
}
