//! Content to push: as large as wanted, unique every time, and its digest known without hashing it again.
//! All contents share one random buffer in memory and differ in their last 64 bytes, so the state of the hash
//! before those is computed once a length. The servers cannot gain from it: they see the whole digest only.

use std::{
    collections::HashMap,
    fs::File,
    io::{Read, Seek, SeekFrom, Write},
    net::TcpStream,
    os::fd::OwnedFd,
    sync::{Mutex, PoisonError},
};

use anyhow::Context;
use rustix::fs::{MemfdFlags, memfd_create, sendfile};
use sha2::{Digest, Sha256};

const TAIL: usize = 64;
const CHUNK: usize = 1 << 20;

/// One blob to push.
pub struct Content {
    pub len: u64,
    pub digest: String,
    tail: [u8; TAIL],
}

/// The random buffer behind all large contents, and the next serial number.
pub struct Pool {
    buffer: OwnedFd,
    size: u64,
    prefixes: Mutex<HashMap<u64, Sha256>>,
}

impl Pool {
    pub fn new(size: u64) -> anyhow::Result<Self> {
        let buffer =
            memfd_create("bench-content", MemfdFlags::CLOEXEC).context("memory for the content")?;
        let mut file = File::from(buffer.try_clone()?);
        let mut chunk = vec![0; CHUNK];
        for n in 0..size.div_ceil(CHUNK as u64) {
            fill(&mut chunk, n + 1);
            file.write_all(&chunk)?;
        }
        Ok(Self {
            buffer,
            size,
            prefixes: Mutex::default(),
        })
    }

    /// The content of `len` bytes with this serial number. Call it outside measured time: the first one of a
    /// length hashes it.
    pub fn content(&self, len: u64, serial: u64) -> anyhow::Result<Content> {
        let mut tail = [0; TAIL];
        fill(&mut tail, serial ^ (len << 20) ^ 0x5ea3_a11b);
        let mut hash = self.prefix(len - TAIL as u64)?;
        hash.update(tail);
        let digest = format!("sha256:{}", hex::encode(hash.finalize()));
        Ok(Content { len, digest, tail })
    }

    /// Sends the content to a server without a copy through this program.
    pub fn send(&self, content: &Content, mut to: &TcpStream) -> anyhow::Result<()> {
        let mut left = content.len - TAIL as u64;
        while left > 0 {
            let mut offset = 0;
            let pass = left.min(self.size);
            while offset < pass {
                let most = (pass - offset) as usize;
                let sent = sendfile(to, &self.buffer, Some(&mut offset), most)?;
                anyhow::ensure!(sent > 0, "the server took no more bytes");
            }
            left -= pass;
        }
        Ok(to.write_all(&content.tail)?)
    }

    /// Writes the content to a file.
    pub fn save(&self, content: &Content, mut to: &File) -> anyhow::Result<()> {
        self.walk(content.len - TAIL as u64, |chunk| Ok(to.write_all(chunk)?))?;
        to.write_all(&content.tail)?;
        Ok(to.sync_all()?)
    }

    fn prefix(&self, len: u64) -> anyhow::Result<Sha256> {
        let mut prefixes = self.prefixes.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(hash) = prefixes.get(&len) {
            return Ok(hash.clone());
        }
        let mut hash = Sha256::new();
        self.walk(len, |chunk| {
            hash.update(chunk);
            Ok(())
        })?;
        prefixes.insert(len, hash.clone());
        Ok(hash)
    }

    /// The first `len` bytes of the buffer, repeated as often as needed.
    fn walk(
        &self,
        len: u64,
        mut each: impl FnMut(&[u8]) -> anyhow::Result<()>,
    ) -> anyhow::Result<()> {
        let mut file = File::from(self.buffer.try_clone()?);
        let mut chunk = vec![0; CHUNK];
        let mut done = 0;
        while done < len {
            let at = done % self.size;
            let n = (CHUNK as u64).min(self.size - at).min(len - done) as usize;
            file.seek(SeekFrom::Start(at))?;
            file.read_exact(&mut chunk[..n])?;
            each(&chunk[..n])?;
            done += n as u64;
        }
        Ok(())
    }
}

/// Digest of bytes at hand.
pub fn digest(bytes: &[u8]) -> String {
    format!("sha256:{}", hex::encode(Sha256::digest(bytes)))
}

/// Bytes that no server can compress, the same for the same seed (splitmix64).
pub fn fill(bytes: &mut [u8], seed: u64) {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15);
    for word in bytes.chunks_mut(8) {
        state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = state;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^= z >> 31;
        word.copy_from_slice(&z.to_le_bytes()[..word.len()]);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_digest_is_that_of_the_bytes_sent_and_saved() {
        let pool = Pool::new(2 << 20).unwrap();
        let content = pool.content((5 << 20) + 17, 3).unwrap();
        let path = std::env::temp_dir().join(format!("bench-content-{}", std::process::id()));
        pool.save(&content, &File::create(&path).unwrap()).unwrap();
        let saved = std::fs::read(&path).unwrap();
        std::fs::remove_file(&path).unwrap();
        assert_eq!(saved.len() as u64, content.len);
        assert_eq!(digest(&saved), content.digest);

        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let sender = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        let (mut receiver, _) = listener.accept().unwrap();
        let received = std::thread::spawn(move || {
            let mut bytes = Vec::new();
            receiver.read_to_end(&mut bytes).unwrap();
            bytes
        });
        pool.send(&content, &sender).unwrap();
        drop(sender);
        assert_eq!(digest(&received.join().unwrap()), content.digest);
    }

    #[test]
    fn every_serial_and_length_has_its_own_digest() {
        let pool = Pool::new(1 << 20).unwrap();
        let digests: std::collections::HashSet<String> = (0..100)
            .flat_map(|serial| [4096, 1 << 20].map(|len| pool.content(len, serial).unwrap().digest))
            .collect();
        assert_eq!(digests.len(), 200);
    }
}
