//! Archives of strangers, read once from front to back: what comes out has a bound, and nothing is written anywhere.

use std::io::{self, Read};

use bytes::Bytes;
use futures_util::{Stream, StreamExt};
use model::{Error, Result, What};
use tar::{Archive, EntryType};
use tokio_util::io::{StreamReader, SyncIoBridge};

/// Entries of an archive that are looked at.
const MOST_ENTRIES: usize = 10_000;
/// What headers may take beside the content of a small archive.
pub(super) const HEADERS: u64 = 1 << 20;

/// Whether the walk goes on.
pub(super) enum Next {
    More,
    Enough,
}

/// A plain file of an archive.
pub(super) struct File<'a> {
    size: u64,
    content: &'a mut dyn Read,
}

impl File<'_> {
    pub(super) fn read(self, most: u64) -> io::Result<Vec<u8>> {
        if self.size > most {
            return Err(io::Error::other(Stopped::TooLarge("file")));
        }
        let mut bytes = Vec::with_capacity(self.size as usize);
        self.content.read_to_end(&mut bytes)?;
        Ok(bytes)
    }
}

/// Calls `visit` with each plain file and its path, until it has enough. At most `most` bytes are taken from `unpacked`.
///
/// Headers are taken raw: long names (GNU's and PAX's) are entries of any size that a reader would hold in memory, and no file
/// that we look for has one.
pub(super) fn walk(
    unpacked: impl Read,
    most: u64,
    mut visit: impl FnMut(&[u8], File<'_>) -> io::Result<Next>,
) -> Result<()> {
    let mut archive = Archive::new(Bounded {
        inner: unpacked,
        left: most,
    });
    let walked = archive.entries().and_then(|entries| {
        for entry in entries.raw(true).take(MOST_ENTRIES) {
            let mut entry = entry?;
            if entry.header().entry_type() != EntryType::Regular {
                continue;
            }
            let path = entry.path_bytes().into_owned();
            let file = File {
                size: entry.size(),
                content: &mut entry,
            };
            if let Next::Enough = visit(&path, file)? {
                break;
            }
        }
        Ok(())
    });
    walked.map_err(|error| match error.downcast::<Stopped>() {
        Ok(Stopped::Store(failed)) => Error::Unavailable(anyhow::Error::new(failed)),
        Ok(too_large @ Stopped::TooLarge(_)) => Error::TooLarge(too_large.to_string()),
        Err(error) => Error::invalid(
            What::Manifest,
            format!("the archive cannot be read: {error}"),
        ),
    })
}

/// Why a walk ended that is no fault of the archive's form.
#[derive(Debug, thiserror::Error)]
enum Stopped {
    #[error("the store: {0}")]
    Store(io::Error),
    #[error("the {0} is larger than what is looked into: pull the artifact to read it")]
    TooLarge(&'static str),
}

/// Ends with an error where a limit would end in silence.
struct Bounded<R> {
    inner: R,
    left: u64,
}

impl<R: Read> Read for Bounded<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if self.left == 0 {
            return Err(io::Error::other(Stopped::TooLarge("archive")));
        }
        let most = buffer
            .len()
            .min(usize::try_from(self.left).unwrap_or(usize::MAX));
        let read = self.inner.read(&mut buffer[..most])?;
        self.left -= read as u64;
        Ok(read)
    }
}

/// Content of the store for a blocking reader.
pub(super) fn sync_reader(content: blob::Reader) -> impl Read + Send + 'static {
    let length = content.len;
    let stream = content.stream(0..length, blob::ReadMode::Copied);
    SyncIoBridge::new(StreamReader::new(Box::pin(marked(stream))))
}

fn marked(
    stream: impl Stream<Item = io::Result<Bytes>> + Send,
) -> impl Stream<Item = io::Result<Bytes>> + Send {
    stream.map(|piece| piece.map_err(from_store))
}

pub(super) fn from_store(error: io::Error) -> io::Error {
    io::Error::other(Stopped::Store(error))
}
