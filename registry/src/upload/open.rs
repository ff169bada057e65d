//! A session that a request writes to: taken by its row, its bytes opened where they end, put aside again.
//!
//! The epoch in the row stops the writes of whoever lost the session to its row, not those to its file, which may still
//! be on their way from another node. So a file belongs to a node until that lets go of it, and who takes the session
//! before goes on in a file of his own.

use blob::{Saved, Writer};
use db::{
    Tx,
    uploads::{self, Upload},
};
use model::{Error, Result};
use oci::{digest::Digest, range::ByteRange};

use super::{taken_over, unknown};
use crate::{
    Registry,
    push::{Finished, Target},
    session::{Checked, Session, Turn},
    store_error,
};

/// Received bytes after which a session's row is made, and brought up to date again, while a request still runs. The
/// second is also how much may have to be read again (or, after a power cut, sent again) when the session goes on.
pub(super) const FIRST_NOTE: u64 = 4 << 20;
pub(super) const NOTE_EVERY: u64 = 64 << 20;
/// The same where the next chunk may well come to another node, at the end of a request.
const NOTE_SHARED: u64 = 1 << 20;

/// A session that is this request's alone, as far as the row can say.
pub(super) struct Taken<'a> {
    pub(super) session: Session,
    pub(super) turn: Turn<'a>,
    /// The row's epoch; 0 while there is no row.
    pub(super) epoch: i64,
    /// As it was before.
    row: Option<Upload>,
}

/// A session ready for bytes.
pub(super) struct Open<'a> {
    pub(super) taken: Taken<'a>,
    pub(super) writer: Writer,
    /// Bytes that the row knows of.
    pub(super) noted: u64,
    /// Those of them that its hash state stands for.
    flushed: u64,
}

/// What is to be written into a session's row.
#[derive(Clone)]
struct Note {
    key: String,
    repository: String,
    epoch: i64,
    received: u64,
    hash_state: Option<Vec<u8>>,
    /// Whether nothing writes to the file any more.
    lets_go: bool,
}

impl Taken<'_> {
    fn received(&self) -> u64 {
        self.row.as_ref().map_or(0, |row| row.received)
    }

    /// The name of its file.
    pub(super) fn file(&self) -> &str {
        match &self.row {
            Some(row) => &row.file,
            None => &self.session.key,
        }
    }

    /// What its row says of how to go on. In a bucket somebody may have gone on who has not let go of it.
    fn saved(&self) -> Option<Saved> {
        let row = self.row.as_ref()?;
        let saved = Saved::from_bytes(row.hash_state.as_deref()?).ok()?;
        let saved = if row.node.is_empty() {
            saved
        } else {
            saved.doubted()
        };
        (saved.offset() <= row.received).then_some(saved)
    }
}

impl Taken<'_> {
    /// What the upload is, where its row proves that it brought this very content: for one whose file is gone because another node had
    /// published it and died before its commit.
    pub(super) fn proven(&self, digest: &Digest) -> Option<Checked> {
        let saved = self.saved()?;
        let is_whole = saved.offset() == self.received() && saved.digest()? == *digest;
        is_whole.then(|| Checked::new(*digest, saved.offset()))
    }
}

/// Whether another node may still write to the session's file.
fn is_held_by_another(row: &Upload, node: &str) -> bool {
    !row.node.is_empty() && row.node != node
}

impl Open<'_> {
    /// Whether the row should learn how far this has come while the request still runs.
    pub(super) fn is_due(&self) -> bool {
        let offset = self.writer.offset();
        match self.taken.epoch {
            0 => self.writer.is_due(offset, FIRST_NOTE),
            _ => self
                .writer
                .is_due(offset.saturating_sub(self.flushed), NOTE_EVERY),
        }
    }
}

impl Registry {
    /// Takes the session for this request, when its chunk begins where the bytes end. Where other nodes may write too,
    /// the row decides who does.
    pub(super) async fn take<'a>(
        &self,
        target: &Target,
        session: Session,
        turn: Turn<'a>,
        row: Option<Upload>,
        range: Option<ByteRange>,
    ) -> Result<Taken<'a>> {
        let mut taken = Taken {
            session,
            turn,
            epoch: row.as_ref().map_or(0, |row| row.epoch),
            row,
        };
        let have = taken.received();
        if range.is_some_and(|range| range.start != have) {
            let have = self.settle_received(&taken.session, taken.row).await?;
            return Err(Error::RangeMismatch { have });
        }
        if !self.takes_rows() {
            return Ok(taken);
        }
        let epoch = self
            .take_row(&taken.session.key, target.name.as_str(), taken.row.as_ref())
            .await?;
        taken.epoch = epoch.ok_or_else(taken_over)?;
        Ok(taken)
    }

    /// How many bytes of the session count, now that its client is told so: a writer on another node, which may have received
    /// more than its row says, loses the session, and what came after these bytes counts for nothing.
    pub(super) async fn settle_received(
        &self,
        session: &Session,
        mut row: Option<Upload>,
    ) -> Result<u64> {
        while let Some(seen) = row.as_ref() {
            if !self.takes_rows() || !is_held_by_another(seen, self.db().node()) {
                break;
            }
            if self
                .take_row(&session.key, &seen.repository, Some(seen))
                .await?
                .is_some()
            {
                break;
            }
            row = self.row(session).await?;
            if row.as_ref().is_some_and(|row| row.finished.is_some()) {
                return Err(unknown());
            }
        }
        Ok(row.map_or(0, |row| row.received))
    }

    /// The new epoch, unless the row is another than was `seen`.
    pub(super) async fn take_row(
        &self,
        key: &str,
        repository: &str,
        seen: Option<&Upload>,
    ) -> Result<Option<i64>> {
        let (key, repository, seen) = (key.to_owned(), repository.to_owned(), seen.cloned());
        let whole = self.store().shares_uploads();
        self.db()
            .write(move |tx| {
                let (key, repository, seen) = (key.clone(), repository.clone(), seen.clone());
                Box::pin(async move {
                    let now = tx.now().await?;
                    uploads::take(tx, &key, &repository, seen.as_ref(), whole, now).await
                })
            })
            .await
    }

    /// Opens the session's bytes for appending.
    pub(super) async fn open<'a>(
        &self,
        taken: Taken<'a>,
    ) -> Result<Open<'a>, (Taken<'a>, Refused)> {
        let held = taken.row.as_ref();
        let is_held = held.is_some_and(|row| is_held_by_another(row, self.db().node()));
        let opened = if !self.db().is_exclusive() && is_held && !self.store().shares_uploads() {
            self.open_own(&taken).await
        } else {
            self.open_file(&taken).await.map_err(Refused::Store)
        };
        match opened {
            Ok((writer, flushed)) => Ok(Open {
                noted: taken.received(),
                taken,
                writer,
                flushed,
            }),
            Err(refused) => Err((taken, refused)),
        }
    }

    async fn open_file(&self, taken: &Taken<'_>) -> blob::Result<(Writer, u64)> {
        let (have, Session { key, algorithm, .. }) = (taken.received(), &taken.session);
        if have == 0 {
            return Ok((self.store().begin(taken.file(), *algorithm).await?, 0));
        }
        let before = taken.row.as_ref().map_or(0, |row| row.epoch);
        let parked = self.0.sessions.unpark(key, before, have);
        let stored = taken.saved();
        let saved = parked.as_deref().or(stored.as_ref());
        let writer = self
            .store()
            .resume(taken.file(), have, saved, *algorithm)
            .await?;
        Ok((writer, stored.map_or(0, |saved| saved.offset())))
    }

    /// Goes on in a file of this node, with a copy of what was counted. The one before is removed by its age.
    async fn open_own(&self, taken: &Taken<'_>) -> Result<(Writer, u64), Refused> {
        let (have, algorithm) = (taken.received(), taken.session.algorithm);
        let own = format!("{}-{}", taken.session.key, taken.epoch);
        let store = self.store();
        let opened = if have == 0 {
            store.begin(&own, algorithm).await
        } else {
            store.resume_copy(taken.file(), &own, have, algorithm).await
        };
        let mut writer = opened.map_err(Refused::Store)?;
        let mut state = None;
        if have >= NOTE_SHARED {
            state = Some(writer.save().await.map_err(Refused::Store)?.to_bytes());
        }
        let flushed = if state.is_some() { have } else { 0 };
        let (key, epoch) = (taken.session.key.clone(), taken.epoch);
        let changed = self
            .db()
            .write(move |tx| {
                let (key, own, state) = (key.clone(), own.clone(), state.clone());
                Box::pin(async move {
                    let now = tx.now().await?;
                    uploads::change_file(tx, &key, epoch, &own, state.as_deref(), now).await
                })
            })
            .await;
        match changed {
            Ok(true) => Ok((writer, flushed)),
            Ok(false) => Err(Refused::Row(taken_over())),
            Err(error) => Err(Refused::Row(error)),
        }
    }

    /// What a client is told whose session could not be opened. A file that lost its end, in a power cut, goes on from
    /// where it was surely whole.
    pub(super) async fn refuse(&self, target: &Target, taken: &Taken<'_>, why: Refused) -> Error {
        let error = match why {
            Refused::Row(error) => return error,
            Refused::Store(blob::Error::NotFound) => return unknown(),
            Refused::Store(error @ blob::Error::Lost(_)) => {
                let ended = self.abandon(taken).await;
                return ended.map_or_else(|failed| failed, |()| store_error(error));
            }
            Refused::Store(error) => error,
        };
        let blob::Error::Short { have, .. } = error else {
            return store_error(error);
        };
        let whole = taken.saved().map(|saved| saved.offset());
        let have = whole.filter(|whole| *whole <= have).unwrap_or(0);
        let back = self.note(target, taken, have, None, true).await;
        match back {
            Ok(_) => Error::RangeMismatch { have },
            Err(error) => error,
        }
    }

    /// Brings what came to the disk and into the row, in mid-request.
    pub(super) async fn note_flushed(&self, target: &Target, open: &mut Open<'_>) -> Result<()> {
        let saved = open.writer.save().await.map_err(store_error)?;
        let (received, state) = (saved.offset(), Some(saved.to_bytes()));
        open.taken.epoch = self
            .note(target, &open.taken, received, state, false)
            .await?;
        (open.noted, open.flushed) = (received, received);
        Ok(())
    }

    /// The end of a request that leaves the session open: everything received is in the file, and the row says how much.
    pub(super) async fn put_aside(&self, target: &Target, mut open: Open<'_>) -> Result<u64> {
        let saved = match self.save(&mut open).await {
            // What was written before the disk was full stays.
            Err(blob::Error::Full) => self.save(&mut open).await,
            saved => saved,
        };
        let Open { taken, .. } = &open;
        let (saved, is_flushed) = match saved {
            Ok(saved) => saved,
            Err(error) => {
                if matches!(error, blob::Error::Lost(_)) {
                    self.abandon(taken).await?;
                }
                return Err(store_error(error));
            }
        };
        let (received, mut epoch) = (saved.offset(), taken.epoch);
        // Letting go is worth a write only where somebody else might take it.
        if received > open.noted || self.takes_rows() {
            let hash_state = is_flushed.then(|| saved.to_bytes());
            epoch = self.note(target, taken, received, hash_state, true).await?;
        }
        self.0.sessions.park(&taken.session.key, epoch, saved);
        Ok(received)
    }

    /// How to go on, and whether another node may.
    async fn save(&self, open: &mut Open<'_>) -> blob::Result<(Saved, bool)> {
        let every = if self.db().is_exclusive() {
            NOTE_EVERY
        } else {
            NOTE_SHARED
        };
        open.writer.put_aside(open.flushed, every).await
    }

    /// Whether a session is taken by its row before anything is written: where other nodes may write too; and of a bucket, since
    /// what an upload left there is found by its row.
    fn takes_rows(&self) -> bool {
        !self.db().is_exclusive() || self.store().shares_uploads()
    }

    /// Ends a session whose bytes are gone, so that nobody is told they are there.
    pub(super) async fn abandon(&self, taken: &Taken<'_>) -> Result<()> {
        let (key, epoch) = (taken.session.key.clone(), taken.epoch);
        self.db()
            .write(move |tx| {
                let key = key.clone();
                Box::pin(async move {
                    let now = tx.now().await?;
                    uploads::abandon(tx, &key, epoch, now).await
                })
            })
            .await?;
        Ok(())
    }

    /// Writes how far the session has come; makes its row when there is none. Answers the row's epoch.
    pub(super) async fn note(
        &self,
        target: &Target,
        taken: &Taken<'_>,
        received: u64,
        hash_state: Option<Vec<u8>>,
        lets_go: bool,
    ) -> Result<i64> {
        let note = Note {
            key: taken.session.key.clone(),
            repository: target.name.as_str().to_owned(),
            epoch: taken.epoch,
            received,
            hash_state,
            lets_go,
        };
        self.write_note(note).await
    }

    /// Writes how far an upload has come that has its row and no session.
    pub(super) async fn advance_row(
        &self,
        target: &Target,
        row: &Finished,
        saved: &Saved,
    ) -> Result<()> {
        let note = Note {
            key: row.key.clone(),
            repository: target.name.as_str().to_owned(),
            epoch: row.epoch,
            received: saved.offset(),
            hash_state: Some(saved.to_bytes()),
            lets_go: false,
        };
        self.write_note(note).await.map(|_| ())
    }

    async fn write_note(&self, note: Note) -> Result<i64> {
        self.db()
            .write(move |tx| {
                let note = note.clone();
                Box::pin(async move { note.write(tx).await })
            })
            .await
    }
}

impl Note {
    async fn write(self, tx: &mut Tx) -> Result<i64> {
        let now = tx.now().await?;
        let epoch = match self.epoch {
            0 => uploads::take(tx, &self.key, &self.repository, None, false, now)
                .await?
                .ok_or_else(taken_over)?,
            epoch => epoch,
        };
        let state = self.hash_state.as_deref();
        let kept = if self.lets_go {
            uploads::put_aside(tx, &self.key, epoch, self.received, state, now).await?
        } else {
            uploads::advance(tx, &self.key, epoch, self.received, state, now).await?
        };
        if kept { Ok(epoch) } else { Err(taken_over()) }
    }
}

/// Why a session could not be opened.
pub(super) enum Refused {
    Store(blob::Error),
    Row(Error),
}

impl Refused {
    pub(super) fn is_gone(&self) -> bool {
        matches!(self, Self::Store(blob::Error::NotFound))
    }
}
