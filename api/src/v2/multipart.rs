//! Several ranges in one answer: `multipart/byteranges` (RFC 9110, section 14.6).

use std::io;

use blob::{ReadMode, Reader};
use bytes::Bytes;
use futures_util::{Stream, StreamExt, stream};
use oci::range::ByteRange;

pub(super) struct Answer {
    boundary: String,
    /// Each part with the text before it.
    parts: Vec<(String, ByteRange)>,
    end: String,
}

impl Answer {
    pub(super) fn new(parts: &[ByteRange], size: u64) -> Self {
        let boundary = uuid::Uuid::new_v4().simple().to_string();
        let head = |part: &ByteRange| {
            format!(
                "\r\n--{boundary}\r\nContent-Type: application/octet-stream\r\nContent-Range: {}\r\n\r\n",
                part.content_range(size)
            )
        };
        let parts = parts.iter().map(|part| (head(part), *part)).collect();
        Self {
            end: format!("\r\n--{boundary}--\r\n"),
            boundary,
            parts,
        }
    }

    pub(super) fn content_type(&self) -> String {
        format!("multipart/byteranges; boundary={}", self.boundary)
    }

    pub(super) fn length(&self) -> u64 {
        self.parts
            .iter()
            .map(|(head, part)| head.len() as u64 + part.len())
            .sum::<u64>()
            + self.end.len() as u64
    }

    pub(super) fn stream(
        self,
        reader: Reader,
        mode: ReadMode,
    ) -> impl Stream<Item = io::Result<Bytes>> + Send + 'static {
        let parts = stream::iter(self.parts).flat_map(move |(head, part)| {
            let bytes = reader.clone().stream(part.start..part.end + 1, mode);
            stream::once(async move { Ok(Bytes::from(head)) }).chain(bytes)
        });
        parts.chain(stream::once(async move { Ok(Bytes::from(self.end)) }))
    }
}
