//! Running digests whose state can be put away and taken up again.
//!
//! A state says which bytes it covers by its offset alone; whether those bytes are still there is the caller's
//! knowledge (it may be trusted for flushed bytes, or inside the process that wrote them).

use oci::digest::{Algorithm, Digest};
use sha2::{
    Digest as _, Sha256, Sha512,
    digest::common::hazmat::{SerializableState, SerializedState},
};

use crate::{Error, Result};

/// The layout of [`HashState::to_bytes`]: version, algorithm, offset (little endian), then sha2's own state.
const VERSION: u8 = 1;
const HEADER: usize = 10;

/// A digest over the first `offset` bytes of an upload, ready to go on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HashState {
    pub algorithm: Algorithm,
    pub offset: u64,
    pub bytes: Vec<u8>,
}

impl HashState {
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(HEADER + self.bytes.len());
        out.push(VERSION);
        out.push(match self.algorithm {
            Algorithm::Sha256 => 1,
            Algorithm::Sha512 => 2,
        });
        out.extend_from_slice(&self.offset.to_le_bytes());
        out.extend_from_slice(&self.bytes);
        out
    }

    /// Fails on what another version wrote; the caller then reads the bytes again instead.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self> {
        let unknown = || Error::Invalid(format!("{} bytes", bytes.len()), "hash state");
        let (header, state) = bytes.split_at_checked(HEADER).ok_or_else(unknown)?;
        let algorithm = match (header[0], header[1]) {
            (VERSION, 1) => Algorithm::Sha256,
            (VERSION, 2) => Algorithm::Sha512,
            _ => return Err(unknown()),
        };
        let mut offset = [0; 8];
        offset.copy_from_slice(&header[2..]);
        let state = Self {
            algorithm,
            offset: u64::from_le_bytes(offset),
            bytes: state.to_vec(),
        };
        Hasher::restore(&state)?;
        Ok(state)
    }
}

/// The digest of bytes at hand.
pub fn digest_of(algorithm: Algorithm, bytes: &[u8]) -> Digest {
    let mut hasher = Hasher::new(algorithm);
    hasher.update(bytes);
    hasher.digest()
}

pub(crate) fn expect_digest(expected: &Digest, actual: Digest) -> Result<()> {
    if actual == *expected {
        return Ok(());
    }
    Err(Error::DigestMismatch {
        expected: Box::new(*expected),
        actual: Box::new(actual),
    })
}

#[derive(Clone)]
pub(crate) struct Hasher {
    running: Running,
    offset: u64,
}

#[derive(Clone)]
enum Running {
    Sha256(Sha256),
    Sha512(Sha512),
}

impl Hasher {
    pub(crate) fn new(algorithm: Algorithm) -> Self {
        let running = match algorithm {
            Algorithm::Sha256 => Running::Sha256(Sha256::new()),
            Algorithm::Sha512 => Running::Sha512(Sha512::new()),
        };
        Self { running, offset: 0 }
    }

    pub(crate) fn restore(state: &HashState) -> Result<Self> {
        let running = match state.algorithm {
            Algorithm::Sha256 => Running::Sha256(take_up(&state.bytes)?),
            Algorithm::Sha512 => Running::Sha512(take_up(&state.bytes)?),
        };
        Ok(Self {
            running,
            offset: state.offset,
        })
    }

    pub(crate) fn update(&mut self, bytes: &[u8]) {
        match &mut self.running {
            Running::Sha256(inner) => inner.update(bytes),
            Running::Sha512(inner) => inner.update(bytes),
        }
        self.offset += bytes.len() as u64;
    }

    /// Bytes hashed so far.
    pub(crate) fn offset(&self) -> u64 {
        self.offset
    }

    pub(crate) fn algorithm(&self) -> Algorithm {
        match self.running {
            Running::Sha256(_) => Algorithm::Sha256,
            Running::Sha512(_) => Algorithm::Sha512,
        }
    }

    pub(crate) fn state(&self) -> HashState {
        HashState {
            algorithm: self.algorithm(),
            offset: self.offset,
            bytes: match &self.running {
                Running::Sha256(inner) => inner.serialize().to_vec(),
                Running::Sha512(inner) => inner.serialize().to_vec(),
            },
        }
    }

    pub(crate) fn digest(self) -> Digest {
        match self.running {
            Running::Sha256(inner) => Digest::from_bytes(Algorithm::Sha256, &inner.finalize()),
            Running::Sha512(inner) => Digest::from_bytes(Algorithm::Sha512, &inner.finalize()),
        }
        .expect("a finished hash has its algorithm's length")
    }
}

fn take_up<H: SerializableState>(bytes: &[u8]) -> Result<H> {
    let unknown = || Error::Invalid(format!("{} bytes", bytes.len()), "hash state");
    let state = SerializedState::<H>::try_from(bytes).map_err(|_| unknown())?;
    H::deserialize(&state).map_err(|_| unknown())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_state_goes_on_where_it_was_put_away() {
        let all: Vec<u8> = (0..1000_u32).map(|n| (n * 7 % 251) as u8).collect();
        for algorithm in [Algorithm::Sha256, Algorithm::Sha512] {
            for at in [0, 1, 63, 64, 65, 127, 128, 129, 500, 1000] {
                let mut first = Hasher::new(algorithm);
                first.update(&all[..at]);
                let saved = first.state().to_bytes();
                let state = HashState::from_bytes(&saved).unwrap();
                assert_eq!((state.algorithm, state.offset), (algorithm, at as u64));
                let mut second = Hasher::restore(&state).unwrap();
                second.update(&all[at..]);
                assert_eq!(
                    second.digest(),
                    digest_of(algorithm, &all),
                    "{algorithm} {at}"
                );
            }
        }
    }

    /// What a release wrote into its database the next one must read.
    #[test]
    fn the_written_form_stays() {
        let mut hasher = Hasher::new(Algorithm::Sha256);
        hasher.update(b"abc");
        let mut expected = vec![1, 1, 3, 0, 0, 0, 0, 0, 0, 0];
        for word in [
            0x6a09_e667_u32,
            0xbb67_ae85,
            0x3c6e_f372,
            0xa54f_f53a,
            0x510e_527f,
            0x9b05_688c,
            0x1f83_d9ab,
            0x5be0_cd19,
        ] {
            expected.extend_from_slice(&word.to_le_bytes());
        }
        expected.extend_from_slice(&0_u64.to_le_bytes());
        expected.push(3);
        expected.extend_from_slice(b"abc");
        expected.resize(10 + 104, 0);
        assert_eq!(hasher.state().to_bytes(), expected);
    }

    #[test]
    fn what_is_no_state_is_refused() {
        let good = Hasher::new(Algorithm::Sha256).state().to_bytes();
        assert!(HashState::from_bytes(&good).is_ok());
        let changed = |at: usize, to: u8| {
            let mut bytes = good.clone();
            bytes[at] = to;
            bytes
        };
        for bad in [
            vec![],
            good[..9].to_vec(),
            good[..good.len() - 1].to_vec(),
            changed(0, 2),
            changed(1, 2),
            changed(1, 9),
        ] {
            assert!(HashState::from_bytes(&bad).is_err(), "{bad:?}");
        }
    }
}
