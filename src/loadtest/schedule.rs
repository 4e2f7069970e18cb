//! When operations begin, and when there are no more.
//!
//! Times count from the beginning of the warm-up. In an open loop the `n`-th operation is meant to
//! begin at `n / rate`, whatever became of those before it; its time is counted from there, so a stall
//! of the server is felt by all that should have begun meanwhile. In a closed loop an operation begins
//! when a client is free.

use std::time::Duration;

/// How the clients are paced, and what ends a run: whichever comes first.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Pace {
    /// Operations a second, in an open loop; `None` is a closed loop.
    pub rate: Option<u32>,
    /// At the beginning, not counted.
    pub warm_up: Duration,
    /// Of what is counted.
    pub duration: Option<Duration>,
    /// Operations that are counted.
    pub operations: Option<u64>,
}

impl Pace {
    /// When the run ends by time, the warm-up included.
    pub(crate) fn end(&self) -> Option<Duration> {
        self.duration.map(|duration| self.warm_up + duration)
    }
}

/// Gives out beginnings.
#[derive(Debug)]
pub(crate) struct Schedule {
    pace: Pace,
    issued: u64,
    counted: u64,
}

impl Schedule {
    /// Nothing given out yet.
    pub(crate) fn new(pace: Pace) -> Self {
        Self { pace, issued: 0, counted: 0 }
    }

    /// When the next operation is meant to begin, asked by a free client at `now`; `None` once the run
    /// is over. It may lie ahead, and the client waits, or behind, and the client is late.
    pub(crate) fn next(&mut self, now: Duration) -> Option<Duration> {
        let begins = match self.pace.rate {
            Some(rate) => moment(self.issued, rate),
            None => now,
        };
        if self.pace.end().is_some_and(|end| begins >= end || now >= end) {
            return None;
        }
        if begins >= self.pace.warm_up {
            if self.pace.operations == Some(self.counted) {
                return None;
            }
            self.counted += 1;
        }
        self.issued += 1;
        Some(begins)
    }

    /// Whether [`Schedule::next`] has nothing more to give.
    pub(crate) fn is_over(&self, now: Duration) -> bool {
        self.pace.end().is_some_and(|end| now >= end) || self.pace.operations == Some(self.counted)
    }

    /// Once the run is over: the counted beginnings that no client was free for.
    pub(crate) fn missed(&self) -> Vec<Duration> {
        let (Some(rate), Some(end)) = (self.pace.rate, self.pace.end()) else { return Vec::new() };
        let left = self.pace.operations.map_or(u64::MAX, |operations| operations - self.counted);
        let left = usize::try_from(left).unwrap_or(usize::MAX);
        (self.issued..)
            .map(|n| moment(n, rate))
            .take_while(|begins| *begins < end)
            .filter(|begins| *begins >= self.pace.warm_up)
            .take(left)
            .collect()
    }
}

/// When the `n`-th of `rate` operations a second begins.
fn moment(n: u64, rate: u32) -> Duration {
    let nanos = u128::from(n) * 1_000_000_000 / u128::from(rate.max(1));
    Duration::from_nanos(u64::try_from(nanos).unwrap_or(u64::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ms(ms: u64) -> Duration {
        Duration::from_millis(ms)
    }

    fn pace(rate: Option<u32>) -> Pace {
        Pace { rate, warm_up: ms(20), duration: Some(ms(30)), operations: None }
    }

    #[test]
    fn an_open_loop_keeps_its_beginnings_through_a_stall() {
        let mut schedule = Schedule::new(pace(Some(100)));
        assert_eq!(schedule.next(ms(0)), Some(ms(0)));
        // Asked early, it lies ahead; asked after a stall of 25 ms, it lies behind.
        assert_eq!(schedule.next(ms(1)), Some(ms(10)));
        assert_eq!(schedule.next(ms(35)), Some(ms(20)));
        assert_eq!(schedule.next(ms(35)), Some(ms(30)));
        assert!(!schedule.is_over(ms(49)) && schedule.is_over(ms(50)));
        // Whoever becomes free after the end begins nothing; what was meant to begin is known.
        assert_eq!(schedule.next(ms(50)), None);
        assert_eq!(schedule.missed(), [ms(40)]);
    }

    #[test]
    fn a_rate_that_divides_nothing_evenly_drifts_nowhere() {
        assert_eq!(moment(3_000_000, 3), Duration::from_secs(1_000_000));
        assert_eq!(moment(1, 3), Duration::from_nanos(333_333_333));
    }

    #[test]
    fn a_closed_loop_begins_when_a_client_is_free() {
        let mut schedule = Schedule::new(pace(None));
        assert_eq!(schedule.next(ms(7)), Some(ms(7)));
        assert_eq!(schedule.next(ms(49)), Some(ms(49)));
        assert_eq!(schedule.next(ms(50)), None);
        assert!(schedule.missed().is_empty());
    }

    #[test]
    fn a_number_of_operations_ends_a_run_too_and_the_warm_up_is_not_among_them() {
        for rate in [None, Some(1000)] {
            let mut schedule = Schedule::new(Pace { duration: None, operations: Some(2), ..pace(rate) });
            let begun = (0..100).filter(|n| schedule.next(ms(*n)).is_some()).count();
            assert_eq!(begun, 20 + 2);
            assert!(schedule.is_over(ms(23)) && schedule.missed().is_empty());
        }
    }
}
