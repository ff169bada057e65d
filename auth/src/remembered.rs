//! What was read from a database that no other process writes, valid until a write changes somebody's rights. Only what was
//! found is remembered: names that do not exist are endless.

use std::hash::Hash;

use quick_cache::{Equivalent, sync::Cache};

pub(crate) struct Remembered<K, V>(Cache<K, (u64, V)>);

impl<K: Hash + Eq, V: Clone> Remembered<K, V> {
    pub(crate) fn new(most: usize) -> Self {
        Self(Cache::new(most))
    }

    /// `generation` is the one of now; none where nothing may be remembered.
    pub(crate) fn get<Q: Hash + Equivalent<K> + ?Sized>(
        &self,
        generation: Option<u64>,
        key: &Q,
    ) -> Option<V> {
        let (read_at, value) = self.0.get(key)?;
        (Some(read_at) == generation).then_some(value)
    }

    /// `generation` is the one from before the value was read, so that a write in between is noticed.
    pub(crate) fn keep(&self, generation: Option<u64>, key: K, value: &V) {
        if let Some(generation) = generation {
            self.0.insert(key, (generation, value.clone()));
        }
    }
}
