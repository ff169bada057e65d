//! Appending to an upload, and how far one has come.

use bytes::Bytes;
use oci::digest::Digest;

use crate::{HashState, Result, files, hash::Hasher, objects, objects::Progress, staged::Staged};

/// One upload that is being appended to. In a directory it holds at most 1 MiB of it in memory, for a bucket two parts.
pub struct Writer(Kind);

enum Kind {
    Files(Box<files::Writer>),
    Objects(Box<objects::Writer>),
}

/// How far an upload has come, for its row.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Saved {
    /// The hash of a file's first bytes.
    Hash(HashState),
    /// All that another node needs to go on in a bucket.
    Parts(Progress),
}

impl From<files::Writer> for Writer {
    fn from(writer: files::Writer) -> Self {
        Self(Kind::Files(Box::new(writer)))
    }
}

impl From<objects::Writer> for Writer {
    fn from(writer: objects::Writer) -> Self {
        Self(Kind::Objects(Box::new(writer)))
    }
}

impl Saved {
    /// The bytes that it stands for.
    pub fn offset(&self) -> u64 {
        match self {
            Self::Hash(state) => state.offset,
            Self::Parts(progress) => progress.offset(),
        }
    }

    /// The same, when somebody may have gone on from here who has not said so.
    #[must_use]
    pub fn doubted(mut self) -> Self {
        if let Self::Parts(progress) = &mut self {
            progress.is_doubtful = true;
        }
        self
    }

    /// The digest of all the bytes that it stands for; none where that is not known without them.
    pub fn digest(&self) -> Option<Digest> {
        let hasher = Hasher::restore(self.hash()?).ok()?;
        Some(hasher.digest())
    }

    pub(crate) fn hash(&self) -> Option<&HashState> {
        match self {
            Self::Hash(state) => Some(state),
            Self::Parts(_) => None,
        }
    }

    pub fn to_bytes(&self) -> Vec<u8> {
        match self {
            Self::Hash(state) => state.to_bytes(),
            Self::Parts(progress) => progress.to_bytes(),
        }
    }

    /// Fails on what another version wrote; in a directory the bytes are then read again instead.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self> {
        Progress::from_bytes(bytes)
            .map(Self::Parts)
            .or_else(|_| HashState::from_bytes(bytes).map(Self::Hash))
    }
}

impl Writer {
    /// Accepts bytes; waits while as many as may be held are under way. After an error the writer stands at the last
    /// byte that is sure to be kept.
    pub async fn write(&mut self, frame: Bytes) -> Result<()> {
        match &mut self.0 {
            Kind::Files(writer) => writer.write(frame).await,
            Kind::Objects(writer) => writer.write(frame).await,
        }
    }

    /// All bytes accepted.
    pub fn offset(&self) -> u64 {
        match &self.0 {
            Kind::Files(writer) => writer.offset(),
            Kind::Objects(writer) => writer.offset(),
        }
    }

    /// Whether the row should learn how far this has come, `unsaved` bytes after it last did. In a directory that is
    /// worth it `every` so many bytes.
    pub fn is_due(&self, unsaved: u64, every: u64) -> bool {
        match &self.0 {
            Kind::Files(_) => unsaved >= every,
            Kind::Objects(writer) => writer.has_news(),
        }
    }

    /// What is surely kept while bytes keep coming.
    pub async fn save(&mut self) -> Result<Saved> {
        match &mut self.0 {
            Kind::Files(writer) => writer.flush().await.map(Saved::Hash),
            Kind::Objects(writer) => Ok(Saved::Parts(writer.progress())),
        }
    }

    /// Puts everything accepted where a later request finds it. Whether that holds on any node, and after a power cut: always in
    /// a bucket; in a directory the bytes are flushed when `every` of them were not, and the state counts in this process
    /// otherwise.
    pub async fn put_aside(&mut self, flushed: u64, every: u64) -> Result<(Saved, bool)> {
        match &mut self.0 {
            Kind::Files(writer) => {
                let received = writer.settle().await?;
                if received.saturating_sub(flushed) >= every {
                    return Ok((Saved::Hash(writer.flush().await?), true));
                }
                Ok((Saved::Hash(writer.state().await?), false))
            }
            Kind::Objects(writer) => Ok((Saved::Parts(writer.put_aside().await?), true)),
        }
    }

    /// Ends the upload: the digest right, everything durable, and published at `location`, or where it says itself
    /// ([`Staged::location`]). The second result is the publishing's. A writer that ended well is done; after `Lost`
    /// the upload is gone; after another error, and a wrong digest, the writer goes on.
    pub async fn finish_at(
        &mut self,
        expected: &Digest,
        location: &str,
    ) -> Result<(Staged, Result<()>)> {
        match &mut self.0 {
            Kind::Files(writer) => {
                let (staged, published) = writer.finish_at(expected, location).await?;
                Ok((staged.into(), published))
            }
            Kind::Objects(writer) => {
                let staged = writer.finish_at(expected, location).await?;
                Ok((staged.into(), Ok(())))
            }
        }
    }
}
