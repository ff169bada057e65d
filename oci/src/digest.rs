//! Content digests: an algorithm and its raw bytes, written `sha256:<hex>`.
//!
//! Only lower-case hex is a digest (image spec, descriptor.md): with two spellings one content would have two names.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer};
use thiserror::Error;

use crate::error::excerpt;

/// A hash function that content may be named by.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Algorithm {
    Sha256,
    Sha512,
}

impl Algorithm {
    /// The name as it stands before the colon of a digest.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Sha256 => "sha256",
            Self::Sha512 => "sha512",
        }
    }

    /// Length of the hash in bytes.
    pub const fn byte_len(self) -> usize {
        match self {
            Self::Sha256 => 32,
            Self::Sha512 => 64,
        }
    }

    /// Length of the hash in hexadecimal digits.
    pub const fn hex_len(self) -> usize {
        self.byte_len() * 2
    }
}

impl fmt::Display for Algorithm {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

impl FromStr for Algorithm {
    type Err = DigestError;

    fn from_str(text: &str) -> Result<Self, DigestError> {
        match text {
            "sha256" => Ok(Self::Sha256),
            "sha512" => Ok(Self::Sha512),
            other => Err(DigestError::Algorithm(excerpt(other))),
        }
    }
}

/// Why a text or a hash is not a digest.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum DigestError {
    #[error("digest `{0}` names no algorithm: write it as `sha256:` and 64 hexadecimal digits")]
    Separator(String),
    #[error("digest algorithm `{0}` is not supported: use `sha256` or `sha512`")]
    Algorithm(String),
    #[error("a {algorithm} digest has {} hexadecimal digits, not {found}", .algorithm.hex_len())]
    HexLength { algorithm: Algorithm, found: usize },
    #[error("digest `{0}` must consist of lower-case hexadecimal digits")]
    Hex(String),
    #[error("a {algorithm} hash has {} bytes, not {found}", .algorithm.byte_len())]
    ByteLength { algorithm: Algorithm, found: usize },
}

const MAX_BYTES: usize = Algorithm::Sha512.byte_len();
const MAX_TEXT: usize = "sha512:".len() + Algorithm::Sha512.hex_len();

/// The name of a piece of content. Ordered as its text is.
// Bytes beyond the algorithm's length are zero, which is what lets equality and order be derived.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Digest {
    algorithm: Algorithm,
    bytes: [u8; MAX_BYTES],
}

impl Digest {
    /// Reads `algorithm:hex`, strictly.
    pub fn parse(text: &str) -> Result<Self, DigestError> {
        let (algorithm, hex) = text
            .split_once(':')
            .ok_or_else(|| DigestError::Separator(excerpt(text)))?;
        Self::from_hex(algorithm.parse()?, hex)
    }

    /// Reads the part after the colon, as it stands in paths of a store.
    pub fn from_hex(algorithm: Algorithm, hex: &str) -> Result<Self, DigestError> {
        if hex.len() != algorithm.hex_len() {
            return Err(DigestError::HexLength {
                algorithm,
                found: hex.len(),
            });
        }
        let mut bytes = [0; MAX_BYTES];
        let mut seen = 0;
        let (pairs, _) = hex.as_bytes().as_chunks::<2>();
        for (byte, [high, low]) in bytes.iter_mut().zip(pairs) {
            let (high, low) = (NIBBLES[usize::from(*high)], NIBBLES[usize::from(*low)]);
            seen |= high | low;
            *byte = high << 4 | low & 15;
        }
        if seen & NO_NIBBLE != 0 {
            return Err(DigestError::Hex(excerpt(hex)));
        }
        Ok(Self { algorithm, bytes })
    }

    /// Names the content whose hash these bytes are.
    pub fn from_bytes(algorithm: Algorithm, hash: &[u8]) -> Result<Self, DigestError> {
        if hash.len() != algorithm.byte_len() {
            return Err(DigestError::ByteLength {
                algorithm,
                found: hash.len(),
            });
        }
        let mut bytes = [0; MAX_BYTES];
        bytes[..hash.len()].copy_from_slice(hash);
        Ok(Self { algorithm, bytes })
    }

    /// Names the content with this SHA-256.
    pub fn sha256(hash: [u8; 32]) -> Self {
        let mut bytes = [0; MAX_BYTES];
        bytes[..32].copy_from_slice(&hash);
        Self {
            algorithm: Algorithm::Sha256,
            bytes,
        }
    }

    /// Names the content with this SHA-512.
    pub const fn sha512(bytes: [u8; 64]) -> Self {
        Self {
            algorithm: Algorithm::Sha512,
            bytes,
        }
    }

    pub const fn algorithm(&self) -> Algorithm {
        self.algorithm
    }

    /// The raw hash.
    pub fn bytes(&self) -> &[u8] {
        &self.bytes[..self.algorithm.byte_len()]
    }

    /// The part after the colon.
    pub fn hex(&self) -> String {
        self.with_text(|text| text[self.algorithm.as_str().len() + 1..].to_owned())
    }

    /// Lends the text without allocating it.
    fn with_text<R>(&self, read: impl FnOnce(&str) -> R) -> R {
        const DIGITS: &[u8; 16] = b"0123456789abcdef";
        let mut text = [b':'; MAX_TEXT];
        let name = self.algorithm.as_str().as_bytes();
        text[..name.len()].copy_from_slice(name);
        let hex = &mut text[name.len() + 1..];
        for (pair, byte) in hex.as_chunks_mut::<2>().0.iter_mut().zip(self.bytes()) {
            *pair = [
                DIGITS[usize::from(byte >> 4)],
                DIGITS[usize::from(byte & 15)],
            ];
        }
        let length = name.len() + 1 + self.algorithm.hex_len();
        read(std::str::from_utf8(&text[..length]).expect("hexadecimal digits are ASCII"))
    }
}

/// Marks a character that is no lower-case hexadecimal digit; beyond all nibbles, so that one test at the end will do.
const NO_NIBBLE: u8 = 0x10;

/// The value of each digit. A table, since hashes are random: branches on their digits cost several times as much.
const NIBBLES: [u8; 256] = {
    let mut table = [NO_NIBBLE; 256];
    let mut value = 0;
    while value < 16 {
        table[b"0123456789abcdef"[value as usize] as usize] = value;
        value += 1;
    }
    table
};

impl fmt::Display for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.with_text(|text| f.pad(text))
    }
}

impl fmt::Debug for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.with_text(|text| f.write_str(text))
    }
}

impl FromStr for Digest {
    type Err = DigestError;

    fn from_str(text: &str) -> Result<Self, DigestError> {
        Self::parse(text)
    }
}

impl Serialize for Digest {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.with_text(|text| serializer.serialize_str(text))
    }
}

impl<'de> Deserialize<'de> for Digest {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        Self::parse(&text).map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const EMPTY_256: &str =
        "sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";

    #[test]
    fn a_digest_reads_back_as_it_was_written() {
        let sha512 = format!("sha512:{}", "0f".repeat(64));
        for text in [EMPTY_256, &sha512] {
            let digest = Digest::parse(text).unwrap();
            assert_eq!(digest.to_string(), text);
            assert_eq!(format!("{}:{}", digest.algorithm(), digest.hex()), text);
            assert_eq!(
                Digest::from_bytes(digest.algorithm(), digest.bytes()),
                Ok(digest)
            );
            assert_eq!(
                Digest::from_hex(digest.algorithm(), &digest.hex()),
                Ok(digest)
            );
            assert_eq!(
                serde_json::from_str::<Digest>(&serde_json::to_string(&digest).unwrap()).unwrap(),
                digest
            );
        }
    }

    #[test]
    fn what_is_no_digest_is_refused_with_its_reason() {
        let upper = EMPTY_256.to_uppercase().replace("SHA256", "sha256");
        for (text, reason) in [
            ("", "names no algorithm"),
            ("latest", "names no algorithm"),
            ("sha256", "names no algorithm"),
            ("sha256:", "64 hexadecimal digits, not 0"),
            ("sha256:baddigeststring", "64 hexadecimal digits, not 15"),
            (
                "sha512:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855",
                "128 hexadecimal digits, not 64",
            ),
            (
                "SHA256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855",
                "`SHA256` is not supported",
            ),
            (
                "md5:d41d8cd98f00b204e9800998ecf8427e",
                "`md5` is not supported",
            ),
            (&upper, "lower-case"),
            (
                "sha256:g3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855",
                "lower-case",
            ),
            (
                "sha256:é3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b85",
                "lower-case",
            ),
        ] {
            let error = Digest::parse(text).unwrap_err().to_string();
            assert!(error.contains(reason), "`{text}`: {error}");
        }
        assert!(Digest::from_bytes(Algorithm::Sha256, &[0; 31]).is_err());
    }

    #[test]
    fn digests_are_ordered_as_their_text() {
        let mut digests: Vec<_> = [[9; 32], [1; 32], [255; 32]].map(Digest::sha256).to_vec();
        digests.push(Digest::sha512([0; 64]));
        let mut texts: Vec<_> = digests.iter().map(ToString::to_string).collect();
        digests.sort();
        texts.sort();
        assert_eq!(
            digests.iter().map(ToString::to_string).collect::<Vec<_>>(),
            texts
        );
    }
}
