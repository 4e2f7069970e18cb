//! The generic cell rate algorithm, GCRA(T, τ), in its form of virtual scheduling.
//!
//! Source: ITU-T Recommendation I.371, *Traffic control and congestion control in B-ISDN*, where a
//! cell is what a request is here. One number is kept for each client, the theoretical arrival time
//! (TAT): when its next request would be due if it kept exactly to the rate, one each interval T. A
//! request conforms if it comes no more than the tolerance τ before that, and then moves the TAT on
//! by T from where it is, or from now if that is later. τ = (burst − 1) · T lets a whole burst come
//! at once.
//!
//! Beyond the source: what is charged after the fact moves the TAT on whether it conforms or not, so
//! that attempts made at once, before any of them was known to fail, are paid for later; and the TAT
//! never lies further ahead than [`Gcra::new`] says, whatever was counted or found.

use std::time::Duration;

use super::RateLimit;

/// How far beyond a full burst a client may run into debt.
const DEBT_MAX: Duration = Duration::from_mins(10);

/// What is done with a client's count.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Step {
    /// Nothing: would a request conform?
    Look,
    /// A request is counted if it conforms.
    Take,
    /// A request is counted, conforming or not.
    Charge,
}

/// What a step came to. All times in microseconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Verdict {
    /// How long until a request conforms; 0 when it did.
    pub(super) wait_us: u64,
    /// How far the TAT lies ahead since.
    pub(super) ahead_us: u64,
}

/// A limit's parameters, in microseconds.
#[derive(Clone, Copy, Debug)]
pub(super) struct Gcra {
    /// T.
    pub(super) interval_us: u64,
    /// τ.
    pub(super) tolerance_us: u64,
    /// The furthest that a TAT lies ahead: a full burst and [`DEBT_MAX`].
    pub(super) horizon_us: u64,
}

impl Gcra {
    /// The parameters of a rate.
    pub(super) fn new(rate: RateLimit) -> Self {
        let interval_us = micros(rate.interval).max(1);
        let burst_us = interval_us.saturating_mul(u64::from(rate.burst.max(1)));
        Self {
            interval_us,
            tolerance_us: burst_us - interval_us,
            horizon_us: burst_us.saturating_add(micros(DEBT_MAX)),
        }
    }

    /// Takes a step at `now_us` on a client whose TAT is `tat_us`. `take.lua` does the same in Redis.
    pub(super) fn step(&self, tat_us: u64, now_us: u64, step: Step) -> Verdict {
        let ahead_us = tat_us.saturating_sub(now_us).min(self.horizon_us);
        let wait_us = ahead_us.saturating_sub(self.tolerance_us);
        let counts = match step {
            Step::Look => false,
            Step::Take => wait_us == 0,
            Step::Charge => true,
        };
        let moved_us = if counts { self.interval_us } else { 0 };
        Verdict { wait_us, ahead_us: (ahead_us + moved_us).min(self.horizon_us) }
    }
}

/// A time as the counters count it.
pub(super) fn micros(duration: Duration) -> u64 {
    u64::try_from(duration.as_micros()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: u64 = 1_000_000;

    fn five_then_one_a_second() -> Gcra {
        Gcra::new(RateLimit { interval: Duration::from_secs(1), burst: 5 })
    }

    /// Takes at these moments, and says how long each had to wait.
    fn waits(gcra: &Gcra, moments: &[u64]) -> Vec<u64> {
        let mut tat = 0;
        let mut take = |now: &u64| {
            let verdict = gcra.step(tat, *now, Step::Take);
            tat = now + verdict.ahead_us;
            verdict.wait_us
        };
        moments.iter().map(&mut take).collect()
    }

    #[test]
    fn a_burst_passes_and_then_the_rate_counts() {
        let now = 100 * SECOND;
        let moments = [now, now, now, now, now, now, now + SECOND / 4, now + SECOND, now + SECOND];
        let expected = [0, 0, 0, 0, 0, SECOND, SECOND * 3 / 4, 0, SECOND];
        assert_eq!(waits(&five_then_one_a_second(), &moments), expected);
    }

    #[test]
    fn who_keeps_to_the_rate_never_waits_and_saves_no_more_than_a_burst() {
        let gcra = five_then_one_a_second();
        let steady: Vec<u64> = (0..100).map(|n| n * SECOND).collect();
        assert!(waits(&gcra, &steady).iter().all(|wait| *wait == 0));
        let after_a_day = vec![86_400 * SECOND; 6];
        assert_eq!(waits(&gcra, &after_a_day), [0, 0, 0, 0, 0, SECOND]);
    }

    #[test]
    fn a_burst_of_one_is_the_bare_rate() {
        let gcra = Gcra::new(RateLimit { interval: Duration::from_secs(1), burst: 1 });
        assert_eq!(waits(&gcra, &[0, SECOND / 2, SECOND]), [0, SECOND / 2, 0]);
    }

    #[test]
    fn a_look_changes_nothing_and_a_charge_runs_into_a_bounded_debt() {
        let gcra = five_then_one_a_second();
        assert_eq!(gcra.step(7, 0, Step::Look), Verdict { wait_us: 0, ahead_us: 7 });
        let charged = gcra.step(9 * SECOND, 0, Step::Charge);
        assert_eq!(charged, Verdict { wait_us: 5 * SECOND, ahead_us: 10 * SECOND });
        let nonsense = gcra.step(u64::MAX, 0, Step::Charge);
        assert_eq!(nonsense.ahead_us, micros(DEBT_MAX) + 5 * SECOND);
    }
}
