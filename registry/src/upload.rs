//! Uploads: open, append, finish, cancel. Bytes are hashed on the way to the disk; how far a session has come is said by
//! its row, and a client that lost its connection goes on at exactly that byte.

use blob::{HashState, Writer};
use bytes::Bytes;
use db::uploads::{self, Upload};
use futures_util::{Stream, StreamExt};
use model::{Error, Result, What};
use oci::{
    digest::{Algorithm, Digest},
    name::NameRef,
    range::ByteRange,
};

use crate::{
    Registry,
    push::{Finished, Target},
    session::{Session, Turn},
    store_error,
};

/// Received bytes after which a session's row is made, and brought up to date again, while a request still runs.
const FIRST_NOTE: u64 = 4 << 20;
const NOTE_EVERY: u64 = 64 << 20;

/// A chunk as a request brings it.
pub struct Chunk<S> {
    /// Where the client says it belongs (Content-Range).
    pub range: Option<ByteRange>,
    /// The body's length, when the request says it.
    pub length: Option<u64>,
    pub body: S,
}

/// A session that this request writes to.
struct Open<'a> {
    session: Session,
    turn: Turn<'a>,
    writer: Writer,
    /// The row's epoch; 0 while there is no row.
    epoch: i64,
    /// Bytes that the row knows of.
    noted: u64,
}

/// How the body of a request ended.
enum Received {
    Whole,
    Cut(Error),
}

impl Registry {
    /// Opens a session. Nothing is written; the id alone says that it may be used.
    pub fn open_upload(&self, name: NameRef<'_>, caller: &str, algorithm: Algorithm) -> String {
        let expires = self.db().clock().now().plus(self.config().uploads_expire);
        self.0
            .sessions
            .sign(self.db().node(), name, caller, algorithm, expires)
    }

    /// How many bytes of the upload are here.
    pub async fn upload_received(&self, name: NameRef<'_>, caller: &str, id: &str) -> Result<u64> {
        let session = self.session(name, caller, id)?;
        let row = uploads::find(&mut *self.db().reader().await?, &session.key).await?;
        match row {
            Some(row) if row.finished.is_some() || row.cancelled => Err(unknown()),
            row => Ok(row.map_or(0, |row| row.received)),
        }
    }

    /// Appends a chunk and answers how many bytes are here now. When the connection breaks, what came is kept.
    pub async fn append_upload<S>(
        &self,
        target: &Target,
        caller: &str,
        id: &str,
        chunk: Chunk<S>,
    ) -> Result<u64>
    where
        S: Stream<Item = Result<Bytes>> + Unpin + Send,
    {
        let session = self.session(target.name.borrowed(), caller, id)?;
        let turn = self.0.sessions.enter(&session.key).await?;
        let row = uploads::find(&mut *self.db().reader().await?, &session.key).await?;
        if row
            .as_ref()
            .is_some_and(|row| row.finished.is_some() || row.cancelled)
        {
            return Err(unknown());
        }
        let mut open = self.resume(target, session, turn, row, chunk.range).await?;
        let received = self.receive(target, &mut open, chunk).await;
        let offset = self.put_aside(target, open).await?;
        match received {
            Received::Whole => Ok(offset),
            Received::Cut(error) => Err(error),
        }
    }

    /// Appends what the request brings, checks the whole against the digest and makes it content of the repository. The
    /// same request again is answered the same while the finished session is remembered.
    pub async fn finish_upload<S>(
        &self,
        target: &Target,
        caller: &str,
        id: &str,
        digest: &Digest,
        chunk: Chunk<S>,
    ) -> Result<()>
    where
        S: Stream<Item = Result<Bytes>> + Unpin + Send,
    {
        let session = self.session(target.name.borrowed(), caller, id)?;
        let turn = self.0.sessions.enter(&session.key).await?;
        let row = uploads::find(&mut *self.db().reader().await?, &session.key).await?;
        match row.as_ref().and_then(|row| row.finished) {
            Some(before) if before == *digest => return Ok(()),
            Some(_) => return Err(unknown()),
            None if row.as_ref().is_some_and(|row| row.cancelled) => return Err(unknown()),
            None => {}
        }
        let open = match self
            .resume(target, session, turn, row.clone(), chunk.range)
            .await
        {
            // A commit that failed after the bytes had found their place: they are still there.
            Err(Error::NotFound(What::Upload, _)) if row.is_some() => {
                let row = row.ok_or_else(unknown)?;
                return self.finish_published(target, row, digest).await;
            }
            open => open?,
        };
        self.finish_open(target, open, digest, chunk).await
    }

    async fn finish_open<S>(
        &self,
        target: &Target,
        mut open: Open<'_>,
        digest: &Digest,
        chunk: Chunk<S>,
    ) -> Result<()>
    where
        S: Stream<Item = Result<Bytes>> + Unpin + Send,
    {
        if let Received::Cut(error) = self.receive(target, &mut open, chunk).await {
            self.put_aside(target, open).await?;
            return Err(error);
        }
        // Settled first, so that a full disk leaves the session at a byte that is known.
        if let Err(error) = open.writer.settle().await {
            self.put_aside(target, open).await?;
            return Err(store_error(error));
        }
        let Open {
            session,
            turn,
            writer,
            epoch,
            noted,
        } = open;
        let received = writer.offset();
        let staged = match writer.finish(digest).await {
            Ok(staged) => staged,
            Err(error) => {
                if received > noted
                    && matches!(
                        error,
                        blob::Error::DigestMismatch { .. } | blob::Error::Full
                    )
                {
                    self.note(target, &session.key, epoch, received, None)
                        .await?;
                }
                return Err(store_error(error));
            }
        };
        let finished = Finished {
            key: session.key,
            epoch: epoch.max(1),
        };
        self.keep_upload(&staged, target, Some(finished)).await?;
        drop(turn);
        Ok(())
    }

    async fn finish_published(&self, target: &Target, row: Upload, digest: &Digest) -> Result<()> {
        let (place, _) = self.place(digest, row.received).await?;
        let staged = self
            .store()
            .restage(&row.id, digest, &place.location, row.received)
            .await
            .map_err(store_error)?;
        let staged = staged.ok_or_else(unknown)?;
        self.keep_upload(
            &staged,
            target,
            Some(Finished {
                key: row.id,
                epoch: row.epoch,
            }),
        )
        .await
    }

    /// A whole upload in one request (POST with `digest`): no session that anybody could come back to.
    pub async fn push_blob<S>(&self, target: &Target, digest: &Digest, body: S) -> Result<()>
    where
        S: Stream<Item = Result<Bytes>> + Unpin + Send,
    {
        let key = uuid::Uuid::new_v4().simple().to_string();
        let mut writer = self
            .store()
            .begin(&key, digest.algorithm())
            .await
            .map_err(store_error)?;
        let kept = async {
            copy(body, &mut writer).await?;
            let staged = writer.finish(digest).await.map_err(store_error)?;
            self.keep_upload(&staged, target, None).await
        }
        .await;
        if kept.is_err() {
            // Nobody knows its name, so nobody will continue it.
            let _ = self.store().discard(&key).await;
        }
        kept
    }

    /// Ends a session and forgets its bytes.
    pub async fn cancel_upload(&self, name: NameRef<'_>, caller: &str, id: &str) -> Result<()> {
        let session = self.session(name, caller, id)?;
        let _turn = self.0.sessions.enter(&session.key).await?;
        let (key, repository) = (session.key.clone(), name.as_str().to_owned());
        let cancelled = self
            .db()
            .write(move |tx| {
                let (key, repository) = (key.clone(), repository.clone());
                Box::pin(async move {
                    let now = tx.now().await?;
                    uploads::cancel(tx, &key, &repository, now).await
                })
            })
            .await?;
        if !cancelled {
            return Err(unknown());
        }
        self.store()
            .discard(&session.key)
            .await
            .map_err(store_error)
    }

    fn session(&self, name: NameRef<'_>, caller: &str, id: &str) -> Result<Session> {
        self.0
            .sessions
            .verify(id, name, caller, self.db().clock().now())
    }

    /// Opens the session's bytes for appending, when the chunk begins where they end.
    async fn resume<'a>(
        &self,
        target: &Target,
        session: Session,
        turn: Turn<'a>,
        row: Option<Upload>,
        range: Option<ByteRange>,
    ) -> Result<Open<'a>> {
        let have = row.as_ref().map_or(0, |row| row.received);
        if range.is_some_and(|range| range.start != have) {
            return Err(Error::RangeMismatch { have });
        }
        let epoch = self.take(target, &session, row.as_ref()).await?;
        let parked = self.0.sessions.unpark(&session.key, have);
        let flushed = row
            .and_then(|row| row.hash_state)
            .and_then(|state| HashState::from_bytes(&state).ok());
        let saved = parked.as_deref().or(flushed.as_ref());
        let store = self.store();
        let writer = if have == 0 {
            store.begin(&session.key, session.algorithm).await
        } else {
            store
                .resume(&session.key, have, saved, session.algorithm)
                .await
        };
        let writer = writer.map_err(|error| match error {
            blob::Error::NotFound => unknown(),
            other => store_error(other),
        })?;
        Ok(Open {
            session,
            turn,
            writer,
            epoch,
            noted: have,
        })
    }

    /// Where other nodes may write too, the row decides who does.
    async fn take(&self, target: &Target, session: &Session, row: Option<&Upload>) -> Result<i64> {
        let seen = row.map(|row| row.epoch);
        if self.db().is_exclusive() {
            return Ok(seen.unwrap_or(0));
        }
        let (key, repository) = (session.key.clone(), target.name.as_str().to_owned());
        self.db()
            .write(move |tx| {
                let (key, repository) = (key.clone(), repository.clone());
                Box::pin(async move {
                    let now = tx.now().await?;
                    uploads::take(tx, &key, &repository, seen, now).await
                })
            })
            .await?
            .ok_or_else(taken_over)
    }

    /// Takes the body in. Whatever ends it, the bytes before stay in the writer.
    async fn receive<S>(&self, target: &Target, open: &mut Open<'_>, chunk: Chunk<S>) -> Received
    where
        S: Stream<Item = Result<Bytes>> + Unpin + Send,
    {
        let begin = open.writer.offset();
        let mut body = chunk.body;
        loop {
            let next = tokio::select! {
                biased;
                () = open.turn.cut() => return Received::Cut(taken_over()),
                next = body.next() => next,
            };
            let bytes = match next {
                None => break,
                Some(Err(error)) => return Received::Cut(error),
                Some(Ok(bytes)) => bytes,
            };
            if let Err(error) = open.writer.write(bytes).await {
                return Received::Cut(store_error(error));
            }
            let fresh = open.writer.offset() - open.noted;
            let due = if open.epoch == 0 {
                fresh >= FIRST_NOTE
            } else {
                fresh >= NOTE_EVERY
            };
            if due && let Err(error) = self.note_flushed(target, open).await {
                return Received::Cut(error);
            }
        }
        let came = open.writer.offset() - begin;
        let told = chunk.range.map(|range| range.len()).or(chunk.length);
        match told {
            Some(told) if told != came => Received::Cut(Error::invalid(
                What::Size,
                format!(
                    "the request speaks of {told} bytes and brought {came}: ask for the upload's status and go on from there"
                ),
            )),
            _ => Received::Whole,
        }
    }

    async fn note_flushed(&self, target: &Target, open: &mut Open<'_>) -> Result<()> {
        let state = open.writer.flush().await.map_err(store_error)?;
        let received = state.offset;
        open.epoch = self
            .note(
                target,
                &open.session.key,
                open.epoch,
                received,
                Some(state.to_bytes()),
            )
            .await?;
        open.noted = received;
        Ok(())
    }

    /// The end of a request that leaves the session open: everything received is in the file, and the row says how much.
    async fn put_aside(&self, target: &Target, mut open: Open<'_>) -> Result<u64> {
        let received = match open.writer.settle().await {
            Ok(received) => received,
            Err(blob::Error::Full) => open.writer.settle().await.map_err(store_error)?,
            Err(error) => return Err(store_error(error)),
        };
        if received > open.noted {
            self.note(target, &open.session.key, open.epoch, received, None)
                .await?;
        }
        if let Ok(state) = open.writer.state().await {
            self.0.sessions.park(&open.session.key, state);
        }
        Ok(received)
    }

    /// Writes how far the session has come; makes its row when there is none (`epoch` 0). Answers the row's epoch.
    async fn note(
        &self,
        target: &Target,
        key: &str,
        epoch: i64,
        received: u64,
        hash_state: Option<Vec<u8>>,
    ) -> Result<i64> {
        let (key, repository) = (key.to_owned(), target.name.as_str().to_owned());
        self.db()
            .write(move |tx| {
                let (key, repository, hash_state) =
                    (key.clone(), repository.clone(), hash_state.clone());
                Box::pin(async move {
                    let now = tx.now().await?;
                    let epoch = match epoch {
                        0 => uploads::take(tx, &key, &repository, None, now)
                            .await?
                            .ok_or_else(taken_over)?,
                        epoch => epoch,
                    };
                    let kept =
                        uploads::advance(tx, &key, epoch, received, hash_state.as_deref(), now)
                            .await?;
                    if kept { Ok(epoch) } else { Err(taken_over()) }
                })
            })
            .await
    }
}

/// Body to writer, until the body ends.
async fn copy<S>(mut body: S, writer: &mut Writer) -> Result<()>
where
    S: Stream<Item = Result<Bytes>> + Unpin + Send,
{
    while let Some(bytes) = body.next().await {
        writer.write(bytes?).await.map_err(store_error)?;
    }
    Ok(())
}

fn unknown() -> Error {
    Error::not_found(
        What::Upload,
        "no such upload: it has ended or was never begun",
    )
}

fn taken_over() -> Error {
    Error::Conflict("another request has taken this upload over".to_owned())
}
