//! How much may wait in front of the batches.
//!
//! By Little's law a message at the end of a queue of length L, served at rate R, waits L / R. So the
//! queue is as long as what is served within the longest wait: a database that slows down shortens
//! it, and whoever would wait longer is told so at once, while they can still go elsewhere. (J. D. C.
//! Little, "A proof for the queuing formula L = λW", Operations Research 9(3), 1961.)

use std::time::{Duration, Instant};

/// The weight of the newest batch in the average, as one part in this many.
const SMOOTHING: u32 = 8;

/// What is known of the pace of the batches.
#[derive(Debug)]
pub(crate) struct Admission {
    /// The longest that a message may wait.
    wait_max: Duration,
    /// The most that may wait however fast it goes.
    queue_max: usize,
    /// What is admitted however slow it goes: one batch, since it will be the next.
    queue_min: usize,
    /// Smoothed time per message.
    pace: Duration,
    /// The batch under way: since when, and of how many.
    under_way: Option<(Instant, u32)>,
}

impl Admission {
    pub(crate) fn new(wait_max: Duration, queue_max: usize, batch_max: usize) -> Self {
        let queue_min = batch_max.min(queue_max);
        Self { wait_max, queue_max, queue_min, pace: Duration::ZERO, under_way: None }
    }

    /// A batch of `size` begins.
    pub(crate) fn begin(&mut self, size: usize, now: Instant) {
        self.under_way = Some((now, u32::try_from(size.max(1)).unwrap_or(u32::MAX)));
    }

    /// It has ended.
    pub(crate) fn end(&mut self, now: Instant) {
        if let Some((began, size)) = self.under_way.take() {
            let pace = now.duration_since(began) / size;
            self.pace = (self.pace * (SMOOTHING - 1) + pace) / SMOOTHING;
        }
    }

    /// Whether one more may wait behind `waiting` others.
    pub(crate) fn admits(&self, waiting: usize, now: Instant) -> bool {
        if waiting < self.queue_min {
            return !self.is_stuck(now);
        }
        let wait = self.pace.saturating_mul(u32::try_from(waiting).unwrap_or(u32::MAX));
        waiting < self.queue_max && wait < self.wait_max && !self.is_stuck(now)
    }

    /// A batch that takes longer than anybody may wait says more than the average.
    fn is_stuck(&self, now: Instant) -> bool {
        self.under_way.is_some_and(|(began, _)| now.duration_since(began) > self.wait_max)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const WAIT: Duration = Duration::from_secs(2);

    /// An admission after many batches of 100 at this pace.
    fn after(pace: Duration) -> (Admission, Instant) {
        let mut admission = Admission::new(WAIT, 10_000, 100);
        let mut now = Instant::now();
        for _ in 0..100 {
            admission.begin(100, now);
            now += pace * 100;
            admission.end(now);
        }
        (admission, now)
    }

    #[test]
    fn the_queue_is_what_can_be_served_in_time() {
        let (slow, now) = after(Duration::from_millis(1));
        assert!(slow.admits(1_900, now));
        assert!(!slow.admits(2_100, now), "they would wait for more than two seconds");
        let (fast, now) = after(Duration::from_micros(50));
        assert!(fast.admits(9_999, now));
        assert!(!fast.admits(10_000, now), "there is a bound to memory as well");
    }

    #[test]
    fn a_batch_is_always_let_in_unless_the_database_is_stuck() {
        let (mut slow, now) = after(Duration::from_secs(1));
        assert!(slow.admits(0, now) && slow.admits(99, now) && !slow.admits(100, now));
        slow.begin(100, now);
        assert!(slow.admits(0, now + WAIT));
        assert!(!slow.admits(0, now + WAIT + Duration::from_millis(1)));
        slow.end(now + WAIT * 2);
        assert!(slow.admits(0, now + WAIT * 2));
    }
}
