//! What the batches of this process came to, counted where they happen.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use super::Figures;
use crate::feed::{EventKind, OrderEvent};

/// How many seconds the figures are about.
const WINDOW: usize = 10;
/// Batches of one second whose times are kept; of more, the first.
const TIMES_MAX: usize = 4096;

/// Counts, at the cost of a few instructions per message and a short lock per batch.
#[derive(Debug, Default)]
pub struct Pulse {
    /// How many wait now.
    waiting: AtomicUsize,
    /// The most that waited since the last look.
    waiting_max: AtomicUsize,
    second: Mutex<Second>,
}

/// What one second came to.
#[derive(Debug, Default)]
pub(super) struct Second {
    waiting_max: usize,
    orders: usize,
    batches: usize,
    requests: usize,
    largest: usize,
    times_us: Vec<u32>,
}

impl Pulse {
    /// So many requests wait for a batch.
    pub(crate) fn waiting(&self, count: usize) {
        self.waiting.store(count, Ordering::Relaxed);
        self.waiting_max.fetch_max(count, Ordering::Relaxed);
    }

    /// A batch has been committed.
    pub(crate) fn committed(&self, requests: usize, events: &[EventKind], time: Duration) {
        let is_placed =
            |kind: &&EventKind| matches!(kind, EventKind::Order { event: OrderEvent::Placed, .. });
        let orders = events.iter().filter(is_placed).count();
        let mut second = self.second.lock().unwrap_or_else(PoisonError::into_inner);
        second.orders += orders;
        second.batches += 1;
        second.requests += requests;
        second.largest = second.largest.max(requests);
        if second.times_us.len() < TIMES_MAX {
            second.times_us.push(u32::try_from(time.as_micros()).unwrap_or(u32::MAX));
        }
    }

    /// What there was since this was last asked.
    pub(super) fn take(&self) -> Second {
        let mut second = std::mem::take(&mut *self.second.lock().unwrap_or_else(PoisonError::into_inner));
        // Who waits still, waits in the next second as well.
        second.waiting_max = self.waiting_max.swap(self.waiting.load(Ordering::Relaxed), Ordering::Relaxed);
        second
    }
}

/// The last seconds.
#[derive(Debug, Default)]
pub(super) struct Recent(VecDeque<Second>);

impl Recent {
    /// Adds a second, and lets go of one that is past.
    pub(super) fn push(&mut self, second: Second) {
        if self.0.len() == WINDOW {
            self.0.pop_front();
        }
        self.0.push_back(second);
    }

    /// What they come to; without what is not counted here.
    pub(super) fn figures(&self) -> Figures {
        let sum = |of: fn(&Second) -> usize| self.0.iter().map(of).sum::<usize>();
        let batches = sum(|second| second.batches);
        let mean = (sum(|second| second.requests) + batches / 2).checked_div(batches).unwrap_or(0);
        let mut times: Vec<u32> = self.0.iter().flat_map(|second| &second.times_us).copied().collect();
        Figures {
            queue: count(self.0.back().map_or(0, |second| second.waiting_max)),
            window_s: count(self.0.len()),
            orders: count(sum(|second| second.orders)),
            batches: count(batches),
            batch_size_mean: count(mean),
            batch_size_max: count(self.0.iter().map(|second| second.largest).max().unwrap_or(0)),
            commit_p50_us: percentile(&mut times, 50),
            commit_p99_us: percentile(&mut times, 99),
            ..Figures::default()
        }
    }
}

/// The smallest of `times` that at least `percent` of them do not exceed (nearest rank); 0 without any.
fn percentile(times: &mut [u32], percent: usize) -> i64 {
    if times.is_empty() {
        return 0;
    }
    let rank = (times.len() * percent).div_ceil(100).max(1);
    i64::from(*times.select_nth_unstable(rank - 1).1)
}

fn count(number: usize) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::orders::OrderStatus;
    use crate::types::{Money, OrderId, ProductId, UserId};

    fn placed() -> EventKind {
        EventKind::Order {
            order: OrderId(1),
            user: UserId(1),
            event: OrderEvent::Placed,
            status: OrderStatus::Pending,
            total: Money::ZERO,
        }
    }

    #[test]
    fn percentiles_are_of_the_nearest_rank() {
        let mut times: Vec<u32> = (1..=200).rev().collect();
        assert_eq!((percentile(&mut times, 50), percentile(&mut times, 99)), (100, 198));
        assert_eq!(percentile(&mut [7], 99), 7);
        assert_eq!(percentile(&mut [], 50), 0);
    }

    #[test]
    fn figures_are_about_the_last_ten_seconds() {
        let pulse = Pulse::default();
        let mut recent = Recent::default();
        let stock = EventKind::Stock { product: ProductId(1), stock: 1, price: Money::ZERO };
        pulse.committed(9, &[placed(), stock, placed()], Duration::from_millis(5));
        pulse.committed(2, &[], Duration::from_millis(1));
        recent.push(pulse.take());
        let figures = recent.figures();
        assert_eq!((figures.window_s, figures.orders, figures.batches), (1, 2, 2));
        assert_eq!((figures.batch_size_mean, figures.batch_size_max), (6, 9));
        assert_eq!((figures.commit_p50_us, figures.commit_p99_us), (1_000, 5_000));
        for _ in 0..WINDOW {
            recent.push(pulse.take());
        }
        assert_eq!(recent.figures(), Figures { window_s: 10, ..Figures::default() });
    }

    #[test]
    fn the_queue_is_the_longest_of_its_second() {
        let pulse = Pulse::default();
        [3, 8, 2].into_iter().for_each(|count| pulse.waiting(count));
        assert_eq!(pulse.take().waiting_max, 8);
        assert_eq!(pulse.take().waiting_max, 2, "they wait still");
        pulse.waiting(0);
        assert_eq!((pulse.take().waiting_max, pulse.take().waiting_max), (2, 0));
    }
}
