//! Which jobs a node has room for. A kind of which there are thousands leaves room for others, and what nobody waits for leaves room
//! for what somebody waits for, so that neither ever has to wait until the other is done.

use std::{collections::HashMap, sync::Arc};

use db::jobs::Queue;
use model::job::{Job, Kind};
use parking_lot::Mutex;

pub(crate) struct Slots {
    workers: usize,
    running: Mutex<Running>,
}

#[derive(Default)]
struct Running {
    kinds: HashMap<Kind, usize>,
    priorities: HashMap<i64, usize>,
}

/// Room that a job takes; given back when it is dropped.
pub(crate) struct Slot {
    slots: Arc<Slots>,
    queue: Queue,
}

impl Slots {
    pub(crate) fn new(workers: usize) -> Self {
        Self {
            workers: workers.max(1),
            running: Mutex::default(),
        }
    }

    /// The queues out of which one more job may be taken.
    pub(crate) fn wanted(&self) -> Vec<Queue> {
        let running = self.running.lock();
        let all = Queue::all().into_iter();
        all.filter(|queue| self.has_room(&running, *queue))
            .collect()
    }

    fn has_room(&self, running: &Running, queue: Queue) -> bool {
        let kind = running.kinds.get(&queue.kind).copied().unwrap_or(0);
        kind < queue.kind.limit(self.workers)
            && Job::PRIORITIES
                .iter()
                .filter(|priority| **priority >= queue.priority)
                .all(|priority| running.up_to(*priority) < self.most(*priority))
    }

    /// How many jobs of this priority and lower ones may run at once: each leaves something to those above it.
    fn most(&self, priority: i64) -> usize {
        let workers = self.workers;
        match priority {
            Job::ASKED_FOR => workers,
            Job::ORDINARY => workers - usize::from(workers > 1) * (workers / 5).max(1),
            _ => (workers / 2).max(1),
        }
    }

    pub(crate) fn take(self: &Arc<Self>, job: &Job) -> Slot {
        let queue = Queue {
            kind: job.kind(),
            priority: job.priority(),
        };
        let mut running = self.running.lock();
        *running.kinds.entry(queue.kind).or_default() += 1;
        *running.priorities.entry(queue.priority).or_default() += 1;
        Slot {
            slots: self.clone(),
            queue,
        }
    }
}

impl Running {
    fn up_to(&self, priority: i64) -> usize {
        let lower = self.priorities.iter().filter(|(one, _)| **one <= priority);
        lower.map(|(_, count)| count).sum()
    }
}

impl Drop for Slot {
    fn drop(&mut self) {
        let mut running = self.slots.running.lock();
        if let Some(count) = running.kinds.get_mut(&self.queue.kind) {
            *count -= 1;
        }
        if let Some(count) = running.priorities.get_mut(&self.queue.priority) {
            *count -= 1;
        }
    }
}

#[cfg(test)]
mod tests {
    use model::id::{PolicyId, RepositoryId, UserId};

    use super::*;

    fn retain(dry_run: bool) -> Job {
        Job::Retain {
            policy: PolicyId(1),
            repository: RepositoryId(1),
            dry_run,
        }
    }

    fn wants(slots: &Slots, job: &Job) -> bool {
        let wanted = Queue {
            kind: job.kind(),
            priority: job.priority(),
        };
        slots.wanted().contains(&wanted)
    }

    /// Takes as many as there is room for.
    fn fill(slots: &Arc<Slots>, job: &Job) -> Vec<Slot> {
        let mut taken = Vec::new();
        while wants(slots, job) {
            taken.push(slots.take(job));
        }
        taken
    }

    #[test]
    fn what_nobody_waits_for_leaves_room_for_what_somebody_waits_for() {
        for workers in [1, 2, 3, 10, 64] {
            let slots = Arc::new(Slots::new(workers));
            let bulk = fill(&slots, &retain(false));
            let ordinary = fill(
                &slots,
                &Job::ForgetUser {
                    user: 1,
                    account: true,
                    audit: true,
                },
            );
            let mail = Job::Mail {
                user: UserId(1),
                letter: model::job::Letter::PasswordReset,
            };
            assert!(!bulk.is_empty() && bulk.len() <= (workers / 2).max(1));
            assert!(bulk.len() + ordinary.len() <= workers);
            assert_eq!(wants(&slots, &mail), workers > 1, "{workers}");
        }
    }

    #[test]
    fn a_kind_takes_what_is_its_share_and_gives_it_back() {
        let slots = Arc::new(Slots::new(10));
        let taken = fill(&slots, &retain(true));
        assert_eq!(taken.len(), 5);
        let gc = Job::Gc(model::job::Gc::default());
        assert_eq!(fill(&slots, &gc).len(), 1);
        assert!(wants(&slots, &gc), "it was given back");
        drop(taken);
        assert_eq!(fill(&slots, &retain(true)).len(), 5);
    }
}
