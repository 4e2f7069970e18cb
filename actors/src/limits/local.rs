//! Counters in this process.
//!
//! Promises: at most 131,072 clients are remembered for a limit, some 10 MB; past that, those who
//! have not been seen for longest are forgotten, half of a shard at a time, without a search.

use std::collections::HashMap;
use std::hash::{BuildHasher, RandomState};
use std::mem;
use std::sync::{Mutex, PoisonError};
use std::time::Instant;

use super::Client;
use super::gcra::{Gcra, Step, Verdict, micros};

/// Parts that are locked one by one.
const SHARDS: usize = 16;
/// Clients of one generation of a shard.
const GENERATION_MAX: usize = 4096;

/// The theoretical arrival time of each client's next request, in microseconds after the start.
pub(super) struct Counters {
    started: Instant,
    hasher: RandomState,
    shards: [Mutex<Shard>; SHARDS],
}

/// Two generations. Whoever is counted is in the younger one; when that is full, it becomes the
/// older one, and the older one is forgotten.
#[derive(Default)]
struct Shard {
    young: HashMap<Client, u64>,
    old: HashMap<Client, u64>,
}

impl Shard {
    fn get(&self, client: Client) -> u64 {
        let known = self.young.get(&client).or_else(|| self.old.get(&client));
        known.copied().unwrap_or(0)
    }

    fn set(&mut self, client: Client, tat_us: u64) {
        if self.young.len() >= GENERATION_MAX && !self.young.contains_key(&client) {
            self.old = mem::take(&mut self.young);
        }
        self.young.insert(client, tat_us);
    }
}

impl Counters {
    /// Nobody has asked for anything.
    pub(super) fn new() -> Self {
        let shards = std::array::from_fn(|_| Mutex::default());
        Self { started: Instant::now(), hasher: RandomState::new(), shards }
    }

    /// Takes a step on a client's counter.
    pub(super) fn step(&self, gcra: &Gcra, client: Client, step: Step) -> Verdict {
        let now_us = self.now_us();
        self.with_shard(client, |shard| {
            let verdict = gcra.step(shard.get(client), now_us, step);
            if step != Step::Look {
                shard.set(client, now_us + verdict.ahead_us);
            }
            verdict
        })
    }

    /// Notes what was learned elsewhere: that at `since_us` the arrival time was no less far ahead.
    pub(super) fn note(&self, client: Client, since_us: u64, ahead_us: u64) {
        let tat_us = since_us.saturating_add(ahead_us);
        self.with_shard(client, |shard| {
            if tat_us > shard.get(client) {
                shard.set(client, tat_us);
            }
        });
    }

    /// This process's time.
    pub(super) fn now_us(&self) -> u64 {
        micros(self.started.elapsed())
    }

    fn with_shard<T>(&self, client: Client, work: impl FnOnce(&mut Shard) -> T) -> T {
        let hash = usize::try_from(self.hasher.hash_one(client) % SHARDS as u64).unwrap_or(0);
        let mut shard = self.shards[hash].lock().unwrap_or_else(PoisonError::into_inner);
        work(&mut shard)
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::limits::RateLimit;
    use crate::types::UserId;

    fn gcra() -> Gcra {
        Gcra::new(RateLimit { interval: Duration::from_secs(3600), burst: 2 })
    }

    fn take(counters: &Counters, user: i64) -> bool {
        counters.step(&gcra(), Client::Account(UserId(user)), Step::Take).wait_us == 0
    }

    #[test]
    fn clients_are_counted_apart() {
        let counters = Counters::new();
        assert!(take(&counters, 1) && take(&counters, 1) && !take(&counters, 1));
        assert!(take(&counters, 2));
    }

    #[test]
    fn what_was_learned_elsewhere_counts_unless_it_is_less() {
        let (counters, client) = (Counters::new(), Client::Account(UserId(1)));
        counters.note(client, counters.now_us(), micros(Duration::from_secs(7200)));
        assert!(!take(&counters, 1));
        counters.note(client, counters.now_us(), 0);
        assert!(!take(&counters, 1));
    }

    #[test]
    fn memory_is_bounded_and_who_keeps_asking_is_remembered() {
        let counters = Counters::new();
        assert!(take(&counters, -1) && take(&counters, -1));
        for user in 0..500_000 {
            take(&counters, user);
            if user % 10_000 == 0 {
                assert!(!take(&counters, -1), "after {user} others");
            }
        }
        let held = |shard: &Mutex<Shard>| {
            let shard = shard.lock().unwrap();
            shard.young.len() + shard.old.len()
        };
        let held: usize = counters.shards.iter().map(held).sum();
        assert!(held <= SHARDS * 2 * GENERATION_MAX, "{held}");
    }
}
