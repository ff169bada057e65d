//! Uploads: open, append, finish, cancel. Bytes are hashed on the way to the disk; how far a session has come is said by
//! its row, and a client that lost its connection goes on at exactly that byte.

mod open;
#[cfg(test)]
mod tests;

use blob::{Staged, Writer};
use bytes::Bytes;
use db::{
    blobs,
    uploads::{self, Upload},
};
use futures_util::{Stream, StreamExt};
use model::{Error, Result, What};
use oci::{
    digest::{Algorithm, Digest},
    name::NameRef,
    range::ByteRange,
};

use crate::{
    Registry,
    push::{Finished, Place, Target},
    session::{Checked, Session},
    store_error,
    upload::open::{Open, Taken},
};

/// A chunk as a request brings it.
pub struct Chunk<S> {
    /// Where the client says it belongs (Content-Range).
    pub range: Option<ByteRange>,
    /// The body's length, when the request says it.
    pub length: Option<u64>,
    /// A quota limits what the project may hold.
    pub is_limited: bool,
    pub body: S,
}

async fn brings_nothing(
    mut body: impl Stream<Item = Result<Bytes>> + Unpin + Send,
) -> Result<bool> {
    while let Some(bytes) = body.next().await {
        if !bytes?.is_empty() {
            return Ok(false);
        }
    }
    Ok(true)
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

    /// How many bytes of the upload are here. A writer at work is cut off: who asks has lost it.
    pub async fn upload_received(&self, name: NameRef<'_>, caller: &str, id: &str) -> Result<u64> {
        let session = self.0.sessions.verify(id, name, caller)?;
        let _turn = self.0.sessions.enter(&session.key).await?;
        match self.row(&session).await? {
            Some(row) if row.finished.is_some() => Err(unknown()),
            row => self.settle_received(&session, row).await,
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
        let store = self.store().moves();
        let appended = self.append(target, caller, id, chunk, store).await;
        appended.map_err(|error| self.unless_moved(store, error))
    }

    async fn append<S>(
        &self,
        target: &Target,
        caller: &str,
        id: &str,
        chunk: Chunk<S>,
        store: u64,
    ) -> Result<u64>
    where
        S: Stream<Item = Result<Bytes>> + Unpin + Send,
    {
        let sessions = &self.0.sessions;
        let session = sessions.verify(id, target.name.borrowed(), caller)?;
        let turn = sessions.enter(&session.key).await?;
        let row = self.row(&session).await?;
        if row.as_ref().is_some_and(|row| row.finished.is_some()) {
            return Err(unknown());
        }
        self.check_chunk(target, row.as_ref(), &chunk, None).await?;
        let taken = self.take(target, session, turn, row, chunk.range).await?;
        let mut open = match self.open(taken).await {
            Ok(open) => open,
            Err((taken, why)) => return Err(self.refuse(target, &taken, why).await),
        };
        let received = self.receive(target, &mut open, chunk).await;
        let _publishing = self.publish_in(store).await?;
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
        let store = self.store().moves();
        let finished = self.finish(target, caller, id, digest, chunk, store).await;
        finished.map_err(|error| self.unless_moved(store, error))
    }

    async fn finish<S>(
        &self,
        target: &Target,
        caller: &str,
        id: &str,
        digest: &Digest,
        chunk: Chunk<S>,
        store: u64,
    ) -> Result<()>
    where
        S: Stream<Item = Result<Bytes>> + Unpin + Send,
    {
        let sessions = &self.0.sessions;
        let session = sessions.verify(id, target.name.borrowed(), caller)?;
        let turn = sessions.enter(&session.key).await?;
        let row = self.row(&session).await?;
        match row.as_ref().and_then(|row| row.finished) {
            Some(before) if before == *digest => return Ok(()),
            Some(_) => return Err(unknown()),
            None => {}
        }
        // A commit that failed after the bytes had found their place: they are still there. In a bucket that is known at once.
        let checked = sessions.checked(&session.key, digest);
        if let Some(checked) = checked.as_ref().filter(|checked| checked.own.is_some()) {
            let taken = self.take(target, session, turn, row, None).await?;
            return self.finish_published(target, taken, digest, checked).await;
        }
        self.check_chunk(target, row.as_ref(), &chunk, Some(digest))
            .await?;
        let taken = self.take(target, session, turn, row, chunk.range).await?;
        match self.open(taken).await {
            Ok(open) => self.finish_open(target, open, digest, chunk, store).await,
            Err((taken, why)) => {
                let proven = match checked {
                    None if why.is_gone() && brings_nothing(chunk.body).await? => {
                        taken.proven(digest)
                    }
                    checked => checked,
                };
                match proven {
                    Some(proven) => self.finish_published(target, taken, digest, &proven).await,
                    None => Err(self.refuse(target, &taken, why).await),
                }
            }
        }
    }

    /// Asks the quota before the chunk's bytes come, as far as their number is known. A chunk that does not begin where the upload
    /// ends is refused for that.
    async fn check_chunk<S>(
        &self,
        target: &Target,
        row: Option<&Upload>,
        chunk: &Chunk<S>,
        digest: Option<&Digest>,
    ) -> Result<()> {
        let have = row.map_or(0, |row| row.received);
        if !chunk.is_limited
            || chunk
                .range
                .as_ref()
                .is_some_and(|range| range.start != have)
        {
            return Ok(());
        }
        let whole = have.saturating_add(chunk.length.unwrap_or(0));
        self.check_quota(target.project, whole, digest).await
    }

    async fn finish_open<S>(
        &self,
        target: &Target,
        mut open: Open<'_>,
        digest: &Digest,
        chunk: Chunk<S>,
        store: u64,
    ) -> Result<()>
    where
        S: Stream<Item = Result<Bytes>> + Unpin + Send,
    {
        let received = self.receive(target, &mut open, chunk).await;
        let _publishing = self.publish_in(store).await?;
        if let Received::Cut(error) = received {
            self.put_aside(target, open).await?;
            return Err(error);
        }
        let ended = self.end(&mut open.writer, digest).await;
        let (staged, published) = match ended {
            Ok(ended) => ended,
            Err(error) => {
                self.put_aside(target, open).await?;
                return Err(error);
            }
        };
        let taken = open.taken;
        let sessions = &self.0.sessions;
        let own = staged.own_location().map(str::to_owned);
        sessions.keep_checked(&taken.session.key, *digest, staged.size, own);
        self.keep_session(&staged, published?, target, taken).await
    }

    /// Ends the writing: everything checked, on the disk, and published where the content's place is now.
    async fn end(
        &self,
        writer: &mut Writer,
        digest: &Digest,
    ) -> Result<(Staged, Result<Option<Place>>)> {
        let (place, _) = self.place(digest, writer.offset()).await?;
        let (staged, published) = writer
            .finish_at(digest, &place.location)
            .await
            .map_err(store_error)?;
        let place = match published {
            Ok(()) => Ok(Some(place)),
            // The place is another by now.
            Err(blob::Error::Withdrawn) => Ok(None),
            Err(error) => Err(store_error(error)),
        };
        Ok((staged, place))
    }

    async fn finish_published(
        &self,
        target: &Target,
        taken: Taken<'_>,
        digest: &Digest,
        checked: &Checked,
    ) -> Result<()> {
        let _publishing = self.publishing().await?;
        let (place, _) = self.place(digest, checked.size).await?;
        let location = checked.own.as_ref().unwrap_or(&place.location);
        let staged = self
            .store()
            .restage(taken.file(), digest, location, checked.size)
            .await
            .map_err(store_error)?;
        let staged = staged.ok_or_else(unknown)?;
        self.keep_session(&staged, None, target, taken).await
    }

    /// Makes the upload content of the repository, and its session one that is finished.
    async fn keep_session(
        &self,
        staged: &Staged,
        published: Option<Place>,
        target: &Target,
        taken: Taken<'_>,
    ) -> Result<()> {
        let finished = Finished {
            key: taken.session.key.clone(),
            epoch: taken.epoch,
        };
        self.keep_upload(staged, published, target, Some(finished))
            .await?;
        self.0.sessions.forget_checked(&taken.session.key);
        Ok(())
    }

    /// A whole upload in one request (POST with `digest`): no session that anybody could come back to.
    pub async fn push_blob<S>(&self, target: &Target, digest: &Digest, body: S) -> Result<()>
    where
        S: Stream<Item = Result<Bytes>> + Unpin + Send,
    {
        let (key, store) = (
            uuid::Uuid::new_v4().simple().to_string(),
            self.store().moves(),
        );
        // In a bucket its row says what to tidy up, whatever becomes of it.
        let finished = if self.store().shares_uploads() {
            let epoch = self.take_row(&key, target.name.as_str(), None).await?;
            let epoch = epoch.ok_or_else(taken_over)?;
            Some(Finished {
                key: key.clone(),
                epoch,
            })
        } else {
            None
        };
        let mut writer = self
            .store()
            .begin(&key, digest.algorithm())
            .await
            .map_err(store_error)?;
        let ended = async {
            self.copy(target, body, &mut writer, finished.as_ref())
                .await?;
            let publishing = self.publish_in(store).await?;
            let (staged, published) = self.end(&mut writer, digest).await?;
            Ok((publishing, staged, published?))
        };
        let (_publishing, staged, published) = match ended.await {
            Ok(ended) => ended,
            Err(error) => {
                // Nobody knows its name, so nobody will continue it.
                let _ = self.clear_upload(&key, None, None).await;
                return Err(self.unless_moved(store, error));
            }
        };
        // After an error the bytes stay: the commit may have been done all the same.
        self.keep_upload(&staged, published, target, finished).await
    }

    /// Body to writer, until the body ends. Nobody goes on with it; but a row that nothing is heard of for long is taken for one that
    /// was given up.
    async fn copy<S>(
        &self,
        target: &Target,
        mut body: S,
        writer: &mut Writer,
        row: Option<&Finished>,
    ) -> Result<()>
    where
        S: Stream<Item = Result<Bytes>> + Unpin + Send,
    {
        while let Some(bytes) = body.next().await {
            writer.write(bytes?).await.map_err(store_error)?;
            if writer.is_due(0, u64::MAX) {
                let saved = writer.save().await.map_err(store_error)?;
                if let Some(row) = row {
                    self.advance_row(target, row, &saved).await?;
                }
            }
        }
        Ok(())
    }

    /// Ends a session and forgets its bytes.
    pub async fn cancel_upload(&self, name: NameRef<'_>, caller: &str, id: &str) -> Result<()> {
        let session = self.0.sessions.verify(id, name, caller)?;
        let _turn = self.0.sessions.enter(&session.key).await?;
        self.row(&session).await?;
        let (key, repository) = (session.key, name.as_str().to_owned());
        let file = self
            .db()
            .write(move |tx| {
                let (key, repository) = (key.clone(), repository.clone());
                Box::pin(async move {
                    let now = tx.now().await?;
                    uploads::cancel(tx, &key, &repository, now).await
                })
            })
            .await?;
        let file = file.ok_or_else(unknown)?;
        self.clear_upload(&file, None, None).await
    }

    /// Takes away what an upload left in the store that has ended, or that nobody can go on with. `saved` is what its row said last,
    /// `finished` what it became: an object of its own that is content stays, whoever's session it was.
    pub async fn clear_upload(
        &self,
        file: &str,
        saved: Option<&[u8]>,
        finished: Option<&Digest>,
    ) -> Result<()> {
        let store = self.store();
        let saved = saved.and_then(|saved| blob::Saved::from_bytes(saved).ok());
        store
            .discard(file, saved.as_ref())
            .await
            .map_err(store_error)?;
        let mut left = store.own_locations(file).await.map_err(store_error)?;
        if left.is_empty() {
            return Ok(());
        }
        let known = blobs::known_locations(&mut *self.db().reader().await?, &left).await?;
        left.retain(|location| !known.contains(location));
        store.remove_own(&left, finished).await.map_err(store_error)
    }

    /// The session's row, unless it was cancelled. An id whose time is over stands for as long as bytes keep coming.
    pub(super) async fn row(&self, session: &Session) -> Result<Option<Upload>> {
        let mut reader = self.db().reader().await?;
        let row = uploads::find(&mut reader, &session.key).await?;
        if self.db().clock().now() > session.expires {
            let now = reader.now(self.db().clock()).await?;
            let touched = row.as_ref().map(|row| row.updated_at);
            let ends = touched.map(|touched| touched.plus(self.config().uploads_expire));
            if now > ends.map_or(session.expires, |ends| ends.max(session.expires)) {
                return Err(unknown());
            }
        }
        match row {
            Some(row) if row.cancelled => Err(unknown()),
            row => Ok(row),
        }
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
                () = open.taken.turn.cut() => return Received::Cut(taken_over()),
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
            if open.is_due()
                && let Err(error) = self.note_flushed(target, open).await
            {
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
