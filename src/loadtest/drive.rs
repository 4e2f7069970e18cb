//! Clients at work, all on one thread.
//!
//! Promises: operations begin when the [`Schedule`] says; what prepares an operation is not counted;
//! a client that is refused or fails rests a moment, so that a shop that is down is not hammered.

use std::cell::RefCell;
use std::rc::Rc;
use std::time::{Duration, Instant};

use hdrhistogram::CreationError;
use tokio::sync::Barrier;
use tokio::task::{JoinError, spawn_local};

use super::progress::Live;
use super::recorder::{Figures, Outcome, Recorder};
use super::schedule::{Pace, Schedule};

/// How long a client rests after a refusal or a failure.
const REST: Duration = Duration::from_millis(10);

/// One client of a scenario.
pub(crate) trait Visitor: 'static {
    /// Makes ready for some operations; not counted. An error is a failure of the shop.
    async fn prepare(&mut self) -> Result<(), String>;

    /// Whether [`Visitor::act`] needs no [`Visitor::prepare`] first.
    fn is_ready(&self) -> bool;

    /// One operation: of which kind it was, and what became of it.
    async fn act(&mut self) -> (usize, Outcome);
}

/// Why the clients could not work.
#[derive(Debug, thiserror::Error)]
pub(crate) enum DriveError {
    #[error("cannot keep figures: {0}")]
    Histogram(#[from] CreationError),
    #[error("a client stopped: {0}")]
    Stopped(#[from] JoinError),
    #[error("a client is still at work")]
    AtWork,
}

/// How a run goes.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Plan {
    pub pace: Pace,
    /// All clients prepare, then all act, again and again; time counts only while they act. For a
    /// closed loop whose preparation costs the shop as much as the operation.
    pub in_rounds: bool,
}

/// What the clients share.
struct Run {
    schedule: RefCell<Schedule>,
    recorder: Rc<RefCell<Recorder>>,
}

/// Lets the visitors work until the run is over, and gives its figures. Needs a `LocalSet`.
pub(crate) async fn drive<V: Visitor>(
    plan: Plan,
    kinds: &[impl AsRef<str>],
    visitors: Vec<V>,
) -> Result<Figures, DriveError> {
    let recorder = Recorder::begin(kinds, plan.pace.warm_up, plan.pace.duration)?;
    let recorder = Rc::new(RefCell::new(recorder));
    let run = Rc::new(Run { schedule: RefCell::new(Schedule::new(plan.pace)), recorder: recorder.clone() });
    let live = Live::begin(recorder.clone(), plan.pace);
    let barrier = Rc::new(Barrier::new(visitors.len()));
    if plan.in_rounds {
        recorder.borrow_mut().pause();
    }
    let work = |visitor: V| match plan.in_rounds {
        true => spawn_local(in_rounds(run.clone(), barrier.clone(), visitor)),
        false => spawn_local(one_by_one(run.clone(), visitor)),
    };
    let clients: Vec<_> = visitors.into_iter().map(work).collect();
    for client in clients {
        client.await?;
    }
    live.end().await;
    if let Some(end) = plan.pace.end() {
        recorder.borrow_mut().miss(&run.schedule.borrow().missed(), end);
    }
    drop(run);
    Ok(Rc::into_inner(recorder).ok_or(DriveError::AtWork)?.into_inner().figures())
}

async fn one_by_one<V: Visitor>(run: Rc<Run>, mut visitor: V) {
    while !run.is_over() {
        if !visitor.is_ready() && !run.prepare(&mut visitor).await {
            continue;
        }
        if !run.act(&mut visitor).await {
            break;
        }
    }
}

async fn in_rounds<V: Visitor>(run: Rc<Run>, barrier: Rc<Barrier>, mut visitor: V) {
    while !run.is_over() {
        if !visitor.is_ready() {
            run.prepare(&mut visitor).await;
        }
        if barrier.wait().await.is_leader() {
            run.recorder.borrow_mut().resume();
        }
        barrier.wait().await;
        while visitor.is_ready() && run.act(&mut visitor).await {}
        if barrier.wait().await.is_leader() {
            run.recorder.borrow_mut().pause();
        }
        // The clock stands still now, so all agree on whether the run is over.
        barrier.wait().await;
    }
}

impl Run {
    fn is_over(&self) -> bool {
        self.schedule.borrow().is_over(self.recorder.borrow().time(Instant::now()))
    }

    /// Whether the visitor is ready now.
    async fn prepare(&self, visitor: &mut impl Visitor) -> bool {
        let Err(reason) = visitor.prepare().await else { return true };
        self.recorder.borrow_mut().trouble(reason);
        tokio::time::sleep(REST).await;
        false
    }

    /// One operation at its time; whether there was one left.
    async fn act(&self, visitor: &mut impl Visitor) -> bool {
        let now = self.recorder.borrow().time(Instant::now());
        let Some(begins) = self.schedule.borrow_mut().next(now) else { return false };
        if begins > now {
            let begins = self.recorder.borrow().instant(begins);
            tokio::time::sleep_until(begins.into()).await;
        }
        let sent = Instant::now();
        let (kind, outcome) = visitor.act().await;
        let answered = Instant::now();
        let rests = matches!(outcome, Outcome::Busy | Outcome::Failed(_));
        self.recorder.borrow_mut().record(kind, begins, sent, answered, outcome);
        if rests {
            tokio::time::sleep(REST).await;
        }
        true
    }
}

#[cfg(test)]
mod tests {
    use tokio::task::LocalSet;

    use super::*;

    /// Far more than an operation takes, on a busy machine as well.
    const PREPARATION: Duration = Duration::from_millis(150);

    /// Takes its time over everything, and once much more.
    struct Slow {
        ready: u32,
        stall: Duration,
    }

    impl Visitor for Slow {
        async fn prepare(&mut self) -> Result<(), String> {
            tokio::time::sleep(PREPARATION).await;
            self.ready = 2;
            Ok(())
        }

        fn is_ready(&self) -> bool {
            self.ready > 0
        }

        async fn act(&mut self) -> (usize, Outcome) {
            self.ready -= 1;
            tokio::time::sleep(Duration::from_millis(5) + std::mem::take(&mut self.stall)).await;
            (0, Outcome::Done)
        }
    }

    fn pace(rate: Option<u32>, duration_ms: u64) -> Pace {
        let duration = Some(Duration::from_millis(duration_ms));
        Pace { rate, warm_up: Duration::ZERO, duration, operations: None }
    }

    async fn figures(plan: Plan, stall_ms: u64) -> Figures {
        let visitors = vec![Slow { ready: 0, stall: Duration::from_millis(stall_ms) }];
        LocalSet::new().run_until(drive(plan, &["nothing"], visitors)).await.unwrap()
    }

    #[tokio::test]
    async fn a_stall_in_an_open_loop_is_felt_by_all_that_should_have_begun() {
        let figures = figures(Plan { pace: pace(Some(50), 1000), in_rounds: false }, 400).await;
        // One operation was slow; those behind it were late.
        assert!(figures.latency_us.p90 > figures.service_us.p50 + 50_000, "{figures:?}");
        assert_eq!(figures.operations.all() + figures.missed, 50);
    }

    #[tokio::test]
    async fn rounds_leave_their_preparation_out_of_the_time() {
        let rounds = figures(Plan { pace: pace(None, 200), in_rounds: true }, 0).await;
        let one_by_one = figures(Plan { pace: pace(None, 200), in_rounds: false }, 0).await;
        assert!(rounds.operations.done > 2 * one_by_one.operations.done, "{rounds:?} {one_by_one:?}");
        assert!(u128::from(rounds.latency_us.p50) < PREPARATION.as_micros() / 2, "{rounds:?}");
    }
}
