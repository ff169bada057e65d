//! Byte ranges: the `Range` header of a pull (RFC 9110, section 14) and the `Content-Range` of an upload's chunk.
//!
//! A malformed `Range` is ignored, as the RFC has it, with one exception: a range that ends before it begins is
//! answered with 416, since the conformance suite counts anything else as ranges not being supported.

use std::fmt;

use thiserror::Error;

use crate::error::excerpt;

/// More parts than this and the header is ignored: each costs a header of its own in the answer.
const MAX_PARTS: usize = 16;

/// Bytes `start` to `end`, both included.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct ByteRange {
    pub start: u64,
    pub end: u64,
}

impl ByteRange {
    /// How many bytes it spans: never 0.
    #[expect(
        clippy::len_without_is_empty,
        reason = "a range always holds at least one byte"
    )]
    pub const fn len(&self) -> u64 {
        self.end - self.start + 1
    }

    /// The `Content-Range` of an answer that carries this part of `total` bytes.
    pub fn content_range(&self, total: u64) -> String {
        format!("bytes {self}/{total}")
    }
}

impl fmt::Display for ByteRange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}", self.start, self.end)
    }
}

/// What a `Range` header asks of content of a known length.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RangeRequest {
    /// Answer 200 with everything: the header is of another unit, malformed or abusive.
    Whole,
    /// Answer 416.
    Unsatisfiable,
    /// Answer 206 with these parts: at least one, all inside the content, none overlapping another.
    Parts(Vec<ByteRange>),
}

/// Judges a `Range` header for content of `len` bytes.
pub fn parse_range(header: &str, len: u64) -> RangeRequest {
    let Some(specs) = Spec::list(header) else {
        return RangeRequest::Whole;
    };
    if specs.iter().any(|spec| matches!(spec, Spec::Inverted)) {
        return RangeRequest::Unsatisfiable;
    }
    if len == 0 && specs.iter().any(|spec| matches!(spec, Spec::Suffix(1..))) {
        // The last bytes of nothing: satisfiable, yet no Content-Range can say so.
        return RangeRequest::Whole;
    }
    let parts: Vec<_> = specs.iter().filter_map(|spec| spec.within(len)).collect();
    if parts.is_empty() {
        RangeRequest::Unsatisfiable
    } else {
        RangeRequest::Parts(without_overlap(parts))
    }
}

/// One element of the header, before the length is known.
enum Spec {
    FromTo(u64, u64),
    From(u64),
    Suffix(u64),
    Inverted,
}

impl Spec {
    /// The elements of a header; `None` when it is to be ignored.
    fn list(header: &str) -> Option<Vec<Self>> {
        let (unit, list) = header.trim().split_once('=')?;
        if !unit.eq_ignore_ascii_case("bytes") || list.split(',').count() > MAX_PARTS {
            return None;
        }
        // RFC 9110, 5.6.1.2: empty elements of a list do not count.
        let elements = list
            .split(',')
            .map(|element| element.trim_matches([' ', '\t']));
        let specs: Vec<_> = elements
            .filter(|element| !element.is_empty())
            .map(Self::parse)
            .collect::<Option<_>>()?;
        (!specs.is_empty()).then_some(specs)
    }

    fn parse(spec: &str) -> Option<Self> {
        match spec.split_once('-')? {
            ("", last) => Some(Self::Suffix(saturating(last)?)),
            (first, "") => Some(Self::From(saturating(first)?)),
            (first, last) => {
                let (first, last) = (saturating(first)?, saturating(last)?);
                Some(if last < first {
                    Self::Inverted
                } else {
                    Self::FromTo(first, last)
                })
            }
        }
    }

    /// The part of it that content of `len` bytes has.
    fn within(&self, len: u64) -> Option<ByteRange> {
        let last = len.checked_sub(1)?;
        let (start, end) = match *self {
            Self::FromTo(first, end) => (first, end.min(last)),
            Self::From(first) => (first, last),
            Self::Suffix(0) | Self::Inverted => return None,
            Self::Suffix(count) => (len.saturating_sub(count), last),
        };
        (start <= last).then_some(ByteRange { start, end })
    }
}

/// Digits alone; a number beyond 64 bits lies beyond every content, so it may stand for the largest.
fn saturating(digits: &str) -> Option<u64> {
    let only_digits = !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit());
    only_digits.then(|| digits.parse().unwrap_or(u64::MAX))
}

/// Parts in the order asked for when they are apart; otherwise sorted and joined, so that no header makes us send
/// a byte twice.
fn without_overlap(parts: Vec<ByteRange>) -> Vec<ByteRange> {
    let mut sorted = parts.clone();
    sorted.sort_by_key(|part| part.start);
    if sorted.windows(2).all(|pair| pair[0].end < pair[1].start) {
        return parts;
    }
    let mut joined: Vec<ByteRange> = Vec::with_capacity(sorted.len());
    for part in sorted {
        match joined.last_mut() {
            Some(last) if part.start <= last.end.saturating_add(1) => {
                last.end = last.end.max(part.end);
            }
            _ => joined.push(part),
        }
    }
    joined
}

/// Why the `Content-Range` of an upload was not understood.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum RangeError {
    #[error("Content-Range `{0}` is not valid: write it as `<first>-<last>`, both included")]
    Malformed(String),
    #[error("Content-Range `{0}` ends before it begins")]
    Inverted(String),
    #[error("Content-Range `{0}` reaches beyond the total that it names")]
    BeyondTotal(String),
}

/// Reads the `Content-Range` of a chunk: `0-99` as the spec has it, and `bytes 0-99/*`, `bytes 0-99/100` or
/// `bytes=0-99` as HTTP libraries write it.
pub fn parse_content_range(header: &str) -> Result<ByteRange, RangeError> {
    let malformed = || RangeError::Malformed(excerpt(header));
    let text = without_unit(header.trim());
    let (range, total) = match text.split_once('/') {
        None | Some((_, "*")) => (text.split('/').next().unwrap_or_default(), None),
        Some((range, total)) => (range, Some(exact(total).ok_or_else(malformed)?)),
    };
    let (first, last) = range.split_once('-').ok_or_else(malformed)?;
    let (start, end) = (
        exact(first).ok_or_else(malformed)?,
        exact(last).ok_or_else(malformed)?,
    );
    if end < start {
        return Err(RangeError::Inverted(excerpt(header)));
    }
    if total.is_some_and(|total| total <= end) {
        return Err(RangeError::BeyondTotal(excerpt(header)));
    }
    Ok(ByteRange { start, end })
}

/// The `Range` that tells a client how much of its upload has arrived: `0-99` after 100 bytes. Nothing yet is `0-0`,
/// which the protocol cannot tell from one byte.
pub fn upload_range(received: u64) -> String {
    format!("0-{}", received.saturating_sub(1))
}

fn without_unit(text: &str) -> &str {
    match text.split_at_checked("bytes".len()) {
        Some((unit, rest))
            if unit.eq_ignore_ascii_case("bytes") && rest.starts_with([' ', '=']) =>
        {
            rest[1..].trim_start()
        }
        _ => text,
    }
}

/// Digits alone, and no more than a file can have bytes.
fn exact(digits: &str) -> Option<u64> {
    saturating(digits).filter(|number| i64::try_from(*number).is_ok_and(|number| number < i64::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parts(ranges: &[(u64, u64)]) -> RangeRequest {
        RangeRequest::Parts(
            ranges
                .iter()
                .map(|&(start, end)| ByteRange { start, end })
                .collect(),
        )
    }

    #[test]
    fn the_range_header_is_judged_as_the_rfc_has_it() {
        use RangeRequest::{Unsatisfiable, Whole};
        for (header, len, expected) in [
            // what the conformance suite asks of 2048 bytes
            ("bytes=500-1499", 2048, parts(&[(500, 1499)])),
            ("bytes=500-", 2048, parts(&[(500, 2047)])),
            ("bytes=-500", 2048, parts(&[(1548, 2047)])),
            ("bytes=2000-5000", 2048, parts(&[(2000, 2047)])),
            ("bytes=500-0", 2048, Unsatisfiable),
            ("bytes=5000-10000", 2048, Unsatisfiable),
            // edges
            ("bytes=0-0", 1, parts(&[(0, 0)])),
            ("bytes=0-", 10, parts(&[(0, 9)])),
            ("bytes=-99", 10, parts(&[(0, 9)])),
            ("bytes=-0", 10, Unsatisfiable),
            ("bytes=10-", 10, Unsatisfiable),
            ("bytes=9-9", 10, parts(&[(9, 9)])),
            ("bytes=0-", 0, Unsatisfiable),
            ("bytes=-5", 0, Whole),
            ("bytes=-0", 0, Unsatisfiable),
            ("bytes=5-99999999999999999999999", 10, parts(&[(5, 9)])),
            ("bytes=99999999999999999999999-", 10, Unsatisfiable),
            (
                "bytes=0-18446744073709551615",
                u64::MAX,
                parts(&[(0, u64::MAX - 1)]),
            ),
            // unit, blanks, lists
            ("Bytes=0-1", 10, parts(&[(0, 1)])),
            (" bytes=0-1 , 4-5 ", 10, parts(&[(0, 1), (4, 5)])),
            ("bytes=,0-1,,", 10, parts(&[(0, 1)])),
            ("bytes=4-5,0-1", 10, parts(&[(4, 5), (0, 1)])),
            ("bytes=0-1,50-60", 10, parts(&[(0, 1)])),
            ("bytes=50-60,70-80", 10, Unsatisfiable),
            ("bytes=0-1,3-2", 10, Unsatisfiable),
            // a byte is sent once
            ("bytes=0-5,3-9", 10, parts(&[(0, 9)])),
            ("bytes=5-9,0-6,0-0", 10, parts(&[(0, 9)])),
            ("bytes=0-1,0-1,0-1,8-9", 10, parts(&[(0, 1), (8, 9)])),
            ("bytes=0-3,4-5,5-6,8-9", 10, parts(&[(0, 6), (8, 9)])),
            // ignored
            ("items=0-5", 10, Whole),
            ("bytes", 10, Whole),
            ("bytes 0-5", 10, Whole),
            ("bytes=", 10, Whole),
            ("bytes=,", 10, Whole),
            ("bytes=-", 10, Whole),
            ("bytes=a-b", 10, Whole),
            ("bytes=1", 10, Whole),
            ("bytes=1-2-3", 10, Whole),
            ("bytes=+1-2", 10, Whole),
            ("bytes=1 - 2", 10, Whole),
            ("bytes=0-1,x", 10, Whole),
            ("", 10, Whole),
        ] {
            assert_eq!(parse_range(header, len), expected, "`{header}` of {len}");
        }
    }

    #[test]
    fn too_many_parts_are_ignored() {
        let header = |count| {
            let specs: Vec<_> = (0..count)
                .map(|part| format!("{0}-{0}", part * 2))
                .collect();
            format!("bytes={}", specs.join(","))
        };
        assert!(
            matches!(parse_range(&header(16), 1000), RangeRequest::Parts(parts) if parts.len() == 16)
        );
        assert_eq!(parse_range(&header(17), 1000), RangeRequest::Whole);
    }

    #[test]
    fn the_content_range_of_a_chunk_is_taken_in_every_common_form() {
        let expected = Ok(ByteRange { start: 0, end: 99 });
        for header in [
            "0-99",
            " 0-99 ",
            "bytes 0-99/*",
            "bytes 0-99/100",
            "bytes=0-99",
            "bytes 0-99",
            "Bytes 0-99/*",
            "0-99/*",
            "bytes  0-99/12345",
        ] {
            assert_eq!(parse_content_range(header), expected, "`{header}`");
        }
    }

    #[test]
    fn other_content_ranges_are_refused() {
        for header in [
            "",
            "-",
            "0",
            "0-",
            "-99",
            "a-b",
            "bytes",
            "bytes */100",
            "bytes 0-99/",
            "bytes 0-99/x",
            "0-99-100",
            "+0-99",
            "bytes0-99",
            "0 - 99",
            "0-99,100-199",
            "0-99999999999999999999999",
            "items 0-99",
            "bytes 0-99/*/*",
            "0-9223372036854775807",
        ] {
            assert!(
                matches!(parse_content_range(header), Err(RangeError::Malformed(_))),
                "`{header}`"
            );
        }
        assert!(matches!(
            parse_content_range("9-0"),
            Err(RangeError::Inverted(_))
        ));
        assert!(matches!(
            parse_content_range("bytes 0-99/99"),
            Err(RangeError::BeyondTotal(_))
        ));
    }

    #[test]
    fn the_answers_are_written_as_the_spec_has_them() {
        assert_eq!(upload_range(0), "0-0");
        assert_eq!(upload_range(1), "0-0");
        assert_eq!(upload_range(100), "0-99");
        assert_eq!(
            ByteRange {
                start: 500,
                end: 1499
            }
            .content_range(2048),
            "bytes 500-1499/2048"
        );
    }
}
