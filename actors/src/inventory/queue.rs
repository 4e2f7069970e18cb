//! What waits for its batch: the inbox of the `InventoryActor`, filled on the threads of those who ask, so that
//! nobody has to be woken for a job while the lane is at work; emptied by the lane.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use super::InventorySettings;
use super::admission::Admission;
use super::job::{Failure, Job};
use super::trade::Trade;
use crate::nodes::Pulse;

/// The jobs of one lane, first come first served.
pub(crate) struct Queue {
    batch_max: usize,
    wait_max: Duration,
    waiting: Mutex<Waiting>,
    pulse: Arc<Pulse>,
    trade: Arc<Trade>,
}

struct Waiting {
    jobs: VecDeque<Job>,
    /// Whether the lane works it off, or is about to.
    is_worked: bool,
    admission: Admission,
}

impl Queue {
    pub(crate) fn new(settings: &InventorySettings, pulse: Arc<Pulse>, trade: Arc<Trade>) -> Self {
        let InventorySettings { batch_max, queue_max, wait_max, .. } = *settings;
        let admission = Admission::new(wait_max, queue_max, batch_max);
        let waiting = Mutex::new(Waiting { jobs: VecDeque::new(), is_worked: false, admission });
        Self { batch_max, wait_max, waiting, pulse, trade }
    }

    /// Lets a job in, or answers it at once that it would wait too long. Tells whether the lane rests, which
    /// whoever is told must see to.
    pub(crate) fn push(&self, job: Job) -> bool {
        let mut waiting = self.waiting();
        if waiting.admission.admits(waiting.jobs.len(), job.since) {
            waiting.jobs.push_back(job);
            self.pulse.waiting(waiting.jobs.len());
            return !std::mem::replace(&mut waiting.is_worked, true);
        }
        drop(waiting);
        metrics::counter!("emporium_inventory_refused_total").increment(1);
        job.fail(Failure::Overloaded);
        false
    }

    /// The next batch, which is under way from now on; empty when nothing waits, and then the lane rests.
    pub(crate) fn take(&self) -> Vec<Job> {
        let now = Instant::now();
        let mut waiting = self.waiting();
        let mut batch = Vec::with_capacity(waiting.jobs.len().min(self.batch_max));
        while batch.len() < self.batch_max
            && let Some(job) = waiting.jobs.pop_front()
        {
            let waited = now.duration_since(job.since);
            if waited > self.wait_max {
                job.fail(Failure::Overloaded);
            } else if job.is_wanted(waited) {
                batch.push(job);
            } else {
                metrics::counter!("emporium_inventory_abandoned_total").increment(1);
            }
        }
        waiting.is_worked = !batch.is_empty();
        if waiting.is_worked {
            waiting.admission.begin(batch.len(), now);
            self.trade.goes_on();
        }
        self.pulse.waiting(waiting.jobs.len());
        metrics::gauge!("emporium_inventory_queue").set(waiting.jobs.len() as f64);
        batch
    }

    /// The batch under way has ended, however it did.
    pub(crate) fn end(&self) {
        self.waiting().admission.end(Instant::now());
    }

    fn waiting(&self) -> MutexGuard<'_, Waiting> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use tokio::sync::oneshot;

    use super::*;
    use crate::inventory::{Ask, Sell};
    use crate::orders::{OrderSource, PlaceOrder};
    use crate::types::UserId;

    fn queue(queue_max: usize) -> Queue {
        let minute = Duration::from_secs(60);
        let settings = InventorySettings { batch_max: 2, queue_max, wait_max: minute, hold: minute };
        Queue::new(&settings, Arc::default(), Arc::default())
    }

    /// Puts an order in; tells whether the lane rests.
    fn push(queue: &Queue) -> (bool, oneshot::Receiver<<Sell as actix::Message>::Result>) {
        let (reply, answer) = oneshot::channel();
        let source = OrderSource::Cart;
        let place = PlaceOrder { user: UserId(1), source, expected_total: None, key: None, caller: None };
        (queue.push(Sell(place).into_job(reply)), answer)
    }

    #[test]
    fn whoever_comes_first_after_a_rest_is_told_and_nobody_else() {
        let queue = queue(10);
        for _ in 0..2 {
            let orders: Vec<_> = (0..3).map(|_| push(&queue)).collect();
            assert_eq!(orders.iter().map(|(rests, _)| *rests).collect::<Vec<_>>(), [true, false, false]);
            assert_eq!(queue.take().len(), 2);
            queue.end();
            // Between two batches, too, the lane is at work.
            let (rests, _answer) = push(&queue);
            assert!(!rests);
            assert_eq!(queue.take().len(), 2);
            queue.end();
            assert!(queue.take().is_empty());
        }
    }

    #[test]
    fn a_batch_of_which_nobody_waits_any_more_is_a_rest() {
        let queue = queue(10);
        drop(push(&queue));
        assert!(queue.take().is_empty());
        assert!(push(&queue).0);
    }

    #[test]
    fn who_is_not_let_in_wakes_nobody() {
        let queue = queue(0);
        let (rests, mut answer) = push(&queue);
        assert!(!rests && answer.try_recv().expect("an answer").is_err());
    }
}
