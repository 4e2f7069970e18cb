//! What waits for its batch: let in by the actor, taken out by the lane.

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
    admission: Admission,
}

impl Queue {
    pub(crate) fn new(settings: &InventorySettings, pulse: Arc<Pulse>, trade: Arc<Trade>) -> Self {
        let InventorySettings { batch_max, queue_max, wait_max, .. } = *settings;
        let admission = Admission::new(wait_max, queue_max, batch_max);
        let waiting = Mutex::new(Waiting { jobs: VecDeque::new(), admission });
        Self { batch_max, wait_max, waiting, pulse, trade }
    }

    /// Lets a job in, or answers it at once that it would wait too long. Tells which.
    pub(crate) fn push(&self, job: Job) -> bool {
        let mut waiting = self.waiting();
        if waiting.admission.admits(waiting.jobs.len(), job.since) {
            waiting.jobs.push_back(job);
            self.pulse.waiting(waiting.jobs.len());
            return true;
        }
        drop(waiting);
        metrics::counter!("emporium_inventory_refused_total").increment(1);
        job.fail(Failure::Overloaded);
        false
    }

    /// The next batch, which is under way from now on; empty when nothing waits.
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
        if !batch.is_empty() {
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

    pub(crate) fn is_empty(&self) -> bool {
        self.waiting().jobs.is_empty()
    }

    fn waiting(&self) -> MutexGuard<'_, Waiting> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
