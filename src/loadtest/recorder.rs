//! The figures of a run, as they come in.
//!
//! Promises: throughput counts what was answered within the measured time, whenever it began; latency
//! counts what was meant to begin within it, whenever it was answered, and counts it from there.
//! Answers of every kind are in the latency, failures too, lest a timeout look fast.

#![allow(clippy::float_arithmetic, reason = "rates to be read, not amounts")]

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use hdrhistogram::{CreationError, Histogram};
use serde::Serialize;

/// The slowest answer that is told exactly.
const LATENCY_MAX_US: u64 = 600_000_000;
/// Failures told one by one.
const FAILURES_TOLD_MAX: usize = 10;
/// Steps of the time axis of a run whose length is known, and the shortest one.
const TICKS: u32 = 200;
const TICK_MIN: Duration = Duration::from_millis(100);
/// The step where the length is not known.
const TICK_UNKNOWN: Duration = Duration::from_secs(1);
/// Where the curve of percentiles is sampled: nines, and some on the way.
const PERCENTILES: [f64; 19] = [
    0.0, 10.0, 25.0, 50.0, 75.0, 80.0, 90.0, 95.0, 97.5, 99.0, 99.5, 99.75, 99.9, 99.95, 99.99, 99.995,
    99.999, 99.9999, 100.0,
];

/// What became of an operation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Outcome {
    /// As asked.
    Done,
    /// Refused for lack of stock.
    SoldOut,
    /// "Not now": `503` or `429`.
    Busy,
    /// Anything else.
    Failed(String),
}

/// How many operations came out how.
#[derive(Clone, Debug, Default, Serialize)]
pub(crate) struct Counts {
    pub done: u64,
    pub sold_out: u64,
    pub busy: u64,
    pub failed: u64,
}

impl Counts {
    fn add(&mut self, outcome: &Outcome) {
        match outcome {
            Outcome::Done => self.done += 1,
            Outcome::SoldOut => self.sold_out += 1,
            Outcome::Busy => self.busy += 1,
            Outcome::Failed(_) => self.failed += 1,
        }
    }

    /// All of them.
    pub(crate) fn all(&self) -> u64 {
        self.done + self.sold_out + self.busy + self.failed
    }
}

/// A histogram's figures, in microseconds.
#[derive(Clone, Debug, Default, Serialize)]
pub(crate) struct Latency {
    pub p50: u64,
    pub p90: u64,
    pub p99: u64,
    pub p999: u64,
    pub max: u64,
    pub mean: f64,
}

impl Latency {
    /// A histogram to record microseconds into, to three digits.
    pub(crate) fn histogram() -> Result<Histogram<u64>, CreationError> {
        Histogram::new_with_max(LATENCY_MAX_US, 3)
    }

    /// Its figures.
    pub(crate) fn of(histogram: &Histogram<u64>) -> Self {
        Self {
            p50: histogram.value_at_quantile(0.5),
            p90: histogram.value_at_quantile(0.9),
            p99: histogram.value_at_quantile(0.99),
            p999: histogram.value_at_quantile(0.999),
            max: histogram.max(),
            mean: histogram.mean(),
        }
    }
}

/// One step of the time axis.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Tick {
    /// Where it begins, in seconds of measured time.
    pub second: f64,
    /// What was answered in it.
    #[serde(flatten)]
    pub counts: Counts,
    /// Of what was answered in it, in microseconds.
    pub p50: u64,
    pub p99: u64,
    pub max: u64,
}

/// One kind of operation.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Kind {
    pub name: String,
    #[serde(flatten)]
    pub counts: Counts,
    pub latency_us: Latency,
}

/// What a run came to.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Figures {
    /// The measured time.
    pub seconds: f64,
    pub warm_up_seconds: f64,
    /// Operations done as asked, each second of the measured time.
    pub done_per_second: f64,
    /// Operations answered at all.
    pub answers_per_second: f64,
    /// Of the operations meant to begin in the measured time.
    pub operations: Counts,
    /// Why operations failed, and how many for each reason.
    pub failures: BTreeMap<String, u64>,
    /// Operations of an open loop that no client was free for before the end; in the latency they
    /// stand with the time that they had waited.
    pub missed: u64,
    /// From the moment an operation was meant to begin.
    pub latency_us: Latency,
    /// From the moment it was sent.
    pub service_us: Latency,
    /// Percentile and microseconds, of the latency.
    pub percentiles: Vec<(f64, u64)>,
    pub tick_seconds: f64,
    pub timeline: Vec<Tick>,
    pub kinds: Vec<Kind>,
}

/// Takes in what clients do.
#[derive(Debug)]
pub(crate) struct Recorder {
    began: Instant,
    /// Time that counts neither as warm-up nor as measured.
    left_out: Duration,
    paused: Option<Instant>,
    warm_up: Duration,
    duration: Option<Duration>,
    tick: Duration,
    operations: Counts,
    failures: BTreeMap<String, u64>,
    missed: u64,
    done_in_time: u64,
    answers_in_time: u64,
    last: Duration,
    latency: Histogram<u64>,
    service: Histogram<u64>,
    kinds: Vec<(String, Counts, Histogram<u64>)>,
    timeline: Vec<Tick>,
    current: (Counts, Histogram<u64>),
}

impl Recorder {
    /// Begins now.
    pub(crate) fn begin(
        kinds: &[impl AsRef<str>],
        warm_up: Duration,
        duration: Option<Duration>,
    ) -> Result<Self, CreationError> {
        let kind = |name: &str| Ok((name.to_owned(), Counts::default(), Latency::histogram()?));
        Ok(Self {
            began: Instant::now(),
            left_out: Duration::ZERO,
            paused: None,
            warm_up,
            duration,
            tick: duration.map_or(TICK_UNKNOWN, |duration| (duration / TICKS).max(TICK_MIN)),
            operations: Counts::default(),
            failures: BTreeMap::new(),
            missed: 0,
            done_in_time: 0,
            answers_in_time: 0,
            last: Duration::ZERO,
            latency: Latency::histogram()?,
            service: Latency::histogram()?,
            kinds: kinds.iter().map(|name| kind(name.as_ref())).collect::<Result<_, _>>()?,
            timeline: Vec::new(),
            current: (Counts::default(), Latency::histogram()?),
        })
    }

    /// The run's own time at `now`: since the beginning of the warm-up, without what was left out.
    pub(crate) fn time(&self, now: Instant) -> Duration {
        self.paused.unwrap_or(now).saturating_duration_since(self.began).saturating_sub(self.left_out)
    }

    /// When the run's own time will be `time`, if nothing more is left out.
    pub(crate) fn instant(&self, time: Duration) -> Instant {
        self.began + self.left_out + time
    }

    /// Leaves out what follows; nothing may be under way.
    pub(crate) fn pause(&mut self) {
        self.paused.get_or_insert_with(Instant::now);
    }

    /// Counts again.
    pub(crate) fn resume(&mut self) {
        if let Some(paused) = self.paused.take() {
            self.left_out += paused.elapsed();
        }
    }

    /// Takes in an operation of the `kind`-th kind: when it was meant to begin, in the run's own time,
    /// and when it was sent and answered.
    pub(crate) fn record(
        &mut self,
        kind: usize,
        begins: Duration,
        sent: Instant,
        answered: Instant,
        outcome: Outcome,
    ) {
        let end = self.time(answered);
        let latency = micros(end.saturating_sub(begins));
        if let Some(at) = end.checked_sub(self.warm_up) {
            self.answer(at, latency, &outcome);
        }
        if begins < self.warm_up {
            return;
        }
        self.operations.add(&outcome);
        self.latency.saturating_record(latency);
        self.service.saturating_record(micros(answered.saturating_duration_since(sent)));
        if let Some((_, counts, histogram)) = self.kinds.get_mut(kind) {
            counts.add(&outcome);
            histogram.saturating_record(latency);
        }
        if let Outcome::Failed(reason) = outcome {
            self.tell(reason);
        }
    }

    /// Something failed that is no operation of its own.
    pub(crate) fn trouble(&mut self, reason: String) {
        self.operations.failed += 1;
        self.tell(reason);
    }

    /// Operations that were meant to begin then, and were not sent until the end.
    pub(crate) fn miss(&mut self, begins: &[Duration], end: Duration) {
        for begins in begins {
            self.missed += 1;
            self.latency.saturating_record(micros(end.saturating_sub(*begins)));
        }
    }

    fn tell(&mut self, reason: String) {
        if self.failures.len() < FAILURES_TOLD_MAX || self.failures.contains_key(&reason) {
            *self.failures.entry(reason).or_default() += 1;
        }
    }

    /// An answer at a measured time.
    fn answer(&mut self, at: Duration, latency: u64, outcome: &Outcome) {
        self.last = self.last.max(at);
        if self.duration.is_none_or(|duration| at < duration) {
            self.answers_in_time += 1;
            self.done_in_time += u64::from(*outcome == Outcome::Done);
        }
        self.tick_until(at);
        self.current.0.add(outcome);
        self.current.1.saturating_record(latency);
    }

    /// Closes the steps that end before `at`; a step without answers is a stall, and shows.
    fn tick_until(&mut self, at: Duration) {
        while self.tick * u32::try_from(self.timeline.len() + 1).unwrap_or(u32::MAX) <= at {
            let (counts, histogram) = &mut self.current;
            self.timeline.push(Tick {
                second: self.tick.as_secs_f64() * self.timeline.len() as f64,
                counts: std::mem::take(counts),
                p50: histogram.value_at_quantile(0.5),
                p99: histogram.value_at_quantile(0.99),
                max: histogram.max(),
            });
            // With its minimum and maximum, which clear() would keep.
            histogram.reset();
        }
    }

    /// The last whole step, and the counts so far.
    pub(crate) fn latest(&self) -> (Option<&Tick>, &Counts) {
        (self.timeline.last(), &self.operations)
    }

    /// The length of a step.
    pub(crate) fn tick(&self) -> Duration {
        self.tick
    }

    /// The figures, once nothing is under way.
    pub(crate) fn figures(mut self) -> Figures {
        let measured = self.duration.map_or(self.last, |duration| duration.min(self.last.max(self.tick)));
        if self.current.0.all() > 0 {
            self.tick_until(self.last + self.tick);
        }
        let seconds = measured.as_secs_f64().max(f64::EPSILON);
        let percentiles =
            PERCENTILES.iter().map(|percentile| (*percentile, self.latency.value_at_percentile(*percentile)));
        Figures {
            seconds: measured.as_secs_f64(),
            warm_up_seconds: self.warm_up.as_secs_f64(),
            done_per_second: self.done_in_time as f64 / seconds,
            answers_per_second: self.answers_in_time as f64 / seconds,
            percentiles: percentiles.collect(),
            operations: self.operations,
            failures: self.failures,
            missed: self.missed,
            latency_us: Latency::of(&self.latency),
            service_us: Latency::of(&self.service),
            tick_seconds: self.tick.as_secs_f64(),
            timeline: self.timeline,
            kinds: self
                .kinds
                .into_iter()
                .map(|(name, counts, histogram)| Kind { name, counts, latency_us: Latency::of(&histogram) })
                .collect(),
        }
    }
}

/// Whole microseconds.
pub(crate) fn micros(time: Duration) -> u64 {
    u64::try_from(time.as_micros()).unwrap_or(u64::MAX)
}

/// Microseconds as they are shown.
pub(crate) fn milliseconds(us: u64) -> String {
    format!("{}.{:02} ms", us / 1000, us % 1000 / 10)
}

/// `count` in `time`, as a rate.
pub(crate) fn per_second(count: u64, time: Duration) -> f64 {
    count as f64 / time.as_secs_f64().max(f64::EPSILON)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ms(ms: u64) -> Duration {
        Duration::from_millis(ms)
    }

    fn recorder(duration: Option<Duration>) -> Recorder {
        Recorder::begin(&["order"], ms(1000), duration).unwrap()
    }

    fn record(recorder: &mut Recorder, begins: u64, sent: u64, answered: u64, outcome: Outcome) {
        let (sent, answered) = (recorder.instant(ms(sent)), recorder.instant(ms(answered)));
        recorder.record(0, ms(begins), sent, answered, outcome);
    }

    fn is_near(value: u64, wanted: u64) -> bool {
        value.abs_diff(wanted) <= wanted / 500
    }

    #[test]
    fn latency_counts_from_the_intended_start_and_service_from_the_sending() {
        let mut recorder = recorder(Some(ms(1000)));
        record(&mut recorder, 1100, 1300, 1350, Outcome::Done);
        let figures = recorder.figures();
        assert!(is_near(figures.latency_us.p50, 250_000), "{figures:?}");
        assert!(is_near(figures.service_us.p50, 50_000), "{figures:?}");
        assert!(is_near(figures.kinds[0].latency_us.max, 250_000));
    }

    #[test]
    fn the_warm_up_and_the_time_after_the_end_are_no_throughput() {
        let mut recorder = recorder(Some(ms(1000)));
        record(&mut recorder, 500, 500, 600, Outcome::Failed("warm-up".to_owned()));
        record(&mut recorder, 900, 900, 1100, Outcome::Done);
        record(&mut recorder, 1500, 1500, 1600, Outcome::SoldOut);
        record(&mut recorder, 1900, 1900, 2500, Outcome::Done);
        let figures = recorder.figures();
        assert!(
            (figures.done_per_second - 1.0).abs() < 1e-9 && (figures.answers_per_second - 2.0).abs() < 1e-9
        );
        // Begun in the warm-up: not in the latency. Answered after the end: in it.
        assert_eq!(
            (figures.operations.done, figures.operations.sold_out, figures.operations.failed),
            (1, 1, 0)
        );
        assert!(is_near(figures.latency_us.max, 600_000));
    }

    #[test]
    fn a_stall_shows_in_the_timeline_as_steps_without_answers() {
        let mut recorder = recorder(Some(ms(1000)));
        record(&mut recorder, 1000, 1000, 1050, Outcome::Done);
        record(&mut recorder, 1060, 1060, 1350, Outcome::Busy);
        record(&mut recorder, 1400, 1400, 1410, Outcome::Done);
        let figures = recorder.figures();
        let answers: Vec<u64> = figures.timeline.iter().map(|tick| tick.counts.all()).collect();
        assert_eq!(answers, [1, 0, 0, 1, 1]);
        assert!((figures.timeline[3].second - 0.3).abs() < 1e-9);
        assert!(is_near(figures.timeline[3].max, 290_000) && is_near(figures.timeline[4].max, 10_000));
    }

    #[test]
    fn operations_that_were_never_sent_count_with_the_time_they_waited() {
        let mut recorder = recorder(Some(ms(1000)));
        record(&mut recorder, 1000, 1000, 1001, Outcome::Done);
        recorder.miss(&[ms(1500), ms(1700)], ms(2000));
        let figures = recorder.figures();
        assert_eq!(figures.missed, 2);
        assert!(is_near(figures.latency_us.max, 500_000) && is_near(figures.latency_us.p50, 300_000));
    }

    #[test]
    fn time_that_is_left_out_is_not_there() {
        let mut recorder = recorder(None);
        recorder.pause();
        let before = recorder.time(Instant::now());
        std::thread::sleep(ms(20));
        assert_eq!(recorder.time(Instant::now()), before);
        recorder.resume();
        assert!(recorder.time(Instant::now()) - before < ms(15));
        let at = recorder.instant(ms(1234));
        assert_eq!(recorder.time(at), ms(1234));
    }

    #[test]
    fn a_run_without_a_set_length_is_as_long_as_its_last_answer() {
        let mut recorder = recorder(None);
        record(&mut recorder, 1000, 1000, 1500, Outcome::Done);
        record(&mut recorder, 1000, 1000, 5000, Outcome::Done);
        let figures = recorder.figures();
        assert!((figures.seconds - 4.0).abs() < 1e-9 && (figures.done_per_second - 0.5).abs() < 1e-9);
    }

    #[test]
    fn times_are_shown_in_milliseconds() {
        assert_eq!((milliseconds(1234), milliseconds(5)), ("1.23 ms".to_owned(), "0.00 ms".to_owned()));
    }
}
