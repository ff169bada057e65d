//! How far an upload to an object store has come: what its row keeps, so that any node can go on.

use bytes::Bytes;

use crate::{Error, HashState, Result};

/// The layout of [`Progress::to_bytes`]; a hash state alone begins with 1.
const VERSION: u8 = 2;

/// All bytes of an upload that count, and where they are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Progress {
    /// Stands for the bytes in parts.
    pub(crate) hash: HashState,
    pub(crate) multipart: Option<Multipart>,
    pub(crate) tail: Tail,
    /// Objects that were made to put bytes aside.
    pub(crate) asides: u32,
    /// Whether a part may have been sent that is not among those here.
    pub(crate) is_doubtful: bool,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Multipart {
    /// The name of the object that it will be.
    pub(crate) name: String,
    /// The vendor's.
    pub(crate) id: String,
    pub(crate) parts: Vec<Part>,
}

impl Multipart {
    pub(crate) fn next_number(&self) -> u32 {
        self.parts.last().map_or(1, |part| part.number + 1)
    }
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Part {
    pub(crate) number: u32,
    pub(crate) size: u64,
    /// What the store answered, an ETag.
    pub(crate) tag: String,
}

/// Bytes behind the last part.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Tail {
    Inline(Bytes),
    Object { name: String, size: u64 },
}

impl Tail {
    pub(crate) fn len(&self) -> u64 {
        match self {
            Self::Inline(bytes) => bytes.len() as u64,
            Self::Object { size, .. } => *size,
        }
    }
}

impl Progress {
    /// Bytes that count.
    pub fn offset(&self) -> u64 {
        self.hash.offset + self.tail.len()
    }

    pub fn to_bytes(&self) -> Vec<u8> {
        let mut out = vec![VERSION, u8::from(self.is_doubtful)];
        out.extend_from_slice(&self.asides.to_le_bytes());
        put(&mut out, &self.hash.to_bytes());
        match &self.multipart {
            None => out.push(0),
            Some(multipart) => {
                out.push(1);
                put(&mut out, multipart.name.as_bytes());
                put(&mut out, multipart.id.as_bytes());
                out.extend_from_slice(&(multipart.parts.len() as u32).to_le_bytes());
                for part in &multipart.parts {
                    out.extend_from_slice(&part.number.to_le_bytes());
                    out.extend_from_slice(&part.size.to_le_bytes());
                    put(&mut out, part.tag.as_bytes());
                }
            }
        }
        match &self.tail {
            Tail::Inline(bytes) => {
                out.push(0);
                put(&mut out, bytes);
            }
            Tail::Object { name, size } => {
                out.push(1);
                out.extend_from_slice(&size.to_le_bytes());
                put(&mut out, name.as_bytes());
            }
        }
        out
    }

    /// Fails on what another version wrote.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self> {
        let unknown = || Error::Invalid(format!("{} bytes", bytes.len()), "upload's progress");
        let mut left = Left(bytes);
        let read = (left.byte()? == VERSION).then(|| left.progress());
        read.transpose()?
            .filter(|_| left.0.is_empty())
            .ok_or_else(unknown)
    }
}

fn put(out: &mut Vec<u8>, bytes: &[u8]) {
    out.extend_from_slice(&(bytes.len() as u32).to_le_bytes());
    out.extend_from_slice(bytes);
}

/// What is still to be read.
struct Left<'a>(&'a [u8]);

impl<'a> Left<'a> {
    fn take(&mut self, len: usize) -> Result<&'a [u8]> {
        let (taken, rest) = self
            .0
            .split_at_checked(len)
            .ok_or_else(|| Error::Invalid("too few bytes".to_owned(), "upload's progress"))?;
        self.0 = rest;
        Ok(taken)
    }

    fn byte(&mut self) -> Result<u8> {
        Ok(self.take(1)?[0])
    }

    fn u32(&mut self) -> Result<u32> {
        let bytes = self.take(4)?.try_into().expect("four were taken");
        Ok(u32::from_le_bytes(bytes))
    }

    fn u64(&mut self) -> Result<u64> {
        let bytes = self.take(8)?.try_into().expect("eight were taken");
        Ok(u64::from_le_bytes(bytes))
    }

    fn bytes(&mut self) -> Result<&'a [u8]> {
        let len = self.u32()? as usize;
        self.take(len)
    }

    fn text(&mut self) -> Result<String> {
        String::from_utf8(self.bytes()?.to_vec())
            .map_err(|_| Error::Invalid("no text".to_owned(), "upload's progress"))
    }

    fn progress(&mut self) -> Result<Progress> {
        let (is_doubtful, asides) = (self.byte()? != 0, self.u32()?);
        let hash = HashState::from_bytes(self.bytes()?)?;
        let multipart = match self.byte()? {
            0 => None,
            _ => Some(self.multipart()?),
        };
        let tail = match self.byte()? {
            0 => Tail::Inline(Bytes::copy_from_slice(self.bytes()?)),
            _ => Tail::Object {
                size: self.u64()?,
                name: self.text()?,
            },
        };
        Ok(Progress {
            hash,
            multipart,
            tail,
            asides,
            is_doubtful,
        })
    }

    fn multipart(&mut self) -> Result<Multipart> {
        let (name, id) = (self.text()?, self.text()?);
        let count = self.u32()?;
        let parts = (0..count).map(|_| {
            Ok(Part {
                number: self.u32()?,
                size: self.u64()?,
                tag: self.text()?,
            })
        });
        let parts = parts.collect::<Result<_>>()?;
        Ok(Multipart { name, id, parts })
    }
}

#[cfg(test)]
mod tests {
    use oci::digest::Algorithm;

    use super::*;
    use crate::hash::Hasher;

    fn progress(tail: Tail) -> Progress {
        let mut hasher = Hasher::new(Algorithm::Sha256);
        hasher.update(b"abc");
        Progress {
            hash: hasher.state(),
            multipart: Some(Multipart {
                name: "0123456789abcdef".to_owned(),
                id: "2~x/y+z".to_owned(),
                parts: vec![Part {
                    number: 1,
                    size: 3,
                    tag: "\"e\"".to_owned(),
                }],
            }),
            tail,
            asides: 2,
            is_doubtful: true,
        }
    }

    #[test]
    fn what_is_written_down_is_read_back() {
        let object = Tail::Object {
            name: "fedcba9876543210".to_owned(),
            size: 9,
        };
        for (tail, offset) in [
            (Tail::Inline(Bytes::new()), 3),
            (Tail::Inline(Bytes::from_static(b"de")), 5),
            (object, 12),
        ] {
            let written = progress(tail);
            let bytes = written.to_bytes();
            assert_eq!(Progress::from_bytes(&bytes).unwrap(), written);
            assert_eq!(written.offset(), offset);
            for cut in 0..bytes.len() {
                assert!(Progress::from_bytes(&bytes[..cut]).is_err(), "{cut}");
            }
            let longer = [bytes.as_slice(), b"x"].concat();
            assert!(Progress::from_bytes(&longer).is_err());
        }
    }
}
