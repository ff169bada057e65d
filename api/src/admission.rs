//! How much may run at once. Long transfers and small requests have separate room, so that a thousand pulls do not keep a
//! manifest's HEAD or a health check waiting; what finds no room is asked to come back.

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use model::{Error, Result};

pub struct Admission {
    uploads: Arc<Places>,
    downloads: Arc<Places>,
    requests: Arc<Places>,
}

/// The kind of room a request takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Room {
    /// Bytes of a blob come in.
    Upload,
    /// Bytes of a blob go out.
    Download,
    /// Everything else, and each request until it is known who asks and whether he may.
    Small,
}

/// How many places are free. Nobody ever waits for one, so a number is enough.
struct Places(AtomicUsize);

/// A place, held as long as the request, or its answer's body, runs.
pub struct Permit(Arc<Places>);

impl Admission {
    pub fn new(uploads: usize, downloads: usize, requests: usize) -> Self {
        let room = |places: usize| Arc::new(Places(AtomicUsize::new(places.max(1))));
        Self {
            uploads: room(uploads),
            downloads: room(downloads),
            requests: room(requests),
        }
    }

    pub fn enter(&self, room: Room) -> Result<Permit> {
        let places = match room {
            Room::Upload => &self.uploads,
            Room::Download => &self.downloads,
            Room::Small => &self.requests,
        };
        let taken = places
            .0
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, |free| {
                free.checked_sub(1)
            });
        match taken {
            Ok(_) => Ok(Permit(Arc::clone(places))),
            Err(_) => Err(Error::TooMany {
                retry_after: Duration::from_secs(1),
            }),
        }
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        self.0.0.fetch_add(1, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_room_has_its_places_and_gets_them_back() {
        let admission = Admission::new(1, 2, 0);
        let upload = admission.enter(Room::Upload).expect("the only place");
        assert!(matches!(
            admission.enter(Room::Upload),
            Err(Error::TooMany { .. })
        ));
        let downloads = [Room::Download; 2].map(|room| admission.enter(room).expect("a place"));
        assert!(admission.enter(Room::Download).is_err());
        drop((upload, downloads));
        for room in [Room::Upload, Room::Download, Room::Small] {
            admission.enter(room).expect("free again");
        }
    }
}
