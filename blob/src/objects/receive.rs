//! Content that comes from another store: its digest is known, so that it becomes one object below that, in parts.

use std::pin::pin;

use bytes::Bytes;
use futures_util::{Stream, TryStreamExt};
use oci::digest::Digest;

use super::{Objects, keys, keys::Location, progress::Part};
use crate::{
    Error, Result,
    frames::Frames,
    hash::{Hasher, expect_digest},
};

impl Objects {
    /// Stores it at a location below its digest, checked.
    pub(crate) async fn receive(
        &self,
        digest: &Digest,
        location: &str,
        size: u64,
        stream: impl Stream<Item = Result<Bytes>> + Send,
    ) -> Result<()> {
        let Location::Digest(name) = Location::parse(location)? else {
            return Err(Error::Invalid(
                location.to_owned(),
                "location below a digest",
            ));
        };
        let object = format!("{}{name}", keys::dir(digest));
        self.give_up(&object).await?;
        let id = self
            .bucket
            .begin(&object)
            .await
            .map_err(|error| of_target(error, &object))?;
        let carried = self.send(digest, &object, &id, size, stream).await;
        if carried.is_err() {
            let _ = self.bucket.abort(&object, &id).await; // the next attempt does it again
        }
        carried
    }

    /// What an attempt before has left.
    async fn give_up(&self, object: &str) -> Result<()> {
        let begun = match self.bucket.begun(object, None).await {
            Ok(page) => page.found,
            // Not every vendor lists them.
            Err(Error::Remote { is_ours: true, .. }) => return Ok(()),
            Err(error) => return Err(error),
        };
        for begun in begun.iter().filter(|begun| begun.key == object) {
            self.bucket.abort(object, &begun.id).await?;
        }
        Ok(())
    }

    async fn send(
        &self,
        digest: &Digest,
        object: &str,
        id: &str,
        size: u64,
        stream: impl Stream<Item = Result<Bytes>> + Send,
    ) -> Result<()> {
        let part_size = size_of_parts(size, self.part_size, self.bucket.most_parts());
        let (mut frames, mut parts) = (Frames::default(), Vec::new());
        let mut hasher = Hasher::new(digest.algorithm());
        let mut stream = pin!(stream);
        let mut is_over = false;
        while !is_over {
            match stream.try_next().await? {
                Some(bytes) => {
                    hasher.update(&bytes);
                    frames.push(bytes);
                }
                None => is_over = true,
            }
            while frames.len() as u64 >= part_size || (is_over && !frames.is_empty()) {
                let part = frames.split_to((part_size as usize).min(frames.len()));
                let number = parts.len() as u32 + 1;
                let size = part.iter().map(|frame| frame.len() as u64).sum();
                let tag = self.bucket.put_part(object, id, number, part).await;
                let tag = tag.map_err(|error| of_target(error, object))?;
                parts.push(Part { number, size, tag });
            }
        }
        expect_digest(digest, hasher.digest())?;
        match self.bucket.complete(object, id, &parts).await {
            Ok(()) => Ok(()),
            // It may have been done all the same.
            Err(error) => match self.bucket.head(object).await? {
                Some(found) if found == size => Ok(()),
                _ => Err(of_target(error, object)),
            },
        }
    }
}

/// What is missing there is an upload that somebody has ended, or a part that is not seen yet: no content that the source does not have.
fn of_target(error: Error, object: &str) -> Error {
    match error {
        Error::NotFound => Error::Remote {
            what: "carry",
            key: object.to_owned(),
            why: "what was begun there is gone".to_owned(),
            is_ours: false,
        },
        error => error,
    }
}

/// So large that no more parts come than the store takes.
fn size_of_parts(size: u64, least: u64, most: u32) -> u64 {
    least.max(size.div_ceil(u64::from(most)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_content_has_more_parts_than_the_store_takes() {
        const LEAST: u64 = 8 << 20;
        assert_eq!(size_of_parts(1 << 30, LEAST, 10_000), LEAST);
        // S3, OpenStack Swift, and Ceph's gateway in Swift's interface.
        for most in [10_000, 9_000, 1_000] {
            for size in [8_u64 << 30, (80 << 30) + 1, 1 << 40] {
                let parts = size.div_ceil(size_of_parts(size, LEAST, most));
                assert!(parts <= u64::from(most), "{parts} of {most}");
            }
        }
    }
}
